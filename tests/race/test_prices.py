"""Seconds and joules of an update of the winners."""

from dataclasses import replace

import pytest

from pcsim import BP, AsyncBP
from pcsim.predict import machine_files
from pcsim.predict.nets import Net
from pcsim.predict.rivals import Rivals
from pcsim.race import prices
from pcsim.race.contenders import contenders
from pcsim.race.problems import problem

DIGITS = problem("digits")
SETTINGS = {
    "bp": {"optimizer": "adam", "alpha": 1e-3, "batch_size": 16},
    "bp-async": {"optimizer": "adam", "alpha": 1e-3, "batch_size": 16, "weights": "stashed"},
    "ipc": {"optimizer": "adam", "alpha": 1e-3, "batch_size": 16, "gamma": 0.3, "precision": 9.0, "steps_per_batch": 4}
    | {"start": "pipelined"},
}


def declared(*names):
    known = contenders(DIGITS)
    cost = {"samples": 1.0, "mm": 1.0, "smm": 1.0, "span": 1.0, "held": 1.0, "spans": {}}
    rows = [{"phase": "race", "problem": {"goal": "accuracy"}, "contenders": [known[name].told() for name in names]}]
    rows += [
        {"phase": "trial", "contender": name, "trial": 0, "seed": 0, "settings": SETTINGS[name], "cost": cost,
         "updates": [10], "score": [0.9]}
        for name in names
    ]  # fmt: skip
    return [known[name] for name in names], [*rows, {"phase": "goals", "goals": [0.8], "missed": []}]


def test_predictions_are_those_of_the_best_execution():
    machine = machine_files.load("server-64")
    who, rows = declared("bp", "ipc", "bp-async")
    found = {row["contender"]: row for row in prices.priced(DIGITS, who, rows, [machine], False)}
    net = Net((64, 32, 32, 10), 16, 4, 1)
    best = min(Rivals(net, machine, optimizer="adam").backprops(64), key=lambda one: one.seconds)
    assert (found["bp"]["seconds"], found["bp"]["joules"]) == (best.seconds, best.energy)
    assert found["bp-async"]["execution"] == "pipeline-async"
    assert all(row["seconds"] > 0 and row["joules"] > 0 for row in found.values())
    assert list(prices.priced(DIGITS, who, [*rows, *found.values()], [machine], False)) == []


def test_who_differs_in_nothing_that_takes_time_is_timed_once(monkeypatch):
    timed = []

    def fake(case, algorithm):
        timed.append((case, algorithm))
        return {"seconds": 1e-3, "execution": "serial", "workers": 1}

    monkeypatch.setattr(prices, "_timed", fake)
    who, rows = declared("bp", "ipc")
    twin = {**rows[1], "trial": 1, "settings": SETTINGS["bp"] | {"alpha": 2e-3}, "score": [0.95], "updates": [5]}
    twin["cost"] = rows[1]["cost"] | {"span": 0.1, "smm": 9.0}
    rows[1]["cost"] = rows[1]["cost"] | {"span": 99.0}
    found = list(prices.priced(DIGITS, who, [*rows, twin], [], True))
    assert sorted((row["contender"], row["trial"]) for row in found) == [("bp", 0), ("bp", 1), ("ipc", 0)]
    assert len(timed) == 2
    case, algorithm = timed[0]
    assert (case.sizes, case.batch, case.steps_per_batch) == (DIGITS.sizes, 16, 1)
    assert isinstance(algorithm, BP) and algorithm.alpha == prices.ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bp", "ipc", "bp-async"])
def test_an_update_is_timed_in_the_fastest_execution(monkeypatch, name):
    monkeypatch.setattr(prices, "SECONDS", 0.05)
    monkeypatch.setattr(prices, "OWN_BASELINES", ("serial",))
    who, _ = declared(name)
    small = replace(DIGITS, hidden=8)
    found = prices._timed(*prices._cell(small, who[0], SETTINGS[name]))
    assert 1e-7 < found["seconds"] < 1
    assert (found["execution"] == "pipeline-async") == (name == "bp-async")
    assert isinstance(who[0].made(SETTINGS[name]), AsyncBP) == (name == "bp-async")
