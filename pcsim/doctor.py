"""What this machine and installation can and cannot do, with advice; a probe that fails is a finding, never a crash.

Only what ranks find out together is not guarded so: a rank that left it alone would leave the others waiting. There an
exception ends the job (``mpi.world``).
"""

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import context, mpi
from .errors import InputError
from .peers import PEERS, available
from .tables import scaled, short

NEEDED = ("numpy", "scipy", "numba", "llvmlite", "threadpoolctl", "psutil")
SPIN = 2_000_000  # turns of the fixed loop: a fraction of a millisecond
LONG_SPIN = 100 * SPIN  # some 20 ms: starting 64 threads takes 3 ms, which must not count as lost speed
NAP = 0.005  # seconds between two looks of a sleeping rank
ALIKE = ("pcsim", "numpy", "scipy", "numba", "llvmlite", "mpi4py")  # on all ranks
OVERLAPS = (1 << 16, 1 << 20)  # bytes: one message that libraries buffer or copy at once, one that needs a handshake
# Seconds one way of the smallest message. In a host 0.2 µs was measured where each rank has a core, and 4 to 14 µs
# where two share one; between hosts it is 1 to 3 µs on the networks made for MPI, and 15 to 50 µs over TCP.
NEAR, FAR = 2.5e-6, 15e-6


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


def examine() -> list[Check]:
    """Every check, in a few seconds (once compiled).

    Under an MPI launcher every rank calls this. Rank 0 examines its own machine while the others sleep; then all find
    out together what is between them. Rank 0 returns the checks, the others an empty list. Where the launched
    processes do not find each other, the one that the launcher calls rank 0 says so, and the others nothing.
    """
    told = mpi.launched()
    if told is None:
        return _examine_here(PROBES)
    here = {name: probe for name, probe in PROBES.items() if name != "MPI"}
    try:
        comm = mpi.world().COMM_WORLD
    except InputError as error:
        return [*_examine_here(here), _apart(told, str(error))] if told[0] == 0 else []
    return [*(_examine_here(here) if comm.rank == 0 else []), *_examine_together(comm)]


def report(checks: list[Check]) -> str:
    """The findings as aligned text, advice below."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{check.status:4}  {check.name.ljust(width)}  {check.finding}")
        if check.advice:
            lines.append(f"{'':4}  {'':{width}}  → {check.advice}")
    return "\n".join(lines)


def to_json(checks: list[Check]) -> str:
    """The findings and the captured context as JSON."""
    return json.dumps({"checks": [dataclasses.asdict(c) for c in checks], "context": context.capture()}, indent=2)


def asleep(comm: Any) -> None:
    """A barrier that leaves the cores to others: every rank looks once in ``NAP`` seconds whether all have come."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(NAP)


def _examine_here(probes: dict[str, Callable[[], tuple[str, str, str]]]) -> list[Check]:
    return [_guarded(name, probe) for name, probe in probes.items()]


def _guarded(name: str, probe: Callable[[], tuple[str, str, str]]) -> Check:
    try:
        return Check(name, *probe())
    except Exception as failure:
        why = str(failure).splitlines()[0] if str(failure) else ""
        return Check(name, "warn", f"could not be examined: {type(failure).__name__} {why}".strip())


def _installation() -> tuple[str, str, str]:
    try:
        from .kernels import activations
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
    from .kernels import activations

    folder = activations.activate.stats.cache_path
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as failure:
        finding = f"compiled kernels cannot be kept: {failure.strerror}"
        return "warn", finding, "set NUMBA_CACHE_DIR to a writable folder, or every run compiles again"
    return "ok", "compiled kernels are kept from run to run", ""


