"""Loops over task graphs: longest paths, reachability, list schedules and the order of a recorded run.

A graph is the predecessors of every task in compressed rows: those of task v are
``indices[indptr[v]:indptr[v + 1]]``, all smaller than v, so that ascending ids are a topological order.
Arrays in, arrays filled, nothing returned; what a task means is not known here.
"""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def longest_path(indptr, indices, cost, finish):
    """finish[v] = cost[v] + the largest finish of its predecessors (0 without any)."""
    for v in range(finish.size):
        ready = 0
        for edge in range(indptr[v], indptr[v + 1]):
            ready = max(ready, finish[indices[edge]])
        finish[v] = ready + cost[v]


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def reach(indptr, indices, reached):
    """Spread the marks already in ``reached`` along all edges."""
    for v in range(reached.size):
        for edge in range(indptr[v], indptr[v + 1]):
            if reached[indices[edge]]:
                reached[v] = True
                break


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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


# Plans: jobs with a worker each, taken in the order of their numbers, period after period.


@numba.njit(cache=True, nogil=True)
def runnable_order(workers, worker, at, before, lag, order):
    """An order of the jobs of one period in which each comes after those it waits for and after its worker's earlier
    ones; returns how many could be ordered (fewer than all: some wait for one another in a ring)."""
    count = worker.size
    waiting = np.zeros(count, np.int32)
    first = np.zeros(count + 1, np.int64)
    for v in range(count):
        for edge in range(at[v], at[v + 1]):
            if not lag[edge]:
                waiting[v] += 1
                first[before[edge] + 1] += 1
    for v in range(count):
        first[v + 1] += first[v]
    place = first[:-1].copy()
    after = np.empty(first[count], np.int32)
    following = np.full(count, -1, np.int32)
    latest = np.full(workers, -1, np.int32)
    for v in range(count):
        for edge in range(at[v], at[v + 1]):
            if not lag[edge]:
                after[place[before[edge]]] = v
                place[before[edge]] += 1
        w = worker[v]
        if w >= 0:
            if latest[w] >= 0:
                following[latest[w]] = v
                waiting[v] += 1
            latest[w] = v
    end = 0
    for v in range(count):
        if waiting[v] == 0:
            order[end] = v
            end += 1
    begin = 0
    while begin < end:
        v = order[begin]
        begin += 1
        for place_of in range(first[v], first[v + 1]):
            u = after[place_of]
            waiting[u] -= 1
            if waiting[u] == 0:
                order[end] = u
                end += 1
        u = following[v]
        if u >= 0:
            waiting[u] -= 1
            if waiting[u] == 0:
                order[end] = u
                end += 1
    return end


@numba.njit(cache=True, nogil=True)
def _one_period(order, worker, at, before, lag, delay, message, seconds, occupied, earlier, start, finish, arrived,
                arrived_before, sent_by, free, port):  # fmt: skip
    for place in range(order.size):
        v = order[place]
        w = worker[v]
        time = free[w] if w >= 0 else 0.0
        for edge in range(at[v], at[v + 1]):
            m = message[edge]
            if m >= 0:
                there = arrived_before[m] if lag[edge] else arrived[m]
            else:
                there = earlier[before[edge]] if lag[edge] else finish[before[edge]]
            time = max(time, there + delay[edge])
        start[v] = time
        time += seconds[v]
        finish[v] = time
        if w >= 0:
            free[w] = time
            for m in range(sent_by[v], sent_by[v + 1]):  # one after the other through the sender's port
                port[w] = max(port[w], time) + occupied[m]
                arrived[m] = port[w]


