"""Two results files compared, in words: tables of :mod:`pcsim.results.changes` as text, Markdown or CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..results.changes import FASTER, SLOWER, Changes, setting_differences
from ..results.fields import USUAL
from ..results.files import Results
from ..results.verdicts import UNRESOLVED, WITHIN, alike, verdict_words
from ..tables import between, conditions, layout, listing, scaled, short
from .promises import resolves
from .words import by_whom, case_cells, definition, first_few, latency_words, machine, team

DEFINITION = "change = seconds per complete weight update in NEW ÷ in OLD; below 1, NEW is faster"

CAUTION = (
    "intervals within one run are narrower than what a re-run shows: repeat both files with --launches 8 before a "
    "small change is believed"
)

HOURS = (
    "intervals know how processes differ, and not how hours do: give results files of this machine of other hours with "
    "--ledger FILE …"
)


def report(
    old: Results, new: Results, found: Changes, difference: float, format: str = "text", apart: Sequence[str] = ()
) -> str:
    """What changed: contenders, ratios, what has no partner, and a summary; ``apart``: in what the machines differ.

    CSV is one table, a line for each contender, ratio and missing row, and says in ``compared`` which it is.
    """
    if format == "csv":
        return _csv(found)
    texts = [_files(old, new, apart), DEFINITION]
    known = [row["basis"] or "" for row in found.contenders]
    texts += [CAUTION] if WITHIN in known else []
    texts += [HOURS] if any("hour" in basis for basis in known) else []
    texts.append(_contenders(found, format))
    if found.ratios:
        texts += [definition(found.ratios[0]["denominator"], new), _ratios(found, format)]
    else:
        texts.append("no cell has a ratio of iPC to BP in both files")
    if found.missing:
        texts.append("\n".join(["compared with nothing:", *_missing(found)]))
    return "\n\n".join([*texts, summary(found, difference)])


def summary(found: Changes, difference: float) -> str:
    """How many contenders have which verdict, in a sentence."""
    counts = Counter(row["verdict"] for row in found.contenders)
    words = {FASTER: "faster", SLOWER: "slower", alike(difference): f"show {alike(difference)}"}
    words[UNRESOLVED] = "not resolved"
    said = ", ".join(f"{counts[verdict]} {text}" for verdict, text in words.items())
    of = f"Of {len(found.contenders)} contender{'s' if len(found.contenders) > 1 else ''} in both files: {said}"
    last = resolves(found.contenders)
    said = f"{of}; {len(found.missing)} compared with nothing." if found.missing else f"{of}."
    return f"{said}\n{last}" if last else said


def too_slow(rows: Sequence[Mapping[str, Any]], limit: float) -> str:
    """A sentence on the contenders that are slower than a limit, or have failed."""
    texts = [
        f"{_who(row)}, {_cell(row)} ({row['why'] if row.get('why') else short(row['change'])})"
        for row in sorted(rows, key=lambda row: -row.get("change", 0))
    ]
    return f"slower than {limit:g} or failed: {first_few(texts)}"


def _files(old: Results, new: Results, apart: Sequence[str]) -> str:
    lines = [
        f"{name}: {results.path}, {results.context.get('time') or 'time unknown'}, {machine(results)}"
        for name, results in (("OLD", old), ("NEW", new))
    ]
    lines += [f"machines differ in {', '.join(apart)}: a change is not the code's alone"] if apart else []
    other = setting_differences(old, new)
    return "\n".join([*lines, *([f"also differs: {', '.join(other)}"] if other else [])])


def _contenders(found: Changes, format: str) -> str:
    header = ["algorithm", "by", "old", "new", "change", "interval", "p", "interval of", "verdict"]
    body = [
        [
            *case_cells(row),
            _algorithm(row),
            by_whom(row["execution"], team(row)),
            scaled(row["old"]),
            scaled(row["new"]),
            short(row["change"]),
            between(row["low"], row["high"]),
            "-" if row["p"] is None else f"{row['p']:.2g}",
            row["basis"] or "-",
            verdict_words(row),
        ]
        for row in found.contenders
    ]
    return listing(header, body, format)


def _ratios(found: Changes, format: str) -> str:
    header = ["old ratio", "interval", "new ratio", "interval", "new ÷ old", "interval", "interval of", "verdict"]
    body = [
        [
            *case_cells(row),
            short(row["old"]),
            between(row["old_low"], row["old_high"]),
            short(row["new"]),
            between(row["new_low"], row["new_high"]),
            short(row["change"]),
            between(row["low"], row["high"]),
            row["basis"] or "-",
            verdict_words(row),
        ]
        for row in found.ratios
    ]
    return listing(header, body, format)


def _missing(found: Changes) -> list[str]:
    """A line for each contender, with its cells."""
    lines: dict[tuple[str, str], list[str]] = {}
    for row in found.missing:
        lines.setdefault((row["why"], _who(row)), []).append(_cell(row))
    return [f"- {why}: {who}: {'; '.join(cells)}" for (why, who), cells in lines.items()]


def _csv(found: Changes) -> str:
    groups = (("contender", found.contenders), ("ratio", found.ratios), ("missing", found.missing))
    names = [
        "kind",
        "dtype",
        "activation",
        "batch",
        "depth",
        "width",
        "delay",
        *USUAL,
        "algorithm",
        "execution",
        "backend",
    ]
    names += [
        "workers",
        "ranks",
        "steps",
        "denominator",
        "old",
        "new",
        "change",
        "low",
        "high",
        "p",
        "basis",
        "resolves",
    ]
    names += ["old_low", "old_high", "new_low", "new_high"]
    body = [
        [compared, *map(row.get, names), row.get("verdict") or row.get("why"), row.get("error")]
        for compared, rows in groups
        for row in rows
    ]
    return layout(["compared", *names, "verdict", "error"], body, "csv")


def _algorithm(row: Mapping[str, Any]) -> str:
    return f"{row['algorithm']} (T = {row['steps']})" if row["algorithm"] == "pc" else row["algorithm"]


def _who(row: Mapping[str, Any]) -> str:
    return f"{_algorithm(row)} {by_whom(row['execution'], team(row))}"


def _cell(row: Mapping[str, Any]) -> str:
    kind = "" if row["kind"] == "measured" else f"{row['kind']} "
    net = row.get("net") or f"{row['depth']} × {row['width']}"
    return f"{kind}{net}, batch {row['batch']}{conditions(row)}{latency_words(row.get('delay'))}"
