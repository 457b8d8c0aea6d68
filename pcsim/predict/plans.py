"""Who does what, in which order: a task graph laid out on workers under an execution, ready to be timed.

A plan lists *jobs*: what a worker does in one go (a pass over one layer's weights, the new values of one layer, or for
several workers their meeting). Each worker takes its jobs in the order of their numbers, as the engines' loops do, and
waits where one is not ready. What a job waits for is read off the task graph. Nothing here knows seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..algorithms import Algorithm
from ..errors import InputError
from ..schedule.blocks import balanced_blocks, even_parts
from ..schedule.pipelines import make_pipeline
from ..schedule.tasks import Kind, TaskGraph
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE
from .nets import Net as Net

EXECUTIONS = ("serial", "layer-parallel", "intra-layer", "pipeline", "data-parallel", "batched")

ORDERS = ("split", "gpipe", "1f1b", "zero-bubble")  # of a pipeline

# Of work, beside the bits of ``timeline``: an update whose gradient is summed in between; rows of a new batch copied.
GRADIENT, DESCEND, LOAD = 32, 64, 128

NOBODY = -1  # the worker of a meeting

# What a meeting is: of threads; of ranks, who gather, sum up, or send to each other what the work goes on beside.
MEET, GATHER, REDUCE, ALLREDUCE, EXCHANGE = 1, 2, 3, 4, 5

_BITS = {
    Kind.START: START,
    Kind.PREDICT: PREDICT,
    Kind.BACKPROJECT: BACKPROJECT,
    Kind.UPDATE: UPDATE,
    Kind.VALUE: VALUE,
}

_Ints = np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """Jobs of one period, which repeats for ever; one entry per job in every array.

    ``worker``: who does it, NOBODY for a meeting; ``work``: bits of ``timeline``; ``meeting``: what a meeting
    is, else 0; ``layer``, ``step`` (within the period) and ``part`` (micro-batch); ``rows``, ``columns`` and ``batch``:
    its size; ``fetched``: how many numbers it reads that other workers of its host have written since it read them.
    Workers that do the same at the same time may be one: ``alike`` says how many each stands for.
    Job v waits for ``before[at[v]:at[v + 1]]``, of the period before where ``lag`` is 1; ``size``: bytes that come from
    another worker, 0 where nothing has to.
    """

    execution: str
    workers: int
    updates: int  # complete weight updates in the period
    worker: _Ints
    work: _Ints
    meeting: _Ints
    layer: _Ints
    step: _Ints
    part: _Ints
    rows: _Ints
    columns: _Ints
    batch: _Ints
    fetched: _Ints
    at: _Ints
    before: _Ints
    lag: _Ints
    size: _Ints
    alike: _Ints

    def __len__(self) -> int:
        return len(self.worker)


@lru_cache(maxsize=8)
def tasks_of(
    algorithm: Algorithm, depth: int, updates: int, steps_per_batch: int | None = None, start: str = "forward"
) -> TaskGraph:
    """The task graph, once for all numbers of workers that are tried one after the other."""
    return algorithm.tasks(depth, updates, steps_per_batch, start)


class Draft:
    """Jobs and edges as they are found."""

    FIELDS = ("worker", "work", "meeting", "layer", "step", "part", "rows", "columns", "batch", "fetched", "update")

    def __init__(self) -> None:
        self.count = 0
        self.jobs: list[_Ints] = []  # fields x jobs
        self.edges: list[_Ints] = []  # before, after, size

    def add(self, worker: Any, **fields: Any) -> _Ints:
        """Jobs, one for each worker; their numbers."""
        worker = np.atleast_1d(worker)
        jobs = np.zeros((len(self.FIELDS), worker.size), np.int64)
        jobs[0] = worker
        for name, value in fields.items():
            jobs[self.FIELDS.index(name)] = value
        self.jobs.append(jobs)
        self.count += worker.size
        return np.arange(self.count - worker.size, self.count)

    def tie(self, before: Any, after: Any, size: Any = 0) -> None:
        """``after`` waits for ``before``; of -1 there is none."""
        before, after = np.asarray(before), np.asarray(after)
        shape = np.broadcast_shapes(before.shape, after.shape, np.shape(size))
        pair = np.empty((3, *shape), np.int64)
        pair[0], pair[1], pair[2] = before, after, size
        pair = pair.reshape(3, -1)
        self.edges.append(pair[:, (pair[:2] >= 0).all(0)])

    def fields(self) -> dict[str, _Ints]:
        """All jobs so far, field by field."""
        return dict(zip(self.FIELDS, np.concatenate(self.jobs, 1), strict=True))

    def plan(self, execution: str, workers: int, first: int, updates: int, alike: _Ints | None = None) -> Plan:
        """The period of so many updates from update ``first`` on; the one before must be the same."""
        jobs = self.fields()
        before, after, size = np.concatenate(self.edges, 1)
        begin, end = np.searchsorted(jobs["update"], [first, first + updates])
        if np.any(np.diff(jobs["update"]) < 0):
            raise AssertionError("jobs are numbered update by update")
        count = int(end - begin)
        mine = (after >= begin) & (after < end)
        before, after, size = before[mine] - begin, after[mine] - begin, size[mine]
        lag = before < 0
        before = np.where(lag, before + count, before)
        if first > 0 and np.any(before < 0):
            raise AssertionError("a job waits for more than the period before")
        if first == 0:  # from the very beginning: nothing came before
            before, after, size, lag = (array[~lag] for array in (before, after, size, lag))
        order = np.argsort(after, kind="stable")
        at = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(after, minlength=count), out=at[1:])
        found = {name: array[begin:end] for name, array in jobs.items() if name != "update"}
        found["step"] = found["step"] - (found["step"].min() if count else 0)
        return Plan(
            execution, workers, updates,
            **{name: array.astype(np.int64 if name == "fetched" else np.int32) for name, array in found.items()},
            at=at, before=before[order].astype(np.int32), lag=lag[order].astype(np.int8),
            size=size[order].astype(np.float64), alike=np.ones(workers, np.int64) if alike is None else alike,
        )  # fmt: skip


def layered(algorithm: Algorithm, net: Net, workers: int, wave: int = 1, whole: int = 0, batched: bool = False) -> Plan:
    """Layers on workers (one worker: serial), each with a contiguous block; of BP one worker.

    ``wave``: steps taken together (``engines.loops.predictive_coding``), none of which goes beyond the end of a batch;
    ``whole``: in place of a period, the whole run of so many updates from its forward start. ``batched``: all that need
    not wait for one another is one job of one worker.
    """
    calendar = algorithm.checked_calendar(net.depth, net.steps_per_batch, net.start)
    alternates = 2 if wave > 1 and workers > 1 else 1  # neighbours' directions
    period = wave * alternates if calendar.period == 1 else calendar.period_updates
    if calendar.period > 1 and -(-calendar.period // wave) % 2:
        period *= alternates
    if calendar.pipelined:  # what a job waits for is of the period before at the earliest
        period *= -(-calendar.lead(net.depth) // period) or 1
    graph = tasks_of(algorithm, net.depth, whole or 3 * period, net.steps_per_batch, net.start)
    blocks = balanced_blocks(net.costs(), workers)
    owner = np.concatenate([np.full(hi - lo, w) for w, (lo, hi) in enumerate(blocks)])
    if batched:
        draft = _grouped(graph, net, calendar.chained)
    else:
        draft = _contracted(graph, net, owner, blocks, _Order(wave, calendar.chained, calendar.cycle), period)
    execution = "batched" if batched else "serial" if workers == 1 else "layer-parallel"
    return draft.plan(execution, workers, 0 if whole else 2 * period, whole or period)


class _Order(NamedTuple):
    """In which order a worker takes its jobs: steps in a wave, BP or not, steps from one start to the next (0: one)."""

    wave: int = 1
    chained: bool = False
    cycle: int = 0


def _contracted(
    graph: TaskGraph, net: Net, owner: _Ints, blocks: Sequence[tuple[int, int]], order_of: _Order, period: int = 1
) -> Draft:
    """Tasks become jobs: all products of a layer in a step are one pass; BP's forward and backward products are two.
    The values between two workers' layers are moved by both, each in its copy."""
    kinds, layers, steps = graph.kinds, graph.layers.astype(np.int64), graph.steps.astype(np.int64)
    L, S = net.depth, int(graph.steps[-1]) + 1
    lo = np.array([block[0] for block in blocks])[owner]
    hi = np.array([block[1] for block in blocks])[owner]
    # A job is (step, class, layer); classes: starts or forward passes, passes, values, values in a lower worker's copy.
    group = np.select([kinds == Kind.START, kinds == Kind.VALUE], [0, 2], 1)
    if order_of.chained:
        group = np.where(kinds == Kind.PREDICT, 0, 1)
    place = (steps * 4 + group) * (L + 1) + layers
    bits = np.zeros(S * 4 * (L + 1), np.int64)
    np.bitwise_or.at(bits, place, np.array([_BITS.get(kind, 0) for kind in Kind])[kinds])
    if order_of.chained:
        forward = group == 0
        bits[place[forward]] = PREDICT
    copied = (kinds == Kind.VALUE) & (owner[layers] != owner[np.maximum(layers, 1) - 1])
    copy = place[copied] + (L + 1)
    bits[copy] = VALUE
    cells = np.flatnonzero(bits)
    step, rest = np.divmod(cells, 4 * (L + 1))
    kind, layer = np.divmod(rest, L + 1)
    worker = np.where(kind == 3, owner[layer - 1], owner[layer])
    home = np.where(kind == 3, layer - 1, layer)
    key = _program(kind, layer, step - graph.lead, lo[home], hi[home], worker, order_of, net.start == "pipelined")
    update = np.zeros(len(bits), np.int64)
    update[place] = graph.update_of
    update[copy] = graph.update_of[copied]
    begins = update[cells] // period * period
    order = np.lexsort((*key, begins))
    begins, cells, worker, layer, step, kind = (
        begins[order], cells[order], worker[order], layer[order], step[order], kind[order]
    )  # fmt: skip
    number = np.full(len(bits), -1, np.int64)
    number[cells] = np.arange(len(cells))
    sizes, heights, widths = np.array(net.sizes), np.array(net.rows), np.array(net.columns)
    draft = Draft()
    value, below = kind >= 2, np.minimum(layer, L - 1)
    draft.add(
        worker, work=bits[cells], layer=layer, step=step, rows=np.where(value, 1, heights[below]),
        columns=np.where(value, sizes[layer], widths[below]), batch=net.batch, update=begins,
    )  # fmt: skip
    # Edges of tasks become edges of jobs, each time to the copy that lies with whoever needs it.
    indptr, before = graph.predecessors
    after = np.repeat(np.arange(len(graph)), np.diff(indptr))
    for consumer in (place, np.where(copied, place + L + 1, -1)):
        target = np.where(consumer[after] >= 0, number[consumer[after]], -1)
        here = worker[target]
        source = number[place[before]]
        far = copied[before] & (worker[source] != here)
        source = np.where(far & (number[place[before] + L + 1] >= 0), number[place[before] + L + 1], source)
        good = (target >= 0) & (source != target)
        a, b = source[good], target[good]
        crossing = worker[a] != worker[b]
        boundary = np.maximum(layer[a], layer[b])
        draft.tie(a, b, np.where(crossing, sizes[boundary] * net.batch * net.item, 0))
    return draft


