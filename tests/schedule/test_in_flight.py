"""How long a batch takes in micro-batches of which few may be under way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsim.errors import InputError
from pcsim.schedule.in_flight import products_in_flight
from pcsim.schedule.pipelines import pipeline_graph

DEPTHS, PARTS = st.integers(2, 7), st.integers(1, 12)


@given(DEPTHS, PARTS)
def test_one_at_a_time_is_a_chain(L, M):
    assert products_in_flight(L, M, 1) == M * (2 * L - 1)


@given(DEPTHS, PARTS, st.integers(0, 3))
def test_as_many_as_layers_keep_the_top_worker_busy(L, M, more):
    """It makes two products of each micro-batch, the first and the last of which pass through all other layers."""
    assert products_in_flight(L, M, L + more) == 2 * (M + L) - 3


@given(DEPTHS, PARTS)
def test_no_batch_is_faster_than_the_chain_of_its_graph_or_the_share_of_a_worker(L, M):
    """MMs and SMMs of the graph are of a micro-batch."""
    graph = pipeline_graph(L, 3, M, [0] * L)
    assert products_in_flight(L, M, M) >= max(graph.smm, graph.mm / L)


@given(DEPTHS, PARTS, st.integers(1, 9))
def test_more_under_way_are_never_slower(L, M, k):
    assert products_in_flight(L, M, k + 1) <= products_in_flight(L, M, k)
    assert products_in_flight(L, M, k) >= M * (2 * L - 1) / k


def test_one_layer_predicts_alone():
    assert products_in_flight(1, 5, 1) == 5


@pytest.mark.parametrize("wrong", [(0, 1, 1), (2, 0, 1), (2, 1, 0)])
def test_nothing_is_refused(wrong):
    with pytest.raises(InputError, match="whole number of at least 1"):
        products_in_flight(*wrong)
