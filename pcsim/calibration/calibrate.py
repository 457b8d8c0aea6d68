"""Measures a machine file of this host: what each kernel takes by width, batch and level of memory; what hand-overs,
meetings and messages cost.

It times the engines' own kernels over rings of layers (``calibration.rings``), never whole nets: what the simulator
then says of nets is a prediction.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import whole_number
from ..errors import InputError
from ..host.context import caches, capture, usable_cores
from ..host.topology import placement
from ..predict.machine import COLUMNS, Machine, MessageTimes, Segment
from ..predict.machine_files import SCHEMA, figure, parse
from ..predict.timing import gathered
from ..schedule.timeline import BACKPROJECT, PREDICT, START, UPDATE, VALUE
from ..streams import write_whole
from .additions import MOST_BYTES, convolutions, measure_loads, measure_rules

# Two or three widths to the octave, multiples of a vector of 16 float32.
WIDTHS = (16, 32, 64, 80, 112, 160, 208, 256, 320, 416, 640, 832, 1024, 1280, 1664, 2048)

# Small ones too, as micro-batches are: the time of a product does not fall evenly with its samples (6 take nearly as
# long as 8). With 8, 32 and 64 alone a pipeline of parts of 6 samples came out 17 to 25 % too fast, and without 2 one
# of parts of 2 samples 11 to 34 %.
BATCHES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128)

SECONDS = 0.004  # of a sample of bandwidth

SAMPLE = 1e-3  # seconds, or one turn of the ring

SAMPLES, PASSES_OVER = 3, 2  # of each point in a pass; passes over all points

WARM = 0.004, 0.025  # seconds of work before the first sample: on a ring in a core's own cache, on others

SETTLE = 3  # turns of the ring before the first sample of each work

SUM_BYTES = 16 << 20  # of a sum over ranks

NAMES = {
    START: "start",
    PREDICT | BACKPROJECT | UPDATE: "predict+backproject+update",
    PREDICT | UPDATE: "predict+update",
    PREDICT | BACKPROJECT: "predict+backproject",
    BACKPROJECT | UPDATE: "backproject+update",
    PREDICT: "predict",
    BACKPROJECT: "backproject",
    UPDATE: "update",
    VALUE: "values",
    32: "gradient",
    64: "descend",
}

RARE_PASSES = (PREDICT | BACKPROJECT, PREDICT, BACKPROJECT)  # of PC and Z-IL: at fewer distances

PASSES = tuple(work for work in NAMES if work < 32 and work not in RARE_PASSES)  # of a batch of one

# Of whose matrices a worker may have some rows: BP's, and the one of iPC.
SHARED_PASSES = (START, BACKPROJECT | UPDATE, UPDATE, PREDICT | BACKPROJECT | UPDATE)

PRODUCTS = (START, PREDICT, BACKPROJECT, UPDATE, VALUE, 32, 64)

SHARED_PRODUCTS = (START, BACKPROJECT, UPDATE)


@dataclass(frozen=True)
class Wanted:
    """A ring to build, and what to time on it."""

    workers: int
    batch: int
    rows: int
    columns: int
    depth: int
    works: tuple[int, ...]


def rings(
    widths: Sequence[int], batches: Sequence[int], workers: Sequence[int], item: int, own: int, last: int
) -> Iterator[Wanted]:
    """Which rings tell what a machine with such caches (bytes of a core's own, and of the last) has to tell."""
    odd = [width for width in widths if width < 256 or width & (width - 1)]
    skipped = set(odd[1::2]) if len(odd) > 8 and len(batches) > 4 else set()
    for batch, width, count in itertools.product(batches, widths, workers):
        part = last / count
        sizes = (own / 3, own * 0.8, own * 2, part / 2, part * 0.75, part, part * 2, part * 4)
        # Of larger batches arithmetic is most, so that fewer distances do; but what fits well into the last cache, as
        # most nets do, is told apart from what half fills it, as others use it, too. Wide powers of two, whose rows
        # fall on one another in caches, say nothing of the widths between them.
        few = (own / 3, math.sqrt(own * part / 2), part / 2, part * 2)
        if batch > 1 and width >= 256 and width & (width - 1) == 0 and len(widths) > 4:
            continue
        # Seconds for each weight change little from width to width: every second one is enough.
        if batch > 1 and width in skipped:
            continue
        shares: dict[int, tuple[float, ...]] = {width: sizes if batch == 1 else few}
        if width >= 32:
            shares[width // 2] = (own / 3, part / 4, part, part * 3) if batch == 1 else (*few[:2], part * 1.5)
        if width >= 64 and batch == 1:
            shares[width // 8] = (own / 3, part / 4)
        for rows, distances in shares.items():
            rows = max(8, rows // 8 * 8)
            layer = (rows + (3 * batch if batch > 1 else 0)) * width * item
            most = MOST_BYTES // count
            depths = {max(1, round(size / layer)) for size in distances if size >= layer / 2 and size <= most} or {1}
            if batch > 1:  # enough layers for their values not to be the same all the time, at least
                depths = {max(2, depth) for depth in depths}
            for turn, depth in enumerate(sorted(depths)):
                full = rows == width
                works = (PASSES if full else SHARED_PASSES) if batch == 1 else (PRODUCTS if full else SHARED_PRODUCTS)
                if full and batch == 1 and turn % 3 == 0:
                    works += RARE_PASSES
                yield Wanted(count, batch, rows, width, depth, works)


def measure_points(
    wanted: Sequence[Wanted],
    dtype: np.dtype,
    pin: bool,
    own: int,
    on_progress: Callable[[int, int], None] = lambda n, of: None,
) -> list[list]:
    """The rows of a machine file's table of points. All rings are gone through ``PASSES_OVER`` times. In a core's own
    cache the lower quartile of all samples counts, as a disturbance only lengthens; beyond it the median, as the
    bandwidth that virtual machines get of what they share moves up and down."""
    from ..engines import blas_threads
    from .rings import Ring

    found: dict[tuple, list] = {}
    with blas_threads(1):
        for number, w in enumerate([*wanted] * PASSES_OVER):
            on_progress(number, len(wanted) * PASSES_OVER)
            ring = Ring(w.columns, w.rows, w.depth, w.batch, w.workers, dtype, pin)
            # A core that was idle is slow for some milliseconds, and caches settle over several turns of a ring.
            begin, warm = time.perf_counter(), WARM[w.workers > 1 or ring.bytes > own]
            while time.perf_counter() - begin < warm:
                once = ring.seconds(w.works[0], 1) * ring.depth
                ring.seconds(w.works[0], max(1, math.ceil(SAMPLE / once)))
            samples: dict[int, list[float]] = {}
            for work in w.works:  # one after the other: what one leaves in the caches is not the next one's state
                once = min(ring.seconds(work, 1) for _ in range(SETTLE)) * ring.depth
                turns = max(1, math.ceil(SAMPLE / once))
                samples[work] = [ring.seconds(work, turns) for _ in range(SAMPLES)]
            for work in w.works:
                key = (NAMES[work], w.workers, w.batch, 1 if work == VALUE else w.rows, w.columns, ring.bytes)
                found.setdefault(key, []).extend(samples[work])
    on_progress(len(wanted) * PASSES_OVER, len(wanted) * PASSES_OVER)
    return [
        [*key, float(f"{np.quantile(seconds, 0.25 if key[-1] <= own else 0.5):.4g}")] for key, seconds in found.items()
    ]


def calibrate(
    *,
    widths: Sequence[int] = WIDTHS,
    batches: Sequence[int] = BATCHES,
    workers: Sequence[int] | None = None,
    dtype: str = "float32",
    pin: bool = True,
    name: str | None = None,
    on_progress: Callable[[int, int], None] = lambda number, total: None,
) -> dict[str, Any]:
    """The content of a machine file of this host, measured, without messages between ranks (``add_messages``).
    InputError for numbers below 1."""
    from ..bench.ceilings import bandwidth, working_set
    from .rings import barrier_seconds, hand_over_seconds

    kind = np.dtype(dtype)
    for what, numbers in (("widths", widths), ("batches", batches), ("workers", workers or [1])):
        if not numbers:
            raise InputError(f"--{what}: name at least one")
        for number in numbers:
            whole_number(f"--{what}", number)
    cores = len(usable_cores())
    counts = sorted(set(workers or [2**k for k in range(10) if 2**k < cores] + [cores]))
    if counts[-1] > cores:
        raise InputError(f"--workers: {counts[-1]} are more than the {cores} cores this process may use")
    host = capture()
    known, own, last = _caches()
    wanted = list(rings(sorted(set(widths)), sorted(set(batches)), counts, kind.itemsize, own, last))
    began = time.time()
    points = measure_points(wanted, kind, pin, own, on_progress)
    points += measure_loads(sorted(set(widths)), batches, 4 * last, kind, pin)
    points += measure_rules(sorted(set(widths)), own, last, kind, pin)
    source = f"measured by pcsim calibrate, {host['time']}"
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name or f"{host['cpu_model']}, {cores} cores",
        "title": "This host, measured",
        "calibrated": {
            "time": host["time"],
            "host": {key: host[key] for key in ("cpu_model", "cores", "system", "versions", "commit") if key in host},
            "widths": [min(widths), max(widths)],
            "batches": sorted(set(batches)),
            "workers": counts,
            "dtype": dtype,
            "seconds": None,
        },
        "topology": {
            "nodes": figure(1, "nodes", "this host"),
            "sockets": figure(1, "sockets", "this host: all usable cores count as one socket"),
            "cores": figure(cores, "cores", "cores that the process may use"),
        },
        "products": {"model": "measured", "unit": "s", "source": source, "columns": list(COLUMNS), "points": points},
        "memory": [],
    }
    layer, step = loop_overhead(kind, pin)
    content["products"]["overhead"] = figure(layer, "s", source + ": iPC in nets of 3 and 24 layers of 16")
    content["products"]["step_overhead"] = figure(step, "s", source + ": iPC in nets of 3 and 24 layers of 16")
    levels = sorted(known.values(), key=lambda cache: cache["level"]) if known else []
    sizes = [(f"L{c['level']}", c["size"], min(c["shared_by"], cores), c["size"] / 2) for c in levels]
    sizes.append(("memory", None, cores, min(max(4 * last, 64 << 20), MOST_BYTES)))
    for level, size, sharers, probe in sizes:
        entry: dict[str, Any] = {
            "level": level,
            "size": figure(size, "byte", "/sys/devices/system/cpu" if size else "whatever the caches do not hold"),
            "bandwidth": figure(
                bandwidth(working_set(1, int(probe), kind, pin), True, pin, SECONDS),
                "byte/s",
                source + ", read and written",
            ),
        }
        if sharers > 1:
            probed = working_set(sharers, int(probe) * (sharers if size is None else 1), kind, pin)
            together = bandwidth(probed, True, pin, SECONDS)
            entry["shared_bandwidth"] = figure(together, "byte/s", f"{source}, by {sharers} cores at once")
            entry["sharers"] = figure(sharers, "cores", "this host")
        content["memory"].append(entry)
    if counts[-1] > 1:
        latency = _median(lambda: hand_over_seconds(1, kind, pin))
        many = 2048
        slope = (_median(lambda: hand_over_seconds(many, kind, pin)) - latency) / (many * kind.itemsize)
        content["handover"] = {
            "latency": figure(latency, "s", source + ", one element to and fro"),
            "bandwidth": figure(1 / max(slope, 1e-12), "byte/s", source + f", {many} elements to and fro"),
        }
        pair = _median(lambda: barrier_seconds(2, pin))
        top = _median(lambda: barrier_seconds(counts[-1], pin)) if counts[-1] > 2 else 2 * pair
        content["barrier"] = {
            "pair": figure(pair, "s", source),
            "doubling": figure(
                max(0.0, (top - pair) / max(1.0, math.log2(counts[-1]) - 1)),
                "s",
                source if counts[-1] > 2 else "estimate: as much as for a pair, as this host has but two cores",
            ),
        }
    content["convolutions"] = convolutions(counts, own, last, kind, pin, host["time"])
    content["calibrated"]["seconds"] = round(time.time() - began, 1)
    return content


def _caches() -> tuple[dict[int, dict[str, Any]], int, int]:
    """The caches of this host by level; bytes of a core's own, and of the last."""
    there = Path("/sys/devices/system/cpu").exists()
    known = {cache["level"]: cache for cache in caches(placement()[0])} if there else {}
    return known, known.get(2, {}).get("size", 1 << 20), known[max(known)]["size"] if known else 8 << 20


def with_convolutions(
    content: dict[str, Any], pin: bool, on_progress: Callable[[int, int], None] = lambda number, total: None
) -> dict[str, Any]:
    """A machine file of this host with its convolutions measured anew; nothing else of it changes. InputError for a
    file of another host, or of none."""
    known, host = content.get("calibrated"), capture()
    if not known:
        raise InputError(f"machine {content.get('name')} was not calibrated: there is nothing to add to")
    where = known.get("host") or {}
    for name in ("cpu_model", "cores"):
        if where.get(name) != host[name]:
            raise InputError(
                f"machine {content['name']} is of another host ({name}: {where.get(name)}, here {host[name]})"
            )
    found = convolutions(known["workers"], *_caches()[1:], np.dtype(known["dtype"]), pin, host["time"], on_progress)
    return {**content, "convolutions": found}


def loop_overhead(dtype: np.dtype, pin: bool) -> tuple[float, float]:
    """Seconds that the loop of PC, Z-IL and iPC takes beside products and new values, for each layer and for each step:
    what a step takes in nets too small for anything else, less what the same layers take in a ring."""
    from ..algorithms import IPC
    from ..bench.build import build
    from ..bench.case import Case
    from ..bench.contenders import Contender
    from .rings import Ring

    steps, depths, found = 2000, (3, 24), []
    for depth in depths:
        case = Case(depth, 16, dtype=dtype.name)
        engine = build(case, Contender(IPC(), "serial", 1), pin)
        ring = Ring(case.width, case.width, depth, 1, 1, dtype, pin)
        taken = _median(lambda: engine.run(steps)[0] / steps)  # noqa: B023 - called at once
        layer = _median(lambda: ring.seconds(PREDICT | BACKPROJECT | UPDATE, steps))  # noqa: B023
        values = _median(lambda: ring.seconds(VALUE, steps))  # noqa: B023
        found.append(taken - depth * layer - (depth - 1) * values)
    each = max(0.0, (found[1] - found[0]) / (depths[1] - depths[0]))
    return each, max(0.0, found[0] - (depths[0] - 1) * each)


def add_messages(content: dict[str, Any], comm: Any, across: bool) -> None:
    """Measure messages between rank 0 and the rank farthest from it, and put them into ``content`` (of rank 0). Every
    rank makes this call."""
    from ..host.links import ladder

    found = ladder(comm, 0, comm.size - 1)
    summed = _sum_seconds(comm)
    if comm.rank > 0:
        return
    source = f"ping-pong of persistent requests, {content['calibrated']['time']}"
    # Within a host both ends of a message are the cores' own work: half of the shortest is sending, half receiving.
    overhead = 0.0 if across else found[0][1] / 2
    segments = []
    for number, ((size, seconds), following) in enumerate(itertools.zip_longest(found, found[1:])):
        gap = (following[1] - seconds) / (following[0] - size) if following else seconds / size
        gap = max(gap, 0.0)
        latency = seconds - 2 * overhead - gap * size
        if latency < 0 and size:
            latency, gap = 0.0, max(0.0, seconds - 2 * overhead) / size
        segments.append(
            {
                "from": figure(0 if number == 0 else size, "byte", "sizes of the ping-pong"),
                "latency": figure(latency, "s", source),
                "gap": figure(gap, "s/byte", source),
            }
        )
    kind = "between" if across else "within"
    messages = MessageTimes(
        overhead, tuple(Segment(*(s[n]["value"] for n in ("from", "latency", "gap"))) for s in segments)
    )
    rest = summed - 2 * gathered(messages, comm.size, SUM_BYTES)
    content["messages"] = {
        kind: {
            "reduction": figure(
                max(0.0, rest / SUM_BYTES), "s/byte", f"MPI_Iallreduce of {SUM_BYTES} bytes less its messages, {source}"
            ),
            "overhead": figure(
                overhead, "s", "half of the one-way time of the shortest message" if overhead else source
            ),
            "segments": segments,
        }
    }


def _sum_seconds(comm: Any) -> float:
    """Of a sum over all ranks of ``SUM_BYTES``, started and then tested, as data-parallel BP does."""
    array = np.ones(SUM_BYTES // 4, np.float32)

    def measure() -> float:
        comm.Barrier()
        begin = time.perf_counter()
        request = comm.Iallreduce(IN_PLACE, array)
        while not request.Test():
            pass
        return time.perf_counter() - begin

    from mpi4py.MPI import IN_PLACE

    return _median(measure)


def machine_of(content: dict[str, Any]) -> Machine:
    """The machine that a calibration has found."""
    return parse(content, Path("calibration"))


def write(content: dict[str, Any], path: str | Path) -> None:
    """A machine file, a point to a line; InputError where it cannot be written."""
    text = json.dumps(
        {
            name: {**part, "points": f"POINTS of {name}"} if isinstance(part, dict) and "points" in part else part
            for name, part in content.items()
        },
        indent=1,
        ensure_ascii=False,
    )
    for name, part in content.items():
        if isinstance(part, dict) and "points" in part:
            rows = ",\n   ".join(json.dumps(point) for point in part["points"])
            text = text.replace(f'"POINTS of {name}"', f"[\n   {rows}\n  ]")
    write_whole(text, path)


def _median(measure: Callable[[], float], times: int = 7) -> float:
    measure()
    return float(np.median([measure() for _ in range(times)]))
