"""What an interval lets one say."""

import pytest

from pcsim.results.verdicts import UNRESOLVED, alike, percent, undecided, verdict_of, verdict_words

FASTER, SLOWER = NAMES = ("faster", "slower")
ALIKE = alike(0.03)


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.98, 0.99, 0.001, ALIKE),  # without 1, and too near to matter
        (1 / 1.03, 1.03, 1, ALIKE),
        (0.96, 1.02, 0.5, UNRESOLVED),
        (0.90, 0.95, 0.001, FASTER),
        (0.90, 0.95, 0.2, UNRESOLVED),  # within one run the rank test must agree
        (0.90, 0.95, None, FASTER),  # of processes it is not asked
        (1.01, 1.08, 0.01, SLOWER),
        (1.01, 1.08, None, SLOWER),
        (None, None, None, UNRESOLVED),
    ],
)
def test_what_a_verdict_needs(low, high, p, verdict):
    assert verdict_of(low, high, NAMES, 0.03, p) == verdict
    assert undecided(verdict) == (verdict not in NAMES)


def test_what_does_not_matter_is_told():
    assert verdict_of(0.94, 1.05, NAMES) == UNRESOLVED
    assert verdict_of(0.94, 1.05, NAMES, 0.1) == alike(0.1) == "no difference larger than 10 %"


def test_what_is_not_resolved_says_from_which_difference_on_it_would_be():
    row = {"low": 0.95, "high": 0.95 * 1.1**2, "verdict": UNRESOLVED}
    assert verdict_words(row) == "not resolved: this run can tell differences from 10 % on"
    assert verdict_words(row | {"verdict": ALIKE}) == ALIKE
    assert verdict_words({"low": None, "high": None, "verdict": UNRESOLVED}) == UNRESOLVED
    assert [percent(part) for part in (0.0012, 0.00994, 0.0123, 0.0994, 0.0996, 0.123, 1.5)] == [
        "0.12 %",
        "0.99 %",
        "1.2 %",
        "9.9 %",
        "10 %",
        "12 %",
        "150 %",
    ]
