"""The verb ``count``: what task graphs say, in tables and as JSON."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..algorithms import OPTIMIZERS, Algorithm
from ..algorithms.registry import ALGORITHMS, names
from ..errors import InputError
from ..streams import check_place, check_streams, target
from ..tables import layout
from .algorithms import add_algorithms, algorithms_of
from .look import add_look, look_of
from .words import NETS, add_changing, add_nets, beside, file_name, whole_number, write

if TYPE_CHECKING:
    from ..schedule.sizes import LayerSizes

SHOWS = ("all", "products", "costs")


def add_count_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the verb."""
    parser.add_argument(
        "--depths",
        type=whole_number,
        nargs="+",
        metavar="L",
        help="layers of nets whose layers are alike (default 2 4 8 16 32)",
    )
    add_nets(
        parser,
        f"count these nets instead, by the units of their layers, as in 784-64-64-10, or by a name ({NETS}): each "
        "product has its own size, and costs show the span on workers that have layers in blocks, and bytes",
    )
    add_algorithms(parser, *(name for name in ALGORITHMS if name not in ("bp-async", "local", "dfa", "dual")))
    parser.add_argument("--steps", type=whole_number, nargs="+", metavar="T", default=[8], help="T of PC (default 8)")
    add_changing(parser)
    parser.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default="sgd",
        help="muon has 15 products in a row behind each weight gradient (MM full, span, flop), the others none "
        "(default sgd)",
    )
    parser.add_argument(
        "--batch",
        type=whole_number,
        default=1,
        metavar="B",
        help="samples among which the products of muon are shared out, for costs (default 1)",
    )
    parser.add_argument(
        "--workers", type=whole_number, nargs="+", metavar="P", default=[1, 2, 4, 8], help="default 1 2 4 8"
    )
    parser.add_argument(
        "--show",
        choices=SHOWS,
        default="all",
        help="products: how many there are, in all, in a row and on so many workers; costs: products in a row beside "
        "their sizes, how late gradients are, batches that are kept, messages, flop (default: both)",
    )
    parser.add_argument("--hidden", type=whole_number, metavar="N", help="units of each layer, for costs (default 64)")
    parser.add_argument(
        "--classes",
        type=whole_number,
        metavar="C",
        help="rows of the heads of local losses, and of feedback, for costs (default 10)",
    )
    parser.add_argument(
        "--examples",
        action="store_true",
        help="count BP by a scan too, whose errors come from products of Jacobians (as in DeepPCR): few products in a "
        "row, and most of them as large as the flop say, so that SMMs alone say nothing",
    )
    parser.add_argument(
        "--micro-batches",
        type=whole_number,
        nargs="+",
        metavar="M",
        default=[],
        help="count the exact pipeline of BP instead, with so many micro-batches on so many stages, in both orders: "
        "all weight products at the end (split), or in the slots in which a stage waits (zero-bubble)",
    )
    parser.add_argument(
        "--batches",
        type=whole_number,
        nargs="+",
        metavar="B",
        default=[],
        help="count BP ÷ iPC for one update at these batches instead, with each product weighed by its samples, beside "
        "the SMMs, which no batch changes",
    )
    parser.add_argument(
        "--machines",
        nargs="+",
        metavar="MACHINE",
        default=[],
        help="with --batches: predict that ratio too, with a worker for each layer of --hidden units",
    )
    parser.add_argument(
        "--results",
        type=file_name,
        metavar="FILE.jsonl",
        help="with --batches: and what bench measured at layers of --hidden units",
    )
    parser.add_argument(
        "--figure", type=file_name, metavar="FILE.png", help="with --batches: draw maps over depth and batch"
    )
    add_look(parser)
    parser.add_argument("--json", type=file_name, metavar="FILE", help="write JSON, - for standard output")


