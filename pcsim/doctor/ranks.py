"""Checks across MPI ranks: versions, cores, binding, messages."""

import platform
from collections.abc import Sequence
from typing import Any

from ..host import context, mpi
from ..host.mpi import asleep
from ..host.topology import unbound_cores
from ..tables import scaled, short
from .checks import Check

ALIKE = ("pcsim", "numpy", "scipy", "numba", "llvmlite", "mpi4py")  # on all ranks

OVERLAPS = (1 << 16, 1 << 20)  # bytes: one message that libraries buffer or copy at once, one that needs a handshake

# Seconds one way of the smallest message. In a host 0.2 µs was measured where each rank has a core, and 4 to 14 µs
# where two share one; between hosts it is 1 to 3 µs on the networks made for MPI, and 15 to 50 µs over TCP.
NEAR, FAR = 2.5e-6, 15e-6

# What ranks find out together


def launched_apart(launch: tuple[int, int, str], error: str) -> Check:
    """Processes that were started together and do not find each other; ``error`` is ``mpi.world``'s: what, how to
    mend it."""
    what, _, advice = error.rpartition(": ")
    started = f"the launcher started {launch[1]} processes ({launch[2]})"
    return Check("MPI", "fail", what if what.startswith(started) else f"{started}, but {what}", advice)


def examine_together(comm: Any) -> list[Check]:
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
        from ..host import links  # noqa: F401 - whether it can be imported on every rank, before any waits for another

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
        "usable": unbound_cores(),
        "model": model or platform.processor() or platform.machine(),
        "versions": {**versions, "MPI library": mpi.vendor()},
        "broken": broken,
    }


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
    alike = ", ".join(f"{name} {versions[0][name]}" for name in ("python", "pcsim", "numpy", "numba"))
    return Check("versions", "ok", f"alike on all ranks: {alike}")


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
    from ..host import links

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
    hosts_with = {}
    for text in dict.fromkeys(each):
        hosts_with[text] = [host for host, theirs in enumerate(each) if theirs == text]
    return "; ".join(
        f"host {of[0]}: {text}" if len(of) == 1 else f"hosts {_numbers(of)}: {text} each"
        for text, of in hosts_with.items()
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
