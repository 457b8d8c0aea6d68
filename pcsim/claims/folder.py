"""A folder of findings: experiments run into it, one file each, and what it says as Markdown or a page."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..checks import FLAG, Rule, list_of, one_of, whole
from ..errors import InputError
from ..host.context import capture
from ..results.origin import machine
from ..streams import read_bytes, write_whole
from ..tables import layout
from . import accuracies, computed, counted, deep, elsewhere, generative, measured, reliability, trained
from .claim import UNTESTED, VERDICTS, Claim, Finding, Work

SCHEMA = "pcsim-claim/1"

_MODULES = (counted, computed, measured, trained, generative, accuracies, deep, reliability, elsewhere)

CLAIMS: dict[str, Claim] = {claim.id: claim for module in _MODULES for claim in module.CLAIMS}

_TEXT: Rule = ("a text", lambda value: isinstance(value, str))
_TEXTS = list_of("a list of texts", lambda value: isinstance(value, str))
_FIELDS: dict[str, Rule] = {
    "id": _TEXT, "verdict": one_of(VERDICTS), "sentence": _TEXT, "condition": _TEXT, "seeds": whole(0), "quick": FLAG,
    "table": list_of("a list of lists", lambda value: isinstance(value, list)), "files": _TEXTS,
    "context": ("an object", lambda value: isinstance(value, dict)),
}  # fmt: skip


def find(ids: Sequence[str]) -> list[Claim]:
    """The claims of these ids; of all that have an experiment where there are none."""
    for name in ids:
        if name not in CLAIMS:
            raise InputError(f"claim {name!r} is unknown: choose from {', '.join(CLAIMS)}")
    return [CLAIMS[name] for name in dict.fromkeys(ids)] or [claim for claim in CLAIMS.values() if claim.experiment]


def run(
    claims: Iterable[Claim],
    folder: Path,
    quick: bool,
    on_claim: Callable[[Claim, bool], None] = lambda claim, known: None,
    on_progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> list[Claim]:
    """Run the experiments whose findings the folder does not hold, each into ``ID.json`` as soon as it is known; those
    that could not be run, as data are not on this machine, are returned. ``on_claim`` hears which is next, and whether
    its finding is there."""
    left = []
    for claim in claims:
        file = folder / f"{claim.id}.json"
        known = file.exists() and _read(file)["quick"] <= quick
        on_claim(claim, known)
        if known:
            continue
        try:
            found = claim.tried(Work(folder, quick, on_progress))
        except InputError as error:
            if claim.kind != "trained":
                raise
            on_progress(f"{claim.id}: {error}", 0, 1)
            left.append(claim)
            continue
        write_whole(json.dumps(_row(claim, found, quick), indent=1), file)
    return left


def _row(claim: Claim, found: Finding, quick: bool) -> dict[str, Any]:
    context = capture(["pcsim", "claims", "run", claim.id, *(["--quick"] if quick else [])])
    return {
        "schema": SCHEMA, "id": claim.id, "verdict": found.verdict, "sentence": found.sentence,
        "condition": found.condition, "seeds": found.seeds, "quick": quick, "files": list(found.files),
        "table": [list(row) for row in found.table], "context": context,
    }  # fmt: skip


def _read(file: Path) -> dict[str, Any]:
    """A finding as its file holds it; InputError for anything else."""
    try:
        held = json.loads(read_bytes(file).text)
    except (ValueError, RecursionError):
        raise InputError(f"{file}: is not JSON: remove it, and run its claim again") from None
    if not isinstance(held, dict) or held.get("schema") != SCHEMA:
        raise InputError(f"{file}: is no finding of a claim ({SCHEMA}); give a folder that pcsim claims run wrote")
    for name, (words, fits) in _FIELDS.items():
        if name not in held or not fits(held[name]):
            raise InputError(f"{file}: {name} must be {words}")
    if held["id"] not in CLAIMS:
        raise InputError(f"{file}: claim {held['id']!r} is unknown here")
    return held


def findings(folder: Path) -> list[tuple[Claim, dict[str, Any] | None]]:
    """Every claim with its finding, None where the folder has none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name one that pcsim claims run wrote")
    if not any((folder / f"{name}.json").exists() for name in CLAIMS):
        raise InputError(f"{folder}: holds no findings; name a folder that pcsim claims run wrote")
    return [
        (claim, _read(file) if (file := folder / f"{name}.json").exists() else None) for name, claim in CLAIMS.items()
    ]


