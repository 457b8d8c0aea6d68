"""What this machine and installation can and cannot do, with advice; a probe that fails is a finding, never a crash.

Only what ranks find out together is not guarded so: a rank that left it alone would leave the others waiting. There an
exception ends the job (``mpi.world``).
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from ..bench.peers import PEERS, available
from ..errors import InputError
from ..host import compiled, context, memory, mpi, topology
from ..host.probes import SPIN, clock_cost, seconds_of_spins, spin_for
from .checks import Check
from .ranks import examine_together, launched_apart

TILE_WIDTH = 256  # of the fused pass that is held against matrix products

# Probes that run without compiled code.
UNCOMPILED = ("cores", "frequency", "thread start", "BLAS", "memory", "other processes", "MPI", "peers")

NEEDED = ("numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "psutil")


def examine() -> list[Check]:
    """Every check, in a few seconds (once compiled).

    Under an MPI launcher every rank calls this. Rank 0 examines its own machine while the others sleep; then all find
    out together what is between them. Rank 0 returns the checks, the others an empty list. Where the launched
    processes do not find each other, the one that the launcher calls rank 0 says so, and the others nothing.
    """
    launch = mpi.launched()
    if launch is None:
        return _examine_here(PROBES)
    if mpi.alone():  # one of many tasks: each says what it finds, and that MPI does not bring them together
        return [*_examine_here(PROBES), launched_apart(launch, _apart())]
    here = {name: probe for name, probe in PROBES.items() if name != "MPI"}
    try:
        comm = mpi.world().COMM_WORLD
    except InputError as error:
        return [*_examine_here(here), launched_apart(launch, str(error))] if launch[0] == 0 else []
    return [*(_examine_here(here) if comm.rank == 0 else []), *examine_together(comm)]


def _apart() -> str:
    try:
        mpi.world()
    except InputError as error:
        return str(error)
    return "each is alone: "


def _examine_here(probes: dict[str, Callable[[], tuple[str, str, str]]]) -> list[Check]:
    try:
        from ..kernels import machine  # noqa: F401
    except ImportError as refusal:  # said once; what needs compiled code is left out
        rest = {name: probe for name, probe in probes.items() if name in UNCOMPILED}
        return [
            Check("installation", "fail", str(refusal).partition(":")[0], str(refusal).partition(": ")[2]),
            *(_guarded(name, probe) for name, probe in rest.items()),
        ]
    return [_guarded(name, probe) for name, probe in probes.items()]


def _guarded(name: str, probe: Callable[[], tuple[str, str, str]]) -> Check:
    try:
        return Check(name, *probe())
    except Exception as failure:
        why = str(failure).splitlines()[0] if str(failure) else ""
        return Check(name, "warn", f"could not be examined: {type(failure).__name__} {why}".strip())


def _installation() -> tuple[str, str, str]:
    try:
        from ..kernels.layers import activations
    except ImportError as failure:
        return "fail", f"not complete: {failure}", "pip install --force-reinstall pcsim"
    except RuntimeError as failure:  # Numba found no folder that it may write to
        return "fail", f"kernels cannot be compiled: {failure}", "set NUMBA_CACHE_DIR to a writable folder"

    x = np.linspace(-3, 3, 101)
    a, d = np.empty_like(x), np.empty_like(x)
    activations.activate(activations.TANH, x, 0, len(x), 1.0, a, d)
    if not np.allclose(a, np.tanh(x), rtol=1e-14):
        return "fail", "compiled kernels give wrong numbers", "clear Numba's cache (NUMBA_CACHE_DIR) and reinstall"
    missing = [name for name in NEEDED if context.version(name) is None]
    if missing:
        return "fail", f"not complete: {', '.join(missing)} not installed", f"pip install {' '.join(missing)}"
    names = ", ".join(f"{name} {context.version(name)}" for name in ("pcsim", "numpy", "scipy", "numba"))
    return "ok", f"{names}; compiled kernels agree with NumPy", ""


def _compiled_cache() -> tuple[str, str, str]:
    from ..engines import threads  # noqa: F401 - names the folders of all kernels
    from ..kernels.machine.cache import broken_files, why_not_kept

    if why := why_not_kept():
        finding = f"compiled kernels cannot be kept: {why}"
        return "warn", finding, "set NUMBA_CACHE_DIR to a writable folder, or every run compiles again"
    if broken := broken_files():
        finding = f"{broken} file{'s' if broken > 1 else ''} of kept kernels cut short or damaged"
        return "warn", finding, "nothing is lost: they are compiled anew when they are needed, and kept again"
    return "ok", "compiled kernels are kept from run to run", ""


def _compiled_code() -> tuple[str, str, str]:
    from ..bench.ceilings import GEMM_SIZE, gemm_rate, tile_rate

    found = compiled.description()
    fused = "" if found["fused_multiply_add"] else ", which multiplies and adds in two instructions"
    finding = f"kernels compiled for {found['cpu']}{fused}"
    if texts := compiled.doubts(found):
        changed = [*found["settings"], *(n for n in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if n in os.environ)]
        advice = (
            f"unset {' '.join(changed)}" if changed else "compile for this processor: leave out what says otherwise"
        )
        return "warn", "; ".join(texts), advice
    dtype = np.dtype(np.float32)
    kernels, products = tile_rate(1, TILE_WIDTH, dtype, False), gemm_rate(1, (GEMM_SIZE, GEMM_SIZE), dtype, False)
    if slow := compiled.too_slow(kernels, products):
        return "warn", f"{finding}; {slow.split('; ')[0]}", "measure again; if it stays so, the numbers are not pcsim's"
    return "ok", f"{finding}; the fused pass reaches {kernels / products:.0%} of the rate of matrix products", ""


def _cores() -> tuple[str, str, str]:
    usable, effective, there = len(context.usable_cores()), context.effective_cores(), os.cpu_count()
    finding = f"{context.cpu_model() or 'unknown processor'}: {usable} of {there} logical cores usable"
    if effective < usable:
        advice = f"pass --workers {max(1, int(effective))} at most, or raise the limit"
        return "warn", f"{finding}, but a quota allows {effective:g} cores' worth of time", advice
    if told := topology.told_too_many():
        return "warn", f"{finding}; {told.split('; ')[0]}", told.split("; ")[1]
    groups = context.capture()["siblings"]
    if groups and len(groups) < usable:
        advice = f"use one worker per physical core: --workers {len(groups)} at most"
        return "warn", f"{finding}, on {len(groups)} physical cores", advice
    return "ok", finding, ""


def _clock_speed() -> tuple[str, str, str]:
    found = context.capture()
    governor = found["governor"]
    if governor is None:
        where = "a virtual machine" if found["virtual"] else "this system"
        return "ok", f"frequency governor not visible on {where}; the drift of a fixed loop is below", ""
    if governor != "performance":
        return "warn", f"frequency governor is {governor}", "sudo cpupower frequency-set -g performance"
    return "ok", f"frequency governor is {governor}", ""


def _parallel() -> tuple[str, str, str]:
    cores = len(context.usable_cores())
    if cores == 1 and mpi.launched():
        return "ok", "one usable core for this rank: layers run in parallel on ranks", ""
    if cores == 1:
        return "warn", "one usable core: layers cannot run in parallel here", "results will show what threads cost"
    spin_for(1)
    counts = [*(2**k for k in range(1, cores.bit_length()) if 2**k < cores), cores]
    alone = min(seconds_of_spins(1) for _ in range(5))
    efficiencies = {count: alone / min(seconds_of_spins(count) for _ in range(5)) for count in counts}
    reached = ", ".join(f"{count} reach {efficiency:.0%}" for count, efficiency in efficiencies.items())
    finding = f"of threads at once, {reached} of one thread's speed each"
    if min(efficiencies.values()) < 0.8:
        return "warn", finding, "other work runs on these cores, or a quota holds; measure when it has ended"
    return "ok", finding, ""


def _steadiness() -> tuple[str, str, str]:
    from ..kernels.machine.clock import spin

    spin(1)
    times = []
    for _ in range(100):
        begin = time.perf_counter()
        spin(SPIN)
        times.append(time.perf_counter() - begin)
    middle, late = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    finding = f"a fixed loop of {middle * 1e3:.2f} ms: the slowest twentieth takes {late / middle:.2f} times the median"
    if late > 1.2 * middle:
        return "warn", finding, "times will scatter: close other programs, pass more --seconds, trust the intervals"
    return "ok", finding, ""


def _handover() -> tuple[str, str, str]:
    from ..host.threads import in_threads
    from ..kernels.machine.sync import make_flags, ping_pong

    if len(context.usable_cores()) < 2:
        return "ok", "not measured: one usable core", ""
    rounds, latencies = 2000, []
    for _ in range(9):
        flags, stop, times = make_flags(2), make_flags(1), np.zeros(2, np.int64)
        in_threads(2, lambda w: ping_pong(w, rounds, flags, stop, times), stop, pin=True)  # noqa: B023 - run at once
        latencies.append(float(times[1] - times[0]) / (2 * rounds))
    middle = statistics.median(latencies)
    if middle > 1000:
        return "warn", f"{middle:.0f} ns from one thread to another", "are the cores on different sockets, or shared?"
    return "ok", f"{middle:.0f} ns from one thread to another and no system call", ""


def _threads() -> tuple[str, str, str]:
    delays = []
    for _ in range(50):
        begin = time.perf_counter()
        seen: list[float] = []
        thread = threading.Thread(target=lambda seen=seen: seen.append(time.perf_counter()))
        thread.start()
        thread.join()
        delays.append(seen[0] - begin)
    return "ok", f"{statistics.median(delays) * 1e6:.0f} µs to start one (once per run, outside the timing)", ""


def _clock() -> tuple[str, str, str]:
    cost, resolution = clock_cost(), time.get_clock_info("monotonic").resolution * 1e9
    finding = f"{cost:.0f} ns per reading in compiled code, resolution {resolution:.0f} ns"
    if cost > 200:  # a system call or a slow timer chip; from the processor's own counter it is some 25 ns
        return "warn", finding, "the system does not read the processor's own counter: see clock_source in the context"
    return "ok", finding, ""


def _blas() -> tuple[str, str, str]:
    from threadpoolctl import ThreadpoolController

    libraries = context.capture()["blas"]
    if not libraries:
        return "warn", "no BLAS library found by threadpoolctl", "batches above 1 may use more threads than asked for"
    finding = "; ".join(
        f"{b['internal_api']} {b['version']} ({b['architecture']}, {b['num_threads']} threads)" for b in libraries
    )
    with ThreadpoolController().select(user_api="blas").limit(limits=1):
        limited = all(b["num_threads"] == 1 for b in context.capture()["blas"])
    if not limited:
        return "warn", f"{finding}; cannot be limited to one thread", "install SciPy and NumPy from PyPI"
    forced = os.environ.get("OPENBLAS_CORETYPE")
    if forced:
        advice = "unset OPENBLAS_CORETYPE, unless it is there for a reason: products may run below the machine's peak"
        return "warn", f"{finding}; OPENBLAS_CORETYPE={forced} forces kernels for another processor", advice
    return "ok", finding, ""


def _memory() -> tuple[str, str, str]:
    import psutil

    total, swap = psutil.virtual_memory().total, psutil.swap_memory()
    there, most = memory.available() / 2**30, memory.limit()
    finding = f"{there:.1f} of {total / 2**30:.1f} GiB available"
    if most is not None:
        finding = (
            f"{there:.1f} GiB available: a limit allows this process {most / 2**30:.1f} of {total / 2**30:.1f} GiB"
        )
    if swap.used > 2**28:
        return "warn", f"{finding}, {swap.used / 2**30:.1f} GiB swapped out", "close other programs before measuring"
    return "ok", finding, ""


def _others() -> tuple[str, str, str]:
    busy = context.busy_processes(0.3)
    if busy:
        named = ", ".join(f"{name} {percent:.0f} %" for name, percent in busy[:5])
        return "warn", f"busy now: {named}", "measure when they have ended: they share cores and memory"
    return "ok", "no other busy process", ""


def _mpi() -> tuple[str, str, str]:
    """Of a process that no launcher started, or started alone."""
    found = context.capture()["mpi"]
    if found is None:
        return "ok", f"not installed, and threads need none; for ranks: {mpi.INSTALL}", ""
    library, complaint = _library()
    if not library:
        return "warn", f"mpi4py {found['mpi4py']} loads no MPI library ({complaint})", mpi.INSTALL
    finding = f"{library}, mpi4py {found['mpi4py']}"
    alone = next((size for size, _ in mpi.LAUNCHERS if os.environ.get(size) == "1"), None)
    return "ok", f"{finding}; launched with one rank ({alone}=1)" if alone else finding, ""


def _library() -> tuple[str, str]:
    """Name and version of the MPI library, or nothing and why; asked in a fresh process, where MPI is not started."""
    code = (
        "import mpi4py; mpi4py.rc.initialize = mpi4py.rc.finalize = False; from mpi4py import MPI; "
        "name, version = MPI.get_vendor(); print(name, '.'.join(map(str, version)))"
    )
    command = [sys.executable, "-P", "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode == 0:
        return answer.stdout.strip(), ""
    said = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
    begin = max((n for n, line in enumerate(said) if line.startswith(("RuntimeError", "ImportError"))), default=-1)
    return "", mpi.reason("\n".join(said[begin:]))


def _peers() -> tuple[str, str, str]:
    there = [f"{name} {context.version(name)}" for name in PEERS if available(name)]
    return "ok", ", ".join(there) or "none installed (pip install 'pcsim[peers]' brings torch, jax and pcx)", ""


PROBES: dict[str, Callable[[], tuple[str, str, str]]] = {
    "installation": _installation,
    "kernel cache": _compiled_cache,
    "kernel code": _compiled_code,
    "cores": _cores,
    "frequency": _clock_speed,
    "parallel threads": _parallel,
    "steadiness": _steadiness,
    "hand-over": _handover,
    "thread start": _threads,
    "clock": _clock,
    "BLAS": _blas,
    "memory": _memory,
    "other processes": _others,
    "MPI": _mpi,
    "peers": _peers,
}
