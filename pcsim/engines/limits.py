"""How many workers can share the work of an algorithm, in which execution: the one place that says it."""

import itertools
from collections.abc import Sequence

import numpy as np

from ..algorithms import BP, DFA, PIPELINE_ASYNC, Algorithm, AsyncBP, DualProp, Local
from ..algorithms.backprop import BP_EXECUTIONS
from ..algorithms.predictive_coding import PC_EXECUTIONS, SHARED
from ..checks import is_whole, shown
from ..errors import InputError
from ..host.topology import advised_workers
from ..net.convolution import Convolution
from ..schedule.pipelines import ORDERS


def check_execution(execution: str, workers: int, depth: int, batch: int) -> None:
    """InputError where BP cannot share the work of such a net and batch in that way among so many workers."""
    if execution not in (*BP_EXECUTIONS, PIPELINE_ASYNC):
        known = ", ".join((*BP_EXECUTIONS, PIPELINE_ASYNC))
        raise InputError(f"BP's execution {execution!r} is unknown: choose from {known}")
    if execution == "serial" and workers > 1:
        raise InputError("BP's layers wait for one another: execution 'serial' runs with workers=1")
    if execution == "pipeline" and batch == 1:
        raise InputError("a pipeline needs a batch above 1, of which it makes micro-batches")
    limits = {
        "pipeline": (depth, "layers of the net"),
        PIPELINE_ASYNC: (depth, "layers of the net"),
        "data-parallel": (batch, "samples of a batch"),
    }
    limit, what = limits.get(execution, (workers, ""))
    if workers > limit:
        raise InputError(f"{workers} workers are more than the {limit} {what}: use at most {limit}")


def check_softmax(of_bp: str | None, execution: str | None) -> None:
    """InputError for an execution without the cross-entropy, whose softmax takes the whole output of a sample.
    ``of_bp``: BP's execution, None for what has values that move."""
    whole = ("serial", "blas", "data-parallel", "pipeline") if of_bp else (None, "layer-parallel")
    if (of_bp or execution) not in whole:
        others = ", ".join(str(name) for name in whole if name)
        raise InputError(f"execution {of_bp or execution!r} has no cross-entropy yet: choose from {others}")


def check_threads(algorithm: Algorithm, execution: str | None, workers: int, depth: int, batch: int) -> None:
    """InputError where so many threads cannot share the work of an algorithm."""
    _check_whole(algorithm, execution)
    if isinstance(algorithm, Local | DFA | DualProp):
        _check_stream(algorithm, execution, f"{workers} workers", workers, depth)
    elif isinstance(algorithm, BP):
        check_execution(execution or "serial", workers, depth, batch)
    else:
        _check_shared(algorithm, execution or "layer-parallel", f"{workers} workers", workers, depth, batch)


def check_ranks(algorithm: Algorithm, execution: str | None, ranks: int, workers: int, depth: int, batch: int) -> None:
    """InputError where ``ranks`` of so many threads each cannot share the work of an algorithm."""
    _check_whole(algorithm, execution)
    if isinstance(algorithm, Local | DFA | DualProp):
        _check_stream(algorithm, execution, _ranks(ranks, workers), ranks * workers, depth)
        return
    if not isinstance(algorithm, BP):
        here = _ranks(ranks, workers)
        if execution == "hybrid":  # a team on each rank
            _check_layers(f"{ranks} ranks", ranks, depth)
        elif execution in SHARED and workers > 1:
            raise InputError(
                f"execution {execution!r} over ranks runs one thread on each: start a rank for every core, or choose "
                f"hybrid, which has a team of threads on each rank"
            )
        elif execution not in SHARED:
            _check_layers(here, ranks * workers, depth)
        _check_shared(algorithm, execution or "layer-parallel", here, ranks * workers, depth, batch)
        return
    execution = execution or "serial"
    if execution == PIPELINE_ASYNC:
        _check_layers(_ranks(ranks, workers), ranks * workers, depth)
        return
    if workers > 1:
        raise InputError("BP over ranks runs one thread on each: start a rank for every core instead")
    if execution == "blas" or (execution == "serial" and ranks > 1):
        raise InputError(
            f"BP's execution {execution!r} is one process: on ranks choose intra-layer, pipeline or data-parallel"
        )
    check_execution(execution, ranks, depth, batch)


