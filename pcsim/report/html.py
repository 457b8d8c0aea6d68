"""A results file as one page of HTML that opens offline: figures inside, tables that sort, where it comes from.

Whatever a file holds is text on the page and nothing else: it is escaped, figures are images that run no scripts, and
the page's policy lets only its own script run and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from string import Template
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..results.files import Results
from ..results.pairs import HEADLINE, Cell, cell_of, cells, failed, ladder, pairs, quotient
from ..results.statistics import Ledger
from ..results.verdicts import DIFFERENCE, UNRESOLVED, WITHIN, alike, undecided, verdict_words
from ..tables import between, scaled, short
from ..version import __version__
from .promises import basis_words, chosen_words, interval_columns, modes_words, seconds_between, signs
from .ratios import summary
from .words import by_whom, case_cells, definition, grid_of, notes_of, table_words, team

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
p, li { max-width: 60rem } code, pre { font: 13px/1.5 ui-monospace, monospace }
pre { background: #f4f4f4; padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
caption { text-align: left; color: #555; padding: .3rem 0 }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th { background: #fff; position: sticky; top: 0 }
td.notes, td code { white-space: normal; overflow-wrap: anywhere } td.notes { min-width: 24rem; text-align: left }
th button { all: unset; cursor: pointer } th button:focus-visible { outline: 2px solid #0072B2 }
th[aria-sort=ascending] button::after { content: " ▲" } th[aria-sort=descending] button::after { content: " ▼" }
td.word, th.word { text-align: left }
td.won { background: #dcebf5 } td.lost { background: #fae3d6 } td.open { color: #666 }
.warning { background: #fff4d6; padding: .4rem .8rem }
@media print { th { position: static } }
"""

# A click sorts by a column; a second one turns it round. Times are compared in seconds, whatever their unit.
_SCRIPT = """
const units = {s: 1, ms: 1e-3, "µs": 1e-6, ns: 1e-9};
function value(cell) {
  const text = cell.textContent.trim(), found = text.match(/^[~]?(-?[\\d.]+(?:e[-+]?\\d+)?)(?: (s|ms|µs|ns)\\b)?/);
  return text === "-" || text === "" ? null : found ? Number(found[1]) * (units[found[2]] || 1) : text;
}
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
}
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map(row => [value(row.cells[place]), row]);
      keyed.sort(([a], [b]) => compare(a, b) * (down && a !== null && b !== null ? -1 : 1));
      body.append(...keyed.map(pair => pair[1]));
    });
  });
}
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'sha256-$hash'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<h1>$title</h1>
$body
<script>$script</script>
</body>
</html>""")

_WORDS = {"kind", "type", "algorithm", "execution", "variant", "by", "iPC by", "BP by", "other by", "verdict", "notes"}


def page(
    results: Results, denominator: str = HEADLINE, difference: float = DIFFERENCE, ledger: Ledger | None = None
) -> str:
    """The page of a results file. Raises :class:`InputError` where it holds no rows, or for an unknown denominator."""
    known = cells(results)
    try:
        found = pairs(results, denominator, difference, ledger.ratios if ledger else None)
    except InputError:
        if denominator != HEADLINE:
            raise
        found = []
    said = summary(results, denominator, difference, ledger) if found else []
    parts = _head(results, said)
    if found:
        parts += [_section("Ratios", "".join(_grids(found, results, known, difference)))]
    drawn = [_drawn(figure, alt) for alt, figure in _figures(results, denominator, found)]
    parts += [_section("Figures", "".join(filter(None, drawn)))] if any(drawn) else []
    if found:
        parts.append(_section("Evidence", _evidence(found)))
    parts += [_section("Every BP", _rungs(results))] if any(row["algorithm"] == "bp" for row in results.rows) else []
    parts += [_section("Every row", _rows(known)), _section("Where it was measured", _origin(results))]
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    title = escape(f"pcsim report: {results.path.name}".encode(errors="replace").decode())
    return _PAGE.substitute(title=title, style=_STYLE, script=_SCRIPT, hash=digest, body="\n".join(parts))


# Parts


