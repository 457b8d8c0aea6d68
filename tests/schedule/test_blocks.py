"""Blocks of layers against every way to cut, and parts against their definition."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim.schedule.blocks import balanced_blocks, even_parts

costs_of_layers = st.lists(st.integers(1, 100), min_size=1, max_size=9)


@settings(deadline=None)
@given(costs_of_layers, st.data())
def test_no_other_cut_has_a_cheaper_most_expensive_block(costs, data):
    workers = data.draw(st.integers(1, len(costs)))
    blocks = balanced_blocks(costs, workers)
    assert len(blocks) == workers and all(first < end for first, end in blocks)
    assert [l for first, end in blocks for l in range(first, end)] == list(range(len(costs)))

    def most_expensive(edges):
        return max(sum(costs[first:end]) for first, end in itertools.pairwise(edges))

    best = min(
        most_expensive((0, *cuts, len(costs))) for cuts in itertools.combinations(range(1, len(costs)), workers - 1)
    )
    assert max(sum(costs[first:end]) for first, end in blocks) == best


@given(st.integers(0, 50), st.integers(1, 12))
def test_parts_are_even_and_leave_nothing_out(count, parts):
    runs = even_parts(count, parts)
    assert [i for first, number in runs for i in range(first, first + number)] == list(range(count))
    assert max(n for _, n in runs) - min(n for _, n in runs) <= 1
