"""The verbs of machine files: ``calibrate`` measures one, ``simulate`` predicts on it, ``validate`` says how well.

Arguments and what is shown; no logic. Everything slow is imported by the verb that needs it.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import mpi
from .algorithms import ALGORITHMS, IPC, PC, ZIL, Algorithm
from .cli_words import CHECK_FAILED, INTERRUPTED, _count, _positive, _say, _with_crew, _write
from .errors import InputError

FACTORS = (0.1, 1.0, 10.0, 100.0, 1000.0)  # of latency, in a map over it


def add_verbs(verbs: Any) -> None:
    """Put the three into the command line."""
    calibrate = verbs.add_parser("calibrate", help="measure this machine into a machine file (about three minutes)")
    calibrate.add_argument("--out", required=True, metavar="FILE.json", help="machine file, which must not exist yet")
    calibrate.add_argument(
        "--widths", type=_count, nargs="+", metavar="N", help="of layers (default: 16 from 16 to 2048)"
    )
    calibrate.add_argument("--batches", type=_count, nargs="+", metavar="B", help="default 1 8 32 64")
    calibrate.add_argument("--workers", type=_count, nargs="+", metavar="P", help="default 1, 2, 4 … and all cores")
    calibrate.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default float32")
    calibrate.add_argument("--no-pin", action="store_true", help="do not bind workers to cores")
    calibrate.add_argument("--name", help="of the machine (default: its CPU model and cores)")
    calibrate.set_defaults(run=_calibrate)

    simulate = verbs.add_parser("simulate", help="predict a sweep, or one case with its timeline, on a machine")
    simulate.add_argument("machine", metavar="MACHINE", help="a machine file, or a preset such as server-64")
    _sizes(simulate, "2 4 8 16 32", "64 256 1024", "1")
    simulate.add_argument("--workers", type=_count, nargs="+", metavar="P", help="default: all cores, at most 64")
    simulate.add_argument("--ranks", type=_count, metavar="N", help="processes that the workers are spread over")
    simulate.add_argument(
        "--algorithms",
        choices=list(ALGORITHMS),
        nargs="+",
        default=["ipc"],
        help="what is held against BP (default ipc); bp lists every BP of each case",
    )
    simulate.add_argument("--steps", type=_count, nargs="+", default=[8], metavar="T", help="of PC (default 8)")
    simulate.add_argument(
        "--executions", nargs="+", metavar="NAME", help="of BP: serial intra-layer pipeline data-parallel (default all)"
    )
    simulate.add_argument("--micro-batches", type=_count, metavar="M", help="of a pipeline (default: the best number)")
    simulate.add_argument("--order", choices=["split", "gpipe", "1f1b"], default="split", help="of a pipeline")
    simulate.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default float32")
    simulate.add_argument("--cores", type=_count, metavar="N", help="the same machine with so many cores to a socket")
    simulate.add_argument(
        "--bandwidth",
        choices=["scaled", "fixed"],
        default="fixed",
        help="with --cores: whether what all cores share grows with them (default fixed)",
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
        type=_positive,
        nargs="+",
        metavar="X",
        help="predict with all latencies times each of these",
    )
    simulate.add_argument(
        "--bandwidth-factors", type=_positive, nargs="+", metavar="X", help="the same of the bandwidth of memory"
    )
    simulate.add_argument(
        "--map", choices=["depth-width", "workers-latency"], help="crossover map in place of a line for each case"
    )
    simulate.add_argument("--sensitivity", action="store_true", help="which figures the ratio depends on (of one case)")
    simulate.add_argument("--trace", metavar="FILE.json", help="Chrome trace of one case's first updates")
    simulate.add_argument("--gantt", metavar="FILE.png", help="the same as a picture")
    simulate.add_argument("--figure", metavar="FILE.png", help="curves over workers (or depth), or the map")
    simulate.add_argument("--out", metavar="FILE.jsonl", help="results file of rows of kind predicted")
    simulate.add_argument("--validation", metavar="CARD.json", help="report card of this machine, to stand beside")
    simulate.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    simulate.set_defaults(run=_simulate)

    validate = verbs.add_parser("validate", help="predictions against measurements, cell by cell, with the error")
    validate.add_argument("machine", nargs="?", metavar="MACHINE", help="a machine file of this host")
    validate.add_argument(
        "--calibrate", action="store_true", help="measure the machine first, into MACHINE if that is named"
    )
    validate.add_argument("--out", required=True, metavar="CARD.json", help="report card, written cell by cell")
    _sizes(validate, "3 6 12 24", "96 192 384 768 1536", "1 64")
    validate.add_argument("--workers", type=_count, nargs="+", metavar="P", help="default 1 and all cores (or ranks)")
    validate.add_argument(
        "--backend", choices=["threads", "mpi"], default="threads", help="who runs the layers (default threads)"
    )
    validate.add_argument("--seconds", type=_positive, default=1.0, help="timing per cell (default 1)")
    validate.add_argument("--no-pin", action="store_true", help="do not bind workers to cores")
    validate.add_argument("--resume", action="store_true", help="go on with the card, skipping finished cells")
    validate.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    validate.set_defaults(run=_validate)


def _sizes(parser: argparse.ArgumentParser, depths: str, widths: str, batches: str) -> None:
    told = (("depths", "L", depths), ("widths", "N", widths), ("batches", "B", batches))
    for name, letter, default in told:
        numbers = [int(word) for word in default.split()]
        parser.add_argument(
            f"--{name}", type=_count, nargs="+", metavar=letter, default=numbers, help=f"default {default}"
        )


def _check_new(path: str | None, suffixes: tuple[str, ...] = ()) -> None:
    """InputError at once where a file could not be made later."""
    if path is None:
        return
    target = Path(path)
    if target.exists():
        raise InputError(f"{path}: exists already; give another name")
    if suffixes and target.suffix.lower() not in suffixes:
        raise InputError(f"{path}: end the name in {' or '.join(suffixes)}")
    if not os.access(target.parent, os.W_OK):
        why = "no permission" if target.parent.is_dir() else "no such folder"
        raise InputError(f"{path}: cannot be written ({why}); give another place")


# calibrate


def _calibrate(arguments: argparse.Namespace) -> int:
    from . import calibrate

    options = {
        "widths": arguments.widths or calibrate.WIDTHS,
        "batches": arguments.batches or calibrate.BATCHES,
        "workers": arguments.workers,
        "dtype": arguments.dtype,
        "pin": not arguments.no_pin,
        "name": arguments.name,
    }
    place = mpi.launched()
    comm = mpi.world().COMM_WORLD.Dup() if place else None
    try:
        if comm:
            content = _calibrate_on_ranks(arguments.out, options, comm)
            if comm.rank > 0:
                return 0
        else:
            _check_new(arguments.out)
            content = _measure_machine("calibrate", options)
        calibrate.write(content, arguments.out)
    except KeyboardInterrupt:
        if comm and comm.rank > 0:
            raise
        _say("pcsim calibrate: interrupted; nothing was written")
        if comm:  # the other ranks may be in the middle of a message
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    machine = calibrate.machine_of(content)
    points = len(content["products"]["points"])
    print(f"machine {machine.name}: {points} points, {content['calibrated']['seconds']:g} s")
    print(f"machine file: {arguments.out}")
    return 0


def _measure_machine(verb: str, options: dict[str, Any]) -> dict[str, Any]:
    from . import calibrate
    from .display import Display

    with Display(verb) as display:
        display.note("compiling what is not in the cache yet, then measuring kernels: about three minutes")
        return calibrate.calibrate(**options, on_progress=lambda done, total: display.share("calibrating", done, total))


def _calibrate_on_ranks(out: str, options: dict[str, Any], comm: Any) -> dict[str, Any]:
    """Every rank makes this call: rank 0 calibrates while the others sleep, then all of them measure messages."""
    from . import __version__, calibrate, doctor

    mpi.agree(comm, {"version": __version__, "MPI library": mpi.vendor(), "arguments": sys.argv[1:]})
    mpi.on_root(comm, lambda: _check_new(out))
    content: dict[str, Any] = {}
    told = None
    if comm.rank == 0:
        try:
            content = _measure_machine("calibrate", options)
        except InputError as error:
            told = str(error)
    doctor.asleep(comm)
    if told := mpi.from_root(comm, told):
        raise InputError(told)
    where = mpi.hosts(comm)
    if comm.rank == 0:
        _say(f"pcsim calibrate: measuring messages between rank 0 and rank {comm.size - 1}")
    calibrate.add_messages(content, comm, across=where[0] != where[-1])
    return content


# simulate


@dataclass(frozen=True)
class _Shown:
    """What must stand beside everything that is shown."""

    machine: Any
    card: str
    format: str


def _simulate(arguments: argparse.Namespace) -> int:
    from . import machine as machines
    from . import plot, projection, results, validate
    from .display import Display

    one = machines.load(arguments.machine)
    card = ""
    if arguments.validation:
        card = f"report card: {validate.summary(validate.card(validate.read(arguments.validation, one)))}"
    if arguments.cores:
        one = one.scaled(arguments.cores, arguments.bandwidth == "scaled")
    elif arguments.bandwidth == "scaled":
        raise InputError("--bandwidth scaled is for --cores")
    one = projection.changed(one, arguments.set)
    latencies = arguments.latency_factors or (FACTORS if arguments.map == "workers-latency" else (1.0,))
    bandwidths = arguments.bandwidth_factors or (1.0,)
    workers = arguments.workers or projection.default_workers(one)
    projection.check_workers(one, workers, arguments.ranks)
    how = projection.How(
        tuple(_against(arguments)),
        tuple(arguments.executions or projection.EXECUTIONS),
        arguments.ranks,
        arguments.micro_batches,
        arguments.order,
    )
    sizes = [sorted(set(n)) for n in (arguments.depths, arguments.widths, arguments.batches, workers)]
    factors = [sorted(set(n)) for n in (latencies, bandwidths)]
    single = all(len(n) == 1 for n in sizes + factors)
    for flag in ("sensitivity", "trace", "gantt"):
        if getattr(arguments, flag) and not single:
            raise InputError(f"--{flag} is of one case: give one depth, width, batch and number of workers")
        if getattr(arguments, flag) and factors != [[1.0], [1.0]]:
            raise InputError(f"--{flag} is of one machine: change its figures with --set")
    for path in (arguments.gantt, arguments.figure):
        if path:
            plot.check_suffix(path)
    if arguments.out:
        results.check_target(arguments.out)
        if factors != [[1.0], [1.0]]:
            raise InputError("--out is of one machine: change its figures with --set, a file for each")
    cases = []
    with Display("simulate") as display:
        for case in projection.sweep(
            one,
            *sizes,
            how=how,
            latencies=factors[0],
            bandwidths=factors[1],
            item=4 if arguments.dtype == "float32" else 8,
            on_progress=lambda name, done, total: display.share("predicting", done, total) if total > 1 else None,
        ):
            cases.append(case)
    shown = _Shown(one, card, arguments.format)
    _show_cases(arguments, cases, shown, how, single)
    return 0


def _against(arguments: argparse.Namespace) -> list[Algorithm]:
    """Who is held against BP, iPC first where it is among them."""
    made: dict[str, list[Algorithm]] = {"ipc": [IPC()], "pc": [PC(T=T) for T in arguments.steps], "zil": [ZIL()]}
    wanted = [name for name in made if name in arguments.algorithms] or ["ipc"]
    return [algorithm for name in wanted for algorithm in made[name]]


def _show_cases(arguments: argparse.Namespace, cases: list[Any], shown: _Shown, how: Any, single: bool) -> None:
    from . import projection

    maps = projection.maps(cases, projection.MAPS[arguments.map]) if arguments.map else []
    source, comment = projection.source(shown.machine, shown.card), "# " if shown.format == "csv" else ""
    if maps:
        print("\n".join(f"{comment}{line}" for line in (source, projection.RATIO)), end="\n\n")
        print("\n\n".join(projection.map_table(one, shown.format) for one in maps))
    else:
        print(projection.table(cases, shown.machine, shown.format, shown.card))
    if single and not maps and shown.format != "csv":
        print(f"\ncritical path of {cases[0].runs[0].algorithm}: {cases[0].runs[0].words}")
        print(f"critical path of the best BP: {cases[0].best.words}")
    if "bp" in arguments.algorithms and shown.format != "csv":
        for case in cases:
            print(f"\nevery BP, {case.name}, {case.workers} workers\n\n{projection.ladder(case, shown.format)}")
    if arguments.sensitivity:
        _show_sensitivity(arguments, cases[0], shown)
    _write_files(arguments, cases, maps, shown, how, source)


def _show_sensitivity(arguments: argparse.Namespace, case: Any, shown: _Shown) -> None:
    from .simulate import sensitivity
    from .tables import layout, short

    found = sensitivity(case.net, shown.machine, case.workers, ranks=arguments.ranks)
    body = [[name, short(change), f"{change - 1:+.1%}"] for name, change in found]
    print("\nwhat the ratio depends on: each figure doubled, the others as they are\n")
    print(layout(["figure", "ratio ×", "change"], body, shown.format))


def _write_files(
    arguments: argparse.Namespace, cases: list[Any], maps: list[Any], shown: _Shown, how: Any, source: str
) -> None:
    from . import map_plot, plot, projection
    from .results import Writer

    said = []
    if arguments.figure:
        if maps:
            figure = map_plot.map_figure(maps, source)
        else:
            figure = map_plot.curves_figure(cases, source, map_plot.longest(cases))
        plot.save(figure, arguments.figure)
        said.append(f"figure: {arguments.figure}")
    if arguments.gantt or arguments.trace:
        timeline, title = projection.timeline_of(cases[0], shown.machine, arguments.algorithms == ["bp"], how)
        if arguments.gantt:
            plot.save(plot.gantt(timeline.events, title), arguments.gantt)
            said.append(f"Gantt picture: {arguments.gantt}")
        if arguments.trace:
            _write(json.dumps(projection.trace(timeline, title, source)), arguments.trace)
            said.append(f"trace: {arguments.trace}")
    if arguments.out:
        with Writer(arguments.out, projection.context(shown.machine, shown.card, ["pcsim", *sys.argv[1:]])) as writer:
            for row in projection.rows(cases):
                writer.write(row)
        said.append(f"results file: {arguments.out}")
    comment = "# " if shown.format == "csv" else ""
    if said:
        print("\n" + "\n".join(comment + line for line in said))


# validate


def _validate(arguments: argparse.Namespace) -> int:
    if arguments.backend == "threads":
        return _check(arguments, None)
    return _with_crew("validate", lambda crew: _check(arguments, crew))


def _machine_to_check(arguments: argparse.Namespace) -> Any:
    from . import calibrate, machine

    if not arguments.calibrate:
        if not arguments.machine:
            raise InputError("name a machine file of this host, or add --calibrate")
        found = machine.load(arguments.machine)
        if not found.calibrated:
            raise InputError(
                f"machine {found.name} was not calibrated, so no measurement of this host can validate it: "
                "make a machine file with pcsim calibrate"
            )
        return found
    if arguments.resume:
        raise InputError("--resume goes on with a card of the same machine: name its file in place of --calibrate")
    _check_new(arguments.machine)
    options = {"pin": not arguments.no_pin}
    content = _measure_machine("validate", options)
    if arguments.machine:
        calibrate.write(content, arguments.machine)
    else:
        _say("pcsim validate: the machine is not kept: no file was named")
    return calibrate.machine_of(content)


def _check(arguments: argparse.Namespace, crew: Any) -> int:
    from . import validate
    from .case import Case
    from .context import usable_cores
    from .display import Display

    here = crew.size if crew else len(usable_cores())
    counts = sorted(set(arguments.workers or [1, here]))
    if counts[-1] > here:
        raise InputError(
            f"--workers: {counts[-1]} are more than the {here} {'ranks' if crew else 'cores'} that are here"
        )
    if not arguments.resume:
        _check_new(arguments.out)
    try:
        machine = _machine_to_check(arguments)
    except KeyboardInterrupt:
        _say("pcsim validate: interrupted; nothing was written")
        if crew:
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    rows = _known_rows(arguments.out, machine) if arguments.resume and Path(arguments.out).exists() else []
    dtype = str((machine.calibrated or {}).get("dtype", "float32"))
    cases = [
        Case(depth, width, batch, dtype)
        for batch in sorted(set(arguments.batches))
        for depth in sorted(set(arguments.depths))
        for width in sorted(set(arguments.widths))
    ]
    failed: list[str] = []

    def failure(text: str) -> None:
        failed.append(text)
        _say(f"pcsim validate: failed: {text}")

    try:
        with Display("validate") as display:
            display.note("compiling what is not in the cache yet: up to two minutes, once")

            def show(number: int, total: int, case: Any, skipped: bool) -> None:
                name = f"depth {case.depth}, width {case.width}, batch {case.batch}"
                display.cell(argparse.Namespace(number=number, total=total, name=name, skipped=skipped))

            for found in validate.check_cells(
                machine,
                cases,
                counts,
                on_ranks=bool(crew),
                budget=arguments.seconds,
                pin=not arguments.no_pin,
                done=tuple(rows),
                on_progress=show,
                on_error=failure,
            ):
                rows += found
                if rows:
                    validate.write(rows, machine, arguments.out)
    except KeyboardInterrupt:
        kept = (
            f"what was checked is kept in {arguments.out}; go on with --resume" if rows else "nothing was checked yet"
        )
        _say(f"pcsim validate: interrupted; {kept}")
        if crew:
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    if not rows:
        raise InputError("nothing was checked: every measurement failed, or no cell has as many layers as workers")
    card = validate.card(rows)
    print(f"machine {machine.name}\n" if arguments.format != "csv" else f"# machine {machine.name}")
    print(validate.table(card, arguments.format))
    if arguments.format != "csv":
        print(f"\n{validate.summary(card)}\nreport card: {arguments.out}")
    return CHECK_FAILED if failed else 0


def _known_rows(path: str, machine: Any) -> list[Any]:
    """Rows of a card of this very calibration: the name alone is that of every calibration of a host."""
    from . import validate

    rows = validate.read(path, machine)
    told = (json.loads(Path(path).read_text(encoding="utf-8")).get("calibrated") or {}).get("time")
    mine = (machine.calibrated or {}).get("time")
    if told != mine:
        raise InputError(f"{path}: is of a calibration of {told}, not of {mine}: give another --out")
    return rows
