"""Plans of PC, Z-IL and iPC whose workers share layers: rows in teams (``engines.loops.teams``), or samples.

In a step a team meets twice, whatever its number of layers. Here it meets after all products and after all new values;
the engine tells both layer by layer and hides a part of them, so that predictions are on the safe side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..algorithms import Algorithm
from ..errors import InputError
from ..schedule.blocks import even_parts
from ..schedule.calendar import Calendar
from ..schedule.teams import Team, balanced_teams, one_team
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE
from .plans import MEET, NOBODY, Draft, Net, Plan, of_other_workers, shares_that_differ

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


def steps_of(calendar: Calendar, depth: int) -> list[tuple[int, bool, bool, np.ndarray]]:
    """The steps of a period: (number, whether it begins with a forward start, whether values move, which update)."""
    updates, S = calendar.updates(depth), len(calendar.stages)
    return [
        (t, calendar.cycle > 0 and t == 0, calendar.stages[t % S].move, updates[t % S]) for t in range(calendar.period)
    ]


def check_samples(net: Net, workers: int) -> None:
    """InputError where there are too few samples."""
    if workers > net.batch:
        raise InputError(f"{workers} workers are more than the {net.batch} samples: use at most {net.batch}")


class Members:
    """The members of a team: those that differ from one another, with their shares of every layer's units."""

    def __init__(self, net: Net, team: Team, first: int) -> None:
        self.team = team
        sizes = sorted(set(net.sizes))
        shares, self.alike = shares_that_differ([[c for _, c in even_parts(n, team.members)] for n in sizes])
        self.shares = np.array(shares)[np.searchsorted(sizes, net.sizes)]
        self.workers = first + np.arange(len(self.alike))


class TeamDraft(Draft):
    """A draft with the ``members`` of each team, and what they do together; ``after``: of each the job before."""

    def __init__(self, net: Net, teams: Sequence[Team]) -> None:
        super().__init__()
        self.net, self.members, first = net, [], 0
        for team in teams:
            self.members.append(Members(net, team, first))
            first += len(self.members[-1].alike)
        self.last: list[Any] = [np.full(len(m.alike), -1) for m in self.members]
        self.alike = np.concatenate([m.alike for m in self.members])

    def meet(self, m: Members, after: Any, common: dict[str, Any]) -> Any:
        """A barrier of a team."""
        if m.team.members == 1:
            return after
        meeting = self.add(NOBODY, meeting=MEET, rows=m.team.members, columns=1, batch=1, **common)
        self.tie(after, meeting[0])
        return np.full(len(m.alike), meeting[0])

    def product(self, m: Members, work: int, l: int, after: Any, common: dict[str, Any]) -> Any:
        """A pass over each member's rows of ``W[l]``, with the values below, of which each member has a share."""
        rows, columns, batch = m.shares[l + 1], self.net.sizes[l], self.net.batch
        fetched = batch * (columns - m.shares[l]) if l and work & (PREDICT | START) else 0
        jobs = self.add(
            m.workers, work=work, layer=l, rows=rows, columns=columns, batch=batch, fetched=fetched, **common
        )
        self.tie(after, jobs)
        return jobs

    def values(self, m: Members, l: int, columns: Any, after: Any, common: dict[str, Any], fetched: Any = 0) -> Any:
        """Elementwise work on so many units of layer l, with so many numbers from other members."""
        jobs = self.add(
            m.workers, work=VALUE, layer=l, rows=1, columns=np.maximum(1, columns), batch=self.net.batch,
            fetched=fetched, **common,
        )  # fmt: skip
        self.tie(after, jobs)
        return jobs


