"""A against A: what is counted of it, and the verb that measures it."""

import json

import numpy as np
import pytest

from pcsim.doctor import against_itself as aa


def logarithms(runs, processes, within=0.01, hours=0.0, shift=0.0, seed=1):
    """Of several runs, for twenty contenders and two names."""
    random = np.random.default_rng(seed)
    process = random.normal(0, 0.05, (runs, processes, 20, 1)) + random.normal(0, hours, (runs, 1, 20, 1))
    return list(process + random.normal(0, within, (runs, processes, 20, 2)) + shift * np.arange(2))


def test_what_is_alike_is_hardly_ever_called_different():
    found = aa._held_together(logarithms(12, 8), [0.02] * 10, 60.0)
    assert found.beside["verdicts"] == 240
    assert found.beside["different"] <= 12
    assert found.apart["verdicts"] == 440
    assert found.apart["different"] <= 44
    assert found.spread["samples"] == pytest.approx(0.02)
    assert found.spread["processes"] == pytest.approx(0.05, rel=0.1)
    assert found.spread["runs"] < 0.01
    assert 0.01 < found.smallest_beside[0] < found.smallest_apart[0] < 0.1


def test_a_name_that_matters_and_hours_that_differ_are_found():
    assert aa._held_together(logarithms(6, 8, shift=0.1), [0.02], 1.0).beside["different"] == 120
    hours = aa._held_together(logarithms(12, 8, hours=0.2), [0.02], 1.0)
    assert hours.apart["different"] > 100
    assert hours.spread["runs"] == pytest.approx(0.2, rel=0.25)


def test_the_verb_refuses_what_it_cannot_do(pcsim):
    assert pcsim("doctor", "--aa", 1, "--fix") == (
        2,
        "",
        "pcsim doctor: --aa measures and --fix prints commands: give one of them\n",
    )
    code, out, err = pcsim("doctor", "--aa", 0)
    assert (code, out) == (2, "")
    assert "--aa" in err


@pytest.mark.slow
def test_the_verb_measures_two_runs(pcsim, monkeypatch, tmp_path):
    monkeypatch.setattr(aa, "CASES", aa.CASES[:1])
    monkeypatch.setattr(aa, "LAUNCHES", 2)
    code, _, _ = pcsim("doctor", "--aa", 0.1, "--json", tmp_path / "aa.json")
    assert code == 0
    found = json.loads((tmp_path / "aa.json").read_text())
    assert (found["runs"], found["processes"]) == (2, 2)
    assert found["beside"]["verdicts"] in (4, 8)
    assert set(found["spread"]) == {"samples", "processes", "runs"}
