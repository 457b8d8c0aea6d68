"""Plans in which batches change: who copies which rows of a new batch, before what it does first with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..schedule.timeline import START
from .nets import Net
from .plans import LOAD, Plan


def with_loads(plan: Plan, net: Net, chained: bool, apart: bool = False) -> Plan:
    """The plan in which workers with the lowest layer copy the input and those with the highest one the target of each
    new batch, as the engines do: BP, PC and Z-IL for every update, iPC when a batch (or its pipelined start) begins.
    ``apart``: they are ranks, of which each that has rows of a layer copies the whole batch."""
    top = net.depth - 1
    length = int(plan.step.max()) + 1
    if chained:
        inputs = targets = np.unique(plan.step)
    else:
        inputs = targets = np.unique(plan.step[(plan.work & START != 0) & (plan.layer == 0)])
        if net.start == "pipelined":
            inputs = inputs if top else np.arange(0, length, net.steps_per_batch)
            targets = (inputs + top) % length
    found = []
    for layer, units, steps in ((0, net.sizes[0], inputs), (top, net.sizes[-1], targets)):
        mine = np.unique(plan.worker[(plan.layer == layer) & (plan.worker >= 0) & (plan.meeting == 0)])
        for worker in mine.tolist():
            samples = _samples(plan, net, chained or (apart and plan.execution == "intra-layer"), mine)
            for step in steps.tolist():
                here = np.flatnonzero((plan.worker == worker) & (plan.step == step))
                if here.size:
                    found.append((int(here[0]), worker, layer, step, units, samples))
    return _inserted(plan, np.array(sorted(found), np.int64).reshape(-1, 6))


def _samples(plan: Plan, net: Net, whole: bool, sharers: np.ndarray) -> int:
    """How many samples of a batch each of the workers copies who have the same layer."""
    if plan.execution == "data-parallel":
        return -(-net.batch // int(plan.alike.sum()))
    if whole or plan.execution not in ("intra-layer", "hybrid"):
        return net.batch
    return -(-net.batch // int(plan.alike[sharers].sum()))


def _inserted(plan: Plan, loads: np.ndarray) -> Plan:
    """The plan with jobs in front of others: (place, worker, layer, step, units, samples) each. They wait for nothing
    but their worker."""
    place, worker, layer, step, units, samples = loads.T
    values: dict[str, Any] = {"worker": worker, "work": LOAD, "layer": layer, "step": step, "rows": 1, "columns": units}
    values |= {"batch": samples, "meeting": 0, "part": 0, "fetched": 0}
    jobs: dict[str, Any] = {name: np.insert(getattr(plan, name), place, value) for name, value in values.items()}
    number = np.arange(len(plan)) + np.searchsorted(place, np.arange(len(plan)), side="right")
    at = np.zeros(len(plan) + len(place) + 1, np.int64)
    np.cumsum(np.insert(np.diff(plan.at), place, 0), out=at[1:])
    return replace(plan, **jobs, at=at, before=number[plan.before].astype(np.int32))
