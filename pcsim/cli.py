"""The command line: verbs, arguments and exit codes; no logic.

argparse rather than typer: the contract's ``--depths 2 4 8`` (one flag, several values) is not to be had there, and
``pcsim --help`` answers in a tenth of a second. Everything slow is imported by the verb that needs it.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__, cli_machines, mpi
from .algorithms import ALGORITHMS, BP, IPC, OPTIMIZERS, PC, ZIL, Algorithm
from .cli_words import (
    BAD_INPUT,
    CHECK_FAILED,
    INTERRUPTED,
    _count,
    _Parser,
    _positive,
    _say,
    _speaks,
    _with_crew,
    _workers,
    _write,
)
from .errors import InputError
from .network import ACTIVATIONS


def _knobs(parser: argparse.ArgumentParser, alpha: bool) -> None:
    if alpha:
        parser.add_argument("--alpha", type=_positive, default=1e-4, help="rate of weight updates (default 1e-4)")
        parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="default sgd")
        parser.add_argument(
            "--precision", type=_positive, default=1.0, help="weight of the output's error in PC and iPC (default 1)"
        )
    parser.add_argument("--gamma", type=_positive, default=0.5, help="rate of value updates (default 0.5)")
    parser.add_argument("--steps", type=_count, nargs="+", default=[8], help="T of PC, one or several (default 8)")
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default="tanh", help="default tanh")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data and batches (default 0)")


def _algorithms(arguments: argparse.Namespace) -> list[Algorithm]:
    """The algorithms asked for, one PC for each T."""
    rates: dict[str, Any] = {}
    if hasattr(arguments, "alpha"):
        rates = {"alpha": arguments.alpha, "optimizer": arguments.optimizer}
    weighted = {**rates, "gamma": arguments.gamma}
    if hasattr(arguments, "precision"):
        weighted["precision"] = arguments.precision
    made: dict[str, list[Algorithm]] = {
        "bp": [BP(**rates)],
        "pc": [PC(**weighted, T=T) for T in arguments.steps],
        "zil": [ZIL(**rates)],
        "ipc": [IPC(**weighted)],
    }
    return [algorithm for name in dict.fromkeys(arguments.algorithms) for algorithm in made[name]]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pcsim",
        description="How fast is predictive coding against backprop when layers learn in parallel? "
        "Times one weight update, counts its matrix products, and shows what learning costs.",
    )
    parser.add_argument("--version", action="version", version=f"pcsim {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)

    bench = verbs.add_parser("bench", help="time one weight update per algorithm over depths, widths and batches")
    bench.add_argument("--depths", type=_count, nargs="+", metavar="L", help="default 2 4 8 16 32")
    bench.add_argument("--widths", type=_count, nargs="+", metavar="N", help="default 32 64 128 256 512 1024")
    bench.add_argument(
        "--batches", type=_count, nargs="+", metavar="B", help="default 1, and 250 (full batch) at width 64"
    )
    bench.add_argument(
        "--algorithms", choices=list(ALGORITHMS), nargs="+", default=["ipc", "bp"], help="default ipc bp"
    )
    bench.add_argument(
        "--workers",
        type=_workers,
        nargs="+",
        metavar="P",
        help="threads of PC, Z-IL and iPC: numbers, or auto for the fastest (default: 1, all cores, auto); with "
        "--backend mpi numbers of ranks (default: 1, 2, 4 … and all that were started)",
    )
    bench.add_argument("--oversubscribe", action="store_true", help="allow more workers than cores")
    bench.add_argument(
        "--backend",
        choices=["threads", "mpi"],
        default="threads",
        help="who runs the layers: threads (default), or mpi, started by mpiexec or srun",
    )
    bench.add_argument(
        "--threads", type=_count, default=1, metavar="N", help="threads of each rank in PC, Z-IL and iPC (default 1)"
    )
    bench.add_argument(
        "--scaling",
        choices=["strong", "weak"],
        default="strong",
        help="on ranks: the same net for any number of them (default), or --depths layers for each rank",
    )
    bench.add_argument(
        "--baselines",
        nargs="+",
        default=["own"],
        metavar="NAME",
        help="what iPC is held against: executions of BP (serial intra-layer blas pipeline data-parallel numpy), "
        "unfused (iPC that reads the weights anew for each product), peers where installed (torch jax pcx); own "
        "(default) and all stand for lists of them",
    )
    bench.add_argument(
        "--peer-python",
        nargs="+",
        default=[],
        metavar="NAME=PYTHON",
        help="run a peer with another interpreter, which has it and pcsim installed (pcx holds jax at an old version)",
    )
    bench.add_argument(
        "--launches", type=_count, default=1, metavar="N", help="fresh processes that measure each cell (default 1)"
    )
    _knobs(bench, alpha=False)
    bench.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default float32")
    bench.add_argument(
        "--seconds", type=_positive, default=1.5, help="timing per cell, beside checks and warm-up (default 1.5)"
    )
    bench.add_argument("--no-pin", action="store_true", help="do not bind workers to cores")
    bench.add_argument("--out", metavar="FILE.jsonl", help="results file, written as cells end")
    bench.add_argument("--resume", action="store_true", help="go on with the results file, skipping finished cells")
    bench.add_argument(
        "--trace",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="also write a Chrome trace and a Gantt picture per cell, checked for order (default folder: beside --out)",
    )
    bench.set_defaults(run=_bench)

    count = verbs.add_parser("count", help="MMs and SMMs per weight update, from the task graphs (Table 4)")
    count.add_argument("--depths", type=_count, nargs="+", metavar="L", default=[2, 4, 8, 16, 32])
    count.add_argument("--algorithms", choices=list(ALGORITHMS), nargs="+", default=list(ALGORITHMS))
    count.add_argument("--steps", type=_count, nargs="+", metavar="T", default=[8], help="T of PC (default 8)")
    count.add_argument("--workers", type=_count, nargs="+", metavar="P", default=[1, 2, 4, 8], help="default 1 2 4 8")
    count.add_argument("--json", metavar="FILE", help="write JSON, - for standard output")
    count.set_defaults(run=_count_products)

    train = verbs.add_parser("train", help="train on data; loss against updates, MMs, SMMs and seconds")
    train.add_argument("--data", default="fashion-mnist", metavar="NAME|PATH", help="default fashion-mnist (a subset)")
    train.add_argument("--samples", type=_count, default=250, metavar="N", help="the first N (default 250)")
    train.add_argument("--algorithms", choices=list(ALGORITHMS), nargs="+", default=["bp", "pc", "ipc"])
    train.add_argument("--depths", type=_count, nargs="+", metavar="L", help="depths of nets (default 3)")
    train.add_argument("--hidden", type=_count, default=64, metavar="N", help="units of each hidden layer (default 64)")
    train.add_argument(
        "--sizes", type=_count, nargs="+", metavar="N", help="hidden sizes, in place of --depths and --hidden"
    )
    train.add_argument("--updates", type=_count, default=500, help="complete weight updates (default 500)")
    train.add_argument("--until-loss", type=_positive, metavar="X", help="stop a run at mean loss per sample X")
    _knobs(train, alpha=True)
    train.add_argument("--batch-size", type=_count, metavar="B", help="default: full batch")
    train.add_argument("--steps-per-batch", type=_count, metavar="T", help="updates of iPC on one batch")
    train.add_argument(
        "--record-every", type=_count, default=1, metavar="N", help="updates between records (default 1)"
    )
    train.add_argument("--backend", choices=["threads", "numpy"], default="threads")
    train.add_argument("--workers", type=_workers, default="auto", metavar="P", help="threads (default auto)")
    train.add_argument("--out", metavar="FILE.jsonl", help="curves file, written as runs end")
    train.add_argument("--resume", action="store_true", help="go on with the curves file, skipping finished runs")
    train.add_argument("--figure", metavar="FILE.png", help="draw the curves")
    train.set_defaults(run=_train)

    cli_machines.add_verbs(verbs)

    report = verbs.add_parser("report", help="ratio tables with intervals and verdicts from a results file")
    report.add_argument("results", metavar="FILE.jsonl")
    report.add_argument(
        "--denominator",
        default="best-bp",
        metavar="NAME",
        help="what iPC is divided by: best-bp (default), paper-style, an execution of BP, peer-ipc or ipc:EXECUTION",
    )
    report.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    report.add_argument(
        "--show",
        choices=["table", "verdicts", "ladder", "gains", "speedups", "steps", "ranks", "details"],
        default="table",
        help="ratios (default), the evidence behind them, every BP of each cell, where iPC's gain comes from, its gain "
        "from more workers, what a step of PC and Z-IL costs against one of iPC, scaling and exchange of MPI ranks, or "
        "every row",
    )
    report.set_defaults(run=_report)

    plot = verbs.add_parser("plot", help="figures from a results or curves file")
    plot.add_argument("results", metavar="FILE.jsonl")
    plot.add_argument("--out", required=True, metavar="FILE.png", help=".png, .svg or .pdf")
    plot.add_argument("--denominator", default="best-bp", metavar="NAME", help="as for report (default best-bp)")
    shown = plot.add_mutually_exclusive_group()
    shown.add_argument("--times", action="store_true", help="seconds per update in place of the ratio")
    shown.add_argument("--gains", action="store_true", help="where iPC's gain comes from, in place of the ratio")
    shown.add_argument("--ranks", action="store_true", help="scaling over MPI ranks, in place of the ratio")
    plot.set_defaults(run=_plot)

    doctor = verbs.add_parser("doctor", help="what this machine and installation can and cannot do")
    doctor.add_argument("--json", metavar="FILE", help="write JSON, - for standard output")
    doctor.set_defaults(run=_doctor)
    return parser


def _kept(out: str | None, rows: bool) -> str:
    if not rows:
        return "nothing was finished yet"
    return f"what was finished is kept in {out}; go on with --resume" if out else "nothing is kept: no --out was given"


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.backend == "threads":
        for flag, default in (("threads", 1), ("scaling", "strong")):
            if getattr(arguments, flag) != default:
                raise InputError(f"--{flag} is for --backend mpi")
        return _measure(arguments, None)
    if arguments.launches > 1:
        raise InputError("--launches is for --backend threads: a launch of ranks is one; start it again with --resume")
    if arguments.peer_python:
        raise InputError("--peer-python is for --backend threads: on ranks no peer is measured")
    return _with_crew("bench", lambda crew: _measure(arguments, crew))


def _rank_counts(arguments: argparse.Namespace, size: int) -> list[int]:
    """The numbers of ranks to measure."""
    counts = arguments.workers or [*(2**k for k in range(20) if 2**k < size), size]
    for count in counts:
        if count == "auto":
            raise InputError("--workers auto is for threads; with --backend mpi name numbers of ranks")
        if count > size:
            raise InputError(f"--workers: {count} ranks are more than the {size} that were started")
    return sorted(set(counts))


def _measure(arguments: argparse.Namespace, crew: Any) -> int:
    from . import report, sweep
    from .context import capture, usable_cores
    from .display import Display
    from .peers import use_python
    from .results import Results, Writer, check_target, latest

    if arguments.resume and not arguments.out:
        raise InputError("--resume needs --out: the results file to go on with")
    cores = len(usable_cores())
    for word in arguments.peer_python:
        name, _, python = word.partition("=")
        use_python(name, python)
    cells = sweep.grid(
        arguments.depths,
        arguments.widths,
        arguments.batches,
        dtype=arguments.dtype,
        activation=arguments.activation,
    )
    on_ranks: dict[str, Any] = {}
    if crew:
        counts = _rank_counts(arguments, crew.size)
        on_ranks = {"ranks": counts, "threads": arguments.threads}
        if arguments.scaling == "weak":
            on_ranks["grown"] = sweep.weak_grid(cells, counts)
            cells = list(on_ranks["grown"])
    plan = sweep.Sweep(
        cells,
        _algorithms(arguments),
        () if crew else arguments.workers or [*sorted({1, cores}), "auto"],
        sweep.resolve_baselines(arguments.baselines, arguments.backend),
        arguments.seconds,
        not arguments.no_pin,
        arguments.launches,
        **on_ranks,
    )
    plan.check(arguments.oversubscribe)
    if arguments.trace == "" and not arguments.out:
        raise InputError("--trace needs a folder, or --out beside which to make one")
    folder = None
    if arguments.trace is not None:
        folder = sweep.trace_folder(arguments.trace or str(Path(arguments.out).with_suffix("")) + "-traces")
    failed, rows, writer = False, [], None
    if arguments.out:
        check_target(arguments.out, arguments.resume)
    try:
        with Display("bench") as display:
            display.note("measuring the ceilings of this machine")
            ceilings = plan.ceilings()
            context = {**capture(["pcsim", *sys.argv[1:]]), "ceilings": ceilings.to_json()}
            if crew:
                context["mpi"] = crew.describe()
            if arguments.out:
                writer = Writer(arguments.out, context, arguments.resume)
                rows = list(writer.rows)
                for warning in (*writer.warnings, *filter(None, [writer.recovered])):
                    _say(f"pcsim bench: {warning}")
            if crew:
                display.note("compiling what is not in the cache yet: up to two minutes, once")
            for row in plan.run(ceilings, rows, display.cell):
                rows.append(writer.write(row) if writer else row)
                failed = failed or row["error"] is not None
                if row["error"]:
                    _say(f"pcsim bench: {row['algorithm']} {row['execution']} failed: {row['error']}")
            if folder:
                for fault in plan.trace(folder, display.cell):
                    failed = True
                    _say(f"pcsim bench: {fault}")
    except KeyboardInterrupt:
        _say(f"pcsim bench: interrupted; {_kept(arguments.out, bool(rows))}")
        if crew:  # the other ranks may be in the middle of a message
            mpi.abort(INTERRUPTED)
        return INTERRUPTED
    finally:
        if writer:
            writer.close()
    rows = latest(rows)
    results = Results(Path(arguments.out or "(not written)"), context, rows)
    if {"ipc", "bp"} <= {row["algorithm"] for row in rows if row["error"] is None}:
        print(report.table(results, "best-bp"), end="\n\n")
        if "serial" in plan.baselines:
            print(report.table(results, "paper-style"), end="\n\n")
        print("\n".join(report.summary(results, "best-bp")[1:]))
    else:
        print(report.details(results))
    if crew and crew.size > 1:
        print(f"\n{report.ranks(results)}")
    if arguments.out:
        print(f"\nresults file: {arguments.out}")
    if folder:
        print(f"traces: {folder}")
    return CHECK_FAILED if failed else 0


def _count_products(arguments: argparse.Namespace) -> int:
    from .tasks import table4

    wanted = set(arguments.algorithms)
    rows = [r for r in table4(arguments.depths, arguments.steps, arguments.workers) if r["algorithm"] in wanted]
    if arguments.json:
        _write(json.dumps(rows, indent=2), arguments.json)
        return 0
    heads = ["algorithm", "depth", "T", "MM", "SMM", "MM full", "SMM full"]
    heads += [f"{P} worker{'s' if P > 1 else ''}" for P in arguments.workers]
    lines = []
    for row in rows:
        cells = [ALGORITHMS[row["algorithm"]].title, row["depth"], row["steps"] or ""]
        cells += [row[name] for name in ("mm", "smm", "mm_full", "smm_full")] + list(row["smm_workers"].values())
        lines.append([f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells])
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    print("Matrix products per complete weight update, counted on the task graphs (paper convention: Table 4;")
    print("full: with weight gradients and forward start). Right: makespan in products on so many workers.\n")
    for line in [heads, *lines]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from . import learning
    from .context import capture
    from .data import load
    from .display import Display
    from .results import CURVES, Writer

    if arguments.resume and not arguments.out:
        raise InputError("--resume needs --out: the curves file to go on with")
    if arguments.sizes and arguments.depths:
        raise InputError("give either --sizes or --depths, not both")
    data = load(arguments.data, samples=arguments.samples)
    inputs, outputs = data.x.shape[1], data.y.shape[1]
    hidden = [arguments.sizes] if arguments.sizes else [[arguments.hidden] * (L - 1) for L in arguments.depths or [3]]
    plans = [
        learning.Plan(algorithm, (inputs, *sizes, outputs), arguments.activation, arguments.seed)
        for sizes in hidden
        for algorithm in _algorithms(arguments)
    ]
    if arguments.figure:
        from .plot import check_suffix

        check_suffix(arguments.figure)
    writer = (
        Writer(arguments.out, capture(["pcsim", *sys.argv[1:]]), arguments.resume, CURVES) if arguments.out else None
    )
    rows = list(writer.rows) if writer else []
    try:
        with Display("train") as display:
            made = learning.curves(
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
        _say(f"pcsim train: interrupted; {_kept(arguments.out, bool(rows))}")
        return INTERRUPTED
    finally:
        if writer:
            writer.close()
    rows = learning.latest(rows)
    print(learning.table(rows, arguments.until_loss))
    if arguments.out:
        print(f"\ncurves file: {arguments.out}")
    if arguments.figure:
        from .plot import learning_figure, save

        save(learning_figure(learning.for_figure(rows)), arguments.figure)
        print(f"figure: {arguments.figure}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from . import report
    from .results import latest, read

    results = read(arguments.results)
    results.rows[:] = latest(results.rows)
    for warning in results.warnings:
        _say(f"pcsim report: {warning}")
    if arguments.show in ("table", "verdicts"):
        show = {"table": report.table, "verdicts": report.verdicts}[arguments.show]
        print(show(results, arguments.denominator, arguments.format))
    else:
        shows = {"ladder": report.rungs, "gains": report.origins, "speedups": report.speedups}
        shows |= {"steps": report.step_costs, "ranks": report.ranks, "details": report.details}
        print(shows[arguments.show](results, arguments.format))
    if arguments.show == "table" and arguments.format != "csv":
        print()
        print("\n".join(report.summary(results, arguments.denominator)[1:]))
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from . import learning, plot, report, scaling_plot
    from .results import CURVES, latest, read, schema_of

    plot.check_suffix(arguments.out)
    if schema_of(arguments.results) == CURVES:
        figure = plot.learning_figure(learning.for_figure(learning.latest(read(arguments.results, CURVES).rows)))
    else:
        results = read(arguments.results)
        results.rows[:] = latest(results.rows)
        for warning in results.warnings:
            _say(f"pcsim plot: {warning}")
        if arguments.times:
            figure = plot.times_figure(results)
        elif arguments.gains:
            figure = plot.gains_figure(results)
        elif arguments.ranks:
            figure = scaling_plot.ranks_figure(results)
        else:
            found = report.pairs(results, arguments.denominator)
            figure = plot.ratio_figure(found, machine=report.machine(results))
    plot.save(figure, arguments.out)
    print(f"figure: {arguments.out}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from . import doctor

    checks = doctor.examine()
    if not _speaks():
        return 0
    if arguments.json:
        _write(doctor.to_json(checks), arguments.json)
    else:
        print(doctor.report(checks))
    return CHECK_FAILED if any(check.status == "fail" for check in checks) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code of CONTRACT section 4."""
    # Ended by a scheduler or by hand, a run keeps what it has measured just as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parsed = _parser().parse_args(arguments)
    place = mpi.launched()
    try:
        if place and parsed.verb not in ("doctor", "calibrate") and getattr(parsed, "backend", "") != "mpi":
            if place[0] > 0:
                return 0  # what needs no ranks is done by one
            if parsed.verb in ("bench", "train", "validate"):
                raise InputError(
                    f"the launcher started {place[1]} processes, and --backend {parsed.backend} runs in one: "
                    "start pcsim without it"
                    + (", or add --backend mpi" if parsed.verb in ("bench", "validate") else "")
                )
        return parsed.run(parsed)
    except InputError as error:
        if _speaks():
            _say(f"pcsim {parsed.verb}: {' '.join(str(error).split())}")
        return BAD_INPUT
    except KeyboardInterrupt:
        if place and mpi.started():
            mpi.wait_for_root()  # it knows what is kept
            _say(f"pcsim {parsed.verb}: rank {place[0]}: interrupted by a signal")
            mpi.abort(INTERRUPTED)
        _say(f"pcsim {parsed.verb}: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
