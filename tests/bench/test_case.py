"""Cells: nets by their sizes, batches that change, and which cells are one."""

from dataclasses import replace

import numpy as np
import pytest

from pcsim import InputError
from pcsim.bench.case import CACHES, Case, sizes_of
from pcsim.bench.grid import grid
from pcsim.schedule.waves import read_caches
from pcsim.training.data import load


def test_a_net_is_named_by_its_sizes():
    case = Case.of_net("7-5-2", 3)
    assert (case.depth, case.width, case.net, case.sizes, case.weights) == (2, 7, "7-5-2", (7, 5, 2), 45)
    net, x, y = case.problem()
    assert (net.sizes, x.shape, y.shape) == ((7, 5, 2), (3, 7), (3, 2))
    assert Case.of_net("8-8-8") == Case(2, 8)


@pytest.mark.parametrize("name", ["", "8", "8-", "8-0-8", "8-x", "8--8", "-8-8", "8-٣"])
def test_what_names_no_net_is_refused(name):
    with pytest.raises(InputError, match="a net is named"):
        sizes_of(name)


def test_changing_batches_do_not_fit_the_caches_and_all_rows_have_their_turn():
    case = Case.of_net("1024-2", 64, steps_per_batch=4)
    _, x, y = case.problem()
    assert len(x) == len(y) == case.data_rows
    assert x.nbytes + y.nbytes == case.data_bytes >= CACHES * read_caches().last
    first, second = case.batches(), case.batches()
    epoch = np.concatenate([first() for _ in range(case.data_rows // 64)])
    assert np.array_equal(np.sort(epoch), np.arange(case.data_rows))
    assert np.mean(np.diff(epoch) == 1) < 0.01  # shuffled
    assert np.array_equal(second(), epoch[:64])  # the same for everybody
    assert not np.array_equal(first(), epoch[:64])


def test_a_batch_that_never_changes_is_the_data():
    case = Case(2, 8, 5)
    assert len(case.problem()[1]) == 5
    following = case.batches()
    assert following().tolist() == following().tolist() == [0, 1, 2, 3, 4]


def test_nets_stand_in_place_of_depths_and_widths_or_beside_them():
    nets = ["9-4-2", "8-8-8"]
    assert grid(None, None, [2], nets=nets) == [Case.of_net("9-4-2", 2), Case(2, 8, 2)]
    assert grid([2], [8], None, nets=nets) == [Case(2, 8), Case.of_net("9-4-2")]
    changing = grid([2], [8], [1], steps_per_batch=[4, 1])
    assert [case.steps_per_batch for case in changing] == [1, 4]
    with pytest.raises(InputError, match="--start is about batches that change"):
        grid([2], [8], [1], starts=["pipelined"])


def test_cells_of_fashion_mnist_have_its_rows():
    """The training images that come with pcsim, repeated until they do not fit into the caches."""
    case = Case.of_net("784-12-10", 8, steps_per_batch=2, data="fashion-mnist")
    _, x, y = case.problem()
    data = load("fashion-mnist")
    rows = np.arange(case.data_rows) % len(data.x)
    assert len(x) > 2 * len(data.x)
    assert np.array_equal(x, data.x[rows])
    assert np.array_equal(y, data.y[rows])
    assert np.array_equal(Case.of_net("784-12-10", 8, data="fashion-mnist").problem()[1], data.x[:8])
    assert "fashion-mnist" in case.name
    assert not np.array_equal(replace(case, data="random").problem()[1], x)  # the twin


def test_data_that_do_not_fit_a_net_are_refused():
    with pytest.raises(InputError, match="fashion-mnist has 784 inputs and 10 classes, not as 784-9-9"):
        grid(None, None, [4], nets=["784-20-10", "784-9-9"], data="fashion-mnist")
    with pytest.raises(InputError, match="data 'digits' are unknown here: choose from random, fashion-mnist"):
        grid([2], [8], [1], data="digits")
