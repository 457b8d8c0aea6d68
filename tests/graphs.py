"""Task graphs of every algorithm, and the formulas of Table 4."""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.schedule.tasks import Predecessors, TaskGraph

DEPTHS = range(2, 65)


def backprop(depth, updates):
    return BP().tasks(depth, updates)


def incremental(depth, updates, steps_per_batch=None):
    return IPC().tasks(depth, updates, steps_per_batch)


def predictive_coding(depth, updates, steps):
    return PC(T=steps).tasks(depth, updates)


def zero_divergence(depth, updates):
    return ZIL().tasks(depth, updates)


def edge_list(graph):
    """(earlier, later) tasks of every edge."""
    indptr, indices = graph.predecessors
    return indices.astype(np.int64), np.repeat(np.arange(len(graph)), np.diff(indptr))


def without_edge(graph, edge):
    indptr, indices = graph.predecessors
    indptr = indptr - (np.arange(indptr.size) > edge_list(graph)[1][edge])
    return dataclasses.replace(graph, predecessors=Predecessors(indptr, np.delete(indices, edge)))


def build(algorithm, depth, updates, steps=None) -> TaskGraph:
    match algorithm:
        case "bp":
            return backprop(depth, updates)
        case "pc":
            return predictive_coding(depth, updates, steps)
        case "zil":
            return zero_divergence(depth, updates)
    return incremental(depth, updates, steps)


def formulas(algorithm, L, T=None):
    """mm and smm of the iPC paper's Table 4."""
    return {
        "bp": (2 * L - 1, 2 * L - 1),
        "pc": ((2 * L - 1) * (T or 0), 2 * (T or 0)),
        "zil": ((2 * L - 1) * (L - 1), 2 * (L - 1)),
        "ipc": (2 * L - 1, 2),
    }[algorithm]


@st.composite
def cases(draw, max_depth=7, max_updates=6, steady=False, batches=True):
    """(algorithm, depth, updates, steps) for ``build``; ``steady``: long enough for counts."""
    algorithm = draw(st.sampled_from(["bp", "pc", "zil", "ipc"]))
    steps = draw(st.integers(1, 5)) if algorithm == "pc" else None
    if algorithm == "ipc" and batches:
        steps = draw(st.none() | st.integers(1, 4))
    least = 1 if not steady else steps + 1 if algorithm == "ipc" and steps else 2
    return algorithm, draw(st.integers(1, max_depth)), draw(st.integers(least, max_updates)), steps
