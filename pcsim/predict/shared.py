"""Plans of PC, Z-IL and iPC whose workers share layers: rows in teams (``engines.loops.teams``), or samples.

In a step a team meets twice, whatever its number of layers. Here it meets after all products and after all new values;
the engine tells both layer by layer and hides a part of them, so that predictions are on the safe side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..algorithms import Algorithm
from ..errors import InputError
from ..schedule.blocks import even_parts
from ..schedule.calendar import Calendar
from ..schedule.teams import Team, balanced_teams, one_team
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE
from .plans import MEET, NOBODY, Draft, Net, Plan, shares_that_differ

PERIODS = 3  # of which the last is the steady state


def shared_plan(algorithm: Algorithm, net: Net, execution: str, workers: int) -> Plan:
    """The plan of ``intra-layer``, ``hybrid`` or ``data-parallel`` on one host."""
    calendar = algorithm.checked_calendar(net.depth, net.steps_per_batch)
    if execution == "data-parallel":
        return _by_samples(calendar, net, workers)
    teams = one_team(net.depth, workers)
    if execution == "hybrid":
        teams = list(balanced_teams(net.sizes, net.batch, workers, 64 // net.item))
    return _by_teams(calendar, net, execution, teams)


def _steps(calendar: Calendar, depth: int) -> list[tuple[int, bool, bool, np.ndarray]]:
    """The steps of a period: (number, whether it begins with a forward start, whether values move, which update)."""
    updates, S = calendar.updates(depth), len(calendar.stages)
    return [
        (t, calendar.cycle > 0 and t == 0, calendar.stages[t % S].move, updates[t % S]) for t in range(calendar.period)
    ]


class _Members:
    """The members of a team: those that differ from one another, with their shares of every layer's units."""

    def __init__(self, net: Net, team: Team, first: int) -> None:
        self.team = team
        shares, self.alike = shares_that_differ([[c for _, c in even_parts(n, team.members)] for n in net.sizes])
        self.shares = np.array(shares)
        self.workers = first + np.arange(len(self.alike))


def _by_teams(calendar: Calendar, net: Net, execution: str, teams: list[Team]) -> Plan:
    L, draft, members, first = net.depth, Draft(), [], 0
    for team in teams:
        members.append(_Members(net, team, first))
        first += len(members[-1].alike)
    last: list[Any] = [np.full(len(m.alike), -1) for m in members]
    period, updates = _steps(calendar, L), calendar.period_updates

    def meet(m: _Members, after: Any, common: dict[str, Any]) -> Any:
        if m.team.members == 1:
            return after
        meeting = draft.add(NOBODY, meeting=MEET, rows=m.team.members, columns=1, batch=1, **common)
        draft.tie(after, meeting[0])
        return np.full(len(m.alike), meeting[0])

    def product(m: _Members, work: int, l: int, after: Any, common: dict[str, Any]) -> Any:
        jobs = draft.add(
            m.workers, work=work, layer=l, rows=m.shares[l + 1], columns=net.sizes[l], batch=net.batch, **common
        )
        draft.tie(after, jobs)
        return jobs

    def values(m: _Members, l: int, columns: Any, after: Any, common: dict[str, Any]) -> Any:
        jobs = draft.add(
            m.workers, work=VALUE, layer=l, rows=1, columns=np.maximum(1, columns), batch=net.batch, **common
        )
        draft.tie(after, jobs)
        return jobs

    for number in range(PERIODS):
        for t, start, moves, updated in period:
            common = {"step": number * len(period) + t, "update": number * updates}
            if start:
                below = None
                for k, m in enumerate(members):
                    for l in range(m.team.lo, m.team.hi):
                        jobs = product(m, START, l, last[k], common)
                        if below is not None:
                            draft.tie(below[:, None], jobs[None])
                        below, last[k] = jobs, meet(m, jobs, common)
            top: list[Any] = []  # of each team the products of its highest layer
            for k, m in enumerate(members):
                made = {}
                for l in reversed(range(m.team.lo, m.team.hi)):
                    work = (
                        (0 if start else PREDICT) | (UPDATE if updated[l] else 0) | (BACKPROJECT if moves and l else 0)
                    )
                    if work:
                        made[l] = last[k] = product(m, work, l, last[k], common)
                top.append(made.get(m.team.hi - 1, last[k]))
                last[k] = meet(m, last[k], common)
            if not moves:
                continue
            bottom: list[Any] = []
            for k, m in enumerate(members):
                lowest = None
                for l in range(max(m.team.lo, 1), m.team.hi):
                    # The sum of all shares is as much work again; a team of one has none.
                    times = 1 + (m.team.members > 1)
                    last[k] = values(m, l, times * m.shares[l], last[k], common)
                    lowest = last[k] if lowest is None else lowest
                    if k and l == m.team.lo:
                        draft.tie(top[k - 1][:, None], last[k][None], net.sizes[l] * net.batch * net.item)
                bottom.append(lowest)
                last[k] = meet(m, last[k], common)
            for k, m in enumerate(members[:-1]):
                hi = m.team.hi
                last[k] = values(m, hi, m.shares[hi], last[k], common)
                draft.tie(bottom[k + 1][:, None], last[k][None], net.sizes[hi] * net.batch * net.item)
    alike = np.concatenate([m.alike for m in members])
    return draft.plan(execution, len(alike), (PERIODS - 1) * updates, updates, alike)


def _by_samples(calendar: Calendar, net: Net, workers: int) -> Plan:
    if workers > net.batch:
        raise InputError(f"{workers} workers are more than the {net.batch} samples: use at most {net.batch}")
    L, draft = net.depth, Draft()
    (*rows, samples), alike = shares_that_differ(
        [[c for _, c in even_parts(n, workers)] for n in (*net.sizes, net.batch)]
    )
    everyone, last = np.arange(len(alike)), np.full(len(alike), -1)
    period, updates = _steps(calendar, L), calendar.period_updates

    def work(kind: int, l: int, shape: tuple[Any, Any, Any], after: Any, common: dict[str, Any]) -> Any:
        high, wide, batch = shape
        jobs = draft.add(everyone, work=kind, layer=l, rows=high, columns=wide, batch=batch, **common)
        draft.tie(after, jobs)
        return jobs

    def meet(after: Any, common: dict[str, Any]) -> Any:
        if workers == 1:
            return after
        meeting = draft.add(NOBODY, meeting=MEET, rows=workers, columns=1, batch=1, **common)
        draft.tie(after, meeting[0])
        return np.full(len(alike), meeting[0])

    for number in range(PERIODS):
        for t, start, moves, updated in period:
            common = {"step": number * len(period) + t, "update": number * updates}
            for l in range(L) if start else ():
                last = work(START, l, (net.sizes[l + 1], net.sizes[l], samples), last, common)
            for l in range(L):
                kind = (0 if start else PREDICT) | (BACKPROJECT if moves and l else 0)
                if kind:
                    last = work(kind, l, (net.sizes[l + 1], net.sizes[l], samples), last, common)
            last = meet(last, common)
            for l in np.flatnonzero(updated).tolist():
                last = work(UPDATE, l, (rows[l + 1], net.sizes[l], net.batch), last, common)
            last = meet(last, common)
            for l in range(1, L) if moves else ():
                last = work(VALUE, l, (1, net.sizes[l], samples), last, common)
    return draft.plan("data-parallel", len(alike), (PERIODS - 1) * updates, updates, alike)
