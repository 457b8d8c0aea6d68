"""The verbs ``calibrate`` and ``validate``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..algorithms import Algorithm, PredictiveCoding
from ..errors import InputError
from ..host import mpi
from ..streams import check_streams, is_stream, read_text, target
from .algorithms import algorithms_of
from .cells import cells_of
from .ranks import with_crew
from .words import CHECK_FAILED, INTERRUPTED, beside, check_new, say

# calibrate


def run_calibrate(arguments: argparse.Namespace) -> int:
    from ..calibration import calibrate

    options = {
        "widths": arguments.widths or calibrate.WIDTHS,
        "batches": arguments.batches or calibrate.BATCHES,
        "workers": arguments.workers,
        "dtype": arguments.dtype,
        "pin": not arguments.no_pin,
        "name": arguments.name,
    }
    place = mpi.launched() and not mpi.alone()
    if arguments.add_to:
        return _add_convolutions(arguments, bool(place))
    comm = mpi.world().COMM_WORLD.Dup() if place else None
    try:
        if comm:
            content = _calibrate_on_ranks(arguments.out, options, comm)
            if comm.rank > 0:
                return 0
        else:
            check_new(arguments.out)
            content = _measure_machine("calibrate", options)
        calibrate.write(content, arguments.out)
    except KeyboardInterrupt:
        if comm and comm.rank > 0:
            raise
        say("pcsim calibrate: interrupted; nothing was written")
        if comm:  # the other ranks may be in the middle of a message
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    machine = calibrate.machine_of(content)
    points = len(content["products"]["points"])
    with beside(arguments.out):
        print(f"machine {machine.name}: {points} points, {content['calibrated']['seconds']:g} s")
        print(f"machine file: {target(arguments.out)}")
    return 0


def _add_convolutions(arguments: argparse.Namespace, on_ranks: bool) -> int:
    """A machine file of this host with what it lacks: half a minute in place of ten."""
    from ..calibration import calibrate
    from ..predict import machine_files
    from .display import Display

    if on_ranks or arguments.widths or arguments.batches or arguments.workers or arguments.name:
        raise InputError("--add-to keeps all that the file has, and runs in one process: leave the rest out")
    check_new(arguments.out)
    content = dict(machine_files.load(arguments.add_to).source)
    try:
        with Display("calibrate") as display:
            content = calibrate.with_convolutions(
                content, not arguments.no_pin, lambda done, total: display.share("calibrating", done, total)
            )
    except KeyboardInterrupt:
        say("pcsim calibrate: interrupted; nothing was written")
        return INTERRUPTED
    machine = calibrate.machine_of(content)
    calibrate.write(content, arguments.out)
    with beside(arguments.out):
        print(f"machine {machine.name}: {len(machine.images)} points of convolutions added")
        print(f"machine file: {target(arguments.out)}")
    return 0


def _measure_machine(verb: str, options: dict[str, Any]) -> dict[str, Any]:
    from ..calibration import calibrate
    from .display import Display

    with Display(verb) as display:

        def show(done: int, total: int) -> None:
            if not done:
                display.note("measuring kernels: about ten minutes")
            display.share("calibrating", done, total)

        return calibrate.calibrate(**options, on_progress=show)


def _calibrate_on_ranks(out: str, options: dict[str, Any], comm: Any) -> dict[str, Any]:
    """Called on every rank: rank 0 calibrates while the others sleep, then all of them measure messages."""
    from ..calibration import calibrate
    from ..host import mpi
    from ..version import __version__

    mpi.agree(comm, {"version": __version__, "MPI library": mpi.vendor(), "arguments": sys.argv[1:]})
    mpi.on_root(comm, lambda: check_new(out))
    content: dict[str, Any] = {}
    refused = None
    if comm.rank == 0:
        try:
            content = _measure_machine("calibrate", options)
        except InputError as error:
            refused = str(error)
    mpi.asleep(comm)
    if refused := mpi.from_root(comm, refused):
        raise InputError(refused)
    where = mpi.hosts(comm)
    if comm.rank == 0:
        say(f"pcsim calibrate: measuring messages between rank 0 and rank {comm.size - 1}")
    calibrate.add_messages(content, comm, across=where[0] != where[-1])
    return content


# validate


def run_validate(arguments: argparse.Namespace) -> int:
    if arguments.backend == "threads":
        return _check(arguments, None)
    return with_crew("validate", lambda crew: _check(arguments, crew))


def _machine_to_check(arguments: argparse.Namespace) -> Any:
    from ..calibration import calibrate
    from ..predict import machine_files

    if not arguments.calibrate:
        if not arguments.machine:
            raise InputError("give a machine file of this host, or add --calibrate")
        found = machine_files.load(arguments.machine)
        if not found.calibrated:
            raise InputError(
                f"machine {found.name} was not calibrated, so no measurement of this host can validate it: "
                "make a machine file with pcsim calibrate"
            )
        return found
    if arguments.resume:
        raise InputError("--resume continues a card of the same machine: give its file in place of --calibrate")
    check_new(arguments.machine)
    options = {"pin": not arguments.no_pin}
    content = _measure_machine("validate", options)
    if arguments.machine:
        calibrate.write(content, arguments.machine)
    else:
        say("pcsim validate: the machine file is not kept: no name was given")
    return calibrate.machine_of(content)


def _rivals(arguments: argparse.Namespace) -> list[Algorithm]:
    """What is checked beside iPC and BP."""
    arguments.steps = [1]
    rivals = [one for one in algorithms_of(arguments) if one.layered and not isinstance(one, PredictiveCoding)]
    if others := {*arguments.algorithms} - {"ipc", *(one.name for one in rivals)}:
        raise InputError(f"--algorithms {' '.join(sorted(others))}: beside iPC and BP local, dfa and dual are checked")
    return rivals


def _check(arguments: argparse.Namespace, crew: Any) -> int:
    from ..calibration import validate
    from ..host.context import usable_cores
    from .display import Display

    rivals = _rivals(arguments)
    if arguments.calibrate:
        check_streams([arguments.machine, arguments.out])
    if arguments.resume and is_stream(arguments.out):
        raise InputError("--resume cannot continue standard output: name the card to continue")
    here = crew.size if crew else len(usable_cores())
    counts = sorted(set(arguments.workers or [1, here]))
    if counts[-1] > here:
        raise InputError(
            f"--workers: {counts[-1]} are more than the {here} {'ranks that were started' if crew else 'usable cores'}"
        )
    if crew and max(case.depth for case in cells_of(arguments, "float32")) < counts[0]:
        raise InputError(f"no cell has as many layers as the {counts[0]} ranks: give greater --depths")
    if not arguments.resume:
        check_new(arguments.out)
    try:
        machine = _machine_to_check(arguments)
    except KeyboardInterrupt:
        say("pcsim validate: interrupted; nothing was written")
        if crew:
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    rows = _known_rows(arguments.out, machine) if arguments.resume and Path(arguments.out).exists() else []
    dtype = str((machine.calibrated or {}).get("dtype", "float32"))
    cases = cells_of(arguments, dtype)
    failed: list[str] = []

    def failure(text: str) -> None:
        failed.append(text)
        say(f"pcsim validate: failed: {text}")

    try:
        with Display("validate") as display:

            def show(number: int, total: int, case: Any, skipped: bool) -> None:
                display.cell(argparse.Namespace(number=number, total=total, name=case.name, skipped=skipped))

            for found in validate.check_cells(
                machine,
                cases,
                counts,
                on_ranks=bool(crew),
                optimizer=arguments.optimizer,
                rivals=rivals,
                budget=arguments.seconds,
                pin=not arguments.no_pin,
                done=tuple(rows),
                on_progress=show,
                on_error=failure,
            ):
                rows += found
                if rows and not is_stream(arguments.out):
                    validate.write(rows, machine, arguments.out)
    except KeyboardInterrupt:
        kept = (
            f"what was checked is kept in {arguments.out}; continue with --resume"
            if rows and not is_stream(arguments.out)
            else "nothing is kept"
            if rows
            else "nothing was checked yet"
        )
        say(f"pcsim validate: interrupted; {kept}")
        if crew:
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    if not rows:
        raise InputError("nothing was checked: every measurement failed, or no cell has as many layers as workers")
    card = validate.card(rows)
    with beside(arguments.out, arguments.machine if arguments.calibrate else None):
        print(f"machine {machine.name}\n" if arguments.format != "csv" else f"# machine {machine.name}")
        print(validate.table(card, arguments.format))
        if arguments.format != "csv":
            print(f"\n{validate.summary(card)}\nreport card: {target(arguments.out)}")
    if is_stream(arguments.out):
        validate.write(rows, machine, arguments.out)
    return CHECK_FAILED if failed else 0


def _known_rows(path: str, machine: Any) -> list[Any]:
    """Rows of a card of this very calibration: all calibrations of a host share its name."""
    from ..calibration import validate

    rows = validate.read(path, machine)
    theirs = (json.loads(read_text(path, "validate")).get("calibrated") or {}).get("time")
    mine = (machine.calibrated or {}).get("time")
    if theirs != mine:
        raise InputError(f"{path}: belongs to the calibration of {theirs}, not to that of {mine}: give another --out")
    return rows
