"""Bootstrap intervals and the rank test: deterministic, in agreement with SciPy, and as often right as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim.errors import InputError
from pcsim.results import statistics
from pcsim.results.statistics import (
    Spread,
    bootstrap_interval,
    change_interval,
    logs_of,
    mean_interval,
    median_interval,
    ratio_interval,
    rerun_interval,
    resolution,
    significant,
)

positive = st.floats(1e-9, 1e3)


@settings(deadline=None, max_examples=100)
@given(st.lists(positive, min_size=1, max_size=40))
def test_the_interval_holds_the_median_and_lies_within_the_samples(values):
    low, high = bootstrap_interval(values)
    assert min(values) <= low <= np.median(values) <= high <= max(values)


def test_the_interval_agrees_with_scipy():
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).lognormal(size=41)
    for statistic in (np.median, np.mean):
        theirs = bootstrap((values,), statistic, method="percentile", n_resamples=20000, rng=1).confidence_interval
        mine = bootstrap_interval(values, statistic, resamples=20000)
        np.testing.assert_allclose(mine, theirs, rtol=0.03)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        low, high = bootstrap_interval(random.normal(10, 1, size=25), resamples=400)
        held += low <= 10 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_intervals_are_deterministic_and_shrink_with_confidence():
    values = np.random.default_rng(1).lognormal(size=30)
    assert bootstrap_interval(values) == bootstrap_interval(list(values))
    assert bootstrap_interval(values, np.mean, seed=1) != bootstrap_interval(values, np.mean)
    wide, narrow = bootstrap_interval(values, confidence=0.99), bootstrap_interval(values, confidence=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert bootstrap_interval([*values, np.nan, np.inf]) == bootstrap_interval(values)
    assert bootstrap_interval([2.0]) == (2.0, 2.0)
    with pytest.raises(InputError):
        bootstrap_interval([np.nan])


def test_many_samples_are_resampled_in_blocks(monkeypatch):
    values = np.random.default_rng(1).lognormal(size=30)
    whole = bootstrap_interval(values)
    monkeypatch.setattr(statistics, "_BLOCK", 31)
    np.testing.assert_allclose(bootstrap_interval(values), whole, rtol=0.1)


rounds = st.lists(st.tuples(positive, positive), min_size=1, max_size=25)


@settings(deadline=None, max_examples=60)
@given(rounds, st.integers(-20, 20), st.integers(-20, 20))
def test_the_ratio_scales_with_its_sides(pairs, up, down):
    above, below = np.array(pairs).T
    ratio, low, high = ratio_interval(above, below)
    assert low <= ratio * (1 + 1e-12)
    assert ratio == np.median(above) / np.median(below)
    # Powers of two, so that scaling rounds nothing.
    scaled = ratio_interval(above * 2.0**up, below * 2.0**down)
    np.testing.assert_allclose(scaled, np.array([ratio, low, high]) * 2.0 ** (up - down), rtol=1e-12)


def test_rounds_are_resampled_in_pairs_if_there_are_equally_many():
    drift = np.random.default_rng(2).lognormal(size=31)
    np.testing.assert_allclose(ratio_interval(0.5 * drift, drift), 0.5, rtol=1e-12)
    _, low, high = ratio_interval(0.5 * drift, np.append(drift, drift[0]))
    assert high / low > 1.5
    above, below = 0.5 * drift, drift.copy()
    above[3] = below[7] = np.nan
    np.testing.assert_allclose(
        ratio_interval(above, below), np.median(np.delete(drift, [3, 7])) * 0.5 / np.median(np.delete(drift, [3, 7]))
    )


def test_a_ratio_needs_positive_samples():
    for above, below in (([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0])):
        with pytest.raises(InputError):
            ratio_interval(above, below)


def test_the_rank_test_tells_apart_what_differs_and_nothing_else():
    random = np.random.default_rng(4)
    one, same, other = random.normal(10, 1, 15), random.normal(10, 1, 15), random.normal(13, 1, 15)
    assert significant(one, other) < 1e-4 < 0.05 < significant(one, same)
    assert significant(one, other) == significant(other, one)
    assert significant([1.0] * 5, [1.0] * 7) == 1.0
    assert significant([1.0], [2.0]) == 1.0
    assert significant([1, 2, 3, np.nan], [11, 12, 13]) == pytest.approx(0.1)  # 2 of the 20 orders of six
    with pytest.raises(InputError):
        significant([], [1.0])


def test_false_alarms_come_as_often_as_the_level_says():
    random = np.random.default_rng(6)
    alarms = sum(significant(random.normal(size=12), random.normal(size=12)) < 0.05 for _ in range(300))
    assert 3 <= alarms <= 30


# --- two lists that were not taken side by side ---


def test_a_change_has_welchs_interval():
    from scipy.stats import ttest_ind

    random = np.random.default_rng(5)
    above, below = random.normal(0.1, 0.02, 7), random.normal(0, 0.2, 5)
    change, low, high = change_interval(logs_of(above), logs_of(below))
    wanted = ttest_ind(above, below, equal_var=False).confidence_interval()
    assert np.log([low, high]) == pytest.approx([wanted.low, wanted.high])
    assert np.log(change) == pytest.approx(above.mean() - below.mean())
    assert change_interval(logs_of([1.0, 1.0]), logs_of([0.0, 0.0])) == pytest.approx((np.e, np.e, np.e))


def test_the_interval_of_the_ratio_is_students():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(5).normal(0.1, 0.02, 7)
    wanted = ttest_1samp(values, 0).confidence_interval()
    assert np.log(mean_interval(logs_of(values))) == pytest.approx([wanted.low, wanted.high])


def test_a_re_run_varies_as_much_as_the_first_run():
    logs = logs_of(np.random.default_rng(5).normal(0.1, 0.02, 5))
    own, again = (np.log(ends) - logs.mean for ends in (mean_interval(logs), rerun_interval(logs)))
    assert again == pytest.approx(own * np.sqrt(2))
    many = np.log(rerun_interval(logs, again=10**9)) - logs.mean
    assert many == pytest.approx(own)
    # Hours known to differ, and known exactly: nearly normal where they are all that varies.
    wide = np.log(rerun_interval(logs, Spread(1.0))) - logs.mean
    assert wide == pytest.approx([-1.96 * np.sqrt(2), 1.96 * np.sqrt(2)], rel=1e-3)
    assert np.log(rerun_interval(logs, Spread(0.0, 4))) == pytest.approx(np.log(rerun_interval(logs)))
    assert change_interval(logs, logs, Spread(1.0, 4))[2] > change_interval(logs, logs, Spread(1.0))[2]
    # More degrees of freedom are no reason for a narrower one.
    two = logs_of([0.0, 0.1])
    assert rerun_interval(two, Spread(0.01**2)) == rerun_interval(two)


def test_what_an_interval_can_tell():
    assert resolution(1 / 1.1, 1.1) == pytest.approx(0.1)
    assert resolution(0.5 / 1.1, 0.5 * 1.1) == pytest.approx(0.1)
    assert resolution(None, None) is None


def test_a_ratio_of_medians_of_two_files_is_not_paired():
    drift = np.linspace(1, 2, 41)
    assert ratio_interval(drift, drift)[1:] == (1, 1)
    ratio, low, high = median_interval(drift, drift)
    assert ratio == 1
    assert low < 0.9 < 1.1 < high


@pytest.mark.parametrize("function", [median_interval, ratio_interval])
def test_what_is_no_time_is_refused(function):
    with pytest.raises(InputError, match="positive"):
        function([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(InputError, match="no samples"):
        function([np.nan], [1.0])