def listing() -> str:
    """All claims, a line each."""
    return layout(
        ["claim", "kind", "source"],
        [[claim.id, claim.kind or UNTESTED, claim.source] for claim in CLAIMS.values()],
        "text",
    )


def _verdict(claim: Claim, found: dict[str, Any] | None) -> str:
    if claim.experiment is None:
        return UNTESTED
    return found["verdict"] if found else "not run yet"


def markdown(folder: Path, prefix: str = "") -> str:
    """What the folder says: a table of verdicts, then each claim with its evidence, conditions, seeds and command;
    ``prefix`` stands before the names of files that it links to."""
    held = findings(folder)
    body = [[f"[{claim.id}](#{claim.id})", _verdict(claim, found), claim.statement] for claim, found in held]
    parts = ["# Published claims", layout(["claim", "verdict", "what it says"], body, "markdown")]
    for claim, found in held:
        parts += [f"## {claim.id}", *_words(claim, found, prefix)]
        if found and found["table"]:
            header, *rows = found["table"]
            parts.append(layout([str(name) for name in header], rows, "markdown"))
    return "\n\n".join(parts) + "\n"


def _words(claim: Claim, found: dict[str, Any] | None, prefix: str = "") -> list[str]:
    """A claim in paragraphs."""
    if claim.experiment is None:
        return [f"{claim.statement} ({claim.source})", f"**{UNTESTED}**: {claim.refuted_by}."]
    said = [f"{claim.statement} ({claim.source})", f"What would refute it: {claim.refuted_by}."]
    if found is None:
        return [*said, f"Not run yet: `pcsim claims run {claim.id}`."]
    only = f" {found['condition']}" if found["condition"] else ""
    said.append(f"**{found['verdict'][0].upper()}{found['verdict'][1:]}{only}.** {found['sentence']}.")
    how = [f"`pcsim claims run {claim.id}{' --quick' if found['quick'] else ''}`"]
    how += [f"{found['seeds']} {'processes' if claim.kind == 'measured' else 'seeds'}"] if found["seeds"] else []
    how += ["a first look"] if found["quick"] else []
    how += [machine(found["context"])] if claim.kind in ("measured", "trained") else []
    how += [f"rows: {', '.join(f'[{name}]({prefix}{name})' for name in found['files'])}"] if found["files"] else []
    return [*said, f"{'; '.join(how)}."]


_COLOURS = {"holds here": "#117733", "fails here": "#BB5566", "holds only if": "#806000"}

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;
text-align:right}td:first-child,th:first-child,.t td{text-align:left}.w{overflow-x:auto}code{background:#f4f4f4}"""


def page(folder: Path) -> str:
    """The same as one HTML page that needs nothing else."""
    held = findings(folder)
    rows = "".join(
        f'<tr><td><a href="#{claim.id}">{escape(claim.id)}</a></td><td>{_coloured(_verdict(claim, found))}</td>'
        f"<td>{escape(claim.statement)}</td></tr>"
        for claim, found in held
    )
    parts = [f'<h1>Published claims</h1><div class="w"><table class="t">{rows}</table></div>']
    for claim, found in held:
        said = "".join(f"<p>{_marked(text)}</p>" for text in _words(claim, found))
        parts.append(f'<h2 id="{claim.id}">{escape(claim.id)}</h2>{said}')
        if found and found["table"]:
            lines = [
                "".join(f"<{tag}>{escape(str(value))}</{tag}>" for value in row)
                for tag, row in zip(["th", *["td"] * len(found["table"])], found["table"], strict=False)
            ]
            parts.append(f'<div class="w"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>')
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Published claims</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _coloured(verdict: str) -> str:
    return f'<b style="color:{_COLOURS.get(verdict, "#6a6a6a")}">{escape(verdict)}</b>'


def _marked(text: str) -> str:
    """Bold and code of our own Markdown as HTML."""
    parts = escape(text).split("**")
    bold = "".join(f"<b>{part}</b>" if number % 2 else part for number, part in enumerate(parts))
    bold = re.sub(r"\[([^]]+)\]\(([^)]+)\)", r'<a href="\2">\1</a>', bold)
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(bold.split("`")))