def _program(
    kind: _Ints, layer: _Ints, step: _Ints, lo: _Ints, hi: _Ints, worker: _Ints, order: _Order, pipelined: bool
) -> tuple[_Ints, ...]:
    """Keys for ``lexsort``, last first, by which each worker takes its jobs: those of
    ``engines.loops.predictive_coding``. A ``pipelined`` start goes ahead of its layer's pass, another ahead of all."""
    if order.chained:
        return np.where(kind == 0, layer, -layer), kind, step
    value, wave = kind >= 2, order.wave
    if wave == 1:
        # Edges first; then the interior; new values of the interior, of the lower edge, of the upper one.
        turn = np.where(layer == lo, 0, np.where(layer == hi - 1, 1, layer - lo + 1))
        turn = np.where((kind == 0) & (not pipelined), layer, turn)
        edge = np.where(kind == 3, hi + 1, np.where(layer == lo, hi, layer))
        return kind, np.where(value, edge, turn), np.where(value, 2, 1 if pipelined else kind), step
    cycle, batch = order.cycle, np.zeros_like(step)
    if cycle:
        batch, step = np.divmod(step, cycle)
    k, number = step % wave, step // wave + batch * -(-cycle // wave)
    upwards = (worker + number) % 2 == 0
    late = np.iinfo(np.int64).max // 2

    def turn_of(l: _Ints) -> _Ints:
        return np.where(upwards, l - lo, hi - 1 - l)

    inner = turn_of(np.where(upwards, layer, layer - 1)) + k
    at_edge = value & ((kind == 3) | (layer == lo))
    edge = turn_of(np.where(kind == 3, hi - 1, lo)) + k + 1
    last = at_edge & ((k == wave - 1) | (step == cycle - 1))
    front = np.where(at_edge, edge, np.where(value, inner, turn_of(layer) + k))
    front = np.where(last, late + (kind == 3), np.where((kind == 0) & (not pipelined), -1, front))
    turn = np.where(at_edge & ~last, k + 1, k)
    sub = np.where(at_edge, 0, np.where(value, 3, np.where(kind == 0, 1, 2)))
    return layer, sub, turn, front, number


