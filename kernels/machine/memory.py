"""Memory for flat arrays: what an engine works on lies at the same offsets within huge pages in every process.

A second-level cache is indexed by physical addresses. Small pages lie wherever the system had some, so that which rows
of a net drive one another out of it is drawn by lot whenever an engine is built; within a huge page it is the same
every time.
"""

import contextlib
import mmap
from collections.abc import Iterable

import numpy as np

PAGE_BYTES = 4096

HUGE_BYTES = 2 << 20


def aligned_empty(count: int, dtype) -> np.ndarray:
    """A flat array that begins on a page and that nobody has touched yet: its pages will lie near whoever writes
    first. ``np.empty`` asks the kernel for huge pages where the array is large; ``np.zeros`` does not, and
    without them two cores together reached only 63 of 92 GB/s (32 x 1024, float32)."""
    item = np.dtype(dtype).itemsize
    raw = np.empty(count * item + PAGE_BYTES, np.uint8)
    offset = -raw.ctypes.data % PAGE_BYTES
    return raw[offset : offset + count * item].view(dtype)


def side_by_side(counts: Iterable[int], dtype) -> list[np.ndarray]:
    """A flat array of each of ``counts`` elements, each beginning on a page: one behind another from the first byte of
    a huge page on, where the system has them. All are zero, and nobody has touched them yet."""
    dtype = np.dtype(dtype)
    counts = list(counts)
    pages = [-(-count * dtype.itemsize // PAGE_BYTES) for count in counts]
    size = -(-sum(pages) * PAGE_BYTES // HUGE_BYTES) * HUGE_BYTES
    # Private, as huge pages are for such memory alone; lives as long as an array that looks into it.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    whole = mmap.mmap(-1, size + HUGE_BYTES, **private)
    with contextlib.suppress(AttributeError, OSError):  # another system, or a kernel without huge pages
        whole.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(whole, np.uint8)
    begins = -raw.ctypes.data % HUGE_BYTES + np.cumsum([0, *pages]) * PAGE_BYTES
    return [raw[at : at + n * dtype.itemsize].view(dtype) for at, n in zip(begins.tolist(), counts, strict=False)]
