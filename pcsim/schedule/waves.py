"""The caches of a core, and how many steps to take in one wave so that the layers of a wave stay in them."""

import os
from dataclasses import dataclass

from ..host.context import caches
from ..host.topology import placement

LONGEST_WAVE = 4  # longer ones gained less than 5 % (32 x 512) and lost as much elsewhere (16 x 256)


@dataclass(frozen=True)
class Caches:
    """Bytes of a core's own cache (the second level), of the last one, and how many processors share that."""

    own: int = 1 << 20  # assumed where the machine does not say
    last: int = 8 << 20
    sharing: int = os.cpu_count() or 1


def read_caches() -> Caches:
    """The caches of the first worker's core, or a guess where the system does not tell."""
    try:
        found = {cache["level"]: cache for cache in caches(placement()[0])}
        last = found[max(found)]
        return Caches(found[2]["size"], last["size"], last["shared_by"])
    except (OSError, ValueError, LookupError):
        return Caches()


def wave_length(total: int, layer: int, workers: int, machine: Caches | None = None) -> int:
    """Steps to take together for weights of ``total`` bytes, ``layer`` of them in the largest layer.

    A wave of k steps comes back to a layer when k more have been touched, which must fit into the last cache (or
    into half of it, for one worker alone). Where a worker's weights fit into its core's own cache, nothing is to be
    gained, and one step at a time hides the neighbours' latency best.

    >>> server = Caches(own=1 << 20, last=32 << 20, sharing=8)
    >>> layers = [4 * width**2 for width in (64, 256, 1024)]
    >>> [wave_length(32 * layer, layer, 2, server) for layer in layers]
    [1, 4, 3]
    """
    machine = machine or read_caches()
    if total <= workers * machine.own:
        return 1
    together = max(2, min(workers, machine.sharing))
    return max(1, min(LONGEST_WAVE, machine.last // (together * layer) - 1))
