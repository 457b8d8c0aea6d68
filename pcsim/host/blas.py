"""How many threads BLAS uses: a number of the whole process, so whoever sets it shares it with every other thread.

With another number a product forms its sums in another order. In the middle of a training that is more than rounding:
where no error has come yet, a prediction must repeat the bits of the forward start, and a difference of 1e-8 in place
of 0 makes Adam take a full step with every weight of the layer (half a percent of the loss was seen).
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from threadpoolctl import ThreadpoolController

from ..errors import InputError


@dataclass
class _Level:
    """A number that holds for the moment. found: what libraries then say; alone: whether one thread alone may rely on
    it; before: of each library, what is put back; users: the thread of each context that relies on it."""

    count: int
    alone: bool
    libraries: list[Any]
    before: list[int]
    users: list[int] = field(default_factory=list)
    found: list[int] = field(default_factory=list)


_lock = threading.Lock()
_levels: list[_Level] = []  # each within the one before, and then all of one thread


def blas_libraries() -> ThreadpoolController:
    """The BLAS libraries that this process has loaded so far."""
    return ThreadpoolController().select(user_api="blas")


def limit_worker(count: int, among: ThreadpoolController) -> None:
    """The same number for a thread that begins and ends within ``blas_threads``: to OpenMP it is a number
    of each thread."""
    for library in among.lib_controllers:
        if getattr(library, "threading_layer", "") == "openmp":
            library.set_num_threads(count)


@contextmanager
def blas_threads(
    count: int | None, *, alone: bool = False, among: ThreadpoolController | None = None
) -> Iterator[None]:
    """Within this context BLAS uses ``count`` threads (None: as many as outside of all such contexts), and then as
    many as before.

    Contexts of several threads share a number, which is put back when the last of them ends. InputError where another
    thread relies on another number, or where one of them is to be ``alone``. A RuntimeWarning if somebody else has
    changed the number meanwhile, which is then left as it is. ``among``: the libraries, where they are known.
    """
    me = threading.get_ident()
    with _lock:
        level = _enter(me, count, alone, among)
    changed = False
    try:
        yield
    finally:
        with _lock:
            level.users.remove(me)
            if not level.users:
                _levels.remove(level)
                changed = _numbers(level.libraries) != level.found
                _leave(level, changed)
    if changed:
        warnings.warn(
            f"BLAS was to use {_threads(level.count)} during this call, and something outside pcsim has changed that:"
            " the bits may not be those of an undisturbed call",
            RuntimeWarning,
            stacklevel=3,
        )


def _enter(me: int, count: int | None, alone: bool, among: ThreadpoolController | None) -> _Level:
    """The level that holds now, or a new one."""
    libraries = _levels[0].libraries if _levels else (among or blas_libraries()).lib_controllers
    own = _levels[0].before if _levels else _numbers(libraries)
    wanted = max(own, default=1) if count is None else count
    if _levels:
        level = _levels[-1]
        # Within another level there is a thread that is to find its own number again.
        if any(user != me for each in _levels for user in each.users) and (
            alone or level.alone or len(_levels) > 1 or wanted != level.count
        ):
            raise InputError(
                "another thread of this process is training, and this call cannot share BLAS with it, which has"
                f" {_threads(level.count)} for the whole process: wait for it, or use another process"
            )
        if wanted == level.count and (level.alone or not alone):
            level.users.append(me)
            return level
    level = _Level(wanted, alone, libraries, _numbers(libraries), [me])
    for library, its in zip(libraries, own, strict=True):
        _set(library, its if count is None else count)
    level.found = _numbers(libraries)
    _levels.append(level)
    return level


def _leave(level: _Level, changed: bool) -> None:
    """Put back what was before; let others set it again."""
    for library, before in zip(level.libraries, level.before, strict=True):
        if not changed:
            _set(library, before)
        if not _levels:
            _free(library)


def _set(library: Any, count: int) -> None:
    if library.num_threads == count:
        return
    library.set_num_threads(count)
    if library.num_threads != count:  # threadpoolctl 3.8: the first thread that has set a number keeps others from it
        _free(library)
        library.set_num_threads(count)


def _free(library: Any) -> None:
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)


def _numbers(libraries: list[Any]) -> list[int]:
    """How many threads each of them uses."""
    return [library.num_threads or 1 for library in libraries]


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"
