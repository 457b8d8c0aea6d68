"""Which workers share which layers: teams, each of which has a contiguous block of layers and splits them inside."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .blocks import balanced_blocks

# What a team of several workers does beside the products, in multiplications of a product: for each unit of a layer and
# sample, the share of a drive that is written and read by another; for each step and member, its part of a meeting.
SHARE_COST, MEETING_COST = 32, 4000

LARGEST_SEARCH = 1 << 22  # blocks times numbers of members: beyond, all share all layers


@dataclass(frozen=True)
class Team:
    """``members`` workers from ``first`` on, who have the layers ``lo … hi-1``."""

    lo: int
    hi: int
    first: int
    members: int


def one_team(depth: int, workers: int) -> list[Team]:
    """All workers share all layers."""
    return [Team(0, depth, 0, workers)]


@lru_cache(maxsize=256)
def balanced_teams(sizes: tuple[int, ...], batch: int, workers: int, lanes: int = 16) -> tuple[Team, ...]:
    """Teams for a net of these ``sizes``, so that the slowest worker is as fast as can be.

    lanes: rows that only one worker can have. A team of one has no shares to sum up and nobody to meet inside.

    >>> [(team.lo, team.hi, team.members) for team in balanced_teams((1024,) * 5, 64, 64)]
    [(0, 1, 16), (1, 2, 16), (2, 3, 16), (3, 4, 16)]
    """
    L = len(sizes) - 1
    if L * L * workers > LARGEST_SEARCH:
        return tuple(one_team(L, workers))
    costs = _costs(sizes, batch, workers, lanes)
    limits = np.unique(costs[np.isfinite(costs)])
    low, high = 0, len(limits) - 1  # of the limits that can be kept
    while low < high:
        middle = (low + high) // 2
        if _within(costs, limits[middle]) is None:
            low = middle + 1
        else:
            high = middle
    best = _within(costs, limits[low]) or [(0, L, 1)]
    for _ in range(workers - sum(members for *_, members in best)):  # whoever is left helps the slowest
        b = max(range(len(best)), key=lambda b: costs[best[b][2] - 1, best[b][0], best[b][1]])
        lo, hi, members = best[b]
        best[b] = lo, hi, members + 1
    teams, first = [], 0
    for lo, hi, members in best:
        teams.append(Team(lo, hi, first, members))
        first += members
    return tuple(teams)


def teams_of_ranks(sizes: Sequence[int], batch: int, ranks: int, members: int) -> list[Team]:
    """A team of as many ``members`` on each rank, whose blocks are cut so that the slowest is as fast as can be.

    >>> [(team.lo, team.hi, team.first) for team in teams_of_ranks((784, 64, 64, 10), 64, 2, 2)]
    [(0, 1, 0), (1, 3, 2)]
    """
    once = MEETING_COST * members if members > 1 else 0  # for a team, not for a layer
    each = [_cost_of(sizes, batch, Team(l, l + 1, 0, members)) - once for l in range(len(sizes) - 1)]
    blocks = balanced_blocks(each, ranks)
    return [Team(lo, hi, rank * members, members) for rank, (lo, hi) in enumerate(blocks)]


def _costs(sizes: Sequence[int], batch: int, workers: int, lanes: int) -> np.ndarray:
    """What the slowest member of a team does in a step: (members - 1, lo, hi) for each block and number of members."""
    L = len(sizes) - 1
    found = np.full((workers, L, L + 1), np.inf)
    vectors = -(-np.array(sizes[1:]) // lanes)
    each = float(batch * lanes) * np.array(sizes[:-1])  # of a vector of rows
    whole = batch * np.array(sizes[1:]) * np.array(sizes[:-1], float)
    drives = float(batch) * np.array([0, *sizes[1:-1]])  # the input has none
    for members in range(1, workers + 1):
        even, more = vectors // members * each, (vectors % members > 0) * each
        for lo in range(L):
            products = whole[lo:].cumsum() / members
            if members > 1:
                uneven = even[lo:].cumsum() + np.maximum.accumulate(more[lo:])
                products = np.maximum(products, uneven)
                products = products + SHARE_COST * drives[lo:].cumsum() / members + MEETING_COST * members
            found[members - 1, lo, lo + 1 :] = products
    return found


def _within(costs: np.ndarray, limit: float) -> list[tuple[int, int, int]] | None:
    """Blocks and numbers of members, no more than there are workers, none of whom costs more than ``limit``."""
    workers, L, _ = costs.shape
    fits = costs <= limit
    needed = np.where(fits.any(0), fits.argmax(0) + 1, workers + 1)
    fewest = np.full(L + 1, 0)  # workers for the layers from l on
    cut = np.zeros(L, np.int64)
    for lo in reversed(range(L)):
        all_of_them = needed[lo, lo + 1 :] + fewest[lo + 1 :]
        cut[lo] = lo + 1 + all_of_them.argmin()
        fewest[lo] = all_of_them.min()
    if fewest[0] > workers:
        return None
    found, lo = [], 0
    while lo < L:
        hi = int(cut[lo])
        found.append((lo, hi, int(needed[lo, hi])))
        lo = hi
    return found


def balanced_rows(vectors: Sequence[int], costs: Sequence[float], members: int) -> list[list[tuple[int, int]]]:
    """For each layer the runs ``(first, number)`` of its vectors of rows that each member has: as even as can be over
    all layers together. ``costs``: of a vector of each layer.

    >>> balanced_rows([3, 1], [1.0, 2.0], 2)
    [[(0, 2), (2, 1)], [(0, 0), (0, 1)]]
    """
    load = [0.0] * members
    numbers: list[list[int]] = [[count // members] * members for count in vectors]
    for l in sorted(range(len(vectors)), key=lambda l: -costs[l]):
        for _ in range(vectors[l] % members):
            # Nobody gets two of a remainder.
            least = min(
                (m for m in range(members) if numbers[l][m] == vectors[l] // members),
                key=lambda m: (load[m] + numbers[l][m] * costs[l], -m),
            )
            numbers[l][least] += 1
        for m in range(members):
            load[m] += numbers[l][m] * costs[l]
    found = []
    for counts in numbers:
        first, runs = 0, []
        for count in counts:
            runs.append((first, count))
            first += count
        found.append(runs)
    return found


def suits(sizes: Sequence[int], batch: int, workers: int) -> str:
    """How that many workers should share a net's layers, by what the slowest of them has to do: "layer-parallel" unless
    that leaves it a tenth more than sharing does; then teams, or rows of all layers where one team is best.

    >>> suits((256,) * 17, 1, 2), suits((784, 64, 64, 10), 64, 2), suits((1024,) * 9, 64, 64)
    ('layer-parallel', 'intra-layer', 'hybrid')
    """
    depth = len(sizes) - 1
    weights = [below * above for below, above in itertools.pairwise(sizes)]
    teams = balanced_teams(tuple(sizes), batch, workers)
    if workers <= depth:
        alone = max(sum(weights[lo:hi]) for lo, hi in balanced_blocks(weights, workers)) * batch
        shared = max(_cost_of(sizes, batch, team) for team in teams)
        if alone <= 1.1 * shared:
            return "layer-parallel"
    return "intra-layer" if len(teams) == 1 else "hybrid"


def suits_ranks(sizes: Sequence[int], batch: int, ranks: int, threads: int) -> str:
    """The same of ranks of so many threads each: teams of threads on each rank, or rows where it has one thread.

    >>> suits_ranks((256,) * 17, 1, 2, 1), suits_ranks((784, 64, 64, 10), 64, 2, 1), suits_ranks((1024,) * 9, 64, 8, 8)
    ('layer-parallel', 'intra-layer', 'hybrid')
    """
    if suits(sizes, batch, ranks * threads) == "layer-parallel":
        return "layer-parallel"
    return "intra-layer" if threads == 1 else "hybrid"


def _cost_of(sizes: Sequence[int], batch: int, team: Team) -> float:
    return float(_costs(sizes[team.lo : team.hi + 1], batch, team.members, 16)[-1, 0, -1])
