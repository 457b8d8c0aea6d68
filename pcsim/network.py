"""Nets: sizes, weights, activation, and how each layer predicts the next. It knows no algorithm and no engine.

Layers are numbered from the input: ``x[0]`` is the input, ``x[L]`` the output, and ``W[l]`` of shape
``(n[l+1], n[l])`` predicts ``x[l+1]`` from ``x[l]``, for l = 0 … L-1; L is the depth.

A net need not be in memory: its layers may be :class:`Layers`, drawn, read from a folder or handed over one at a time,
and a process may hold a part of them only.
"""

import copy
import itertools
import json
import math
import os
import reprlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .errors import InputError
from .memory import require

Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit

    return expit(x)


def _normal(x: Array) -> tuple[Array, Array]:
    """The standard normal distribution function and density at x."""
    from scipy.special import ndtr

    return ndtr(x), np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


def _gelu_slope(x: Array) -> Array:
    distribution, density = _normal(x)
    return distribution + x * density


# name: (f, f'); GELU is the exact one, x times the normal distribution function.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "identity": (lambda x: x, np.ones_like),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, 0.01)),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "gelu": (lambda x: x * _normal(x)[0], _gelu_slope),
}


SCHEMA = "pcsim-network/1"
_SHEET = "network.json"
_DTYPES = ("float32", "float64")


def _list_of(entry: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, list) and all(map(entry, v))


def _whole(v: Any) -> bool:
    return isinstance(v, int) and not isinstance(v, bool) and v > 0


def _finite(v: Any) -> bool:
    # One comparison refuses NaN, infinities and integers beyond what a float holds.
    return isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= sys.float_info.max


# What a net's network.json holds.
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "schema": (repr(SCHEMA), lambda v: v == SCHEMA),
    "sizes": ("a list of two or more whole numbers, each 1 or more", lambda v: _list_of(_whole)(v) and len(v) > 1),
    "activation": ("one of " + ", ".join(ACTIVATIONS), lambda v: isinstance(v, str) and v in ACTIVATIONS),
    "dtype": (" or ".join(_DTYPES), lambda v: v in _DTYPES),
    "bias": ("true or false", lambda v: isinstance(v, bool)),
    "scale": ("a list of finite numbers", _list_of(_finite)),
    "skip": ("a list of truth values", _list_of(lambda s: isinstance(s, bool))),
}


