"""What is priced: one task of the kernels, and its cost in seconds."""

from __future__ import annotations

from typing import NamedTuple

from ..schedule.orthogonal import multiplications

# What a worker does in one go; the names of the events of a timeline. A pass does several at once.
PARTS = ("start", "predict", "backproject", "update", "values")

SPLIT = ("gradient", "descend")  # an update whose gradient is summed over ranks in between

# Beside the parts: rows of a new batch copied; what an optimiser adds to an update, by how many numbers it keeps.
LOAD, RULES = "load", {1: "momentum", 2: "adam"}

RULE_FLOPS = {0: 0, 1: 2, 2: 12}  # of each weight

ITEMS = {"float32": 4, "float64": 8}  # bytes

MOST = 2**31 - 1  # workers, units of a layer


# What a convolution's work consists of beside products: patches and pools, there and back; predictions subtracted;
# drives times slopes; activations. Of a skip: the input added to what is predicted, and errors to what is driven.
PASSES = ("gather", "scatter", "pool", "unpool", "subtract", "slope", "activate")

SKIPS = {"start": "skip", "predict": "skip", "backproject": "skip back"}


class Form(NamedTuple):
    """A convolution of one sample: ``filters`` kernels of ``columns`` numbers, ``run`` of them side by side in memory;
    ``positions`` patches of an image of ``below`` units, ``above`` units after the pool, if it is ``pooled``.
    ``at_once``: samples whose patches are multiplied at a time; ``layer``: which it is (the input is not activated)."""

    filters: int
    columns: int
    positions: int
    run: int
    pooled: bool
    at_once: int
    below: int
    above: int
    layer: int


class Task(NamedTuple):
    """Work that is priced: ``work`` names what is done, joined by "+", with ``rows`` × ``columns`` weights.

    ``distance``: bytes that the worker goes through until it comes back to these weights, which are found in a cache of
    that size; ``crowd``: how many times as many all go through who have a cache in common with it. ``workers``: how
    many are at work at the same time; ``together``: whether they do the same, and so share bandwidth all the time;
    ``moments``: how many numbers the optimiser keeps of each weight; ``orthogonal``: whether it is Muon, with products
    of its own in an update. Of ``load``, ``batch`` rows of ``columns`` units
    are copied. ``form``: of a convolution, whose products are made at all positions of ``batch`` samples; also where
    its input is moved or copied; ``skip``: whether the layer adds its input.
    """

    work: str
    rows: int
    columns: int
    batch: int
    item: int
    distance: float
    workers: int
    crowd: float = 1.0
    together: bool = True
    moments: int = 0
    orthogonal: bool = False
    form: Form | None = None
    skip: bool = False

    @property
    def updates(self) -> bool:
        """Whether weights change."""
        return "update" in self.work.split("+") or self.work == "descend"

    @property
    def products(self) -> list[str]:
        """The products among the work."""
        return [part for part in self.work.split("+") if part not in ("values", "descend", LOAD)]

    @property
    def flops(self) -> float:
        """Flop of the products; elementwise work is left out."""
        own = 2.0 * multiplications(self.rows, self.columns) if self.orthogonal and self.updates else 0.0
        return 2.0 * len(self.products) * self.rows * self.columns * self.samples + own

    @property
    def samples(self) -> int:
        """Rows of the products: those of the batch, times the positions of a convolution."""
        return self.batch * (self.form.positions if self.form else 1)

    @property
    def bytes(self) -> float:
        """Bytes of weights read, and written where they update: once for all products of a batch of one. What the
        optimiser keeps is read and written too. Of a new batch, the bytes of its rows."""
        size, parts = float(self.rows * self.columns * self.item), self.products
        if self.work == LOAD:
            return size * self.batch
        if self.work == "descend":
            return (3 + 2 * self.moments) * size
        if not parts:
            return 0.0
        if self.work == "gradient":  # it writes, but reads no weights
            return size
        passes = 1 if self.batch == 1 else len(parts)
        return size * (passes + ("update" in parts) * (1 + 2 * self.moments))


class Cost(NamedTuple):
    """Seconds, and how many of them are spent on getting weights from memory; ``inside``: of the calibrated range."""

    seconds: float
    memory: float
    inside: bool = True

    def plus(self, other: Cost) -> Cost:
        """Both, one after the other."""
        return Cost(self.seconds + other.seconds, self.memory + other.memory, self.inside and other.inside)
