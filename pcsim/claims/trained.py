"""Claims about learning, which races decide: all tuned with the same effort, the winners from seeds of their own."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..host.context import capture
from ..race.contenders import chosen
from ..race.problems import problem
from ..race.race import Plan
from ..report.races import count
from ..results.fields import RACE
from ..results.files import Writer
from ..results.races import Outcome, Race
from .claim import FAILS, HOLDS, ONLY_IF, UNRESOLVED, Claim, Finding, Work
from .counted import IPC_PAPER


def _file(work: Work, name: str, depth: int | None) -> str:
    """Claims about one race share its file."""
    return f"race-{name}{f'-{depth}' if depth else ''}{'-quick' if work.quick else ''}.jsonl.gz"


def raced(work: Work, name: str, depth: int | None, who: Sequence[str], goals: Sequence[float] = ()) -> Race:
    """A race in a file beside the finding, carried on where it stopped."""
    setting = problem(name, depth, goals)
    plan = Plan(setting, chosen(setting, list(who)), *((6, 3) if work.quick else (20, 5)))
    file = work.folder / _file(work, name, depth)
    _ = plan.declared  # looks for the data before anything is written
    with Writer(file, capture(["pcsim", "claims", "run"]), file.exists(), RACE) as writer:
        rows = list(writer.rows)
        for row in plan.run(list(rows), work.on_progress):
            rows.append(writer.write(row))
    return Race.of(rows)


def compared(race: Race, goal: float, axis: str, one: str) -> tuple[Outcome | None, Outcome | None]:
    """The best BP and the contender on an axis."""
    outcomes = race.outcomes(goal, axis)
    return (outcomes[0] if outcomes else None), next((each for each in outcomes if each.contender == one), None)


def _said(found: Outcome | None) -> str:
    if found is None or found.ratio is None:
        return "–"
    if found.interval is None or not all(map(math.isfinite, found.interval)):
        return f"{found.ratio:.3g} (too few pairs for an interval)"
    return "{:.3g} ({:.3g} to {:.3g})".format(found.ratio, *found.interval)


def _table(race: Race, axes: Sequence[str]) -> tuple[tuple[Any, ...], ...]:
    body: list[tuple[Any, ...]] = []
    for goal in race.goals:
        for name in race.contenders:
            found = [race.outcome(name, goal, axis) for axis in axes]
            body.append((f"{goal:g}", name, *(count(one.median) if one else "–" for one in found)))
    return ("goal", "contender", *axes), *body


def fewer(
    work: Work, name: str, depth: int | None, who: Sequence[str], one: str, axis: str, but: str = "", goals: Any = ()
) -> Finding:
    """Whether ``one`` needs less on an axis than the best BP, to the last goal; ``but``: another axis, on which that
    has to hold too, or else it is a condition."""
    race = raced(work, name, depth, who, goals)
    goal, seeds = race.goals[-1], len(race.declared["seeds"])
    best, found = compared(race, goal, axis, one)
    axes = list(dict.fromkeys([axis, *([but] if but else []), "samples", "smm", "span"]))
    evidence: dict[str, Any] = {
        "table": _table(race, axes), "seeds": seeds, "files": (_file(work, name, depth),),
    }  # fmt: skip
    verdict = found.verdict if found else ""
    said = f"To {goal:g}, {one} ÷ {best.contender if best else 'BP'}: {axis} {_said(found)}"
    if but:
        other = compared(race, goal, but, one)
        said += f"; {but} {_said(other[1])} of {other[0].contender if other[0] else 'BP'}"
        if verdict == "fewer" and (other[1] is None or other[1].verdict == "more"):
            return Finding(ONLY_IF, said, f"{axis} count, and not {but}", **evidence)
    if found is not None and not found.verdict and found.reached < len(found.costs):
        said += f" (reached from {found.reached} of {len(found.costs)} seeds)"
        return Finding(FAILS if found.reached <= len(found.costs) // 2 else UNRESOLVED, said, **evidence)
    return Finding({"fewer": HOLDS, "more": FAILS}.get(verdict, UNRESOLVED), said, **evidence)


def suffices(work: Work, name: str, depth: int | None, who: Sequence[str], one: str) -> Finding:
    """Whether ``one`` reaches every goal that BP reaches, with no more samples than a half more."""
    race = raced(work, name, depth, who)
    goal, seeds = race.goals[-1], len(race.declared["seeds"])
    best, found = compared(race, goal, "samples", one)
    evidence: dict[str, Any] = {
        "table": _table(race, ["samples", "smm", "span"]), "seeds": seeds, "files": (_file(work, name, depth),),
    }  # fmt: skip
    said = f"To {goal:g}, {one} ÷ {best.contender if best else 'BP'}: samples {_said(found)}"
    if found is None or found.interval is None:
        return Finding(UNRESOLVED if found and found.reached > seeds // 2 else FAILS, said, **evidence)
    low, high = found.interval
    return Finding(HOLDS if high < 1.5 else FAILS if low > 1.5 else UNRESOLVED, said, **evidence)


def beats(work: Work, name: str, depth: int | None, who: Sequence[str], one: str, other: str, axis: str) -> Finding:
    """Whether ``one`` needs less on an axis than ``other``, to the last goal."""
    race = raced(work, name, depth, who)
    goal, seeds = race.goals[-1], len(race.declared["seeds"])
    found = race.against(one, other, goal, axis)
    shares = ", ".join("{} in {} of {} trials".format(each, *race.share_reached(each, goal)) for each in (one, other))
    return Finding(
        {"fewer": HOLDS, "more": FAILS}.get(found.verdict if found else "", UNRESOLVED),
        f"To {goal:g}, {one} ÷ {other}: {axis} {_said(found)}; reached by {shares}",
        table=_table(race, [axis, "samples", "mm"]), seeds=seeds, files=(_file(work, name, depth),),
    )  # fmt: skip


CLAIMS = (
    Claim(
        "figure-2-right", f"{IPC_PAPER}, Fig. 2 (right) and Fig. 8",
        "With the full batch of 250 FashionMNIST images iPC reaches a training loss in fewer SMMs than BP.",
        "a tuned BP that needs no more SMMs; or no larger span, where it may split its batch",
        partial(fewer, name="fashion-250", depth=4, who=("bp", "ipc", "pc"), one="ipc", axis="smm", but="span"),
        "trained",
    ),
    Claim(
        "ipc-beats-pc", f"{IPC_PAPER}, Sec. 3.1",
        "iPC converges faster than PC, which waits for T steps before it learns.",
        "a tuned PC that needs no more SMMs than a tuned iPC",
        partial(beats, name="fashion-250", depth=4, who=("bp", "ipc", "pc"), one="ipc", other="pc", axis="smm"),
        "trained",
    ),
    Claim(
        "sample-efficient", "arXiv:2605.11911",
        "Predictive coding needs fewer samples than BP, most of all in deep and narrow nets.",
        "BP, which may dwell on a sample as long as iPC does, needs no more samples",
        partial(fewer, name="deep-narrow", depth=None, who=("bp", "bp-dwelling", "ipc"), one="ipc", axis="samples"),
        "trained",
    ),
    Claim(
        "pipelines-suffice", "Kosson et al. 2020, arXiv:2003.11666",
        "A batch of one in a pipeline that never flushes learns as well as sequential SGD.",
        "asynchronous BP that needs more than half as many samples again, or misses the goal",
        partial(
            suffices, name="fashion-online", depth=None, who=("bp", "bp-async", "bp-async-nesterov"), one="bp-async",
        ),
        "trained",
    ),
)  # fmt: skip
