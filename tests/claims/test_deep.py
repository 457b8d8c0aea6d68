"""Claims about nets of a hundred layers: what their rules say of numbers, and that an experiment runs."""

import math

import pytest

from pcsim.claims.claim import FAILS, HOLDS, ONLY_IF, UNRESOLVED, Work
from pcsim.claims.deep import carries_over, of_carried, of_deep


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [
        ({"mupc": [1, 1.1], "sp": [1, 4]}, HOLDS),
        ({"mupc": [1, 1.1], "sp": [1, math.inf]}, HOLDS),
        ({"mupc": [1, 1.3], "sp": [1, 1]}, FAILS),
        ({"mupc": [1, math.inf], "sp": [1, 1]}, FAILS),
    ],
)
def test_a_rate_carries_over_where_it_costs_no_loss(apart, verdict):
    assert of_carried(apart, "alpha", {"seeds": 3}).verdict == verdict


@pytest.mark.parametrize(
    ("mupc", "sp", "bp", "verdict"),
    [
        ([0.75, 0.76, 0.77], 0.1, 0.78, HOLDS),
        ([0.7, 0.7, 0.7], 0.1, 0.8, ONLY_IF),
        ([0.5, 0.8, 0.8], 0.1, 0.8, UNRESOLVED),
        ([0.5, 0.5, 0.5], 0.1, 0.8, FAILS),
        ([0.75, 0.76, 0.77], 0.7, 0.8, FAILS),
        ([0.75, 0.76, 0.77], 0.4, 0.8, UNRESOLVED),
    ],
)
def test_deep_nets_learn_in_one_parameterisation_alone(mupc, sp, bp, verdict):
    best = {("mupc", "PC"): mupc, ("mupc", "BP"): [bp] * 3, ("sp", "PC"): [sp] * 3, ("sp", "BP"): [bp] * 3}
    found = of_deep(best, "After a while", {"seeds": 3})
    assert found.verdict == verdict
    assert "muPC" in found.sentence


def test_parameterisations_are_told_apart(tmp_path, monkeypatch):
    """Of a net that is trained in both, rows of one must not stand for the other."""
    from pcsim.claims import deep

    monkeypatch.setitem(deep.KNOBS, "alpha", ((1e-3, 1e-2), deep.KNOBS["alpha"][1]))
    table = carries_over(Work(tmp_path, quick=True), "alpha").table
    assert [row[0] for row in table[1:]] == ["mupc"] * 3 + ["sp"] * 3
    assert table[1][3:5] != table[4][3:5]