class Layers(Sequence[Array]):
    """One array a layer, made whenever it is asked for and kept by nobody here: ``layers[l]`` is ``make(l)``.

    shapes: of the arrays, ``(n[l+1], n[l])`` for weights and ``(n[l+1],)`` for biases; dtype: of all of them.
    owned: the layers that this process holds, a block of them (default all, may be empty).

    Iteration goes one array at a time; a slice is a list of arrays, all of them in memory.

    Raises InputError for a layer that is not held, and if ``owned`` is no block of the layers.

    >>> halves = Layers([(2, 2), (1, 2)], np.float32, lambda l: np.full([(2, 2), (1, 2)][l], 0.5, np.float32))
    >>> len(halves), halves.owned, halves[-1]
    (2, range(0, 2), array([[0.5, 0.5]], dtype=float32))
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        dtype: DTypeLike,
        make: Callable[[int], Array],
        owned: range | None = None,
    ) -> None:
        self.shapes, self.dtype, self.make = tuple(shapes), np.dtype(dtype), make
        self.owned = range(len(self.shapes)) if owned is None else owned
        if self.owned and (self.owned.step != 1 or self.owned[0] < 0 or self.owned[-1] >= len(self.shapes)):
            raise InputError(f"owned {self.owned} is no block of the {len(self.shapes)} layers")

    def __len__(self) -> int:
        return len(self.shapes)

    @overload
    def __getitem__(self, l: int) -> Array: ...
    @overload
    def __getitem__(self, l: slice) -> list[Array]: ...
    def __getitem__(self, l: int | slice) -> Array | list[Array]:
        if isinstance(l, slice):
            return [self[k] for k in range(len(self))[l]]
        l = range(len(self))[l]  # counts from the end, too, and raises IndexError, with which an iteration ends
        if l not in self.owned:
            held = f"it holds layers {self.owned[0]} to {self.owned[-1]}" if self.owned else "it holds none"
            raise InputError(f"layer {l} is not held by this process: {held}")
        return self.make(l)


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron with ``mu[l+1] = scale[l] * f_l(x[l]) @ W[l].T + b[l] (+ x[l])``, f_0 the identity.

    weights: list of L arrays, ``(n[l+1], n[l])``, all float32 or all float64 (anything else is converted to float32);
    or :class:`Layers`, which stay as they are: no layer is made here, so none of their numbers is looked at.
    activation: a name in ``ACTIVATIONS``, used by every layer but the input.
    biases: list of L arrays ``(n[l+1],)`` (or :class:`Layers`), or None for a net without biases.
    scale: L factors (default 1); skip: L truth values (default False), True where the layer adds its input, which
    then must be as wide as its output.

    Raises InputError if shapes do not fit, or if a number is not finite.

    >>> net = Network.mlp([784, 128, 128, 10], activation="tanh", seed=0)
    >>> net.depth, net.sizes, net.parameters
    (3, (784, 128, 128, 10), 118016)
    """

    weights: Sequence[Array]
    activation: str = "tanh"
    biases: Sequence[Array] | None = None
    scale: Sequence[float] = ()
    skip: Sequence[bool] = ()

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation {self.activation!r} is unknown: choose from {', '.join(ACTIVATIONS)}")
        if len(self.weights) == 0:
            raise InputError("a net needs at least one weight matrix")
        weights: Sequence[Array]
        if isinstance(self.weights, Layers):
            weights, dtype = self.weights, self.weights.dtype
            if dtype not in map(np.dtype, _DTYPES):
                raise InputError(f"dtype {dtype.name} is not supported: use {' or '.join(_DTYPES)}")
        else:
            given = {as_array(f"weights[{l}]", w).dtype for l, w in enumerate(self.weights)}
            dtype = np.dtype(np.float64 if given == {np.dtype(np.float64)} else np.float32)
            weights = [_numbers(w, dtype, f"weights[{l}]", 2) for l, w in enumerate(self.weights)]
        shapes = _shapes(weights)
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
        if not np.all(np.isfinite(scale)):
            raise InputError("scale holds NaN or infinity")
        for l, shape in enumerate(shapes):
            if skip[l] and shape[0] != shape[1]:
                raise InputError(f"skip[{l}] needs as many outputs as inputs, but weights[{l}] has shape {shape}")
        biases = self.biases
        if biases is not None:
            if len(biases) != depth:
                raise InputError(f"biases need one entry for each of the {depth} layers")
            if not (isinstance(weights, Layers) and isinstance(biases, Layers)):
                biases = [_numbers(b, dtype, f"biases[{l}]", 1) for l, b in enumerate(biases)]
            elif (biases.dtype, biases.owned) != (weights.dtype, weights.owned):
                raise InputError("weights and biases differ in dtype, or in the layers that are held")
            for l, (shape, its) in enumerate(zip(shapes, _shapes(biases), strict=True)):
                if its != shape[:1]:
                    raise InputError(f"biases[{l}] has shape {its}, expected {shape[:1]}")
        for name, value in zip(("weights", "biases", "scale", "skip"), (weights, biases, scale, skip), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def mlp(
        cls,
        sizes: Sequence[int],
        activation: str = "tanh",
        *,
        bias: bool = False,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        scale: Sequence[float] = (),
        skip: Sequence[bool] = (),
        lazy: bool = False,
    ) -> "Network":
        """A random net: weights and biases uniform in ±1/sqrt(inputs of the layer), as ``torch.nn.Linear`` starts.

        sizes: units of every layer from the input, at least two. The same seed gives the same net in either dtype
        (float32 is the float64 net rounded), and lazy or not. A lazy net draws a layer whenever it is asked for,
        and room is needed for one layer at a time.
        """
        sizes = list(sizes)
        if len(sizes) < 2:
            raise InputError(f"sizes {sizes} need at least an input and an output layer")
        for n in sizes:
            if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
                raise InputError(f"sizes {sizes}: every layer needs a whole number of units, at least 1")
        check_seed(seed)
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
        activation: str = "tanh",
        *,
        scale: Sequence[float] = (),
        skip: Sequence[bool] = (),
        owned: range | None = None,
    ) -> "Network":
        """A net whose layers are made when they are asked for (see :class:`Layers`); none is made here.

        weights: gives ``W[l]``, ``(n[l+1], n[l])``, of that dtype; biases: gives ``b[l]``, ``(n[l+1],)``, or None for
        a net without biases. Both are called for layers in ``owned`` alone (default all).
        """
        shapes = [(rows, columns) for columns, rows in itertools.pairwise(sizes)]
        made = Layers([shape[:1] for shape in shapes], dtype, biases, owned) if biases else None
        return cls(Layers(shapes, dtype, weights, owned), activation, made, scale, skip)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Network":
        """The net that :meth:`save` wrote into a folder, lazy: a layer is read whenever it is asked for.

        Every layer's file is looked at here, but of its data nothing is read. Numbers are taken as they are: the NaN
        of a diverged net is no error.

        Raises InputError, also when a layer is asked for, with the name of the file that is missing, unreadable or of
        another shape or dtype than network.json says, or of the field that is wrong there.
        """
        folder = Path(folder).absolute()  # layers are read later, perhaps from another working directory
        sheet = _read_sheet(folder / _SHEET)
        sizes, dtype = sheet["sizes"], np.dtype(sheet["dtype"])

        def weights(l: int, read: bool = True) -> Array:
            return _stored(_file(folder, "weights", l), (sizes[l + 1], sizes[l]), dtype, read)

        def biases(l: int, read: bool = True) -> Array:
            return _stored(_file(folder, "biases", l), (sizes[l + 1],), dtype, read)

        made = biases if sheet["bias"] else None
        try:
            net = cls.of_layers(
                sizes, dtype, weights, made, sheet["activation"], scale=sheet["scale"], skip=sheet["skip"]
            )
        except InputError as error:
            raise InputError(f"{folder / _SHEET}: {error}") from None
        for l in range(net.depth):
            weights(l, read=False)
            if made:
                made(l, read=False)
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
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = os.path.lexists(folder / _SHEET)
        except (OSError, ValueError) as error:  # ValueError: a path that no system can have
            raise InputError(f"{folder} cannot be written: {_reason(error)}") from None
        if taken:
            raise InputError(f"{folder / _SHEET} is there already: save into another folder, or remove that net")

        def write_layer(name: str, arrays: Sequence[Array], l: int) -> None:
            array = np.ascontiguousarray(arrays[l], self.dtype)
            _write(_file(folder, name, l), lambda file: np.save(file, array, allow_pickle=False))

        for l in self.owned:
            write_layer("weights", self.weights, l)
            if self.biases is not None:
                write_layer("biases", self.biases, l)
        if wait:
            wait()
        if 0 in self.owned:
            sheet = {
                "schema": SCHEMA,
                "sizes": self.sizes,
                "activation": self.activation,
                "dtype": self.dtype.name,
                "bias": self.biases is not None,
                "scale": self.scale,
                "skip": self.skip,
            }
            _write(folder / _SHEET, lambda file: file.write(json.dumps(sheet).encode() + b"\n"))

    @property
    def depth(self) -> int:
        """L, the number of weight matrices."""
        return len(self.weights)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, from the input: L + 1 numbers."""
        shapes = _shapes(self.weights)
        return (shapes[0][1], *(shape[0] for shape in shapes))

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64: that of the weights, and of everything computed from them."""
        return self.weights.dtype if isinstance(self.weights, Layers) else self.weights[0].dtype

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(map(math.prod, [*_shapes(self.weights), *_shapes(self.biases or ())]))

    @property
    def lazy(self) -> bool:
        """Whether layers are made when they are asked for; otherwise all are in memory."""
        return isinstance(self.weights, Layers)

    @property
    def owned(self) -> range:
        """The layers that this process holds: all of them, unless the net was made of a part."""
        return self.weights.owned if isinstance(self.weights, Layers) else range(self.depth)

    def f(self, l: int, x: Array) -> Array:
        """``f_l(x)``: the identity for the input, the activation for every other layer."""
        return x if l == 0 else ACTIVATIONS[self.activation][0](x)

    def f_slope(self, l: int, x: Array) -> Array:
        """``f_l'(x)``."""
        return np.ones_like(x) if l == 0 else ACTIVATIONS[self.activation][1](x)

    def predict(self, l: int, x: Array) -> Array:
        """``mu[l+1]``, (B, n[l+1]), the prediction that layer l with values x, (B, n[l]), makes of the next."""
        mu = self.scale[l] * self.f(l, x) @ self.weights[l].T
        if self.biases is not None:
            mu = mu + self.biases[l]
        return (mu + x if self.skip[l] else mu).astype(self.dtype, copy=False)

    def forward(self, x: ArrayLike) -> list[Array]:
        """Values of all layers in an ordinary forward pass from ``x``, (B, n[0]): a list of L + 1 arrays (B, n[l])."""
        values = [np.asarray(x, self.dtype)]
        for l in range(self.depth):
            values.append(self.predict(l, values[l]))
        return values

    def replace(self, weights: Sequence[Array], biases: Sequence[Array] | None) -> "Network":
        """The same net with other weights and biases of the same shapes, taken as they are (NaN after divergence).

        Lists give an ordinary net, also from a lazy one; :class:`Layers` give a lazy one.
        """
        net = copy.copy(self)
        object.__setattr__(net, "weights", weights if isinstance(weights, Layers) else list(weights))
        object.__setattr__(net, "biases", biases if biases is None or isinstance(biases, Layers) else list(biases))
        return net


