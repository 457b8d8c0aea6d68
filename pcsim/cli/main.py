"""The command line: verbs, arguments and exit codes; no logic.

argparse rather than typer: the contract's ``--depths 2 4 8`` (one flag, several values) is not available there, and
``pcsim --help`` answers in a tenth of a second. Everything slow is imported by the verb that needs it.
"""

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Sequence

from ..errors import InputError
from ..host import mpi, topology
from ..version import __version__
from . import claims, compare, completion, predict, race
from .algorithms import (
    add_algorithm_flags,
    add_algorithms,
    add_late_flags,
    add_optimizer_flags,
    add_rival_flags,
    add_sweep_flags,
)
from .bench import run_bench
from .count import add_count_flags, run_count
from .interrupts import end_with_threads, ended_in_time
from .look import add_look
from .show import run_doctor, run_plot, run_report
from .train import add_training_flags, run_train
from .words import (
    BAD_INPUT,
    INTERRUPTED,
    READABLE,
    Parser,
    add_changing,
    add_cores,
    add_judgement,
    add_ledger,
    add_nets,
    file_name,
    in_a_line,
    named,
    number_of_workers,
    positive_number,
    say,
    speaks,
    take_part,
    whole_number,
)


def _add_files(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("results", type=file_name, nargs="+", metavar="FILE.jsonl", help=what)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="pcsim",
        description="How fast is predictive coding against backprop when layers learn in parallel? "
        "Times one weight update, counts its matrix products, and shows what learning costs.",
        epilog="Files: what is named - is read from standard input or written to standard output (words for the "
        "reader then go to standard error; a figure is PNG), and what ends in .gz is packed with gzip. "
        "Where NO_COLOR is set, nothing is coloured.",
    )
    parser.add_argument("--version", action="version", version=f"pcsim {__version__}")
    completion.add_flag(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)

    bench = verbs.add_parser("bench", help="time one weight update per algorithm over depths, widths and batches")
    bench.add_argument("--depths", type=whole_number, nargs="+", metavar="L", help="default 2 4 8 16 32")
    bench.add_argument("--widths", type=whole_number, nargs="+", metavar="N", help="default 32 64 128 256 512 1024")
    bench.add_argument(
        "--batches",
        type=whole_number,
        nargs="+",
        metavar="B",
        help="default 1, and 250 (full batch) at width 64",
    )
    add_nets(bench)
    add_changing(bench)
    bench.add_argument(
        "--data",
        choices=["random", "fashion-mnist"],
        default="random",
        help="rows of batches: random numbers (default), or the images that come with pcsim, for nets 784-…-10; where "
        "batches change, repeated until they are four times as large as the last cache",
    )
    add_algorithms(bench, "ipc", "bp")
    add_sweep_flags(bench)
    bench.add_argument(
        "--workers",
        type=number_of_workers,
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
        help="what runs the layers: threads (default), or mpi, started by mpiexec or srun",
    )
    bench.add_argument(
        "--threads",
        type=whole_number,
        default=1,
        metavar="N",
        help="threads of each rank in PC, Z-IL and iPC (default 1)",
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
        help="what iPC is compared with: executions of BP (serial intra-layer blas pipeline data-parallel numpy), "
        "unfused (iPC that reads the weights anew for each product), shared (iPC whose workers share layers: "
        "intra-layer, data-parallel, hybrid, each with as many as suit it best), peers where installed (torch jax "
        "pcx); own (default) stands for those of pcsim, all adds the peers",
    )
    bench.add_argument(
        "--peer-python",
        nargs="+",
        default=[],
        metavar="NAME=PYTHON",
        help="run a peer with another interpreter, which has it and pcsim installed (pcx requires an old jax)",
    )
    bench.add_argument(
        "--launches",
        type=whole_number,
        metavar="N",
        help="fresh processes, each of which measures all cells in an order of its own: intervals are over processes "
        "(default 8; with --quick and on ranks 1, which says nothing about a re-run)",
    )
    add_algorithm_flags(bench, alpha=False)
    add_optimizer_flags(bench)
    bench.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="default float32")
    bench.add_argument(
        "--seconds",
        type=positive_number,
        help="time measured per cell over all processes, without checks and warm-up (default 1.5)",
    )
    bench.add_argument(
        "--quick",
        action="store_true",
        help="a first look in about 20 s on two cores: depths 4 16, widths 64 256, batch 1 and 0.5 s per cell unless "
        "told otherwise; every row is marked, since its interval is wide",
    )
    add_cores(bench)
    bench.add_argument("--no-pin", action="store_true", help="do not bind workers to cores")
    bench.add_argument(
        "--out",
        type=file_name,
        metavar="FILE.jsonl",
        help="results file, written as cells end (.jsonl.gz: packed; -: standard output)",
    )
    bench.add_argument("--resume", action="store_true", help="continue the results file, skipping finished cells")
    bench.add_argument(
        "--trace",
        type=file_name,
        nargs="?",
        const="",
        metavar="FOLDER",
        help="also write a Chrome trace and a Gantt chart per cell, checked for order (default folder: beside --out)",
    )
    bench.set_defaults(run=run_bench)

    count = verbs.add_parser("count", help="MMs and SMMs per weight update, from the task graphs (Table 4)")
    add_count_flags(count)
    count.set_defaults(run=run_count)

    train = verbs.add_parser("train", help="train on data and record loss against updates, MMs, SMMs and seconds")
    train.add_argument(
        "--data",
        default="fashion-mnist",
        metavar="NAME|PATH",
        help="fashion-mnist (default: a subset), digits, cifar-10 or svhn (in PCSIM_DATA), synthetic-images, or a path",
    )
    train.add_argument("--samples", type=whole_number, metavar="N", help="use the first N samples (default: up to 250)")
    add_algorithms(train, "bp", "pc", "ipc")
    train.add_argument("--depths", type=whole_number, nargs="+", metavar="L", help="depths of the nets (default 3)")
    train.add_argument(
        "--hidden", type=whole_number, default=64, metavar="N", help="units of each hidden layer (default 64)"
    )
    train.add_argument(
        "--sizes", type=whole_number, nargs="+", metavar="N", help="hidden sizes, in place of --depths and --hidden"
    )
    train.add_argument("--updates", type=whole_number, help="complete weight updates (default 500)")
    train.add_argument("--epochs", type=whole_number, metavar="E", help="passes over the data, in place of --updates")
    train.add_argument(
        "--until-loss", type=positive_number, metavar="X", help="stop a run at a mean loss per sample of X"
    )
    add_algorithm_flags(train, alpha=True)
    add_late_flags(train)
    add_rival_flags(train)
    train.add_argument("--batch-size", type=whole_number, metavar="B", help="default: full batch")
    train.add_argument("--steps-per-batch", type=whole_number, metavar="T", help="updates of iPC on one batch")
    train.add_argument(
        "--record-every",
        type=whole_number,
        metavar="N",
        help="updates between records (default 1, with --epochs an epoch)",
    )
    add_training_flags(train)
    train.add_argument(
        "--backend",
        choices=["threads", "mpi", "numpy"],
        default="threads",
        help="what runs the layers: threads (default), mpi, started by mpiexec or srun, or NumPy",
    )
    train.add_argument(
        "--workers",
        type=number_of_workers,
        default="auto",
        metavar="P",
        help="threads (default auto); of each rank (default 1)",
    )
    add_cores(train)
    train.add_argument(
        "--out",
        type=file_name,
        metavar="FILE.jsonl",
        help="curves file, written as runs end (.jsonl.gz: packed; -: standard output)",
    )
    train.add_argument("--resume", action="store_true", help="continue the curves file and the checkpoints")
    train.add_argument("--figure", type=file_name, metavar="FILE.png", help="draw the curves: .png, .svg or .pdf")
    add_look(train)
    train.set_defaults(run=run_train)

    predict.add_verbs(verbs)

    report = verbs.add_parser("report", help="ratio tables with intervals and verdicts from a results file, or races")
    _add_files(
        report,
        "a results file, or race files: of several a profile, how often each contender is within a factor of the best; "
        "- for standard input",
    )
    report.add_argument(
        "--denominator",
        default="best-bp",
        metavar="NAME",
        help="what iPC is divided by: best-bp (default), paper-style, an execution of BP, peer-ipc or ipc:EXECUTION",
    )
    add_judgement(report)
    report.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    report.add_argument(
        "--show",
        choices=["table", "verdicts", "ladder", "gains", "speedups", "steps", "ranks", "details"],
        default="table",
        help="ratios (default), the evidence behind them, every BP of each cell, where iPC's gain comes from, its gain "
        "from more workers, the cost of a step of PC and Z-IL compared with one of iPC, scaling and exchange of MPI "
        "ranks, or every row",
    )
    whole = report.add_mutually_exclusive_group()
    whole.add_argument(
        "--json",
        action="store_true",
        help="ratios, intervals, verdicts and chosen executions as one JSON document, for other programs",
    )
    whole.add_argument(
        "--html",
        type=file_name,
        metavar="FILE.html",
        help="write one page with figures, tables that sort and the context in place of a table; it opens offline",
    )
    report.set_defaults(run=run_report)

    race.add_verb(verbs)

    claims.add_verb(verbs)

    compare.add_verb(verbs)

    plot = verbs.add_parser("plot", help="figures from a results or curves file, or from races")
    _add_files(plot, "a results or curves file, or race files; - for standard input")
    plot.add_argument(
        "--out", type=file_name, required=True, metavar="FILE.png", help=".png, .svg or .pdf; -: PNG to standard output"
    )
    plot.add_argument("--denominator", metavar="NAME", help="as for report (default best-bp)")
    add_ledger(plot)
    shown = plot.add_mutually_exclusive_group()
    shown.add_argument("--times", action="store_true", help="seconds per update in place of the ratio")
    shown.add_argument("--gains", action="store_true", help="where iPC's gain comes from, in place of the ratio")
    shown.add_argument("--ranks", action="store_true", help="scaling over MPI ranks, in place of the ratio")
    shown.add_argument(
        "--profile",
        action="store_true",
        help="of races: how often each contender is within a factor of the best, over problems and goals (of several "
        "races the default; of one: scores against costs)",
    )
    shown.add_argument(
        "--sensitivity",
        action="store_true",
        help="of races: the share of the trials of each tuning that reach a goal within a cost",
    )
    add_look(plot)
    plot.set_defaults(run=run_plot)

    doctor = verbs.add_parser("doctor", help="what this machine and installation can and cannot do")
    shown = doctor.add_mutually_exclusive_group()
    shown.add_argument("--json", type=file_name, metavar="FILE", help="write JSON, - for standard output")
    fix = "print the commands that would steady this machine, with how to take them back; none is run"
    shown.add_argument("--fix", action="store_true", help=fix)
    doctor.add_argument(
        "--aa",
        type=positive_number,
        metavar="SECONDS",
        help="measure contenders against themselves for so long (two runs at least, about a minute): how often the "
        "verdict is wrong, at which level times vary, and from which difference on this host can tell two apart",
    )
    doctor.set_defaults(run=run_doctor)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code of CONTRACT section 4."""
    os.environ["MPLBACKEND"] = "agg"  # figures go to files
    warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # what a font lacks is drawn as a box
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)  # a terminal that lacks µ or ÷ shows u and /
    together = take_part(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = _parser().parse_args(arguments)
        parsed.named = named(_parser(), arguments)
    except KeyboardInterrupt:
        say("pcsim: interrupted")
        return INTERRUPTED
    with ended_in_time(parsed.verb, INTERRUPTED), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _warn(parsed.verb, message)
        code = _run(parsed, together)
    if code == INTERRUPTED:
        end_with_threads(code)
    return code


def _run(parsed: argparse.Namespace, together: bool) -> int:
    """``together``: whether all processes of a launch do the verb together."""
    place = mpi.launched()
    try:
        # Tasks of SLURM may be a farm; but who times beside the other processes of mpiexec has forgotten something.
        if place and not together and parsed.verb in ("bench", "validate") and not place[2].startswith("SLURM"):
            raise InputError(
                f"the launcher started {place[1]} processes ({place[2]}), but --backend {parsed.backend} times in one: "
                "start pcsim without it, or add --backend mpi"
            )
        with topology.chosen(getattr(parsed, "chosen_cores", None)):
            code = parsed.run(parsed)
        sys.stdout.flush()  # so that a full disk is met here
        return code
    except KeyboardInterrupt:
        if place and together and mpi.started():
            mpi.wait_for_root()  # rank 0 says what is kept
            say(f"pcsim {parsed.verb}: rank {place[0]}: interrupted by a signal")
            mpi.abort(INTERRUPTED)
        say(f"pcsim {parsed.verb}: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader (`head`, for example) has closed the pipe
        _leave_stdout()
        return 0
    except (InputError, OSError, MemoryError, ImportError) as error:
        if isinstance(error, ImportError) and error.name:
            raise  # an installation that is broken, not one that cannot be used like this
        if isinstance(error, OSError):
            _leave_stdout()
        if speaks():
            say(f"pcsim {parsed.verb}: {in_a_line(error)}")
        return BAD_INPUT


def _warn(verb: str, message: Warning | str) -> None:
    """A warning of a library, as one line."""
    if speaks():
        say(f"pcsim {verb}: {next(iter(str(message).splitlines()), '')}")


def _leave_stdout() -> None:
    """What Python still holds for standard output is not tried again at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
