"""Peers: other people's software that trains the same net, so that pcsim's times stand beside the best there is.

Each runs in a process of its own (``process``), which alone imports the library. Nothing here does.
"""

from importlib.util import find_spec

PEERS = {"torch": ("bp",), "jax": ("bp", "ipc"), "pcx": ("ipc",)}  # the libraries, and the algorithms they run here


def available(name: str) -> bool:
    """True where the library is installed (it is not imported)."""
    return name in PEERS and find_spec(name) is not None


def offers(name: str) -> tuple[str, ...]:
    """The algorithms that this peer runs."""
    return PEERS[name]
