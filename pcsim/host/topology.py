"""Which logical processor each worker is bound to: one worker a physical core first, neighbours near each other.

Systems number hardware threads in two ways: all first threads and then all second ones, or side by side. So the order
is made from what Linux says of each processor; where it says nothing, numbers count.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from .groups import cpu_quota

CHOSEN = "PCSIM_CORES"  # for processes that this one starts: the cores of --cores, in their order

ALIKE = 0.85  # cores of one kind differ by less: the fastest two of a chip are often clocked a little higher


@dataclass(frozen=True)
class Place:
    """A logical processor: its package and NUMA node, the first thread of its physical core, which of the usable
    threads of that core it is (from 0), and how fast its kind is (0: the fastest)."""

    cpu: int
    package: int = 0
    node: int = 0
    core: int = 0
    thread: int = 0
    kind: int = 0


def usable_cores() -> list[int]:
    """Logical processors that this process may use, in order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def effective_cores(root: Path = Path("/")) -> float:
    """Cores' worth of time that this process can get: the fewer of usable cores and control-group quota."""
    quota = cpu_quota(root)
    return min(float(len(usable_cores())), quota) if quota else float(len(usable_cores()))


def within_quota(count: int, root: Path = Path("/")) -> int:
    """So many workers, or as many as the quota of the control groups gives a core's worth of time each; at least 1."""
    quota = cpu_quota(root)
    return count if quota is None else max(1, min(count, int(quota)))


def members(text: str) -> list[int]:
    """The processors that a list such as ``0-3,8`` names."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def placement(root: Path = Path("/")) -> list[int]:
    """The usable logical processors, in the order in which workers are bound to them."""
    return [place.cpu for place in places(root)]


def places(root: Path = Path("/")) -> tuple[Place, ...]:
    """The same with where each of them lies."""
    usable = tuple(usable_cores())
    chosen = [int(word) for word in os.environ.get(CHOSEN, "").split(",") if word.isdigit()]
    found = _ordered(usable, root)
    if sorted(chosen) == list(usable):
        return tuple(sorted(found, key=lambda place: chosen.index(place.cpu)))
    return found


def place_map(root: Path = Path("/")) -> list[dict[str, Any]]:
    """For the header of a results file: entry i is the place of worker i."""
    return [asdict(place) for place in places(root)]


def physical_cores(root: Path = Path("/")) -> int:
    """How many physical cores the usable processors lie on."""
    return len({place.core for place in places(root)})


def advised_workers(root: Path = Path("/")) -> int:
    """As many workers as can each have a physical core of their own, and all the time they want of it."""
    return max(1, min(physical_cores(root), int(effective_cores(root))))


def told_too_many(root: Path = Path("/")) -> str | None:
    """That SLURM speaks of more processors than this process may use, and what to do; None where it does not."""
    told, there = os.environ.get("SLURM_CPUS_PER_TASK", ""), len(usable_cores())
    if not told.isdigit() or int(told) <= there:
        return None
    cores = f"{there} core{'' if there == 1 else 's'}"
    return (
        f"SLURM_CPUS_PER_TASK is {told}, but this process may use {cores}: srun does not take it over from sbatch; "
        f"add --cpus-per-task={told} to srun, or --cpu-bind=none"
    )


def unbound_cores() -> list[int]:
    """The cores that this process could use if its launcher had not bound it (Linux; elsewhere those that it may).

    Asked for all, the kernel gives those that the process's control group has.
    """
    if not hasattr(os, "sched_setaffinity"):
        return usable_cores()
    found: list[int] = []

    def ask() -> None:
        try:
            os.sched_setaffinity(0, range(os.sysconf("SC_NPROCESSORS_CONF")))  # of this thread alone, which ends here
            found.extend(os.sched_getaffinity(0))
        except OSError:
            pass

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return sorted({*found, *usable_cores()})


@lru_cache
def _ordered(usable: tuple[int, ...], root: Path) -> tuple[Place, ...]:
    speeds = _speeds(usable, root)
    seen: dict[int, int] = {}
    found = []
    for cpu in usable:
        base = root / f"sys/devices/system/cpu/cpu{cpu}"
        core = min(_list(base / "topology/thread_siblings_list") or [cpu])
        package = _number(base / "topology/physical_package_id")
        nodes = [int(path.name[4:]) for path in base.glob("node[0-9]*")]
        thread = seen[core] = seen.get(core, -1) + 1
        found.append(Place(cpu, int(package or 0), min(nodes, default=0), core, thread, speeds[cpu]))
    return tuple(sorted(found, key=lambda p: (p.thread, p.kind, p.package, p.node, p.core, p.cpu)))


def _speeds(usable: Sequence[int], root: Path) -> dict[int, int]:
    """The kind of each processor, the fastest 0: by capacity (ARM), by what Intel calls atom, or by highest frequency.
    Where one of them says nothing, all are alike."""
    slow = _list(root / "sys/devices/cpu_atom/cpus")
    if slow:
        return {cpu: int(cpu in slow) for cpu in usable}
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        rates = {cpu: _number(root / f"sys/devices/system/cpu/cpu{cpu}" / name) or 0.0 for cpu in usable}
        if all(rates.values()):
            return _kinds(rates)
    return dict.fromkeys(usable, 0)


def _kinds(rates: dict[int, float]) -> dict[int, int]:
    """A kind begins where a rate falls below most of the kind's best."""
    kinds: dict[float, int] = {}
    best, kind = max(rates.values()), 0
    for rate in sorted(set(rates.values()), reverse=True):
        if rate < ALIKE * best:
            best, kind = rate, kind + 1
        kinds[rate] = kind
    return {cpu: kinds[rate] for cpu, rate in rates.items()}


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _list(path: Path) -> list[int]:
    try:
        return members(path.read_text().strip())
    except (OSError, ValueError):
        return []


@contextmanager
def chosen(cores: Sequence[int] | None) -> Iterator[None]:
    """Within this block the process uses these logical processors alone, worker i the i-th of them; None: all, as
    before. InputError for one that it may not use."""
    if cores is None:
        yield
        return
    before = usable_cores()
    if other := sorted(set(cores) - set(before)):
        raise InputError(f"--cores: {_words(other)} not among the cores this process may use: {_words(before)}")
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("--cores: this system does not bind threads to cores")
    named = os.environ.get(CHOSEN)
    _bind(cores)
    os.environ[CHOSEN] = ",".join(map(str, cores))
    try:
        yield
    finally:
        _bind(before)
        os.environ.pop(CHOSEN) if named is None else os.environ.update({CHOSEN: named})


def _bind(cores: Sequence[int]) -> None:
    """All threads of this process: those of libraries too."""
    try:
        threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    except OSError:
        threads = []
    for thread in [0, *threads]:
        try:
            os.sched_setaffinity(thread, cores)
        except OSError:  # it has ended
            continue


def _words(cores: Sequence[int]) -> str:
    return ", ".join(map(str, cores))
