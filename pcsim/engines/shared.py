"""How PC, Z-IL and iPC share the work of layers: which teams there are, and the loops of their members."""

from collections.abc import Sequence

import numpy as np

from ..algorithms.predictive_coding import SHARED
from ..kernels.machine.simd import VECTOR_BYTES
from ..net.network import Network
from ..schedule.blocks import even_parts
from ..schedule.teams import Team, balanced_teams, one_team, teams_of_ranks
from .layout import Layout
from .loops.arguments import TeamOf

__all__ = ["SHARED", "orders", "team_of", "teams_for"]


def teams_for(execution: str, network: Network, batch: int, workers: int, members: int | None = None) -> list[Team]:
    """The teams of an execution: several for ``hybrid``, else one of all workers. ``members``: of each team, where a
    team is what a rank has."""
    if execution == "hybrid" and members is not None:
        return list(teams_of_ranks(network.sizes, batch, workers // members, members))
    if execution == "hybrid":
        lanes = VECTOR_BYTES // network.dtype.itemsize
        return list(balanced_teams(tuple(network.sizes), batch, workers, lanes))
    return one_team(network.depth, workers)


def team_of(layout: Layout, found: Sequence[Team], worker: int) -> TeamOf:
    """What the loop of a worker of this process is given of its team and of its part of the batch."""
    worker += layout.place
    t = next(t for t, team in enumerate(found) if team.first <= worker < team.first + team.members)
    team = found[t]
    below = found[t - 1].first if t else team.first
    end = team.first + team.members
    above = end + (found[t + 1].members if t + 1 < len(found) else 0)
    order, position = orders(layout.depth, found)
    begin, count = even_parts(layout.batch, team.members)[worker - team.first]
    at = layout.value_at[worker] + begin * layout.wide
    return TeamOf(team.first, end, below, above, order, position, begin, count, at)


def orders(depth: int, found: Sequence[Team]) -> tuple[np.ndarray, np.ndarray]:
    """The layers of every team in the order in which their products are made, and of each layer its turn, from 1 on:
    the edges first, whose results another team waits for; W[0] last, of which no value waits for anything."""
    order = np.zeros(depth, np.int64)
    position = np.zeros(depth, np.int64)
    for team in found:
        mine = list(range(team.lo, team.hi))
        if team.hi < depth and team.hi - team.lo > 1:
            mine.insert(min(1, team.lo), mine.pop())
        if team.lo == 0:
            mine.append(mine.pop(mine.index(0)))
        order[team.lo : team.hi] = mine
        position[mine] = np.arange(1, len(mine) + 1)
    return order, position
