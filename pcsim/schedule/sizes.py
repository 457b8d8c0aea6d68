"""Sizes of a net's layers, as far as counts need them: numbers alone, from whoever knows the net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ..checks import whole_number
from ..errors import InputError
from .orthogonal import multiplications
from .tasks import Kind, TaskGraph

# Products of a head or of a fixed feedback matrix: (classes, n[l+1]), where a layer's are with W[l].
SMALL = frozenset({Kind.HEAD, Kind.FEEDBACK, Kind.HEAD_UPDATE})

BYTES = 4  # of a float32


@dataclass(frozen=True)
class LayerSizes:
    """``units``: n[0] … n[L]; ``shapes``: rows and columns of each ``W[l]``; ``positions``: how many columns a product
    with ``W[l]`` has for one sample, 1 where the layer is dense and as many as an image has patches where it is a
    convolution; ``classes``: rows of the heads of local losses, and of feedback.

    An identity skip around a layer has no place here: it adds no product and, since the worker of ``W[l]`` has both
    x[l] and e[l+1], no message. InputError for numbers that are none, or that are not of as many layers.
    """

    units: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    positions: tuple[int, ...]
    classes: int

    def __post_init__(self) -> None:
        whole_number("classes", self.classes)
        if not len(self.units) - 1 == len(self.shapes) == len(self.positions) >= 1:
            raise InputError(
                f"a net of {len(self.units) - 1} layers needs as many shapes and positions, not {len(self.shapes)} and "
                f"{len(self.positions)}"
            )
        for number in (*self.units, *self.positions, *(side for shape in self.shapes for side in shape)):
            whole_number("a size of a layer", number)

    @classmethod
    def equal(cls, depth: int, width: int, classes: int) -> LayerSizes:
        """Dense layers of ``width`` units each, the output's included."""
        depth, width = whole_number("depth", depth), whole_number("width", width)
        return cls((width,) * (depth + 1), ((width, width),) * depth, (1,) * depth, classes)

    @classmethod
    def dense(cls, units: Sequence[int]) -> LayerSizes:
        """Dense layers between so many units, the last of which are classes."""
        shapes = tuple((above, below) for below, above in pairwise(units))
        return cls(tuple(units), shapes, (1,) * len(shapes), units[-1])

    @property
    def depth(self) -> int:
        """L, the number of weight matrices."""
        return len(self.shapes)

    @property
    def alike(self) -> bool:
        """Whether all layers have the same sizes."""
        return len(set(self.units)) == len(set(self.shapes)) == len(set(self.positions)) == 1

    @property
    def weights(self) -> tuple[int, ...]:
        """Of each layer."""
        return tuple(rows * columns for rows, columns in self.shapes)

    @property
    def multiplications(self) -> tuple[int, ...]:
        """Of one product of each layer, for one sample."""
        return tuple(times * count for times, count in zip(self.positions, self.weights, strict=True))

    @property
    def mean(self) -> Fraction:
        """Multiplications of the average layer's product, for one sample: the unit of span."""
        return Fraction(sum(self.multiplications), self.depth)

    @property
    def heads(self) -> tuple[int, ...]:
        """Weights of the head, or the feedback matrix, of each layer; multiplications of its product, for a sample."""
        return tuple(self.classes * above for above in self.units[1:])

    def of_products(self, batch: int = 1) -> dict[Kind, tuple[int, ...]]:
        """Multiplications of a task of each kind, for each layer and ``batch`` samples; Muon's have nothing to do with
        how many samples there are."""
        layers = tuple(batch * count for count in self.multiplications)
        found = dict.fromkeys((Kind.START, Kind.PREDICT, Kind.BACKPROJECT, Kind.UPDATE), layers)
        found |= dict.fromkeys(SMALL, tuple(batch * count for count in self.heads))
        if self.alike:  # of the matrices of each sample
            found[Kind.COMBINE] = (batch * self.units[0] ** 3,) * self.depth
        found[Kind.ORTHOGONALISE] = tuple(multiplications(*shape) for shape in self.shapes)
        found[Kind.HEAD_ORTHOGONALISE] = tuple(multiplications(self.classes, above) for above in self.units[1:])
        return found

    def of_weights(self) -> dict[Kind, tuple[int, ...]]:
        """Weights that a product of each kind reads, for each layer; Muon's and those of Jacobians read none."""
        found = dict.fromkeys((Kind.START, Kind.PREDICT, Kind.BACKPROJECT, Kind.UPDATE), self.weights)
        return found | dict.fromkeys(SMALL, self.heads)

    def sent(self, kind: Kind, layer: int) -> int:
        """Numbers, for one sample, in the message that hands on what a task makes: values or errors of the layer above
        from a prediction; a drive, or an error, of the layer below from what goes back."""
        return self.units[layer + 1] if kind in (Kind.START, Kind.PREDICT) else self.units[layer]

    def check(self, graph: TaskGraph) -> None:
        """InputError for a graph that these are not the sizes of."""
        if graph.depth != self.depth:
            raise InputError(f"these are sizes of {self.depth} layers, and the graph has {graph.depth}")
        if not self.alike and bool((graph.kinds == Kind.COMBINE).any()):
            raise InputError("BP by a scan is counted for layers that are all alike: give depths")
