"""MM and SMM of Table 4, and Fig. 5."""

import numpy as np
import pytest
from graphs import (
    DEPTHS,
    backprop,
    build,
    cases,
    edge_list,
    formulas,
    incremental,
    predictive_coding,
    without_edge,
    zero_divergence,
)
from hypothesis import given, settings

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.errors import InputError
from pcsim.schedule.counts import figure_5, table4
from pcsim.schedule.tasks import Kind

START, PREDICT, BACKPROJECT, VALUE, UPDATE, *_ = Kind
# Kernels compile at their first call, which no deadline should count.
some_examples = settings(deadline=None, max_examples=60)


# --- Table 4 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["bp", "zil", "ipc"])
def test_table_4(algorithm):
    for L in DEPTHS:
        graph = build(algorithm, L, 2 if algorithm == "zil" else 7)
        assert (graph.mm, graph.smm) == formulas(algorithm, L)
        if algorithm == "bp":
            assert graph.mm_full == 3 * L - 1
        if algorithm == "ipc":
            assert (graph.mm_full, graph.smm_full) == (3 * L - 1, 2)


def test_table_4_of_pc():
    for L in DEPTHS:
        for T in range(1, 17):
            graph = predictive_coding(L, 2, T)
            assert (graph.mm, graph.smm) == formulas("pc", L, T)
            assert graph.mm_full == (2 * L - 1) * T + 2 * L


def test_counts_are_whole_numbers_unless_they_are_means():
    assert all(isinstance(n, int) for n in (incremental(4, 3).smm, backprop(4, 3).mm, incremental(4, 3).mm_full))
    graph = incremental(3, 7, steps_per_batch=3)
    assert (graph.mm, graph.smm) == ((3 * 5 - 3) / 3, 4 / 3)


@some_examples
@given(cases(max_updates=9, steady=True))
def test_counts_do_not_depend_on_how_long_the_graph_is(case):
    algorithm, depth, updates, steps = case
    graph, longer = build(*case), build(algorithm, depth, 5 * updates, steps)
    for name in ("mm", "smm", "mm_full", "smm_full"):
        assert getattr(graph, name) == getattr(longer, name)
    for workers in (1, 2, 3, graph.depth):
        assert graph.makespan(workers) == longer.makespan(workers)


@pytest.mark.parametrize(("algorithm", "depth"), [("bp", 2), ("bp", 5), ("ipc", 2)])
def test_twin_one_missing_edge_breaks_a_formula(algorithm, depth):
    graph = build(algorithm, depth, 3)
    if algorithm == "bp":
        later, earlier = graph.task(PREDICT, 2, 0), graph.task(UPDATE, 1, 0)
    else:
        later, earlier = graph.task(VALUE, 1, 1), graph.task(BACKPROJECT, 1, 1)
    edges = edge_list(graph)
    twin = without_edge(graph, int(np.flatnonzero((edges[0] == earlier) & (edges[1] == later))[0]))
    assert (graph.mm, graph.smm) == formulas(algorithm, depth)
    assert (twin.mm, twin.smm) != formulas(algorithm, depth)


def test_table4_rows():
    rows = table4([2, 5], [BP(), PC(T=3), ZIL(), IPC()], workers=[1, 2, 5])
    assert [(row["algorithm"], row["depth"], row["steps"]) for row in rows] == [
        (name, L, 3 if name == "pc" else None) for L in (2, 5) for name in ("bp", "pc", "zil", "ipc")
    ]
    for row in rows:
        assert (row["mm"], row["smm"]) == formulas(row["algorithm"], row["depth"], row["steps"])
        assert row["smm_workers"][1] == row["mm"]
        assert row["smm_workers"][5] == row["smm"]
    assert rows[-1]["smm_workers"] == {1: 9.0, 2: 4.5, 5: 2.0}


# --- Fig. 5 ------------------------------------------------------------------------------------------------------


def test_figure_5():
    assert figure_5(incremental(3, 8), backward=6) == (5, 2)
    assert figure_5(backprop(3, 4), backward=6) == (3, 0)


@pytest.mark.parametrize("depth", [2, 4, 6, 9])
def test_figure_5_at_other_depths(depth):
    # The error moves one layer a step: the first depth - 1 updates change only the upper layers.
    assert figure_5(incremental(depth, 14), backward=12) == (14 - depth, depth - 1)
    assert figure_5(backprop(depth, 14), backward=12) == (12 // (depth - 1), 0)


def test_reached_spreads_one_layer_a_step():
    graph = incremental(4, 6)
    ids = graph.task(UPDATE, np.arange(6)[:, None], np.arange(4))
    np.testing.assert_array_equal(graph.reached()[ids], np.arange(6)[:, None] + np.arange(4) >= 3)
    assert zero_divergence(5, 2).reached()[zero_divergence(5, 2).kinds == UPDATE].all()


def test_figure_5_needs_a_graph_that_goes_on():
    with pytest.raises(InputError, match="more updates"):
        figure_5(incremental(3, 7), backward=6)
