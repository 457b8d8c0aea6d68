"""BP by a scan: few products in a row, and large ones."""

import dataclasses

import numpy as np
import pytest
from graphs import DEPTHS, edge_list

from pcsim import BP
from pcsim.schedule.costs import costs
from pcsim.schedule.scan import Scan, scan_graph
from pcsim.schedule.tasks import Kind, Predecessors


def rounds(L):
    return int(np.ceil(np.log2(L)))


def test_products_in_a_row_are_the_depth_and_its_logarithm():
    for L in (2, 4, 8, 16, 32, 64):
        assert scan_graph(L, 3).smm == L + np.log2(L)
    for L in DEPTHS:  # in between some products of Jacobians are there before the forward pass has ended
        assert L < scan_graph(L, 3).smm <= min(L + rounds(L), 2 * L - 1)


@pytest.mark.parametrize("L", [1, 2, 3, 8, 21, 32])
def test_products_and_flop(L):
    """BP's 2L - 1 products, and in round k one of matrices for each of the L - 2**(k+1) factors that are no vector."""
    n, graph = 64, scan_graph(L, 3)
    matrices = sum(max(0, L - 2 ** (k + 1)) for k in range(rounds(L)))
    assert graph.mm == 2 * L - 1 + matrices
    assert costs(graph, n)["flops"] == 2 * n**2 * (3 * L - 1) + 2 * n**3 * matrices
    assert costs(graph, n)["flops"] - costs(BP().steady_tasks(L), n)["flops"] == 2 * n**3 * matrices


@pytest.mark.parametrize("L", [8, 32, 64])
def test_few_products_in_a_row_are_a_long_way_by_flop(L):
    n = 64
    scan, bp = (costs(algorithm.steady_tasks(L), n)["span_flop"] for algorithm in (Scan(), BP()))
    assert bp == 2 * L - 1
    assert scan > (rounds(L) - 1) * n > bp


@pytest.mark.parametrize("L", [1, 2, 5, 8, 13])
def test_the_errors_are_those_of_backprop(L):
    """Executed in the order of the graph, on Jacobians of its own for each layer."""
    rng = np.random.default_rng(L)
    jacobians, e = rng.standard_normal((L, 4, 4)), rng.standard_normal(4)
    graph = scan_graph(L, 1)
    held = {L - l: jacobians[l] for l in range(1, L)} | {0: e}  # by place, counted from e down
    for step in range(1, rounds(L) + 1 if L > 1 else 1):
        tasks = np.flatnonzero((graph.steps == step) & (graph.kinds != Kind.UPDATE))
        before = dict(held)
        for task in tasks:
            i = L - int(graph.layers[task])
            taken = before[i - 2 ** (step - 1)]
            assert (taken.ndim == 1) == (graph.kinds[task] == Kind.BACKPROJECT)
            held[i] = before[i] @ taken
    error = e
    for l in reversed(range(1, L)):
        error = jacobians[l] @ error
        np.testing.assert_allclose(held[L - l], error)


def naive_sources(graph, task):
    """(kind, layer, step) of what a task waits for, within its update."""
    indptr, before = graph.predecessors
    mine = before[indptr[task] : indptr[task + 1]]
    return {(Kind(graph.kinds[one]), int(graph.layers[one]), int(graph.steps[one])) for one in mine}


def test_every_factor_waits_for_the_two_of_which_it_is_made():
    """L = 8, all of the first update: places count from e down, and round k takes in what stands 2**k above."""
    graph = scan_graph(8, 1)
    assert naive_sources(graph, int(graph.task(Kind.COMBINE, 2, 3))) == {(Kind.COMBINE, 3, 1), (Kind.COMBINE, 5, 1)}
    assert naive_sources(graph, int(graph.task(Kind.BACKPROJECT, 3, 2))) == {
        (Kind.COMBINE, 2, 2),
        (Kind.BACKPROJECT, 6, 2),
    }
    assert naive_sources(graph, int(graph.task(Kind.BACKPROJECT, 1, 7))) == {(Kind.PREDICT, 6, 0), (Kind.PREDICT, 7, 0)}
    assert naive_sources(graph, int(graph.task(Kind.UPDATE, 3, 0))) == {(Kind.BACKPROJECT, 1, 3)}


def test_twin_a_forgotten_round_shows():
    graph = scan_graph(16, 3)
    before, after = edge_list(graph)
    gone = (graph.kinds[before] == Kind.BACKPROJECT) & (graph.kinds[after] == Kind.BACKPROJECT)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(after[~gone], minlength=len(graph)))])
    twin = dataclasses.replace(graph, predecessors=Predecessors(indptr, before[~gone].astype(np.int32)))
    assert twin.smm < graph.smm == 20


def test_the_calendar_is_that_of_bp():
    assert Scan().checked_calendar(5) == BP().checked_calendar(5)
