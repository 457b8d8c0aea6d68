"""Where results come from, in words: machine, cores, versions, as far as the context of a file says."""

from collections.abc import Mapping, Sequence
from typing import Any

from .verdicts import WITHIN

_SHOWN = ("numpy", "numba")  # whose version a figure names, beside pcsim's


def machine(context: Mapping[str, Any]) -> str:
    """CPU model, usable cores with their quota, pcsim's version, kernels that were compiled otherwise than usual, and
    the note of a file of predictions."""
    version = _versions(context).get("pcsim")
    count = context.get("cores")
    cores = f"{count} usable core{'' if count == 1 else 's'}" if count else ""
    worth = context.get("effective_cores")
    if count and isinstance(worth, int | float) and worth < count:
        cores += f" with a quota of {worth:g}"
    parts = [context.get("cpu_model") or "unknown CPU", cores, f"pcsim {version}" if version else ""]
    return ", ".join(str(part) for part in [*parts, _compiled(context), context.get("note")] if part)


def _compiled(context: Mapping[str, Any]) -> str:
    """That kernels were compiled for another processor than there was, or with unusual settings; else nothing."""
    found = context.get("kernels")
    if not isinstance(found, dict):
        return ""
    settings = found.get("settings")
    changed = [f"{name}={value}" for name, value in settings.items()] if isinstance(settings, dict) else []
    parts = [f"with {' '.join(changed)}"] if changed else []
    if found.get("cpu") != found.get("host_cpu") or found.get("unused"):
        without = ", ".join(map(str, found["unused"])) if isinstance(found.get("unused"), list) else ""
        parts.insert(0, f"for {found.get('cpu')}" + (f" without {without}" if without else ""))
    return f"kernels compiled {', '.join(parts)}" if parts else ""


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