def _grouped(graph: TaskGraph, net: Net, chained: bool) -> Draft:
    """One job for all tasks of one kind in a step; of BP, whose layers wait for one another, one for each task."""
    L = net.depth
    kinds, layers, steps = graph.kinds.astype(np.int64), graph.layers.astype(np.int64), graph.steps.astype(np.int64)
    chain = (kinds == Kind.START) | (chained & (kinds != Kind.UPDATE))
    key = (steps * len(Kind) + kinds) * (L + 1) + np.where(chain, layers, L)
    # In the order of the tasks, which is a topological one.
    _, first, job = np.unique(key, return_index=True, return_inverse=True)
    rank = np.argsort(first)
    place = np.empty_like(rank)
    place[rank] = np.arange(len(rank))
    job = place[job]
    first = np.sort(first)
    sizes = np.array(net.sizes)
    weights = np.bincount(
        job, np.where(kinds == Kind.VALUE, sizes[layers], sizes[layers] * sizes[np.minimum(layers + 1, L)])
    )
    value = kinds[first] == Kind.VALUE
    # A batch of products has the rows of all of them, at the mean number of columns.
    columns = np.where(value, weights, np.bincount(job, sizes[layers]) / np.bincount(job)).astype(np.int64)
    rows = np.where(value, 1, np.rint(weights / columns)).astype(np.int64)
    draft = Draft()
    bits = np.array([_BITS.get(kind, 0) for kind in Kind])[kinds[first]]
    draft.add(
        np.zeros(len(first)), work=bits, layer=np.where(chain[first], layers[first], 0), step=steps[first],
        rows=rows, columns=columns, batch=net.batch, update=graph.update_of[first],
    )  # fmt: skip
    indptr, before = graph.predecessors
    after = np.repeat(np.arange(len(graph)), np.diff(indptr))
    a, b = job[before], job[after]
    pairs = np.unique(np.stack([a[a != b], b[a != b]]), axis=1)
    draft.tie(pairs[0], pairs[1])
    return draft


