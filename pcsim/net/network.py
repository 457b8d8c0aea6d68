"""Nets: a list of layers and a loss, made from weights, activations and the like, or read from a folder.

A net knows no algorithm and no engine.

Layers are numbered from the input: ``x[0]`` is the input, ``x[L]`` the output, and ``W[l]`` of shape
``(n[l+1], n[l])`` predicts ``x[l+1]`` from ``x[l]``, for l = 0 … L-1; L is the depth.

A net need not be in memory: its layers may be :class:`LazyArrays`, drawn, read from a folder or handed over one at a
time, and a process may hold a part of them only.
"""

import copy
import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..errors import InputError
from . import drawing, files, given
from .arrays import chained_sizes, check_skips, copies, fitting_biases, sizes_of
from .convolution import Conv2d, Convolution, Part, chained
from .extras import FEEDBACK, HEADS, drawn
from .layers import Dense
from .lazy import LazyArrays, shapes_of
from .losses import Loss, Squared, checked_loss

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Network:
    """A chain of layers with ``mu[l+1] = scale[l] * f_l(x[l]) @ W[l].T + b[l] (+ x[l])``, f_0 the identity; where a
    layer is a convolution, x[l] are images, and the product is with their patches.

    - ``weights``: list of L arrays, ``(n[l+1], n[l])``, all float32 or all float64 (anything else is converted to
      float32, with a warning where that rounds; the order of bytes changes nothing), which are copied; or
      :class:`LazyArrays`, which stay as they are: no layer is made here, so none of their numbers is looked at
    - ``activation``: a name in ``ACTIVATIONS``, used by every layer but the input; or a list of L - 1 names, one for
      each hidden layer from the input, f_1 … f_{L-1} (of equal names one is kept)
    - ``biases``: list of L arrays ``(n[l+1],)`` (or :class:`LazyArrays`), or None for a net without biases
    - ``scale``: L factors (default 1); ``skip``: L truth values (default False), True where the layer adds its input,
      which then must be as wide as its output
    - ``loss``: of the output, "squared" or "cross-entropy" (of a softmax; targets are shares)
    - ``heads``: of local losses (``pcsim.Local``), L - 1 matrices (n[L], n[l+1]), one for each hidden layer, or None;
      ``feedback``: of direct feedback alignment (``pcsim.DFA``), L - 1 matrices (n[l+1], n[L]), or None. Neither takes
      part in the net's own predictions
    - ``forms``: L entries, None for a dense layer or a :class:`Convolution`, whose ``W[l]`` has a row for each kernel;
      () for a net of dense layers

    Raises InputError if shapes do not fit, or if a number is not finite.

    >>> net = Network.mlp([784, 128, 128, 10], activation="tanh", seed=0)
    >>> net.depth, net.sizes, net.parameters
    (3, (784, 128, 128, 10), 118016)
    >>> net.layers[1]
    Dense(inputs=128, outputs=128, activation='tanh', scale=1.0, skip=False)
    """

    weights: Sequence[Array]
    activation: str | Sequence[str] = "tanh"
    biases: Sequence[Array] | None = None
    scale: Sequence[float] = ()
    skip: Sequence[bool] = ()
    loss: Loss = field(default=Squared(), repr=False)  # or its name
    heads: Sequence[Array] | None = field(default=None, repr=False)
    feedback: Sequence[Array] | None = field(default=None, repr=False)
    forms: Sequence[Convolution | None] = ()

    def __post_init__(self) -> None:
        activation = given.checked_names(self.activation)
        weights: Sequence[Array]
        if isinstance(self.weights, LazyArrays):
            weights, dtype = self.weights, given.checked_dtype(self.weights.dtype)
        else:
            weights = copies("weights", self.weights, 2)
            dtype = weights[0].dtype if weights else np.dtype(np.float32)
        if len(weights) == 0:
            raise InputError("a net needs at least one weight matrix")
        shapes = shapes_of(weights)
        for l, shape in enumerate(shapes):
            if 0 in shape:
                raise InputError(f"weights[{l}] has shape {shape}: every layer needs at least one unit")
        depth = len(weights)
        forms = given.checked_forms(self.forms, shapes)
        sizes = chained_sizes(shapes, forms)
        scale, skip = given.checked_scale(self.scale, depth), given.checked_skip(self.skip, depth)
        if not isinstance(activation, str):
            if len(activation) != depth - 1:
                raise InputError(
                    f"activation lists {len(activation)} names, but the net has {depth - 1} hidden layers: "
                    "give one for each, or a single name for all"
                )
            activation = activation[0] if len(set(activation)) == 1 else activation
        check_skips(skip, sizes, shapes, forms)
        biases = fitting_biases(self.biases, weights, dtype, shapes)
        names = ("weights", "activation", "biases", "scale", "skip", "loss", HEADS, FEEDBACK, "forms")
        extras = (given.checked_extras(name, getattr(self, name), sizes, dtype) for name in (HEADS, FEEDBACK))
        found = (weights, activation, biases, scale, skip, checked_loss(self.loss), *extras, forms)
        for name, value in zip(names, found, strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def mlp(
        cls,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "tanh",
        *,
        bias: bool = False,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        scale: Sequence[float] = (),
        skip: Sequence[bool] = (),
        lazy: bool = False,
        loss: Loss | str = "squared",
        parameterisation: str = "sp",
        start: str | None = None,
    ) -> "Network":
        """A random net: weights and biases uniform in ±1/sqrt(inputs of the layer), as ``torch.nn.Linear`` starts.

        sizes: units of every layer from the input, at least two; activation: a name, or one for each hidden layer. The
        same seed gives the same net in either dtype (float32 is the float64 net rounded), and lazy or not. A lazy net
        draws a layer whenever it is asked for, and room is needed for one layer at a time.

        parameterisation: "sp" (the standard one), "ntp" or "mupc", which set ``scale``, see
        ``pcsim/net/drawing.py``; their weights are normal of variance 1, and biases 0. start: of the standard
        one "uniform", "kaiming" or "orthogonal" (biases are 0 but for the first).
        """
        sizes = given.checked_sizes(sizes)
        shapes = [(rows, columns) for columns, rows in itertools.pairwise(sizes)]
        how = drawing.How(bias, seed, dtype, parameterisation, start)
        return cls._random(shapes, how, (), activation, scale, skip, given.checked_truth("lazy", lazy), loss)

    @classmethod
    def cnn(
        cls,
        image: Sequence[int],
        parts: Sequence[Part | int],
        activation: str | Sequence[str] = "tanh",
        *,
        bias: bool = False,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        skip: Sequence[bool] = (),
        loss: Loss | str = "squared",
        parameterisation: str = "sp",
        start: str | None = None,
    ) -> "Network":
        """A random net of convolutions and dense layers; everything else as in :meth:`mlp`.

        image: height, width and channels of the input; parts: of each layer what :func:`pcsim.conv` gives, or the units
        of a dense layer, above which there are only dense ones.

        >>> from pcsim import conv
        >>> net = Network.cnn((28, 28, 1), [conv(8, 5, stride=2, padding=2), conv(16, 3, pool="max"), 10])
        >>> net.sizes, [w.shape for w in net.weights]
        ((784, 1568, 576, 10), [(8, 25), (16, 72), (10, 576)])
        """
        forms, shapes = chained(image, parts)
        how = drawing.How(bias, seed, dtype, parameterisation, start)
        return cls._random(shapes, how, forms, activation, (), skip, False, loss)

    @classmethod
    def _random(
        cls,
        shapes: Sequence[tuple[int, int]],
        how: drawing.How,
        forms: Sequence[Convolution | None],
        activation: str | Sequence[str],
        scale: Sequence[float],
        skip: Sequence[bool],
        lazy: bool,
        loss: Loss | str,
    ) -> "Network":
        given.require_weights([max(shapes, key=math.prod)] if lazy else shapes, how.dtype)
        draw = drawing.Draw(shapes, how)
        arrays = LazyArrays(shapes, how.dtype, draw.weights)
        biases = LazyArrays([shape[:1] for shape in shapes], how.dtype, draw.biases) if how.bias else None
        factors = how.scales(shapes, skip, scale)
        net = cls(arrays, activation, biases, factors, skip, checked_loss(loss), forms=forms)
        return net if lazy else with_arrays(net, list(net.weights), net.biases and list(net.biases))

    @classmethod
    def of_layers(
        cls,
        sizes: Sequence[int],
        dtype: DTypeLike,
        weights: Callable[[int], Array],
        biases: Callable[[int], Array] | None = None,
        activation: str | Sequence[str] = "tanh",
        *,
        scale: Sequence[float] = (),
        skip: Sequence[bool] = (),
        owned: range | None = None,
        loss: Loss | str = "squared",
        forms: Sequence[Convolution | None] = (),
    ) -> "Network":
        """A net whose layers are made when they are asked for (see :class:`LazyArrays`); none is made here.

        weights: gives ``W[l]``, ``(n[l+1], n[l])``, of that dtype (where ``forms[l]`` is a convolution, its ``shape``);
        biases: gives ``b[l]``, one for each row of it, or None for a net without biases. Both are called for layers in
        ``owned`` alone (default all).
        """
        shapes = [(rows, columns) for columns, rows in itertools.pairwise(given.checked_sizes(sizes, 0, 0))]
        if forms:
            shapes = [form.shape if form else shape for form, shape in zip(forms, shapes, strict=True)]
        dtype = given.checked_dtype(dtype)
        made = LazyArrays([shape[:1] for shape in shapes], dtype, biases, owned) if biases else None
        arrays = LazyArrays(shapes, dtype, weights, owned)
        return cls(arrays, activation, made, scale, skip, checked_loss(loss), forms=forms)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Network":
        """The net that :meth:`save` wrote into a folder, lazy: a layer is read whenever it is asked for.

        Every layer's file is looked at here, but of its data nothing is read. Numbers are taken as they are: the NaN
        of a diverged net is not an error.

        Raises InputError, also when a layer is asked for, with the name of the file that is missing, unreadable or of
        another shape or dtype than network.json says, or of the field that is wrong there.
        """
        stored = files.Stored(folder)
        try:
            net = cls.of_layers(
                stored.sizes,
                stored.dtype,
                stored.weights,
                stored.biases if stored.bias else None,
                stored.activation,
                scale=stored.scale,
                skip=stored.skip,
                loss=stored.loss,
                forms=stored.forms,
            )
            if net.sizes != tuple(stored.sizes):
                raise InputError(f"sizes are {stored.sizes}; those of its forms are {list(net.sizes)}")
        except InputError as error:
            raise InputError(f"{stored.sheet}: {error}") from None
        stored.look_at_all()
        for name in stored.extras:
            object.__setattr__(net, name, stored.extra(name))
        return net

    def save(self, folder: str | os.PathLike[str], wait: Callable[[], object] | None = None) -> None:
        """Write the layers in ``owned`` into a folder, which is made if it is not there, one layer at a time.

        The folder gets ``weights-00000.npy``, ``biases-00000.npy`` and so on, and last, from the holder of layer 0,
        ``network.json`` (schema ``pcsim-network/1``): without it the folder holds no net. Numbers are written as they
        are, NaN too. Processes that hold a part each save into the same folder at the same time and give a barrier as
        ``wait``, which is called when the layers of this process are written; without one, layer 0's holder has to be
        the last to save.

        Raises InputError if the folder holds a network.json already (nothing is written then), or cannot be written.
        """
        files.write(self, folder, wait)

    @property
    def depth(self) -> int:
        """L, the number of weight matrices."""
        return len(self.weights)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, from the input: L + 1 numbers."""
        return sizes_of(shapes_of(self.weights), self.forms)

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64: that of the weights, and of everything computed from them."""
        return self.weights.dtype if isinstance(self.weights, LazyArrays) else self.weights[0].dtype

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(map(math.prod, [*shapes_of(self.weights), *shapes_of(self.biases or ())]))

    @property
    def lazy(self) -> bool:
        """Whether layers are made when they are asked for; otherwise all are in memory."""
        return isinstance(self.weights, LazyArrays)

    @property
    def owned(self) -> range:
        """The layers that this process holds: all of them, unless the net was made of a part."""
        return self.weights.owned if isinstance(self.weights, LazyArrays) else range(self.depth)

    @property
    def activations(self) -> tuple[str, ...]:
        """Names of f_0 … f_{L-1}: the identity for the input, then the function of each hidden layer."""
        hidden = [self.activation] * (self.depth - 1) if isinstance(self.activation, str) else self.activation
        return ("identity", *hidden)

    @cached_property
    def layers(self) -> tuple[Dense, ...]:
        """The L layers, ``layers[l]`` with ``W[l]`` and f_l; none of their arrays is made here."""
        weights, biases, sizes = self.weights, self.biases, self.sizes
        found: list[Dense] = []
        for l, name in enumerate(self.activations):
            make = partial(_item, weights, l), None if biases is None else partial(_item, biases, l)
            common = sizes[l], sizes[l + 1], *make, name, self.scale[l], self.skip[l]
            form = self.forms[l] if self.forms else None
            found.append(Conv2d(*common, form=form) if form else Dense(*common))
        return tuple(found)

    @property
    def _kind(self) -> tuple[object, ...]:
        """Everything about it but its numbers."""
        biases = self.biases is None
        return (
            self.dtype,
            self.sizes,
            self.activations,
            self.scale,
            self.skip,
            self.loss,
            self.owned,
            biases,
            self.forms,
        )

    def __eq__(self, other: object) -> bool:
        """Whether two nets have the same layers, with the same numbers in the same dtype."""
        if not isinstance(other, Network):
            return NotImplemented
        if self is other:
            return True
        mine, theirs = (net._kind for net in (self, other))
        if mine != theirs:
            return False
        both = [(self.weights, other.weights), (self.biases or (), other.biases or ())]
        if not all(np.array_equal(a[l], b[l], equal_nan=True) for a, b in both for l in self.owned if len(a)):
            return False
        extras = [(self.heads or (), other.heads or ()), (self.feedback or (), other.feedback or ())]
        return all(
            len(a) == len(b) and all(np.array_equal(m, n, equal_nan=True) for m, n in zip(a, b, strict=True))
            for a, b in extras
        )

    def __hash__(self) -> int:
        return hash((self.dtype, self.sizes, self.activations))

    def predict(self, l: int, x: Array) -> Array:
        """``mu[l+1]``, (B, n[l+1]), the prediction that layer l with values x, (B, n[l]), makes of the next."""
        return self.layers[l].predict(x)

    def forward(self, x: ArrayLike) -> list[Array]:
        """Values of all layers in an ordinary forward pass from ``x``, (B, n[0]): a list of L + 1 arrays (B, n[l])."""
        first = given.as_array("x", x)
        if first.ndim != 2 or first.shape[1] != self.sizes[0]:
            raise InputError(
                f"x must be a table of numbers with {self.sizes[0]} columns, one a unit of the input, not shape "
                f"{first.shape}"
            )
        values = [first.astype(self.dtype, copy=False)]
        for layer in self.layers:
            values.append(layer.predict(values[-1]))
        return values

    def with_extras(self, name: str, seed: int = 0) -> "Network":
        """The same net with ``"heads"`` or ``"feedback"``: its own, or drawn from the seed where it has none."""
        if getattr(self, name) is not None:
            return self
        other = copy.copy(self)
        object.__setattr__(other, name, drawn(name, self.sizes, seed, self.dtype))
        return other

    def replace(self, weights: Sequence[Array], biases: Sequence[Array] | None) -> "Network":
        """The same net with other weights and biases of the same shapes, which are copied, NaN after divergence too.

        Lists give an ordinary net, also from a lazy one; :class:`LazyArrays`, which stay as they are, give a lazy one.
        Raises InputError if shapes do not fit.
        """
        taken: Sequence[Array] = weights
        if not isinstance(weights, LazyArrays):
            taken = copies("weights", weights, 2, finite=False)
        expected = shapes_of(self.weights)
        if len(taken) != len(expected):
            raise InputError(f"weights are {len(taken)} arrays; expected {len(expected)}, one a layer")
        for l, (shape, its) in enumerate(zip(shapes_of(taken), expected, strict=True)):
            if shape != its:
                raise InputError(f"weights[{l}] has shape {shape}, expected {its}")
        dtype = taken.dtype if isinstance(taken, LazyArrays) else taken[0].dtype
        return with_arrays(self, taken, fitting_biases(biases, taken, dtype, expected, finite=False))


def with_arrays(net: Network, weights: Sequence[Array], biases: Sequence[Array] | None) -> Network:
    """The same net with these very arrays, which are the net's own from here on: for those who have just made them."""
    other = copy.copy(net)
    other.__dict__.pop("layers", None)  # which know the arrays of this net
    object.__setattr__(other, "weights", weights)
    object.__setattr__(other, "biases", biases)
    return other


def _item(arrays: Sequence[Array], l: int) -> Array:
    return arrays[l]
