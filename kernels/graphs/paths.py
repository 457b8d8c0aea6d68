"""Loops over task graphs: longest paths, cycles, reachability, list schedules and the order of a recorded run.

A graph is the predecessors of every task in compressed rows: those of task v are
``indices[indptr[v]:indptr[v + 1]]``, all smaller than v, so that ascending ids are a topological order.
Arrays in, arrays filled, nothing returned; what a task means is not known here.
"""

import numpy as np

from ..machine.compiling import njit


@njit(cache=True, nogil=True)
def longest_path(indptr, indices, cost, finish):
    """finish[v] = cost[v] + the largest finish of its predecessors (0 without any)."""
    for v in range(finish.size):
        ready = 0
        for edge in range(indptr[v], indptr[v + 1]):
            ready = max(ready, finish[indices[edge]])
        finish[v] = ready + cost[v]


@njit(cache=True, nogil=True)
def critical_chain(indptr, indices, cost, finish, last, on_chain):
    """Mark one chain of edges that ends in task ``last`` and explains its finish time without a gap."""
    v = last
    while v >= 0:
        on_chain[v] = True
        ready = finish[v] - cost[v]
        v_next = -1
        for edge in range(indptr[v], indptr[v + 1]):
            if finish[indices[edge]] == ready:
                v_next = indices[edge]
                break
        v = v_next


@njit(cache=True, nogil=True)
def cycle_ratio(indptr, indices, lag, cost, ratio):
    """The largest sum of costs ÷ periods around any cycle of an endless graph in which one period of tasks repeats.

    Predecessor ``indices[edge]`` belongs to the same period (``lag[edge]`` 0) or to the one before (1); costs are whole
    numbers of at least 0. Fills ``ratio`` with (costs, periods), in lowest terms; (0, 1) where nothing goes round.

    A cycle with more than the best ratio so far is one that grows when every period takes that much off. The longest
    paths then never settle, and sooner or later the predecessors that explain them close a cycle of this kind (Lawler
    1967). Where they settle there is none.
    """
    tasks = cost.size
    length, chosen, seen = np.zeros(tasks, np.int64), np.full(tasks, -1), np.zeros(tasks, np.int64)
    best, periods = 0, 1
    while True:
        length[:] = 0
        chosen[:] = -1
        start, changed = -1, True
        while changed and start < 0:
            changed = False
            for v in range(tasks):
                for edge in range(indptr[v], indptr[v + 1]):
                    longer = length[indices[edge]] + periods * cost[v] - (best if lag[edge] else 0)
                    if longer > length[v]:
                        length[v], chosen[v], changed = longer, edge, True
            if changed:
                start = _on_a_cycle(indices, chosen, seen)
        if start < 0:
            ratio[0], ratio[1] = best, periods
            return
        best, periods, v = cost[start], np.int64(lag[chosen[start]]), indices[chosen[start]]
        while v != start:
            best += cost[v]
            periods += lag[chosen[v]]
            v = indices[chosen[v]]
        common, rest = best, periods
        while rest:
            common, rest = rest, common % rest
        best, periods = best // common, periods // common


@njit(cache=True, nogil=True)
def _on_a_cycle(indices, chosen, seen):
    """A task on a cycle of chosen predecessors, -1 if these close none. ``seen`` is scratch."""
    seen[:] = 0
    for first in range(seen.size):
        v = first
        while v >= 0 and seen[v] == 0:
            seen[v] = first + 1
            v = indices[chosen[v]] if chosen[v] >= 0 else -1
        if v >= 0 and seen[v] == first + 1:
            return v
    return -1


@njit(cache=True, nogil=True)
def reach(indptr, indices, reached):
    """Spread the marks already in ``reached`` along all edges."""
    for v in range(reached.size):
        for edge in range(indptr[v], indptr[v + 1]):
            if reached[indices[edge]]:
                reached[v] = True
                break


@njit(cache=True, nogil=True)
def _free_slot(next_free, slot):
    """First slot from ``slot`` on with an idle worker; shortens the way for the next search."""
    free = slot
    while next_free[free] != free:
        free = next_free[free]
    while next_free[slot] != free:
        following = next_free[slot]
        next_free[slot] = free
        slot = following
    return free


