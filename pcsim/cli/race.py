"""The verb ``race``."""

import argparse
import sys
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..streams import check_place, check_streams, target
from .bench import kept
from .look import add_look, look_of
from .words import CHECK_FAILED, INTERRUPTED, beside, file_name, in_a_line, positive_number, say, whole_number

PROBLEMS = (
    "digits",
    "fashion-250",
    "fashion-mlp",
    "fashion-online",
    "deep-narrow",
    "deep-narrow-pretrained",
    "fashion-cnn",
    "residual",
    "generative-100",
)

QUICK = {"trials": 4, "seeds": 3, "confirm": 1}


def add_verb(verbs: Any) -> None:
    """Add it to the command line."""
    race = verbs.add_parser("race", help="who reaches a goal first, all tuned with the same effort")
    race.add_argument("problem", choices=PROBLEMS, help="data, net and goal")
    race.add_argument("--depth", type=whole_number, metavar="L", help="of the net (default: the problem's)")
    race.add_argument(
        "--hidden", type=whole_number, metavar="N", help="units of each hidden layer (default: the problem's)"
    )
    race.add_argument(
        "--contenders",
        nargs="+",
        metavar="NAME",
        help="bp, bp-dwelling (which repeats batches as iPC does), bp-fixed (settings of a publication), bp-lbfgs "
        "(SciPy's, on the full batch), ipc, pc, bp-async (and with the remedies -nesterov, -compensated, -delay-rates, "
        "-two-versions), local, dfa, dual (default bp, bp-dwelling or bp-lbfgs, ipc)",
    )
    race.add_argument(
        "--parameterisation",
        choices=["sp", "ntp", "mupc"],
        help="of the net (default: the problem's, which is sp of all but residual, and mupc there)",
    )
    race.add_argument("--trials", type=whole_number, metavar="N", help="settings that each may try (default 20)")
    race.add_argument(
        "--seeds", type=whole_number, metavar="N", help="seeds from which the winners run again (default 5)"
    )
    race.add_argument(
        "--confirm",
        type=whole_number,
        metavar="N",
        help="how many of the best trials run from two more seeds before one is chosen (default 3, with --quick 1: "
        "none does)",
    )
    race.add_argument(
        "--goals",
        type=positive_number,
        nargs="+",
        default=[],
        metavar="X",
        help="accuracies on rows held out, or losses for each row (default: the problem's)",
    )
    race.add_argument("--passes", type=positive_number, metavar="N", help="over the data, at most, for each trial")
    race.add_argument(
        "--quick", action="store_true", help=f"a first look: {QUICK['trials']} trials, {QUICK['seeds']} seeds"
    )
    race.add_argument(
        "--backend",
        choices=["threads", "numpy"],
        help="who trains (default threads, with --quick numpy, which compiles nothing); counts are the same",
    )
    race.add_argument(
        "--timed",
        action="store_true",
        help="time an update of the winners on this machine, alone, in every execution: leave it alone meanwhile",
    )
    race.add_argument(
        "--machines", nargs="+", default=[], metavar="MACHINE", help="predict seconds and joules of an update there"
    )
    race.add_argument("--out", type=file_name, metavar="FILE.jsonl", help="race file, written trial by trial")
    race.add_argument("--resume", action="store_true", help="continue the race in the file")
    race.add_argument("--figure", type=file_name, metavar="FILE.png", help="draw scores against what they cost")
    add_look(race)
    race.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    race.set_defaults(run=run_race)


def run_race(arguments: argparse.Namespace) -> int:
    from ..figures.style import check_suffix
    from ..host.context import capture
    from ..predict import machine_files
    from ..race import contenders, problems
    from ..race.prices import priced
    from ..race.race import Plan
    from ..results.fields import RACE
    from ..results.files import Writer
    from ..results.races import Race
    from .display import Display

    look = look_of(arguments, "figure")
    if arguments.resume and not arguments.out:
        raise InputError("--resume requires --out: the race file to continue")
    check_streams([arguments.out, arguments.figure])
    if arguments.figure:
        check_suffix(arguments.figure)
        check_place(arguments.figure)
    quick = QUICK if arguments.quick else {name: getattr(Plan, name) for name in QUICK}
    problem = problems.problem(arguments.problem, arguments.depth, arguments.goals, arguments.passes, arguments.hidden)
    if arguments.parameterisation:
        problem = replace(problem, parameterisation=arguments.parameterisation)
    plan = Plan(
        problem,
        contenders.chosen(problem, arguments.contenders),
        arguments.trials or quick["trials"],
        arguments.seeds or quick["seeds"],
        arguments.confirm or quick["confirm"],
        arguments.backend or ("numpy" if arguments.quick else "threads"),
    )
    machines = [machine_files.load(name) for name in arguments.machines]
    rows: list[dict[str, Any]] = []
    writer = None
    _ = plan.declared  # looks for the data before anything is written
    try:
        if arguments.out:
            writer = Writer(arguments.out, capture(["pcsim", *sys.argv[1:]]), arguments.resume, RACE)
            rows = list(writer.rows)
            for warning in (*writer.warnings, *filter(None, [writer.recovered])):
                say(f"pcsim race: {warning}")
        with Display("race") as display:
            for row in plan.run(list(rows), display.share):
                rows.append(writer.write(row) if writer else row)
            for row in priced(problem, plan.contenders, list(rows), machines, arguments.timed, display.share):
                rows.append(writer.write(row) if writer else row)
    except KeyboardInterrupt:
        say(f"pcsim race: interrupted; {kept(arguments.out, bool(rows))}")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        if not (writer.written if writer else rows):
            if writer:
                writer.undo()
            raise
        there = (
            kept(arguments.out, True) if isinstance(error, OSError) else f"what was tried is kept in {arguments.out}"
        )
        say(f"pcsim race: {in_a_line(error)}; {there}")
        return CHECK_FAILED
    finally:
        if writer:
            writer.close()
    from ..report import races as report

    race = Race.of(rows)
    with beside(arguments.out, arguments.figure):
        print(report.table(race, arguments.format))
        if arguments.out:
            print(f"\nrace file: {target(arguments.out)}")
    if arguments.figure:
        from ..figures.races import race_figure
        from ..figures.style import save

        try:
            save(race_figure(race, arguments.title, report.conditions(race), look), arguments.figure)
        except (InputError, OSError) as error:
            if not arguments.out or isinstance(error, BrokenPipeError):
                raise
            say(f"pcsim race: {in_a_line(error)}; {kept(arguments.out, True)}")
            return CHECK_FAILED
        with beside(arguments.out, arguments.figure):
            print(f"figure: {target(arguments.figure)}")
    return 0
