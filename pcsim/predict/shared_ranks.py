"""Plans of PC, Z-IL and iPC on MPI ranks that share layers: rows or samples, a thread on each, or a team of threads.

What ranks tell each other, and beside which work, is as in the loops of the engine (``engines.loops.rows_ranks``,
``samples_ranks`` and ``teams_ranks``). Rows and samples: all to all, neighbouring layers together; teams: one message
up and one down between neighbours in a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from ..algorithms import Algorithm
from ..errors import InputError
from ..schedule.blocks import JOINED, SUMMED, even_parts, joined
from ..schedule.calendar import Calendar
from ..schedule.teams import one_team, teams_of_ranks
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE
from .plans import ALLREDUCE, DESCEND, EXCHANGE, GRADIENT, NOBODY, Draft, Net, Plan, shares_that_differ
from .shared import PERIODS, Members, TeamDraft, check_samples, steps_of


def plan_on_ranks(algorithm: Algorithm, net: Net, execution: str, workers: int, ranks: int) -> Plan:
    """The plan of ``intra-layer``, ``hybrid`` or ``data-parallel``; InputError where the engine has none."""
    calendar = algorithm.checked_calendar(net.depth, net.steps_per_batch)
    if execution == "hybrid":
        if workers % ranks or ranks > net.depth:
            raise InputError(
                f"hybrid on ranks is a team of as many threads on each of at most {net.depth} ranks, a layer for each: "
                f"{workers} workers on {ranks} ranks are not"
            )
        return _by_teams(calendar, net, ranks, workers // ranks)
    if workers != ranks:
        raise InputError(
            f"execution {execution!r} over ranks runs one thread on each: {workers} workers need {workers} ranks, "
            "or hybrid, which has a team of threads on each"
        )
    if execution == "data-parallel":
        check_samples(net, ranks)
        return _by_samples(calendar, net, ranks)
    plain = algorithm.optimizer == "sgd" and not algorithm.weight_decay
    return _by_rows(calendar, net, ranks, alone=net.batch > 1 or not plain)


def _by_rows(calendar: Calendar, net: Net, ranks: int, alone: bool) -> Plan:
    """Shares of drives, and later new values, are exchanged while the products of other layers are made; ``alone``: the
    update of ``W[0]``, for which nobody waits, is a product of its own at the end of a step."""
    L, draft = net.depth, TeamDraft(net, one_team(net.depth, ranks))
    (m,), (last,) = draft.members, draft.last
    begins = [1 + l for l in joined([net.batch * n * net.item for n in net.sizes[1:L]], JOINED)]
    groups = [range(lo, hi) for lo, hi in pairwise(begins)]
    group_of = {l: group for group in groups for l in group}
    period, updates = steps_of(calendar, L), calendar.period_updates
    port, coming = -1, dict.fromkeys(range(L), -1)  # the last exchange; that with each layer's values, if they are new

    def exchange(layers: range, after: Any, common: dict[str, Any]) -> int:
        nonlocal port
        columns = sum(net.sizes[l] for l in layers)
        meeting = draft.add(
            NOBODY, meeting=EXCHANGE, layer=layers[0], rows=ranks, columns=columns, batch=net.batch, **common
        )
        draft.tie(after, meeting[0])
        draft.tie(port, meeting[0])  # one after the other on the network
        port = int(meeting[0])
        return port

    def take(l: int, there: int, after: Any, common: dict[str, Any]) -> Any:
        """The values of others, which each rank activates for itself."""
        jobs = draft.values(m, l, net.sizes[l] - m.shares[l], after, common)
        draft.tie(there, jobs)
        return jobs

    def take_new(layers: Iterable[int], after: Any, common: dict[str, Any]) -> Any:
        for l in layers:
            if coming[l] >= 0:
                after = take(l, coming[l], after, common)
                coming[l] = -1
        return after

    for number in range(PERIODS):
        for t, start, moves, updated in period:
            common = {"step": number * len(period) + t, "update": number * updates}
            if start:
                last = take_new(range(1, L), last, common)
            for l in range(L) if start else ():
                last = draft.product(m, START, l, last, common)
                if l + 1 < L:
                    last = take(l + 1, exchange(range(l + 1, l + 2), last, common), last, common)
            shares = {}
            for l in (*range(1, L), 0):
                group = group_of.get(l, range(0))
                last = take_new(group, last, common)
                work = (0 if start else PREDICT) | (BACKPROJECT if moves and l else 0)
                work |= UPDATE if updated[l] and not (alone and l == 0) else 0
                if work:
                    last = draft.product(m, work, l, last, common)
                if moves and group and l == group[-1]:
                    shares[group[0]] = exchange(group, last, common)
            for group in groups if moves else ():
                for l in group:  # the sum of all shares is as much work again
                    last = draft.values(m, l, 2 * m.shares[l], last, common)
                    draft.tie(shares[group[0]], last)
                coming |= dict.fromkeys(group, exchange(group, last, common))
            if alone and updated[0]:
                last = draft.product(m, UPDATE, 0, last, common)
    return draft.plan("intra-layer", len(draft.alike), (PERIODS - 1) * updates, updates, draft.alike)


def _by_samples(calendar: Calendar, net: Net, ranks: int) -> Plan:
    """Every rank has all weights; the sum of the gradients of a layer is under way until its next product."""
    L, draft, weights = net.depth, Draft(), net.weights()
    (samples,), alike = shares_that_differ([[count for _, count in even_parts(net.batch, ranks)]])
    last = np.full(len(alike), -1)
    period, updates = steps_of(calendar, L), calendar.period_updates
    port, sums = -1, dict.fromkeys(range(L), -1)  # the last sum; that of each layer, if it is under way

    def work(kind: int, l: int, after: Any, common: dict[str, Any]) -> Any:
        rows = 1 if kind == VALUE else net.sizes[l + 1]
        jobs = draft.add(
            np.arange(len(alike)), work=kind, layer=l, rows=rows, columns=net.sizes[l], batch=samples, **common
        )
        draft.tie(after, jobs)
        return jobs

    def descend(l: int, after: Any, common: dict[str, Any]) -> Any:
        if sums[l] < 0:
            return after
        jobs = work(DESCEND, l, after, common)
        draft.tie(sums[l], jobs)
        sums[l] = -1
        return jobs

    for number in range(PERIODS):
        for t, start, moves, updated in period:
            common = {"step": number * len(period) + t, "update": number * updates}
            for l in range(L) if start else ():
                last = descend(l, last, common)
            for l in range(L) if start else ():
                last = work(START, l, last, common)
            first = 0  # of the layers that will share the next sum
            for l in range(L):
                last = descend(l, last, common)
                kind = (0 if start else PREDICT) | (BACKPROJECT if moves and l else 0)
                if kind:
                    last = work(kind, l, last, common)
                if updated[l]:
                    last = work(GRADIENT, l, last, common)
                    columns = sum(weights[first : l + 1])
                    if columns * net.item >= SUMMED or l + 1 == L or not updated[l + 1]:
                        (meeting,) = draft.add(
                            NOBODY, meeting=ALLREDUCE, layer=first, rows=ranks, columns=columns, batch=1, **common
                        )
                        draft.tie(last, meeting)
                        draft.tie(port, meeting)
                        port = int(meeting)
                        sums |= dict.fromkeys(range(first, l + 1), port)
                        first = l + 1
                else:
                    first = l + 1
                if moves and l:
                    last = work(VALUE, l, last, common)
    return draft.plan("data-parallel", len(alike), (PERIODS - 1) * updates, updates, alike)


def _by_teams(calendar: Calendar, net: Net, ranks: int, threads: int) -> Plan:
    """As on one host inside a team. What a team has for its neighbour leaves from its first member when all have made
    their part, and is there for all when the neighbour's first has it."""
    draft = TeamDraft(net, teams_of_ranks(net.sizes, net.batch, ranks, threads))
    members, last = draft.members, draft.last
    period, updates = steps_of(calendar, net.depth), calendar.period_updates

    def leave(m: Members, l: int, after: Any, common: dict[str, Any]) -> int:
        job = draft.add(m.workers[0], layer=l, **common)
        draft.tie(after, job)
        return int(job[0])

    def arrive(m: Members, l: int, boundary: int, sent: int, common: dict[str, Any]) -> int:
        job = draft.add(m.workers[0], layer=l, **common)
        draft.tie(sent, job, net.sizes[boundary] * net.batch * net.item)
        return int(job[0])

    for number in range(PERIODS):
        for t, start, moves, updated in period:
            common = {"step": number * len(period) + t, "update": number * updates}
            up: dict[int, int] = {}
            down: dict[int, int] = {}
            for k, m in enumerate(members if start else ()):
                lo, hi = m.team.lo, m.team.hi
                there = arrive(m, lo, lo, up[k - 1], common) if k else -1
                for l in range(lo, hi):
                    jobs = draft.product(m, START, l, last[k], common)
                    draft.tie(there, jobs)
                    last[k] = draft.meet(m, jobs, common)
                if hi < net.depth:
                    up[k] = leave(m, hi - 1, last[k], common)
            for k, m in enumerate(members):
                for l in reversed(range(m.team.lo, m.team.hi)):
                    work = (0 if start else PREDICT) | (BACKPROJECT if moves and l else 0)
                    work |= UPDATE if updated[l] else 0
                    if work:
                        last[k] = draft.product(m, work, l, last[k], common)
                    if moves and not start and l + 1 == m.team.hi < net.depth:
                        up[k] = leave(m, l, last[k], common)
                last[k] = draft.meet(m, last[k], common)
            for k, m in enumerate(members if moves else ()):
                several = threads > 1  # have shares to sum up, which is as much work again
                for l in range(max(m.team.lo, 1), m.team.hi):
                    if l > m.team.lo or not k:
                        last[k] = draft.values(m, l, (1 + several) * m.shares[l], last[k], common)
                        continue
                    if several:
                        last[k] = draft.values(m, l, m.shares[l], last[k], common)
                    down[k - 1] = leave(m, l, last[k], common)
                    there = arrive(m, l, l, up[k - 1], common)
                    last[k] = draft.values(m, l, m.shares[l], last[k], common)
                    draft.tie(there, last[k])
                last[k] = draft.meet(m, last[k], common)
            for k, m in enumerate(members[:-1] if moves else ()):
                hi = m.team.hi
                there = arrive(m, hi - 1, hi, down[k], common)
                last[k] = draft.values(m, hi, m.shares[hi], last[k], common)
                draft.tie(there, last[k])
    return draft.plan("hybrid", len(draft.alike), (PERIODS - 1) * updates, updates, draft.alike)