# Placing tasks one after the other into the first slot with an idle worker is list scheduling with the id as
# priority: with unit costs every worker is free again at every whole time, so a later task never holds up an
# earlier one, and no slot stays idle while a task is ready for it. It needs no heap.


@njit(cache=True, nogil=True)
def list_schedule(indptr, indices, cost, workers, start, finish, worker, busy, next_free):
    """Schedule all tasks on ``workers`` workers; costs 0 (no worker, ``worker[v] = -1``) or 1.

    ``busy`` (zeros) and ``next_free`` (0, 1, 2, ...) are scratch, one slot more than there are unit tasks.
    """
    for v in range(start.size):
        ready = 0
        for edge in range(indptr[v], indptr[v + 1]):
            ready = max(ready, finish[indices[edge]])
        worker[v] = -1
        if cost[v] > 0:
            ready = _free_slot(next_free, ready)
            worker[v] = busy[ready]
            busy[ready] += 1
            if busy[ready] == workers:
                next_free[ready] = ready + 1
        start[v] = ready
        finish[v] = ready + cost[v]


@njit(cache=True, nogil=True)
def steady_state(indptr, indices, lag, cost, workers, limit, rate):
    """Exact rate of the list schedule of an endless graph in which one period of tasks repeats.

    Predecessor ``indices[edge]`` belongs to the same period (``lag[edge]`` 0) or to the one before (1); costs
    are 0 or 1. Fills ``rate`` with (time, periods): so much time passes in so many periods for ever after.
    Periods stay 0 if no state came back within ``limit`` periods.

    The state after a period is all that later periods can see: finish times and busy slots from the first
    slot on that they can still use. Two equal states prove that what lies between repeats (Brent's search).
    """
    tasks = cost.size
    units = 0
    for v in range(tasks):
        units += cost[v]
    finish = np.zeros(tasks, np.int64)
    before = np.zeros(tasks, np.int64)
    reference = np.full(tasks, -1, np.int64)
    busy = np.zeros(units + 2, np.int64)
    next_free = np.arange(units + 2)
    reference_busy = np.zeros(units + 2, np.int64)
    reference_slots = -1
    reference_time = 0
    reference_period = 0
    renew = 1
    time = 0
    slots = 0
    for period in range(1, limit + 1):
        if slots + units + 2 > busy.size:
            wider = np.zeros(2 * (slots + units + 2), np.int64)
            wider[:slots] = busy[:slots]
            busy = wider
            next_free = np.arange(busy.size)
            for slot in range(slots):
                if busy[slot] == workers:
                    next_free[slot] = slot + 1
        before, finish = finish, before
        for v in range(tasks):
            ready = 0
            for edge in range(indptr[v], indptr[v + 1]):
                done = before[indices[edge]] if lag[edge] else finish[indices[edge]]
                ready = max(ready, done)
            if cost[v] > 0:
                ready = _free_slot(next_free, ready)
                busy[ready] += 1
                if busy[ready] == workers:
                    next_free[ready] = ready + 1
                slots = max(slots, ready + 1)
            finish[v] = ready + cost[v]

        earliest = slots
        for v in range(tasks):
            ready = 0
            inside = False
            for edge in range(indptr[v], indptr[v + 1]):
                if lag[edge]:
                    ready = max(ready, finish[indices[edge]])
                else:
                    inside = True
            if not inside:
                earliest = min(earliest, ready)
        base = min(max(earliest, _free_slot(next_free, 0)), slots)
        time += base
        slots -= base
        for slot in range(slots):
            busy[slot] = busy[slot + base]
        busy[slots : slots + base] = 0
        for slot in range(slots + base + 1):
            next_free[slot] = slot + 1 if busy[slot] == workers else slot
        for v in range(tasks):
            finish[v] = max(finish[v] - base, 0)

        if (
            slots == reference_slots
            and np.array_equal(finish, reference)
            and np.array_equal(busy[:slots], reference_busy[:slots])
        ):
            rate[0] = time - reference_time
            rate[1] = period - reference_period
            return
        if period == renew:
            renew *= 2
            reference[:] = finish
            reference_busy = busy.copy()
            reference_slots = slots
            reference_time = time
            reference_period = period
