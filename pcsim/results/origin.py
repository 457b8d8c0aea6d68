"""Where results come from, in words: machine, cores, versions, as far as the context of a file says."""

from collections.abc import Mapping, Sequence
from typing import Any

from .verdicts import WITHIN

_SHOWN = ("numpy", "numba")  # whose version a figure names, beside pcsim's


def machine(context: Mapping[str, Any]) -> str:
    """CPU model, usable cores, pcsim's version, and the note of a file of predictions."""
    version = _versions(context).get("pcsim")
    count = context.get("cores")
    cores = f"{count} usable core{'' if count == 1 else 's'}" if count else ""
    worth = context.get("effective_cores")
    if count and isinstance(worth, int | float) and worth < count:
        cores += f" with a quota of {worth:g}"
    parts = [context.get("cpu_model") or "unknown CPU", cores, f"pcsim {version}" if version else ""]
    return ", ".join(str(part) for part in [*parts, context.get("note")] if part)


def machine_and_versions(context: Mapping[str, Any]) -> str:
    """The same with the versions of the libraries that the numbers depend on."""
    known = _versions(context)
    return ", ".join([machine(context), *(f"{name} {known[name]}" for name in _SHOWN if known.get(name))])


def _versions(context: Mapping[str, Any]) -> Mapping[str, Any]:
    versions = context.get("versions")
    return versions if isinstance(versions, dict) else {}


def intervals(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the intervals of rows are of: of how many processes."""
    count = len({row.get("launch") or 0 for row in rows})
    return WITHIN if count <= 1 else f"from {count} processes, within this hour"
