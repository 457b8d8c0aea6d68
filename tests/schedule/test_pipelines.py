"""Orders of the exact pipeline: counts from graphs, valid turns, and who waits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import BP
from pcsim.errors import InputError
from pcsim.schedule.pipelines import (
    ALONE,
    BACKWARD,
    FORWARD,
    ORDERS,
    REST,
    make_pipeline,
    pipeline_counts,
    pipeline_graph,
)
from pcsim.schedule.tasks import Kind

SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=9)


def pipelines(draw_weights, workers, parts):
    return [make_pipeline(order, tuple(draw_weights), min(workers, len(draw_weights)), parts) for order in ORDERS]


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(1, 5), st.integers(1, 12))
def test_every_stage_does_everything_once_and_in_the_order_of_micro_batches(weights, workers, parts):
    for pipeline in pipelines(weights, workers, parts):
        for stage in pipeline.stages:
            for what, count in ((FORWARD, parts), (BACKWARD, parts), (ALONE, stage.alone), (REST, 1)):
                expected = [stage.alone] if what == REST else list(range(count))
                assert stage.part[stage.what == what].tolist() == expected
            turn = {
                (what, m): i for i, (what, m) in enumerate(zip(stage.what.tolist(), stage.part.tolist(), strict=True))
            }
            assert all(turn[FORWARD, m] < turn[BACKWARD, m] for m in range(parts))
            assert all(turn[BACKWARD, m] < turn[ALONE, m] for m in range(stage.alone))
            assert turn[REST, stage.alone] == len(stage.what) - 1
        assert pipeline.span(True) >= pipeline.span() > 0  # so that nobody waits for ever
        assert 0 <= pipeline.bubble < 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(1, 9), st.sampled_from(ORDERS))
def test_graphs_hold_backprop_in_micro_batches(depth, parts, order):
    graph = make_pipeline(order, (1.0,) * depth, min(depth, 3), parts).graph(3)
    whole = BP().tasks(depth, 3)
    assert graph.mm == parts * whole.mm
    assert graph.smm == whole.smm  # of a micro-batch each: they do not wait for one another
    indptr, before = graph.predecessors
    after = np.repeat(np.arange(len(graph)), np.diff(indptr))
    assert np.all(before < after)
    # No product of a batch is made before every weight product of the batch before, of its layer, is done.
    done = graph.finish_times(full=True)
    for layer in range(depth):
        update, forward = ((graph.layers == layer) & (graph.kinds == kind) for kind in (Kind.UPDATE, Kind.PREDICT))
        for n in range(1, 3):
            assert done[update & (graph.update_of == n - 1)].max() < done[forward & (graph.update_of == n)].min()


@pytest.mark.parametrize("stages", [2, 3, 4, 8])
def test_nobody_waits_from_twice_as_many_micro_batches_as_stages_on(stages):
    split, filled = (make_pipeline(order, (1.0,) * stages, stages, 2 * stages) for order in ORDERS)
    assert (filled.span(True), filled.bubble) == (3, 0)
    assert split.span(True) == 3 + (2 * stages - 3) / (2 * stages)
    # Without weight products there is nothing to fill waits with: CONTRACT's 2 + 2(L - 1) / m, less the product that
    # the lowest layer does not make.
    assert split.span() == filled.span() == 2 + (2 * stages - 3) / (2 * stages)


def test_a_stage_that_does_not_wait_makes_its_weight_products_at_once():
    assert make_pipeline("zero-bubble", (1.0,) * 4, 1, 8).stages[0].alone == 0
    uneven = make_pipeline("zero-bubble", (784.0 * 64, 64 * 64, 640), 2, 8)
    assert [stage.alone for stage in uneven.stages] == [0, 7]  # only the upper one waits


def test_the_schedule_notices_an_order_that_fills_no_wait():
    """The twin: weight products alone, but at the end, which is what split does."""
    filled = make_pipeline("zero-bubble", (1.0,) * 4, 4, 8)
    late = type(filled)(filled.order, filled.micro_batches, make_pipeline("split", (1.0,) * 4, 4, 8).stages)
    assert late.span(True) > filled.span(True)


def test_counts_have_a_row_for_each_order():
    rows = pipeline_counts([4], [8], ORDERS, [2, 8])
    assert [(row["order"], row["workers"]) for row in rows] == [(o, w) for w in (2, 4) for o in ORDERS]
    assert [row["bubble"] for row in rows][-1] == 0 < rows[-2]["bubble"]


def test_what_is_no_pipeline_is_refused():
    with pytest.raises(InputError, match="order 'odd' of a pipeline is unknown: choose from split, zero-bubble"):
        make_pipeline("odd", (1.0,), 1, 2)
    with pytest.raises(InputError, match="micro_batches must be a whole number of at least 1"):
        make_pipeline("split", (1.0,), 1, 0)
    with pytest.raises(InputError, match="depth must be"):
        pipeline_graph(0, 1, 1, [])
