"""One question: is there room? Asked before memory is taken, as the operating system's answer afterwards is a kill."""

import resource
from pathlib import Path

from ..errors import InputError
from .groups import memory_room


def available(root: Path = Path("/")) -> int:
    """Bytes that this process can still get: of the machine, of its control groups, and of its own limit."""
    import psutil

    found = [psutil.virtual_memory().available]
    room = memory_room(root)
    if room:
        found.append(room.available)
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY:
        found.append(max(0, allowed - psutil.Process().memory_info().vms))
    return int(min(found))


def limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process may have at most where that is less than the machine has; else None."""
    import psutil

    room = memory_room(root)
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits = [room.limit] if room else []
    limits += [] if allowed == resource.RLIM_INFINITY else [allowed]
    least = min(limits, default=None)
    return least if least is not None and least < psutil.virtual_memory().total else None


def shortage(size: int, root: Path = Path("/")) -> str | None:
    """What is missing for ``size`` bytes, in words; None where there is room."""
    there = available(root)
    if size <= there:
        return None
    most = limit(root)
    allowed = f" (a limit allows this process {most / 2**30:,.1f} GiB)" if most is not None else ""
    return f"needs {size / 2**30:,.1f} GiB, but only {there / 2**30:,.1f} GiB are available{allowed}"


def require(size: int, what: str, root: Path = Path("/")) -> None:
    """Raise InputError if ``size`` bytes for ``what`` are more than this process can get."""
    if short := shortage(size, root):
        raise InputError(f"{what} {short}: make the net or the batch smaller")
