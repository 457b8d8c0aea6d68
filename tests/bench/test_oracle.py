"""How near is near enough: rounding is forgiven, and Adam's in a few weights, and nothing else."""

import numpy as np
import pytest

from pcsim.bench.oracle import hold_weights

BEFORE = np.ones((64, 64), np.float32)
RIGHT = BEFORE + np.float32(0.01)


def changed(count, by):
    """The oracle's weights, so many of them moved."""
    mine = RIGHT.copy()
    mine.reshape(-1)[:count] += np.float32(by)
    return mine


def test_adam_may_differ_in_few_weights_which_went_no_further():
    hold_weights([changed(4, -0.02)], [RIGHT], [BEFORE], "two", "adam")
    for count, by in ((5, -0.02), (4, 0.03), (4, np.nan)):
        with pytest.raises(ArithmeticError, match="layer 0 differ"):
            hold_weights([changed(count, by)], [RIGHT], [BEFORE], "two", "adam")


def test_others_may_not():
    hold_weights([changed(64, 1e-6)], [RIGHT], [BEFORE], "two")
    with pytest.raises(ArithmeticError, match="layer 0 differ"):
        hold_weights([changed(1, -0.02)], [RIGHT], [BEFORE], "two", "momentum")
