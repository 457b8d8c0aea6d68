"""Counts of local losses, direct feedback alignment and dual propagation, on their task graphs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pcsim import BP, DFA, PC, DualProp, InputError, Local, Network
from pcsim.engines.numpy_dual import Dual
from pcsim.schedule.builders import task_graph
from pcsim.schedule.calendar import FROM_ABOVE, FROM_HEADS, Calendar, Stage
from pcsim.schedule.tasks import Kind

DEPTHS = [2, 3, 4, 8, 17, 32, 64]


@pytest.mark.parametrize("L", DEPTHS)
def test_local_losses_wait_for_a_prediction_and_two_small_products(L):
    graph = Local().steady_tasks(L)
    assert (graph.mm, graph.smm) == (3 * L - 2, 3)
    assert (graph.mm_full, graph.smm_full) == (5 * L - 3, 4)


@pytest.mark.parametrize("L", DEPTHS)
def test_feedback_alignment_waits_for_the_output_every_other_slot(L):
    """The layer below the output hears of an error in the slot in which it is made, predicts, and the output follows in
    the next: two predictions and the small product in two slots."""
    graph = DFA().steady_tasks(L)
    assert (graph.mm, graph.smm) == (2 * L - 1, 1.5)
    assert graph.first == L + 1


@pytest.mark.parametrize("L", DEPTHS)
@pytest.mark.parametrize("sweeps", [1, 3])
def test_a_sweep_is_two_products_in_a_row(L, sweeps):
    graph = DualProp(sweeps=sweeps).steady_tasks(L)
    assert (graph.mm, graph.smm) == (sweeps * (2 * L - 1), 2 * sweeps)
    graph = DualProp(incremental=True).steady_tasks(L)
    assert (graph.mm, graph.smm) == (2 * L - 1, 2)


class _Counted(np.ndarray):
    """Weights that note the products they are part of."""

    made = 0

    def __rmatmul__(self, other):
        _Counted.made += 1
        return np.asarray(other) @ np.asarray(self)


@pytest.mark.parametrize("algorithm", [DualProp(sweeps=1), DualProp(sweeps=4), DualProp(incremental=True)], ids=str)
@pytest.mark.parametrize("L", [1, 2, 3, 6])
def test_the_graph_has_as_many_products_as_the_oracle_makes(monkeypatch, algorithm, L):
    """Also at depth 1, where nothing comes down and each sweep predicts the same: S of them, as PC makes T."""
    rng = np.random.default_rng(0)
    net = Network([0.3 * rng.normal(size=(3, 3)) for _ in range(L)])
    oracle, calendar = Dual(net, algorithm), algorithm.calendar(L)
    oracle.net = SimpleNamespace(
        depth=L, biases=None, loss=net.loss, forward=net.forward,
        layers=[SimpleNamespace(f=layer.f, scale=1.0, bias=None, weights=layer.weights.view(_Counted))
                for layer in net.layers],
    )  # fmt: skip
    oracle.begin(rng.normal(size=(2, 3)), rng.normal(size=(2, 3)))
    monkeypatch.setattr(_Counted, "made", 0)
    for stage in calendar.stages:
        oracle.half_sweep(stage)
    sweeps = 1 if algorithm.incremental else algorithm.sweeps
    assert _Counted.made == algorithm.steady_tasks(L).mm == sweeps * (2 * L - 1)
    assert PC(T=sweeps).steady_tasks(L).mm == sweeps * (2 * L - 1)


@pytest.mark.parametrize("L", DEPTHS)
def test_workers_share_the_layers(L):
    for algorithm in (Local(), DFA(), DualProp(incremental=True)):
        graph = algorithm.steady_tasks(L)
        assert graph.makespan(1) == graph.mm
        for workers in (2, L):
            assert max(graph.smm, graph.mm / workers) <= graph.makespan(workers) <= graph.mm


def test_predecessors_come_first_and_every_task_but_the_first_has_some():
    for algorithm in (Local(), DFA(), DualProp(), DualProp(incremental=True)):
        graph = algorithm.tasks(5, 4)
        indptr, before = graph.predecessors
        for task in range(len(graph)):
            waits = before[indptr[task] : indptr[task + 1]]
            assert (waits < task).all()
            assert len(waits) or graph.kinds[task] in (Kind.START, Kind.PREDICT)


def test_messages_go_one_way_where_nothing_comes_down():
    """Of local losses a value goes up, each slot; BP without a flush sends an error down as well."""
    assert Local().steady_tasks(4).messages([0, 0, 1, 1]) == 1
    assert DualProp(incremental=True).steady_tasks(4).messages([0, 0, 1, 1]) == 2
    assert DFA().steady_tasks(4).messages([0, 0, 1, 1]) == 2  # the value, and the output's error


def test_how_far_an_error_has_come():
    """Of local losses each layer has its own from the first slot on; in dual propagation one layer for a half sweep."""
    graph = Local().tasks(4, 8)
    assert graph.reached()[graph.kinds == Kind.UPDATE].all()
    graph = DualProp(incremental=True).tasks(4, 8)
    reached = graph.reached()
    firsts = [int(np.flatnonzero(reached & (graph.kinds == Kind.UPDATE) & (graph.layers == l))[0]) for l in range(4)]
    assert [int(graph.steps[first]) for first in firsts] == [3, 2, 1, 0]
    graph = DFA().tasks(4, 8)
    assert graph.reached()[graph.kinds == Kind.UPDATE].all()


def test_twin_a_head_that_is_forgotten_shows():
    """Without heads the same calendar would be BP's asynchronous pipeline."""
    calendar = Local().calendar(6)
    graphs = [task_graph("local", replace(calendar, errors=errors), 6, 20) for errors in (FROM_HEADS, FROM_ABOVE)]
    assert [graph.smm for graph in graphs] == [3, 2]


@pytest.mark.parametrize(
    ("calendar", "words"),
    [
        (replace(BP().calendar(3), errors=FROM_HEADS), "errors from heads are for an overlapped calendar of one stage"),
        (replace(Local().calendar(3), errors="beside"), "errors come from one of above, heads, output"),
        (Calendar((Stage(parity=1), Stage(update=(0, 1, 2), completes=True))), "all stages of a swept calendar"),
        (Calendar((Stage(parity=2, update=(0, 1, 2), completes=True),)), "all stages of a swept calendar"),
    ],
)
def test_calendars_that_break_a_rule(calendar, words):
    with pytest.raises(InputError, match=words):
        calendar.check(3)