@numba.njit(cache=True, nogil=True)
def run_plan(
    order, worker, at, before, lag, delay, message, seconds, occupied, sent_by, workers, limit, tolerance, start,
    finish, rate,
):  # fmt: skip
    """Time a plan's period again and again until its state is that of an earlier one, shifted in time.

    ``seconds`` of each job; ``delay`` of each edge; ``message[edge]``, -1 or the number of the message that it waits
    for; those of job v are ``sent_by[v]`` up to ``sent_by[v + 1]``, and take ``occupied`` of its worker's port each.
    Fills ``start`` and ``finish`` of the last period, and ``rate``: seconds, in so many periods, and whether the state
    came back within ``limit`` periods: then it does so for ever, as a period's times depend on nothing but the state.
    """
    jobs, messages = worker.size, occupied.size
    earlier, arrived, arrived_before = np.zeros(jobs), np.zeros(messages), np.zeros(messages)
    free, port = np.zeros(workers), np.zeros(workers)
    kept, kept_free, kept_port, kept_arrived = np.zeros(jobs), np.zeros(workers), np.zeros(workers), np.zeros(messages)
    kept_end, kept_period, renew = 0.0, 0, 1
    half_end, half_period = 0.0, 0
    last = 0.0
    for period in range(1, limit + 1):
        _one_period(order, worker, at, before, lag, delay, message, seconds, occupied, earlier, start, finish,
                    arrived, arrived_before, sent_by, free, port)  # fmt: skip
        end = finish.max()
        if period == (limit + 1) // 2:
            half_end, half_period = end, period
        shift, same = end - kept_end, True
        slack = tolerance * max(end - last, 1e-300)
        last = end
        if period > 1:
            for v in range(jobs):
                if abs(finish[v] - kept[v] - shift) > slack:
                    same = False
                    break
        if same and period > 1:
            for w in range(workers):
                # A port that is idle does not matter, whenever it was used last.
                if abs(free[w] - kept_free[w] - shift) > slack and free[w] > 0:
                    same = False
            for m in range(messages):
                if abs(arrived[m] - kept_arrived[m] - shift) > slack:
                    same = False
            if same:
                rate[0], rate[1], rate[2] = shift, period - kept_period, 1.0
                return
        if period == renew:
            renew *= 2
            kept[:], kept_free[:], kept_port[:], kept_arrived[:] = finish, free, port, arrived
            kept_end, kept_period = end, period
        earlier[:], arrived_before[:] = finish, arrived
        # Times near zero keep their digits over any number of periods.
        if period < limit:
            base = earlier.min()
            if base > 0.0:
                earlier -= base
                arrived_before -= base
                free -= base
                port -= base
                kept -= base
                kept_free -= base
                kept_port -= base
                kept_arrived -= base
                kept_end -= base
                half_end -= base
                last -= base
    rate[0], rate[1], rate[2] = end - half_end, max(1, limit - half_period), 0.0
    if limit == 1:
        rate[0], rate[1] = end, 1


@numba.njit(cache=True, nogil=True)
def reuse_distances(workers, worker, layer, layers, size, capacity, kept, distances, lost, footprints):
    """For each job the bytes of the layers that its worker goes through from its last job on the same layer
    up to this one, both included (LRU stack distance); how likely it is that a cache of ``capacity`` bytes has lost
    them although it could have them, 1 - exp(-b / ``kept``) after b bytes were fetched from beyond it; and for each
    worker the bytes of all its layers."""
    latest = np.full((workers, layers), -1, np.int64)
    weight = np.zeros((workers, layers))
    touched = np.zeros((workers, layers), np.int32)
    known = np.zeros(workers, np.int32)
    fetched, before = np.zeros(workers), np.zeros((workers, layers))
    jobs = worker.size
    for turn in range(3):
        for v in range(jobs):
            w, l = worker[v], layer[v]
            if w < 0 or size[v] == 0:
                continue
            if latest[w, l] < 0:
                touched[w, known[w]] = l
                known[w] += 1
                distances[v] = np.inf
            else:
                total = weight[w, l]
                for i in range(known[w]):
                    other = touched[w, i]
                    if other != l and latest[w, other] > latest[w, l]:
                        total += weight[w, other]
                distances[v] = total
                lost[v] = 1.0 - np.exp(-(fetched[w] - before[w, l]) / kept)
            before[w, l] = fetched[w]
            fetched[w] += size[v] if distances[v] > capacity[w] else size[v] * lost[v]
            latest[w, l] = turn * jobs + v
            weight[w, l] = max(weight[w, l], size[v])
    for w in range(workers):
        footprints[w] = weight[w].sum()
