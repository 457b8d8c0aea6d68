"""The results file ``pcsim-results/1``: written as cells end, read back strictly; and the statistics of its samples.

A file is JSON Lines: a header with the context (machine, versions), then one row per cell and configuration. It
must never know how a row was measured (engines, clocks) nor how it is shown (tables, figures).
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import reprlib
from codecs import BOM_UTF8
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..streams import CUT, check_place, is_packed, is_stream, packed, read_bytes, source, target, why, write_out
from .fields import SCHEMA, USUAL, Row, all_finite, check_row, value_of
from .statistics import Floats, bootstrap_interval

KEY: tuple[str, ...] = ("algorithm", "execution", "backend", "workers", "depth", "width", "batch", "steps", "dtype")
KEY += ("activation", *USUAL)

ABSENT = ("steps", *USUAL)


@dataclass(frozen=True)
class Results:
    """What a results file holds. ``rows`` have every required field of CONTRACT section 5; others may be absent.

    ``context`` is the first header's: free fields, of which ``cpu_model`` (text), ``cores`` (how many are usable)
    and ``versions`` (with ``pcsim``) are looked at. ``resumed`` holds the context of each later run that carried
    the file on; ``warnings`` are short texts for the reader.
    """

    path: Path
    context: dict[str, Any]
    rows: list[Row]
    warnings: list[str] = field(default_factory=list)
    resumed: list[dict[str, Any]] = field(default_factory=list)
    schema: str = SCHEMA


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The cell and configuration of a row: its values of ``KEY``, in that order. ``steps`` may be absent, and what
    ``USUAL`` names."""
    return tuple(value_of(row, name) if name in ABSENT else row[name] for name in KEY)


