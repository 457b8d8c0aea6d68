"""Why a plan takes as long as it does: its critical cycle in words, and who waits for how long."""

from __future__ import annotations

import math

import numpy as np

from ..schedule.timeline import VALUE
from .plans import EXCHANGE, LOAD, MEET
from .timing import Timed


def critical_cycle(
    timed: Timed, start: np.ndarray, finish: np.ndarray, period: float
) -> tuple[dict[str, float], int | None]:
    """What the chain of jobs that sets the pace is spent on. From the last job back, always to what it waited for,
    until a job comes up again: between its two turns lies a cycle of whole periods."""
    plan = timed.plan
    previous, last_of = np.full(len(plan), -1), np.full(plan.workers, -1)
    for job in np.flatnonzero(plan.worker >= 0):
        previous[job] = last_of[plan.worker[job]]
        last_of[plan.worker[job]] = job
    first = previous < 0
    shares: dict[str, float] = {}
    layers: dict[int, float] = {}
    seen: dict[int, int] = {}
    trail: list[tuple[str, float, int]] = []
    v = int(np.argmax(finish))
    while v not in seen and len(seen) <= len(plan):
        seen[v] = len(trail)
        w = int(plan.worker[v])
        handed = w >= 0 and not plan.work[v]  # a message leaves or arrives
        name = {0: "messages" if handed else "work", MEET: "meetings"}.get(int(plan.meeting[v]), "messages")
        memory = float(timed.memory[v])
        layer = int(plan.layer[v]) % timed.net.depth  # also of what is beside it
        if name == "work" and plan.work[v] == LOAD:
            trail.append(("new batches", float(timed.seconds[v]), layer))
        elif name == "work":
            rest = float(timed.seconds[v]) - memory
            trail.append(("weights traffic", memory, layer))
            trail.append(("new values" if plan.work[v] == VALUE else "arithmetic", rest, layer))
        else:
            trail.append((name, float(timed.seconds[v]), layer))
        best, came, what, lost = -1, -math.inf, "", 0.0
        if w >= 0:
            before = int(last_of[w] if first[v] else previous[v])
            best, came = before, float(finish[before]) - (period if first[v] else 0.0)
        for edge in range(plan.at[v], plan.at[v + 1]):
            b = int(plan.before[edge])
            done = float(finish[b]) - (period if plan.lag[edge] else 0.0)
            far = int(timed.message[edge]) >= 0
            delay = float(timed.delay[edge]) + (float(timed.occupied[timed.message[edge]]) if far else 0.0)
            far = far or plan.meeting[b] == EXCHANGE
            if best < 0 or done + delay > came + 1e-12 * abs(came):
                best, came, what, lost = b, done + delay, "messages" if far else "hand-over", delay
        if what and lost > 0:
            trail.append((what, lost, layer))
        if best < 0:
            break
        v = best
    for name, seconds, layer in trail[seen.get(v, 0) :]:
        shares[name] = shares.get(name, 0.0) + seconds
        layers[layer] = layers.get(layer, 0.0) + seconds
    total = sum(shares.values())
    if not total:
        return {}, None
    alike = max(layers.values()) <= 1.001 * min(layers.values())
    slowest = None if alike else max(layers, key=lambda l: layers[l])
    return {name: seconds / total for name, seconds in shares.items() if seconds}, slowest


def waits_by_layer(timed: Timed, start: np.ndarray, finish: np.ndarray, period: float) -> tuple[tuple[float, int], ...]:
    """Shares of all workers' time spent waiting, by the layer waited for, the largest first."""
    plan = timed.plan
    found: dict[int, float] = {}
    order = np.argsort(plan.worker, kind="stable")
    order = order[plan.worker[order] >= 0]
    free, worker = np.roll(finish[order], 1), plan.worker[order]
    begins = np.flatnonzero(np.diff(worker, prepend=-1))
    ends = np.append(begins[1:], len(order)) - 1
    free[begins] = finish[order[ends]] - period
    idle = start[order] - free
    for i in np.flatnonzero(idle > 1e-9 * period):
        v = int(order[i])
        edges = range(plan.at[v], plan.at[v + 1])
        if not edges:
            continue
        ready = [finish[plan.before[e]] - (period if plan.lag[e] else 0.0) + timed.delay[e] for e in edges]
        layer = int(plan.layer[plan.before[edges[int(np.argmax(ready))]]]) % timed.net.depth
        found[layer] = found.get(layer, 0.0) + float(idle[i]) * int(plan.alike[plan.worker[v]])
    whole = period * timed.all
    return tuple(sorted(((seconds / whole, layer) for layer, seconds in found.items()), reverse=True)) if whole else ()
