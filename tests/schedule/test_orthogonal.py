"""Muon's products on task graphs: closed forms of what they add, where they stand, and twins without an edge."""

import dataclasses

import numpy as np
import pytest
from graphs import edge_list
from pcsim.kernels.layers import orthogonal

from pcsim import BP, DFA, IPC, PC, ZIL, AsyncBP, DualProp, Local
from pcsim.bench.case import Case
from pcsim.bench.contenders import Contender
from pcsim.bench.work import work_per_update
from pcsim.schedule.costs import costs
from pcsim.schedule.orthogonal import multiplications
from pcsim.schedule.tasks import ITERATIONS, Kind, Predecessors

OWN = 15  # products of five iterations
N, C = 40, 8

WAYS = (BP, PC, ZIL, IPC, AsyncBP, Local, DFA, DualProp)


def graphs(way, L, **options):
    """Of plain gradient descent, and of Muon."""
    return (way(optimizer=name, **options).steady_tasks(L) for name in ("sgd", "muon"))


@pytest.mark.parametrize("L", [1, 2, 5, 16])
@pytest.mark.parametrize("way", WAYS)
def test_each_layer_has_as_many_products_more(way, L):
    plain, muon = graphs(way, L)
    assert (muon.mm, muon.smm, muon.first) == (plain.mm, plain.smm, plain.first)
    assert [muon.makespan(P) for P in (1, 3)] == [plain.makespan(P) for P in (1, 3)]
    assert muon.mm_full == plain.mm_full + OWN * (L + (L - 1) * (way is Local))


@pytest.mark.parametrize("L", [2, 5, 16])
def test_products_in_a_row_are_the_closed_forms(L):
    """Nobody goes on with a layer before its weights are new."""
    forms = {BP: 2 * L + OWN, IPC: 2 + OWN, AsyncBP: 2 + OWN, DFA: 2 + OWN, Local: 4 + OWN}
    for way, expected in forms.items():
        assert [*graphs(way, L)][1].smm_full == expected, way
    for way in (PC, ZIL):
        plain, muon = graphs(way, L)
        assert muon.smm_full == plain.smm_full + OWN


@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("L", [2, 7])
def test_span_and_flop_are_the_closed_forms(L, batch):
    own = OWN * N / batch  # in products of a layer, which are for each sample
    spans = {BP: 2 * L + own, IPC: 2 + own, Local: 2 + 2 * C / N + own}
    for way, expected in spans.items():
        plain, muon = (costs(graph, N, C, batch) for graph in graphs(way, L))
        assert muon["span_flop"] == pytest.approx(expected), way
        heads = (L - 1) * multiplications(C, N) if way is Local else 0
        more = 2 * (L * OWN * N**3 + heads) / batch
        assert muon["flops"] == pytest.approx(plain["flops"] + more)
        same = ("delay", "held", "messages_up", "messages_down")
        assert [muon[name] for name in same] == [plain[name] for name in same]


def test_multiplications_are_those_of_the_iterations():
    """Counted product by product, as many as are executed."""
    assert orthogonal.ITERATIONS == ITERATIONS
    for rows, columns in ((3, 5), (5, 3), (4, 4)):
        shape, found = (min(rows, columns), max(rows, columns)), 0
        for _ in range(ITERATIONS):
            found += shape[0] * shape[0] * shape[1]  # X X'
            found += shape[0] ** 3  # its square
            found += shape[0] * shape[0] * shape[1]  # and times X
        assert multiplications(rows, columns) == found


@pytest.mark.parametrize("batch", [1, 8])
def test_flop_are_those_of_a_measured_row(batch):
    case, algorithm = Case(6, N, batch=batch), IPC(optimizer="muon")
    work = work_per_update(Contender(algorithm, "serial", 1), case)
    graph = algorithm.steady_tasks(6, case.steps_per_batch, case.start)
    assert work["flops"] == pytest.approx(batch * costs(graph, N, C, batch)["flops"])


def test_products_stand_between_a_gradient_and_the_next_prediction():
    graph = IPC(optimizer="muon").tasks(3, 4)
    for l in range(3):
        gradient, own, following = (
            int(graph.task(kind, step, l))
            for kind, step in ((Kind.UPDATE, 1), (Kind.ORTHOGONALISE, 1), (Kind.PREDICT, 2))
        )
        before, after = edge_list(graph)
        assert own == gradient + 1
        assert before[after == own].tolist() == [gradient]
        assert own in before[after == following]
        assert set(after[before == gradient].tolist()) == {own}


@pytest.mark.parametrize("edge", [(Kind.UPDATE, Kind.ORTHOGONALISE), (Kind.ORTHOGONALISE, Kind.PREDICT)])
def test_twin_an_edge_that_is_missing_breaks_the_form(edge):
    graph = IPC(optimizer="muon").steady_tasks(5)
    before, after = edge_list(graph)
    gone = (graph.kinds[before] == edge[0]) & (graph.kinds[after] == edge[1])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(after[~gone], minlength=len(graph)))])
    broken = dataclasses.replace(graph, predecessors=Predecessors(indptr, before[~gone].astype(np.int32)))
    assert broken.smm_full != 2 + OWN