def configuration(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells two rows of one kind apart: :func:`key`, and how many ranks and how much added latency they had.

    Two ranks of one thread and one rank of two threads share the key, as ``workers`` is 2 for both. A delay of 0 is
    not null: it is that of a network made for the purpose, to which nothing was added.
    """
    return *key(row), row.get("ranks"), row.get("delay")


def samples(row: Mapping[str, Any]) -> Floats:
    """The raw samples of a row in seconds, in the order of the rounds; NaN where one is missing."""
    return np.array(row["seconds"], dtype=np.float64)


def read(path: str | os.PathLike[str], *schemas: str) -> Results:
    """Reads a file of one of the ``schemas``: a results file, unless told otherwise. A last line cut by a crash is
    dropped with a warning; extra fields are kept.

    Raises :class:`InputError`, naming file, line and field, for anything else.
    """
    data, name = read_bytes(path).text, source(path)
    if not data:
        there = is_stream(path) or name.is_file()
        raise InputError(f"{name}: {'is empty' if there else 'no such file'}; give a file that pcsim wrote")
    return _parse(name, data, *(schemas or (SCHEMA,)))[0]


def latest(rows: list[Row]) -> list[Row]:
    """The rows that count: where a cell was measured again (its first interrupted, or a failure mended), the later.

    Ranks measure their cells apart from threads, a cell with added latency is another one, and each process (launch) of
    several measures it for itself: none displaces another.
    """
    cells: dict[tuple[Any, ...], dict[tuple[Any, ...], Row]] = {}
    for row in rows:
        cell = tuple(row[name] for name in ("depth", "width", "batch", "dtype", "activation", "kind"))
        cell += tuple(value_of(row, name) for name in USUAL)
        cell += (row["backend"] == "mpi", row.get("delay"), row.get("launch") or 0)
        mine = configuration(row)
        if mine in cells.setdefault(cell, {}):
            cells[cell] = {}
        cells[cell][mine] = row
    return [row for held in cells.values() for row in held.values()]


def check_target(path: str | os.PathLike[str], resume: bool = False) -> None:
    """Raises at once, and touches nothing, for a target that :class:`Writer` would refuse after a long preparation."""
    if is_stream(path):
        _check_stream(resume)
        return
    path = Path(path)
    data, members = read_bytes(path)
    if data and not resume:
        raise InputError(f"{path}: exists already; use --resume to carry on with it, or another name")
    if data and not _cut_header(data, SCHEMA):
        _whole_end(path, data, members, _parse(path, data, SCHEMA)[1])
    if data:
        with open(path, "rb") as file:
            _lock(file.fileno(), path)
    check_place(path)


class Writer:
    """Appends rows to a results file, each on the disk before :meth:`write` returns.

    A name that ends in ``.gz`` is packed, each line for itself; ``-`` is standard output, which cannot be resumed.
    ``context`` says where and with what the rows are measured (see :class:`Results`). With ``resume`` an existing
    file is carried on: ``rows`` holds what it has, ``recovered`` says what a crash had cut off (else None) and
    ``warnings`` whether CPU model or pcsim version differ from the first run's. Raises :class:`InputError` for a
    file that exists (without ``resume``), is not a results file or cannot be written; then nothing is touched.
    """

    def __init__(
        self, path: str | os.PathLike[str], context: Mapping[str, Any], resume: bool = False, schema: str = SCHEMA
    ) -> None:
        self.path, self.schema = target(path), schema
        self.packed, self.stream = is_packed(path), is_stream(path)
        self.rows: list[Row] = []
        self.warnings: list[str] = []
        self.recovered: str | None = None
        self.written = 0  # rows, by this writer
        plain = _plain(context)
        if self.stream:
            _check_stream(resume)
            self._file = -1
            write_out(_line({"schema": schema, "context": plain}))
            return
        data = read_bytes(self.path).text
        if data and not resume:
            raise InputError(f"{self.path}: exists already; use --resume to carry on with it, or another name")
        self._before = len(self.path.read_bytes()) if self.path.exists() else None
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be written ({why(error)}); give another place") from None
        try:
            self._begin(plain, schema)
        except BaseException:
            self.close()
            raise

    def _begin(self, plain: dict[str, Any], schema: str) -> None:
        """Take the file for this process, read what it holds, and add the header of this run."""
        _lock(self._file, self.path)
        data, members = read_bytes(self.path)
        opening, end = {"schema": schema, "context": plain}, 0
        if data and _cut_header(data, schema):
            self.recovered = f"{self.path}: only a cut header was there; begun again"
        elif data:
            known, end = _parse(self.path, data, schema)
            self.rows = known.rows
            self.recovered = known.warnings[0] if end < len(data) else None
            self.warnings = _differences(self.path, known.context, plain)
            opening = {"resumed": plain}
        first = _line(opening)
        self.packed = self.packed if not data else members is not None
        self._end = self._kept = _whole_end(self.path, data, members, end)
        try:
            os.ftruncate(self._file, self._end)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({why(error)}); give another place") from None
        self._append(first if data[:end].endswith(b"\n") or not end else b"\n" + first)

    def write(self, row: Mapping[str, Any]) -> Row:
        """Appends one row and returns it as written: plain Python values, NaN and infinities as None.

        What is absent is filled in: ``median`` and ``ci95`` from ``seconds``, else null; no warnings, no error.
        Raises :class:`InputError` naming the field for a row that :func:`read` would refuse, and for a full disk.
        """
        whole: Row = _plain(row)
        if self.schema == SCHEMA:
            whole |= {"steps": None, "seconds": [], "median": None, "ci95": None, "warnings": [], "error": None} | whole
        check_row(whole, f"{self.path}: row not written", self.schema)
        known = [sample for sample in whole["seconds"] if sample is not None] if self.schema == SCHEMA else []
        if known and not {"median", "ci95"} & row.keys():
            whole |= {"median": float(np.median(known)), "ci95": list(bootstrap_interval(known))}
        self.rows.append(whole)  # first: an interrupt may come when the row is on its way to the disk
        self.written += 1
        try:
            self._append(_line(whole))
        except InputError:
            self.rows.pop()
            self.written -= 1
            raise
        return whole

    def undo(self) -> None:
        """Closes the file and leaves it as it was found, a cut end apart, if no row has been written: for what ends
        before it has begun."""
        if self._file < 0 or self.written:
            return
        if self._before is None:
            self.path.unlink(missing_ok=True)
        else:
            with suppress(OSError):
                os.ftruncate(self._file, min(self._before, self._kept))
        self.close()

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        if self.stream:
            write_out(line)
            return
        left = data = packed(line) if self.packed else line
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):  # no half line may stay, to which a later row would be glued
                os.ftruncate(self._file, self._end)
            raise InputError(f"{self.path}: cannot be written ({why(error)}); earlier rows are kept") from None
        self._end += len(data)


def _check_stream(resume: bool) -> None:
    if resume:
        raise InputError("--resume cannot continue standard output: name the file to continue")


def _whole_end(path: Path, data: bytes, members: list[tuple[int, int]] | None, end: int) -> int:
    """Where in the file the first ``end`` bytes of its text end. Of packed text these have to be whole members, as
    each line is for itself in what pcsim packs."""
    if members is None:
        return end
    text, held = max((both for both in [(0, 0), *members] if both[0] <= end), default=(0, 0))
    if data[text:end].strip():
        raise InputError(f"{path}: was packed as a whole and then cut: gunzip it to carry on with it")
    return held


def _lock(file: int, path: Path) -> None:
    """InputError where another process is writing the file. The lock goes with the process, however that ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path}: {_holder(file)} is writing it; wait until it has ended") from None
    except OSError:  # a file system without locks
        pass


