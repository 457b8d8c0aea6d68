"""Two sides of a cell, process by process; the choice of who stands for a side."""

import math

import numpy as np
import pytest
from rows import made, row, some

from pcsim.results.comparison import compared, opposed
from pcsim.results.pairs import merged, pairs
from pcsim.results.statistics import Spread, median_interval, ratio_interval
from pcsim.results.verdicts import WITHIN


def launched(algorithm, execution, medians, workers=1):
    return [row(algorithm, execution, workers, some(time, 9, 0.001, n), launch=n) for n, time in medians.items()]


def numbered(*medians):
    return dict(enumerate(medians))


def test_a_process_is_one_value_and_its_two_sides_are_of_the_same():
    """What makes a whole process slow cancels, however little its samples spread."""
    slow = np.array([1.0, 1.5, 0.7, 1.1, 0.9])
    ours, theirs = launched("ipc", "serial", numbered(*slow)), launched("bp", "serial", numbered(*(2 * slow)))
    (pair,) = pairs(made(*ours, *theirs))
    assert (pair["low"], pair["high"]) == (pytest.approx(0.5, rel=0.01), pytest.approx(0.5, rel=0.01))
    (shuffled,) = pairs(made(*ours, *(one | {"launch": (one["launch"] + 1) % 5} for one in theirs)))
    assert shuffled["ratio"] == pytest.approx(pair["ratio"])
    assert shuffled["high"] / shuffled["low"] > 3


def test_one_process_has_an_interval_within_itself():
    ours, theirs = row("ipc", seconds=some(1, 11)), row("bp", seconds=some(2, 11, seed=1))
    (pair,) = pairs(made(ours, theirs))
    assert (pair["ratio"], pair["low"], pair["high"]) == ratio_interval(ours["seconds"], theirs["seconds"])
    assert (pair["basis"], pair["processes"], pair["variance"]) == (WITHIN, 1, None)


def test_sides_without_a_process_in_common_were_not_side_by_side():
    ours, theirs = launched("ipc", "serial", {0: 1.0}), launched("bp", "serial", {1: 2.0})
    (pair,) = pairs(made(*ours, *theirs))
    assert (pair["ratio"], pair["low"], pair["high"]) == median_interval(ours[0]["seconds"], theirs[0]["seconds"])
    ours, theirs = launched("ipc", "serial", numbered(1.0, 1.0)), launched("bp", "serial", {1: 2.0})
    (pair,) = pairs(made(*ours, *theirs))
    assert (pair["basis"], pair["ratio"]) == (WITHIN, pytest.approx(0.5, rel=0.01))


def test_other_hours_widen_the_interval_for_a_re_run_and_no_other():
    rows = [*launched("ipc", "serial", numbered(1.0, 1.1, 0.9)), *launched("bp", "serial", numbered(2.0, 2.0, 2.1))]
    (plain,), (wide,) = pairs(made(*rows)), pairs(made(*rows), spread=Spread(0.3**2, 8))
    assert wide["low"] < plain["low"] < plain["mean_low"] < plain["ratio"] < plain["high"] < wide["high"]
    assert plain["mean_high"] < plain["high"]
    assert [wide[name] == plain[name] for name in ("mean_low", "mean_high", "ratio", "variance", "p")] == [True] * 5
    assert (plain["basis"], wide["basis"]) == ("3 processes, within this hour", "3 processes")
    assert wide["resolves"] > plain["resolves"]


# --- who stands for a side ---


def test_the_choice_is_made_on_the_other_processes():
    """b is the fastest in process 2 alone, by so much that it has the lowest mean: in that process, which chose it, it
    may not be reported."""
    a = launched("ipc", "serial", numbered(1.0, 1.0, 1.0))
    b = launched("ipc", "layer-parallel", numbered(1.2, 1.2, 0.5), 2)
    bp = launched("bp", "serial", numbered(1.0, 1.0, 1.0))
    (pair,) = pairs(made(*a, *b, *bp))
    # Process 0 and 1 choose b, whose mean of the others is the lower; process 2 chooses a.
    medians = [next(r["median"] for r in rows if r["launch"] == n) for n, rows in ((0, b), (1, b), (2, a))]
    logs = np.log(medians) - np.log([r["median"] for r in bp])
    assert pair["ratio"] == pytest.approx(math.exp(logs.mean()))
    assert (pair["execution"], pair["workers"], pair["chosen"], pair["processes"]) == ("layer-parallel", 2, 2, 3)
    assert (pair["other_execution"], pair["other_chosen"]) == ("serial", 3)


