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
from ..host.memory import require
from . import files
from .activations import ACTIVATIONS
from .layers import Dense
from .lazy import LazyArrays, shapes_of
from .losses import Squared

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Network:
    """A multilayer perceptron with ``mu[l+1] = scale[l] * f_l(x[l]) @ W[l].T + b[l] (+ x[l])``, f_0 the identity.

    - ``weights``: list of L arrays, ``(n[l+1], n[l])``, all float32 or all float64 (anything else is converted to
      float32), which are copied; or :class:`LazyArrays`, which stay as they are: no layer is made here, so none of
      their numbers is looked at
    - ``activation``: a name in ``ACTIVATIONS``, used by every layer but the input; or a list of L - 1 names, one for
      each hidden layer from the input, f_1 … f_{L-1} (of equal names one is kept)
    - ``biases``: list of L arrays ``(n[l+1],)`` (or :class:`LazyArrays`), or None for a net without biases
    - ``scale``: L factors (default 1); ``skip``: L truth values (default False), True where the layer adds its input,
      which then must be as wide as its output
    - ``loss``: of the output

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
    loss: Squared = field(default=Squared(), repr=False)

    def __post_init__(self) -> None:
        activation = _names(self.activation)
        if len(self.weights) == 0:
            raise InputError("a net needs at least one weight matrix")
        weights: Sequence[Array]
        if isinstance(self.weights, LazyArrays):
            weights, dtype = self.weights, _dtype(self.weights.dtype)
        else:
            given = {as_array(f"weights[{l}]", w).dtype for l, w in enumerate(self.weights)}
            dtype = np.dtype(np.float64 if given == {np.dtype(np.float64)} else np.float32)
            weights = [_numbers(w, dtype, f"weights[{l}]", 2) for l, w in enumerate(self.weights)]
        shapes = shapes_of(weights)
        for l, shape in enumerate(shapes):
            if 0 in shape:
                raise InputError(f"weights[{l}] has shape {shape}: every layer needs at least one unit")
            if l and shape[1] != shapes[l - 1][0]:
                raise InputError(
                    f"weights[{l}] has {shape[1]} columns, but weights[{l - 1}] has {shapes[l - 1][0]} rows"
                )
        depth = len(weights)
        scale = [float(s) for s in self.scale] if len(self.scale) else [1.0] * depth
        skip = [bool(s) for s in self.skip] if len(self.skip) else [False] * depth
        if len(scale) != depth or len(skip) != depth:
            raise InputError(f"scale and skip need one entry for each of the {depth} layers")
        if not isinstance(activation, str):
            if len(activation) != depth - 1:
                raise InputError(
                    f"activation lists {len(activation)} names, but the net has {depth - 1} hidden layers: "
                    "give one for each, or a single name for all"
                )
            activation = activation[0] if len(set(activation)) == 1 else activation
        if not np.all(np.isfinite(scale)):
            raise InputError("scale holds NaN or infinity")
        for l, shape in enumerate(shapes):
            if skip[l] and shape[0] != shape[1]:
                raise InputError(f"skip[{l}] needs as many outputs as inputs, but weights[{l}] has shape {shape}")
        biases = self.biases
        if biases is not None:
            if len(biases) != depth:
                raise InputError(f"biases need one entry for each of the {depth} layers")
            if not (isinstance(weights, LazyArrays) and isinstance(biases, LazyArrays)):
                biases = [_numbers(b, dtype, f"biases[{l}]", 1) for l, b in enumerate(biases)]
            elif (biases.dtype, biases.owned) != (weights.dtype, weights.owned):
                raise InputError("weights and biases differ in dtype, or in the layers that are held")
            for l, (shape, its) in enumerate(zip(shapes, shapes_of(biases), strict=True)):
                if its != shape[:1]:
                    raise InputError(f"biases[{l}] has shape {its}, expected {shape[:1]}")
        names = ("weights", "activation", "biases", "scale", "skip")
        for name, value in zip(names, (weights, activation, biases, scale, skip), strict=True):
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
    ) -> "Network":
        """A random net: weights and biases uniform in ±1/sqrt(inputs of the layer), as ``torch.nn.Linear`` starts.

        sizes: units of every layer from the input, at least two; activation: a name, or one for each hidden layer. The
        same seed gives the same net in either dtype (float32 is the float64 net rounded), and lazy or not. A lazy net
        draws a layer whenever it is asked for, and room is needed for one layer at a time.
        """
        sizes = list(sizes)
        if len(sizes) < 2:
            raise InputError(f"sizes {sizes} need at least an input and an output layer")
        for n in sizes:
            if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
                raise InputError(f"sizes {sizes}: every layer needs a whole number of units, at least 1")
        check_seed(seed)
        dtype = _dtype(dtype)
        sizes = [int(n) for n in sizes]  # NumPy's own integers would overflow in the products
        # One generator draws layer after layer, each its weights and then its biases, one step a number: a layer
        # begins after as many steps as the earlier ones have numbers.
        numbers = (rows * (columns + bool(bias)) for columns, rows in itertools.pairwise(sizes))
        starts = list(itertools.accumulate(numbers, initial=0))

        def draw(start: int, columns: int, shape: tuple[int, ...]) -> Array:
            rng = np.random.default_rng(np.random.PCG64(seed).advance(start))
            bound = 1 / np.sqrt(columns)
            return rng.uniform(-bound, bound, shape).astype(dtype, copy=False)

        def weights(l: int) -> Array:
            return draw(starts[l], sizes[l], (sizes[l + 1], sizes[l]))

        def biases(l: int) -> Array:
            return draw(starts[l] + sizes[l + 1] * sizes[l], sizes[l], (sizes[l + 1],))

        net = cls.of_layers(sizes, dtype, weights, biases if bias else None, activation, scale=scale, skip=skip)
        if lazy:
            require_weights(max(itertools.pairwise(sizes), key=math.prod), dtype)
            return net
        require_weights(sizes, dtype)
        return net.replace(list(net.weights), net.biases and list(net.biases))

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
    ) -> "Network":
        """A net whose layers are made when they are asked for (see :class:`LazyArrays`); none is made here.

        weights: gives ``W[l]``, ``(n[l+1], n[l])``, of that dtype; biases: gives ``b[l]``, ``(n[l+1],)``, or None for
        a net without biases. Both are called for layers in ``owned`` alone (default all).
        """
        shapes = [(rows, columns) for columns, rows in itertools.pairwise(sizes)]
        made = LazyArrays([shape[:1] for shape in shapes], dtype, biases, owned) if biases else None
        return cls(LazyArrays(shapes, dtype, weights, owned), activation, made, scale, skip)

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
            )
        except InputError as error:
            raise InputError(f"{stored.sheet}: {error}") from None
        stored.look_at_all()
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
        shapes = shapes_of(self.weights)
        return (shapes[0][1], *(shape[0] for shape in shapes))

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
        return tuple(
            Dense(
                sizes[l],
                sizes[l + 1],
                partial(_item, weights, l),
                None if biases is None else partial(_item, biases, l),
                name,
                self.scale[l],
                self.skip[l],
            )
            for l, name in enumerate(self.activations)
        )

    def __eq__(self, other: object) -> bool:
        """Whether two nets have the same layers, with the same numbers in the same dtype."""
        if not isinstance(other, Network):
            return NotImplemented
        if self is other:
            return True
        mine, theirs = (
            (net.dtype, net.sizes, net.activations, net.scale, net.skip, net.loss, net.owned, net.biases is None)
            for net in (self, other)
        )
        if mine != theirs:
            return False
        both = [(self.weights, other.weights), (self.biases or (), other.biases or ())]
        return all(np.array_equal(a[l], b[l], equal_nan=True) for a, b in both for l in self.owned if len(a))

    def __hash__(self) -> int:
        return hash((self.dtype, self.sizes, self.activations))

    def predict(self, l: int, x: Array) -> Array:
        """``mu[l+1]``, (B, n[l+1]), the prediction that layer l with values x, (B, n[l]), makes of the next."""
        return self.layers[l].predict(x)

    def forward(self, x: ArrayLike) -> list[Array]:
        """Values of all layers in an ordinary forward pass from ``x``, (B, n[0]): a list of L + 1 arrays (B, n[l])."""
        values = [np.asarray(x, self.dtype)]
        for layer in self.layers:
            values.append(layer.predict(values[-1]))
        return values

    def replace(self, weights: Sequence[Array], biases: Sequence[Array] | None) -> "Network":
        """The same net with other weights and biases of the same shapes, taken as they are (NaN after divergence).

        Lists give an ordinary net, also from a lazy one; :class:`LazyArrays` give a lazy one.
        """
        net = copy.copy(self)
        net.__dict__.pop("layers", None)  # which know the arrays of this net
        object.__setattr__(net, "weights", weights if isinstance(weights, LazyArrays) else list(weights))
        object.__setattr__(net, "biases", biases if biases is None or isinstance(biases, LazyArrays) else list(biases))
        return net


def _dtype(given: DTypeLike) -> np.dtype:
    """float32 or float64; InputError for anything else."""
    try:
        dtype = np.dtype(given)
    except TypeError:
        raise InputError(f"dtype {given!r} is unknown: use {' or '.join(files.DTYPES)}") from None
    if dtype not in map(np.dtype, files.DTYPES):
        raise InputError(f"dtype {dtype.name} is not supported: use {' or '.join(files.DTYPES)}")
    return dtype


def _item(arrays: Sequence[Array], l: int) -> Array:
    return arrays[l]


def _names(activation: object) -> str | list[str]:
    """A name in ``ACTIVATIONS``, or a list of such names."""
    if isinstance(activation, list | tuple):
        for i, name in enumerate(activation):
            if not isinstance(name, str) or name not in ACTIVATIONS:
                raise InputError(f"activation[{i}] {name!r} is unknown: choose from {', '.join(ACTIVATIONS)}")
        return list(activation)
    if not isinstance(activation, str):
        raise InputError(f"activation must be a name or a list of names, not of type {type(activation).__name__}")
    if activation not in ACTIVATIONS:
        raise InputError(f"activation {activation!r} is unknown: choose from {', '.join(ACTIVATIONS)}")
    return activation


def as_array(name: str, value: ArrayLike) -> Array:
    """``value`` as an array; InputError where NumPy cannot make one of it, or would drop a mask."""
    if np.ma.is_masked(value):
        raise InputError(f"{name} is a masked array: fill or leave out what is masked")
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is not an array of numbers: {error}") from None


def check_real(name: str, array: Array) -> None:
    """Raise InputError unless the array holds real numbers."""
    if array.dtype.kind not in "fiub":
        kinds = {
            "c": "complex numbers",
            "O": "Python objects",
            "U": "text",
            "S": "bytes",
            "M": "dates",
            "m": "durations",
        }
        raise InputError(f"{name} holds {kinds.get(array.dtype.kind, array.dtype)}: give real numbers")


def check_seed(seed: object) -> None:
    """Raise InputError unless ``seed`` is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, not {seed!r}")


def require_weights(sizes: Sequence[int], dtype: DTypeLike = np.float32) -> None:
    """Raise InputError if a net of those sizes cannot be made in this machine's memory."""
    counts = [m * n for n, m in itertools.pairwise(sizes)]
    # Each matrix is drawn in float64 before it is rounded.
    require(sum(counts) * np.dtype(dtype).itemsize + max(counts) * 8, f"a net of {sum(counts):,} weights")


def _numbers(value: ArrayLike, dtype: np.dtype, name: str, dimensions: int) -> Array:
    array = as_array(name, value)
    check_real(name, array)
    if array.ndim != dimensions:
        raise InputError(f"{name} must be a {dimensions}-dimensional array of real numbers, not shape {array.shape}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        array = np.array(array, dtype, order="C")  # a copy: the caller may go on with its own
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds NaN or infinity (or a number too large for {dtype.name})")
    return array
