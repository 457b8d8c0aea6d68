"""The fields of a row: which there must be, and what each may hold."""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Callable
from typing import Any

from ..errors import InputError

SCHEMA = "pcsim-results/1"

CURVES = "pcsim-curves/1"  # learning curves, one row per run

ALGORITHMS = ("bp", "pc", "zil", "ipc")

KINDS = ("measured", "predicted", "counted")

Row = dict[str, Any]


def _number(value: Any) -> bool:
    # One comparison refuses NaN, infinities and integers beyond what a float holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_Check = tuple[str, Callable[[Any], bool]]

_TEXT: _Check = ("a text", lambda v: isinstance(v, str) and v != "")

_COUNT: _Check = ("a whole number, 1 or more", lambda v: _whole(v, 1))

_NUMBER: _Check = ("a finite number or null", lambda v: v is None or _number(v))

_INDEX: _Check = ("a whole number, 0 or more, or null", lambda v: v is None or _whole(v, 0))

_FLAG: _Check = ("true or false", lambda v: isinstance(v, bool))

_MANY: _Check = ("a whole number, 1 or more, or null", lambda v: v is None or _whole(v, 1))

_AMOUNT: _Check = ("a number, 0 or more, or null", lambda v: v is None or (_number(v) and v >= 0))

_REQUIRED: dict[str, _Check] = {
    "algorithm": ("one of " + ", ".join(ALGORITHMS), lambda v: v in ALGORITHMS),
    **dict.fromkeys(("execution", "backend", "dtype", "activation"), _TEXT),
    **dict.fromkeys(("workers", "depth", "width", "batch"), _COUNT),
    "steps": _INDEX,
    "kind": ("one of " + ", ".join(KINDS), lambda v: v in KINDS),
    "seconds": (
        "a list of positive seconds (null where a sample is missing)",
        lambda v: isinstance(v, list) and all(s is None or (_number(s) and s > 0) for s in v),
    ),
    "median": ("positive seconds or null", lambda v: v is None or (_number(v) and v > 0)),
    "ci95": (
        "null or [low, high]",
        lambda v: v is None or (isinstance(v, list) and len(v) == 2 and all(map(_number, v)) and v[0] <= v[1]),
    ),
    "warnings": ("a list of texts", lambda v: isinstance(v, list) and all(isinstance(t, str) for t in v)),
    "error": ("null or a text", lambda v: v is None or isinstance(v, str)),
}

_OPTIONAL: dict[str, _Check] = {
    **dict.fromkeys(("mm", "smm", "mm_full", "smm_full", "smm_workers", "flops", "bytes"), _NUMBER),
    **dict.fromkeys(("flop_rate", "bandwidth", "roofline", "compile_seconds", "handover_seconds"), _NUMBER),
    **dict.fromkeys(("core_distance", "drift", "gemm_rate", "tile_rate"), _NUMBER),
    **dict.fromkeys(("rounds", "updates_per_sample", "launch"), _INDEX),
    # Of rows whose backend is mpi. Messages, their bytes and collectives are per weight update, over all ranks, as the
    # engine counted them; counted_messages come from the task graph. latency: seconds, one way, of a message of the
    # cell's size between two neighbouring ranks, measured beside it; delay: seconds added to it on purpose.
    **dict.fromkeys(("ranks", "hosts"), _MANY),
    **dict.fromkeys(("messages", "counted_messages", "message_bytes", "collectives", "latency", "delay"), _AMOUNT),
    "variant": ("a text or null", lambda v: v is None or isinstance(v, str)),
    **dict.fromkeys(("auto", "checked"), _FLAG),
}

_NUMBERS: _Check = (
    "a list of numbers or nulls",
    lambda v: isinstance(v, list) and all(n is None or _number(n) for n in v),
)

_CURVE: dict[str, _Check] = {
    **{name: _REQUIRED[name] for name in ("algorithm", "kind")},
    **dict.fromkeys(("label", "optimizer"), _TEXT),
    "alpha": ("a number", _number),
    **dict.fromkeys(("depth", "samples"), _COUNT),
    "sizes": ("a list of whole numbers", lambda v: isinstance(v, list) and all(_whole(n, 1) for n in v)),
    "interrupted": _FLAG,
    "diverged": _INDEX,
    **dict.fromkeys(("updates", "smm", "mm", "seconds", "loss", "energy"), _NUMBERS),
}

_FIELDS = {SCHEMA: (_REQUIRED, _OPTIONAL), CURVES: (_CURVE, {})}


def check_row(row: Row, where: str, schema: str) -> None:
    required, optional = _FIELDS[schema]
    for name in required:
        if name not in row:
            raise InputError(f"{where}: {name} is missing")
    for name, value in row.items():
        wanted, holds = (required.get(name) or optional.get(name)) or ("free of NaN and infinite numbers", all_finite)
        if not holds(value):
            raise InputError(f"{where}: {name} must be {wanted}, not {reprlib.repr(value)}")


def all_finite(value: Any) -> bool:
    left = [value]  # a loop, since a file may nest deeper than Python recurses
    while left:
        held = left.pop()
        if isinstance(held, dict | list):
            left.extend(held.values() if isinstance(held, dict) else held)
        elif isinstance(held, float) and not math.isfinite(held):
            return False
    return True
