"""Logarithmic axes: where they end, and which numbers have room beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def limits(values: Iterable[Any], spare: float = 1.15) -> tuple[float, float]:
    """The ends of a logarithmic axis that holds the values: a share of its length more, at least a factor of 2."""
    known = [float(v) for v in values if v is not None and np.isfinite(float(v)) and v > 0] or [1.0]
    low, high = min(known), max(known)
    factor = max(spare, (high / low) ** 0.06, (1.9 * low / high) ** 0.5)
    return low / factor, high * factor


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """The closest round numbers on a logarithmic axis of which no more than ``most`` lie on it."""
    decades = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    steps: list[tuple[tuple[float, ...], int]] = [((1, 2, 5), 1), ((1, 3), 1), ((1,), 1)]
    if high / low < 7:
        steps.insert(0, ((1, 1.5, 2, 3, 5, 7), 1))
    for parts, step in [*steps, *(((1.0,), n) for n in range(2, 40))]:
        ticks = [float(f"{part}e{d}") for d in decades if d % step == 0 for part in parts]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= max(most, 2):
            break
    return ticks


def fit_ticks(axes: Axes, wanted: Sequence[tuple[float, str]], size: float) -> None:
    """Of the wanted ticks of the horizontal axis, the first ones first, those whose names have room."""
    kept: list[tuple[float, str, float, float]] = []
    for place, text in wanted:
        at = axes.transData.transform((place, axes.get_ylim()[0]))[0] * 72 / axes.figure.dpi
        half = text_width(text, size) / 2 + 0.25 * size
        if all(at + half <= left or right <= at - half for _, _, left, right in kept):
            kept.append((place, text, at - half, at + half))
    kept.sort()
    axes.set_xticks([place for place, *_ in kept], [text for _, text, *_ in kept])


def fit_decades(axes: Axes, size: float, zero: float | None = None) -> None:
    """Round numbers on the horizontal axis, as close as their names allow; ``zero``: where 0 stands, if it does, left
    of a break of the axis."""
    low, high = axes.get_xlim()
    first = low if zero is None else 2 * zero
    for most in range(10, 0, -1):
        ticks = [tick for tick in log_ticks(low, high, most) if tick >= first]
        named = (
            [(tick, f"{tick:g}") for tick in ticks] if zero is None else [(zero, "0"), *((t, f"{t:g}") for t in ticks)]
        )
        at = axes.transData.transform([(tick, 1.0) for tick, _ in named])[:, 0] * 72 / axes.figure.dpi
        wide = np.array([text_width(text, size) for _, text in named])
        if (np.diff(at) >= (wide[1:] + wide[:-1]) / 2 + 0.4 * size).all():
            break
    axes.set_xticks([tick for tick, _ in named], [text for _, text in named])
