"""What the intervals of a report promise, in words: of how many processes, chosen how often, resolving what."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..results.files import Results
from ..results.modes import Modes
from ..results.origin import intervals
from ..results.pairs import HEADLINE, sides
from ..results.pairs import pairs as all_pairs
from ..results.statistics import Ledger
from ..results.verdicts import WITHIN, percent
from ..tables import between, scaled
from .words import by_whom, first_few, place_words, team

ONE_PROCESS = (
    "Intervals are within one run and promise nothing about a re-run, and the fastest executions were chosen on the "
    "samples that are reported: measure with --launches 8"
)

_HOUR = "; of another hour with --ledger FILE …"


def promises(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be known of the intervals and choices behind the ratios: a sentence each, none of predictions."""
    known = [pair for pair in pairs if pair["low"] is not None]
    several = [pair for pair in known if pair["processes"] > 1]
    lines = [f"{ONE_PROCESS}."] if len(several) < len(known) else []
    for basis in dict.fromkeys(pair["basis"] for pair in several):
        lines.append(f"Re-run intervals, into which 95 of 100 repetitions fall: {basis}{_HOUR * ('hour' in basis)}.")
    wavering = [words for pair in several if (words := _choices(pair))]
    if wavering:
        lines.append(f"Not the same execution was the fastest in all processes: {first_few(wavering)}.")
    parted = [_parted(pair, prefix) for pair in pairs for prefix in ("", "other_") if pair[f"{prefix}modes"]]
    if parted:
        lines.append(f"Two modes, marked ‡, whose mean no run has: {first_few(list(dict.fromkeys(parted)))}.")
    return lines


def last_line(results: Results, denominator: str = HEADLINE, ledger: Ledger | None = None) -> list[str]:
    """How a report of something else than ratios ends: :func:`resolves`, where there are ratios."""
    try:
        found = resolves(all_pairs(results, denominator, spread=ledger.ratios if ledger else None))
    except InputError:
        return []
    return [found] if found else []


def worst_and_median(pairs: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """From which difference on a run can tell one: in the median cell, and in the worst."""
    known = [pair["resolves"] for pair in pairs if pair["resolves"] is not None]
    return (statistics.median(known), max(known)) if known else None


def resolves(pairs: Sequence[Mapping[str, Any]]) -> str | None:
    """From which difference on the run can tell one, in the median cell and in the worst; None without intervals."""
    known = sorted((pair["resolves"], place_words(pair)) for pair in pairs if pair["resolves"] is not None)
    if not known:
        return None
    worst, place = known[-1]
    within = f", {WITHIN}" if any(pair["basis"] == WITHIN for pair in pairs) else ""
    if len(known) == 1:
        return f"This run can tell differences from {percent(worst)} on{within}."
    middle = statistics.median(part for part, _ in known)
    return (
        f"This run can tell differences from {percent(middle)} on in the median cell and from {percent(worst)} on in "
        f"the worst ({place}){within}."
    )


def basis_words(results: Results) -> str:
    """What the intervals of a table are of, where its rows do not say it themselves."""
    known = intervals(results.rows)
    return f"intervals: {known if known == WITHIN else f'of ratios for a re-run, of times for their means, {known}'}"


def interval_columns(pairs: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headers, and the entries of each pair: the re-run interval and that of the ratio where several processes say it,
    ``within one run`` where one does."""
    several, single = (any((pair["processes"] > 1) == many for pair in pairs) for many in (True, False))
    header = ["re-run interval", "interval of the ratio"] * several + [WITHIN] * single
    body = []
    for pair in pairs:
        ends = between(pair["low"], pair["high"])
        of_many = [ends, between(pair["mean_low"], pair["mean_high"])] if pair["processes"] > 1 else ["-", "-"]
        body.append(of_many * several + [ends if pair["processes"] == 1 else "-"] * single)
    return header, body


def in_brackets(pair: Mapping[str, Any]) -> str:
    """The interval behind a ratio, and what it is of where that is one process."""
    if pair["low"] is None:
        return ""
    return f" ({between(pair['low'], pair['high'])}{f' {WITHIN}' * (pair['processes'] == 1)})"


def chosen_words(pair: Mapping[str, Any], prefix: str = "") -> str:
    """Who stands for a side, and in how many processes it was chosen where that is not all."""
    who = _who(pair, prefix) + "‡" * (pair[f"{prefix}modes"] is not None)
    often = pair[f"{prefix}chosen"]
    return who if often == pair["processes"] else f"{who}, {often} of {pair['processes']}"


def signs(pair: Mapping[str, Any]) -> str:
    """What stands behind a ratio: ``!`` where one of the times is unsteady, ``‡`` where one has two modes."""
    return "!" * pair["unsteady"] + "‡" * bool(pair["modes"] or pair["other_modes"])


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its two modes as a text, for CSV."""
    modes = {name: modes_words(row[name]) for name in ("modes", "other_modes") if row.get(name)}
    return {**row, **modes}


def modes_words(modes: Modes) -> str:
    """How many processes are at which time."""
    return f"{modes.fast_count} at {scaled(modes.fast)}, {modes.slow_count} at {scaled(modes.slow)}"


def _who(pair: Mapping[str, Any], prefix: str) -> str:
    return by_whom(str(pair[f"{prefix}execution"]), team(pair, prefix), pair[f"{prefix}variant"])


def _parted(pair: Mapping[str, Any], prefix: str) -> str:
    name = sides(pair["denominator"], pair["algorithm"])[prefix == "other_"]
    return f"{name} {_who(pair, prefix)} at {place_words(pair)}: {modes_words(pair[f'{prefix}modes'])}"


def _choices(pair: Mapping[str, Any]) -> str:
    names = sides(pair["denominator"], pair["algorithm"])
    texts = [
        f"{name} {chosen_words(pair, prefix)}"
        for name, prefix in zip(names, ("", "other_"), strict=True)
        if pair[f"{prefix}chosen"] < pair["processes"]
    ]
    return f"{' and '.join(texts)} at {place_words(pair)}" if texts else ""


def seconds_between(low: float | None, high: float | None) -> str:
    """An interval of times."""
    return "-" if low is None else f"{scaled(low)} to {scaled(high)}"
