"""The verbs that show what is known without measuring again: ``report``, ``plot``, ``doctor``."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..host import mpi
from ..streams import check_place, check_streams, target
from .look import look_of
from .words import CHECK_FAILED, INTERRUPTED, beside, say, speaks, write


def run_report(arguments: argparse.Namespace) -> int:
    from ..report import promises, ranks, ratios
    from ..results.fields import RACE, SCHEMA
    from ..results.files import latest, read
    from ..results.ledger import ledger
    from ..results.verdicts import DIFFERENCE

    whole = "--html" if arguments.html else "--json" if arguments.json else None
    if whole and (arguments.show, arguments.format) != ("table", "text"):
        raise InputError(f"{whole} shows everything in its own format: leave out --show and --format")
    if arguments.difference != DIFFERENCE and arguments.show not in ("table", "verdicts"):
        raise InputError(f"--difference is for verdicts, of which --show {arguments.show} has none")
    check_streams([*arguments.results, *arguments.ledger])
    if arguments.html:
        check_place(arguments.html)
    results, *others = [read(name, SCHEMA, RACE) for name in arguments.results]
    for warning in [warning for each in (results, *others) for warning in each.warnings]:
        say(f"pcsim report: {warning}")
    _check_alike([results, *others])
    if results.schema == RACE:
        return _report_races(arguments, [results, *others])
    results.rows[:] = latest(results.rows)
    files, denominator = [read(name) for name in arguments.ledger], arguments.denominator
    hours = ledger(files, results, denominator) if files else None
    if arguments.html:
        from ..report.html import page
        from ..streams import write_whole

        write_whole(page(results, denominator, arguments.difference, hours), arguments.html)
        with beside(arguments.html):
            print(f"page: {target(arguments.html)}")
        return 0
    if arguments.json:
        from ..report.as_json import document

        print(document(results, denominator, arguments.difference, hours))
        return 0
    if arguments.show in ("table", "verdicts"):
        show = {"table": ratios.table, "verdicts": ratios.verdicts}[arguments.show]
        print(show(results, denominator, arguments.format, arguments.difference, hours))
    else:
        shows = {"ladder": ratios.ladder_table, "gains": ratios.gains_table, "speedups": ratios.speedups}
        shows |= {"steps": ratios.step_costs, "ranks": ranks.ranks, "details": ratios.details}
        print(shows[arguments.show](results, arguments.format))
    if arguments.format != "csv":
        if arguments.show == "table":
            last = ratios.summary(results, denominator, arguments.difference, hours)[1:]
        else:
            last = promises.last_line(results, denominator, hours)
        print("\n".join(["", *last]) if last else "", end="\n" if last else "")
    return 0


def _check_alike(files: Sequence[Any]) -> None:
    """InputError for several files that are not all races."""
    from ..results.fields import RACE

    if len(files) > 1:
        for one in files:
            if one.schema != RACE:
                raise InputError(f"{one.path} holds no race, and only races are put together: give one file")


def _report_races(arguments: argparse.Namespace, files: Sequence[Any]) -> int:
    from ..report import profiles, races
    from ..results.races import Race

    if arguments.html or arguments.json or arguments.show != "table" or arguments.ledger:
        raise InputError(
            f"{arguments.results[0]} holds a race, of which there are tables alone: give --format, if anything"
        )
    found = [Race.of(one.rows, str(one.path)) for one in files]
    several = len(found) > 1
    print(profiles.table(found, arguments.format) if several else races.table(found[0], arguments.format))
    return 0


def run_plot(arguments: argparse.Namespace) -> int:
    from ..figures import learning, predicted, ranks, ratios, style
    from ..results import origin, pairs, workers
    from ..results.fields import CURVES, RACE, SCHEMA
    from ..results.files import latest, read
    from ..results.ledger import ledger
    from ..training import curves

    style.check_suffix(arguments.out)
    look, title = look_of(arguments), arguments.title
    check_streams([*arguments.results, *arguments.ledger])
    results, *others = [read(name, SCHEMA, CURVES, RACE) for name in arguments.results]
    _check_alike([results, *others])
    of_bench, of_races = ("times", "gains", "ranks", "denominator", "ledger"), ("profile", "sensitivity")
    holds = {CURVES: "learning curves", RACE: "a race", SCHEMA: "measurements"}[results.schema]
    for flag in of_bench if results.schema != SCHEMA else ():
        if getattr(arguments, flag):
            raise InputError(f"{results.path} holds {holds}, and --{flag} is for what bench wrote")
    for flag in of_races if results.schema != RACE else ():
        if getattr(arguments, flag):
            raise InputError(f"{results.path} holds {holds}, and --{flag} is for what race wrote")
    if results.schema == RACE:
        figure = _figure_of_races(arguments, [results, *others], look)
    elif results.schema == CURVES:
        rows = curves.latest(results.rows)
        if not rows:
            raise InputError(f"{results.path}: holds no curves; train something first")
        caption = f"{curves.conditions(rows)}; {origin.machine(results.context)}"
        figure = learning.learning_figure(curves.for_figure(rows), title, caption, look)
    else:
        if arguments.ledger and (arguments.times or arguments.gains or arguments.ranks):
            raise InputError("--ledger is for the figure of ratios")
        results.rows[:] = latest(results.rows)
        for warning in results.warnings:
            say(f"pcsim plot: {warning}")
        if arguments.times:
            figure = ratios.times_figure(results, title=title, look=look)
        elif arguments.gains:
            figure = ratios.gains_figure(results, title=title, look=look)
        elif arguments.ranks:
            figure = ranks.ranks_figure(results, title, look)
        elif not arguments.denominator and workers.predicted_over_workers(results):
            points = workers.over_workers(results)
            figure = predicted.curves_figure(points, origin.machine(results.context), title=title, look=look)
        else:
            denominator = arguments.denominator or pairs.HEADLINE
            files = [read(name) for name in arguments.ledger]
            spread = ledger(files, results, denominator).ratios if files else None
            found = pairs.pairs(results, denominator, spread=spread)
            figure = ratios.ratio_figure(found, title, origin.machine(results.context), look)
    style.save(figure, arguments.out)
    with beside(arguments.out):
        print(f"figure: {target(arguments.out)}")
    return 0


def _figure_of_races(arguments: argparse.Namespace, files: Sequence[Any], look: Any) -> Any:
    """One race as ``race --figure`` draws it, several as a profile, unless told otherwise."""
    from ..figures import profiles, races
    from ..report.races import conditions
    from ..results.races import Race

    for one in files:
        for warning in one.warnings:
            say(f"pcsim plot: {warning}")
    found = [Race.of(one.rows, str(one.path)) for one in files]
    caption = conditions(found[0]) if len(found) == 1 else ""
    if arguments.sensitivity:
        return profiles.sensitivity_figure(found, arguments.title, caption, look)
    if arguments.profile or len(found) > 1:
        return profiles.profile_figure(found, arguments.title, caption, look)
    return races.race_figure(found[0], arguments.title, caption, look)


def _against_itself(arguments: argparse.Namespace) -> int:
    from ..doctor.against_itself import against_itself
    from .display import Display

    if arguments.fix:
        raise InputError("--aa measures and --fix prints commands: give one of them")
    if not mpi.alone():
        raise InputError("--aa measures on threads: start it without an MPI launcher")
    if arguments.json:
        check_place(arguments.json)
    try:
        with Display("doctor") as display:
            found = against_itself(arguments.aa, display.share)
    except KeyboardInterrupt:
        say("pcsim doctor: interrupted")
        return INTERRUPTED
    if arguments.json:
        write(json.dumps(found.to_json(), indent=2), arguments.json)
    else:
        print(found.words())
    return 0


def run_doctor(arguments: argparse.Namespace) -> int:
    if arguments.aa:
        return _against_itself(arguments)
    from ..doctor.checks import report, to_json
    from ..doctor.fixes import fixes, script, settings
    from ..doctor.here import examine
    from ..host.context import capture

    if arguments.json and mpi.alone():
        check_place(arguments.json)
    checks = examine()
    if not speaks():
        return 0
    facts = {**capture(), **settings()}
    commands = fixes(checks, facts)
    if arguments.json:
        write(to_json(checks, commands), arguments.json)
    elif arguments.fix:
        print(script(commands, facts))
    else:
        print(report(checks))
        if commands:
            print("\nCommands that would steady this machine: pcsim doctor --fix (prints them, runs none)")
    return CHECK_FAILED if any(check.status == "fail" for check in checks) else 0