def _holder(file: int) -> str:
    """Who holds the lock of a file, as far as the system tells (Linux)."""
    inode = os.fstat(file).st_ino
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()  # 1: FLOCK ADVISORY WRITE <process> <major>:<minor>:<inode> 0 EOF
            if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
                return f"process {words[4]}"
    return "another process"


def _line(held: Row) -> bytes:
    return json.dumps(held, allow_nan=False).encode() + b"\n"


def _decoded(line: bytes) -> Any:
    """What the JSON text says, half a surrogate pair as a question mark; None for anything that is not JSON."""
    try:
        found = json.loads(line.removeprefix(BOM_UTF8).decode())
        if b"\\ud" in line.lower():  # no font, no terminal and no file takes such a half
            found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
        return found
    except (ValueError, RecursionError):
        return None


def _cut_header(data: bytes, schema: str) -> bool:
    """Whether a crash left no more than the beginning of our header."""
    header = f'{{"schema": "{schema}"'.encode()
    there = data.removesuffix(CUT)
    begun = there[: len(header)] == header[: len(there)]
    return begun and b"\n" not in data and _decoded(data) is None


def _parse(path: Path, data: bytes, *schemas: str) -> tuple[Results, int]:
    """Results, and how many bytes hold them: fewer than there are only if the last line is cut (first warning)."""
    lines, end = data.split(b"\n"), len(data)
    header = _decoded(lines[0])
    if any(_cut_header(data, schema) for schema in schemas):
        raise InputError(f"{path}, line 1: the header is cut in the middle, so there is nothing to read; measure again")
    if not isinstance(header, dict) or "schema" not in header:
        raise InputError(f"{path}, line 1: schema is missing, so this is not a results file; give one that pcsim wrote")
    schema = header["schema"]
    if schema not in schemas:
        expected = " or ".join(map(repr, schemas))
        raise InputError(f"{path}, line 1: schema is {reprlib.repr(schema)}; expected {expected}")
    known = Results(path, _context(header, "context", f"{path}, line 1"), [], schema=schema)
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        where, row = f"{path}, line {number}", _decoded(line)
        if row is None and number == len(lines):
            end -= len(line)
            known.warnings.insert(0, f"{where}: was cut in the middle by a crash and is left out")
        elif not isinstance(row, dict):
            raise InputError(f"{where}: row is not a JSON object; every line of a results file is one")
        elif "schema" in row:
            raise InputError(f"{where}: schema stands a second time; give files one by one, not glued together")
        elif "resumed" in row:
            known.resumed.append(_context(row, "resumed", where))
            known.warnings.extend(_differences(path, known.context, known.resumed[-1]))
        else:
            check_row(row, where, schema)
            known.rows.append(row)
    return known, end


def _context(line: Row, name: str, where: str) -> dict[str, Any]:
    context = line.get(name)
    if not isinstance(context, dict) or not all_finite(context):
        raise InputError(f"{where}: {name} must be a JSON object without NaN, not {reprlib.repr(context)}")
    return context


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: NumPy's scalars and arrays, fractions and paths converted, NaN as None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(held) for name, held in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _compiled(context: Mapping[str, Any]) -> str | None:
    """For which processor, and with which unusual settings, kernels were compiled; None where that is not told."""
    found = context.get("kernels")
    if not isinstance(found, dict):
        return None
    settings = found.get("settings")
    changed = [f"{name}={value}" for name, value in settings.items()] if isinstance(settings, dict) else []
    return " ".join(["for", str(found.get("cpu")), *changed])


def _differences(path: Path, first: Mapping[str, Any], later: Mapping[str, Any]) -> list[str]:
    versions = [run["versions"] if isinstance(run.get("versions"), dict) else {} for run in (first, later)]
    pairs = {
        "CPU model": (first.get("cpu_model"), later.get("cpu_model")),
        "pcsim version": (versions[0].get("pcsim"), versions[1].get("pcsim")),
        "compilation of the kernels": (_compiled(first), _compiled(later)),
    }
    return [
        f"{path}: resumed with another {what} ({now} after {was}); do not compare the rows of both runs"
        for what, (was, now) in pairs.items()
        if was is not None and now is not None and was != now
    ]
