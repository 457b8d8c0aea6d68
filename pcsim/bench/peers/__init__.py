"""Peers: other people's software that trains the same net, so that pcsim's times stand beside the best there is.

Each runs in a process of its own (``process``), which alone imports the library. Nothing here does.
"""

import subprocess
import sys
from importlib.util import find_spec

from ...algorithms import Algorithm
from ...errors import InputError

PEERS = {"torch": ("bp",), "jax": ("bp", "ipc"), "pcx": ("ipc",)}  # the libraries, and the algorithms they run here

PYTHONS: dict[str, str] = {}  # the interpreters that peers run with, of those that have one of their own


def use_python(name: str, python: str) -> None:
    """Run peer ``name`` with another interpreter, in whose environment both the library and pcsim are installed.

    Libraries may need versions that do not go together: PCX 0.6 holds JAX at a version whose backprop is slower than
    the newest one's. InputError where there is no such peer, or that interpreter does not have both.
    """
    if name not in PEERS:
        raise InputError(f"there is no peer {name!r}: choose from {', '.join(PEERS)}")
    if not python:
        raise InputError(f"which interpreter is to run {name}? write {name}=PYTHON")
    code = f"from importlib.util import find_spec; raise SystemExit(not (find_spec('pcsim') and find_spec({name!r})))"
    try:
        found = subprocess.run([python, "-P", "-c", code], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        raise InputError(f"{python} cannot be run as a Python interpreter") from None
    if found.returncode != 0:
        raise InputError(f"{python} lacks {name} or pcsim: install both in its environment")
    PYTHONS[name] = python


def python_of(name: str) -> str:
    """The interpreter that runs a peer."""
    return PYTHONS.get(name, sys.executable)


def available(name: str) -> bool:
    """True where the library is installed (it is not imported)."""
    return name in PEERS and (name in PYTHONS or find_spec(name) is not None)


def takes_numbers(algorithm: Algorithm) -> bool:
    """Whether an algorithm's momentum and weight decay are the usual ones, which are all that peers have here."""
    return getattr(algorithm, "momentum", 0.9) == 0.9 and not getattr(algorithm, "weight_decay", 0.0)


def takes(name: str, optimizer: str, changing: bool) -> bool:
    """Whether this peer runs with an optimiser, and with batches that change if they do; any takes any net."""
    return optimizer == "sgd" and not changing if name == "pcx" else optimizer in ("sgd", "adam")


def offers(name: str) -> tuple[str, ...]:
    """The algorithms that this peer runs."""
    return PEERS[name]
