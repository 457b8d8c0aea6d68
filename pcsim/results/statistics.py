"""Medians, bootstrap intervals and rank tests of samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

_BLOCK = 2**22  # resampled indices held at once: 32 MB

_NOT_POSITIVE = "a ratio needs positive samples: a time of 0 s or less was no measurement"

Floats = NDArray[np.float64]


def bootstrap_interval(
    samples: ArrayLike,
    statistic: Callable[..., Any] = np.median,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of ``statistic`` (called with ``axis=1``) over samples of shape (n,).

    Missing samples (NaN) are left out; raises :class:`InputError` if none remains. Efron and Tibshirani 1993,
    chapter 13.
    """
    return _percentiles(_resampled(_known(samples), statistic, resamples, [seed]), confidence)


def ratio_interval(
    numerator_samples: ArrayLike,
    denominator_samples: ArrayLike,
    *,
    launches: int = 1,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Ratio of the medians of two lists of positive samples, with its bootstrap interval: (ratio, low, high).

    Lists of equal length count as interleaved rounds and are resampled in pairs, so that what slows a whole round
    down cancels; a round that misses a sample (NaN) is left out. ``launches`` > 1 says that the lists are that
    many processes' rounds, one after the other and equally many: then processes are resampled first, rounds
    within them second, since rounds of one process are alike (Kalibera and Jones 2013, section 6).
    """
    above = np.asarray(numerator_samples, dtype=np.float64)
    below = np.asarray(denominator_samples, dtype=np.float64)
    paired = above.size == below.size
    if paired:
        both = np.isfinite(above) & np.isfinite(below)
        above, below = above[both], below[both]
        launches = launches if both.all() and above.size % launches == 0 else 1
    above, below = _known(above), _known(below)
    if min(above.min(), below.min()) <= 0:
        raise InputError(_NOT_POSITIVE)
    # The same seed and count draw the same rounds: that is what pairs them.
    over = _resampled(above, np.median, resamples, [seed], launches if paired else 1)
    under = _resampled(below, np.median, resamples, [seed] if paired else [seed, 1], launches if paired else 1)
    return (float(np.median(above) / np.median(below)), *_percentiles(over / under, confidence))


def median_interval(
    above: ArrayLike,
    below: ArrayLike,
    launches: tuple[int, int] = (1, 1),
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Ratio of the medians of two lists of positive samples that were *not* taken side by side, with its bootstrap
    interval: (ratio, low, high). ``launches`` says of how many processes each list is; see :func:`ratio_interval`.
    """
    sides = [_known(above), _known(below)]
    if min(side.min() for side in sides) <= 0:
        raise InputError(_NOT_POSITIVE)
    over, under = (
        _resampled(side, np.median, resamples, [seed, number], count if side.size % count == 0 else 1)
        for number, (side, count) in enumerate(zip(sides, launches, strict=True))
    )
    return (float(np.median(sides[0]) / np.median(sides[1])), *_percentiles(over / under, confidence))


def t_interval(above: ArrayLike, below: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Ratio of the geometric means of two lists of positive numbers, one number for each process, with Welch's t
    interval on the logarithm: (ratio, low, high). Each list has two numbers or more.
    """
    from scipy.stats import t

    sides = [_known(above), _known(below)]
    if min(side.min() for side in sides) <= 0:
        raise InputError(_NOT_POSITIVE)
    logs = [np.log(side) for side in sides]
    middle = float(logs[0].mean() - logs[1].mean())
    errors = [float(side.var(ddof=1)) / side.size for side in logs]
    if sum(errors) == 0:
        return (math.exp(middle),) * 3
    freedom = sum(errors) ** 2 / sum(error**2 / (side.size - 1) for error, side in zip(errors, logs, strict=True))
    half = float(t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(sum(errors))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def significant(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of the Mann-Whitney rank test: how likely samples so far apart are if a and b are alike."""
    from scipy.stats import mannwhitneyu

    first, second = _known(a), _known(b)
    if np.ptp(np.concatenate((first, second))) == 0:
        return 1.0
    return float(mannwhitneyu(first, second).pvalue)


def _known(samples: ArrayLike) -> Floats:
    values = np.asarray(samples, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise InputError("no samples: an interval or a test needs at least one")
    return values


def _resampled(
    values: Floats, statistic: Callable[..., Any], resamples: int, seed: list[int], launches: int = 1
) -> Floats:
    """The statistic of each of ``resamples`` draws with replacement, shape (resamples,)."""
    random = np.random.default_rng(seed)
    rounds, block = values.size // launches, max(1, _BLOCK // values.size)
    parts = []
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        launch = random.integers(launches, size=(rows, launches, 1))
        chosen = launch * rounds + random.integers(rounds, size=(rows, launches, rounds))
        parts.append(statistic(values[chosen.reshape(rows, values.size)], axis=1))
    return np.concatenate(parts)


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    return float(np.quantile(values, (1 - confidence) / 2)), float(np.quantile(values, (1 + confidence) / 2))
