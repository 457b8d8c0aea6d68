"""The fields of a row: which there must be, and what each may hold."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..checks import FLAG, NUMBER, Rule, is_number, is_whole, list_of, one_of, or_null, whole
from ..errors import InputError

SCHEMA = "pcsim-results/1"

CURVES = "pcsim-curves/1"  # learning curves, one row per run

RACE = "pcsim-race/1"  # who reached a goal after what: see results/races.py

ALGORITHMS = ("bp", "pc", "zil", "ipc")  # pcsim's own; others have names of the same kind

KINDS = ("measured", "predicted", "counted")

Row = dict[str, Any]

# What tells cells apart that older files do not say, and what they then were: layers all ``width`` wide, one batch for
# ever, forward starts, plain gradient descent (or an optimiser's usual numbers), random data.
USUAL: dict[str, Any] = {"net": None, "steps_per_batch": None, "start": "forward", "optimizer": "sgd"}
USUAL |= {"momentum": 0.9, "weight_decay": 0.0, "data": "random"}
OPTIMIZER = ("optimizer", "momentum", "weight_decay")  # of these, what an algorithm says of its optimiser


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """A field of a row; where it is absent or null, what is usual."""
    value = row.get(name)
    return USUAL.get(name) if value is None else value


def names_of(rows: Iterable[Mapping[str, Any]], known: Sequence[str] = ALGORITHMS) -> list[str]:
    """The algorithms that rows are of: those ``known`` in that order, whether there are rows of them or not; then the
    others, sorted."""
    return [*known, *sorted({row["algorithm"] for row in rows} - set(known))]


_TEXT: Rule = ("a text", lambda v: isinstance(v, str) and v != "")

_NUMBER = or_null(NUMBER)

_INDEX, _MANY = or_null(whole(0), ", or null"), or_null(whole(), ", or null")

_AMOUNT: Rule = ("a number of at least 0, or null", lambda v: v is None or (is_number(v) and v >= 0))

_SECONDS: Rule = ("positive seconds or null", lambda v: v is None or (is_number(v) and v > 0))

_REQUIRED: dict[str, Rule] = {
    "algorithm": (
        f"a name such as {', '.join(ALGORITHMS)}",
        lambda v: isinstance(v, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", v) is not None,
    ),
    **dict.fromkeys(("execution", "backend", "dtype", "activation"), _TEXT),
    **dict.fromkeys(("workers", "depth", "width", "batch"), whole()),
    "steps": _INDEX,
    "kind": one_of(KINDS),
    "seconds": list_of("a list of positive seconds (null where a sample is missing)", _SECONDS[1]),
    "median": _SECONDS,
    "ci95": (
        "null or [low, high]",
        lambda v: v is None or (isinstance(v, list) and len(v) == 2 and all(map(is_number, v)) and v[0] <= v[1]),
    ),
    "warnings": list_of("a list of texts", lambda v: isinstance(v, str)),
    "error": ("null or a text", lambda v: v is None or isinstance(v, str)),
}

_OPTIONAL: dict[str, Rule] = {
    **dict.fromkeys(("mm", "smm", "mm_full", "smm_full", "smm_workers", "flops", "bytes"), _NUMBER),
    **dict.fromkeys(("flop_rate", "bandwidth", "roofline", "compile_seconds", "handover_seconds"), _NUMBER),
    **dict.fromkeys(("core_distance", "drift", "gemm_rate", "tile_rate"), _NUMBER),
    **dict.fromkeys(("rounds", "updates_per_sample", "launch"), _INDEX),
    # Of rows whose backend is mpi. Messages, their bytes and collectives are per weight update, over all ranks, as the
    # engine counted them; counted_messages come from the task graph. latency: seconds, one way, of a message of the
    # cell's size between two neighbouring ranks, measured beside it; delay: seconds added to it on purpose.
    **dict.fromkeys(("ranks", "hosts"), _MANY),
    **dict.fromkeys(("messages", "counted_messages", "message_bytes", "collectives", "latency", "delay"), _AMOUNT),
    **dict.fromkeys(("net", "start", "optimizer", "data"), or_null(_TEXT, ", or null")),
    **dict.fromkeys(("momentum", "weight_decay"), _AMOUNT),
    "steps_per_batch": _MANY,  # updates on one batch, null where it never changes
    **dict.fromkeys(("mm_starts", "smm_starts"), _NUMBER),  # as mm and smm, with forward starts
    "variant": ("a text or null", lambda v: v is None or isinstance(v, str)),
    **dict.fromkeys(("auto", "checked"), FLAG),
    "inference_steps": ("a number above 0 or null", lambda v: v is None or (is_number(v) and v > 0)),  # of an update
}

_NUMBERS = list_of("a list of numbers or nulls", _NUMBER[1])

_CURVE: dict[str, Rule] = {
    **{name: _REQUIRED[name] for name in ("algorithm", "kind")},
    **dict.fromkeys(("label", "optimizer"), _TEXT),
    "alpha": NUMBER,
    **dict.fromkeys(("depth", "samples"), whole()),
    "sizes": list_of("a list of whole numbers of at least 1", is_whole),
    "interrupted": FLAG,
    "diverged": _INDEX,
    **dict.fromkeys(("updates", "smm", "mm", "seconds", "loss", "energy"), _NUMBERS),
}

_OBJECT: Rule = ("an object", lambda v: isinstance(v, dict))

_RACE: dict[str, Rule] = {"phase": one_of(("race", "trial", "goals", "confirm", "final", "timed", "predicted"))}

_SEEDS = list_of("a list of whole numbers", lambda v: is_whole(v, 0))
_CONFIRM: Rule = (
    "an object with trials and seeds",
    lambda v: isinstance(v, dict) and is_whole(v.get("trials")) and _SEEDS[1](v.get("seeds")),
)

_OF_PHASE: dict[str, dict[str, Rule]] = {
    "race": {
        "problem": _OBJECT,
        "contenders": list_of("a list of objects", lambda v: isinstance(v, dict)),
        "trials": whole(),
        "seeds": _SEEDS,
    },
    "trial": {"contender": _TEXT, "trial": whole(0), "settings": _OBJECT, "cost": _OBJECT, "seed": whole(0)}
    | {"updates": list_of("a list of whole numbers", lambda v: is_whole(v, 0)), "score": _NUMBERS},
    "goals": dict.fromkeys(("goals", "missed"), list_of("a list of numbers", is_number)),
    "timed": {"contender": _TEXT, "trial": whole(0), "seconds": NUMBER, "execution": _TEXT, "workers": whole()},
}
_OF_PHASE["final"] = _OF_PHASE["confirm"] = _OF_PHASE["trial"]
_OF_PHASE["predicted"] = _OF_PHASE["timed"] | {"machine": _TEXT, "joules": _NUMBER}

_FIELDS = {SCHEMA: (_REQUIRED, _OPTIONAL), CURVES: (_CURVE, {}), RACE: (_RACE, {"confirm": _CONFIRM})}


def check_row(row: Row, where: str, schema: str) -> None:
    """InputError, which begins with ``where``, for a row that lacks a field or holds what the field may not be."""
    required, optional = _FIELDS[schema]
    if schema == RACE and row.get("phase") in _OF_PHASE:
        required = required | _OF_PHASE[row["phase"]]
    for name in required:
        if name not in row:
            raise InputError(f"{where}: {name} is missing")
    for name, value in row.items():
        wanted, holds = (required.get(name) or optional.get(name)) or ("free of NaN and infinite numbers", all_finite)
        if not holds(value):
            raise InputError(f"{where}: {name} must be {wanted}, not {reprlib.repr(value)}")


def all_finite(value: Any) -> bool:
    """Whether no number in lists and dictionaries, however nested, is NaN or infinite."""
    left = [value]  # a loop, since a file may nest deeper than Python recurses
    while left:
        held = left.pop()
        if isinstance(held, dict | list):
            left.extend(held.values() if isinstance(held, dict) else held)
        elif isinstance(held, float) and not math.isfinite(held):
            return False
    return True
