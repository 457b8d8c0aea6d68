"""The verb ``bench``."""

import argparse
import contextlib
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..host import mpi
from ..streams import is_stream, target
from .algorithms import algorithms_of
from .ranks import with_crew
from .words import CHECK_FAILED, INTERRUPTED, beside, in_a_line, say, warn_of_time


def kept(out: str | None, rows: bool) -> str:
    if not rows:
        return "nothing was finished yet"
    if out and not is_stream(out):
        return f"what was finished is kept in {out}; continue with --resume"
    return "what was finished stands on standard output" if out else "nothing is kept: --out is not set"


def run_bench(arguments: argparse.Namespace) -> int:
    if arguments.backend == "threads":
        for flag, default in (("threads", 1), ("scaling", "strong")):
            if getattr(arguments, flag) != default:
                raise InputError(f"--{flag} is for --backend mpi")
        return _measure(arguments, None)
    if (arguments.launches or 1) > 1:
        raise InputError("--launches is for --backend threads: a launch of ranks is one; start another with --resume")
    if arguments.peer_python:
        raise InputError("--peer-python is for --backend threads: peers are not measured on ranks")
    return with_crew("bench", lambda crew: _measure(arguments, crew))


def _rank_counts(arguments: argparse.Namespace, size: int) -> list[int]:
    """The numbers of ranks to measure."""
    counts = arguments.workers or [*(2**k for k in range(20) if 2**k < size), size]
    for count in counts:
        if count == "auto":
            raise InputError("--workers auto is for threads; with --backend mpi give numbers of ranks")
        if count > size:
            raise InputError(f"--workers: {count} ranks are more than the {size} that were started")
    return sorted(set(counts))


