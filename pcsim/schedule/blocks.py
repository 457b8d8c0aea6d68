"""Which worker owns which layers: contiguous blocks, so that each worker has at most two neighbours."""

import itertools
from collections.abc import Sequence

# Of ranks that share layers, bytes from which on neighbouring layers have messages of their own: values that are
# exchanged; gradients whose sum is worth its beginning.
JOINED, SUMMED = 1 << 15, 1 << 15


def balanced_blocks(costs: Sequence[float], workers: int) -> list[tuple[int, int]]:
    """``workers`` contiguous blocks ``(first, end)`` of layers, of which the most expensive costs as little as can be.

    costs: what each layer costs, in any unit; 1 <= workers <= number of layers.

    >>> balanced_blocks([1, 1, 1, 1, 1], 2)
    [(0, 3), (3, 5)]
    """
    low, high = max(costs), sum(costs)
    best = _fill(costs, workers, high)
    # Bisection on the cost of the most expensive block: forty halvings leave less than two layers can differ by.
    for _ in range(40):
        limit = (low + high) / 2
        blocks = _fill(costs, workers, limit)
        if len(blocks) <= workers:
            best, high = blocks, limit
        else:
            low = limit
    while len(best) < workers:  # an owner for every worker: split what has most layers
        widest = max(range(len(best)), key=lambda b: best[b][1] - best[b][0])
        first, end = best[widest]
        best[widest : widest + 1] = [(first, (first + end + 1) // 2), ((first + end + 1) // 2, end)]
    return best


def even_parts(count: int, parts: int) -> list[tuple[int, int]]:
    """``count`` things in ``parts`` runs ``(first, number)``, as even as can be.

    >>> even_parts(5, 2)
    [(0, 2), (2, 3)]
    """
    edges = [count * part // parts for part in range(parts + 1)]
    return [(first, end - first) for first, end in itertools.pairwise(edges)]


def joined(sizes: Sequence[float], least: float) -> list[int]:
    """Where runs of neighbours begin that are of ``least`` size together, and where the last one, shorter or not, ends.

    >>> joined([1, 1, 3, 1], 2)
    [0, 2, 3, 4]
    """
    found, held = [0], 0.0
    for end, size in enumerate(sizes, 1):
        held += size
        if held >= least or end == len(sizes):
            found.append(end)
            held = 0.0
    return found


def _fill(costs: Sequence[float], workers: int, limit: float) -> list[tuple[int, int]]:
    """Blocks filled from the left up to ``limit``, which no layer exceeds."""
    blocks, first, load = [], 0, 0.0
    for l, cost in enumerate(costs):
        if load + cost > limit:
            blocks.append((first, l))
            first, load = l, 0.0
        load += cost
    return [*blocks, (first, len(costs))]
