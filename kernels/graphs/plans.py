"""Compiled loops over plans: the order of jobs, their times, and the reuse distances of their data."""

import numpy as np

from ..machine.compiling import njit

# Plans: jobs with a worker each, taken in the order of their numbers, period after period.


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
