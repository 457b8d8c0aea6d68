"""The results of a single cell in one line, as a table of one number says too little and three of them too much."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..results.files import Results
from ..results.pairs import HEADLINE, pairs, sides
from ..results.verdicts import percent
from ..tables import scaled, short
from .promises import chosen_words, in_brackets
from .words import place_words


def one_cell(results: Results) -> str | None:
    """The ratio, its interval and verdict, both times and who took them, ÷ serial BP, and SMMs; None where there are
    several cells, or none that has a ratio."""
    found, serial = _pairs(results, HEADLINE), _pairs(results, "paper-style")
    if len(found) != 1:
        return None
    (pair,) = found
    ours, theirs = (f"{scaled(pair[f'{prefix}median'])} ({chosen_words(pair, prefix)})" for prefix in ("", "other_"))
    name, _ = sides(HEADLINE, pair["algorithm"])
    parts = [
        f"{name} ÷ best BP, {pair['kind']} seconds per weight update: {short(pair['ratio'])}{in_brackets(pair)}, "
        f"{pair['verdict']}",
        f"{ours} against {theirs} at {place_words(pair)}, {pair['dtype']}, {pair['activation']}",
    ]
    if serial and pair["other_execution"] != "serial":
        parts.append(f"÷ serial BP (paper-style): {short(serial[0]['ratio'])}")
    if pair["resolves"] is not None:
        parts.append(f"this run can tell differences from {percent(pair['resolves'])} on")
    return "; ".join([*parts, f"SMMs (counted): {short(pair['smm_ratio'])}"])


def _pairs(results: Results, denominator: str) -> list[dict[str, Any]]:
    try:
        return pairs(results, denominator)
    except InputError:
        return []