def shares_that_differ(parts: Sequence[Sequence[int]]) -> tuple[list[_Ints], _Ints]:
    """The shares of those workers that differ from one another, and how many there are of each."""
    different, alike = np.unique(np.array(parts), axis=1, return_counts=True)
    return list(different), alike


def by_rows(net: Net, workers: int, graph: TaskGraph, ranks: bool = False) -> Plan:
    """BP with the rows of every matrix shared out: all workers meet after each layer, up and down."""
    L = net.depth
    parts, alike = shares_that_differ([[count for _, count in even_parts(n, workers)] for n in net.sizes])
    shares, sizes, several = np.array(parts), np.array(net.sizes), len(alike)
    fields = _contracted(graph, net, np.zeros(L, int), [(0, L)], _Order(chained=True)).fields()
    work, l, update = (fields[name][fields["update"] > 0] for name in ("work", "layer", "update"))
    # A pass is a job of everyone; they may meet after it, and each may add up its rows of all shares of the errors.
    upwards = work == PREDICT
    meets = np.flatnonzero((workers > 1) & np.where(upwards, l + 1 < L, l > 0))
    sums = meets[~upwards[meets]]
    counts = np.full(len(l), several)
    counts[meets] += 1
    counts[sums] += several
    passes = (np.cumsum(counts) - counts)[:, None] + np.arange(several)
    meetings, added = passes[meets, :1] + several, passes[sums] + several + 1
    order = np.argsort(np.concatenate([passes.ravel(), meetings.ravel(), added.ravel()]))

    def field(of_passes: Any, of_meetings: Any, of_sums: Any) -> _Ints:
        every = zip((of_passes, of_meetings, of_sums), (passes, meetings, added), strict=True)
        return np.concatenate([np.broadcast_to(value, numbers.shape).ravel() for value, numbers in every])[order]

    def alike_in(values: _Ints) -> _Ints:
        return field(values[:, None], values[meets, None], values[sums, None])

    everyone, kinds, handed = np.arange(several), (GATHER, REDUCE) if ranks else (MEET, MEET), l + upwards
    fetched = np.where((upwards & (l > 0))[:, None], net.batch * (sizes[l, None] - shares[l]), 0)
    of_others = net.batch * (workers - 1) * shares[l[sums]]
    draft = Draft()
    draft.add(
        field(everyone, NOBODY, everyone), work=field(work[:, None], 0, VALUE), layer=alike_in(l),
        meeting=field(0, np.where(upwards[meets], *kinds)[:, None], 0), step=alike_in(update), update=alike_in(update),
        rows=field(shares[l + 1], workers, 1), batch=net.batch,
        columns=field(sizes[l, None], sizes[handed[meets], None], np.maximum(1, shares[l[sums]])),
        fetched=0 if ranks else field(fetched, 0, of_others),
    )  # fmt: skip
    last = passes.copy()
    last[meets] = meetings
    last[sums] = added
    draft.tie(last[:-1], passes[1:])
    draft.tie(passes[meets], meetings)
    draft.tie(meetings[~upwards[meets]], added)
    return draft.plan("intra-layer", len(alike), 2, 1, alike)


