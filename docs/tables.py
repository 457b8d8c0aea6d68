"""The tables and sentences of these pages whose numbers come from results files, or from counts.

    python docs/tables.py        # writes every table anew, in README.md and docs/

A table stands below a comment that names it, ``<!-- table: batch-1 -->``. A sentence with numbers is listed in
:func:`sentences`. ``tests/test_docs.py`` makes both from the files and compares them with what the pages say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from pcsim import BP, DFA, IPC, PC, ZIL, AsyncBP, DualProp, Local
from pcsim.bench.case import Case
from pcsim.calibration import validate
from pcsim.claims import folder as claims
from pcsim.predict import batches
from pcsim.predict.machine_files import load
from pcsim.predict.nets import Net
from pcsim.predict.simulate import simulate
from pcsim.report import batches as depth_batch
from pcsim.report import profiles, races, ratios
from pcsim.results import gains, pairs, ranks
from pcsim.results.fields import CURVES
from pcsim.results.files import Results, latest, read
from pcsim.results.profiles import places
from pcsim.results.races import Outcome, Race, load_race
from pcsim.schedule.counts import table4, table_of_nets
from pcsim.tables import layout, scaled, short

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))  # for whoever loads this file by its path

from tables_images import images_table  # noqa: E402

KEPT = ROOT / "benchmarks" / "results"

CLAIMS = ROOT / "docs" / "results" / "claims.md"  # written as a whole

ZEN_5 = "bench-2-cores-zen5"  # the grid of bench-2-cores on another machine, in one process

Row = dict[str, Any]

OWN = ("serial", "intra-layer", "blas", "pipeline", "data-parallel")  # executions of BP in pcsim's own kernels
LOSS = 0.1  # per sample


@cache
def results(name: str) -> Results:
    """A results file as ``pcsim report`` reads it."""
    found = read(KEPT / f"{name}.jsonl")
    found.rows[:] = latest(found.rows)
    return found


@cache
def ratio(denominator: str = pairs.HEADLINE, name: str = "bench-2-cores") -> dict[tuple[int, int, int], Row]:
    """The pair of every (batch, depth, width)."""
    return {(row["batch"], row["depth"], row["width"]): row for row in pairs.pairs(results(name), denominator)}


# Ratios


def ratio_table(batch: int, denominator: str = pairs.HEADLINE, name: str = "bench-2-cores") -> str:
    """What ``pcsim report`` shows for a batch size."""
    text = ratios.table(results(name), denominator, "markdown")
    return re.search(rf"^measured, batch {batch}, .*\n\n((?:\|.*\n?)+)", text, re.MULTILINE)[1].rstrip()


def gains_table() -> str:
    """Medians over the cells of a width: batch 1, depth 4 and more."""
    body = []
    for width, inside in sorted(deep_gains().items()):
        factors = [
            [row["bp_serial"] / row["serial_unfused"] for row in inside],
            *([row[name] for row in inside] for name in ("fusion", "layers", "both")),
            [1 / ratio()[1, row["depth"], width]["ratio"] for row in inside],
            [unfused(row) for row in inside],
        ]
        body.append([width, *(f"{median(values):.2f}" for values in factors)])
    header = ["width", "BP serial ÷ iPC unfused, 1 worker", "fusion, 1 worker", "parallel layers, unfused"]
    header += ["both, on 2 workers", "best BP ÷ iPC", "iPC unfused on 2 workers ÷ best BP"]
    return layout(header, body, "markdown")


def unfused(row: Row) -> float:
    """The ratio of what parallel layers achieve alone: iPC unfused on two workers ÷ the fastest BP."""
    return row["layer_parallel_unfused"] / row["best_bp"]


def single(name: str = "bench-2-cores") -> list[Row]:
    """The gains of every cell of batch 1."""
    return [row for row in gains.gains(results(name)) if row["batch"] == 1]


def deep_gains(name: str = "bench-2-cores") -> dict[int, list[Row]]:
    """Where iPC gains, by width: the cells of batch 1 and depth 4 and more."""
    found: dict[int, list[Row]] = {}
    for row in single(name):
        if row["depth"] >= 4:
            found.setdefault(row["width"], []).append(row)
    return found


def deep() -> list[float]:
    """The ratios at batch 1 from four layers on."""
    return [pair["ratio"] for (batch, depth, _), pair in ratio().items() if batch == 1 and depth >= 4]


# Peers


def peers_table() -> str:
    """The fastest of each library in each cell."""
    found = results("peers-2-cores")
    body = []
    for cell, rows in pairs.cells(found).items():
        ours = pairs.representative(rows)
        own = pairs.fastest(pairs.merged(rows, "bp", OWN))
        other = [pairs.fastest(pairs.merged(rows, "bp", [name])) for name in ("torch", "jax", "numpy")]
        other += [pairs.fastest(pairs.merged(rows, "ipc", [name])) for name in ("jax", "pcx")]
        entries = [f"{scaled(ours['median'])} ({workers(ours)})", f"{scaled(own['median'])} ({own['execution']})"]
        body.append([place(cell), *entries, *(scaled(row and row["median"]) for row in other)])
    header = ["depth × width", "iPC", "best BP (ours)", "torch BP", "JAX BP", "NumPy BP", "JAX iPC", "PCX iPC"]
    return layout(header, body, "markdown")


# Nets that people train, in batches that change


def nets() -> list[tuple[pairs.Cell, list[pairs.Row], pairs.Row]]:
    """The cells whose batches change, and their like: rows, and the ratio to the fastest BP."""
    files = [results(name) for name in ("nets-2-cores", "changing-2-cores")]
    ratio_of = {pairs.cell_of(pair): pair for found in files for pair in pairs.pairs(found)}
    return [(cell, rows, ratio_of[cell]) for found in files for cell, rows in pairs.cells(found).items()]


def classifiers() -> str:
    """What README says of them."""
    found = [pair for cell, _, pair in nets() if cell.net and cell.start == "forward"]
    ratios = [pair["ratio"] for pair in found]
    faster, slower = (sum(pair["verdict"] == verdict for pair in found) for verdict in ("iPC faster", "BP faster"))
    return (
        f"With a new batch for every eight updates it is {min(ratios):.2f} to {max(ratios):.2f} for the classifiers "
        f"784-64-64-10 and 784-512-512-10 (Adam, batches of 64 and 128): "
        f"iPC is faster in {faster} of these {len(found)}, BP in {slower}"
    )


def nets_table() -> str:
    """iPC from either start, on one worker and on two, against the fastest BP and against asynchronous BP."""
    body = []
    for cell, rows, pair in nets():
        ours = pairs.representative(rows)
        alone = pairs.fastest(row for row in pairs.merged(rows, "ipc", pairs.FUSED) if row["workers"] == 1)
        late = pairs.fastest(pairs.merged(rows, "bp", pairs.APART))
        body.append(
            [
                f"{cell.net or f'{cell.depth} × {cell.width}'}, batch {cell.batch}",
                "never changes" if cell.steps_per_batch is None else cell.start,
                scaled(alone["median"]),
                f"{scaled(ours['median'])} ({ours['execution']})",
                f"{alone['median'] / ours['median']:.2f}",
                f"{scaled(pair['other_median'])} ({pair['other_execution']})",
                f"{pair['ratio']:.2f} ({pair['low']:.2f} to {pair['high']:.2f})",
                pair["verdict"],
                scaled(late["median"]),
            ]
        )
    header = ["net", "start of a batch", "iPC, 1 worker", "iPC, 2 workers", "1 ÷ 2", "best BP", "iPC ÷ BP", "verdict"]
    return layout([*header, "asynchronous BP"], body, "markdown")


def late_table() -> str:
    """iPC against asynchronous BP at batch 1."""
    body = [
        [
            f"{pair['depth']} × {pair['width']}",
            scaled(pair["median"]),
            scaled(pair["other_median"]),
            f"{pair['ratio']:.2f} ({pair['low']:.2f} to {pair['high']:.2f})",
            pair["verdict"].replace("BP", "asynchronous BP"),
        ]
        for pair in pairs.pairs(results("late-2-cores"), "pipeline-async")
    ]
    return layout(["depth × width", "iPC", "asynchronous BP", "iPC ÷ asynchronous BP", "verdict"], body, "markdown")


def nets_peers_table() -> str:
    """The same nets against libraries: update for update, iPC against iPC and BP against BP."""
    body = []
    for cell, rows in pairs.cells(results("nets-peers-2-cores")).items():
        ipc, jax_ipc = (pairs.fastest(pairs.merged(rows, "ipc", names)) for names in (pairs.FUSED, ["jax"]))
        own = pairs.fastest(pairs.merged(rows, "bp", ("serial", "intra-layer", "data-parallel")))
        torch, jax = (pairs.fastest(pairs.merged(rows, "bp", [name])) for name in ("torch", "jax"))
        times = [ipc, jax_ipc, own, torch, jax]
        ratios = [ipc["median"] / jax_ipc["median"], *(own["median"] / its["median"] for its in (torch, jax))]
        body.append(
            [
                f"{cell.net}, batch {cell.batch}",
                *(scaled(run["median"]) for run in times),
                *(f"{ratio:.2f}" for ratio in ratios),
            ]
        )
    header = ["net", "iPC", "JAX's iPC", "best BP of pcsim", "PyTorch", "JAX"]
    return layout([*header, "iPC ÷ JAX's", "BP ÷ PyTorch", "BP ÷ JAX"], body, "markdown")


def place(cell: pairs.Cell) -> str:
    return f"{cell.depth} × {cell.width}" + (f", batch {cell.batch}" if cell.batch > 1 else "")


def workers(row: Row) -> str:
    return f"{row['workers']} worker{'s' if row['workers'] > 1 else ''}"


# Learning


def learning_table() -> str:
    """What each run had spent at its first record with a loss of 0.1 per sample."""
    body = []
    for name in ("learning-adam", "learning-adam-3e-3", "learning-adam-precision"):
        for row in latest_curves(name):
            if row["algorithm"] == "pc":
                continue
            at = next(i for i, loss in enumerate(row["loss"]) if loss / row["samples"] <= LOSS)
            spent = [f"{row[cost][at]:,.0f}" for cost in ("updates", "smm", "mm")]
            body.append([conditions(row), row["depth"], *spent, f"{row['seconds'][at]:.2f}"])
    return layout(["", "depth", "updates", "SMMs", "MMs", "seconds"], body, "markdown")


def latest_curves(name: str) -> list[Row]:
    return read(KEPT / f"{name}.jsonl", CURVES).rows


def conditions(row: Row) -> str:
    rate = f"{row['alpha']:.0e}".replace("e-0", "e-")
    text = f"{row['label']}, Adam {rate}"
    if row.get("precision", 1) != 1:
        text += f", gamma {row['gamma']:g}, precision {row['precision']:g}"
    return text


# Predictions


def accuracy_table() -> str:
    """The report cards of threads and of ranks beside what was aimed at."""
    body = [["aim", "10 %", "30 %", "8 %", "", "95 %"]]
    cards = (
        ("1 and 2 threads", "validation-2-cores"),
        ("1 and 2 ranks", "validation-2-ranks"),
        ("classifiers, batches that change, 1 and 2 threads", "validation-nets-2-cores"),
        ("classifiers, with rivals, 1 and 2 threads", "validation-rivals-2-cores"),
        ("convolutions and residual nets, 1 and 2 threads", "validation-images-2-cores"),
    )
    for name, file in cards:
        found = validate.card(validate.read(KEPT / f"{file}.json"))
        times, of_ratios, (right, decided) = found.all_times, found.all_ratios, found.winners
        scores = [part(times.mape), worst(times.worst), part(of_ratios.mape), worst(of_ratios.worst)]
        body.append([name, *scores, f"{right} of {decided}"])
    header = ["", "times, mean abs. error", "worst", "iPC ÷ BP ratios, mean abs. error", "worst"]
    return layout([*header, "winner right (ratio outside 0.9 to 1.1)"], body, "markdown")


def measured_twice() -> tuple[float, float]:
    """How far apart two measurements of the same lie in the card of classifiers, the mean of one worker and of two: BP
    takes a new batch for every update, so that its cells of 1 and of 8 steps a batch are alike."""
    found: dict[tuple, list[Row]] = {}
    for row in validate.read(KEPT / "validation-nets-2-cores.json"):
        if row.algorithm == "bp":
            found.setdefault((row.net, row.depth, row.width, row.batch, row.execution, row.workers), []).append(row)
    apart: dict[int, list[float]] = {1: [], 2: []}
    for (*_, workers), (one, other) in found.items():
        apart[workers].append(abs(other.measured / one.measured - 1))
    return sum(apart[1]) / len(apart[1]), sum(apart[2]) / len(apart[2])


def whole_percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def part(number: float) -> str:
    return f"{number:.1%}".replace("%", " %")


def worst(number: float) -> str:
    return f"{number:+.0%}".replace("%", " %").replace("-", "−")


def extreme() -> dict[str, dict[int, Row]]:
    """The fastest predicted rows on no more workers than given: of iPC, of serial BP, of any BP."""
    rows = results("extreme-64-workers").rows
    found: dict[str, dict[int, Row]] = {"ipc": {}, "serial": {}, "best": {}}
    for count in sorted({row["workers"] for row in rows}):
        may = [row for row in rows if row["workers"] <= count]
        found["ipc"][count] = min((row for row in may if row["algorithm"] == "ipc"), key=lambda row: row["median"])
        bp = [row for row in may if row["algorithm"] == "bp"]
        found["serial"][count] = next(row for row in bp if row["execution"] == "serial")
        found["best"][count] = min(bp, key=lambda row: row["median"])
    return found


def extreme_ratios(of: str) -> dict[int, float]:
    found = extreme()
    return {count: row["median"] / found[of][count]["median"] for count, row in found["ipc"].items()}


def extreme_table() -> str:
    """The ratio over workers, predicted."""
    serial, best = extreme_ratios("serial"), extreme_ratios("best")
    body = [
        ["iPC ÷ `paper-style` (BP on one worker)", *(f"{value:#.2g}" for value in serial.values())],
        ["iPC ÷ `best-bp` (rows split)", *(f"{value:.2f}" for value in best.values())],
    ]
    return layout(["workers", *map(str, serial)], body, "markdown")


def extreme_measured() -> dict[str, tuple[float, float]]:
    """What was predicted for 1 and 2 workers, and what was measured on that machine."""
    predicted = extreme()
    cell = next(row for row in single(ZEN_5) if (row["depth"], row["width"]) == (32, 1024))
    return {
        "iPC, 1 worker": (predicted["ipc"][1]["median"], cell["serial"]),
        "iPC, 2 workers": (predicted["ipc"][2]["median"], cell["layer_parallel"]),
        "BP, 1 worker": (predicted["serial"][1]["median"], cell["bp_serial"]),
        "BP with split rows, 2 workers": (predicted["best"][2]["median"], cell["best_bp"]),
    }


def extreme_measured_table() -> str:
    """Times and ratios, predicted and measured."""
    times = extreme_measured()
    body = [[name, *map(scaled, pair), f"{pair[0] / pair[1]:.2f}"] for name, pair in times.items()]
    for who, other in (
        ("iPC, 1 worker", "BP, 1 worker"),
        ("iPC, 2 workers", "BP, 1 worker"),
        ("iPC, 2 workers", "BP with split rows, 2 workers"),
    ):
        both = [mine / rival for mine, rival in zip(times[who], times[other], strict=True)]
        body.append([f"{who} ÷ {other}", *(f"{value:.2f}" for value in both), f"{both[0] / both[1]:.2f}"])
    return layout(["", "predicted", "measured", "predicted ÷ measured"], body, "markdown")


def teams_table() -> str:
    """Best iPC ÷ ``best-bp`` on 64 workers of a preset, with layers on workers alone and with all executions."""
    server, body = load("server-64"), []
    for pair in sorted(pairs.pairs(results("server-64-64-workers")), key=lambda pair: (pair["depth"], pair["batch"])):
        depth, width, batch = (pair[name] for name in ("depth", "width", "batch"))
        layers = simulate(IPC(), Net((width,) * (depth + 1), batch), server, "layer-parallel", depth)
        who = f"{pair['execution']}, {scaled(pair['median'])}"
        bp = f"{pair['other_execution']}, {scaled(pair['other_median'])}"
        ratios_of = f"{layers.seconds / pair['other_median']:.2f}", f"{pair['ratio']:.2f}"
        body.append([f"{depth} × {width}", batch, scaled(layers.seconds), who, bp, *ratios_of])
    header = ["net", "batch", "iPC, a worker a layer", "best iPC on 64", "best BP on 64"]
    return layout([*header, "ratio, a worker a layer", "ratio, best iPC"], body, "markdown")


# Counts


def rivals_table() -> str:
    """What ways of learning cost per update, at 8 and at 32 layers."""
    ways = {
        "BP": BP(), "PC, T = 8": PC(T=8), "Z-IL": ZIL(), "iPC": IPC(), "asynchronous BP": AsyncBP(),
        "local losses": Local(), "DFA": DFA(), "dual propagation, 4 sweeps": DualProp(),
        "dual propagation, incremental": DualProp(incremental=True),
    }  # fmt: skip
    names = ("smm", "span_flop", "delay", "held", "messages_up", "messages_down")
    deep, deeper = (table4([depth], ways.values()) for depth in (8, 32))
    body = []
    for title, *rows in zip(ways, deep, deeper, strict=True):
        pairs_of = [[f"{round(row[name], 2):g}" for row in rows] for name in names]
        flop = [f"{row['flops'] / 1e6:#.3g}" for row in rows]
        body.append([title, *(one if one == other else f"{one}, {other}" for one, other in [*pairs_of, flop])])
    return layout(["", "SMM", "span", "delay", "held", "up", "down", "Mflop"], body, "markdown")


NAMED = ("cnn-64-128-64", "vgg5@32x32x3", "784-64-64-10", "residual-mlp-128-128")


@cache
def named_nets() -> dict[str, dict[str, Row]]:
    """Counts of nets by name: of each net, by algorithm."""
    ways = [BP(), PC(T=8), ZIL(), IPC(), AsyncBP(), Local()]
    found: dict[str, dict[str, Row]] = {}
    for row in table_of_nets({name: Case.of_net(name).layer_sizes for name in NAMED}, ways, (1, 2, 8)):
        found.setdefault(row["net"], {})[row["algorithm"]] = row
    return found


def counted_nets_table() -> str:
    """Products in a row by number and by size, on any number of workers and in blocks, and bytes."""
    titles = {
        "bp": "BP",
        "pc": "PC, T = 8",
        "zil": "Z-IL",
        "ipc": "iPC",
        "bp-async": "async BP",
        "local": "local losses",
    }
    body = []
    for net, rows in named_nets().items():
        for name, row in rows.items():
            spans = [row["span_flop"], row["span_workers"][2], row["span_workers"][8]]
            kilobytes = [row[of] / 1000 for of in ("up_bytes", "down_bytes", "held_bytes")]
            what = [f"{row['smm']:g}", *map(short, spans), *(f"{round(size, 1):g}" for size in kilobytes)]
            body.append([net, titles[name], *what, short(row["flops"] / 1e6)])
            if name == "bp":
                shared = [short(spans[0] / workers) for workers in (2, 8)]
                body.append([net, "BP, samples shared out", what[0], "", *shared, "", "", what[-1], body[-1][-1]])
    header = ["net", "", "SMM", "span", "on 2", "on 8", "up, kB", "down, kB", "kept, kB", "Mflop"]
    return layout(header, body, "markdown")


def unequal_layers() -> str:
    """What counting by shapes says of iPC beside BP in two nets."""
    said = []
    for net in ("cnn-64-128-64", "residual-mlp-128-128"):
        bp, ipc = named_nets()[net]["bp"], named_nets()[net]["ipc"]
        many, two = bp["span_flop"] / ipc["span_flop"], bp["span_flop"] / 2 / ipc["span_workers"][2]
        smm = bp["smm"] / ipc["smm"]
        said.append(f"{short(smm)} in SMMs, {short(many)} in span and {short(two)} on two workers for `{net}`")
    return f"BP ÷ iPC is {said[0]}, and {said[1]} (on two workers BP shares out samples, iPC layers)"


# Ranks


def ranks_table() -> str:
    """iPC on two ranks beside two threads, and BP."""
    found = results("ranks-strong-2-cores")
    cost = {
        (row["batch"], row["depth"], row["width"]): row
        for row in ranks.exchanges(found)
        if (row["algorithm"], row["workers"]) == ("ipc", 2)
    }
    body = []
    for cell, rows in pairs.cells(found).items():
        at = (cell.batch, cell.depth, cell.width)
        if at not in WITH_RANKS:
            continue
        threads = pairs.fastest([r for r in pairs.merged(rows, "ipc") if r["backend"] == "threads" and of_two(r)])
        mine = pairs.fastest([r for r in pairs.merged(rows, "ipc") if r["backend"] == "mpi" and of_two(r)])
        serial = pairs.fastest(pairs.merged(rows, "bp", ["serial"]))
        best = pairs.fastest([r for r in pairs.merged(rows, "bp") if r["backend"] == "mpi" and of_two(r)])
        body.append(
            [
                cell.batch,
                f"{cell.depth} × {cell.width}",
                scaled(threads["median"]),
                scaled(mine["median"]),
                two_digits(cost[at]["handover_seconds"]),
                f"{cost[at]['handover_latencies']:.1f}",
                scaled(serial["median"]),
                f"{scaled(best['median'])} ({best['execution']})",
            ]
        )
    header = ["batch", "depth × width", "iPC, 2 threads", "iPC, 2 ranks", "exchange of a step", "÷ latency"]
    return layout([*header, "BP serial", "best BP, 2 ranks"], body, "markdown")


WITH_RANKS = [(1, 4, 64), (1, 32, 64), (1, 32, 256), (1, 32, 1024), (64, 32, 64), (64, 32, 256), (64, 32, 1024)]


def of_two(row: Row) -> bool:
    return row["workers"] == 2


def two_digits(seconds: float) -> str:
    number, unit = scaled(seconds).split()
    return f"{float(number):.2g} {unit}" if float(number) < 100 else f"{number} {unit}"


def latency_table() -> str:
    """Seconds per update over added latency, and iPC ÷ BP in brackets."""
    found: dict[tuple[int, int, int, float], dict[str, Row]] = {}
    for row in ranks.delays(results("ranks-latency-2-cores")):
        place = (row["batch"], row["depth"], row["width"], row["delay"])
        name = "ipc" if row["algorithm"] == "ipc" else row["execution"]
        found.setdefault(place, {})[name] = row
    body, before = [], None
    for (batch, depth, width, delay), row in found.items():
        net = f"{depth} × {width}, batch {batch}"
        ms = f"{delay * 1e3:g} ms" if delay else "none"
        entries = [scaled(row["ipc"]["median"]), *(against(row.get(name)) for name in ("intra-layer", "pipeline"))]
        body.append(["" if net == before else net, ms, *entries])
        before = net
    return layout(["net", "added latency", "iPC", "BP intra-layer", "BP pipeline"], body, "markdown")


def against(row: Row | None) -> str:
    return "-" if row is None else f"{scaled(row['median'])} ({row['ratio']:#.2g})"


# Races


@cache
def race(name: str) -> Race:
    """A race file of this repository."""
    return load_race(KEPT / f"race-{name}.jsonl.gz")[0]


def race_table(name: str) -> str:
    """What each contender cost to the last goal, beside the best BP."""
    return races.comparison(race(name), race(name).goals[-1])


FULL_BATCH = {depth: f"fashion-250-{depth}" for depth in (3, 6, 12)}


def against_bp(name: str, axis: str, one: str = "ipc") -> Outcome:
    """A contender of a race, beside the best BP, to the last goal."""
    outcomes = race(name).outcomes(race(name).goals[-1], axis)
    return next(each for each in outcomes if each.contender == one)


def full_batch() -> str:
    """iPC's SMMs and span ÷ BP's with the full batch, at every depth."""
    smm, span = ([f"{against_bp(name, axis).ratio:.2f}" for name in FULL_BATCH.values()] for axis in ("smm", "span"))
    return (
        f"iPC reaches a training loss of 0.02 in {smm[0]}, {smm[1]} and {smm[2]} of BP's SMMs at 3, 6 and 12 layers. "
        f"With each product weighed by its samples it is {span[0]}, {span[1]} and {span[2]} of BP's"
    )


def online() -> str:
    """Who has how many products in a row when samples come one by one."""
    name = "fashion-online"
    spans = {one: f"{against_bp(name, 'span', one).ratio:.2g}" for one in ("ipc", "bp-async", "local")}
    samples, pc = against_bp(name, "samples"), against_bp(name, "samples", "pc")
    low, high = samples.interval or (0.0, 0.0)
    return (
        f"to 80 % of the images held out local losses have {spans['local']} of serial BP's products in a row, "
        f"asynchronous BP {spans['bp-async']} and iPC {spans['ipc']}; iPC needs {samples.ratio:.2f} ({low:.2f} to "
        f"{high:.2f}) of the samples of the best BP, PC {pc.ratio:.2f}"
    )


def deeper_batches() -> str:
    """Who needs what in batches, six layers: early, and to the last goal."""
    name = "fashion-mlp-6"
    early = next(one for one in race(name).outcomes(0.84, "span") if one.contender == "local")
    low, high = early.interval or (0.0, 0.0)
    return (
        f"local losses need {early.ratio:.2f} ({low:.2f} to {high:.2f}) of BP's span to 84 %, and do not come to 86 %; "
        f"iPC needs {against_bp(name, 'samples').ratio:.2f} times the samples of the best BP and "
        f"{against_bp(name, 'span').ratio:.1f} times its span"
    )


def deep_narrow() -> str:
    """Who needs what in twelve narrow layers, sample by sample."""
    name = "deep-narrow-12"
    spans = {one: f"{against_bp(name, 'span', one).ratio:.2g}" for one in ("ipc", "bp-async", "local", "dfa")}
    samples = against_bp(name, "samples")
    low, high = samples.interval or (0.0, 0.0)
    return (
        f"iPC needs {samples.ratio:.2g} ({low:.2g} to {high:.2g}) of the samples of a BP that may dwell on each, and "
        f"{spans['ipc']} of serial BP's products in a row, asynchronous BP {spans['bp-async']}, direct feedback "
        f"alignment {spans['dfa']} and local losses {spans['local']}"
    )


def mini_batches() -> str:
    """Who needs what in batches, three layers."""
    name = "fashion-mlp-3"
    samples, span = against_bp(name, "samples"), against_bp(name, "span")
    without = against_bp(name, "span", "dfa").ratio
    return (
        f"iPC needs {samples.ratio:.2f} times the samples of the best BP and {span.ratio:.1f} times its products in a "
        f"row, weighed by their samples; direct feedback alignment needs {without:.2f} of these"
    )


def leaders_table(*names: str) -> str:
    """Who needs least in each of these races, to the last goal."""
    found = [place for place in places([race(name) for name in names]) if place.goal == place.race.goals[-1]]
    return profiles.leaders(found, "markdown")


def claims_page() -> str:
    """The page of claims: what their folder says."""
    return claims.markdown(KEPT / "claims", "../../benchmarks/results/claims/")


def map_table() -> str:
    """BP ÷ iPC at a few depths and batches: counted, predicted with a worker for each layer, measured on two cores."""
    cells = [(depth, batch) for depth in (8, 32) for batch in (1, 16, 64, 250, 1024)]
    machines = [load(name) for name in ("ideal-linear", "server-64")]
    there = {machine.name: {at: batches.predicted(*at, 64, machine) for at in cells} for machine in machines}
    measured = depth_batch.measured(results("bench-2-cores"), 64)
    return depth_batch.table(depth_batch.rows([batches.counted(*at) for at in cells], there, measured), "markdown")


TABLES: dict[str, Callable[[], str]] = {
    "batch-1": lambda: ratio_table(1),
    "batch-250": lambda: ratio_table(250),
    "zen-5": lambda: ratio_table(1, name=ZEN_5),
    "paper-style": lambda: ratio_table(1, "paper-style"),
    "gains": gains_table,
    "peers": peers_table,
    "nets": nets_table,
    "late": late_table,
    "nets-peers": nets_peers_table,
    "learning": learning_table,
    "accuracy": accuracy_table,
    "extreme": extreme_table,
    "extreme-measured": extreme_measured_table,
    "teams": teams_table,
    "rivals": rivals_table,
    "counted-nets": counted_nets_table,
    "race-250-3": lambda: race_table("fashion-250-3"),
    "race-250-6": lambda: race_table("fashion-250-6"),
    "race-250-12": lambda: race_table("fashion-250-12"),
    "map": map_table,
    "race-online": lambda: race_table("fashion-online"),
    "race-mlp-3": lambda: race_table("fashion-mlp-3"),
    "race-mlp-6": lambda: race_table("fashion-mlp-6"),
    "race-deep-24": lambda: race_table("deep-narrow-24"),
    "race-pretrained": lambda: race_table("deep-narrow-pretrained"),
    "leaders-mlp": lambda: leaders_table("fashion-mlp-3", "fashion-mlp-6"),
    "race-deep-narrow": lambda: race_table("deep-narrow-12"),
    "leaders-online": lambda: leaders_table("fashion-online", "deep-narrow-12", "deep-narrow-pretrained"),
    "leaders-250": lambda: leaders_table("fashion-250-3", "fashion-250-6", "fashion-250-12", "generative-100"),
    "race-generative": lambda: race_table("generative-100"),
    "ranks": ranks_table,
    "latency": latency_table,
    "images": images_table,
}


def sentences() -> dict[str, list[str]]:
    """What pages say in sentences, by page, with the numbers of the files."""
    low, high, middle = min(deep()), max(deep()), median(deep())
    largest = ratio()[1, 32, 1024]
    full = [ratio()[250, depth, 64]["ratio"] for depth in (2, 4, 8, 16, 32)]
    before = [pair["ratio"] for at, pair in ratio(name=ZEN_5).items() if at[0] == 1 and at[1] >= 4]
    split = {(row["depth"], row["width"]): row for inside in deep_gains().values() for row in inside}
    apart = [unfused(row) for (_, width), row in split.items() if width >= 256]
    few = [unfused(row) for (_, width), row in split.items() if width < 256]
    alone = split[32, 1024]["serial"] / split[32, 1024]["best_bp"]
    two = [pair["ratio"] for (batch, depth, _), pair in ratio().items() if (batch, depth) == (1, 2)]
    launches = {width: ratio(name="headline-2-cores")[1, 32, width]["ratio"] for width in (64, 256, 1024)}
    fusion = [median(row["fusion"] for row in inside) for inside in deep_gains(ZEN_5).values()]
    layers = [median(row["layers"] for row in inside) for inside in deep_gains().values()]
    best = extreme_ratios("best")
    on_ranks = validate.card(validate.read(KEPT / "validation-2-ranks.json"))
    summed = next(score for score in on_ranks.ratios if score.name == "data-parallel")
    late = {name: f"{now / was - 1:.0%}".replace("%", " %") for name, (now, was) in extreme_measured().items()}
    gains = [1 / value for value in best.values()]
    return {
        "docs/how-to/nets.md": [unequal_layers()],
        "README.md": [
            f"an update of iPC that stays on one sample takes {low:.2f} to {high:.2f} of the time of the fastest BP on "
            f"the same cores (median {middle:.2f}), for nets of 4 to 32 layers of 32 to 1024 units",
            f"{counted('iPC faster')} of these {len(deep())} nets iPC is faster, {counted('not resolved')} are not "
            "resolved, and BP is faster in none",
            f"with a batch of 250 and 64 units the ratio is {min(full):.2f} to {max(full):.2f}",
            f"{min(before):.2f} to {max(before):.2f} (median {median(before):.2f})",
            f"parallel layers alone take {min(few):.2f} to {max(few):.2f} of the time of BP up to 128 units, but "
            f"{min(apart):.2f} to {max(apart):.2f} from 256 on",
            f"At 32 layers of 1024 units that is {scaled(largest['median'])} "
            f"against {scaled(largest['other_median'])}, a ratio of {short(largest['ratio'])}; on one core iPC already "
            f"has {short(alone)}, and the SMMs alone have {short(largest['smm_ratio'])}",
            f"Nets of two layers have {min(two):.2f} to {max(two):.2f}",
            classifiers(),
            full_batch(),
            online(),
            mini_batches(),
            deep_narrow(),
        ],
        "docs/results/races.md": [full_batch(), online(), mini_batches(), deeper_batches(), deep_narrow()],
        "docs/results/two-cores.md": [
            *losses(),
            f"the ratios at 32 layers were {launches[64]:.2f} (width 64), {launches[256]:.2f} (256) and "
            f"{launches[1024]:.2f} (1024)",
        ],
        "docs/explanation/ratio.md": [
            f"at 32 layers the counted ratio is {largest['smm_ratio']:.2f}",
            f"Parallel layers gain up to {max(layers):.1f} on two workers",
            *without_fusion(),
        ],
        "docs/explanation/limits.md": [split_rows()],
        "docs/tutorial/first-figure.md": [f"{len(ratio())} cells (a cell is a net and a batch)"],
        "docs/explanation/waves.md": [f"gain a factor of {min(fusion):.1f} to {max(fusion):.1f}"],
        "docs/explanation/simulator.md": [
            f"its ratios are off by {summed.mape:.0%}.".replace("%", " %"),
            f"the worst error, {worst(on_ranks.all_times.worst)}, is there",
        ],
        "docs/results/predictions.md": [
            "differ by {} on one thread and {} on two (mean)".format(*map(whole_percent, measured_twice())),
            f"iPC's times are {late['iPC, 1 worker']} (one worker) and {late['iPC, 2 workers']} (two workers) too long",
            f"the factor is {min(gains):.1f} to {max(gains):.1f}, with two cores per layer {1 / best[64]:.1f}",
        ],
    }


def counted(verdict: str) -> int:
    """How many of the nets of four layers or more, on one sample, have a verdict."""
    return sum(pair["verdict"] == verdict for at, pair in ratio().items() if at[0] == 1 and at[1] >= 4)


def losses() -> list[str]:
    """Where iPC does not gain on two cores, and what remains of the paper's factor."""
    full = [pair for (batch, *_), pair in ratio().items() if batch == 250]
    shallow = {at[2]: pair for at, pair in ratio().items() if at[:2] == (1, 2)}
    lost = {width: pair for width, pair in shallow.items() if pair["verdict"] == "BP faster"}
    if list(lost) != [256] or counted("BP faster") or any(pair["verdict"] == "BP faster" for pair in full):
        raise ValueError("2 x 256 is no longer the one loss")
    largest = next(row for row in single() if (row["depth"], row["width"]) == (32, 1024))
    serial = {at: 1 / pair["ratio"] for at, pair in ratio("paper-style").items() if at[0] == 1}
    most = max(serial, key=lambda at: serial[at])
    resolved = sorted(pair["resolves"] for pair in ratio().values())
    return [
        f"the ratios are {min(pair['ratio'] for pair in full):.2f} to {max(pair['ratio'] for pair in full):.2f}, "
        f"and {sum(pair['verdict'] == 'iPC faster' for pair in full)} of the {len(full)} is resolved",
        f"on one worker already has a ratio of {largest['serial'] / largest['best_bp']:.2f} to the fastest BP",
        f"it loses on two workers ({unfused(largest):.2f})",
        f"2 × 256 is the one net in which BP is faster ({lost[256]['ratio']:.2f}, {lost[256]['low']:.2f} to "
        f"{lost[256]['high']:.2f})",
        f"differences of {100 * median(resolved):.0f} % and more are resolved in the median cell, of "
        f"{100 * resolved[-1]:.0f} % in the worst",
        f"the factor is at most {serial[most]:.1f} ({most[1]} × {most[2]}), and {serial[1, 32, 1024]:.1f} at 32 × 1024",
    ]