def check_order(order: str, execution: str | None) -> None:
    """InputError for an order that is none, and for one of what is no pipeline."""
    if order not in ORDERS:
        raise InputError(f"order {order!r} of a pipeline is unknown: choose from {', '.join(ORDERS)}")
    if order != "split" and execution != "pipeline":
        raise InputError(f"order {order!r} is of a pipeline: choose execution 'pipeline'")


def check_skips(algorithm: Algorithm, skip: Sequence[bool]) -> None:
    """InputError for skip connections, of an algorithm that says nothing of them."""
    if any(skip):
        raise InputError(f"{algorithm.title} is for layers without skip connections")


LEAST_BETA = 1e-4  # of float32: at 1e-5 rounding already makes 3 % of the first layer's gradient


def check_pull(algorithm: DualProp, dtype: np.dtype) -> None:
    """InputError for a beta whose differences drown in the rounding of the values that they are differences of."""
    least = LEAST_BETA * float(np.finfo(dtype).eps / np.finfo(np.float32).eps)
    if algorithm.beta < least:
        raise InputError(
            f"beta {algorithm.beta:g} is lost in the rounding of {dtype.name}: give at least {least:.0e}, or a net of "
            "float64"
        )


def check_similarity(algorithm: Algorithm, batch: int) -> None:
    """InputError for a loss of similarities between the samples of a batch that has but one."""
    if isinstance(algorithm, Local) and algorithm.loss == "predsim" and batch < 2:
        raise InputError("the local loss predsim compares samples of a batch: give a batch of at least 2, or loss pred")


def check_backend(algorithm: Algorithm, backend: str) -> None:
    """InputError where an engine does not execute the algorithm."""
    if backend not in algorithm.backends:
        known = " and ".join(algorithm.backends)
        raise InputError(f"{algorithm.title} so far on backend {known} alone, not on {backend}")


def check_images(
    algorithm: Algorithm, forms: Sequence[Convolution | None], execution: str | None, order: str, ranks: bool
) -> None:
    """InputError for what compiled loops cannot do with convolutions so far."""
    if not forms:
        return
    if isinstance(algorithm, AsyncBP | Local | DFA | DualProp):
        raise InputError(f"{algorithm.title} with convolutions so far on backend numpy alone")
    if forms[-1] is not None:
        raise InputError("compiled loops need a dense layer above the last convolution")
    if algorithm.orthogonal:
        raise InputError(f"optimizer {algorithm.optimizer} with convolutions so far on backend numpy alone")
    able: tuple[str, ...] = ("serial", "pipeline") if isinstance(algorithm, BP) else ("layer-parallel",)
    able += () if ranks else ("data-parallel",)
    execution = execution or able[0]
    if execution not in able or order == "zero-bubble":
        told = execution if order == "split" else f"{execution} ({order})"
        where = " on ranks" if ranks else ""
        raise InputError(f"execution {told!r} has no convolutions yet{where}: choose {', '.join(able)}")


def check_forms(algorithm: Algorithm, forms: Sequence[Convolution | None]) -> None:
    """InputError for convolutions where they cannot be trained."""
    if forms and isinstance(algorithm, DualProp):
        raise InputError(f"{algorithm.title} is for dense layers, not for convolutions")


def check_run(
    algorithm: Algorithm,
    execution: str | None,
    order: str,
    backend: str,
    ranks: int,
    workers: int,
    depth: int,
    batch: int,
    softmax: bool,
) -> None:
    """InputError for what an engine would refuse, before there is one. ``workers``: of each rank; ``softmax``: whether
    the loss is the cross-entropy."""
    check_backend(algorithm, backend)
    if backend == "numpy":
        check_plain(execution, order)
        return
    if execution == "auto" and not algorithm.chained:  # it will be one that fits
        return
    if backend == "threads":
        check_threads(algorithm, execution, workers, depth, batch)
    else:
        check_ranks(algorithm, execution, ranks, workers, depth, batch)
    check_order(order, execution)
    if softmax:
        check_softmax((execution or "serial") if isinstance(algorithm, BP) else None, execution)


def check_plain(execution: str | None, order: str) -> None:
    """InputError for how work is shared by the oracle, which shares none."""
    if execution not in (None, PIPELINE_ASYNC):
        raise InputError("execution says how threads or ranks share the work of a net; backend numpy has neither")
    if order != "split":
        raise InputError("order says in which order stages of a pipeline work; backend numpy has no stages")