def _head(results: Results, said: Sequence[str]) -> list[str]:
    """What was run, and what came out, in sentences."""
    parts = [f"<pre>{escape(_command(run.get('command')))}</pre>" for run in (results.context, *results.resumed)]
    parts += [f'<p class="warning">{escape(text)}</p>' for text in results.warnings]
    if said:
        first, *rest = [text for text in said if not text.startswith("Note: ")]
        return [*parts, f"<p>{escape(first)}</p>", _list(rest)]
    broken = [f"{row['algorithm']} {row['execution']}: {row['error']}" for row in failed(results)]
    return [*parts, "<p>No cell has times of both iPC and BP, so there is no ratio.</p>", _list(broken)]


def _grids(
    found: Sequence[Mapping[str, Any]], results: Results, known: Mapping[Cell, Any], difference: float
) -> Iterable[str]:
    """Depth down, width across, a table for each kind, net type, batch, way in which batches change and delay;
    unequal nets have a line each."""
    by_cell = {cell_of(pair): pair for pair in found}
    broken = {cell_of(row) for row in failed(results)}
    for group in dict.fromkeys(cell.table for cell in known):
        inside = [cell for cell in known if cell.table == group and (cell in by_cell or cell in broken)]
        if not inside:
            continue
        corner, columns, grid = grid_of(inside)
        lines = []
        for first, row in grid:
            counted = next((by_cell[cell]["smm_ratio"] for cell in row if cell in by_cell), None)
            shown = (_ratio(by_cell.get(cell), cell in broken) for cell in row)
            lines.append(f"<tr><td>{escape(str(first))}</td>{''.join(shown)}<td>{short(counted)}</td></tr>")
        yield _table([corner, *columns, "SMMs (counted)"], lines, table_words(group))
    said = f"~ {alike(difference)}, or {UNRESOLVED}; ! one of the two times is unsteady; ‡ it has two modes"
    yield f"<p>{escape(said)}. Blue: iPC faster; orange: BP faster.</p>"


def _ratio(pair: Mapping[str, Any] | None, broken: bool) -> str:
    if pair is None:
        return f"<td>{'error' if broken else '-'}</td>"
    open_ = undecided(pair["verdict"])
    text = ("~" if open_ else "") + short(pair["ratio"]) + signs(pair)
    verdict = "open" if open_ else "won" if pair["ratio"] < 1 else "lost"
    ends = f"{between(pair['low'], pair['high'])} ({pair['basis']})"
    more = f"{ends}; {chosen_words(pair)} against {chosen_words(pair, 'other_')}"
    return f'<td class="{verdict}" title="{escape(more)}">{escape(text)}</td>'


def _evidence(found: Sequence[Mapping[str, Any]]) -> str:
    ends, intervals = interval_columns(found)
    header = ["kind", "type", "batch", "depth", "width", "ratio", *ends, "p", "verdict", "by", "seconds"]
    header += ["other by", "seconds", "SMMs (counted)"]
    body = [
        [
            *case_cells(pair),
            short(pair["ratio"]),
            *ends,
            "-" if pair["p"] is None else f"{pair['p']:.2g}",
            verdict_words(pair),
            chosen_words(pair),
            scaled(pair["median"]),
            chosen_words(pair, "other_"),
            scaled(pair["other_median"]),
            short(pair["smm_ratio"]),
        ]
        for pair, ends in zip(found, intervals, strict=True)
    ]
    return _sorted(header, body, definition(found[0]["denominator"], algorithm=found[0]["algorithm"]))


def _rungs(results: Results) -> str:
    header = ["kind", "type", "batch", "depth", "width", "execution", "by", "seconds", "interval", "notes"]
    body = [
        [
            *case_cells(rung),
            rung["execution"],
            "-" if rung["workers"] is None else by_whom("", team(rung), rung["variant"]).strip(),
            scaled(rung["median"]),
            seconds_between(rung["low"], rung["high"]),
            _rung_notes(rung),
        ]
        for rung in ladder(results)
        if rung["median"] is not None or rung["error"]
    ]
    said = "Backprop by each execution, on the workers with which it is the fastest"
    return _sorted(header, body, f"{said}; {basis_words(results)}")


def _rung_notes(rung: Mapping[str, Any]) -> str:
    notes = ["the fastest"] if rung["best"] else [f"error: {rung['error']}"] if rung["error"] else []
    return "; ".join([*notes, *([f"two modes: {modes_words(rung['modes'])}"] if rung["modes"] else [])])


