"""Machines with one figure changed: what a faster network or memory would bring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import InputError
from .images import MULTIPLY
from .machine import Machine, MessageTimes


def _of_messages(change: str) -> Any:
    def changed(machine: Machine, factor: float) -> Machine:
        def of(messages: MessageTimes | None) -> MessageTimes | None:
            if messages is None:
                return None
            if change == "overhead":
                return replace(messages, overhead=messages.overhead * factor)
            return replace(
                messages, segments=tuple(replace(s, **{change: getattr(s, change) * factor}) for s in messages.segments)
            )

        return replace(machine, within=of(machine.within), between=of(machine.between))

    return changed


def _of_levels(machine: Machine, factor: float) -> Machine:
    levels = tuple(
        replace(level, bandwidth=level.bandwidth * factor, shared=level.shared and level.shared * factor)
        for level in machine.levels
    )
    return _faster_traffic(replace(machine, levels=levels), factor)


def _faster_traffic(machine: Machine, factor: float) -> Machine:
    """Of measured points, what a task takes beyond the same with its weights in the nearest cache is traffic."""
    if machine.model != "measured":
        return machine
    table = machine.table
    points = []
    for point in machine.points:
        hot = table.hot(point)
        points.append((*point[:-1], hot + (point[-1] - hot) / factor))
    # What convolutions consist of: products are arithmetic, and all else is traffic.
    images = [p if p[0] in MULTIPLY else (*p[:-1], p[-1] / factor) for p in machine.images]
    return replace(machine, points=tuple(points), images=tuple(images))


def _faster_arithmetic(machine: Machine, factor: float) -> Machine:
    if machine.model == "constant":
        return replace(machine, constants={name: seconds / factor for name, seconds in machine.constants.items()})
    if machine.model == "roofline":
        return replace(machine, flop_rate=machine.flop_rate * factor, element=machine.element / factor)
    table = machine.table
    points = tuple((*p[:-1], p[-1] - table.hot(p) * (1 - 1 / factor)) for p in machine.points)
    images = tuple((*p[:-1], p[-1] / factor) if p[0] in MULTIPLY else p for p in machine.images)
    return replace(machine, points=points, images=images)


# Figures that a what-if may change, each by a factor.
FIGURES = {
    "flop rate": _faster_arithmetic,
    "memory bandwidth": _of_levels,
    "hand-over latency": lambda m, f: replace(m, handover_latency=m.handover_latency * f),
    "hand-over bandwidth": lambda m, f: replace(m, handover_bandwidth=m.handover_bandwidth * f),
    "barrier": lambda m, f: replace(m, barrier=(m.barrier[0] * f, m.barrier[1] * f)),
    "task overhead": lambda m, f: replace(m, overhead=m.overhead * f),
    "message latency": _of_messages("latency"),
    "message gap": _of_messages("gap"),
    "message overhead": _of_messages("overhead"),
}


def with_figure(machine: Machine, name: str, factor: float) -> Machine:
    """The same machine with one of ``FIGURES`` changed by a factor. InputError for another name."""
    if name not in FIGURES:
        raise InputError(f"machine figure {name!r} is unknown: choose from {', '.join(FIGURES)}")
    return FIGURES[name](machine, factor)
