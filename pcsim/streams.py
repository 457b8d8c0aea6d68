"""Files as a user names them: plain, packed by gzip (``.gz``), or ``-`` for standard input and output.

It must never know what the bytes mean. What is packed is known by its first bytes when it is read, and by its name when
it is written.
"""

from __future__ import annotations

import gzip
import os
import stat
import sys
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .errors import InputError

STREAM = "-"

LARGEST_BYTES = 2**31  # that a packed file may unpack to
DENSEST = 500  # bytes from one, of large files: rows of results give 10 or fewer, and gzip cannot give more than 1032

CUT = b"\0" + os.urandom(8).hex().encode()  # what is missing of a packed file that was cut: no file holds this

_PIECE = 2**16

_MAGIC = b"\x1f\x8b"

# Marks of byte order of what Windows calls Unicode, the longer first, as they begin alike.
_OTHERS = {BOM_UTF32_LE: "UTF-32", BOM_UTF32_BE: "UTF-32", BOM_UTF16_LE: "UTF-16", BOM_UTF16_BE: "UTF-16"}


class Unpacked(NamedTuple):
    """The bytes of a file, unpacked. ``members`` says where each whole gzip member ends, in the text and in the file;
    None where the file is not packed. If the last member is cut, the text ends in :data:`CUT`."""

    text: bytes
    members: list[tuple[int, int]] | None


def is_stream(path: str | os.PathLike[str] | None) -> bool:
    """Whether the name stands for standard input or output."""
    return path is not None and os.fspath(path) == STREAM


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Whether what is written under the name is packed."""
    return os.fspath(path).lower().endswith(".gz")


def source(path: str | os.PathLike[str]) -> Path:
    """What a file that is read is called in messages."""
    return Path("standard input" if is_stream(path) else path)


def target(path: str | os.PathLike[str]) -> Path:
    """What a file that is written is called in messages."""
    return Path("standard output" if is_stream(path) else path)


def check_streams(paths: Iterable[str | None]) -> None:
    """InputError where more than one of the files is standard input, or standard output."""
    if sum(map(is_stream, paths)) > 1:
        raise InputError(f"only one file can be {STREAM}: name the others")


def check_place(path: str | os.PathLike[str]) -> None:
    """InputError at once where a file, which may be there already, could not be written later."""
    if is_stream(path):
        return
    try:
        taken, parent = Path(path), Path(path).parent
        if taken.is_dir():
            raise InputError(f"{path}: is a folder; give the name of a file")
        if not taken.exists() and not parent.is_dir():
            raise InputError(f"{path}: cannot be written (no such folder); give another place")
        if not os.access(taken if taken.exists() else parent, os.W_OK):
            raise InputError(f"{path}: cannot be written (no permission); give another place")
        _open_once(taken)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be written ({why(error)}); give another place") from None


def _open_once(path: Path) -> None:
    """OSError where a file cannot be opened to be written, whatever permissions say: ``/proc`` gives root all of them,
    and holds no new file. What is there is left as it is, and what is not there is gone again."""
    if path.is_file():
        os.close(os.open(path, os.O_WRONLY))
    elif not path.exists() and not path.is_symlink():
        with suppress(FileExistsError):  # another process has just made it
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            path.unlink()


def read_bytes(path: str | os.PathLike[str], made_by: str = "bench") -> Unpacked:
    """What an ordinary file or standard input holds, unpacked; nothing if there is no such file. InputError where it
    cannot be read, is not an ordinary file, or would fill the memory."""
    if is_stream(path):
        stream = getattr(sys.stdin, "buffer", None)
        data = stream.read() if stream else b""
    else:
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode):
                what = "a folder" if stat.S_ISDIR(mode) else "not an ordinary file"
                raise InputError(f"{path}: is {what}; give a file that {made_by} wrote")
            data = Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return Unpacked(b"", None)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({why(error)})") from None
    for mark, encoding in _OTHERS.items():
        if data.startswith(mark):
            raise InputError(f"{source(path)}: is text in {encoding}: convert it to UTF-8")
    return unpack(data, source(path)) if data[:2] in (_MAGIC, _MAGIC[:1]) else Unpacked(data, None)


def read_text(path: str | os.PathLike[str], made_by: str) -> str:
    """The text of a whole file, or of standard input; InputError for none, and for half a file."""
    text, _ = read_bytes(path, made_by)
    if not text:
        there = is_stream(path) or os.path.exists(path)
        raise InputError(f"{source(path)}: {'is empty' if there else 'No such file or directory'}")
    if text.endswith(CUT):
        raise InputError(f"{source(path)}: its gzip data end too early; give the whole file")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{source(path)}: is not text, so not a file that {made_by} wrote") from None


def unpack(data: bytes, where: object) -> Unpacked:
    """Unpacks gzip members, one after the other; the last may be cut. InputError for damaged data, and for some that
    would unpack to gigabytes of the same."""
    texts: list[bytes] = []
    members: list[tuple[int, int]] = []
    at = size = 0
    while at < len(data) and (data[at] or data[at:].strip(b"\0")):  # zeros may follow the last member
        engine, fed, more = zlib.decompressobj(wbits=31), at, True
        try:
            while not engine.eof and (more or engine.unconsumed_tail or fed < len(data)):
                piece = engine.unconsumed_tail or data[fed : fed + _PIECE]
                fed += 0 if engine.unconsumed_tail else len(piece)
                texts.append(engine.decompress(piece, 16 * _PIECE))
                more = bool(texts[-1])
                size += len(texts[-1])
                _check_size(size, len(data), where)
        except zlib.error as error:
            raise InputError(f"{where}: damaged gzip data ({error})") from None
        if not engine.eof:
            text = b"".join(texts)
            begun = text[members[-1][0] if members else 0 :].rstrip(b"\n")
            return Unpacked(text[: members[-1][0] if members else 0] + begun[:-1] + CUT, members)
        at = fed - len(engine.unused_data)
        members.append((size, at))
    return Unpacked(b"".join(texts), members)


def _check_size(size: int, packed: int, where: object) -> None:
    if size > LARGEST_BYTES:
        raise InputError(f"{where}: unpacks to more than {LARGEST_BYTES:,} bytes; expected fewer")
    if size > 2**26 and size > DENSEST * packed:
        raise InputError(f"{where}: unpacks {packed:,} bytes to more than {size:,} that are all alike; expected text")


def packed(data: bytes) -> bytes:
    """One gzip member, the same for the same bytes."""
    return gzip.compress(data, mtime=0)


def write_out(data: bytes) -> None:
    """To standard output, at once."""
    sys.stdout.flush()
    stream = getattr(sys.stdout, "buffer", None)
    if stream:
        stream.write(data)
    else:
        sys.stdout.write(data.decode())
    sys.stdout.flush()


def write_whole(text: str, path: str | os.PathLike[str]) -> None:
    """A whole file in place of what stood there, or nothing; InputError where it cannot be written."""
    data = (text + "\n").encode()
    if is_stream(path):
        write_out(data)
        return
    data, part = packed(data) if is_packed(path) else data, None
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe is written to, and stays what it is
            Path(path).write_bytes(data)
            return
        goal = Path(os.path.realpath(path))  # what a link names is replaced, not the link
        part = goal.with_name(goal.name + ".part")
        part.write_bytes(data)
        os.replace(part, goal)
    except (OSError, ValueError) as error:
        if part:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {why(error)}") from None


def why(error: Exception) -> str:
    """What the system says of an error."""
    return getattr(error, "strerror", None) or str(error)
