"""What a convolution's work consists of: products of BLAS with the patches of some samples at a time, and passes over
patches and images before and behind them. Nothing here knows seconds."""

from __future__ import annotations

from typing import NamedTuple

from .prices import Task

MULTIPLY = ("predict", "backproject", "update")  # products; START and GRADIENT are such too

_PRODUCTS = {"start": "predict", "predict": "predict", "backproject": "backproject", "update": "update"}
_PRODUCTS["gradient"] = "update"


class Piece(NamedTuple):
    """One pass: ``batch`` rows of a product with ``rows`` × ``columns`` weights, ``times`` of them; of what is no
    product, ``rows`` runs of ``columns`` numbers side by side, of each of which ``moved`` are read or written."""

    work: str
    rows: int
    columns: int
    batch: int = 1
    times: int = 1
    moved: float = 0.0

    @property
    def multiplies(self) -> bool:
        """Whether it is a product."""
        return self.moved == 0


def pieces(task: Task) -> list[Piece]:
    """Of a task with a form, in the order in which kernels make them (``kernels.layers.convolution``)."""
    form, parts = task.form, task.work.split("+")
    if form is None:
        raise AssertionError("a dense layer has no pieces")
    B, found = task.batch, list[Piece]()
    patches = B * form.positions * (form.columns // form.run), form.run
    filtered, above, below = (B * form.positions, form.filters), (B, form.above), (B, form.below)
    gathers, backwards = {"start", "predict", "update", "gradient"}, {"backproject", "update", "gradient"}
    if "start" in parts:
        found.append(Piece("activate" if form.layer else "subtract", *below, moved=3))
    if gathers & {*parts}:
        found.append(Piece("gather", *patches, moved=2))
    for part in parts:
        if part in ("start", "predict"):
            found += _products(task, part)
            if form.pooled:
                found.append(Piece("pool", *filtered, moved=1 + 2 * form.above / (form.positions * form.filters)))
        if part == "predict":
            found.append(Piece("subtract", *above, moved=3))
    if form.pooled and backwards & {*parts}:
        found.append(Piece("unpool", *filtered, moved=1 + 2 * form.above / (form.positions * form.filters)))
    for part in parts:
        if part in ("update", "gradient", "backproject"):
            found += _products(task, part)
        if part == "backproject":
            found += [Piece("scatter", *patches, moved=3), Piece("slope", *below, moved=4)]
        if part in ("update", "descend"):  # the gradient is set to zero, and weights move by it
            found.append(Piece("descend", task.rows, task.columns, moved=4))
    return found


def _products(task: Task, part: str) -> list[Piece]:
    form, work = task.form, _PRODUCTS[part]
    assert form is not None
    whole, rest = divmod(task.batch, form.at_once)
    sizes = [(form.at_once * form.positions, whole), (rest * form.positions, 1)]
    return [Piece(work, task.rows, task.columns, rows, times) for rows, times in sizes if rows and times]
