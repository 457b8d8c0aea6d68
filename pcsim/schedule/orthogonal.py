"""Task graphs of weights that move along matrices made nearly orthogonal, as Muon's do: products behind each gradient.

With a matrix (rows, columns), transposed if it has more rows than columns, one of the iterations makes ``X @ X.T``, the
square of that, and the product with X (K. Jordan et al. 2024, kellerjordan.github.io/posts/muon).
"""

from __future__ import annotations

import numpy as np

from .builders import check_memory
from .tasks import ITERATIONS, Kind, Predecessors, TaskGraph

_BEHIND = {Kind.UPDATE: Kind.ORTHOGONALISE, Kind.HEAD_UPDATE: Kind.HEAD_ORTHOGONALISE}


def multiplications(rows: int, columns: int) -> int:
    """Of all iterations on one matrix, whatever the batch."""
    small, large = min(rows, columns), max(rows, columns)
    return ITERATIONS * (2 * small**2 * large + small**3)


def orthogonalised(graph: TaskGraph) -> TaskGraph:
    """The graph with a task behind each weight gradient, for which everyone waits who waited for the new weights."""
    behind = np.isin(graph.kinds, list(_BEHIND))
    times = 1 + behind
    total = int(times.sum())
    check_memory(total, int(graph.steps[-1]) + 1)
    ends = np.cumsum(times) - 1  # of each task, when it and what follows it are made
    added = ends[behind]
    kinds = np.repeat(graph.kinds, times)
    kinds[added] = [_BEHIND[Kind(kind)] for kind in graph.kinds[behind]]
    indptr, before = graph.predecessors
    counts = np.repeat(np.diff(indptr), times)
    counts[added] = 1
    follows = np.zeros(total, np.bool_)
    follows[added] = True
    waits = np.empty(int(counts.sum()), np.int32)
    of_added = np.repeat(follows, counts)
    waits[of_added], waits[~of_added] = added - 1, ends[before]
    layers, steps, update_of = (np.repeat(column, times) for column in (graph.layers, graph.steps, graph.update_of))
    waiting = Predecessors(np.concatenate([[0], np.cumsum(counts)]), waits)
    return TaskGraph(
        graph.algorithm, graph.depth, graph.updates, graph.period, kinds, layers, steps, update_of, waiting, graph.lead
    )
