"""What callers give as arrays, names and numbers, turned into what a net is made of, or refused in one line."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..checks import is_number, is_truth, is_whole, scalar, shown, whole_number
from ..errors import InputError
from ..host.memory import require
from .activations import ACTIVATIONS
from .convolution import Convolution
from .extras import shapes_of_extras
from .files import DTYPES

Array = np.ndarray

SIZES = "a list of whole numbers, units of every layer from the input"

_KINDS = {"c": "complex numbers", "U": "text", "S": "bytes", "T": "text", "M": "dates", "m": "durations"}


def as_array(name: str, value: ArrayLike) -> Array:
    """``value`` as an array of real numbers in the byte order of this machine. InputError, in one line that begins with
    ``name``, where NumPy cannot make one of it, for anything but real numbers, and where a mask would be dropped."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ragged lists, for example, which are refused below
            given = np.asanyarray(value)
            hides = _hides(value) or _hides(given)  # or what another library's type gives
            array = np.asarray(given)
    except MemoryError:
        raise
    except Exception as error:  # other libraries' arrays raise what they like
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} is not an array of numbers: {reason}") from None
    if hides:
        raise InputError(f"{name} is a masked array: fill or leave out what is masked")
    kind = array.dtype.kind
    if kind == "O":
        array = _of_objects(name, array)
    elif kind == "V":
        raise InputError(
            f"{name} is of dtype {array.dtype}, which is not one of NumPy's numbers: convert it, for example with "
            ".astype('float32')"
        )
    elif kind not in "fiub":
        raise InputError(f"{name} holds {_KINDS.get(kind, array.dtype)}: give real numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _hides(value: Any) -> bool:
    """Whether something is masked in an array, or in one that a list or another sequence holds, of which NumPy would
    take the numbers."""
    if isinstance(value, Sequence):
        return any(_hides(item) for item in value if not isinstance(item, float | int | str | bytes | np.generic))
    return bool(np.ma.is_masked(value))


def _of_objects(name: str, array: Array) -> Array:
    """Numbers and truth values among objects, as a table with columns of several types has them, as float64."""
    for item in array.flat:
        if not (isinstance(item, bool | np.bool_ | float | np.floating) or is_number(item)):
            raise InputError(f"{name} holds Python objects: give real numbers, not {shown(item)}")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} is not an array of numbers: {error}") from None


def finite(name: str, array: Array, dtype: np.dtype) -> Array:
    """A copy of that dtype, in C's order; InputError for NaN, infinity, and what is too large for it."""
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds NaN or infinity: clean the data first")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        copy = np.array(array, dtype, order="C")
    if not np.all(np.isfinite(copy)):
        raise InputError(f"{name} holds a number too large for {dtype.name}")
    return copy


def listed(name: str, value: Any, what: str) -> list[Any]:
    """The entries of a list, tuple or array; InputError for anything else, with ``what`` is meant."""
    many = value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, Sequence)
    if not many or isinstance(value, str | bytes):
        raise InputError(f"{name} must be {what}, not {shown(value)}")
    return list(value)


def shared_dtype(arrays: Sequence[Array]) -> np.dtype:
    """float64 if all arrays are that or wider, else float32."""
    wide = all(array.dtype.kind == "f" and array.dtype.itemsize >= 8 for array in arrays)
    return np.dtype(np.float64 if wide else np.float32)


def converted(name: str, array: Array, dtype: np.dtype, dimensions: int, whole: bool = True) -> Array:
    """A copy of that dtype and so many dimensions, with a warning where numbers are rounded; ``whole``: none may be NaN
    or infinite."""
    if array.ndim != dimensions:
        raise InputError(f"{name} must be a {dimensions}-dimensional array of real numbers, not shape {array.shape}")
    with np.errstate(all="ignore"):
        copy = finite(name, array, dtype) if whole else np.array(array, dtype, order="C")
        if array.dtype != dtype and not np.array_equal(copy, array, equal_nan=array.dtype.kind == "f"):
            message = f"{name} is rounded to {dtype.name}"
            message += ": give all weights as float64 to keep more digits" if dtype.itemsize < 8 else ""
            warnings.warn(message, UserWarning, stacklevel=5)
    return copy


def checked_dtype(given: DTypeLike) -> np.dtype:
    """float32 or float64, in this machine's byte order; InputError for anything else."""
    try:
        dtype = np.dtype(given).newbyteorder("=")
    except Exception:
        raise InputError(f"dtype {shown(given)} is unknown: use {' or '.join(DTYPES)}") from None
    if dtype not in map(np.dtype, DTYPES):
        raise InputError(f"dtype {dtype.name} is not supported: use {' or '.join(DTYPES)}")
    return dtype


