"""A net in a folder: one ``.npy`` file per layer and a ``network.json``."""

import json
import os
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..checks import FLAG, Rule, is_number, is_whole, list_of, one_of
from ..errors import InputError
from .activations import ACTIVATIONS
from .convolution import Convolution
from .extras import FEEDBACK, HEADS, shapes_of_extras
from .losses import LOSSES

Array = np.ndarray

SCHEMA = "pcsim-network/1"
SHEET = "network.json"
DTYPES = ("float32", "float64")


def _activation(value: Any) -> bool:
    return isinstance(value, str) and value in ACTIVATIONS


# What a net's network.json holds.
_FIELDS: dict[str, Rule] = {
    "schema": (repr(SCHEMA), lambda v: v == SCHEMA),
    "sizes": list_of("a list of two or more whole numbers of at least 1", is_whole, 2),
    "activation": (
        f"one of {', '.join(ACTIVATIONS)}, or a list of these, one a hidden layer",
        lambda v: _activation(v) or (isinstance(v, list) and all(map(_activation, v))),
    ),
    "dtype": (" or ".join(DTYPES), lambda v: v in DTYPES),
    "bias": FLAG,
    "scale": list_of("a list of finite numbers", is_number),
    "skip": list_of("a list of true and false", FLAG[1]),
}
# A net without them has the squared error, nothing beside its layers, and dense ones alone.
_OPTIONAL: dict[str, Rule] = {"loss": one_of(tuple(LOSSES)), HEADS: FLAG, FEEDBACK: FLAG}
_OPTIONAL["forms"] = list_of("a list of null and objects", lambda v: v is None or isinstance(v, dict))


_OF_FORM = [each.name for each in fields(Convolution)]


def _file(folder: Path, name: str, l: int) -> Path:
    return folder / f"{name}-{l:05}.npy"


def _reason(error: Exception) -> str:
    """The system's own words alone where it has some, otherwise the first line."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


def write_whole(file: Path, write: Callable[[BinaryIO], object]) -> None:
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
        raise InputError(f"{file}: schema is missing, so this is not a net")
    for name, (expected, fits) in _FIELDS.items():
        if name not in sheet:
            raise InputError(f"{file}: field {name} is missing")
        if not fits(sheet[name]):
            raise InputError(f"{file}: {name} is {reprlib.repr(sheet[name])}; expected {expected}")
    for name, (expected, fits) in _OPTIONAL.items():
        if name in sheet and not fits(sheet[name]):
            raise InputError(f"{file}: {name} is {reprlib.repr(sheet[name])}; expected {expected}")
    for name in sorted(sheet.keys() - _FIELDS.keys() - _OPTIONAL.keys()):
        raise InputError(f"{file}: field {reprlib.repr(name)} is unknown")
    depth = len(sheet["sizes"]) - 1
    for name in ("scale", "skip", *({"forms"} & sheet.keys())):
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
    raise InputError(f"{file} holds {array.shape} of {array.dtype}; {SHEET} says {shape} of {dtype}")


class Stored:
    """The net in a folder: the fields of its network.json, and its layers' arrays, each read when it is asked for.

    Raises InputError with the name of the file or field that is wrong.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()  # layers are read later, perhaps from another working directory
        self.sheet = self.folder / SHEET
        sheet = _read_sheet(self.sheet)
        self.sizes, self.activation, self.bias = sheet["sizes"], sheet["activation"], sheet["bias"]
        self.scale, self.skip, self.loss = sheet["scale"], sheet["skip"], sheet.get("loss", "squared")
        self.dtype = np.dtype(sheet["dtype"])
        self.forms = [self._form(l, told) for l, told in enumerate(sheet.get("forms", []))]
        self.extras = [name for name in (HEADS, FEEDBACK) if sheet.get(name)]

    def _form(self, l: int, told: dict[str, Any] | None) -> Convolution | None:
        """The kind of a layer as the sheet has it."""
        if told is None:
            return None
        try:
            return Convolution(**told)
        except (TypeError, InputError) as error:  # TypeError: fields that are missing or unknown
            reason = error if isinstance(error, InputError) else f"needs {', '.join(_OF_FORM)}"
            raise InputError(f"{self.sheet}: forms[{l}]: {reason}") from None

    def _shape(self, l: int) -> tuple[int, int]:
        form = self.forms[l] if self.forms else None
        return form.shape if form else (self.sizes[l + 1], self.sizes[l])

    def weights(self, l: int, read: bool = True) -> Array:
        """``W[l]``, ``(n[l+1], n[l])``, or a row for each kernel; with ``read=False`` only its file is looked at."""
        return _stored(_file(self.folder, "weights", l), self._shape(l), self.dtype, read)

    def biases(self, l: int, read: bool = True) -> Array:
        """``b[l]``, one for each row; with ``read=False`` only its file is looked at."""
        return _stored(_file(self.folder, "biases", l), self._shape(l)[:1], self.dtype, read)

    def extra(self, name: str) -> list[Array]:
        """The heads, or the feedback, one matrix for each hidden layer."""
        shapes = shapes_of_extras(name, self.sizes)
        return [_stored(_file(self.folder, name, l), shape, self.dtype, True) for l, shape in enumerate(shapes)]

    def look_at_all(self) -> None:
        """Look at every layer's file without reading its data."""
        for l in range(len(self.sizes) - 1):
            self.weights(l, read=False)
            if self.bias:
                self.biases(l, read=False)


def write(net: Any, folder: str | os.PathLike[str], wait: Callable[[], object] | None = None) -> None:
    """What :meth:`pcsim.Network.save` does."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = os.path.lexists(folder / SHEET)
    except (OSError, ValueError) as error:  # ValueError: a path that no system can have
        raise InputError(f"{folder} cannot be written: {_reason(error)}") from None
    if taken:
        raise InputError(f"{folder / SHEET} is there already: save into another folder, or remove that net")

    def write_layer(name: str, arrays: Sequence[Array], l: int) -> None:
        array = np.ascontiguousarray(arrays[l], net.dtype)
        write_whole(_file(folder, name, l), lambda file: np.save(file, array, allow_pickle=False))

    for l in net.owned:
        write_layer("weights", net.weights, l)
        if net.biases is not None:
            write_layer("biases", net.biases, l)
    if wait:
        wait()
    if 0 in net.owned:
        extras = {name: getattr(net, name) for name in (HEADS, FEEDBACK) if getattr(net, name) is not None}
        for name, matrices in extras.items():
            for l in range(len(matrices)):
                write_layer(name, matrices, l)
        sheet = (
            {
                "schema": SCHEMA,
                "sizes": net.sizes,
                "activation": net.activation,
                "dtype": net.dtype.name,
                "bias": net.biases is not None,
                "scale": net.scale,
                "skip": net.skip,
            }
            | ({} if net.loss.name == "squared" else {"loss": net.loss.name})
            | ({"forms": [form and form.told() for form in net.forms]} if net.forms else {})
            | dict.fromkeys(extras, True)
        )
        write_whole(folder / SHEET, lambda file: file.write(json.dumps(sheet).encode() + b"\n"))
