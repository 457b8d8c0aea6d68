"""Who waits for whom, and when, where every layer has a worker."""

import numpy as np
import pytest
from graphs import edge_list

from pcsim import BP, DFA, IPC, PC, AsyncBP, DualProp, Local
from pcsim.schedule.tasks import STARTS_COSTS, Kind
from pcsim.schedule.waits import turns, updates_of, waits

WAYS = (BP(), IPC(), PC(T=3), AsyncBP(), Local(), DFA(), DualProp(incremental=True))
GRAPHS = [way.tasks(4, 7) for way in WAYS]
NAMES = [way.title for way in WAYS]


def closure(pairs, size):
    """Whether a task comes before another along some of the pairs, all of which ascend."""
    before = np.zeros((size, size), np.bool_)
    for later in range(size):
        for earlier in {one for one, other in pairs if other == later}:
            before[later] |= before[earlier]
            before[later, earlier] = True
    return before


@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
def test_waits_and_the_turns_of_layers_say_all_that_edges_say(graph):
    products = np.flatnonzero(np.isin(graph.kinds, list(STARTS_COSTS)))
    in_turn = [
        (mine[i], mine[i + 1])
        for mine in (products[graph.layers[products] == l] for l in range(4))
        for i in range(len(mine) - 1)
    ]
    edges, found = list(zip(*edge_list(graph), strict=True)), waits(graph)
    whole = closure(edges, len(graph))[np.ix_(products, products)]
    told = closure([*found, *in_turn], len(graph))[np.ix_(products, products)]
    assert not (whole & ~told).any()
    assert all(closure(edges, len(graph))[later, earlier] for earlier, later in found)
    between = [pair for pair in found if graph.layers[pair[0]] != graph.layers[pair[1]]]
    less = closure([*[pair for pair in found if pair != between[-1]], *in_turn], len(graph))
    assert (whole & ~less[np.ix_(products, products)]).any(), "a wait that is left out shows"


def told(graph, found, task):
    """(kind, layer, steps before) of what a task waits for."""
    return {
        (Kind(graph.kinds[one]).name, int(graph.layers[one]), int(graph.steps[task] - graph.steps[one]))
        for one, other in found
        if other == task
    }


def test_a_layer_of_ipc_waits_for_its_neighbours_and_nobody_else():
    graph = IPC().tasks(5, 6)
    found = waits(graph)
    prediction, pulled = (int(graph.task(kind, 4, 2)) for kind in (Kind.PREDICT, Kind.BACKPROJECT))
    assert told(graph, found, prediction) == {("PREDICT", 1, 1), ("BACKPROJECT", 2, 1), ("BACKPROJECT", 3, 1)}
    assert told(graph, found, pulled) == {("PREDICT", 2, 0)}


def test_bp_is_one_chain():
    found = waits(BP().tasks(4, 3))
    assert all(sum(other == task for _, other in found) == 1 for _, task in found)
    assert len(found) == 3 * 7 - 1


def test_local_losses_never_wait_for_a_layer_above():
    graph = Local().tasks(4, 8)
    assert all(graph.layers[earlier] <= graph.layers[later] for earlier, later in waits(graph))


@pytest.mark.parametrize("graph", GRAPHS, ids=NAMES)
def test_a_layer_makes_one_product_at_a_time(graph):
    costs = {kind: 2 if kind == Kind.PREDICT else 3 for kind in STARTS_COSTS}
    start, finish = turns(graph, costs)
    for layer in range(4):
        mine = np.flatnonzero(np.isin(graph.kinds, list(costs)) & (graph.layers == layer))
        assert (start[mine[1:]] >= finish[mine[:-1]]).all()
    earlier, later = edge_list(graph)
    assert (start[later] >= finish[earlier]).all()
    assert finish.max() >= graph.finish_times().max()


def test_turns_of_bp_are_its_chain():
    graph = BP().tasks(4, 3)
    np.testing.assert_array_equal(turns(graph, {Kind.PREDICT: 1, Kind.BACKPROJECT: 1})[1], graph.finish_times())


def test_products_are_for_the_update_from_their_batch():
    """In slot s layer l of asynchronous BP predicts for batch s - l, and pulls back for s - (2(L-1) - l)."""
    L, graph = 4, AsyncBP().tasks(4, 12)
    for task, number in enumerate(updates_of(graph)):
        s, l = int(graph.steps[task]), int(graph.layers[task])
        if graph.kinds[task] == Kind.PREDICT and s <= 10:  # of later ones the update is not in the graph
            assert number == s - l
        elif graph.kinds[task] == Kind.BACKPROJECT:
            assert number == s - (2 * (L - 1) - l)
    graph = IPC().tasks(4, 5)
    np.testing.assert_array_equal(updates_of(graph), graph.update_of)
