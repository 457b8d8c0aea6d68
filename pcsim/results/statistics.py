"""Intervals of ratios from processes, t intervals on logarithms; bootstrap intervals within one process; the rank test.

A measurement varies at three levels: samples within a process, processes, and invocations of other hours. A process
counts as one value, the logarithm of a ratio of its medians; values of several processes are never pooled for a
bootstrap, and a percentile bootstrap of few processes is too narrow (Kalibera and Jones 2013; Davison and Hinkley 1997,
chapter 5). The bootstrap is for one process alone, and says nothing about another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

_BLOCK = 2**22  # resampled indices held at once: 32 MB

_EXPONENT = 700.0  # of an end of an interval: beyond it no number holds it

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


@dataclass(frozen=True)
class Spread:
    """How far invocations of other hours lie apart beyond what their processes explain: the ``variance`` σ_d² of a
    logarithm, and the degrees of ``freedom`` with which it is known."""

    variance: float = 0.0
    freedom: float = math.inf


@dataclass(frozen=True)
class Ledger:
    """What ``invocations`` of other hours on this machine say: the spread of ratios, and of times."""

    invocations: int
    ratios: Spread
    times: Spread


class Logs(NamedTuple):
    """What so many ``processes`` say of a logarithm: mean ȳ and variance s²."""

    mean: float
    variance: float
    processes: int

    @property
    def ratio(self) -> float:
        return math.exp(self.mean)


def logs_of(values: ArrayLike) -> Logs:
    """Of a logarithm of each process; two or more."""
    known = np.asarray(values, dtype=np.float64)
    return Logs(float(known.mean()), float(known.var(ddof=1)), known.size)


def mean_interval(logs: Logs, confidence: float = 0.95) -> tuple[float, float]:
    """The *interval of the ratio*: exp(ȳ ± t s/√n), with n − 1 degrees of freedom."""
    return _around(logs.mean, [(logs.variance / logs.processes, logs.processes - 1)], None, confidence)


def rerun_interval(
    logs: Logs, spread: Spread | None = None, again: int | None = None, confidence: float = 0.95
) -> tuple[float, float]:
    """The *re-run interval*: what somebody finds who repeats the measurement with n′ = ``again`` processes (by default
    as many), exp(ȳ ± t √(s² (1/n + 1/n′) + 2 σ_d²)).

    ``spread`` holds σ_d²; without it the interval is for a re-run within this hour, and t has n − 1 degrees of freedom.
    With it they are those of a sum of estimated variances (Satterthwaite 1946), since with n − 1 it would hold 98 of
    100 re-runs; it is never narrower than without.
    """
    part = logs.variance * (1 / logs.processes + 1 / (again or logs.processes)), logs.processes - 1
    return _around(logs.mean, [part], spread, confidence)


def change_interval(
    new: Logs, old: Logs, spread: Spread | None = None, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The quotient of what two invocations found, with its interval: (change, low, high).

    On the logarithm ± t √(s²_new/n_new + s²_old/n_old + 2 σ_d²), with Welch's degrees of freedom, which are
    Satterthwaite's of two variances, and of three where ``spread`` holds σ_d²; then it is never narrower than without.
    """
    parts = [(logs.variance / logs.processes, logs.processes - 1) for logs in (new, old)]
    middle = new.mean - old.mean
    return math.exp(middle), *_around(middle, parts, spread, confidence)


def resolution(low: float | None, high: float | None) -> float | None:
    """From which difference on an interval can tell one: exp(half its width) − 1, the width that of the logarithm."""
    return None if low is None or high is None else math.sqrt(high / low) - 1


def _around(
    middle: float, parts: Sequence[tuple[float, float]], spread: Spread | None, confidence: float
) -> tuple[float, float]:
    """exp(middle ± t √sum) for variances, each with its degrees of freedom; those of two hours are added."""
    half = _half(parts, confidence)
    if spread:
        half = max(half, _half([*parts, (2 * spread.variance, spread.freedom)], confidence))
    low, high = (math.exp(min(max(end, -_EXPONENT), _EXPONENT)) for end in (middle - half, middle + half))
    return low, high


def _half(parts: Sequence[tuple[float, float]], confidence: float) -> float:
    from scipy.stats import t

    whole = sum(variance for variance, _ in parts)
    if whole <= 0:
        return 0.0
    unknown = sum((variance / whole) ** 2 / freedom for variance, freedom in parts)
    return float(t.ppf((1 + confidence) / 2, 1 / unknown if unknown else math.inf)) * math.sqrt(whole)


def ratio_interval(
    numerator_samples: ArrayLike,
    denominator_samples: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Ratio of the medians of two lists of positive samples of one process, with its bootstrap interval within that
    process: (ratio, low, high).

    Lists of equal length count as interleaved rounds and are resampled in pairs, so that what slows a whole round
    down cancels; a round that misses a sample (NaN) is left out.
    """
    above = np.asarray(numerator_samples, dtype=np.float64)
    below = np.asarray(denominator_samples, dtype=np.float64)
    paired = above.size == below.size
    if paired:
        both = np.isfinite(above) & np.isfinite(below)
        above, below = above[both], below[both]
    above, below = _known(above), _known(below)
    if min(above.min(), below.min()) <= 0:
        raise InputError(_NOT_POSITIVE)
    # The same seed and count draw the same rounds: that is what pairs them.
    over = _resampled(above, np.median, resamples, [seed])
    under = _resampled(below, np.median, resamples, [seed] if paired else [seed, 1])
    return (float(np.median(above) / np.median(below)), *_percentiles(over / under, confidence))


def median_interval(
    above: ArrayLike,
    below: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Ratio of the medians of two lists of positive samples that were *not* taken side by side, each of one process,
    with its bootstrap interval: (ratio, low, high); see :func:`ratio_interval`.
    """
    sides = [_known(above), _known(below)]
    if min(side.min() for side in sides) <= 0:
        raise InputError(_NOT_POSITIVE)
    over, under = (_resampled(side, np.median, resamples, [seed, number]) for number, side in enumerate(sides))
    return (float(np.median(sides[0]) / np.median(sides[1])), *_percentiles(over / under, confidence))


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


def _resampled(values: Floats, statistic: Callable[..., Any], resamples: int, seed: list[int]) -> Floats:
    """The statistic of each of ``resamples`` draws with replacement, shape (resamples,)."""
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK // values.size)
    parts = []
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        parts.append(statistic(values[random.integers(values.size, size=(rows, values.size))], axis=1))
    return np.concatenate(parts)


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    return float(np.quantile(values, (1 - confidence) / 2)), float(np.quantile(values, (1 + confidence) / 2))