def _by_teams(calendar: Calendar, net: Net, execution: str, teams: list[Team]) -> Plan:
    draft = TeamDraft(net, teams)
    members, last = draft.members, draft.last
    period, updates = steps_of(calendar, net.depth), calendar.period_updates
    for number in range(PERIODS):
        for t, start, moves, updated in period:
            common = {"step": number * len(period) + t, "update": number * updates}
            if start:
                below = None
                for k, m in enumerate(members):
                    for l in range(m.team.lo, m.team.hi):
                        jobs = draft.product(m, START, l, last[k], common)
                        if below is not None:
                            draft.tie(below[:, None], jobs[None])
                        below, last[k] = jobs, draft.meet(m, jobs, common)
            top: list[Any] = []  # of each team the products of its highest layer
            for k, m in enumerate(members):
                made = {}
                for l in reversed(range(m.team.lo, m.team.hi)):
                    work = (
                        (0 if start else PREDICT) | (UPDATE if updated[l] else 0) | (BACKPROJECT if moves and l else 0)
                    )
                    if work:
                        made[l] = last[k] = draft.product(m, work, l, last[k], common)
                top.append(made.get(m.team.hi - 1, last[k]))
                last[k] = draft.meet(m, last[k], common)
            if not moves:
                continue
            bottom: list[Any] = []
            for k, m in enumerate(members):
                lowest = None
                for l in range(max(m.team.lo, 1), m.team.hi):
                    # The sum of all shares is as much work again; a team of one has none.
                    times = 1 + (m.team.members > 1)
                    of_others = net.batch * (m.team.members - 1) * m.shares[l]
                    last[k] = draft.values(m, l, times * m.shares[l], last[k], common, of_others)
                    lowest = last[k] if lowest is None else lowest
                    if k and l == m.team.lo:
                        draft.tie(top[k - 1][:, None], last[k][None], net.sizes[l] * net.batch * net.item)
                bottom.append(lowest)
                last[k] = draft.meet(m, last[k], common)
            for k, m in enumerate(members[:-1]):
                hi = m.team.hi
                last[k] = draft.values(m, hi, m.shares[hi], last[k], common)
                draft.tie(bottom[k + 1][:, None], last[k][None], net.sizes[hi] * net.batch * net.item)
    return draft.plan(execution, len(draft.alike), (PERIODS - 1) * updates, updates, draft.alike)


def _by_samples(calendar: Calendar, net: Net, workers: int) -> Plan:
    check_samples(net, workers)
    L, draft = net.depth, Draft()
    (*rows, samples), alike = shares_that_differ(
        [[c for _, c in even_parts(n, workers)] for n in (net.sizes[0], *net.rows, net.batch)]
    )
    everyone, last = np.arange(len(alike)), np.full(len(alike), -1)
    period, updates = steps_of(calendar, L), calendar.period_updates

    stale = [False] * L  # weights that others have updated since a worker read them
    new_input = False

    def work(
        kind: int, l: int, shape: tuple[Any, Any, Any], after: Any, common: dict[str, Any], anew: bool = False
    ) -> Any:
        high, wide, batch = shape
        fetched = of_other_workers(net, kind, l, rows, samples, anew)
        jobs = draft.add(everyone, work=kind, layer=l, rows=high, columns=wide, batch=batch, fetched=fetched, **common)
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
            new_input |= start and net.steps_per_batch is not None
            for l in range(L) if start else ():
                last = work(START, l, (net.rows[l], net.columns[l], samples), last, common, stale[l])
                stale[l] = False
            for l in range(L):
                kind = (0 if start else PREDICT) | (BACKPROJECT if moves and l else 0)
                if kind:
                    last = work(kind, l, (net.rows[l], net.columns[l], samples), last, common, stale[l])
                    stale[l] = stale[l] and not kind & PREDICT
            last = meet(last, common)
            for l in np.flatnonzero(updated).tolist():
                last = work(UPDATE, l, (rows[l + 1], net.columns[l], net.batch), last, common, bool(l or new_input))
                stale[l], new_input = True, new_input and l > 0
            last = meet(last, common)
            for l in range(1, L) if moves else ():
                last = work(VALUE, l, (1, net.sizes[l], samples), last, common)
    return draft.plan("data-parallel", len(alike), (PERIODS - 1) * updates, updates, alike)