def checked_names(activation: object) -> str | list[str]:
    """A name in ``ACTIVATIONS``, or a list of such names."""
    if isinstance(activation, list | tuple):
        for i, name in enumerate(activation):
            if not isinstance(name, str) or name not in ACTIVATIONS:
                raise InputError(f"activation[{i}] {shown(name)} is unknown: choose from {', '.join(ACTIVATIONS)}")
        return [str(name) for name in activation]
    if not isinstance(activation, str):
        raise InputError(f"activation must be a name or a list of names, not of type {type(activation).__name__}")
    if activation not in ACTIVATIONS:
        raise InputError(f"activation {activation!r} is unknown: choose from {', '.join(ACTIVATIONS)}")
    return str(activation)


def checked_sizes(sizes: Any, layers: int = 2, units: int = 1) -> list[int]:
    """Units of every layer from the input, as Python's numbers (NumPy's would overflow in products)."""
    given = listed("sizes", sizes, SIZES)
    if len(given) < layers:
        raise InputError(f"sizes {shown(given)} need at least an input and an output layer")
    if not all(is_whole(n, units) for n in given):
        raise InputError(f"sizes {shown(given)}: every layer needs a whole number of units, at least 1")
    return [int(n) for n in given]


def checked_scale(scale: Any, depth: int) -> list[float]:
    """L factors, 1 each if none is given."""
    given = listed("scale", scale, f"a list of {depth} numbers, one for each layer")
    _check_count(given, depth)
    for l, factor in enumerate(given):
        if isinstance(scalar(factor), float | np.floating) and not is_number(factor):
            raise InputError("scale holds NaN or infinity")
        if not is_number(factor):
            raise InputError(f"scale[{l}] must be a finite number, not {shown(factor)}")
    return [float(factor) for factor in given] or [1.0] * depth


def checked_skip(skip: Any, depth: int) -> list[bool]:
    """L truth values, all False if none is given."""
    given = listed("skip", skip, f"a list of {depth} truth values, one for each layer")
    _check_count(given, depth)
    return [checked_truth(f"skip[{l}]", value) for l, value in enumerate(given)] or [False] * depth


def _check_count(given: list[Any], depth: int) -> None:
    if given and len(given) != depth:
        raise InputError(f"scale and skip need one entry for each of the {depth} layers")


def checked_forms(value: Any, shapes: Sequence[tuple[int, ...]]) -> list[Convolution | None]:
    """L entries that fit the weights and one another; none where all layers are dense."""
    found = listed("forms", value, f"a list of {len(shapes)} entries, None or a Convolution for each layer")
    if not any(form is not None for form in found):
        return []
    if len(found) != len(shapes):
        raise InputError(f"forms need one entry for each of the {len(shapes)} layers, not {len(found)}")
    below: Convolution | None = None
    for l, (form, shape) in enumerate(zip(found, shapes, strict=True)):
        if form is not None and not isinstance(form, Convolution):
            raise InputError(f"forms[{l}] must be None or a Convolution, not {shown(form)}")
        if form and form.shape != tuple(shape):
            raise InputError(f"weights[{l}] has shape {tuple(shape)}, but its convolution needs {form.shape}")
        if form and l and (below is None or below.out != form.image):
            there = f"an image of {below.out}" if below else "a dense layer"
            raise InputError(f"layer {l} is a convolution of an image of {form.image}, but below it is {there}")
        below = form
    return found


def checked_truth(name: str, value: Any) -> bool:
    """True or False, also as 1 or 0, or as NumPy has them."""
    value = scalar(value)
    if not is_truth(value) and not (is_whole(value, 0) and value in (0, 1)):
        raise InputError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def check_seed(seed: Any) -> int:
    """``seed`` if it is a whole number of at least 0; else InputError."""
    return whole_number("seed", seed, 0)


def require_weights(shapes: Sequence[tuple[int, int]], dtype: DTypeLike = np.float32) -> None:
    """Raise InputError if a net whose weights have those shapes cannot be made in this machine's memory."""
    counts = [rows * columns for rows, columns in shapes]
    # Each matrix is drawn in float64 before it is rounded.
    require(sum(counts) * np.dtype(dtype).itemsize + max(counts) * 8, f"a net of {sum(counts):,} weights")


def checked_extras(name: str, value: Any, sizes: Sequence[int], dtype: np.dtype) -> list[Array] | None:
    """Copies of what is given as ``heads`` or ``feedback``; InputError where it does not fit the net."""
    if value is None:
        return None
    entries = listed(name, value, f"None, or a list of {len(sizes) - 2} matrices, one for each hidden layer")
    shapes = shapes_of_extras(name, sizes)
    if len(entries) != len(shapes):
        raise InputError(f"{name} need one matrix for each of the {len(shapes)} hidden layers, not {len(entries)}")
    found = []
    for l, (entry, shape) in enumerate(zip(entries, shapes, strict=True)):
        array = converted(f"{name}[{l}]", as_array(f"{name}[{l}]", entry), dtype, 2)
        if array.shape != shape:
            raise InputError(f"{name}[{l}] has shape {array.shape}, expected {shape}")
        found.append(array)
    return found