def run_count(arguments: argparse.Namespace) -> int:
    from ..report import counts as report
    from ..schedule.counts import Counted, table4, table_of_nets
    from ..schedule.scan import Scan

    if arguments.show != "all" and (arguments.json or arguments.micro_batches):
        raise InputError("--show chooses between tables, of which --json and --micro-batches have none: leave it out")
    if arguments.json:
        check_place(arguments.json)
    look = look_of(arguments, "figure")
    _fill_sizes(arguments)
    if arguments.batches:
        return _count_batches(arguments, look)
    for flag in ("machines", "results", "figure"):
        if getattr(arguments, flag):
            raise InputError(f"--{flag} is about batches of several sizes: add --batches")
    if arguments.micro_batches:
        return _count_pipelines(arguments)
    wanted = algorithms_of(arguments, [name for name in names() if name in arguments.algorithms])
    changing = arguments.steps_per_batch
    if not changing and arguments.start != ["forward"]:
        raise InputError("--start is about batches that change: add --steps-per-batch")
    counted: list[Counted] = [*wanted, *([Scan()] if arguments.examples else [])]
    changes = arguments.workers, changing, arguments.start
    if arguments.nets:
        nets = _nets(arguments.nets, wanted)
        sizes = {name: sizes for name, (sizes, _) in nets.items()}
        rows = table_of_nets(sizes, counted, *changes, arguments.batch)
        for row in rows:
            row["skips"] = nets[row["net"]][1]
    else:
        rows = table4(arguments.depths, counted, *changes, arguments.hidden, arguments.classes, arguments.batch)
    if arguments.json:
        write(json.dumps(rows, indent=2), arguments.json)
        return 0
    filling = any(algorithm.calendar(max(row["depth"] for row in rows)).overlapped for algorithm in wanted)
    tables = {"products": lambda: [report.products(rows, bool(changing), filling)], "costs": lambda: report.costs(rows)}
    shown = [table for name, make in tables.items() if arguments.show in ("all", name) for table in make()]
    print("\n\n".join(shown))
    return 0


def _fill_sizes(arguments: argparse.Namespace) -> None:
    """The sizes that were not given; InputError where nets say them."""
    usual = {"depths": [2, 4, 8, 16, 32], "hidden": 64, "classes": 10}
    given = [f"--{name}" for name in usual if getattr(arguments, name) is not None]
    if arguments.nets:
        if given:
            raise InputError(f"--nets say depths and sizes: leave {', '.join(given)} out")
        for flag in ("batches", "micro_batches", "examples"):
            if getattr(arguments, flag):
                raise InputError(f"--{flag.replace('_', '-')} is counted for layers that are alike: give --depths")
    for name, value in usual.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def _nets(names: Sequence[str], algorithms: Sequence[Algorithm]) -> dict[str, tuple["LayerSizes", list[bool]]]:
    """Sizes of nets, and which of their layers add their input; InputError for a net that one of these algorithms
    cannot train."""
    from ..bench.case import Case
    from ..engines.limits import check_forms, check_skips

    found = {}
    for name in names:
        case = Case.of_net(name)
        forms, skip = (case.outline.forms, case.outline.skip) if case.outline else ((), ())
        for algorithm in algorithms:
            check_forms(algorithm, forms if any(forms) else ())
            if algorithm.name == "dual":
                check_skips(algorithm, skip)
        found[name] = case.layer_sizes, list(skip) or [False] * case.depth
    return found


