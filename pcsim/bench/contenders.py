"""Who runs in a cell: algorithms in their executions, the ladder of backprops, and what each of them must do.

``baselines`` are names: BP's executions on pcsim's own kernels, ``numpy``, the peers (which run BP, iPC or both), and
``unfused``, iPC whose steps read the weights anew for each product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..algorithms import BP, IPC, Algorithm
from ..algorithms.backprop import BP_EXECUTIONS
from ..errors import InputError
from ..host.context import usable_cores
from .case import Case
from .peers import PEERS, available, offers

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