def of_other_workers(
    net: Net, kind: int, l: int, shares: Sequence[_Ints], samples: _Ints, anew: bool = True
) -> _Ints | int:
    """Numbers that workers who share samples read of one another: weights that another has updated, and for the update
    of their own rows the values (``anew``: if these have changed) and errors of the others' samples."""
    form = net.form(l)
    if kind & (PREDICT | START):
        return net.columns[l] * (net.rows[l] - shares[l + 1]) if anew else 0
    if kind & UPDATE:
        errors = shares[l + 1] if form is None else form.above if form.pooled else shares[l + 1] * form.positions
        return (net.batch - samples) * (anew * net.sizes[l] + errors)
    return 0


def data_parallel(net: Net, workers: int, graph: TaskGraph, ranks: bool = False) -> Plan:
    """BP with the samples shared out. On threads each worker updates its rows of every matrix from all samples, once
    all errors are there; on ranks each has all weights, and the gradients are summed while the errors go on down."""
    L = net.depth
    parts = [[count for _, count in even_parts(n, workers)] for n in (net.sizes[0], *net.rows, net.batch)]
    (*shares, samples), alike = shares_that_differ(parts)
    everyone = np.arange(len(alike))
    draft, last = Draft(), np.full(len(alike), -1)
    for update in range(1, graph.updates):
        common = {"step": update, "update": update}

        def work(kind: int, l: int, rows: Any, batch: Any, after: _Ints, common: dict = common) -> _Ints:
            anew = kind != UPDATE or l > 0 or net.steps_per_batch is not None
            fetched = 0 if ranks else of_other_workers(net, kind, l, shares, samples, anew)
            jobs = draft.add(
                everyone, work=kind, layer=l, rows=rows, columns=net.columns[l], batch=batch, fetched=fetched, **common
            )
            draft.tie(after, jobs)
            return jobs

        def meet(kind: int, l: int, jobs: _Ints, common: dict = common) -> _Ints:
            if workers == 1:
                return jobs
            size = net.sizes[l] * net.sizes[l + 1]
            meeting = draft.add(NOBODY, meeting=kind, layer=l, rows=workers, columns=size, batch=1, **common)
            draft.tie(jobs, meeting[0])
            return np.full(len(alike), meeting[0])

        for l in range(L):
            last = work(PREDICT, l, net.rows[l], samples, last)
        sums, before = [], None
        for l in reversed(range(L)):
            if ranks:
                last = work(GRADIENT, l, net.sizes[l + 1], samples, last)
                sums.append(meet(ALLREDUCE, l, last))
                if before is not None:  # one after the other on the network
                    draft.tie(before, sums[-1][0])
                before = sums[-1][0]
            if l > 0:
                last = work(BACKPROJECT, l, net.rows[l], samples, last)
            if not ranks:
                last = meet(MEET, l, last) if l > 0 or L == 1 else last
                last = work(UPDATE, l, shares[l + 1], net.batch, last)
        for l, there in zip(reversed(range(L)), sums, strict=False):
            draft.tie(there, last := work(DESCEND, l, net.sizes[l + 1], samples, last))
        if not ranks:
            last = meet(MEET, 0, last)
    return draft.plan("data-parallel", len(alike), 2, 1, alike)