def _cores() -> tuple[str, str, str]:
    usable, effective, there = len(context.usable_cores()), context.effective_cores(), os.cpu_count()
    finding = f"{context.cpu_model() or 'unknown processor'}: {usable} of {there} logical cores usable"
    if effective < usable:
        advice = f"pass --workers {max(1, int(effective))} at most, or raise the limit"
        return "warn", f"{finding}, but a quota allows {effective:g} cores' worth of time", advice
    groups = context.capture()["siblings"]
    if groups and len(groups) < usable:
        advice = f"use one worker per physical core: --workers {len(groups)} at most"
        return "warn", f"{finding}, on {len(groups)} physical cores", advice
    return "ok", finding, ""


def _clock_speed() -> tuple[str, str, str]:
    told = context.capture()
    governor = told["governor"]
    if governor is None:
        where = "a virtual machine" if told["virtual"] else "this system"
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
    _spin(1)
    counts = [*(2**k for k in range(1, cores.bit_length()) if 2**k < cores), cores]
    alone = min(_timed(1) for _ in range(5))
    efficiencies = {count: alone / min(_timed(count) for _ in range(5)) for count in counts}
    reached = ", ".join(f"{count} reach {efficiency:.0%}" for count, efficiency in efficiencies.items())
    finding = f"of threads at once, {reached} of one thread's speed each"
    if min(efficiencies.values()) < 0.8:
        return "warn", finding, "other work runs on these cores, or a quota holds; measure when it has ended"
    return "ok", finding, ""


def _spin(count: int) -> None:
    from .kernels.clock import spin

    spin(count)


def _timed(workers: int) -> float:
    """Seconds from the first start of so many threads' work to its last end."""
    from .engines.workers import in_threads

    together = threading.Barrier(workers)
    begins, ends = [0.0] * workers, [0.0] * workers

    def work(worker: int) -> None:
        together.wait()
        begins[worker] = time.perf_counter()
        _spin(LONG_SPIN)
        ends[worker] = time.perf_counter()

    in_threads(workers, work)
    return max(ends) - min(begins)


def _steadiness() -> tuple[str, str, str]:
    from .kernels.clock import spin

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
    from .engines.workers import in_threads
    from .kernels.sync import make_flags, ping_pong

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
    cost, resolution = _clock_cost(), time.get_clock_info("monotonic").resolution * 1e9
    finding = f"{cost:.0f} ns per reading in compiled code, resolution {resolution:.0f} ns"
    if cost > 200:  # a system call or a slow timer chip; from the processor's own counter it is some 25 ns
        return "warn", finding, "the system does not read the processor's own counter: see clock_source in the context"
    return "ok", finding, ""


def _clock_cost() -> float:
    """Nanoseconds."""
    from .kernels.clock import read_cost

    read_cost(1)
    return read_cost(10000) / 10000


def _blas() -> tuple[str, str, str]:
    from threadpoolctl import ThreadpoolController

    libraries = context.capture()["blas"]
    if not libraries:
        return "warn", "no BLAS library found by threadpoolctl", "batches above 1 may use more threads than told"
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

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    finding = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available"
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
    return "", (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]


def _peers() -> tuple[str, str, str]:
    there = [f"{name} {context.version(name)}" for name in PEERS if available(name)]
    return "ok", ", ".join(there) or "none installed (pip install 'pcsim[peers]' brings torch, jax and pcx)", ""


