"""What one weight update costs by count: flop, bytes, messages, memory. Nothing here is measured."""

import itertools
from collections.abc import Sequence

import numpy as np

from ..algorithms import PIPELINE_ASYNC
from ..algorithms.predictive_coding import SHARED
from ..engines.images import samples_together
from ..engines.limits import memory_of_engine
from ..schedule.blocks import balanced_blocks
from ..schedule.orthogonal import multiplications
from ..schedule.tasks import Kind, TaskGraph
from .case import Case
from .ceilings import Products
from .contenders import Contender

LAYER = (Kind.START, Kind.PREDICT, Kind.BACKPROJECT, Kind.UPDATE)  # products with a layer's weights
BESIDE = (Kind.HEAD, Kind.FEEDBACK, Kind.HEAD_UPDATE)  # and with a matrix beside it


def work_per_update(contender: Contender, case: Case) -> dict[str, float]:
    """Flop and bytes of one complete weight update, as the kernels do it; counted, not measured.

    A product of a layer is 2 flop for each sample and weight. A batch of one reads (and writes) the weights once per
    pass: fused passes for all but BP; one for the predictions and one for the rest in BP. Larger
    batches, BLAS and unfused steps make one pass for each product, of which the weight update reads and writes. Vectors
    are left out, and so are bytes of Muon's products. Of NumPy and the peers, which may do more, it is what they need
    to do at least.
    """
    graph = contender.algorithm.steady_tasks(case.depth, case.steps_per_batch, case.start)
    weights, multiplied = np.array([m * n for m, n in case.shapes]), np.array(case.multiplications)
    beside = np.array([above * case.sizes[-1] for above in case.sizes[1:]])  # a layer's head, or its feedback
    item = np.dtype(case.dtype).itemsize
    one_pass = case.batch == 1 and contender.fused and contender.execution != "blas"
    apart = not contender.algorithm.layered and contender.execution != PIPELINE_ASYNC
    products = read = written = 0.0
    for kinds, sizes, times in ((LAYER, weights, multiplied), (BESIDE, beside, beside)):
        tasks = graph.in_period() & np.isin(graph.kinds, kinds)
        products += float(np.bincount(graph.layers[tasks], minlength=case.depth) @ times) / graph.period_updates
        reads, writes = _passes(graph, tasks, one_pass, apart)
        read, written = read + float(reads @ sizes), written + float(2 * writes @ sizes)
    flops = 2.0 * case.batch * products + 2.0 * _of_muon(graph, case.sizes)
    return {"flops": flops, "read": read * item, "read-write": written * item}


def products_of(case: Case) -> list[Products]:
    """The products of each layer in a weight update on one worker: of a convolution, as many patches at a time as the
    kernels take."""
    found, dtype = [], np.dtype(case.dtype)
    forms = case.outline.forms if case.outline else (None,) * case.depth
    for l, (form, (above, below)) in enumerate(zip(forms, case.shapes, strict=True)):
        samples = samples_together(form, case.batch, dtype) if form else case.batch
        positions = form.positions if form else 1
        found.append(Products(samples * positions, above, below, back=l > 0, times=case.batch / samples))
    return found


def _of_muon(graph: TaskGraph, sizes: Sequence[int]) -> float:
    """Multiplications of Muon's products in a weight update."""
    layers = [multiplications(above, below) for below, above in itertools.pairwise(sizes)]
    heads = [multiplications(sizes[-1], below) for below in sizes[1:]]
    found = 0.0
    for kind, each in ((Kind.ORTHOGONALISE, layers), (Kind.HEAD_ORTHOGONALISE, heads)):
        times = np.bincount(graph.layers[graph.in_period() & (graph.kinds == kind)], minlength=graph.depth)
        found += float(times @ np.array(each))
    return found / graph.period_updates


