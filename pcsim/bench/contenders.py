"""Who runs in a cell: algorithms in their executions, the ladder of backprops, and what each of them must do.

``baselines`` are names: BP's executions on pcsim's own kernels, ``numpy``, the peers (which run BP, iPC or both),
``unfused``, iPC whose steps read the weights anew for each product, ``shared``, iPC (PC, Z-IL) whose workers or ranks
share layers (rows, samples, or in teams), and ``pipeline-async``, asynchronous BP, which learns something else than BP
does and so is measured where it is named, and never stands for the best BP.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..algorithms import BP, PIPELINE_ASYNC, Algorithm, AsyncBP, PredictiveCoding, asynchronous
from ..algorithms.backprop import BP_EXECUTIONS
from ..algorithms.predictive_coding import SHARED
from ..errors import InputError
from ..host.topology import physical_cores, usable_cores, within_quota
from ..kernels.machine.simd import VECTOR_BYTES
from ..schedule.pipelines import make_pipeline
from ..schedule.teams import balanced_teams
from .case import Case
from .peers import PEERS, available, offers, takes, takes_numbers

OWN_BASELINES = (*BP_EXECUTIONS, "numpy", "unfused", "shared")

# On ranks; ``threads`` is iPC on as many threads of rank 0, which tells what messages cost.
OWN_ON_RANKS = ("serial", "intra-layer", "pipeline", "data-parallel", "threads", "shared")
RANK_BASELINES = (*OWN_ON_RANKS, PIPELINE_ASYNC)

BASELINES = (*OWN_BASELINES, PIPELINE_ASYNC, *PEERS)

OF_IMAGES = ("serial", "pipeline", "data-parallel", "numpy", "shared", "torch", "jax")  # that know convolutions

MICRO_BATCHES = (1, 2, 4, 8)  # of the pipeline, per worker: the fastest runs

BUSY = 0.8  # of the busiest stage's work: who has less to do waits whatever the order

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
    order: str = "split"  # of a pipeline

    @property
    def name(self) -> str:
        """What tells it apart from the others in a cell."""
        return name_of(self.row_name, self.algorithm.steps, self.execution, self.workers)

    @property
    def row_name(self) -> str:
        """The algorithm in rows, where asynchronous BP is an execution of BP."""
        return "bp" if isinstance(self.algorithm, AsyncBP) else self.algorithm.name

    @property
    def variant(self) -> str | None:
        """In which form it runs, in words; None where there is one form."""
        order = "" if self.order == "split" else f", {self.order}"
        return f"{self.micro_batches} micro-batches{order}" if self.micro_batches else None

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
    def traced(self) -> bool:
        """Whether its loop notes what each worker does when."""
        return isinstance(self.algorithm, BP | PredictiveCoding)

    @property
    def streams(self) -> bool:
        """Whether a run begins and ends with fewer layers at work than in between."""
        return self.algorithm.chained and (self.execution == PIPELINE_ASYNC or self.algorithm.layered)

    @property
    def leaves_threads(self) -> bool:
        """Whether BLAS threads of this process spin for a while after it has run."""
        return self.execution in ("numpy", "blas")

    @property
    def blocks(self) -> int:
        """How many workers have layers of their own."""
        return self.workers if self.execution.startswith(("layer-parallel", PIPELINE_ASYNC)) else 1


def name_of(algorithm: str, steps: int, execution: str, workers: int) -> str:
    """What tells contenders of a cell apart, here and in rows."""
    return f"{algorithm} {steps} {execution} {workers}"


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
        cores = within_quota(len(usable_cores()))
        counts += [*(2**k for k in range(10) if 2**k <= cores), cores, min(cores, physical_cores())]
    return sorted({min(count, limit) for count in counts})


# Alternatives, and for each of them who is measured if it is the fastest: a group of one needs no choice.
Group = dict[Contender, list[Contender]]


def candidates(
    case: Case, algorithms: Sequence[Algorithm], workers: Sequence[int | str], baselines: Sequence[str]
) -> list[Group]:
    """Who may run in a cell: each algorithm with each of ``workers``, and beside them the ``baselines`` that fit.

    Numbers above the depth stand for the depth (a worker needs a layer); "auto" for the fastest of 1, 2, 4 … cores.
    A pipeline, and whoever else shares BP's work, gets the number of workers and of micro-batches that suit it best.
    """
    found: list[Group] = []
    if case.convolves:
        baselines = [name for name in baselines if name in OF_IMAGES]
    elif case.outline and any(case.outline.skip):
        baselines = [name for name in baselines if name != "pcx"]  # which has plain chains here
    for algorithm in algorithms:
        if not algorithm.layered:
            fitting = _fitting(algorithm, baselines)
            found += filter(None, (_alone(_backprops(case, algorithm, workers, name)) for name in fitting))
            continue
        named = counts_to_try([w for w in workers if isinstance(w, int)], case.depth)
        unfused = algorithm.name == "ipc" and "unfused" in baselines and case.batch == 1
        if "auto" in workers:
            counts = counts_to_try(["auto"], case.depth)
            found.append({_layered(algorithm, w): _counts(algorithm, {*named, w}, unfused, best=w) for w in counts})
        else:
            found += _each(_counts(algorithm, named, unfused))
        if "shared" in baselines and case.start == "forward" and isinstance(algorithm, PredictiveCoding):
            fitting = [name for name in _fitting(algorithm, SHARED) if not case.convolves or name in OF_IMAGES]
            found += filter(None, (_alone(_sharing(case, algorithm, workers, name)) for name in fitting))
        if algorithm.name == "ipc":
            cores = max(counts_to_try(workers, within_quota(len(usable_cores()))))
            peers = [name for name in baselines if name in PEERS and _runs(name, case, algorithm)]
            found += _each([Contender(algorithm, name, cores) for name in peers])
    if not found:
        if not algorithms:
            raise InputError("nothing to measure: name at least one algorithm")
        names = ", ".join(name for name in baselines if name != "unfused") or "no baseline"
        raise InputError(
            f"nothing to measure at depth {case.depth} and batch {case.batch}: BP runs as {names}, but not on"
            f" {max(counts_to_try(workers, 1 << 30))} workers at most: name more workers, baselines or algorithms"
        )
    return found


def candidates_on_ranks(
    case: Case, algorithms: Sequence[Algorithm], counts: Sequence[int], threads: int, baselines: Sequence[str]
) -> list[Group]:
    """Who may run in a cell on ranks: each algorithm on each of ``counts`` ranks of so many ``threads``, as far as
    there are layers (BP: as its execution can be shared), for the curves over ranks; see ``candidates``."""
    found: list[Group] = []
    for algorithm in algorithms:
        if algorithm.layered:
            for ranks in counts if "mpi" in algorithm.backends else ():
                several = _layered(algorithm, ranks * threads)
                if several.workers <= case.depth:
                    found += _each([replace(several, ranks=ranks)])
                if "threads" in baselines and several.workers <= min(case.depth, len(usable_cores())):
                    found += _each([several])
                if "shared" in baselines and case.start == "forward" and isinstance(algorithm, PredictiveCoding):
                    found += _each(_sharing_ranks(case, algorithm, ranks, threads))
            continue
        for name in _fitting(algorithm, baselines):
            if name == PIPELINE_ASYNC:
                late, _ = asynchronous(algorithm, name)
                fitting = [ranks for ranks in counts if ranks * threads <= case.depth]
                found += _each([Contender(late, name, ranks * threads, ranks=ranks) for ranks in fitting])
            if name == PIPELINE_ASYNC or isinstance(algorithm, AsyncBP):
                continue
            if name == "serial":
                found += _each([Contender(algorithm, name, 1, ranks=1)])
            if name in ("serial", "threads", "shared"):
                continue
            for ranks in counts:
                if ranks == 1 or (case.batch == 1 and name != "intra-layer"):
                    continue
                if ranks > {"pipeline": case.depth, "data-parallel": case.batch}.get(name, ranks):
                    continue
                pipeline = name == "pipeline"
                parts = sorted({min(case.batch, ranks * share) for share in MICRO_BATCHES}) if pipeline else [None]
                found.append(_alone([Contender(algorithm, name, ranks, micro_batches=p, ranks=ranks) for p in parts]))
    if not found:
        raise InputError(
            f"nothing to measure at depth {case.depth} and batch {case.batch} on {counts} ranks of {threads} threads: "
            "name another algorithm or baseline, or fewer ranks"
        )
    return found


def _runs(peer: str, case: Case, algorithm: Algorithm) -> bool:
    """Whether a peer runs this algorithm in such a cell."""
    fits = takes(peer, algorithm.optimizer, case.steps_per_batch is not None) and takes_numbers(algorithm)
    return algorithm.name in offers(peer) and fits


def _fitting(algorithm: Algorithm, names: Sequence[str]) -> list[str]:
    """The names without executions that share out a layer, where its optimiser needs the whole gradient."""
    return [name for name in names if not (algorithm.orthogonal and name in SHARED)]


def _alone(alternatives: Sequence[Contender]) -> Group:
    """The group in which the fastest alternative is measured, and nobody beside it."""
    return {contender: [contender] for contender in alternatives}


def _each(contenders: Sequence[Contender]) -> list[Group]:
    """Groups of one: all of them are measured."""
    return [{contender: [contender]} for contender in contenders]


def _counts(algorithm: Algorithm, counts: Collection[int], unfused: bool, best: int | None = None) -> list[Contender]:
    """An algorithm with each number of workers, then ``unfused`` with each; ``best`` is marked as chosen."""
    fused = [_layered(algorithm, w, auto=w == best) for w in sorted(counts)]
    return fused + [_layered(algorithm, w, unfused=True) for w in sorted(counts) if unfused]


def _layered(algorithm: Algorithm, workers: int, auto: bool = False, unfused: bool = False) -> Contender:
    execution = "serial" if workers == 1 else "layer-parallel"
    return Contender(algorithm, execution + (_UNFUSED if unfused else ""), workers, auto)


def _counts_to_share(workers: Sequence[int | str]) -> list[int]:
    """The numbers of workers that may share layers: 2, 4, 8 …, a worker a physical core, and the largest."""
    most = max(counts_to_try(workers, 1 << 30))
    return [*(2**k for k in range(1, most.bit_length()) if 2**k < most), min(most, physical_cores()), most]


def _sharing(case: Case, algorithm: Algorithm, workers: Sequence[int | str], name: str) -> list[Contender]:
    """PC, Z-IL or iPC with workers who share layers, as many as suit it best; teams only where they differ from rows of
    all layers and from layers on workers."""
    limit = case.batch if name == "data-parallel" else 1 << 30
    counts = sorted({min(count, limit) for count in _counts_to_share(workers) if min(count, limit) > 1})
    if name == "hybrid":
        counts = [count for count in counts if has_teams(case, count)]
    return [Contender(algorithm, name, count) for count in counts]


def _sharing_ranks(case: Case, algorithm: Algorithm, ranks: int, threads: int) -> list[Contender]:
    """PC, Z-IL or iPC on ranks that share layers: rows or samples if each has one thread, else teams of threads."""
    limits = {"intra-layer": ranks, "data-parallel": case.batch} if threads == 1 else {"hybrid": case.depth}
    names = [name for name, limit in limits.items() if 1 < ranks <= limit and name in _fitting(algorithm, SHARED)]
    return [Contender(algorithm, name, ranks * threads, ranks=ranks) for name in names]


def has_teams(case: Case, workers: int) -> bool:
    """Whether so many workers make teams that are neither one nor a worker each, and every member has rows."""
    lanes = VECTOR_BYTES // np.dtype(case.dtype).itemsize
    teams = balanced_teams(case.sizes, case.batch, workers, lanes)
    rows = [max(case.sizes[team.lo + 1 : team.hi + 1]) for team in teams]
    return 1 < len(teams) < workers and all((t.members - 1) * lanes < n for t, n in zip(teams, rows, strict=True))


def _backprops(case: Case, algorithm: Algorithm, workers: Sequence[int | str], name: str) -> list[Contender]:
    """The forms that BP can take under a baseline's name; none where it does not fit. They depend on the largest of
    ``workers`` alone, not on which others iPC is measured with: 2, 4, 8 …, a worker a physical core, and that one."""
    counts = _counts_to_share(workers)
    if name == PIPELINE_ASYNC:
        late, _ = asynchronous(algorithm, name)
        return [Contender(late, name, count) for count in sorted({min(count, case.depth) for count in counts})]
    other = name in ("unfused", "shared") or isinstance(algorithm, AsyncBP)
    if other or (name in PEERS and not _runs(name, case, algorithm)):
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
    split = [Contender(algorithm, name, count, micro_batches=part) for count, part in parts]
    # With more micro-batches waits are short, and products apart cost what they save.
    few = [one for one in split if (one.micro_batches or 0) <= MICRO_BATCHES[1] * one.workers]
    return split + [replace(one, order="zero-bubble") for one in few if _waits(case, one)]


def _waits(case: Case, one: Contender) -> bool:
    """Whether a stage of a pipeline that has nearly as much to do as the busiest one waits for so long that weight
    products fit in."""
    if case.convolves:  # whose weight products are not made apart
        return False
    costs = [float(count) for count in case.multiplications]
    stages = make_pipeline("zero-bubble", tuple(costs), one.workers, one.micro_batches or 1).stages
    work = [2 * sum(costs[stage.lo : stage.hi]) + sum(costs[max(stage.lo, 1) : stage.hi]) for stage in stages]
    return any(stage.alone and mine > BUSY * max(work) for stage, mine in zip(stages, work, strict=True))
