"""Who runs in a cell: algorithms in their executions, the ladder of backprops, and what each of them must do.

``baselines`` are names: BP's executions on pcsim's own kernels, ``numpy``, the peers (which run BP, iPC or both), and
``unfused``, iPC whose steps read the weights anew for each product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .algorithms import BP, IPC, PC, ZIL, Algorithm
from .case import Case
from .context import usable_cores
from .engines import BP_EXECUTIONS, make_engine
from .engines.blocks import balanced_blocks
from .errors import InputError
from .peers import PEERS, available, offers
from .tasks import TaskGraph

OWN_BASELINES = (*BP_EXECUTIONS, "numpy", "unfused")
# On ranks; ``threads`` is iPC on as many threads of rank 0, which tells what messages cost.
RANK_BASELINES = ("serial", "intra-layer", "pipeline", "data-parallel", "threads")
BASELINES = (*OWN_BASELINES, *PEERS)
MICRO_BATCHES = (1, 2, 4, 8)  # of the pipeline, per worker: the fastest runs
_UNFUSED = "-unfused"


@dataclass(frozen=True)
class Contender:
    """An algorithm, its execution (CONTRACT section 5), and its threads in all; ``micro_batches`` of a pipeline.
    ``auto``: the number of threads is the one that was fastest. ``ranks``: of MPI, which share the threads evenly."""

    algorithm: Algorithm
    execution: str
    workers: int
    auto: bool = False
    micro_batches: int | None = None
    ranks: int | None = None

    @property
    def backend(self) -> str:
        """Who runs it: the engine, or the peer."""
        if self.ranks:
            return "mpi"
        return self.execution if self.execution == "numpy" or self.execution in PEERS else "threads"

    @property
    def fused(self) -> bool:
        """Whether a step reads the weights once where it can."""
        return not self.execution.endswith(_UNFUSED)

    @property
    def leaves_threads(self) -> bool:
        """Whether BLAS threads of this process spin for a while after it has run."""
        return self.execution in ("numpy", "blas")

    @property
    def blocks(self) -> int:
        """How many workers have layers of their own."""
        return self.workers if self.execution.startswith("layer-parallel") else 1


def build(
    case: Case, contender: Contender, pin: bool = False, values: list | None = None, wave: int | None = None
) -> Any:
    """The engine of a contender: a process of its own for a peer."""
    rows = np.arange(case.batch)
    options: dict[str, Any] = {"workers": contender.workers, "values": values}
    if contender.backend in PEERS:
        from .peers.process import PeerEngine

        return PeerEngine(
            contender.backend, case, contender.algorithm, contender.workers, usable_cores() if pin else None
        )
    if contender.ranks:
        from .crew import crew

        options = {"values": values, "pin": pin, "wave": wave, "fused": contender.fused}
        if isinstance(contender.algorithm, BP):
            options |= {"execution": contender.execution}
        if contender.micro_batches:
            options |= {"micro_batches": contender.micro_batches}
        threads = contender.workers // contender.ranks
        return crew().engine(case, contender.algorithm, contender.ranks, threads, **options)
    if contender.backend == "threads":
        options |= {"pin": pin, "wave": wave, "fused": contender.fused}
        if isinstance(contender.algorithm, BP):
            options |= {"execution": contender.execution}
        if contender.micro_batches:
            options |= {"micro_batches": contender.micro_batches}
    net, x, y = case.problem()
    return make_engine(contender.backend, net, contender.algorithm, x, y, lambda: rows, **options)


def work_per_update(contender: Contender, case: Case) -> dict[str, float]:
    """Flop and bytes of one complete weight update, as the kernels do it; counted, not measured.

    A product of a layer is ``2 * batch * width**2`` flop. A batch of one reads (and writes) the weights once per
    pass: fused passes for PC, Z-IL and iPC; one for the predictions and one for the rest in BP. Larger batches, BLAS
    and unfused steps make one pass for each product, of which the weight update reads and writes. Vectors are left
    out. Of NumPy and the peers, which may do more, it is what they need to do at least.
    """
    algorithm = contender.algorithm
    graph = algorithm.tasks(case.depth, 3)
    matrix = case.width**2
    flops = 2.0 * case.batch * matrix * graph.mm_full
    size = matrix * np.dtype(case.dtype).itemsize
    L = case.depth
    one_pass = case.batch == 1 and contender.fused and contender.execution != "blas"
    if isinstance(algorithm, PC | ZIL):
        T = algorithm.T if isinstance(algorithm, PC) else L - 1
        # the forward start, and a pass for each step; each matrix is written in one of them
        # At t = 0 the input layer's matrix has nothing to do: the errors are known, and x[0] is clamped.
        reads, writes = (L + T * L - 1, L) if one_pass else (L + T * (2 * L - 1), L)
    elif isinstance(algorithm, BP):
        reads, writes = (L, L) if one_pass else (2 * L - 1, L)
    else:
        reads, writes = (0, L) if one_pass else (2 * L - 1, L)
    return {"flops": flops, "read": float(reads * size), "read-write": float(2 * writes * size)}


def memory_needed(case: Case, contenders: int) -> int:
    """Bytes for the weights and values of ``contenders`` engines and the oracle."""
    item = np.dtype(case.dtype).itemsize
    weights = case.depth * case.width**2 * item
    values = (case.depth + 1) * case.width * case.batch * item
    return (contenders + 3) * weights + (contenders * 8 + 6) * values


def check_baselines(baselines: Sequence[str], known: Sequence[str] = BASELINES) -> None:
    """InputError for a name that is not among the ``known``, and for a peer that is not installed."""
    for name in baselines:
        if name not in known:
            raise InputError(f"baseline {name!r} is unknown here: choose from {', '.join(known)}")
        if name in PEERS and not available(name):
            extra = "pcx" if name == "pcx" else "peers"
            raise InputError(f"{name} is not installed: pip install 'pcsim[{extra}]', or leave it out")


def counts_to_try(workers: Sequence[int | str], limit: int) -> list[int]:
    """Numbers of workers up to ``limit``: those named, and for "auto" 1, 2, 4 … and all cores."""
    counts = [w for w in workers if isinstance(w, int)]
    if "auto" in workers:
        cores = len(usable_cores())
        counts += [*(2**k for k in range(10) if 2**k <= cores), cores]
    return sorted({min(count, limit) for count in counts})


Choose = Callable[[Case, Sequence[Contender], bool], Contender]


def contenders(
    case: Case,
    algorithms: Sequence[Algorithm],
    workers: Sequence[int | str],
    baselines: Sequence[str],
    pin: bool,
    choose: Choose,
) -> list[Contender]:
    """Who runs in a cell: each algorithm with each of ``workers``, and beside them the ``baselines`` that fit.

    Numbers above the depth stand for the depth (a worker needs a layer); "auto" for the fastest of 1, 2, 4 … cores.
    ``choose(case, candidates, pin)`` says which of several is the fastest; a pipeline, and whoever else shares BP's
    work, gets the number of workers and of micro-batches that suit it best.
    """
    found: list[Contender] = []
    for algorithm in algorithms:
        if isinstance(algorithm, BP):
            for name in baselines:
                choice = _backprops(case, algorithm, workers, name)
                found += choice if len(choice) < 2 else [choose(case, choice, pin)]
            continue
        named = [w for w in workers if isinstance(w, int)]
        best = None
        if "auto" in workers:
            candidates = [_layered(algorithm, w) for w in counts_to_try(["auto"], case.depth)]
            best = (candidates[0] if len(candidates) == 1 else choose(case, candidates, pin)).workers
        counts = sorted({*counts_to_try(named, case.depth), *([best] if best else [])})
        found += [_layered(algorithm, w, auto=w == best) for w in counts]
        if isinstance(algorithm, IPC):
            if "unfused" in baselines and case.batch == 1:
                found += [_layered(algorithm, w, unfused=True) for w in counts]
            cores = max(counts_to_try(workers, len(usable_cores())))
            peers = [name for name in baselines if name in PEERS and "ipc" in offers(name)]
            found += [Contender(algorithm, name, cores) for name in peers]
    if not found:
        raise InputError("nothing to measure: name at least one algorithm")
    return found


def on_ranks(
    case: Case,
    algorithms: Sequence[Algorithm],
    counts: Sequence[int],
    threads: int,
    baselines: Sequence[str],
    pin: bool,
    choose: Choose,
) -> list[Contender]:
    """Who runs in a cell on ranks: each algorithm on each of ``counts`` ranks of so many ``threads``, as far as there
    are layers (BP: as its execution can be shared), for the curves over ranks; see ``contenders``."""
    found: list[Contender] = []
    for algorithm in algorithms:
        if not isinstance(algorithm, BP):
            for ranks in counts:
                if ranks * threads <= case.depth:
                    found.append(replace(_layered(algorithm, ranks * threads), ranks=ranks))
                if "threads" in baselines and ranks * threads <= min(case.depth, len(usable_cores())):
                    found.append(_layered(algorithm, ranks * threads))
            continue
        for name in baselines:
            if name == "serial":
                found.append(Contender(algorithm, name, 1, ranks=1))
            if name in ("serial", "threads"):
                continue
            for ranks in counts:
                if ranks == 1 or (case.batch == 1 and name != "intra-layer"):
                    continue
                if ranks > {"pipeline": case.depth, "data-parallel": case.batch}.get(name, ranks):
                    continue
                parts = (
                    sorted({min(case.batch, ranks * share) for share in MICRO_BATCHES}) if name == "pipeline" else [0]
                )
                choice = [Contender(algorithm, name, ranks, micro_batches=part or None, ranks=ranks) for part in parts]
                found.append(choice[0] if len(choice) == 1 else choose(case, choice, pin))
    if not found:
        raise InputError(
            f"nothing to measure at depth {case.depth} and batch {case.batch} on {counts} ranks of {threads} threads: "
            "name another algorithm or baseline, or fewer ranks"
        )
    return found


def _layered(algorithm: Algorithm, workers: int, auto: bool = False, unfused: bool = False) -> Contender:
    execution = "serial" if workers == 1 else "layer-parallel"
    return Contender(algorithm, execution + (_UNFUSED if unfused else ""), workers, auto)


def _backprops(case: Case, algorithm: BP, workers: Sequence[int | str], name: str) -> list[Contender]:
    """The forms that BP can take under a baseline's name; none where it does not fit."""
    counts = counts_to_try(workers, 1 << 30)
    if name == "unfused" or (name in PEERS and "bp" not in offers(name)):
        return []
    if name == "serial":
        return [Contender(algorithm, name, 1)]
    if name == "numpy" or name in PEERS:
        return [Contender(algorithm, name, max(counts))]
    limit = {"pipeline": case.depth if case.batch > 1 else 1, "data-parallel": case.batch}.get(name, max(counts))
    shared = sorted({min(count, limit) for count in counts if min(count, limit) > 1})
    if name != "pipeline":
        return [Contender(algorithm, name, count) for count in shared]
    parts = sorted({(count, min(case.batch, count * share)) for count in shared for share in MICRO_BATCHES})
    return [Contender(algorithm, name, count, micro_batches=part) for count, part in parts]


def messages_counted(contender: Contender, case: Case, graph: TaskGraph) -> int | None:
    """Messages per weight update that the task graph asks for, on so many ranks; None where ranks sum up gradients.

    Layers on ranks: what one rank's task makes and another's needs, for each micro-batch. Rows of layers on ranks:
    whatever one product hands to the next goes from every rank to every other.
    """
    ranks = contender.ranks or 1
    if contender.execution == "data-parallel":
        return None
    if contender.execution == "intra-layer":
        # A rank whose part of a narrow layer is empty has no rows to send, and wants none of its errors' shares.
        from .kernels.simd import VECTOR_BYTES

        vectors = -(-case.width * np.dtype(case.dtype).itemsize // VECTOR_BYTES)
        return int(graph.mm - 1) * min(ranks, vectors) * (ranks - 1)
    threads = contender.workers // ranks
    blocks = balanced_blocks([1] * case.depth, contender.workers)
    owner = [place // threads for place, (lo, hi) in enumerate(blocks) for _ in range(lo, hi)]
    return graph.messages(owner) * (contender.micro_batches or 1)