def _passes(graph: TaskGraph, product: np.ndarray, one_pass: bool, chained: bool) -> tuple[np.ndarray, np.ndarray]:
    """Passes of these products over each layer's matrix per weight update that read it, and those that write it too.

    ``one_pass``: all products of a layer in a step share one, except that a forward start goes first, as do the
    predictions of layers that are ``chained``; else each product has its own.
    """
    kinds, layers, steps = (array[product].astype(np.int64) for array in (graph.kinds, graph.layers, graph.steps))
    group = kinds
    if one_pass:
        group = ((kinds != Kind.START) & ~(chained & (kinds == Kind.PREDICT))).astype(np.int64)
    distinct = np.unique((steps * len(Kind) + group) * graph.depth + layers)
    passes = np.bincount(distinct % graph.depth, minlength=graph.depth)
    writes = np.bincount(layers[np.isin(kinds, (Kind.UPDATE, Kind.HEAD_UPDATE))], minlength=graph.depth)
    return (passes - writes) / graph.period_updates, writes / graph.period_updates


def memory_needed(case: Case, contenders: int, moments: int = 0) -> int:
    """Bytes of ``contenders`` engines, and of the oracle with what it is compared with: as much as three."""
    each = memory_of_engine(case.sizes, case.batch, np.dtype(case.dtype).itemsize, moments, case.shapes)
    return (contenders + 3) * each + case.data_bytes


def messages_counted(contender: Contender, case: Case, graph: TaskGraph) -> int | float | None:
    """Messages per weight update that the task graph asks for, on so many ranks; None where ranks sum up gradients.

    Layers on ranks, or a team on each: what one rank's task makes and another's needs, for each micro-batch. Rows of
    layers on ranks: whatever one product hands to the next goes from every rank to every other; in PC, Z-IL and iPC
    shares of drives, and then values, whenever values move, neighbouring layers together.
    """
    from ..kernels.layers.dense import padded
    from ..kernels.machine.simd import VECTOR_BYTES

    ranks = contender.ranks or 1
    if contender.execution == "data-parallel":
        return None
    if contender.execution in SHARED and not contender.algorithm.chained:
        return _shared_messages(contender, case, graph)
    if contender.execution == "intra-layer":
        # A rank whose part of a narrow layer is empty has no rows to send, and wants none of its errors' shares.
        vectors = [-(-n * np.dtype(case.dtype).itemsize // VECTOR_BYTES) for n in case.sizes[1:-1]]
        return 2 * sum(min(ranks, count) for count in vectors) * (ranks - 1)
    threads = contender.workers // ranks
    wide = [padded(n, np.dtype(case.dtype)) for n in case.sizes]
    costs = [above * (below + 1) for below, above in itertools.pairwise(wide)]  # as engines share them out
    blocks = balanced_blocks(costs, contender.workers)
    owner = [place // threads for place, (lo, hi) in enumerate(blocks) for _ in range(lo, hi)]
    return graph.messages(owner) * (contender.micro_batches or 1)


def _shared_messages(contender: Contender, case: Case, graph: TaskGraph) -> float:
    """The same of PC, Z-IL and iPC on ranks that share layers."""
    from ..engines.layout import TEAMS, Layout
    from ..engines.share_messages import EXCHANGES, STARTS, messages_of_exchange
    from ..engines.shared import teams_for

    ranks, net = contender.ranks or 1, case.problem(lazy=True)[0]
    teams = teams_for(contender.execution, net, case.batch, contender.workers, contender.workers // ranks)
    if contender.execution == "hybrid":
        return graph.messages([rank for rank, team in enumerate(teams) for _ in range(team.lo, team.hi)])
    layout = Layout(net, case.batch, TEAMS, 1, ranks, 0, 1, False, teams, True)
    calendar = contender.algorithm.checked_calendar(case.depth, case.steps_per_batch)
    updates = int(calendar.completed[-1])
    found: float = sum(len(messages_of_exchange(layout, kind)) for kind in EXCHANGES) * int(calendar.moves.sum())
    if calendar.repeats is not None:  # rounds from one forward start to the next
        found += len(messages_of_exchange(layout, STARTS)) / calendar.repeats
    return found / updates