def _count_batches(arguments: argparse.Namespace, look: Any) -> int:
    """BP ÷ iPC over depths and batches."""
    from ..figures.batches import Panel, batches_figure, check_map
    from ..figures.style import check_suffix, save
    from ..predict import batches, machine_files
    from ..report import batches as report
    from ..results import origin
    from ..results.files import latest, read
    from .display import Display

    if arguments.show != "all" or arguments.examples or arguments.micro_batches or arguments.steps_per_batch:
        raise InputError("--batches is of BP and iPC on batches that stay: leave other choices of what is counted out")
    check_streams([arguments.json, arguments.figure, arguments.results])
    depths, sizes = sorted(set(arguments.depths)), sorted(set(arguments.batches))
    if arguments.figure:
        check_suffix(arguments.figure)
        check_map(depths, sizes)
    machines = [machine_files.load(name) for name in arguments.machines]
    measured, where = {}, ""
    if arguments.results:
        results = read(arguments.results)
        results.rows[:] = latest(results.rows)
        measured, where = report.measured(results, arguments.hidden), origin.machine(results.context)
        if not measured:
            raise InputError(f"{arguments.results}: holds no net of {arguments.hidden} units: give another --hidden")
    cells = [(depth, size) for depth in depths for size in sizes]
    kept = [at for at in measured if at not in cells]
    counts = [batches.counted(*at) for at in sorted([*cells, *kept])]
    predicted: dict[str, dict[tuple[int, int], batches.Pair]] = {machine.name: {} for machine in machines}
    with Display("count") as display:
        for machine in machines:
            for number, (depth, size) in enumerate(cells):
                display.share(f"predicting on {machine.name}", number, len(cells))
                predicted[machine.name][depth, size] = batches.predicted(depth, size, arguments.hidden, machine)
    rows = report.rows(counts, predicted, measured)
    if arguments.json:
        write(json.dumps(rows, indent=2), arguments.json)
    if arguments.figure:
        panels = [Panel("products in a row, each weighed by its samples (counted)", _at(rows, "span", cells))]
        panels += [
            Panel(f"{name}, a worker for each layer (predicted)", {at: pair.ratio for at, pair in found.items()})
            for name, found in predicted.items()
        ]
        panels.append(Panel("seconds (measured)", measured, points=True))
        words = ["counted and predicted on batches that stay; SMMs, (2L − 1) ÷ 2, are what stands at a batch of 1"]
        words += [f"nets of {arguments.hidden} units"] if machines or measured else []
        words += [*report.marks(rows), *([f"measured: {where}"] if where else [])]
        save(batches_figure(panels, arguments.title, "; ".join(words), look), arguments.figure)
    with beside(arguments.json, arguments.figure):
        if not arguments.json:
            print("\n".join([*report.ABOUT, *report.marks(rows), "", report.table(rows)]))
        if arguments.figure:
            print(f"figure: {target(arguments.figure)}")
    return 0


def _at(rows: Sequence[dict[str, Any]], name: str, cells: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """One figure of the rows of these cells."""
    return {at: row[name] for row in rows if (at := (row["depth"], row["batch"])) in cells}


def _count_pipelines(arguments: argparse.Namespace) -> int:
    from ..schedule.pipelines import ORDERS, pipeline_counts

    if arguments.steps_per_batch or arguments.start != ["forward"]:
        raise InputError(
            "--micro-batches counts BP, which has a new batch at every update: leave out how batches change"
        )
    if arguments.optimizer == "muon":
        raise InputError("--micro-batches counts no products of an optimiser: leave --optimizer muon out")
    rows = pipeline_counts(arguments.depths, arguments.micro_batches, ORDERS, arguments.workers)
    if arguments.json:
        write(json.dumps(rows, indent=2), arguments.json)
        return 0
    heads = {"depth": "depth", "workers": "stages", "micro_batches": "micro-batches", "order": "order"}
    heads |= {"span_workers": "products", "span_workers_full": "with weights", "bubble": "waits"}
    shown = {"bubble": "{:.0%}", "span_workers": "{:.4g}", "span_workers_full": "{:.4g}"}
    lines = [[shown.get(name, "{}").format(row[name]) for name in heads] for row in rows]
    print("The exact pipeline of BP, per weight update in the steady state: products of the whole batch in a row, each")
    print(
        "stage making one at a time (with weights: weight-gradient products counted too), and the share of the slowest"
    )
    print("stage's time in which it waits.\n")
    print(layout(list(heads.values()), lines, "text"))
    return 0
