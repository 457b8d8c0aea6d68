"""Whether the times of one contender fall into two groups: some processes fast, others slow.

A mean of two modes is a time that no run has, and the interval around it is that of a coin; so such a row says it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .statistics import Floats

LEVEL = 0.01  # how often one mode may look like two

APART = 0.05  # modes nearer than this matter to nobody

_DRAWS = 4000


class Modes(NamedTuple):
    """Two groups: geometric means of their times in seconds, and how many processes are in each."""

    fast: float
    slow: float
    fast_count: int
    slow_count: int


def two_modes(times: ArrayLike) -> Modes | None:
    """The two groups that positive times fall into, or None.

    The logarithms are parted at their widest gap that leaves two at least on either side. How far the groups lie apart
    is Ashman's D, √2 times the distance of their means ÷ √(σ₁² + σ₂²) (Ashman, Bird and Zepf 1994). The best cut
    through one normal group has a large D as well, the larger the fewer values, so D must exceed what 99 of 100 normal
    samples of that size reach (seeded draws); and the groups lie 5 % apart at least.
    """
    logs = np.sort(np.log(np.asarray(times, dtype=np.float64)))
    if logs.size < 4 or np.ptp(logs) == 0:
        return None
    distance, cut = _parted(logs[None])
    at = int(cut[0])
    fast, slow = float(logs[:at].mean()), float(logs[at:].mean())
    if distance[0] <= _usual(logs.size) or slow - fast < np.log1p(APART):
        return None
    return Modes(float(np.exp(fast)), float(np.exp(slow)), at, logs.size - at)


def _parted(logs: Floats) -> tuple[Floats, np.ndarray]:
    """Ashman's D at the widest inner gap of each sorted line, and how many values lie below that gap."""
    size = logs.shape[1]
    cut = 2 + np.argmax(np.diff(logs, axis=1)[:, 1 : size - 2], axis=1)
    below = np.arange(size) < cut[:, None]
    means, squares = [], 0.0
    for group in (below, ~below):
        count = group.sum(axis=1)
        mean = np.where(group, logs, 0).sum(axis=1) / count
        squares = squares + np.where(group, (logs - mean[:, None]) ** 2, 0).sum(axis=1) / (count - 1)
        means.append(mean)
    with np.errstate(divide="ignore"):
        return np.sqrt(2 / squares) * (means[1] - means[0]), cut


@cache
def _usual(size: int) -> float:
    """The D that normal samples of that size exceed once in 1 / LEVEL."""
    draws = np.sort(np.random.default_rng(size).normal(size=(_DRAWS, size)), axis=1)
    return float(np.quantile(_parted(draws)[0], 1 - LEVEL))
