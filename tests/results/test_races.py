"""What a race file says: costs to a goal, ratios paired by seed, and what is no race."""

import math

import numpy as np
import pytest
from races import FEW, MANY, lucky, race_of
from scipy.stats import ttest_1samp

from pcsim.errors import InputError
from pcsim.results.fields import RACE
from pcsim.results.files import Writer, read
from pcsim.results.races import Race, load_race


def test_ratios_are_paired_by_seed():
    race = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0)})
    best, ipc = race.outcomes(0.8, "samples")
    assert (best.contender, best.costs, ipc.costs) == ("bp", tuple(map(float, MANY)), tuple(map(float, FEW)))
    logs = np.log(np.array(FEW) / np.array(MANY))
    low, high = ttest_1samp(logs, 0).confidence_interval()
    assert ipc.ratio == pytest.approx(math.exp(logs.mean()))
    assert ipc.interval == pytest.approx((math.exp(low), math.exp(high)))
    assert ipc.verdict == "fewer"
    assert race.outcomes(0.8, "span")[1].verdict == "more"
    assert race.against("bp", "ipc", 0.8, "samples").ratio == pytest.approx(1 / ipc.ratio)


def test_the_best_bp_is_that_of_the_axis():
    race = race_of({"bp": (MANY, 1.0), "bp-dwelling": (FEW, 9.0), "ipc": (FEW, 5.0)})
    assert race.outcomes(0.8, "samples")[0].contender == "bp-dwelling"
    assert race.outcomes(0.8, "span")[0].contender == "bp"


def test_a_cost_without_enough_room_is_infinite():
    race = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0)})
    assert race.outcome("ipc", 0.8, "span@1").median == math.inf
    assert race.outcome("ipc", 0.8, "span@2").median == 50


def test_two_seeds_give_no_verdict():
    race = race_of({"bp": ((20, 21), 1.0), "ipc": ((10, 11), 1.0)})
    assert race.outcomes(0.8, "samples")[1].verdict == ""
    assert race.faults() == ["2 seeds, fewer than 3: no verdict"]


def test_what_is_no_race_is_refused(tmp_path):
    with pytest.raises(InputError, match="no race is declared"):
        Race.of([{"phase": "goals", "goals": [0.8], "missed": []}])
    rows = race_of({"bp": (MANY, 1.0)}).declared
    with pytest.raises(InputError, match="holds two different races"):
        Race.of([rows, rows | {"trials": 2}])
    with Writer(tmp_path / "r.jsonl", {}, schema=RACE) as writer:
        writer.write(rows)
        for wrong, message in (
            ({"phase": "won"}, "phase must be one of race, trial"),
            ({"phase": "trial", "contender": "bp"}, "trial is missing"),
            ({"phase": "timed", "contender": "bp", "trial": 0, "seconds": "1", "execution": "serial", "workers": 1},
             "seconds must be a finite number"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=message):
                writer.write(wrong)
    assert load_race(tmp_path / "r.jsonl")[0].declared == rows
    (tmp_path / "r.jsonl").write_text((tmp_path / "r.jsonl").read_text() + '{"phase": "won"}\n')
    with pytest.raises(InputError, match="line 3: phase must be one of"):
        read(tmp_path / "r.jsonl", RACE)


def test_a_lucky_trial_is_not_chosen():
    race, confirming = lucky()
    assert race.best_trial("ipc", 0.8, "samples") == 0  # by its one seed
    assert race.unconfirmed("ipc") == [(trial, seed) for trial in range(3) for seed in (50, 51)]
    assert "best trials not all confirmed: ipc" in race.faults()
    race.confirms = confirming
    assert race.unconfirmed("ipc") == [] and race.faults() == ["unequal trials: bp 1, ipc 4"]
    # Medians of three: none, 10 and 9.
    assert [race.best_trial("ipc", 0.8, axis) for axis in ("samples", "smm", "span")] == [2, 2, 2]
    assert race.winners() == [("bp", 0), ("ipc", 2)]
    assert race.outcome("ipc", 0.8, "mm").trial == 2
    race.confirms = confirming[:4] + [row | {"score": [0.1, 0.2]} for row in confirming[4:]]
    assert race.best_trial("ipc", 0.8, "samples") == 1


def test_only_as_many_trials_as_declared_are_confirmed():
    race, _ = lucky(confirmed=2)
    assert race.candidates("ipc", 0.8, "span") == [0, 1]
    del race.declared["confirm"]
    assert race.candidates("ipc", 0.8, "span") == [0] and race.unconfirmed("ipc") == []
    for row in race.trials:
        row["score"] = [0.1, 0.3 if row["trial"] == 3 else 0.2]
    assert race.candidates("ipc", 0.8, "span") == [3]  # which came nearest


def priced_race():
    """iPC needs half of BP's updates with its first settings, and as many with its second, of which one takes less."""
    race = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0)})
    race.finals += [
        row | {"trial": 1, "updates": [1, 2 * row["updates"][1]]} for row in race.finals if row["contender"] == "ipc"
    ]

    def price(name, trial, seconds, machine="m"):
        return {"contender": name, "trial": trial, "seconds": seconds, "joules": 3 * seconds, "machine": machine}

    race.predicted = [price("bp", 0, 1e-3), price("ipc", 0, 4e-3), price("ipc", 1, 1e-3)]
    race.timed = [{"contender": "bp", "trial": 0, "seconds": 2.0}]
    return race


def test_seconds_are_updates_times_those_of_an_update():
    race = priced_race()
    assert race.places == ["", "m"]
    found = race.priced("ipc", 0.8, "m")
    assert found.trial == 1 and found.costs == pytest.approx([2e-3 * updates for updates in FEW])
    assert race.priced("ipc", 0.8, "m", "joules").costs == pytest.approx([6e-3 * updates for updates in FEW])
    assert race.priced("ipc", 0.8, "") is None and race.priced("ipc", 0.8, "elsewhere") is None
    assert race.priced("bp", 0.8, "", "joules") is None
    best, other = race.outcomes(0.8, "seconds", "m")
    assert (best.contender, other.contender) == ("bp", "ipc")
    assert other.ratio == pytest.approx(np.exp(np.mean(np.log(2 * np.array(FEW) / np.array(MANY)))))
    race.predicted[1]["seconds"] = 1e-3  # the first settings are then the better ones
    assert race.priced("ipc", 0.8, "m").trial == 0