def as_array(name: str, value: ArrayLike) -> Array:
    """``value`` as an array; InputError where NumPy cannot make one of it."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from None


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
    if array.dtype.kind not in "fiub" or array.ndim != dimensions:
        raise InputError(f"{name} must be a {dimensions}-dimensional array of real numbers")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        array = np.ascontiguousarray(array, dtype)
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds NaN or infinity (or a number too large for {dtype.name})")
    return array


def _shapes(arrays: Sequence[Array]) -> Sequence[tuple[int, ...]]:
    return arrays.shapes if isinstance(arrays, Layers) else [array.shape for array in arrays]


def _file(folder: Path, name: str, l: int) -> Path:
    return folder / f"{name}-{l:05}.npy"


def _reason(error: Exception) -> str:
    """The system's own words alone where it has some, otherwise the first line."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


def _write(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """``file`` as a whole or not at all: written under another name beside it, then renamed."""
    part = file.with_name(file.name + ".part")
    try:
        try:
            with open(part, "wb") as opened:
                write(opened)
            os.replace(part, file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{file} cannot be written: {_reason(error)}") from None


def _read_sheet(file: Path) -> dict[str, Any]:
    """A network.json whose fields are all there and, each for itself, right."""
    try:
        sheet = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file} is missing: no net was saved there, or not to the end") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read: {_reason(error)}") from None
    if not isinstance(sheet, dict) or "schema" not in sheet:
        raise InputError(f"{file}: schema is missing, so this is no net")
    for name, (expected, fits) in _FIELDS.items():
        if name not in sheet:
            raise InputError(f"{file}: field {name} is missing")
        if not fits(sheet[name]):
            raise InputError(f"{file}: {name} is {reprlib.repr(sheet[name])}; expected {expected}")
    for name in sorted(sheet.keys() - _FIELDS.keys()):
        raise InputError(f"{file}: field {reprlib.repr(name)} is unknown")
    depth = len(sheet["sizes"]) - 1
    for name in ("scale", "skip"):
        if len(sheet[name]) != depth:
            raise InputError(f"{file}: {name} has {len(sheet[name])} entries; expected {depth}, one a layer")
    return sheet


def _stored(file: Path, shape: tuple[int, ...], dtype: np.dtype, read: bool) -> Array:
    """The array in ``file``, its data read, or else only mapped, which looks at the file's header and length."""
    try:
        array = np.lib.format.open_memmap(file, mode="r")
        if (array.shape, array.dtype) == (shape, dtype):
            return np.ascontiguousarray(np.load(file, allow_pickle=False)) if read else array
    except FileNotFoundError:
        raise InputError(f"{file} is missing") from None
    except Exception as error:  # bytes that are no header take NumPy, and the parser that it asks, to many errors
        raise InputError(f"{file} cannot be read: {_reason(error)}") from None
    raise InputError(f"{file} holds {array.shape} of {array.dtype}; {_SHEET} says {shape} of {dtype}")
