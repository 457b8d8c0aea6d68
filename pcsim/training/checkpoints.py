"""A training in a file, to go on from with the same bits: one archive of arrays and a sheet of JSON.

The archive is a zip file, stored and not compressed, with ``checkpoint.json`` (schema ``pcsim-checkpoint/1``) and a
``.npy`` file for each array; nothing in it can run code. It is written beside its place and renamed, so that a
training killed at any moment leaves the checkpoint before or the one after. What is in a state is the engine's affair.
"""

import hashlib
import io
import itertools
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError
from ..host.mpi import apart
from ..net.files import write_whole
from ..net.network import Network

Array = np.ndarray

SCHEMA = "pcsim-checkpoint/1"
SHEET = "checkpoint.json"


def write(file: str | os.PathLike[str], facts: dict[str, Any], parts: dict[str, dict[str, Any]]) -> None:
    """``facts`` say which training it is; ``parts``: dictionaries of JSON values and lists of arrays."""
    arrays: dict[str, Array] = {}
    sheet: dict[str, Any] = {"schema": SCHEMA, "training": facts, "parts": {}}
    for part, fields in parts.items():
        written = sheet["parts"][part] = {}
        for name, value in fields.items():
            if isinstance(value, list) and value and isinstance(value[0], list) and isinstance(value[0][0], np.ndarray):
                flat = [array for each in value for array in each]
                names = [f"{part}-{name}-{i:05}.npy" for i in range(len(flat))]
                arrays |= dict(zip(names, flat, strict=True))
                written[name] = {"arrays": len(flat), "of": [len(each) for each in value]}
            elif isinstance(value, list) and value and isinstance(value[0], np.ndarray):
                names = [f"{part}-{name}-{i:05}.npy" for i in range(len(value))]
                arrays |= dict(zip(names, value, strict=True))
                written[name] = {"arrays": len(names)}
            else:
                written[name] = {"value": value}

    def fill(opened: BinaryIO) -> None:
        with zipfile.ZipFile(opened, "w") as archive:
            archive.writestr(SHEET, json.dumps(sheet))
            for name, array in arrays.items():
                with archive.open(name, "w", force_zip64=True) as place:
                    np.lib.format.write_array(place, np.ascontiguousarray(array), allow_pickle=False)
        opened.flush()
        os.fsync(opened.fileno())

    write_whole(Path(file), fill)


def load(file: str | os.PathLike[str]) -> bytes | None:
    """The file's bytes; None where there is no such file."""
    try:
        return Path(file).read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read(file: str | os.PathLike[str], content: bytes, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts in a checkpoint; InputError if it is none, or that of a training with other ``facts``."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise ValueError("it is compressed")
            sheet = json.loads(archive.read(SHEET))
            if not isinstance(sheet, dict) or sheet.get("schema") != SCHEMA:
                raise ValueError(f"its schema is not {SCHEMA}")
            if others := _differences(sheet["training"], json.loads(json.dumps(facts))):
                raise _Other("; ".join(others))
            return {part: _part(archive, part, fields) for part, fields in sheet["parts"].items()}
    except _Other as error:
        raise InputError(f"{file} is the checkpoint of another training: {error}") from None
    except Exception as error:  # damaged bytes take zipfile, json and NumPy to a dozen errors
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{file} is not a whole checkpoint: {reason}") from None


class _Other(Exception):
    """The checkpoint is whole, and another training's."""


# Facts that are digests, in words, and what a fact is that a training leaves out where it is as usual.
_DIGESTS = {"data": "the data", "weights": "the weights before the first update", "given values": "the values given"}
_USUAL = {"repeat": 1, "augment": None}
_CADENCES = ("record_every", "evaluate_every")  # which stand in one list


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What tells two trainings apart, fact by fact, in words."""
    found = []
    for name in dict.fromkeys([*here, *there]):
        its, ours = (facts.get(name, _USUAL.get(name)) for facts in (there, here))
        if its == ours:
            continue
        if name in _DIGESTS and None not in (its, ours):
            found.append(f"{_DIGESTS[name]} are others")
        elif isinstance(its, dict) and isinstance(ours, dict):
            prefix = "" if name == "algorithm" else f"{name} "
            found += [_apart(prefix + key, its.get(key), ours.get(key)) for key in apart(its, ours)[0]]
        elif name == "cadences" and its and ours:
            found += [_apart(*each) for each in zip(_CADENCES, its, ours, strict=True) if each[1] != each[2]]
        elif name in _DIGESTS:
            found.append(f"{_DIGESTS[name]} are {'none' if its is None else 'some'} there, "
                         f"{'none' if ours is None else 'some'} here")  # fmt: skip
        else:
            found.append(_apart(name, its, ours))
    for name, made_by in (("weights", ("sizes", "dtype", "bias")), ("data", ("dtype",))):
        if any(there.get(other) != here.get(other) for other in made_by):  # from which it follows
            found = [words for words in found if not words.startswith(_DIGESTS[name])]
    return found


def _apart(name: str, there: Any, here: Any) -> str:
    return f"{name} is {_shown(there)} there, {_shown(here)} here"


def _shown(value: Any) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _part(archive: zipfile.ZipFile, part: str, fields: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, field in fields.items():
        if "arrays" not in field:
            found[name] = field["value"]
            continue
        arrays = []
        for i in range(field["arrays"]):
            with archive.open(f"{part}-{name}-{i:05}.npy") as place:
                arrays.append(np.lib.format.read_array(place, allow_pickle=False))
        found[name] = arrays
        if "of" in field:
            rest = iter(arrays)
            found[name] = [list(itertools.islice(rest, count)) for count in field["of"]]
    return found


def digest(arrays: Sequence[Array]) -> str:
    """16 characters that other numbers, or shapes, do not share."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape} {array.dtype.name}\0".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def facts_of_net(network: Network) -> dict[str, Any]:
    """What makes the net that a training begins with."""
    return {
        "sizes": list(network.sizes),
        "dtype": network.dtype.name,
        "activation": network.activation,
        "bias": network.biases is not None,
        "scale": list(network.scale),
        "skip": list(network.skip),
        "loss": network.loss.name,
        **({"forms": [form and form.told() for form in network.forms]} if network.forms else {}),
        "weights": digest(
            [*network.weights, *(network.biases or []), *(network.heads or []), *(network.feedback or [])]
        ),
    }
