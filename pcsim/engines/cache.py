"""The caches of a core, and how many steps to take in one wave so that the layers of a wave stay in them."""

import os
from dataclasses import dataclass
from pathlib import Path

LONGEST_WAVE = 4  # longer ones gained less than 5 % (32 x 512) and lost as much elsewhere (16 x 256)


@dataclass(frozen=True)
class Caches:
    """Bytes of a core's own cache (the second level), of the last one, and how many processors share that."""

    own: int = 1 << 20  # assumed where the machine does not say
    last: int = 8 << 20
    sharing: int = os.cpu_count() or 1


def read_caches(cpu: Path = Path("/sys/devices/system/cpu/cpu0")) -> Caches:
    """The caches of the first processor, as Linux tells them; elsewhere a guess."""
    found: dict[int, tuple[int, int]] = {}
    try:
        for index in cpu.glob("cache/index*"):
            level, text = int((index / "level").read_text()), (index / "size").read_text().strip()
            size = int(text.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(text[-1], 0)
            found[level] = max(found.get(level, (0, 1)), (size, _members((index / "shared_cpu_list").read_text())))
    except (OSError, ValueError, IndexError):
        return Caches()
    if 2 not in found:
        return Caches()
    return Caches(found[2][0], *found[max(found)])


def _members(text: str) -> int:
    """How many processors a list such as ``0-3,8`` names."""
    count = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count


def wave_length(total: int, layer: int, workers: int, caches: Caches | None = None) -> int:
    """Steps to take together for weights of ``total`` bytes, ``layer`` of them in the largest layer.

    A wave of k steps comes back to a layer when k more have been touched, which must fit into the last cache (or
    into half of it, for one worker alone). Where a worker's weights fit into its core's own cache, nothing is to be
    gained, and one step at a time hides the neighbours' latency best.

    >>> server = Caches(own=1 << 20, last=32 << 20, sharing=8)
    >>> [wave_length(depth * 4 * width**2, 4 * width**2, 2, server) for depth, width in ((32, 64), (32, 256), (32, 1024))]
    [1, 4, 3]
    """
    caches = caches or read_caches()
    if total <= workers * caches.own:
        return 1
    together = max(2, min(workers, caches.sharing))
    return max(1, min(LONGEST_WAVE, caches.last // (together * layer) - 1))
