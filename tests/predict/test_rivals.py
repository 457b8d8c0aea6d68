"""Every execution of BP that fits, and what moves the ratio most."""

import math

from simulated import square

from pcsim.predict.machine_files import load
from pcsim.predict.rivals import backprops, sensitivity
from pcsim.predict.what_if import FIGURES


def test_what_moves_the_ratio_most_comes_first():
    found = sensitivity(square(6, 256, 2), load("server-64"), 4)
    assert {name for name, _ in found} == set(FIGURES)
    assert all(ratio > 0 for _, ratio in found)
    sizes = [abs(math.log(ratio)) for _, ratio in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0


def test_backprop_is_tried_in_every_execution_that_fits():
    def names(net, workers):
        return [p.execution for p in backprops(net, load("server-64"), workers)]

    assert names(square(4, 32), 1) == ["serial"]
    assert names(square(4, 32), 4) == ["serial", "intra-layer"]
    assert names(square(4, 32, 8), 4) == ["serial", "intra-layer", "pipeline", "data-parallel"]
