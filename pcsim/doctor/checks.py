"""One check: its name, verdict and advice, and a list of them as text or JSON."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from ..host import context


@dataclasses.dataclass(frozen=True)
class Check:
    """One finding: ``status`` is "ok", "warn" or "fail"; ``advice`` is empty where nothing need be done.

    ``data`` are the numbers behind it, ready for JSON, where a line of text cannot hold them.
    """

    name: str
    status: str
    finding: str
    advice: str = ""
    data: dict[str, Any] | None = None


def report(checks: list[Check]) -> str:
    """The findings as aligned text, advice below."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{check.status:4}  {check.name.ljust(width)}  {check.finding}")
        if check.advice:
            lines.append(f"{'':4}  {'':{width}}  → {check.advice}")
    return "\n".join(lines)


def to_json(checks: list[Check], fixes: Sequence[Any] = ()) -> str:
    """The findings, the commands of :mod:`.fixes` and the captured context as JSON."""
    found = {"checks": [dataclasses.asdict(c) for c in checks], "fixes": [dataclasses.asdict(fix) for fix in fixes]}
    return json.dumps({**found, "context": context.capture()}, indent=2)
