"""Compiled code kept on disk, under everything that it depends on.

Numba's own cache knows the function and the processor. Code also changes with the functions that are compiled into it
(Numba looks at one file alone), and with Numba's settings (:mod:`.settings`): here they are part of what is looked for.
Each piece of code is a file of its own with a checksum: one that was cut short is compiled anew, and two processes
that compile at once do not overwrite each other's. A folder that cannot be written costs compilation, never a run.
"""

import functools
import hashlib
import inspect
import os
import pickle
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from .settings import code_settings

KERNELS = Path(__file__).parents[1]

_said: set[str] = set()

_folders: set[Path] = set()


class KernelCacheWarning(UserWarning):
    """Compiled code was not kept, or what was kept could not be used."""


def _say(kind: str, text: str) -> None:
    """Once for each kind: there are a hundred functions."""
    if kind not in _said:
        _said.add(kind)
        warnings.warn(text, KernelCacheWarning, stacklevel=2)


def _told(failure: OSError) -> str:
    return failure.strerror or str(failure)


def why_not_kept() -> str | None:
    """Why the folders in which code is kept cannot be written; None where they can."""
    return next(filter(None, map(_writable, sorted(_folders))), None)


def broken_files() -> int:
    """How many files of kept code are not what was written."""
    return sum(_read(path) is None for folder in _folders for path in folder.glob("*.nbc") if _ours(path))


def _ours(path: Path) -> bool:
    return path.name.count(".") >= 4  # Numba's own end in .NUMBER.nbc


@functools.lru_cache
def _writable(folder: Path) -> str | None:
    """None, or why nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as failure:
        return _told(failure)


def _places(file: str) -> list[Path]:
    """Where code of a source file may be kept: where NUMBA_CACHE_DIR says, or beside it, or in the user's folder."""
    own = _CacheLocator.get_suitable_cache_subpath(file)
    if config.CACHE_DIR:
        return [Path(config.CACHE_DIR, own)]
    return [Path(file).parent / "__pycache__", Path(AppDirs("numba", False).user_cache_dir, own)]


class _Locator(_CacheLocator):
    """The first folder that can be written; else the first that is there, as it can be read."""

    def __init__(self, function: Callable, file: str) -> None:
        places = _places(file)
        written = [folder for folder in places if _writable(folder) is None]
        there = [folder for folder in places if any(folder.glob("*.nbc"))] if not written else []
        self.folder = [*written, *there, *places][0]
        _folders.add(self.folder)
        self.line = function.__code__.co_firstlineno
        self.sources = _sources(function, file)
        self.numbers = _numbers(function)

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        found = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
        for folder in self.sources:
            found.update(_digest(folder))
        for name, value in sorted(self.numbers.items()):
            found.update(f"\0{name} {value!r}".encode())
        return found.hexdigest()

    def get_disambiguator(self) -> str:
        return str(self.line)


def _numbers(function: Callable) -> dict[str, Any]:
    """What a function and those that it calls hold as constants, wherever these were imported from."""
    called = [each.py_func for each in function.__globals__.values() if isinstance(each, Dispatcher)]
    found = {}
    for each in (function, *called):
        known = {name: each.__globals__.get(name) for name in each.__code__.co_names}
        found |= {name: value for name, value in known.items() if isinstance(value, int | float | np.number)}
    return found


def _sources(function: Callable, file: str) -> list[Path]:
    """The folders whose sources can be compiled into a function."""
    called = [each.py_func for each in function.__globals__.values() if isinstance(each, Dispatcher)]
    return sorted({KERNELS, Path(file).parent, *(Path(each.__code__.co_filename).parent for each in called)})


@functools.lru_cache
def _digest(folder: Path) -> bytes:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py") if folder == KERNELS else folder.glob("*.py")):
        found.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return found.digest()


class _Implementation(CompileResultCacheImpl):
    def __init__(self, function: Callable) -> None:  # Numba's own asks its locators
        file = inspect.getfile(function)
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function, file)
        self._filename_base = self.get_filename_base(f"{Path(file).stem}.{function.__qualname__}", sys.abiflags)

    def check_cachable(self, cres: Any) -> bool:
        """Whether code can be kept. (Numba's own names a file, which no locator here stands for.)"""
        if any(not lifted.can_cache for lifted in cres.lifted) or cres.library.has_dynamic_globals:
            _say(
                "address",
                "kernels that hold an address of this process cannot be kept: every process compiles them anew "
                "(NUMBA_OPT=0 leaves such addresses in)",
            )
            return False
        return True


class KernelCache(FunctionCache):
    """What a dispatcher asks for code, and hands code to."""

    _impl_class = _Implementation

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._cache_file = _Files(
            Path(self._cache_path), self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        return (*super()._index_key(signature, codegen), tuple(sorted(code_settings().items())))

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep it, if that can be done."""
        try:
            super().save_overload(signature, data)
        except OSError as failure:
            _say(
                "save",
                f"compiled kernels cannot be kept ({_told(failure)}): every process compiles them anew; "
                "set NUMBA_CACHE_DIR to a folder with room that can be written",
            )


class _Files:
    """The files of one function: for each key one, its name made from the sources and the key."""

    def __init__(self, folder: Path, name: str, stamp: str) -> None:
        self.folder, self.name, self.stamp = folder, name, stamp

    def path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self.folder / f"{self.name}.{self.stamp[:12]}.{digest[:16]}.nbc"

    def load(self, key: Any) -> Any:
        """The code, or None."""
        path = self.path(key)
        if not path.exists():
            return None
        payload = _read(path)
        if payload is None:
            _say("load", "kept kernels were cut short or damaged: they are compiled anew, and kept again")
            return None
        kept_key, data = pickle.loads(payload)
        return data if kept_key == key else None

    def save(self, key: Any, data: Any) -> None:
        """Write it whole or not at all, and remove what older sources left."""
        payload = dumps((key, data))
        path = self.path(key)
        new = path.with_name(f"{path.name}.tmp.{uuid.uuid4().hex[:16]}")
        try:
            new.write_bytes(hashlib.sha256(payload).digest() + payload)
            os.replace(new, path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        for old in self.folder.glob(f"{self.name}.*.nbc"):
            if _ours(old) and not old.name.startswith(f"{self.name}.{self.stamp[:12]}."):
                old.unlink(missing_ok=True)

    def flush(self) -> None:
        """Forget all of it."""
        for path in self.folder.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    """What was written; None where the file is not that any more."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data[32:] if hashlib.sha256(data[32:]).digest() == data[:32] else None