def test_both_sides_are_chosen_so():
    ipc = launched("ipc", "serial", numbered(1.0, 1.0, 1.0))
    bp = launched("bp", "serial", numbered(2.0, 2.0, 2.0))
    other = launched("bp", "intra-layer", numbered(2.4, 2.4, 1.0), 1)
    (pair,) = pairs(made(*ipc, *bp, *other))
    assert (pair["other_execution"], pair["other_chosen"]) == ("intra-layer", 2)
    assert pair["ratio"] == pytest.approx((1 / 2.4 / 2.4 / 2.0) ** (1 / 3), rel=0.01)
    (named,) = pairs(made(*ipc, *bp, *other), "serial")
    assert (named["other_chosen"], named["ratio"]) == (3, pytest.approx(0.5, rel=0.01))


def test_one_process_chooses_on_what_it_reports():
    rows = [*launched("ipc", "serial", {0: 1.0}), *launched("ipc", "layer-parallel", {0: 0.9}, 2)]
    (pair,) = pairs(made(*rows, *launched("bp", "serial", {0: 2.0})))
    assert (pair["execution"], pair["chosen"], pair["processes"]) == ("layer-parallel", 1, 1)


def test_who_lacks_a_process_stands_back():
    whole = launched("ipc", "serial", numbered(1.0, 1.0, 1.0))
    partly = launched("ipc", "layer-parallel", {1: 0.5, 2: 0.5}, 2)
    bp = launched("bp", "serial", numbered(2.0, 2.0, 2.0))
    (pair,) = pairs(made(*whole, *partly, *bp))
    assert (pair["execution"], pair["chosen"], pair["ratio"]) == ("serial", 3, pytest.approx(0.5, rel=0.01))
    (pair,) = pairs(made(*partly, *bp))
    assert (pair["execution"], pair["processes"]) == ("layer-parallel", 2)


def test_equally_often_means_the_faster():
    a = launched("ipc", "serial", numbered(1.0, 0.8))
    b = launched("ipc", "layer-parallel", numbered(0.8, 0.99), 2)
    found, ours, theirs = opposed(merged([*a, *b], "ipc"), merged(launched("bp", "serial", numbered(1.0, 1.0)), "bp"))
    # Process 0 goes by process 1, where a was faster; process 1 by process 0, where b was.
    assert found.ratio == pytest.approx(math.sqrt(1.0 * 0.99), rel=0.01)
    assert (ours.row["execution"], ours.chosen) == ("layer-parallel", 1)
    assert theirs.chosen == 2


def test_times_that_no_process_can_have_are_no_crash():
    ours, theirs = launched("ipc", "serial", numbered(1e-300, 1e300)), launched("bp", "serial", numbered(1.0, 1.0))
    (pair,) = pairs(made(*ours, *theirs))
    assert 0 < pair["low"] < 1e-300 < 1e300 < pair["high"] < math.inf


def test_the_rank_test_is_of_processes():
    ours, theirs = (
        merged(launched(name, "serial", numbered(*medians)), name)[0]
        for name, medians in (("ipc", (1.0, 1.01, 1.02, 1.03)), ("bp", (2.0, 2.01, 2.02, 2.03)))
    )
    assert compared(ours, theirs).p == pytest.approx(2 / math.comb(8, 4))


def test_a_time_without_samples_still_has_a_median():
    ours, theirs = (
        [one | {"seconds": [], "ci95": None} for one in launched(name, "serial", numbered(1.0, 1.1))]
        for name in ("ipc", "bp")
    )
    (pair,) = pairs(made(*ours, *theirs))
    assert pair["processes"] == 2
    (pair,) = pairs(made(ours[0], theirs[0]))
    assert (pair["low"], pair["p"], pair["processes"], pair["basis"]) == (None, None, 1, None)