def _measure(arguments: argparse.Namespace, crew: Any) -> int:
    from ..bench import grid, measure, sweep, traces
    from ..bench.launch import QUICK_TO_SLEEP
    from ..bench.peers import use_python
    from ..host.context import capture
    from ..host.topology import advised_workers, told_too_many
    from ..report import ranks, ratios
    from ..report.one_cell import one_cell
    from ..results.files import Results, Writer, check_target, latest
    from ..results.pairs import subject
    from .display import Display

    if arguments.resume and not arguments.out:
        raise InputError("--resume requires --out: the results file to continue")
    if arguments.quick and (arguments.launches or 1) > 1:
        raise InputError("--quick is one process: leave out --launches, or --quick")
    cores = advised_workers()
    for word in arguments.peer_python:
        name, _, python = word.partition("=")
        use_python(name, python)
    quick: dict[str, Any] = {}
    if arguments.quick:
        quick = (
            {}
            if arguments.nets
            else {"depths": grid.QUICK_DEPTHS, "widths": grid.QUICK_WIDTHS, "batches": grid.QUICK_BATCHES}
        )
    depths, widths, batches = (getattr(arguments, name) or quick.get(name) for name in ("depths", "widths", "batches"))
    cells = grid.grid(
        depths,
        widths,
        batches,
        nets=arguments.nets,
        steps_per_batch=arguments.steps_per_batch,
        starts=arguments.start,
        dtype=arguments.dtype,
        activation=arguments.activation,
        data=arguments.data,
    )
    if arguments.optimizer != "sgd" or arguments.steps_per_batch:
        arguments.alpha = measure.ALPHA  # Adam's steps are as long as that whatever the gradients are
    on_ranks: dict[str, Any] = {}
    if crew:
        counts = _rank_counts(arguments, crew.size)
        on_ranks = {"ranks": counts, "threads": arguments.threads}
        if arguments.scaling == "weak":
            if arguments.nets:
                raise InputError("--scaling weak grows nets by their depth: give --depths in place of --nets")
            on_ranks["grown"] = grid.weak_grid(cells, counts)
            cells = list(on_ranks["grown"])
    plan = sweep.Sweep(
        cells,
        algorithms_of(arguments),
        () if crew else arguments.workers or [*sorted({1, cores}), "auto"],
        grid.resolve_baselines(arguments.baselines, arguments.backend),
        arguments.seconds or (grid.QUICK_SECONDS if arguments.quick else grid.SECONDS),
        not arguments.no_pin,
        arguments.launches or (1 if crew or arguments.quick else grid.LAUNCHES),
        seed=secrets.randbelow(1 << 32),
        quick=arguments.quick,
        **on_ranks,
    )
    plan.check(arguments.oversubscribe)
    warn_of_time("bench", plan.seconds())
    if told := told_too_many():
        say(f"pcsim bench: {told}")
    for name in _left_out(arguments.baselines, plan):
        say(f"pcsim bench: {name} was asked for, and fits no cell on these workers with these algorithms: not measured")
    if arguments.trace == "" and (not arguments.out or is_stream(arguments.out)):
        raise InputError("--trace requires a folder, or a file as --out to make one beside it")
    if arguments.out:
        check_target(arguments.out, arguments.resume)
    folder, made = None, False
    if arguments.trace is not None:
        name = arguments.trace or str(Path(arguments.out).with_suffix("")) + "-traces"
        made = not Path(name).exists()
        folder = traces.trace_folder(name)
    failed, rows, writer = False, [], None
    try:
        with Display("bench") as display:
            display.note("measuring the ceilings of this machine")
            ceilings = plan.ceilings()
            ours = {"offered": plan.offered, "ceilings": ceilings.to_json(), "pinned": plan.pin}
            context = {**capture(["pcsim", *sys.argv[1:]]), **ours, "order_seed": plan.seed}
            if plan.launches > 1:
                context["environment"] = {**QUICK_TO_SLEEP, **context["environment"]}
            if crew:
                context["mpi"] = crew.describe()
            if arguments.out:
                writer = Writer(arguments.out, context, arguments.resume)
                rows = list(writer.rows)
                for warning in (*writer.warnings, *filter(None, [writer.recovered])):
                    say(f"pcsim bench: {warning}")
            for row in plan.run(ceilings, rows, display.cell):
                rows.append(writer.write(row) if writer else row)
                failed = failed or row["error"] is not None
                if row["error"]:
                    say(f"pcsim bench: {row['algorithm']} {row['execution']} failed: {row['error']}")
    except KeyboardInterrupt:
        say(f"pcsim bench: interrupted; {kept(arguments.out, bool(rows))}")
        if crew:  # the other ranks may be in the middle of a message
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads what goes to standard output has enough
        raise
    except (InputError, OSError) as error:  # a full disk, for example
        if crew or not (writer.written if writer else rows):
            if writer:
                writer.undo()
            if folder and made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise
        say(f"pcsim bench: {in_a_line(error)}; {kept(arguments.out, True)}")
        return CHECK_FAILED
    finally:
        if writer:
            writer.close()
    rows = latest(rows)
    results = Results(Path(arguments.out or "(not written)"), context, rows)
    with beside(arguments.out):
        if arguments.quick:
            print(f"{sweep.QUICK}: measure again without --quick\n")
        if line := one_cell(results):
            print("\n".join([line, *ratios.source_and_doubts(results)]))
        elif {subject(results), "bp"} <= {row["algorithm"] for row in rows if row["error"] is None}:
            print(ratios.table(results, "best-bp"), end="\n\n")
            if "serial" in plan.baselines:
                print(ratios.table(results, "paper-style"), end="\n\n")
            print("\n".join(ratios.summary(results, "best-bp")[1:]))
        else:
            print(ratios.details(results))
        if crew and crew.size > 1:
            with contextlib.suppress(InputError):  # BP on one number of ranks makes no curve
                print(f"\n{ranks.ranks(results)}")
        if arguments.out:
            print(f"\nresults file: {target(arguments.out)}")
    if folder:  # when all the rest is known and said
        sys.stdout.flush()
        try:
            failed = not _traced(plan, folder) or failed
        except KeyboardInterrupt:
            say(f"pcsim bench: interrupted; {kept(arguments.out, True)}")
            if crew:
                mpi.abort(INTERRUPTED)
            return INTERRUPTED
        with beside(arguments.out):
            print(f"traces: {folder}")
    return CHECK_FAILED if failed else 0


def _left_out(names: Sequence[str], plan: Any) -> list[str]:
    """Baselines that were named one by one, and nobody will run."""
    groups = [group for case in plan.cases for group in plan.candidates(case)]
    there = {one.execution for group in groups for brought in group.values() for one in brought}
    there |= {"unfused"} if any(name.endswith("-unfused") for name in there) else set()
    there |= {"shared"}  # on one worker nobody shares anything
    return [name for name in names if name not in ("own", "all", "threads") and name not in there]


def _traced(plan: Any, folder: Path) -> bool:
    """Write a trace and a picture of every contender; whether all of them are valid orders."""
    from ..bench import traces
    from ..figures.schedules import gantt
    from ..figures.style import save
    from .display import Display

    valid = True
    with Display("bench") as display:
        for found in traces.traces(plan, display.cell):
            for fault in found.faults:
                valid = False
                say(f"pcsim bench: {found.name}: {fault}")
            found.timeline.save_chrome_trace(folder / f"{found.name}.json")
            save(gantt(found.timeline.events, found.title), folder / f"{found.name}.png")
    return valid
