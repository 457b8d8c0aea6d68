"""Algorithms by name: those of pcsim, those that a program registers, and those that installed packages offer.

A package offers an algorithm under the entry-point group ``pcsim.algorithms``, its name on the left and its class on
the right. Nothing of it is imported before somebody asks for that name.
"""

import re
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Any, TypeVar

from ..errors import InputError
from .asynchronous import AsyncBP
from .backprop import BP
from .common import PER_STEP, Algorithm
from .dual import DualProp
from .local import DFA, Local
from .predictive_coding import IPC, PC, ZIL

GROUP = "pcsim.algorithms"

ALGORITHMS: dict[str, type[Algorithm]] = {
    cls.name: cls for cls in (BP, PC, ZIL, IPC, AsyncBP, Local, DFA, DualProp)
}  # pcsim's own

_registered: dict[str, type[Algorithm]] = {}

_Class = TypeVar("_Class", bound=type[Algorithm])


def register(cls: _Class) -> _Class:
    """Make an algorithm known by its ``name``; also a decorator, above ``@dataclass(frozen=True)``.

    InputError for a class that is not an algorithm, and for a name that is taken. In processes that pcsim starts
    (several launches, ranks of a crew) only algorithms of installed packages are known: see the entry-point group
    ``pcsim.algorithms``.
    """
    check_class(cls)
    before = ALGORITHMS.get(cls.name) or _registered.get(cls.name)
    if before is not None and (before.__module__, before.__qualname__) != (cls.__module__, cls.__qualname__):
        raise InputError(f"the name {cls.name!r} of {cls.__name__} is taken by {before.__name__}: choose another")
    _registered[cls.name] = cls
    return cls


def check_class(cls: Any) -> None:
    """InputError, in one line, for a class that pcsim cannot take as an algorithm."""
    if not isinstance(cls, type) or not issubclass(cls, Algorithm):
        raise InputError(f"an algorithm is a subclass of pcsim.Algorithm, not {cls!r:.60}")
    if isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise InputError(f"{cls.__name__} lacks {missing}")
    if not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise InputError(f"{cls.__name__} must be a frozen dataclass: put @dataclass(frozen=True) before it")
    name, title = getattr(cls, "name", None), getattr(cls, "title", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise InputError(f"{cls.__name__}: name must be lower-case letters, digits, - and _, not {name!r}")
    if not isinstance(title, str) or not title.strip() or not title.isprintable():
        raise InputError(f"{cls.__name__}: title must be a text of one line, not {title!r}")
    known = {field.name: field for field in fields(cls)}
    for needed in sorted({"alpha", "optimizer"} - known.keys()):
        raise InputError(f"{cls.__name__} has no field {needed}")
    for field in known.values():
        if field.init and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{cls.__name__}: field {field.name} needs a default")


def _offered() -> dict[str, EntryPoint]:
    """What installed packages offer, by name; nothing of it is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def names() -> list[str]:
    """The names of all algorithms, pcsim's own first."""
    return list(dict.fromkeys([*ALGORITHMS, *_registered, *sorted(_offered())]))


def find(name: str) -> type[Algorithm]:
    """The algorithm of that name; InputError, in one line, where there is none, or its package is broken."""
    known = ALGORITHMS.get(name) or _registered.get(name)
    if known:
        return known
    point = _offered().get(name)
    if point is None:
        raise InputError(f"algorithm {name!r} is unknown: choose from {', '.join(names())}")
    where = f"algorithm {name!r} of {point.dist.name if point.dist else 'a package'} ({point.value})"
    try:
        cls = point.load()
    except Exception as error:  # whatever somebody else's module does when it is imported
        reason = next(iter(str(error).splitlines()), "")
        raise InputError(f"{where} cannot be loaded: {type(error).__name__}: {reason}") from error
    try:
        check_class(cls)
        if cls.name != name:
            raise InputError(f"its name is {cls.name!r}, not that of the entry point")
        return register(cls)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def algorithm_to_json(algorithm: Algorithm) -> dict[str, Any]:
    """Name and fields of an algorithm, for another process, a rank or a file."""
    return {"name": algorithm.name} | {f.name: getattr(algorithm, f.name) for f in fields(algorithm) if f.init}


def algorithm_from_json(found: dict[str, Any]) -> Algorithm:
    """The algorithm that ``algorithm_to_json`` has written; InputError where it is not known here, or has no such
    fields."""
    cls = find(found["name"])
    given = {name: value for name, value in found.items() if name != "name"}
    unknown = given.keys() - {field.name for field in fields(cls) if field.init}
    if unknown:
        raise InputError(f"{cls.title} has no field {min(unknown)}")
    rates = {name: tuple(given[name]) for name in PER_STEP if isinstance(given.get(name), list)}
    return cls(**given | rates)
