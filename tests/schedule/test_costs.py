"""Span by flop, delay, values that are held, messages each way and flop, on task graphs."""

import dataclasses

import numpy as np
import pytest
from graphs import DEPTHS, edge_list

from pcsim import BP, DFA, IPC, PC, ZIL, AsyncBP, DualProp, InputError, Local
from pcsim.bench.case import Case
from pcsim.bench.contenders import Contender
from pcsim.bench.work import work_per_update
from pcsim.schedule.costs import costs, prediction_of
from pcsim.schedule.tasks import Kind, Predecessors

N, C, T = 40, 8, 5  # units, classes, steps of PC
SMALL = C / N

WAYS = (BP(), PC(T=T), ZIL(), IPC(), AsyncBP(), Local(), DFA(), DualProp(sweeps=2), DualProp(incremental=True))


def closed_forms(algorithm, L):
    """span, delay, held, messages up and down."""
    match algorithm.name:
        case "bp":
            return 2 * L - 1, 0, 1, 1, 1
        case "pc":
            return 2 * T, 0, 1, T, T
        case "zil":
            return 2 * (L - 1), 0, 1, L - 1, L - 1
        case "ipc":
            return 2, 0, 1, 1, 1
        case "bp-async":
            return 2, 2 * (L - 1), 2 * L - 1, 1, 1
        case "local":
            return 1 + 2 * SMALL, 0, 1, 1, 0
        case "dfa":  # the output is waited for in every other slot; its error goes to each of L - 1 layers
            return (2 + SMALL) / 2, L - 1, L, 1, 1
        case "dual" if algorithm.incremental:
            return 2, 0, 1, 1, 1
    S = algorithm.sweeps  # one more up, the forward start; what the last half sweep makes is not sent down
    return 2 * S, 0, 1, S + 1, S - 1 + L // 2 / (L - 1)


def products(algorithm, L):
    """Products of layers, and small ones, with weight gradients and forward start; None: no simple form."""
    return {
        "bp": (3 * L - 1, 0), "ipc": (3 * L - 1, 0), "bp-async": (3 * L - 1, 0), "pc": ((2 * L - 1) * T + 2 * L, 0),
        "local": (2 * L, 3 * (L - 1)), "dfa": (2 * L, L - 1),
    }.get(algorithm.name)  # fmt: skip


@pytest.mark.parametrize("algorithm", WAYS, ids=lambda algorithm: getattr(algorithm, "label", algorithm.title))
def test_costs_are_the_closed_forms(algorithm):
    for L in DEPTHS:
        found = costs(algorithm.steady_tasks(L), N, C)
        names = ("span_flop", "delay", "held", "messages_up", "messages_down")
        for name, expected in zip(names, closed_forms(algorithm, L), strict=True):
            assert found[name] == pytest.approx(expected), (name, L)
        counted = products(algorithm, L)
        if counted:
            assert found["flops"] == 2 * N * (N * counted[0] + C * counted[1])


@pytest.mark.parametrize("L", [1, 2, 5, 16])
def test_where_all_products_are_alike_the_span_is_the_smm(L):
    for algorithm in WAYS:
        graph = algorithm.steady_tasks(L)
        found = costs(graph, N, N)
        assert found["span_flop"] == graph.smm
        assert found["flops"] == 2 * N * N * graph.mm_full


@pytest.mark.parametrize(("algorithm", "execution"), [(BP(), "serial"), (IPC(), "serial"), (ZIL(), "serial")])
def test_flop_are_those_of_a_measured_row(algorithm, execution):
    case = Case(6, N)
    work = work_per_update(Contender(algorithm, execution, 1), case)
    assert costs(algorithm.steady_tasks(6), N, C)["flops"] == work["flops"]


def late(graph, layer):
    """Updates of a layer between the prediction that its last update follows from and that update, one by one."""
    mine = graph.layers == layer
    updates = np.flatnonzero(mine & (graph.kinds == Kind.UPDATE))
    begin = prediction_of(graph, updates[-1])
    return sum(begin < update < updates[-1] for update in updates)


@pytest.mark.parametrize("L", [1, 2, 3, 6])
def test_the_first_layer_has_the_latest_gradient(L):
    """Counted by updates, in a graph in which all layers have made many."""
    for algorithm in WAYS:
        graph = algorithm.tasks(L, 3 * L + 9)
        delays = [late(graph, layer) for layer in range(L)]
        assert delays[0] == max(delays) == costs(graph)["delay"]
    assert [late(AsyncBP().tasks(4, 20), layer) for layer in range(4)] == [6, 4, 2, 0]


def test_batches_whose_gradients_are_summed_up_make_one_update():
    found = costs(AsyncBP(accumulate=3).steady_tasks(7))
    assert (found["delay"], found["held"]) == (4, 13)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 20])
def test_starts_under_way_are_held_too(steps):
    held = [costs(IPC().steady_tasks(8, steps, start))["held"] for start in ("forward", "pipelined")]
    assert held == [1, 1 + -(-7 // steps)]


def without(graph, earlier, later):
    """The graph without edges from tasks of one kind to those of another."""
    before, after = edge_list(graph)
    gone = (graph.kinds[before] == earlier) & (graph.kinds[after] == later)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(after[~gone], minlength=len(graph)))])
    return dataclasses.replace(graph, predecessors=Predecessors(indptr, before[~gone].astype(np.int32)))


@pytest.mark.parametrize(
    ("algorithm", "edge", "field"),
    [
        (BP(), (Kind.PREDICT, Kind.PREDICT), "span_flop"),
        (Local(), (Kind.HEAD, Kind.FEEDBACK), "span_flop"),
        (Local(), (Kind.PREDICT, Kind.PREDICT), "messages_up"),
        (IPC(), (Kind.BACKPROJECT, Kind.VALUE), "messages_down"),
    ],
)
def test_twin_edges_that_are_missing_show(algorithm, edge, field):
    graph = algorithm.steady_tasks(6)
    assert costs(graph, N, C)[field] != costs(without(graph, *edge), N, C)[field]


@pytest.mark.parametrize("algorithm", [AsyncBP(), DFA()])
def test_twin_an_error_that_never_comes_is_told(algorithm):
    graph = without(algorithm.steady_tasks(6), Kind.FEEDBACK, Kind.UPDATE)
    graph = without(graph, Kind.BACKPROJECT, Kind.UPDATE)
    with pytest.raises(InputError, match=r"UPDATE of layer 0 .* depends on no prediction of its layer"):
        costs(graph)


def test_twin_heads_as_large_as_layers_are_not_the_closed_form():
    graph = Local().steady_tasks(6)
    assert costs(graph, N, N)["span_flop"] == 3 != costs(graph, N, C)["span_flop"] == 1 + 2 * SMALL


def test_ways_are_the_sum_and_turn_round_with_the_workers():
    for algorithm in WAYS:
        graph = algorithm.steady_tasks(6)
        up, down = graph.message_ways(range(6))
        assert up + down == graph.messages(range(6))
        assert graph.message_ways(range(5, -1, -1)) == (down, up)


@pytest.mark.parametrize("sizes", [(0, 10), (64, 0), (2.5, 1)])
def test_sizes_that_are_none(sizes):
    with pytest.raises(InputError, match="must be a whole number"):
        costs(IPC().steady_tasks(3), *sizes)
