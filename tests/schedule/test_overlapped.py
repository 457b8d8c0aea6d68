"""The task graph of asynchronous BP: slots, counts, bubbles."""

import numpy as np
import pytest
from graphs import DEPTHS, edge_list, without_edge

from pcsim import AsyncBP, Calendar, InputError, Stage
from pcsim.schedule.tasks import Kind


def test_two_products_in_a_row_per_update_at_every_depth():
    for L in DEPTHS:
        graph = AsyncBP().tasks(L, 5)
        assert (graph.mm, graph.smm, graph.mm_full, graph.smm_full) == (2 * L - 1, 2, 3 * L - 1, 2)
        assert graph.makespan(L) == 2
        assert graph.first == 3 * L - 2  # an empty pipeline fills while the first batch goes up and down
    assert AsyncBP().tasks(1, 5).smm == 1
    assert AsyncBP(accumulate=3).tasks(6, 5).smm == 6


@pytest.mark.parametrize("L", [2, 3, 8])
def test_fewer_workers_share_the_products(L):
    graph = AsyncBP().tasks(L, 3)
    assert [graph.makespan(P) for P in range(1, L)] == [(2 * L - 1) / P for P in range(1, L)]


def test_slots_are_those_of_the_contract():
    L, updates = 5, 4
    graph = AsyncBP().tasks(L, updates)
    found = {(Kind(k), s, l) for k, s, l in zip(graph.kinds, graph.steps.tolist(), graph.layers.tolist(), strict=True)}
    wanted = set()
    for s in range(2 * (L - 1) + updates):
        for l in range(L):
            if s - l >= 0:
                wanted.add((Kind.PREDICT, s, l))
            if s - (2 * (L - 1) - l) >= 0:
                wanted |= {(Kind.UPDATE, s, l), *([(Kind.BACKPROJECT, s, l)] if l else [])}
    assert found == wanted
    missing = (2 * (L - 1) + updates) * (3 * L - 1) - len(graph)
    bubbles = L * (L - 1) // 2 + sum(2 * (2 * (L - 1) - l) for l in range(1, L)) + 2 * (L - 1)
    assert missing == bubbles
    assert [int((graph.update_of == n).sum()) for n in range(1, updates)] == [3 * L - 1] * (updates - 1)


def test_every_edge_leads_to_an_earlier_task_of_this_slot_or_the_last():
    graph = AsyncBP().tasks(6, 4)
    before, after = edge_list(graph)
    assert (before < after).all()
    assert set((graph.steps[after] - graph.steps[before]).tolist()) == {0, 1}


def test_twin_without_the_edge_from_a_slot_to_the_next_counts_less():
    """If a layer could predict before its last back-projection is done, there would be one product in a row."""
    graph = AsyncBP().tasks(6, 6)
    before, after = edge_list(graph)
    held = (graph.kinds[before] == Kind.BACKPROJECT) & (graph.kinds[after] == Kind.PREDICT)
    assert held.sum() > 0
    for edge in reversed(np.flatnonzero(held).tolist()):
        graph = without_edge(graph, edge)
    assert graph.smm == 1


def test_messages_are_a_value_up_and_an_error_down():
    assert AsyncBP().tasks(6, 9).messages([0, 0, 1, 1, 2, 2]) == 4


def test_only_a_chained_calendar_is_overlapped():
    with pytest.raises(InputError, match="only a chained calendar"):
        Calendar((Stage(update=(0, 1), completes=True),), None, overlapped=True).check(2)
