"""Predictions against measurements, cell by cell: the simulator's report card, and the file that keeps it.

The cells are measured as ``bench`` measures; none of them was calibrated on (a calibration times kernels, at other
widths). The card is a JSON file of the schema ``pcsim-validation/1``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms import BP, IPC, Algorithm
from ..algorithms.predictive_coding import SHARED
from ..bench.case import Case
from ..bench.contenders import Contender, has_teams
from ..bench.measure import ALPHA, measure_cell
from ..checks import FLAG, Rule, is_number, or_null, whole
from ..errors import InputError
from ..predict.machine import Machine
from ..predict.nets import Net, named_net
from ..predict.simulate import MICRO_BATCHES, OF_IMAGES, Prediction, simulate
from ..streams import read_text, source, write_whole
from ..tables import layout

SCHEMA = "pcsim-validation/1"

# Sizes that no calibration uses.
DEPTHS, WIDTHS, BATCHES = (3, 6, 12, 24), (96, 192, 384, 768, 1536), (1, 64)

TRIES = 2  # of a cell during which something else seems to go on

NEAR = (0.9, 1.1)  # measured ratios between these have no winner


@dataclass(frozen=True)
class Checked:
    """One configuration of a cell, predicted and measured: seconds per weight update. ``ranks``: None on threads;
    ``net``, ``steps_per_batch``, ``start`` and ``optimizer`` as in a results file."""

    algorithm: str
    execution: str
    workers: int
    ranks: int | None
    depth: int
    width: int
    batch: int
    predicted: float
    measured: float
    ci95: tuple[float, float]
    inside: bool
    net: str | None = None
    steps_per_batch: int | None = None
    start: str = "forward"
    optimizer: str = "sgd"

    @property
    def error(self) -> float:
        """Predicted ÷ measured − 1."""
        return self.predicted / self.measured - 1

    @property
    def cell(self) -> tuple:
        """Which rows can be compared with one another."""
        net = self.depth, self.width, self.batch, self.net, self.steps_per_batch, self.start, self.optimizer
        return self.ranks, *net


def contenders(
    case: Case, workers: int, ranks: int | None, optimizer: str = "sgd", rivals: Sequence[Algorithm] = ()
) -> list[Contender]:
    """Who is measured in a cell on so many workers: BP alone, iPC and BP in every execution that the simulator knows
    and that the cell has room for, and ``rivals`` with their layers on workers: which other numbers of workers are
    checked does not matter."""
    where: dict[str, Any] = {"ranks": ranks} if ranks else {}
    # Rates so small that no number of updates makes anything overflow, as in ``bench``.
    alpha = ALPHA if optimizer != "sgd" or case.steps_per_batch else BP.alpha
    bp, ipc = BP(alpha, optimizer), IPC(alpha, optimizer=optimizer)
    alone = Contender(bp, "serial", 1, ranks=1 if ranks else None)
    beside = [replace(one, alpha=alpha, optimizer=optimizer) for one in rivals if not ranks or "mpi" in one.backends]
    if workers == 1:
        return [Contender(one, "serial", 1, **where) for one in (ipc, *beside)] + [alone]
    found, layers = [alone], workers <= case.depth
    if layers:
        found += [Contender(one, "layer-parallel", workers, **where) for one in (ipc, *beside)]
    # Teams of several ranks have several threads, which are not checked.
    fits = {"data-parallel": 1 < workers <= case.batch, "hybrid": not ranks and has_teams(case, workers)}
    shared = SHARED if case.start == "forward" else ()
    found += [Contender(ipc, name, workers, **where) for name in shared if fits.get(name, True)]
    found.append(Contender(bp, "intra-layer", workers, **where))
    if case.batch > 1 and layers:
        found.append(Contender(bp, "pipeline", workers, micro_batches=min(MICRO_BATCHES, case.batch), **where))
    if fits["data-parallel"]:
        found.append(Contender(bp, "data-parallel", workers, **where))
    if case.convolves:
        found = [
            one for one in found if one.execution in OF_IMAGES and not (ranks and one.execution == "data-parallel")
        ]
    return [one for one in found if not (bp.orthogonal and one.execution in SHARED)]


def net_of(case: Case) -> Net:
    """A cell as the simulator has it."""
    if case.outline and case.net:
        item = np.dtype(case.dtype).itemsize
        return named_net(case.net, case.outline, case.batch, item, case.steps_per_batch, case.start)
    return Net(case.sizes, case.batch, np.dtype(case.dtype).itemsize, case.steps_per_batch, case.start)


def predict(machine: Machine, case: Case, contender: Contender) -> Prediction:
    """What the simulator says of a contender."""
    several = contender.ranks if contender.ranks and contender.ranks > 1 else None
    return simulate(contender.algorithm, net_of(case), machine, contender.execution, contender.workers, ranks=several)


def check_cells(
    machine: Machine,
    cases: Sequence[Case],
    workers: Sequence[int],
    *,
    on_ranks: bool = False,
    optimizer: str = "sgd",
    rivals: Sequence[Algorithm] = (),
    budget: float = 1.0,
    pin: bool = True,
    done: Sequence[Checked] = (),
    on_progress: Callable[[int, int, Case, bool], None] = lambda *progress: None,
    on_error: Callable[[str], None] = lambda text: None,
) -> Iterator[list[Checked]]:
    """Predict every cell, then measure it; yields what was checked in a cell. What ``done`` holds is left out; what
    could not be measured goes to ``on_error`` in words."""
    known = {(row.cell, row.workers, row.algorithm, row.execution) for row in done}
    for number, case in enumerate(cases, 1):
        everybody = [
            c
            for count in workers
            if count <= case.depth or not on_ranks
            for c in contenders(case, count, count if on_ranks else None, optimizer, rivals)
        ]
        runners = [
            c
            for c in dict.fromkeys(everybody)
            if (_cell(case, c), c.workers, c.algorithm.name, c.execution) not in known
        ]
        on_progress(number, len(cases), case, not runners)
        if not runners:
            continue
        predictions = [predict(machine, case, c) for c in runners]
        rows = _measured(case, runners, budget, pin)
        for c, row in zip(runners, rows, strict=True):
            if row["error"] is not None:
                on_error(f"{case.name}: {c.algorithm.name} {c.execution}: {row['error']}")
        yield [
            Checked(
                p.algorithm,
                p.execution,
                p.workers,
                c.ranks,
                case.depth,
                case.width,
                case.batch,
                p.seconds,
                row["median"],
                (row["ci95"][0], row["ci95"][1]),
                p.inside,
                *_cell(case, c)[4:],
            )
            for c, p, row in zip(runners, predictions, rows, strict=True)
            if row["error"] is None
        ]


def _cell(case: Case, contender: Contender) -> tuple:
    """As ``Checked.cell``."""
    net = case.depth, case.width, case.batch, case.net, case.steps_per_batch, case.start
    return contender.ranks, *net, contender.algorithm.optimizer


def _measured(case: Case, runners: Sequence[Contender], budget: float, pin: bool) -> list[dict]:
    """The rows of a cell; measured once more where a row warns that something else went on meanwhile."""
    for _ in range(TRIES):
        rows = measure_cell(case, runners, budget=budget, pin=pin, oracle=False)
        if not any(row.get("warnings") for row in rows):
            break
    return rows


@dataclass(frozen=True)
class Score:
    """How far ``count`` predictions were off: ``mape`` the mean absolute percentage error, ``bias`` the mean error
    (both as parts of 1), ``worst`` the largest error and the cell that it is of."""

    name: str
    count: int
    mape: float
    bias: float
    worst: float
    cell: str


@dataclass(frozen=True)
class Card:
    """Scores of times by execution, of iPC ÷ BP ratios by BP's execution, the rank correlation of the ratios (Spearman)
    and how often the winner was right where the measured ratio is outside of ``NEAR``."""

    times: list[Score] = field(default_factory=list)
    ratios: list[Score] = field(default_factory=list)
    correlation: float | None = None
    winners: tuple[int, int] = (0, 0)

    @property
    def all_times(self) -> Score:
        """Of all executions."""
        return self.times[-1]

    @property
    def all_ratios(self) -> Score:
        """Of all denominators."""
        return self.ratios[-1]


def card(rows: Sequence[Checked]) -> Card:
    """The report card of what was checked; InputError if that is nothing."""
    if not rows:
        raise InputError("nothing was checked")
    groups: dict[str, list[Checked]] = {}
    for row in rows:
        where = f" on {row.workers} {'ranks' if row.ranks else 'threads'}"
        groups.setdefault(f"{row.algorithm} {row.execution}{where}", []).append(row)
    times = [_score(name, [(r.error, _name(r)) for r in found]) for name, found in sorted(groups.items())]
    times.append(_score("all", [(r.error, _name(r)) for r in rows]))
    pairs = list(_pairs(rows))
    ratios = []
    for name in dict.fromkeys(name for name, *_ in pairs):
        ratios.append(_score(name, [(p / m - 1, cell) for kind, p, m, cell in pairs if kind == name]))
    each = [(p, m, cell) for name, p, m, cell in pairs if name != "best-bp"]
    correlation = None
    if each:
        ratios.append(_score("all", [(p / m - 1, cell) for p, m, cell in each]))
        correlation = _spearman([p for p, _, _ in each], [m for _, m, _ in each])
    decided = [(p, m) for name, p, m, _ in pairs if name == "best-bp" and not NEAR[0] <= m <= NEAR[1]]
    right = sum((p < 1) == (m < 1) for p, m in decided)
    return Card(times, ratios, correlation, (right, len(decided)))


def _pairs(rows: Sequence[Checked]) -> Iterator[tuple[str, float, float, str]]:
    """(denominator, predicted ratio, measured ratio, cell) of iPC against BP on as many workers; best-bp is whichever
    of these and BP on one worker is the fastest, predicted and measured each by itself, against the fastest iPC on as
    many workers."""
    seen = set()
    for mine in rows:
        if mine.algorithm != "ipc":
            continue
        its = [
            row
            for row in rows
            if row.algorithm == "bp" and row.cell[1:] == mine.cell[1:] and bool(row.ranks) == bool(mine.ranks)
        ]
        same = [row for row in its if row.workers == mine.workers]
        for row in same:
            yield row.execution, mine.predicted / row.predicted, mine.measured / row.measured, _name(mine)
        # With more cores BP may still be fastest on one.
        rivals = [row for row in its if row.workers in (1, mine.workers)]
        if rivals and (mine.cell, mine.workers) not in seen:
            seen.add((mine.cell, mine.workers))
            ours = [r for r in rows if r.algorithm == "ipc" and (r.cell, r.workers) == (mine.cell, mine.workers)]
            predicted, measured = (
                min(getattr(row, name) for row in ours) / min(getattr(row, name) for row in rivals)
                for name in ("predicted", "measured")
            )
            yield "best-bp", predicted, measured, _name(mine)


def _name(row: Checked) -> str:
    words = [row.net or f"{row.depth} × {row.width}", *([] if row.batch == 1 else [f"batch {row.batch}"])]
    words += [f"T {row.steps_per_batch}"] if row.steps_per_batch else []
    words += [f"{row.start} start"] if row.start != "forward" else []
    words += [row.optimizer] if row.optimizer != "sgd" else []
    return ", ".join([*words, f"{row.workers} {'ranks' if row.ranks else 'threads'}"])


def _score(name: str, errors: Sequence[tuple[float, str]]) -> Score:
    plain = np.array([error for error, _ in errors])
    worst, cell = max(errors, key=lambda pair: abs(pair[0]))
    return Score(name, len(errors), float(np.abs(plain).mean()), float(plain.mean()), worst, cell)


def _spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    if len(first) < 3:
        return None
    found = float(spearmanr(first, second).statistic)
    return None if math.isnan(found) else found


def table(found: Card, format: str = "text") -> str:
    """The card as tables."""

    def rows(first: str, scores: Sequence[Score]) -> str:
        header = [first, "checked", "mean abs. error", "bias", "worst", "in"]
        body = [[s.name, s.count, f"{s.mape:.1%}", f"{s.bias:+.1%}", f"{s.worst:+.0%}", s.cell] for s in scores]
        return layout(header, body, format)

    parts = [f"Seconds per weight update, predicted against measured\n\n{rows('execution', found.times)}"]
    if found.ratios:
        parts.append(f"iPC ÷ BP, seconds per weight update, predicted against measured\n\n{rows('type', found.ratios)}")
    last = []
    if found.correlation is not None:
        last.append(f"rank correlation of the ratios (Spearman): {found.correlation:.3f}")
    right, decided = found.winners
    if decided:
        last.append(
            f"winner against best-bp right in {right} of {decided} cells with a measured ratio outside 0.9 to 1.1"
        )
    return "\n\n".join([*parts, *(["\n".join(last)] if last else [])])


def summary(found: Card) -> str:
    """One line, to stand beside predictions."""
    times = found.all_times
    text = f"times off by {times.mape:.0%} on average, {times.worst:+.0%} at worst ({times.count} checked)"
    if found.ratios:
        text += f"; ratios by {found.all_ratios.mape:.0%}"
    return text


def write(rows: Sequence[Checked], machine: Machine, path: str | Path) -> None:
    """Keep what was checked; InputError where it cannot be written."""
    content = {
        "schema": SCHEMA,
        "machine": machine.name,
        "calibrated": machine.calibrated,
        "rows": [asdict(row) for row in rows],
    }
    write_whole(json.dumps(content, indent=1, ensure_ascii=False), path)


_SECONDS: Rule = ("seconds above 0", lambda v: is_number(v) and v > 0)

_FIELDS: dict[str, Rule] = {
    **dict.fromkeys(("algorithm", "execution"), ("a text", lambda v: isinstance(v, str))),
    **dict.fromkeys(("workers", "depth", "width", "batch"), whole()),
    "ranks": or_null(whole(), ", or null"),
    **dict.fromkeys(("predicted", "measured"), _SECONDS),
    "ci95": ("[low, high] in seconds", lambda v: isinstance(v, list) and len(v) == 2 and all(map(_SECONDS[1], v))),
    "inside": FLAG,
}

# Fields that older cards lack.
_LATER: dict[str, Rule] = {
    "net": ("a text, or null", lambda v: v is None or isinstance(v, str)),
    "steps_per_batch": or_null(whole(), ", or null"),
    **dict.fromkeys(("start", "optimizer"), ("a text", lambda v: isinstance(v, str))),
}


def read(path: str | Path, machine: Machine | None = None) -> list[Checked]:
    """What was checked, by a file; InputError where it is not such a file, or of another machine than ``machine``."""
    text, path = read_text(path, "validate"), source(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema: must be {SCHEMA!r}")
    if machine is not None and content.get("machine") != machine.name:
        raise InputError(f"{path}: is of machine {content.get('machine')!r}, not of {machine.name!r}")
    if machine is not None and content.get("calibrated") != machine.calibrated:
        raise InputError(f"{path}: is of another calibration of {machine.name!r}: validate anew")
    rows = content.get("rows")
    if not isinstance(rows, list):
        raise InputError(f"{path}: rows: must be a list")
    found = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not _FIELDS.keys() <= row.keys() <= _FIELDS.keys() | _LATER.keys():
            names = ", ".join([*_FIELDS, *_LATER])
            raise InputError(f"{path}: rows[{number}]: must have the fields {names}")
        for name, (what, good) in (_FIELDS | _LATER).items():
            if name in row and not good(row[name]):
                raise InputError(f"{path}: rows[{number}].{name}: must be {what}, not {json.dumps(row[name])[:40]}")
        found.append(Checked(**{**row, "ci95": tuple(row["ci95"])}))
    return found