def pipeline(net: Net, workers: int, graph: TaskGraph, micro_batches: int, order: str = "split") -> Plan:
    """BP with blocks of layers on workers and micro-batches that pass through them.

    ``order``: "gpipe", all forwards and then all backwards (Huang et al. 2019); "1f1b", forwards and backwards in turn
    (Narayanan et al. 2019), a backward being both products, as published; "split", errors first and all weight
    gradients together at the end, as pcsim's engines do; "zero-bubble", in which a stage that would wait makes weight
    products of single micro-batches meanwhile (Qi et al. 2024; ``schedule.pipelines``).
    """
    if order not in ORDERS:
        raise InputError(f"order {order!r} of a pipeline is unknown: choose from {', '.join(ORDERS)}")
    L, M = net.depth, micro_batches
    blocks = balanced_blocks(net.costs(), workers)
    owner = np.concatenate([np.full(hi - lo, w) for w, (lo, hi) in enumerate(blocks)])
    samples, sizes, here = np.array([count for _, count in even_parts(net.batch, M)]), np.array(net.sizes), np.arange(L)
    heights, widths = np.array(net.rows), np.array(net.columns)
    left = samples[::-1].cumsum()[::-1]  # of the batch, from each micro-batch on
    passes = {}  # over a stage's block: layers and what is done at each
    for stage, (lo, hi) in enumerate(blocks):
        up, down = here[lo:hi], here[lo:hi][::-1]
        lower = down[down > 0]  # the lowest layer hands no error on
        passes["A", stage] = down, np.full(len(down), UPDATE)  # weight products of one micro-batch
        passes["F", stage] = up, np.full(len(up), PREDICT)
        passes["W", stage] = down, np.full(len(down), UPDATE)
        passes["B", stage] = lower, np.full(len(lower), BACKPROJECT)
        if order in ("gpipe", "1f1b"):
            both = np.tile([UPDATE, BACKPROJECT], len(down))[: len(down) + len(lower)]
            passes["B", stage] = np.repeat(down, 2)[: len(both)], both
    draft, updated = Draft(), np.full(L, -1)
    for update in range(1, graph.updates):
        jobs = np.full((3, L, M), -1)  # forwards, backwards, weights
        for stage in range(workers):
            program, turns = zip(*_stage(net, order, stage, workers, M), strict=True)
            l, work = (np.concatenate(parts) for parts in zip(*(passes[what, stage] for what in program), strict=True))
            lengths = [len(passes[what, stage][0]) for what in program]
            m, rest = np.repeat(turns, lengths), np.repeat([what == "W" for what in program], lengths)
            found = draft.add(
                np.full(len(l), stage), work=work, layer=l, rows=heights[l], columns=widths[l],
                batch=np.where(rest, left[m], samples[m]), step=update, update=update, part=m,
            )  # fmt: skip
            jobs[np.select([work == PREDICT, work == BACKPROJECT], [0, 1], 2), l, m] = found

        def hand(a: _Ints, b: _Ints, la: _Ints, lb: _Ints, parts: _Ints = samples) -> None:
            """Edges between two layers' jobs, one for each micro-batch: what is x[l] of the upper one goes over."""
            size = np.where(owner[la] != owner[lb], sizes[np.maximum(la, lb)] * net.item, 0)[:, None] * parts
            draft.tie(a, b, size)

        forward, backward, weights = jobs
        draft.tie(updated[:, None], forward)
        hand(forward[:-1], forward[1:], here[:-1], here[1:])
        errors = np.concatenate([backward[1:], forward[-1:]])  # above each layer
        above = np.minimum(here + 1, L - 1)
        hand(errors, backward, above, here)
        updated = weights.max(1)  # which is the last one, with all that were left
        hand(errors, np.where(weights < 0, updated[:, None], weights), above, here)
    return draft.plan("pipeline", workers, 2, 1)


def _stage(net: Net, order: str, stage: int, stages: int, M: int) -> list[tuple[str, int]]:
    """What a stage of a pipeline does, in order: forwards (F), backwards (B), weights of one micro-batch (A) and of all
    from there on (W), with the number of the micro-batch."""
    if order == "zero-bubble":
        turns = make_pipeline(order, tuple(net.costs()), stages, M).stages[stage]
        return [("FBAW"[what], m) for what, m in zip(turns.what.tolist(), turns.part.tolist(), strict=True)]
    last = stage == stages - 1
    if order == "gpipe":
        return [("F", m) for m in range(M)] + [("B", m) for m in range(M)]
    if order == "1f1b":
        ahead = min(M, stages - stage)
        program = [("F", m) for m in range(ahead)]
        for m in range(M):
            program.append(("B", m))
            if ahead + m < M:
                program.append(("F", ahead + m))
        return program
    if last:
        program = [(what, m) for m in range(M) for what in "FB"]
    else:
        program = [("F", m) for m in range(M)] + [("B", m) for m in range(M)]
    return [*program, ("W", 0)]