PROBES: dict[str, Callable[[], tuple[str, str, str]]] = {
    "installation": _installation,
    "kernel cache": _compiled_cache,
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


# What ranks find out together


def _apart(told: tuple[int, int, str], error: str) -> Check:
    """Processes that were started together and do not find each other; ``error`` is ``mpi.world``'s: what, how to
    mend it."""
    what, _, advice = error.rpartition(": ")
    started = f"the launcher started {told[1]} processes ({told[2]})"
    return Check("MPI", "fail", what if what.startswith(started) else f"{started}, but {what}", advice)


def _examine_together(comm: Any) -> list[Check]:
    """The checks on rank 0, an empty list on the others; all ranks call this."""
    asleep(comm)  # until rank 0 has examined its machine
    facts = mpi.all_to_all(comm, _facts())
    hosts = mpi.hosts(comm)
    cores, usable = [fact["cores"] for fact in facts], [fact["usable"] for fact in facts]
    checks = [
        _ranks(facts[0]["versions"], _thread_level(), hosts),
        _versions([fact["versions"] for fact in facts]),
        _crowding(hosts, usable),
        _binding(hosts, cores, usable),
    ]
    if max(hosts) > 0:
        checks.append(_processors(hosts, [fact["model"] for fact in facts]))
    broken = [rank for rank, fact in enumerate(facts) if fact["broken"]]
    if broken:
        what = f"not measured: rank {broken[0]} cannot load compiled kernels ({facts[broken[0]]['broken']})"
        checks.append(Check("messages", "fail", what, "run pcsim doctor on its host, without a launcher"))
    else:
        for first, second in _pairs(hosts):
            checks += _between(comm, hosts, first, second)
    return checks if comm.rank == 0 else []


def _facts() -> dict[str, Any]:
    """What the ranks compare, of this one. Host names stay out of it."""
    try:
        from . import links  # noqa: F401 - whether it can be imported on every rank, before any waits for another

        broken = ""
    except Exception as failure:
        broken = f"{type(failure).__name__} {failure}".splitlines()[0]
    try:
        model = context.cpu_model()
    except Exception:
        model = None
    versions = {"python": platform.python_version(), **{name: context.version(name) for name in ALIKE}}
    return {
        "cores": context.usable_cores(),
        "usable": _unbound_cores(),
        "model": model or platform.processor() or platform.machine(),
        "versions": {**versions, "MPI library": mpi.vendor()},
        "broken": broken,
    }


def _unbound_cores() -> list[int]:
    """The cores that this process could use if its launcher had not bound it (Linux; elsewhere those that it may).

    Asked for all, the kernel gives those that the process's control group has.
    """
    if not hasattr(os, "sched_setaffinity"):
        return context.usable_cores()
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
    return sorted({*found, *context.usable_cores()})


def _thread_level() -> str:
    MPI = mpi.world()
    names = ("single", "funneled", "serialized", "multiple")
    return {getattr(MPI, f"THREAD_{name.upper()}"): name for name in names}[MPI.Query_thread()]


def _ranks(versions: dict[str, str | None], level: str, hosts: Sequence[int]) -> Check:
    """``level`` is what the library grants threads; ``hosts`` has the number of each rank's host."""
    each = [_count(hosts.count(host), "rank") for host in range(max(hosts) + 1)]
    library = f"{versions['MPI library']}, mpi4py {versions['mpi4py']}, thread level {level}"
    finding = f"{library}; {_count(len(hosts), 'rank')}; {_by_host(each)}"
    if level == "single":
        advice = "use an MPI library built with thread support: layers run on threads beside the one that calls MPI"
        return Check("MPI", "fail", finding, advice)
    return Check("MPI", "ok", finding)


def _versions(versions: Sequence[dict[str, str | None]]) -> Check:
    """Whether all ranks (one dict each) run the same."""
    for name in versions[0]:
        for rank, theirs in enumerate(versions):
            if theirs[name] != versions[0][name]:
                finding = f"rank {rank} runs {name} {theirs[name]}, rank 0 {versions[0][name]}"
                return Check("versions", "fail", finding, "start all ranks from one installation, shared by the hosts")
    told = ", ".join(f"{name} {versions[0][name]}" for name in ("python", "pcsim", "numpy", "numba"))
    return Check("versions", "ok", f"alike on all ranks: {told}")


def _crowding(hosts: Sequence[int], usable: Sequence[Sequence[int]]) -> Check:
    """Whether every rank can have a core. ``usable`` are the cores that each rank could use if it were not bound."""
    counts = [hosts.count(host) for host in range(max(hosts) + 1)]
    cores = [len(_union(hosts, usable, host)) for host in range(len(counts))]
    pairs = list(zip(counts, cores, strict=True))
    finding = _by_host([f"{_count(ranks, 'rank')} on {_count(there, 'core')}" for ranks, there in pairs])
    if any(ranks > there for ranks, there in pairs):
        advice = "start one rank for each core at most (mpiexec -n), or ask for more cores: waiting ranks take time"
        return Check("cores of ranks", "warn", f"oversubscribed: {finding}", f"{advice} from those that compute")
    return Check("cores of ranks", "ok", finding)


def _binding(hosts: Sequence[int], cores: Sequence[Sequence[int]], usable: Sequence[Sequence[int]]) -> Check:
    """Whether ranks were bound to the same ``cores`` while others of the ``usable`` are free."""
    faults = {}
    for host in range(max(hosts) + 1):
        ranks, there = [rank for rank, where in enumerate(hosts) if where == host], _union(hosts, usable, host)
        crowd, shared, placed = _crowd(ranks, cores)
        if placed < min(len(ranks), len(there)):
            free = len(set(there) - set(_union(hosts, cores, host)))
            unused = f", and {_count(free, 'core')} of {len(there)} stay unused" if free else ""
            where = f"core {_numbers(shared)}" if len(shared) == 1 else f"cores {_numbers(shared)}"
            faults[host] = f"ranks {_numbers(crowd)} are bound to {where}{unused}"
    if faults:
        host, fault = next(iter(faults.items()))
        others = f" (and alike on {_count(len(faults) - 1, 'other host')})" if len(faults) > 1 else ""
        advice = "give each rank a core of its own: mpiexec -bind-to core, or srun --cpu-bind=cores"
        return Check("binding", "warn", f"host {host}: {fault}{others}", advice)
    if all(len(theirs) == len(could) for theirs, could in zip(cores, usable, strict=True)):
        return Check("binding", "ok", "ranks are not bound to cores: the system places them")
    return Check("binding", "ok", "ranks are bound, and none has to share its core while others are free")


def _crowd(ranks: Sequence[int], cores: Sequence[Sequence[int]]) -> tuple[list[int], list[int], int]:
    """Ranks that have fewer cores between them than they are, these cores, and how many ranks can have a core each.

    A largest matching of ranks to cores, by augmenting paths; where none is left from a rank, those ranks and cores are
    the ones that the search has come to (Hall's theorem).
    """
    owner: dict[int, int] = {}
    crowd: list[int] = []
    shared: list[int] = []

    def place(rank: int, seen: set[int]) -> bool:
        for core in cores[rank]:
            if core not in seen:
                seen.add(core)
                if core not in owner or place(owner[core], seen):
                    owner[core] = rank
                    return True
        return False

    for rank in ranks:
        seen: set[int] = set()
        if not place(rank, seen):
            crowd, shared = sorted({rank, *(owner[core] for core in seen), *crowd}), sorted({*shared, *seen})
    return crowd, shared, len(owner)


def _processors(hosts: Sequence[int], models: Sequence[str]) -> Check:
    """Whether hosts are of one kind; ``models`` has the processor of each rank."""
    each = [models[hosts.index(host)] for host in range(max(hosts) + 1)]
    if len(set(each)) > 1:
        advice = "the slowest sets the time of all: ask for hosts of one kind (srun --constraint)"
        return Check("processors", "warn", f"not alike: {_by_host(each)}", advice)
    return Check("processors", "ok", _by_host(each))


def _pairs(hosts: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring ranks whose messages are measured: 0 and 1, and, with several hosts, a pair of the other sort."""
    pairs = [(0, 1)]
    together = hosts[0] == hosts[1]
    for rank in range(1, len(hosts) - 1):
        if (hosts[rank] == hosts[rank + 1]) != together:
            return [*pairs, (rank, rank + 1)]
    if not together and 0 in hosts[1:]:  # ranks dealt out to hosts one by one
        pairs.append((0, list(hosts).index(0, 1)))
    return pairs


def _between(comm: Any, hosts: Sequence[int], first: int, second: int) -> list[Check]:
    """What messages between two ranks cost and how much of it is hidden; all ranks call this, and only two work."""
    from . import links

    steps = links.ladder(comm, first, second)
    hidden = [
        {"bytes": size, **found}
        for size, _ in steps
        if size in OVERLAPS and (found := links.overlap(comm, first, second, size))
    ]
    asleep(comm)
    steps, hidden = mpi.all_to_all(comm, [steps, hidden])[first]
    place = {"ranks": [first, second], "hosts": [hosts[first], hosts[second]]}
    return [_messages(place, steps), *([_overlap(place, hidden)] if hidden else [])]


def _messages(place: dict[str, list[int]], steps: Sequence[tuple[int, float]]) -> Check:
    """Of (bytes, seconds one way) between two ranks; ``place`` has the two ``ranks`` and their ``hosts``."""
    name, near = _name("messages", place)
    size, longest = steps[-1]
    times = ", ".join(f"{_size(bytes)} {scaled(seconds)}" for bytes, seconds in steps)
    finding = f"rank {place['ranks'][0]} to {place['ranks'][1]}: {times} ({short(size / longest / 1e9)} GB/s)"
    table = [{"bytes": b, "seconds": seconds, "bytes_per_second": b / seconds} for b, seconds in steps]
    data = {**place, "one_way": table}
    if steps[0][1] <= (NEAR if near else FAR):
        return Check(name, "ok", finding, data=data)
    if near:
        advice = "slow for one host: do the ranks share a core, with each other or with other work?"
    else:
        advice = "as slow as TCP: if the hosts have a faster network, the MPI library does not use it (UCX, libfabric)"
    return Check(name, "warn", finding, advice, data)


def _overlap(place: dict[str, list[int]], hidden: Sequence[dict[str, float]]) -> Check:
    """Of what ``links.overlap`` has found, with ``bytes``."""
    name, _ = _name("overlap", place)
    shares = "; ".join(
        f"{_size(int(found['bytes']))} {found['unpolled']:.0%} without polling, {found['polled']:.0%} with"
        for found in hidden
    )
    data = {**place, "hidden": [*hidden]}
    return Check(name, "ok", f"of an exchange, computation of the same length hides: {shares}", data=data)


def _name(what: str, place: dict[str, list[int]]) -> tuple[str, bool]:
    near = place["hosts"][0] == place["hosts"][1]
    return f"{what}, {'one host' if near else 'two hosts'}", near


def _union(hosts: Sequence[int], cores: Sequence[Sequence[int]], host: int) -> list[int]:
    return sorted({core for where, theirs in zip(hosts, cores, strict=True) if where == host for core in theirs})


def _by_host(each: Sequence[str]) -> str:
    """What is said of each host, said once of those of which it is the same.

    >>> _by_host(["4 ranks", "4 ranks", "2 ranks"])
    'hosts 0-1: 4 ranks each; host 2: 2 ranks'
    """
    told = {}
    for text in dict.fromkeys(each):
        told[text] = [host for host, theirs in enumerate(each) if theirs == text]
    return "; ".join(
        f"host {of[0]}: {text}" if len(of) == 1 else f"hosts {_numbers(of)}: {text} each" for text, of in told.items()
    )


def _numbers(numbers: Sequence[int]) -> str:
    """Ascending numbers, with their runs shortened.

    >>> _numbers([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _size(bytes: int) -> str:
    """
    >>> [_size(b) for b in (8, 1024, 1 << 20)]
    ['8 B', '1 KiB', '1 MiB']
    """
    shift, unit = next((s, u) for s, u in ((20, "MiB"), (10, "KiB"), (0, "B")) if bytes >> s)
    return f"{bytes >> shift} {unit}"
