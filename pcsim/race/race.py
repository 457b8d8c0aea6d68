"""The phases of a race, in the order that keeps it fair: BP is tuned, goals are set, the others are tuned with as many
trials, the best of those are confirmed, and the winners run again from seeds that nobody was chosen by."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ..checks import is_whole, shown
from ..errors import InputError
from ..host.topology import usable_cores
from ..results.fields import Row
from ..results.races import Race
from ..training.run import Progress
from .contenders import Contender
from .problems import Problem
from .trials import run_trial

FIRST_SEED = 1000  # of the trials, which have one each; those of the winners are below it
CONFIRMING = (20_000, 20_001)  # seeds from which the best trials run again before one is chosen


@dataclass(frozen=True)
class Plan:
    """A race: who runs in which problem, with how many trials each, how many of the best of which are confirmed before
    one is chosen (1: none), and the winners from how many seeds.

    ``backend``: who trains, on one worker: counts do not depend on it.
    """

    problem: Problem
    contenders: Sequence[Contender]
    trials: int = 20
    seeds: int = 5
    confirm: int = 3
    backend: str = "threads"

    def __post_init__(self) -> None:
        for name, most in (("trials", 10_000), ("seeds", FIRST_SEED), ("confirm", 10_000)):
            if not is_whole(getattr(self, name)) or getattr(self, name) > most:
                raise InputError(f"{name} must be a whole number from 1 to {most}, not {getattr(self, name)}")
        for one in self.contenders:
            if one.loss != self.problem.loss:
                raise InputError(
                    f"contender {one.name} has another loss than {self.problem.name}: {one.loss}, not "
                    f"{self.problem.loss}"
                )
        if not any(one.exact for one in self.contenders):
            raise InputError("nobody in this race follows BP's gradient, with whom all are compared: add bp")

    @property
    def declared(self) -> Row:
        """What is set before anybody is tried."""
        return {
            "phase": "race", "problem": {**self.problem.told(), "goals": list(self.problem.goals)},
            "contenders": [one.told() for one in self.contenders], "trials": self.trials,
            "confirm": {"trials": self.confirm, "seeds": list(CONFIRMING)}, "seeds": list(range(self.seeds)),
        }  # fmt: skip

    def run(
        self, done: Iterable[Row] = (), on_progress: Callable[[str, int, int], None] = lambda text, done, total: None
    ) -> Iterator[Row]:
        """Every row that ``done`` does not hold, as soon as it is known. InputError if that is another race."""
        rows = list(done)
        before = next((row for row in rows if row["phase"] == "race"), None)
        if before is not None and before != self.declared:
            raise InputError(
                f"the file holds another race: {_difference(before, self.declared)}; give this one a file of its own"
            )

        def kept(row: Row) -> Row:
            rows.append(row)
            return row

        if before is None:
            yield kept(self.declared)
        drawn = {one.name: one.draws(self.trials) for one in self.contenders}

        def tuning(exact: bool, goals: Sequence[float]) -> list[Callable[[Any], Row]]:
            there = {(row["contender"], row["trial"]) for row in rows if row["phase"] == "trial"}
            return [
                self._job("trial", one, number, settings, FIRST_SEED + number, goals)
                for number in range(self.trials)
                for one in self.contenders
                if one.exact == exact and number < len(drawn[one.name]) and (one.name, number) not in there
                for settings in [drawn[one.name][number]]
            ]

        yield from map(kept, _side_by_side(tuning(True, ()), "tuning BP", on_progress))
        if not any(row["phase"] == "goals" for row in rows):
            yield kept(self._goals(Race.of(rows)))
        goals = next(row["goals"] for row in rows if row["phase"] == "goals")
        yield from map(kept, _side_by_side(tuning(False, goals), "tuning the others", on_progress))
        by_name, race = {one.name: one for one in self.contenders}, Race.of(rows)
        tried = {(row["contender"], row["trial"]): row["settings"] for row in race.trials}
        again = [
            self._job("confirm", one, trial, tried[name, trial], seed, goals)
            for name, one in by_name.items()
            for trial, seed in race.unconfirmed(name)
        ]
        yield from map(kept, _side_by_side(again, "confirming the best trials", on_progress))
        race = Race.of(rows)
        there = {(row["contender"], row["trial"], row["seed"]) for row in race.finals}
        finals = [
            self._job("final", by_name[name], trial, tried[name, trial], seed, goals)
            for seed in range(self.seeds)
            for name, trial in race.winners()
            if (name, trial, seed) not in there
        ]
        yield from map(kept, _side_by_side(finals, "winners from new seeds", on_progress))

    def _goals(self, race: Race) -> Row:
        """The problem's goals that a BP reached in its tuning; those that none did are told."""
        exact = [one.name for one in self.contenders if one.exact]
        reached = [goal for goal in self.problem.goals if any(race.share_reached(name, goal)[0] for name in exact)]
        if not reached:
            raise InputError(
                f"no BP reached any of the goals {', '.join(f'{goal:g}' for goal in self.problem.goals)}: give easier "
                "ones, more passes or more trials, and another file"
            )
        return {"phase": "goals", "goals": reached, "missed": [g for g in self.problem.goals if g not in reached]}

    def _job(
        self, phase: str, one: Contender, number: int, settings: dict[str, Any], seed: int, goals: Sequence[float]
    ) -> Callable[[Any], Row]:
        def job(on_progress: Callable[[Progress], None]) -> Row:
            row = run_trial(
                self.problem, one, settings, seed, goals, self.backend, on_progress, tested=phase == "final"
            )
            return {"phase": phase, "trial": number, **row}

        return job


def _difference(before: Row, now: Row) -> str:
    """The first thing that two declarations do not share."""
    name = next(name for name in now if before.get(name) != now[name])
    was, new = before.get(name), now[name]
    if isinstance(new, dict) and isinstance(was, dict):
        name = next(inner for inner in new if was.get(inner) != new[inner])
        was, new = was.get(name), new[name]
    elif name == "contenders" and isinstance(was, list):
        was, new = ([one["name"] for one in each] for each in (was, new))
        if was == new:
            return "its contenders have other search spaces"
    return f"its {name} {'are' if name.endswith('s') else 'is'} {shown(was)}, not {shown(new)}"


def _side_by_side(
    jobs: Sequence[Callable[[Any], Row]], text: str, on_progress: Callable[[str, int, int], None]
) -> Iterator[Row]:
    """The rows of all jobs as they end, one job for each core at a time; an interrupt ends them within a second or so
    and loses what they have not finished."""
    if not jobs:
        return
    ending = threading.Event()

    def heard(_: Progress) -> None:
        if ending.is_set():
            raise KeyboardInterrupt

    made = 0
    on_progress(text, made, len(jobs))
    left = list(reversed(jobs))
    with ThreadPoolExecutor(len(usable_cores()), "pcsim race") as pool:
        running: set[Future[Row]] = set()
        try:
            while left or running:
                while left and len(running) < len(usable_cores()):
                    running.add(pool.submit(left.pop(), heard))
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for each in ended:
                    made += 1
                    on_progress(text, made, len(jobs))
                    yield each.result()
        finally:
            ending.set()
