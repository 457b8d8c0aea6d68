"""A race as a file holds it: who was tuned how, who reached which goal after what, and what follows from it.

Rows of ``pcsim-race/1`` have a ``phase``: ``race`` (what was declared), ``trial`` (of the tuning), ``goals`` (set when
BP was tuned), ``confirm`` (the best trials from more seeds, so that a lucky one is not chosen), ``final`` (the settings
that won, from seeds of their own), ``timed`` and ``predicted`` (seconds of an update of those).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError
from .fields import RACE, Row
from .files import Results, read

# What can be counted until a goal. A tuning chooses the best trial for each of TUNED; of the others the best of these.
TUNED = ("samples", "smm", "span")
LEAST_SEEDS = 3  # for a verdict


def cost_to(row: Row, goal: float, axis: str, rising: bool) -> float:
    """What a run had cost on an axis when it reached a goal; infinite where it never did. ``rising``: whether the score
    is an accuracy."""
    for updates, score in zip(row["updates"], row["score"], strict=True):
        if score is not None and (score >= goal if rising else score <= goal):
            return float(updates) * cost_of_update(row, axis)
    return math.inf


def cost_of_update(row: Row, axis: str) -> float:
    """What an update costs on an axis; ``span@2``: where no worker keeps more than 2 samples."""
    cost = row["cost"]
    if axis == "updates":
        return 1.0
    if "@" in axis:
        found = cost["spans"][axis.partition("@")[2]]
        return math.inf if found is None else float(found)
    return float(cost[axis])


@dataclass(frozen=True)
class Outcome:
    """What a contender's best settings cost until a goal: of each seed, infinite for a miss; ``reached``: how many did.
    ``trial``: which settings. ``ratio``: to the best BP, paired by seed, with its interval of 95 %; None where it
    cannot be told."""

    contender: str
    trial: int
    costs: tuple[float, ...]
    ratio: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def median(self) -> float:
        """A miss is infinite and stays in it."""
        return float(np.median(self.costs)) if self.costs else math.inf

    @property
    def reached(self) -> int:
        """Of how many seeds."""
        return sum(map(math.isfinite, self.costs))

    @property
    def verdict(self) -> str:
        """``fewer``, ``more`` or ``not resolved``; empty for whom nothing is compared."""
        if self.interval is None:
            return ""
        low, high = self.interval
        return "fewer" if high < 1 else "more" if low > 1 else "not resolved"


@dataclass
class Race:
    """The rows of a race, by what they are."""

    declared: Row
    trials: list[Row] = field(default_factory=list)
    confirms: list[Row] = field(default_factory=list)
    goals: tuple[float, ...] = ()
    missed: tuple[float, ...] = ()  # by every BP
    finals: list[Row] = field(default_factory=list)
    timed: list[Row] = field(default_factory=list)
    predicted: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Iterable[Row], where: str = "race") -> Race:
        """From rows in any order; InputError where nothing was declared, or two races are mixed."""
        rows = list(rows)
        declared = [row for row in rows if row["phase"] == "race"]
        if not declared:
            raise InputError(f"{where}: no race is declared in it; give a file that pcsim race wrote")
        if any(row != declared[0] for row in declared):
            raise InputError(f"{where}: holds two different races; give each a file of its own")
        found = cls(declared[0])
        for row in rows:
            if row["phase"] == "goals":
                found.goals, found.missed = tuple(row["goals"]), tuple(row["missed"])
            elif row["phase"] != "race":
                getattr(found, _LISTS[row["phase"]]).append(row)
        return found

    @property
    def rising(self) -> bool:
        """Whether the goal is an accuracy."""
        return bool(self.declared["problem"]["goal"] == "accuracy")

    @cached_property
    def contenders(self) -> dict[str, Row]:
        """What was declared of each."""
        return {one["name"]: one for one in self.declared["contenders"]}

    @property
    def axes(self) -> list[str]:
        """All that is counted."""
        bounds: Row = next((row["cost"]["spans"] for row in self.trials), {})
        return ["updates", "samples", "mm", "smm", "span", *(f"span@{bound}" for bound in bounds)]

    def faults(self) -> list[str]:
        """What makes the race unfair, or no race: a line each."""
        found, told = [], self.declared
        tuned = {name: 0 for name, one in self.contenders.items() if one["space"]}
        for row in self.trials:
            if row["contender"] in tuned:
                tuned[row["contender"]] += 1
        if len(set(tuned.values())) > 1:
            counts = ", ".join(f"{name} {count}" for name, count in tuned.items())
            found.append(f"unequal trials: {counts}")
        losses = {one["loss"] for one in self.contenders.values()} | {told["problem"]["loss"]}
        if len(losses) > 1:
            found.append(f"contenders with different losses: {', '.join(sorted(losses))}")
        if told["problem"].get("decided_by") == "test":
            found.append("test rows decided: they may only be reported")
        if len(told["seeds"]) < LEAST_SEEDS:
            count = len(told["seeds"])
            found.append(f"{count} seed{'s' if count > 1 else ''}, fewer than {LEAST_SEEDS}: no verdict")
        if self.finals and (left := [name for name in self.contenders if any(self.unconfirmed(name))]):
            found.append(f"best trials not all confirmed: {', '.join(left)}")
        for goal in self.missed:
            found.append(f"no BP reached {goal:g}: nothing is compared there")
        return found

    def candidates(self, contender: str, goal: float, axis: str) -> list[int]:
        """The trials that were best on an axis of ``TUNED``, best first, as many as are confirmed; where none reached
        the goal that which came nearest. Empty where there are no trials."""
        mine = [row for row in self.trials if row["contender"] == contender]

        def key(row: Row) -> tuple[float, float]:
            scores = [score for score in row["score"] if score is not None]
            nearest = (-max(scores) if self.rising else min(scores)) if scores else math.inf
            return cost_to(row, goal, axis, self.rising), nearest

        there = [row for row in mine if math.isfinite(key(row)[0])] or sorted(mine, key=key)[:1]
        most = self.declared.get("confirm", {"trials": 1})["trials"]
        return [int(row["trial"]) for row in sorted(there, key=key)[:most]]

    def unconfirmed(self, contender: str, goals: Sequence[float] | None = None) -> list[tuple[int, int]]:
        """Trials among which one has to be chosen, with the seeds from which they have not run again yet."""
        there = {(row["trial"], row["seed"]) for row in self.confirms if row["contender"] == contender}
        chosen = [self.candidates(contender, goal, axis) for goal in goals or self.goals for axis in TUNED]
        seeds = self.declared.get("confirm", {"seeds": []})["seeds"]
        rivals = dict.fromkeys(trial for each in chosen if len(each) > 1 for trial in each)
        return [(trial, seed) for trial in rivals for seed in seeds if (trial, seed) not in there]

    def best_trial(self, contender: str, goal: float, axis: str) -> int | None:
        """Which settings are chosen for an axis of ``TUNED``: of those that were best in the tuning that with the least
        median, the seeds that confirm it counted. None where there are no trials."""
        found = self.candidates(contender, goal, axis)
        return min(found, key=lambda trial: self._standing(contender, trial, goal, axis)) if found else None

    def _standing(self, contender: str, trial: int, goal: float, axis: str) -> tuple[float, int]:
        """The median cost of a trial and of the runs that confirm it, and how many of them missed the goal."""
        runs = [row for row in (*self.trials, *self.confirms) if (row["contender"], row["trial"]) == (contender, trial)]
        costs = [cost_to(row, goal, axis, self.rising) for row in runs]
        return float(np.median(costs)), sum(map(math.isinf, costs))

    def winners(self, goals: Sequence[float] | None = None) -> list[tuple[str, int]]:
        """Contenders and trials that are run again: the best for any goal and any of ``TUNED``."""
        found = {
            (name, trial): None
            for name in self.contenders
            for goal in (self.goals if goals is None else goals)
            for axis in TUNED
            if (trial := self.best_trial(name, goal, axis)) is not None
        }
        return list(found)

    def outcome(self, contender: str, goal: float, axis: str) -> Outcome | None:
        """What it cost from every seed with the settings that the tuning chose for this goal and axis (of an axis that
        nobody was tuned for, those among the winners that are the best on it in their trial); None where they were not
        run."""
        if axis in TUNED:
            trial = self.best_trial(contender, goal, axis)
        else:
            own = [trial for name, trial in self.winners() if name == contender]
            trial = min(own, key=lambda trial: self._standing(contender, trial, goal, axis), default=None)
        runs = {row["seed"]: row for row in self.finals if (row["contender"], row["trial"]) == (contender, trial)}
        if trial is None or not runs:
            return None
        costs = tuple(cost_to(runs[seed], goal, axis, self.rising) for seed in self.declared["seeds"] if seed in runs)
        return Outcome(contender, trial, costs)

    def priced(self, contender: str, goal: float, place: str, what: str = "seconds") -> Outcome | None:
        """The same in ``seconds`` or ``joules``: those of an update on a machine of a file, or as measured (the place
        ""), × updates, with those of the settings that were run which need the fewest; None where there are none."""
        found = []
        for row in (*self.timed, *self.predicted):
            if (row["contender"], row.get("machine", "")) == (contender, place) and row.get(what) is not None:
                runs = {run["seed"]: run for run in self.finals if (run["contender"], run["trial"]) == _which(row)}
                costs = [
                    cost_to(runs[seed], goal, "updates", self.rising) for seed in self.declared["seeds"] if seed in runs
                ]
                found.append(Outcome(contender, row["trial"], tuple(updates * row[what] for updates in costs)))
        return min(found, key=lambda one: one.median, default=None)

    @property
    def places(self) -> list[str]:
        """Where updates were timed (""), or on which machines they were predicted."""
        return list(dict.fromkeys(row.get("machine", "") for row in (*self.timed, *self.predicted)))

    def outcomes(self, goal: float, axis: str, place: str | None = None) -> list[Outcome]:
        """Of all contenders, with their ratios to the best of those who follow BP's gradient; this one first. With a
        ``place`` the axis is ``seconds`` or ``joules`` there."""
        every = (
            self.outcome(name, goal, axis) if place is None else self.priced(name, goal, place, axis)
            for name in self.contenders
        )
        found = [one for one in every if one is not None]
        exact = [one for one in found if self.contenders[one.contender]["exact"]]
        if not exact:
            return found
        best = min(exact, key=lambda one: one.median)
        rest = [one for one in found if one is not best]
        return [best, *(_compared(one, best) for one in rest)]

    def against(self, contender: str, other: str, goal: float, axis: str) -> Outcome | None:
        """The outcome of a contender, with its ratio to that of another; None where either was not run."""
        one, base = self.outcome(contender, goal, axis), self.outcome(other, goal, axis)
        return None if one is None or base is None else _compared(one, base)

    def share_reached(self, contender: str, goal: float) -> tuple[int, int]:
        """How many of the trials reached a goal, and how many there were."""
        mine = [row for row in self.trials if row["contender"] == contender]
        return sum(math.isfinite(cost_to(row, goal, "updates", self.rising)) for row in mine), len(mine)


_LISTS = {"trial": "trials", "confirm": "confirms", "final": "finals", "timed": "timed", "predicted": "predicted"}


def _which(row: Row) -> tuple[str, int]:
    return row["contender"], row["trial"]


def _compared(one: Outcome, best: Outcome) -> Outcome:
    """With the ratio of costs, by pairs of seeds: the median, and Student's interval of the logarithms."""
    if len(one.costs) != len(best.costs) or len(one.costs) < LEAST_SEEDS:
        return one
    logs = [math.log(a / b) for a, b in zip(one.costs, best.costs, strict=True) if math.isfinite(a * b)]
    if len(logs) < len(one.costs):  # of a miss only the side is known
        ratio = one.median / best.median if math.isfinite(one.median) and math.isfinite(best.median) else None
        return Outcome(one.contender, one.trial, one.costs, ratio)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(logs) - 1) * np.std(logs, ddof=1) / math.sqrt(len(logs)))
    middle = float(np.mean(logs))
    interval = math.exp(middle - half), math.exp(middle + half)
    return Outcome(one.contender, one.trial, one.costs, math.exp(middle), interval)


def load_race(path: Any) -> tuple[Race, Results]:
    """The race that a file holds."""
    known = read(path, RACE)
    return Race.of(known.rows, str(known.path)), known