def without_fusion() -> list[str]:
    """How much of the gain parallel layers make alone."""
    largest = next(row for row in single() if (row["depth"], row["width"]) == (32, 1024))
    wide = [row for row in single() if row["width"] >= 256]
    narrow = [row for row in single() if row["width"] < 256]
    above = [f"{row['depth']} × {row['width']}" for row in narrow if unfused(row) >= 1]
    return [
        f"on one worker already has a ratio of {largest['serial'] / largest['best_bp']:.2f} to the fastest BP "
        f"on two; the second core takes it to {largest['layer_parallel'] / largest['best_bp']:.2f}; unfused on two "
        f"workers it loses ({unfused(largest):.2f})",
        f"slower than the fastest BP in {sum(unfused(row) > 1 for row in wide)} of {len(wide)} cells, and fused iPC on "
        f"one worker in {sum(row['serial'] > row['best_bp'] for row in wide)} of {len(wide)}",
        f"unfused iPC on two workers is faster in {sum(unfused(row) < 1 for row in narrow)} of {len(narrow)} cells, "
        f"all but {' and '.join(above)}",
    ]


def split_rows() -> str:
    """What a second core gives to BP whose weights fit into the caches."""
    gained = [
        row["bp_serial"] / row["best_bp"]
        for row in single(ZEN_5)
        if 128 <= row["width"] <= 512 and (row["depth"], row["width"]) != (8, 128)
    ]
    return f"is {min(gained):.1f} to {max(gained):.1f} times as fast as serial BP (not at 8 × 128"


MARKED = re.compile(r"^<!-- table: ([\w-]+) -->\n(?:\n(?:\|.*\n)+)?", re.MULTILINE)


def with_tables(text: str) -> str:
    """A page with its tables made anew; KeyError for a table that nobody makes."""
    return MARKED.sub(lambda found: f"<!-- table: {found[1]} -->\n\n{left(TABLES[found[1]]())}\n", text)


def left(table: str) -> str:
    """The first column says what a line is about."""
    return table.replace("\n| --: |", "\n| :-- |", 1)


def pages() -> Iterable[Path]:
    """The pages of this documentation, README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("[a-z]*/*.md"))]


if __name__ == "__main__":
    CLAIMS.write_text(claims_page(), encoding="utf-8")
    for page in pages():
        old = page.read_text(encoding="utf-8")
        if (new := with_tables(old)) != old:
            page.write_text(new, encoding="utf-8")
            print(page.relative_to(ROOT))
