"""Machine files: JSON in, a checked :class:`~pcsim.predict.machine.Machine` out. Any fault is one line."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checks import is_number, is_whole
from ..errors import InputError
from ..streams import is_stream, read_text, source
from .images import MULTIPLY
from .machine import COLUMNS, MODELS, Level, Machine, MessageTimes, Segment
from .prices import ITEMS, LOAD, MOST, PARTS, PASSES, RULES, SKIPS, SPLIT

SCHEMA = "pcsim-machine/1"

PRESETS = Path(__file__).parents[1] / "machines"

# Files


class _Reader:
    """Reads fields of a machine file and knows where it is, for one line that names what is wrong."""

    def __init__(self, path: Path, content: Any, at: str = "") -> None:
        self.path, self.at = path, at
        if not isinstance(content, dict):
            self.fail("", f"must be an object, not {_short(content)}")
        self.content, self.asked = content, set[str]()

    def fail(self, name: str, what: str) -> Any:
        where = ".".join(part for part in (self.at, name) if part)
        raise InputError(f"{self.path}: {where + ': ' if where else ''}{what}")

    def get(self, name: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        """A plain field."""
        self.asked.add(name)
        if name not in self.content:
            return self.fail(name, "is missing") if default is ... else default
        value = self.content[name]
        wrong = isinstance(value, bool) and kind is not bool
        if wrong or not isinstance(value, kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            self.fail(name, f"must be {' or '.join(_KINDS[k] for k in kinds)}, not {_short(value)}")
        return value

    def figure(self, name: str, unit: str, default: Any = ..., least: float = 0.0, none: bool = False) -> Any:
        """A figure: ``{"value": …, "unit": …, "source": …}``; null, where that is allowed, stands for no end."""
        self.asked.add(name)
        if name not in self.content:
            return self.fail(name, f"is missing ({unit})") if default is ... else default
        inner = self.inside(name)
        stated = inner.get("unit", str, None)
        if stated != unit:
            inner.fail("unit", f"must be {unit!r}" + (f", not {stated!r}" if stated is not None else " and is missing"))
        if not inner.get("source", str).strip():
            inner.fail("source", "must say where the figure is from")
        value = inner.content.get("value", ...)
        inner.asked.add("value")
        if value is None and none:
            inner.close()
            return None
        if not is_number(value):
            inner.fail("value", "is missing" if value is ... else f"must be a finite number, not {_short(value)}")
        if value < least:
            inner.fail("value", f"must be at least {least:g}, not {value!r}")
        inner.close()
        return value

    def count(self, name: str, unit: str, none: bool = True) -> int | None:
        """A whole figure of at least 1."""
        value = self.figure(name, unit, least=1, none=none)
        if value is not None and value > MOST:
            self.fail(name + ".value", f"must be at most {MOST}, not {value!r}")
        if value is not None and value != int(value):
            self.fail(name + ".value", f"must be a whole number of at least 1, not {value!r}")
        return None if value is None else int(value)

    def inside(self, name: str, optional: bool = False) -> Any:
        """The reader of an object in a field."""
        self.asked.add(name)
        if name not in self.content:
            return None if optional else self.fail(name, "is missing")
        return _Reader(self.path, self.content[name], ".".join(part for part in (self.at, name) if part))

    def each(self, name: str) -> list[_Reader]:
        """Readers of the objects in a list."""
        values = self.get(name, list, [])
        return [_Reader(self.path, v, f"{self.at + '.' if self.at else ''}{name}[{i}]") for i, v in enumerate(values)]

    def close(self) -> None:
        """Every field must have been asked for."""
        for name in self.content:
            if name not in self.asked:
                self.fail(
                    name.encode("unicode_escape").decode(),
                    f"is unknown: known here are {', '.join(sorted(self.asked))}",
                )


_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    bool: "true or false",
}


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "…"


def presets() -> list[str]:
    """Names of the machines that come with pcsim."""
    return sorted(path.stem for path in PRESETS.glob("*.json"))


def load(name: str | Path) -> Machine:
    """A machine: a preset by its name, or a machine file by its path (- for standard input). InputError in one line
    that names the field."""
    path = PRESETS / f"{name}.json" if str(name) in presets() else Path(name)
    try:
        text = read_text(path, "calibrate")
    except InputError as error:
        a_path = "/" in str(name) or "." in str(name) or is_stream(name)
        raise InputError(str(error) if a_path else f"{error}; presets are {', '.join(presets())}") from None
    path = source(path)
    try:
        content = json.loads(text, parse_constant=lambda word: float("nan"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from None
    return parse(content, path)


def parse(content: Any, path: Path) -> Machine:
    """A machine from the content of a file."""
    top = _Reader(path, content)
    schema = top.get("schema", str, None)
    if schema != SCHEMA:
        top.fail("schema", f"must be {SCHEMA!r}" + (f", not {schema!r}" if schema else " and is missing"))
    name, title = top.get("name", str), top.get("title", str, "")
    top.get("notes", list, [])
    calibrated = top.get("calibrated", dict, None)
    if calibrated is not None:
        _check_calibrated(top.inside("calibrated"))
    topology = top.inside("topology")
    nodes, sockets, cores = (topology.count(part, part) for part in ("nodes", "sockets", "cores"))
    batched = topology.get("batched", bool, False)
    topology.close()
    fields = _products(top.inside("products"), batched)
    if images := top.inside("convolutions", optional=True):
        fields["images"] = _points(images, {*MULTIPLY, "values", LOAD, *PASSES, *SKIPS.values()})
        images.close()
    fields["levels"] = tuple(_level(level) for level in top.each("memory"))
    _check_levels(top, fields["levels"])
    if fields["model"] == "roofline" and not fields["levels"]:
        top.fail("memory", "is missing: a roofline needs a level at least")
    if handover := top.inside("handover", optional=True):
        fields["handover_latency"] = handover.figure("latency", "s", 0.0)
        fields["handover_bandwidth"] = handover.figure("bandwidth", "byte/s", math.inf, least=1)
        handover.close()
    if barrier := top.inside("barrier", optional=True):
        fields["barrier"] = barrier.figure("pair", "s", 0.0), barrier.figure("doubling", "s", 0.0)
        barrier.close()
    if messages := top.inside("messages", optional=True):
        for which in ("within", "between"):
            fields[which] = _read_messages(messages.inside(which, optional=True))
        messages.close()
    if energy := top.inside("energy", optional=True):
        fields["flop_energy"] = energy.figure("flop", "J/flop", None)
        fields["message_energy"] = energy.figure("message", "J/byte", None)
        energy.close()
    top.close()
    return Machine(
        name, title, nodes=nodes, sockets=sockets or 1, cores=cores, calibrated=calibrated, source=content, **fields
    )


def _check_calibrated(reader: _Reader) -> None:
    """When a calibration was, and its range; other fields are for people."""
    reader.get("time", str)
    if reader.get("dtype", str) not in ITEMS:
        reader.fail("dtype", f"must be one of {', '.join(ITEMS)}")
    for name in ("widths", "batches", "workers"):
        numbers = reader.get(name, list)
        if not numbers or not all(is_whole(n) and n <= MOST for n in numbers):
            reader.fail(name, "must be a list of whole numbers of at least 1")


def _products(reader: _Reader, batched: bool) -> dict[str, Any]:
    model = reader.get("model", str)
    found: dict[str, Any] = {"model": model, "batched": batched}
    if model not in MODELS:
        reader.fail("model", f"must be one of {', '.join(MODELS)}, not {model!r}")
    if model == "measured":
        found["overhead"] = reader.figure("overhead", "s", 0.0)
        found["step_overhead"] = reader.figure("step_overhead", "s", 0.0)
        found["points"] = _points(reader, {*PARTS, *SPLIT, LOAD, *RULES.values()})
    else:
        found["overhead"] = reader.figure("overhead", "s", 0.0)
        found["element"] = reader.figure("element", "s", 0.0)
        if model == "roofline":
            found["flop_rate"] = reader.figure("flop_rate", "flop/s", least=1)
        else:
            found["constants"] = {part: reader.figure(part, "s", 0.0) for part in PARTS}
            found["serial_batch"] = reader.get("serial_batch", bool, False)
    reader.close()
    return found


def _points(reader: _Reader, works: set[str]) -> tuple[tuple, ...]:
    """A table of measured points of such work."""
    reader.get("unit", str)
    if reader.content["unit"] != "s":
        reader.fail("unit", f"must be 's', not {reader.content['unit']!r}")
    reader.get("source", str)
    columns = reader.get("columns", list)
    if columns != list(COLUMNS):
        reader.fail("columns", f"must be {json.dumps(list(COLUMNS))}")
    found = tuple(_point(reader, i, p, works) for i, p in enumerate(reader.get("points", list)))
    return found or reader.fail("points", "must hold a point at least")


def _point(reader: _Reader, number: int, point: Any, works: set[str]) -> tuple:
    where = f"points[{number}]"
    if not isinstance(point, list) or len(point) != len(COLUMNS):
        reader.fail(where, f"must be a list of {len(COLUMNS)}: {', '.join(COLUMNS)}")
    work, *numbers = point
    if not isinstance(work, str) or not set(work.split("+")) <= works:
        known = [name for name in (*PARTS, *PASSES) if name in works]
        reader.fail(where, f"work must be of {', '.join(known)}, joined by '+', not {_short(work)}")
    for name, value in zip(COLUMNS[1:], numbers, strict=True):
        if not is_number(value) or value < 0:
            reader.fail(where, f"{name} must be a number of at least 0, not {_short(value)}")
        if value <= 0 and name != "distance":
            reader.fail(where, f"{name} must be above 0, not {value!r}")
        if value != int(value) and name not in ("distance", "seconds"):
            reader.fail(where, f"{name} must be a whole number of at least 1, not {value!r}")
    return tuple(point)


def _level(reader: _Reader) -> Level:
    level = Level(
        reader.get("level", str),
        reader.figure("size", "byte", least=1, none=True),
        reader.figure("bandwidth", "byte/s", least=1),
        reader.figure("shared_bandwidth", "byte/s", None, least=1),
        reader.count("sharers", "cores") if "sharers" in reader.content else None,
        reader.figure("energy", "J/byte", None),
    )
    reader.asked |= {"sharers"}
    reader.close()
    return level


def _check_levels(top: _Reader, levels: Sequence[Level]) -> None:
    for number, (near, far) in enumerate(itertools.pairwise(levels)):
        if near.size is None or (far.size is not None and far.size <= near.size):
            top.fail(
                f"memory[{number + 1}].size", "must be larger than that of the level before; null only in the last"
            )


def _read_messages(reader: _Reader | None) -> MessageTimes | None:
    if reader is None:
        return None
    overhead, reduction = reader.figure("overhead", "s", 0.0), reader.figure("reduction", "s/byte", 0.0)
    segments = []
    for inner in reader.each("segments"):
        segments.append(
            Segment(
                inner.figure("from", "byte"),
                inner.figure("latency", "s"),
                inner.figure("gap", "s/byte"),
                inner.get("protocol", str, ""),
            )
        )
        inner.close()
        if len(segments) > 1 and segments[-1].begin <= segments[-2].begin:
            inner.fail("from.value", "must be larger than that of the segment before")
    if not segments or segments[0].begin != 0:
        reader.fail("segments", "must begin with one from 0 bytes on")
    reader.close()
    return MessageTimes(overhead, tuple(segments), reduction)


def figure(value: float | None, unit: str, source: str) -> dict[str, Any]:
    """A figure as it stands in a machine file."""
    return {"value": value, "unit": unit, "source": source}