def resolve_workers(
    workers: int | str, algorithm: Algorithm, depth: int, backend: str, execution: str | None = None
) -> int:
    """The number of workers that ``workers``, a number or "auto", stands for; InputError if it cannot be had.

    ``execution``: None for BP's serial one, and for layers on workers; whether so many can share the work in that way,
    the engine says.
    """
    serial = isinstance(algorithm, BP) and execution in (None, "serial")
    shared = execution in (*SHARED, "blas", "auto")  # as many as there are rows, samples or threads of BLAS
    limit = 1 if serial or backend == "numpy" else (1 << 20 if shared else depth)
    auto = isinstance(workers, str) and workers == "auto"
    if auto and backend == "mpi":
        return 1  # of each rank: who starts ranks says with that how many workers there are
    if auto:
        return min(limit, advised_workers())
    if isinstance(workers, str) or not is_whole(workers):
        raise InputError(f'workers must be a whole number of at least 1, or "auto", not {shown(workers)}')
    if backend == "numpy":
        return 1
    if backend == "mpi":
        return int(workers)
    if serial and workers > 1:
        raise InputError(
            "BP's layers wait for one another: it runs with workers=1, unless its execution says how to share the work"
        )
    if not isinstance(algorithm, BP) and not shared:
        _check_layers(f"{workers} workers", int(workers), depth)
    return int(workers)


def memory_of_engine(
    sizes: Sequence[int], batch: int, item: int, moments: int = 0, shapes: Sequence[tuple[int, int]] = ()
) -> int:
    """Bytes of an engine for a net of such sizes, with ``item`` bytes for each number: weights (of these ``shapes``,
    where layers are not dense), with as many ``moments`` as the optimiser keeps of each; values, activations, slopes, a
    copy at the edges, and errors and drives of two steps."""
    weights = sum(rows * (columns + 1) for rows, columns in shapes or [(m, n) for n, m in itertools.pairwise(sizes)])
    return item * (weights * (1 + moments) + 8 * batch * sum(sizes))


def flop_needed(algorithm: Algorithm, sizes: Sequence[int], batch: int, multiplications: Sequence[int] = ()) -> float:
    """Roughly the floating-point operations of a weight update: three products of each layer in an inference step, of
    so many ``multiplications`` for a sample, where layers are not dense."""
    products = sum(multiplications or (below * above for below, above in itertools.pairwise(sizes)))
    return 6.0 * batch * products * float(algorithm.checked_calendar(len(sizes) - 1).steps_per_update)


def _check_whole(algorithm: Algorithm, execution: str | None) -> None:
    """InputError where an execution splits the gradients of layers that the optimiser needs whole."""
    if algorithm.orthogonal and execution in SHARED:
        other = "serial or pipeline" if isinstance(algorithm, BP) else "layer-parallel"
        raise InputError(
            f"optimizer {algorithm.optimizer} needs the whole gradient of a layer, which execution {execution!r} "
            f"shares out: choose {other}"
        )


def _check_stream(algorithm: Local | DFA | DualProp, execution: str | None, who: str, workers: int, depth: int) -> None:
    """The same of what has its layers on workers and no other execution."""
    if execution not in (None, "layer-parallel"):
        raise InputError(f"{algorithm.title}: the only execution is layer-parallel, not {shown(execution)}")
    if isinstance(algorithm, Local) and algorithm.loss == "predsim":
        raise InputError("the local loss predsim runs on backend numpy alone so far")
    _check_layers(who, workers, depth)


def _check_shared(algorithm: Algorithm, execution: str, who: str, workers: int, depth: int, batch: int) -> None:
    """The same of PC, Z-IL and iPC. Rows and teams: whoever has no rows has nothing to do, which is no error."""
    if execution not in PC_EXECUTIONS:
        names = ", ".join(PC_EXECUTIONS)
        raise InputError(f"{algorithm.title}'s execution {execution!r} is unknown: choose from {names}")
    if execution == "layer-parallel":
        _check_layers(who, workers, depth)
    if execution == "data-parallel" and workers > batch:
        raise InputError(f"{who} are more than the {batch} samples of a batch: use at most {batch}")


def _ranks(ranks: int, workers: int) -> str:
    return f"{ranks} ranks" + (f" of {workers} threads" if workers > 1 else "")


def _check_layers(who: str, workers: int, depth: int) -> None:
    if workers > depth:
        raise InputError(f"{who} are more than the {depth} layers of the net: use at most {depth}")
