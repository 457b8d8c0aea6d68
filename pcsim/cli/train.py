"""The verb ``train``."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..algorithms.rates import SCHEDULES
from ..errors import InputError
from ..host import mpi
from ..net.augment import CHANGES
from ..net.drawing import PARAMETERISATIONS
from ..net.losses import LOSSES
from ..schedule.calendar import STARTS
from ..schedule.pipelines import ORDERS
from ..streams import check_place, check_streams, target
from .algorithms import algorithms_of, check_dwelling
from .bench import kept
from .look import look_of
from .ranks import on_all_ranks
from .words import (
    CHECK_FAILED,
    INTERRUPTED,
    NETS,
    add_nets,
    beside,
    file_name,
    in_a_line,
    positive_number,
    say,
    speaks,
    warn_of_time,
    whole_number,
)

USUAL_SAMPLES = 250  # where there are as many

SLOW = 2e10  # flop/s of one core on a batch: a guess, for a warning


def run_train(arguments: argparse.Namespace) -> int:
    if arguments.backend == "mpi":
        return on_all_ranks("train", lambda: _train(arguments))
    return _train(arguments)


def _train(arguments: argparse.Namespace) -> int:
    """On ranks all train, and the first alone reads and writes curves, shows progress, prints and draws."""
    from ..host.context import capture
    from ..net.named import outline
    from ..results.fields import CURVES
    from ..results.files import Writer
    from ..training import curves
    from ..training.curve_words import USUAL
    from ..training.data import Dataset, load
    from ..training.data_checks import given_augment
    from .display import Display

    on_ranks, first = arguments.backend == "mpi", speaks()
    updates = _checked(arguments)
    look = look_of(arguments, "figure", "accuracy")
    if arguments.sizes and arguments.depths:
        raise InputError("give either --sizes or --depths, not both")
    if arguments.nets and (arguments.sizes or arguments.depths):
        raise InputError("give either --nets or the sizes of layers, not both")

    def everywhere(work: Callable[[], Any]) -> Any:
        """What a host of the launch may lack, or a file that it has not."""
        return mpi.each(mpi.world().COMM_WORLD, work) if on_ranks else work()

    image: dict[str, Any] = (
        {"image": outline(arguments.nets[0]).image} if arguments.nets else {}
    )  # of what is made here

    def loaded(**how: Any) -> Dataset:
        return everywhere(lambda: load(arguments.data, **how, **image))

    data = loaded(samples=arguments.samples, at_most=USUAL_SAMPLES)
    inputs, outputs = data.x.shape[1], data.y.shape[1]
    algorithms = algorithms_of(arguments)
    check_dwelling(arguments, algorithms)
    hidden = [arguments.sizes] if arguments.sizes else [[arguments.hidden] * (L - 1) for L in arguments.depths or [3]]
    nets: list[tuple[str | None, tuple[int, ...]]] = [(name, outline(name).sizes) for name in arguments.nets]
    nets = nets or [(None, (inputs, *sizes, outputs)) for sizes in hidden]
    plans = [
        curves.as_run(
            curves.Study(
                algorithm, sizes, arguments.activation, seed, arguments.loss, name, arguments.parameterisation
            ),
            arguments.execution,
        )
        for name, sizes in nets
        for algorithm in algorithms
        for seed in arguments.seeds or [arguments.seed]
    ]
    test = loaded(split="test", classes=data.classes) if arguments.test else None
    drawn = [file for file in (arguments.figure, arguments.accuracy) if file]
    everywhere(lambda: _check_files(arguments, drawn, plans) if first else None)

    def checked() -> float:
        flop = curves.check_studies(plans, data, arguments.batch_size, arguments.steps_per_batch, arguments.start)
        rows = len(data.x) - round((arguments.validation or 0.0) * len(data.x))
        how = arguments.backend, arguments.execution, arguments.order, arguments.workers
        curves.check_executions(plans, arguments.batch_size or rows, *how)
        for plan in plans:
            forms, depth = plan.outline.forms if plan.outline else (), len(plan.sizes) - 1
            given_augment(arguments.augment, forms, plan.algorithm, depth, arguments.steps_per_batch, arguments.start)
        curves.check_workers(plans, arguments.backend, arguments.execution, arguments.workers)
        return flop

    flop = everywhere(checked)
    settings: dict[str, Any] = {
        "batch_size": arguments.batch_size, "steps_per_batch": arguments.steps_per_batch,
        "record_every": arguments.record_every, "backend": arguments.backend,
        "until_loss": arguments.until_loss and arguments.until_loss * len(data.x),
    }  # fmt: skip
    for name, usual in USUAL.items():  # what is as usual is not told, so that older curves are found again
        value = getattr(arguments, name)
        settings |= {} if value == usual else {name: value}
    settings |= {"resume": True} if arguments.resume and arguments.checkpoint else {}

    def total(plan: curves.Study) -> int:
        return updates or arguments.epochs * curves.epoch_of(plan, len(data.x), settings)

    context = capture(["pcsim", *sys.argv[1:]]) if first and (arguments.out or drawn) else {}

    def opened() -> Writer | None:
        return Writer(arguments.out, context, arguments.resume, CURVES) if arguments.out and first else None

    if first:
        warn_of_time("train", total(plans[0]) * flop / SLOW)
    writer = everywhere(opened)
    rows = list(writer.rows) if writer else []
    done = mpi.from_root(mpi.world().COMM_WORLD, rows) if on_ranks else list(rows)
    try:
        with Display("train") if first else contextlib.nullcontext() as display:
            shown: dict[str, Any] = {}
            if display:
                shown = {
                    "on_start": lambda number, plan, skipped: display.run(
                        number, len(curves.seeds_of(plans)), plan, total(plan), skipped
                    ),
                    "on_record": display.record,
                    "on_progress": display.progress,
                }
            made = curves.curves(
                plans,
                data,
                updates=updates,
                done=done,
                workers=arguments.workers,
                test=test,
                checkpoint=arguments.checkpoint,
                **shown,
                **settings,
            )
            for row in made:

                def write(row: dict[str, Any] = row) -> dict[str, Any]:
                    return writer.write(row) if writer else row

                rows.append(write() if row["interrupted"] else everywhere(write))
    except KeyboardInterrupt:
        if not first:
            raise
        there = rows or (writer.rows if writer else [])  # ranks may not have heard yet of a row that is written
        say(f"pcsim train: interrupted; {_kept(arguments, there, plans)}")
        if on_ranks:  # the others may be in the middle of a message
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads what goes to standard output has enough
        raise
    except (InputError, OSError) as error:  # a full disk, for example
        if not (writer.written if writer else rows):
            if writer:
                writer.undo()
            raise
        if first:
            say(f"pcsim train: {in_a_line(error)}; {kept(arguments.out, True)}")
        if on_ranks and isinstance(error, OSError):  # of this rank alone
            mpi.abort(CHECK_FAILED)
        return CHECK_FAILED
    finally:
        if writer:
            writer.close()
    return _show(arguments, curves.latest(rows), context, drawn, look) if first else 0


def _kept(arguments: argparse.Namespace, rows: Sequence[Any], plans: Sequence[Any]) -> str:
    """What there is after an interrupt."""
    there = [str(file) for file in _checkpoints(arguments, plans) if file.exists()]
    if not there:
        return kept(arguments.out, bool(rows))
    curves = f"; {kept(arguments.out, bool(rows))}" if arguments.out and rows else ""
    return f"trainings as they last stood are kept in {', '.join(there)}; continue with --resume{curves}"


def _show(
    arguments: argparse.Namespace,
    rows: list[dict[str, Any]],
    context: dict[str, Any],
    drawn: Sequence[str],
    look: Any,
) -> int:
    """Print the table of the curves and draw the figures; the exit code."""
    from ..training import curves

    with beside(arguments.out, arguments.figure):
        print(curves.table(rows, arguments.until_loss))
        if arguments.out:
            print(f"\ncurves file: {target(arguments.out)}")
    if not drawn:
        return 0
    from ..figures.accuracy import accuracy_figure
    from ..figures.learning import learning_figure
    from ..figures.style import save
    from ..results.origin import machine

    caption, shown = f"{curves.conditions(rows)}; {machine(context)}", curves.for_figure(rows)
    for file in drawn:
        draw = learning_figure if file == arguments.figure else accuracy_figure
        try:
            save(draw(shown, arguments.title, caption, look), file)
        except (InputError, OSError) as error:
            if not arguments.out or isinstance(error, BrokenPipeError):
                raise
            say(f"pcsim train: {in_a_line(error)}; {kept(arguments.out, True)}")
            return CHECK_FAILED
        with beside(arguments.out, file):
            print(f"figure: {target(file)}")
    return 0


def _check_files(arguments: argparse.Namespace, drawn: Sequence[str], plans: Sequence[Any]) -> None:
    """InputError at once for files that could not be written in the end, and for checkpoints of other trainings."""
    from ..figures.style import check_suffix

    check_streams([arguments.out, *drawn])
    for file in drawn:
        check_suffix(file)
    if arguments.checkpoint:
        check_place(arguments.checkpoint)
        there = [] if arguments.resume else [file for file in _checkpoints(arguments, plans) if file.exists()]
        if there:
            raise InputError(f"{there[0]} is there already: resume the training in it, or remove it")


def _checkpoints(arguments: argparse.Namespace, plans: Sequence[Any]) -> list[Path]:
    """The checkpoints that these trainings write."""
    from ..training import curves
    from ..training.seeds import checkpoint_of

    if not arguments.checkpoint:
        return []
    file, found, groups = Path(arguments.checkpoint), [], curves.seeds_of(plans)
    for number, alike in enumerate(groups, 1):
        one = file if len(groups) == 1 else curves.checkpoint_of_run(file, number)
        found += [one] if len(alike) == 1 else [checkpoint_of(one, plan.seed) for plan in alike]
    return found


def _checked(arguments: argparse.Namespace) -> int | None:
    """The number of updates, None for epochs; InputError for flags that do not go together."""
    if arguments.resume and not (arguments.out or arguments.checkpoint):
        raise InputError("--resume requires --out or --checkpoint: the curves file, or the training, to continue")
    if arguments.updates and arguments.epochs:
        raise InputError("give either --updates or --epochs, not both")
    arguments.augment = [name for name in CHANGES if name in arguments.augment] if arguments.augment else None
    validates = arguments.validation is not None
    if validates and not 0 < arguments.validation < 1:
        raise InputError(f"--validation is a share of the samples between 0 and 1, not {arguments.validation:g}")
    for flag, needs, there in (
        ("evaluate_every", "--validation or --test", validates or arguments.test),
        ("accuracy", "--validation or --test", validates or arguments.test),
        ("patience", "--validation", validates),
        ("until_accuracy", "--validation", validates),
        ("checkpoint_every", "--checkpoint", arguments.checkpoint),
    ):
        if getattr(arguments, flag) is not None and not there:
            raise InputError(f"--{flag.replace('_', '-')} requires {needs}")
    if arguments.figure and arguments.figure == arguments.accuracy:
        raise InputError(
            f"--figure and --accuracy are two figures: give one of them another name than {arguments.figure}"
        )
    return None if arguments.epochs else arguments.updates or 500


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of a training beside those of algorithms, nets and files."""
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="constant",
        help="alpha over the updates; cosine falls to --floor at the last (default constant)",
    )
    parser.add_argument(
        "--loss", choices=list(LOSSES), default="squared", help="of the output; energies of hidden layers stay squared"
    )
    parser.add_argument(
        "--warmup", type=int, default=0, metavar="N", help="updates in which alpha rises at first (default 0)"
    )
    parser.add_argument(
        "--floor", type=float, default=0.0, metavar="F", help="share of alpha that a cosine leaves (default 0)"
    )
    parser.add_argument(
        "--execution",
        metavar="NAME",
        help="how workers share the work: layer-parallel (default of PC, Z-IL and iPC), serial (default of BP), "
        "intra-layer, data-parallel, hybrid (not BP), pipeline, blas (BP), or auto (PC, Z-IL and iPC)",
    )
    parser.add_argument(
        "--order", choices=ORDERS, default="split", help="of --execution pipeline: where weight products are made"
    )
    parser.add_argument(
        "--start",
        choices=STARTS,
        default="forward",
        help="where a new batch's values come from, with --steps-per-batch: a forward pass (default), or one that runs "
        "layer by layer during the steps before, so that nobody waits for it (iPC alone)",
    )
    add_nets(parser, f"nets by name in place of --depths and --sizes: {NETS}")
    parser.add_argument(
        "--parameterisation",
        choices=PARAMETERISATIONS,
        default="sp",
        help="how weights begin and layers are scaled: standard (sp), neural tangent, or that of muPC, for nets of a "
        "hundred layers (default sp)",
    )
    parser.add_argument(
        "--value-momentum", type=float, default=0.0, metavar="M", help="of PC's and iPC's value updates (default 0)"
    )
    parser.add_argument(
        "--validation", type=float, metavar="SHARE", help="share of the samples to hold out, to look at their loss"
    )
    parser.add_argument("--test", action="store_true", help="tell the accuracy on the data's test split")
    parser.add_argument(
        "--evaluate-every", type=whole_number, metavar="N", help="updates between two such looks (default an epoch)"
    )
    parser.add_argument(
        "--patience", type=whole_number, metavar="N", help="stop after N looks without a lower validation loss"
    )
    parser.add_argument(
        "--until-accuracy",
        type=positive_number,
        metavar="SHARE",
        help="stop at the first look at or above this accuracy",
    )
    parser.add_argument(
        "--repeat",
        type=whole_number,
        default=1,
        metavar="N",
        help="take each batch N times before the next: BP that dwells on a batch as iPC does (default 1)",
    )
    parser.add_argument(
        "--augment",
        nargs="+",
        choices=CHANGES,
        help="change images anew in each epoch, as batches are copied: flip half of them from right to left, crop "
        "with 4 pixels of zeros around (nets whose first layer is a convolution)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", metavar="S", help="a run for each seed, side by side where cores are free"
    )
    parser.add_argument(
        "--checkpoint",
        type=file_name,
        metavar="FILE.npz",
        help="keep the training in a file, from which --resume goes on with the same bits; of several, the number of "
        "the run and the seed stand before the suffix",
    )
    parser.add_argument(
        "--checkpoint-every", type=whole_number, metavar="N", help="updates between two checkpoints (default an epoch)"
    )
    parser.add_argument(
        "--accuracy", type=file_name, metavar="FILE.png", help="draw accuracy against seconds and epochs"
    )
