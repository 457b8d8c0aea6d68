"""The verbs of machine files: ``calibrate`` measures one, ``simulate`` predicts on it, ``validate`` says how well.

Arguments and output; no logic. Everything slow is imported by the verb that needs it.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from typing import Any

from ..algorithms import Algorithm, AsyncBP
from ..algorithms.registry import names
from ..errors import InputError
from ..streams import check_place, check_streams, target
from .algorithms import add_algorithms, add_sweep_flags, algorithms_of
from .calibration import run_calibrate, run_validate
from .cells import add_cells, cells_of
from .look import add_look, look_of
from .words import add_cores, beside, file_name, positive_number, warn_of_time, whole_number, write

PER_LAYER = 2e-3  # seconds for all predictions of one net, for each of its layers: a guess, for a warning

FACTORS = (0.1, 1.0, 10.0, 100.0, 1000.0)  # of latency, in a map over it


def add_verbs(verbs: Any) -> None:
    """Add the three to the command line."""
    calibrate = verbs.add_parser("calibrate", help="measure this machine into a machine file (about ten minutes)")
    calibrate.add_argument(
        "--out", type=file_name, required=True, metavar="FILE.json", help="machine file, which must not exist yet"
    )
    calibrate.add_argument(
        "--add-to",
        type=file_name,
        metavar="MACHINE.json",
        help="keep that machine file of this host, and measure only convolutions and skips (about a minute)",
    )
    calibrate.add_argument(
        "--widths",
        type=whole_number,
        nargs="+",
        metavar="N",
        help="widths of layers (default: 16 of them from 16 to 2048)",
    )
    calibrate.add_argument(
        "--batches", type=whole_number, nargs="+", metavar="B", help="default 1 4 6 8 12 16 24 32 64 128"
    )
    calibrate.add_argument(
        "--workers", type=whole_number, nargs="+", metavar="P", help="default 1, 2, 4 … and all cores"
    )
    calibrate.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default float32")
    add_cores(calibrate)
    calibrate.add_argument("--no-pin", action="store_true", help="do not bind workers to cores")
    calibrate.add_argument("--name", help="name of the machine (default: its CPU model and cores)")
    calibrate.set_defaults(run=run_calibrate)

    simulate = verbs.add_parser("simulate", help="predict a sweep, or one case with its timeline, on a machine")
    simulate.add_argument("machine", metavar="MACHINE", help="a machine file, or a preset such as server-64")
    add_cells(simulate, "2 4 8 16 32", "64 256 1024", "1")
    simulate.add_argument("--workers", type=whole_number, nargs="+", metavar="P", help="default: all cores, at most 64")
    simulate.add_argument("--ranks", type=whole_number, metavar="N", help="processes that the workers are spread over")
    add_algorithms(
        simulate,
        "ipc",
        text="what is compared with BP: pc, zil, ipc (default), bp-async (BP that learns from late gradients), local, "
        "dfa, dual or one of an installed package; bp lists every BP of each case",
    )
    add_sweep_flags(simulate)
    simulate.add_argument("--steps", type=whole_number, nargs="+", default=[8], metavar="T", help="T of PC (default 8)")
    simulate.add_argument(
        "--executions",
        nargs="+",
        metavar="NAME",
        help="executions of BP: serial intra-layer pipeline data-parallel (default: all)",
    )
    simulate.add_argument(
        "--micro-batches", type=whole_number, metavar="M", help="number of them in a pipeline (default: the best)"
    )
    simulate.add_argument(
        "--order", choices=["split", "gpipe", "1f1b", "zero-bubble"], default="split", help="schedule of a pipeline"
    )
    simulate.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default float32")
    simulate.add_argument(
        "--cores", type=whole_number, metavar="N", help="the same machine with that many cores per socket"
    )
    simulate.add_argument(
        "--bandwidth",
        choices=["scaled", "fixed"],
        default="fixed",
        help="with --cores: whether caches and memory bandwidth grow with them (default fixed)",
    )
    simulate.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIGURE=FACTOR",
        help="change figures of the machine, as in 'memory bandwidth=2' 'message latency=10'",
    )
    simulate.add_argument(
        "--latency-factors",
        type=positive_number,
        nargs="+",
        metavar="X",
        help="predict with all latencies times each of these",
    )
    simulate.add_argument(
        "--bandwidth-factors",
        type=positive_number,
        nargs="+",
        metavar="X",
        help="the same for memory bandwidth",
    )
    simulate.add_argument(
        "--map", choices=["depth-width", "workers-latency"], help="crossover map in place of a line for each case"
    )
    simulate.add_argument(
        "--sensitivity", action="store_true", help="which machine figures the ratio depends on (one case only)"
    )
    simulate.add_argument(
        "--trace", type=file_name, metavar="FILE.json", help="Chrome trace of one case's first updates"
    )
    simulate.add_argument("--gantt", type=file_name, metavar="FILE.png", help="the same as a Gantt chart")
    simulate.add_argument(
        "--figure", type=file_name, metavar="FILE.png", help="curves over workers (or depth), or the map"
    )
    add_look(simulate)
    simulate.add_argument("--out", type=file_name, metavar="FILE.jsonl", help="results file of rows of kind predicted")
    simulate.add_argument(
        "--validation",
        type=file_name,
        metavar="CARD.json",
        help="report card of this machine, to be shown beside the predictions",
    )
    simulate.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    simulate.set_defaults(run=_simulate)

    validate = verbs.add_parser("validate", help="predictions against measurements, cell by cell, with the error")
    validate.add_argument("machine", nargs="?", metavar="MACHINE", help="a machine file of this host")
    validate.add_argument(
        "--calibrate", action="store_true", help="measure the machine first, into MACHINE if it is given"
    )
    validate.add_argument(
        "--out", type=file_name, required=True, metavar="CARD.json", help="report card, written cell by cell"
    )
    add_cells(validate, "3 6 12 24", "96 192 384 768 1536", "1 64")
    add_algorithms(validate, "ipc", text="what is checked beside BP: ipc (always), local, dfa, dual")
    add_sweep_flags(validate)
    validate.add_argument(
        "--workers",
        type=whole_number,
        nargs="+",
        metavar="P",
        help="default 1 and all cores (or ranks)",
    )
    validate.add_argument(
        "--backend", choices=["threads", "mpi"], default="threads", help="what runs the layers (default threads)"
    )
    validate.add_argument("--seconds", type=positive_number, default=1.0, help="time measured per cell (default 1)")
    add_cores(validate)
    validate.add_argument("--no-pin", action="store_true", help="do not bind workers to cores")
    validate.add_argument("--resume", action="store_true", help="continue the card, skipping finished cells")
    validate.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    validate.set_defaults(run=run_validate)


# simulate


@dataclass(frozen=True)
class _Shown:
    """What is shown beside every prediction."""

    machine: Any
    card: str
    format: str


def _simulate(arguments: argparse.Namespace) -> int:
    from ..calibration import validate
    from ..figures import style
    from ..predict import machine_files, sweep
    from ..results import files
    from .display import Display

    look_of(arguments, "figure", "gantt")
    check_streams([arguments.machine, arguments.validation])
    outputs = [arguments.trace, arguments.gantt, arguments.figure, arguments.out]
    check_streams(outputs)
    one = machine_files.load(arguments.machine)
    card = ""
    if arguments.validation:
        card = f"report card: {validate.summary(validate.card(validate.read(arguments.validation, one)))}"
    if arguments.cores:
        one = one.scaled(arguments.cores, arguments.bandwidth == "scaled")
    elif arguments.bandwidth == "scaled":
        raise InputError("--bandwidth scaled requires --cores")
    one = sweep.changed(one, arguments.set)
    latencies = arguments.latency_factors or (FACTORS if arguments.map == "workers-latency" else (1.0,))
    bandwidths = arguments.bandwidth_factors or (1.0,)
    workers = arguments.workers or sweep.default_workers(one)
    sweep.check_workers(one, workers, arguments.ranks)
    how = sweep.How(
        tuple(_against(arguments)),
        tuple(arguments.executions or sweep.EXECUTIONS),
        arguments.ranks,
        arguments.micro_batches,
        arguments.order,
        arguments.optimizer,
    )
    cells = cells_of(arguments, arguments.dtype)
    nets = [validate.net_of(cell) for cell in cells]
    if arguments.map == "depth-width" and arguments.nets:
        raise InputError("--map depth-width is of nets whose layers are all alike: leave --nets out")
    workers = sorted(set(workers))
    factors = [sorted(set(n)) for n in (latencies, bandwidths)]
    single = all(len(n) == 1 for n in (nets, workers, *factors))
    for flag in ("sensitivity", "trace", "gantt"):
        if getattr(arguments, flag) and not single:
            raise InputError(f"--{flag} is for a single case: give one net, batch and number of workers")
        if getattr(arguments, flag) and factors != [[1.0], [1.0]]:
            raise InputError(f"--{flag} is for a single machine: change its figures with --set")
    for path in (arguments.gantt, arguments.figure):
        if path:
            style.check_suffix(path)
    if arguments.trace:
        check_place(arguments.trace)
    if arguments.out:
        files.check_target(arguments.out)
        if factors != [[1.0], [1.0]]:
            raise InputError("--out is for a single machine: change its figures with --set, one file for each")
    warn_of_time("simulate", PER_LAYER * sum(net.depth for net in nets) * math.prod(map(len, (workers, *factors))))
    cases = []
    with Display("simulate") as display:
        for case in sweep.sweep_nets(
            one,
            nets,
            workers,
            how=how,
            latencies=factors[0],
            bandwidths=factors[1],
            on_progress=lambda name, done, total: display.share("predicting", done, total) if total > 1 else None,
        ):
            cases.append(case)
    shown = _Shown(one, card, arguments.format)
    with beside(*outputs):
        maps = _show_cases(arguments, cases, shown, single)
    _write_files(arguments, cases, maps, shown, how)
    return 0


def _against(arguments: argparse.Namespace) -> list[Algorithm]:
    """What is compared with BP, iPC first where it is among them, and asynchronous BP, which learns something else."""
    order = dict.fromkeys(["ipc", *names()])
    wanted = algorithms_of(arguments, [name for name in order if name in arguments.algorithms])
    against = [one for one in wanted if one.layered or isinstance(one, AsyncBP)]
    return against or algorithms_of(arguments, ["ipc"])


def _show_cases(arguments: argparse.Namespace, cases: list[Any], shown: _Shown, single: bool) -> list[Any]:
    """Print the predictions; returns the maps that were asked for."""
    from ..predict import rows, sweep
    from ..report import predicted

    maps = sweep.maps(cases, sweep.MAPS[arguments.map]) if arguments.map else []
    source, comment = rows.source(shown.machine, shown.card), "# " if shown.format == "csv" else ""
    if maps:
        print(
            "\n".join(f"{comment}{line}" for line in (source, predicted.ratio_of(cases[0].algorithms[:1]))), end="\n\n"
        )
        print("\n\n".join(predicted.map_table(one, shown.format) for one in maps))
    else:
        print(predicted.table(cases, shown.machine, shown.format, shown.card))
    if single and not maps and shown.format != "csv":
        print(f"\ncritical path of {cases[0].runs[0].algorithm}: {cases[0].runs[0].words}")
        print(f"critical path of the best BP: {cases[0].best.words}")
    if "bp" in arguments.algorithms and shown.format != "csv":
        for case in cases:
            print(f"\nevery BP, {case.name}, {case.workers} workers\n\n{predicted.ladder(case, shown.format)}")
    if arguments.sensitivity:
        _show_sensitivity(arguments, cases[0], shown)
    return maps


def _show_sensitivity(arguments: argparse.Namespace, case: Any, shown: _Shown) -> None:
    from ..predict.rivals import sensitivity
    from ..tables import layout, short

    found = sensitivity(case.net, shown.machine, case.workers, ranks=arguments.ranks)
    body = [[name, short(change), f"{change - 1:+.1%}"] for name, change in found]
    print("\nwhat the ratio depends on: each figure doubled, the others as they are\n")
    print(layout(["figure", "ratio ×", "change"], body, shown.format))


def _write_files(arguments: argparse.Namespace, cases: list[Any], maps: list[Any], shown: _Shown, how: Any) -> None:
    from ..figures import predicted, schedules, style
    from ..predict import rows, sweep
    from ..results.files import Writer

    said, look, source = [], look_of(arguments), rows.source(shown.machine, shown.card)
    if arguments.out:  # before anything is drawn
        workers = [case.workers for case in cases]
        context = rows.context(shown.machine, shown.card, ["pcsim", *sys.argv[1:]], workers)
        with Writer(arguments.out, context) as writer:
            for row in rows.rows(cases):
                writer.write(row)
    if arguments.figure:
        if maps:
            figure = predicted.map_figure(maps, source, arguments.title, look)
        else:
            figure = predicted.curves_figure(cases, source, predicted.longest(cases), arguments.title, look)
        style.save(figure, arguments.figure)
        said.append(f"figure: {target(arguments.figure)}")
    if arguments.gantt or arguments.trace:
        timeline, title = sweep.timeline_of(cases[0], shown.machine, arguments.algorithms == ["bp"], how)
        if arguments.trace:
            write(json.dumps(sweep.trace(timeline, title, source)), arguments.trace)
            said.append(f"trace: {target(arguments.trace)}")
        if arguments.gantt:
            above = title if arguments.title is None else arguments.title
            style.save(schedules.gantt(timeline.events, above, look=look, caption=source), arguments.gantt)
            said.append(f"Gantt chart: {target(arguments.gantt)}")
    if arguments.out:
        said.append(f"results file: {target(arguments.out)}")
    comment = "# " if shown.format == "csv" else ""
    if said:
        with beside(arguments.trace, arguments.gantt, arguments.figure, arguments.out):
            print("\n" + "\n".join(comment + line for line in said))
