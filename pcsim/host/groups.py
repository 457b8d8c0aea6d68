"""What the control groups of this process allow it: time and memory (Linux, versions 1 and 2, parents included).

A limit on a parent holds for its children. What cannot be read is no limit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 1 << 60  # version 1 has no word for it: a number of bytes that no machine has


@dataclass(frozen=True)
class Room:
    """Bytes that a control group allows, and how many of them can still be had."""

    limit: int
    available: int


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the control groups of this process allow it, or None for no limit."""
    return min((limit for folder in _folders("cpu", root) for limit in _time(folder)), default=None)


def memory_room(root: Path = Path("/")) -> Room | None:
    """Of the group with the least room: its limit, and what is available; None where no group has a limit."""
    found = [room for folder in _folders("memory", root) for room in _memory(folder)]
    return min(found, key=lambda room: room.available, default=None)


def _folders(controller: str, root: Path) -> Iterator[Path]:
    """The group of this process that a controller watches, as far as it can be seen, and its parents."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    mount = root / "sys/fs/cgroup"
    for line in groups:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        for base in (mount / names, mount / controller) if names else (mount, mount / "unified"):
            # Seen from inside a container the path can lead above the mount; what holds is then at the mount itself.
            folder = base if ".." in path.split("/") else base / path.lstrip("/")
            while folder == base or base in folder.parents:
                yield folder
                folder = folder.parent


def _time(folder: Path) -> list[float]:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
            return [] if quota == "max" else [int(quota) / int(period)]
        allowed = int((folder / "cpu.cfs_quota_us").read_text())
        return [allowed / int((folder / "cpu.cfs_period_us").read_text())] if allowed > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        return []


def _memory(folder: Path) -> list[Room]:
    """Above ``memory.high`` a process is not killed but all but halted: it counts as a limit too."""
    second = (folder / "memory.max").exists() or (folder / "memory.high").exists()
    names = ("memory.max", "memory.high") if second else ("memory.limit_in_bytes",)
    limit = min((found for name in names if (found := _bytes(folder / name)) is not None), default=UNLIMITED)
    if limit >= UNLIMITED:
        return []
    used = _bytes(folder / ("memory.current" if second else "memory.usage_in_bytes")) or 0
    return [Room(limit, max(0, limit - max(0, used - _reclaimable(folder, "" if second else "total_"))))]


def _bytes(path: Path) -> int | None:
    """The number in a file; None for none, and for ``max``."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(folder: Path, prefix: str) -> int:
    """Bytes of files in memory, which the kernel drops when room is short."""
    try:
        words = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
        numbers = {word[0]: int(word[1]) for word in words if len(word) == 2}
    except (OSError, ValueError):
        return 0
    return sum(numbers.get(f"{prefix}{name}", 0) for name in ("inactive_file", "active_file"))
