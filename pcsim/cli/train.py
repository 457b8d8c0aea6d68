"""The verb ``train``."""

import argparse
import sys

from ..errors import InputError
from ..streams import check_streams, target
from .bench import kept
from .words import CHECK_FAILED, INTERRUPTED, algorithms_of, beside, in_a_line, look_of, say, warn_of_time

USUAL_SAMPLES = 250  # where there are as many

SLOW = 2e10  # flop/s of one core on a batch: a guess, for a warning


def run_train(arguments: argparse.Namespace) -> int:
    from ..host.context import capture
    from ..results.fields import CURVES
    from ..results.files import Writer
    from ..training import curves
    from ..training.data import load
    from .display import Display

    if arguments.resume and not arguments.out:
        raise InputError("--resume requires --out: the curves file to continue")
    look = look_of(arguments, "figure")
    if arguments.sizes and arguments.depths:
        raise InputError("give either --sizes or --depths, not both")
    data = load(arguments.data, samples=arguments.samples, at_most=USUAL_SAMPLES)
    inputs, outputs = data.x.shape[1], data.y.shape[1]
    hidden = [arguments.sizes] if arguments.sizes else [[arguments.hidden] * (L - 1) for L in arguments.depths or [3]]
    plans = [
        curves.Study(algorithm, (inputs, *sizes, outputs), arguments.activation, arguments.seed)
        for sizes in hidden
        for algorithm in algorithms_of(arguments)
    ]
    check_streams([arguments.out, arguments.figure])
    if arguments.figure:
        from ..figures.style import check_suffix

        check_suffix(arguments.figure)
    flop = curves.check_studies(plans, data, arguments.batch_size, arguments.steps_per_batch)
    warn_of_time("train", arguments.updates * flop / SLOW)
    context = capture(["pcsim", *sys.argv[1:]]) if arguments.out or arguments.figure else {}
    writer = Writer(arguments.out, context, arguments.resume, CURVES) if arguments.out else None
    rows = list(writer.rows) if writer else []
    try:
        with Display("train") as display:
            made = curves.curves(
                plans,
                data,
                updates=arguments.updates,
                done=rows,
                on_start=lambda number, plan, skipped: display.run(
                    number, len(plans), plan, arguments.updates, skipped
                ),
                on_record=display.record,
                workers=arguments.workers,
                batch_size=arguments.batch_size,
                steps_per_batch=arguments.steps_per_batch,
                record_every=arguments.record_every,
                until_loss=arguments.until_loss and arguments.until_loss * len(data.x),
                backend=arguments.backend,
                seed=arguments.seed,
            )
            for row in made:
                rows.append(writer.write(row) if writer else row)
    except KeyboardInterrupt:
        say(f"pcsim train: interrupted; {kept(arguments.out, bool(rows))}")
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads what goes to standard output has enough
        raise
    except (InputError, OSError) as error:  # a full disk, for example
        if not (writer.written if writer else rows):
            if writer:
                writer.undo()
            raise
        say(f"pcsim train: {in_a_line(error)}; {kept(arguments.out, True)}")
        return CHECK_FAILED
    finally:
        if writer:
            writer.close()
    rows = curves.latest(rows)
    with beside(arguments.out, arguments.figure):
        print(curves.table(rows, arguments.until_loss))
        if arguments.out:
            print(f"\ncurves file: {target(arguments.out)}")
    if arguments.figure:
        from ..figures.learning import learning_figure
        from ..figures.style import save
        from ..results.origin import machine

        caption = f"{curves.conditions(rows)}; {machine(context)}"
        try:
            save(learning_figure(curves.for_figure(rows), arguments.title, caption, look), arguments.figure)
        except (InputError, OSError) as error:
            if not arguments.out or isinstance(error, BrokenPipeError):
                raise
            say(f"pcsim train: {in_a_line(error)}; {kept(arguments.out, True)}")
            return CHECK_FAILED
        with beside(arguments.out, arguments.figure):
            print(f"figure: {target(arguments.figure)}")
    return 0