def _rows(known: Mapping[Cell, Sequence[Mapping[str, Any]]]) -> str:
    header = ["kind", "type", "batch", "depth", "width", "algorithm", "execution", "workers", "seconds"]
    header += [WITHIN, "MM", "SMM", "SMM on workers", "GB/s", "roofline", "variant", "launch", "notes"]
    body = [
        [
            *case_cells(row),
            row["algorithm"],
            row["execution"],
            team(row) + (" (auto)" if row.get("auto") else ""),
            scaled(row["median"]),
            seconds_between(*(row["ci95"] or (None, None))),
            *(short(row.get(name), whole=True) for name in ("mm", "smm", "smm_workers")),
            short(quotient(row.get("bandwidth"), 1e9)),
            "-" if row.get("roofline") is None else f"{row['roofline']:.0%}",
            row.get("variant"),
            row.get("launch"),
            notes_of(row),
        ]
        for rows in known.values()
        for row in rows
    ]
    return _sorted(header, body, "Seconds per complete weight update: medians of the samples in the file")


def _origin(results: Results) -> str:
    """The context of every run, a line for each field."""
    parts = []
    for number, run in enumerate((results.context, *results.resumed)):
        lines = [
            f'<tr><td class="word">{escape(name)}</td><td class="word"><code>{escape(_said(value))}</code></td></tr>'
            for name, value in run.items()
        ]
        caption = "The run that began the file" if not number else f"A run that carried it on ({number})"
        parts.append(_table(["field", "value"], lines, caption, words=True))
    return "".join(parts) + f"<p>Page made by pcsim {escape(__version__)} from {escape(results.path.name)}.</p>"


# Figures


def _figures(
    results: Results, denominator: str, found: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[str, Callable[[], Figure]]]:
    """What can be drawn of the file, and what to call it where it cannot be seen."""
    from ..figures import ranks, ratios
    from .words import machine

    if found:
        yield f"ratio of iPC to {denominator}", lambda: ratios.ratio_figure(found, machine=machine(results))
    yield "seconds per update", lambda: ratios.times_figure(results)
    if any(row["execution"].endswith("-unfused") for row in results.rows):
        yield "where the gain comes from", lambda: ratios.gains_figure(results)
    if any((row.get("ranks") or 1) > 1 for row in results.rows):
        yield "scaling over MPI ranks", lambda: ranks.ranks_figure(results)


def _drawn(make: Callable[[], Figure], alt: str) -> str:
    """A figure as an image of SVG, in which nothing can run; nothing where the rows do not give it."""
    import matplotlib

    from ..figures.style import own_settings

    drawn = BytesIO()
    try:
        with warnings.catch_warnings(), own_settings(), matplotlib.rc_context({"svg.fonttype": "path"}):
            warnings.simplefilter("ignore")  # of signs that no font has
            make().savefig(drawn, format="svg", metadata={"Date": None})
    except InputError:
        return ""
    data = base64.b64encode(drawn.getvalue()).decode()
    return f'<figure><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}"></figure>\n'


# Marks


def _section(heading: str, content: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{content}"


def _list(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def _sorted(header: Sequence[str], body: Iterable[Sequence[Any]], caption: str) -> str:
    """A table that a click sorts. Columns that are empty throughout are left out."""
    lines = [["" if entry is None else str(entry) for entry in line] for line in body]
    kept = [place for place in range(len(header)) if any(line[place] not in ("", "-") for line in lines)]
    marks = [' class="notes"' if name == "notes" else ' class="word"' if name in _WORDS else "" for name in header]
    rows = [f"<tr>{''.join(f'<td{marks[n]}>{escape(line[n])}</td>' for n in kept)}</tr>" for line in lines]
    return _table([header[n] for n in kept], rows, caption, sorts=True)


def _table(header: Sequence[str], rows: Sequence[str], caption: str, sorts: bool = False, words: bool = False) -> str:
    heads = "".join(
        f'<th scope="col"{" class=word" if words or name in _WORDS else ""}>{escape(name)}</th>' for name in header
    )
    joined = "\n".join(rows)
    return (
        f'<div class="wide"><table{" class=sorts" if sorts else ""}><caption>{escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{joined}\n</tbody></table></div>\n"
    )


def _command(command: Any) -> str:
    if isinstance(command, list):
        return shlex.join(map(str, command))
    return str(command) if command else "(the command is not known)"


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
