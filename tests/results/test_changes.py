"""Two results files compared: who is held against whom, with which interval and verdict; which machines differ."""

import math

import numpy as np
import pytest
from rows import failure, made, row, some

from pcsim.errors import InputError
from pcsim.results.changes import (
    FASTER,
    SLOWER,
    changes,
    machine_differences,
    setting_differences,
    slower_than,
)
from pcsim.results.pairs import pairs
from pcsim.results.statistics import Ledger, Spread
from pcsim.results.verdicts import UNRESOLVED, WITHIN, alike

ALIKE = alike(0.03)


def launched(algorithm, medians, **fields):
    """A row for each process, of samples around that process's median."""
    return [
        row(algorithm, seconds=some(median, 9, 0.001, seed), launch=number, **fields)
        for number, (seed, median) in enumerate(enumerate(medians))
    ]


def only(found):
    (change,) = found.contenders
    return change


# --- contenders ---


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [(0.8, 0.01, FASTER), (1.2, 0.01, SLOWER), (1.01, 0.002, ALIKE), (0.99, 0.002, ALIKE), (1.02, 0.3, UNRESOLVED)],
)
def test_verdicts(factor, spread, verdict):
    old, new = made(row("ipc", seconds=some(1, 31, spread, 1))), made(row("ipc", seconds=some(factor, 31, spread, 2)))
    change = only(changes(old, new))
    assert change["verdict"] == verdict
    assert change["change"] == np.median(new.rows[0]["seconds"]) / np.median(old.rows[0]["seconds"])
    assert change["low"] <= change["change"] <= change["high"]
    assert change["basis"] == WITHIN
    back = only(changes(new, old))
    assert back["change"] == pytest.approx(1 / change["change"])
    assert back["verdict"] == {FASTER: SLOWER, SLOWER: FASTER}.get(verdict, verdict)


def test_the_difference_that_does_not_matter_is_told():
    old, new = made(row("ipc", seconds=some(1, 31, 0.002))), made(row("ipc", seconds=some(1.06, 31, 0.002)))
    assert only(changes(old, new))["verdict"] == SLOWER
    assert only(changes(old, new, difference=0.1))["verdict"] == alike(0.1) == "no difference larger than 10 %"


def test_samples_of_two_files_are_not_rounds_of_one():
    """Equally many samples are taken in pairs within a file, where what slows a round cancels; never across files."""
    drift = np.linspace(1, 2, 31)
    old, new = made(row("ipc", seconds=drift)), made(row("ipc", seconds=drift * 1.04))
    change = only(changes(old, new))
    assert change["low"] < 0.9 < 1.2 < change["high"]
    assert change["verdict"] == UNRESOLVED


def test_many_processes_are_compared_by_their_medians():
    """Processes lie 20 % apart, their samples 0.1 %: what is within them says nothing."""
    old = made(*launched("ipc", [1.0, 1.2, 1.1, 1.05, 1.15]))
    new = made(*launched("ipc", [1.06, 1.14, 1.19, 1.01, 1.11]))
    change = only(changes(old, new))
    assert change["basis"] == "5 and 5 processes, within this hour"
    assert change["verdict"] == UNRESOLVED
    assert change["high"] / change["low"] > 1.15
    logs = [np.log([np.median(r["seconds"]) for r in results.rows]) for results in (old, new)]
    assert change["change"] == pytest.approx(math.exp(logs[1].mean() - logs[0].mean()))
    slow = only(changes(old, made(*launched("ipc", [1.5, 1.6, 1.55, 1.5, 1.52]))))
    assert slow["verdict"] == SLOWER
    assert slow["p"] == pytest.approx(2 / math.comb(10, 5))


def test_one_process_is_compared_by_its_samples():
    """Several on one side do not help: the other says nothing of how processes differ."""
    several = made(*launched("ipc", [1.0, 1.05, 1.1]))
    change = only(changes(several, made(*launched("ipc", [1.0]))))
    assert change["basis"] == WITHIN
    assert change["change"] == pytest.approx(1, rel=0.01)  # of the first process
    assert change["verdict"] == ALIKE


def test_what_the_ledger_knows_of_hours_widens_every_interval():
    old, new = made(*launched("ipc", [1.0, 1.01, 0.99])), made(*launched("ipc", [1.1, 1.11, 1.09]))
    for results in (old, new):
        results.rows.extend(launched("bp", [1.0, 1.0, 1.01]))
    hours = Ledger(5, Spread(0.01**2, 4), Spread(0.05**2, 4))
    plain, wide = changes(old, new), changes(old, new, ledger=hours)
    both = list(zip(plain.contenders, wide.contenders, strict=True))
    for one, other in (*both, *zip(plain.ratios, wide.ratios, strict=True)):
        assert one["change"] == other["change"]
        assert other["low"] < one["low"] < one["high"] < other["high"]
        assert one["basis"] == "3 and 3 processes, within this hour"
        assert other["basis"] == "3 and 3 processes"
    verdicts = {row["algorithm"]: (row["verdict"], other["verdict"]) for row, other in both}
    assert verdicts["ipc"] == (SLOWER, UNRESOLVED)


def test_contenders_are_told_apart_by_everything():
    base = row("ipc", "layer-parallel", 2)
    others = {"workers": 4, "execution": "serial", "backend": "mpi", "depth": 9, "width": 65, "batch": 2, "steps": 2}
    others |= {"dtype": "float64", "activation": "relu", "algorithm": "pc", "delay": 0.0, "ranks": 2}
    for name, value in others.items():
        with pytest.raises(InputError, match="no contender in common"):
            changes(made(base), made(base | {name: value}))
    everyone = [base, *(base | {name: value} for name, value in others.items())]
    assert len(changes(made(*everyone), made(*everyone)).contenders) == len(everyone)


def test_the_last_row_of_a_contender_counts():
    early, late = row("ipc", seconds=[9.0, 9.1, 9.2]), row("ipc", seconds=some(1, 31, 0.001))
    again = made(early, late)
    assert only(changes(again, made(late)))["change"] == 1
    assert only(changes(made(late), again))["new"] == late["median"]


def test_predictions_are_compared_with_predictions_alone():
    def predicted(median, **fields):
        return row("ipc", seconds=(), **fields) | {"kind": "predicted", "median": median}

    with pytest.raises(InputError, match="rows of one are predicted, of the other measured"):
        changes(made(predicted(1.0)), made(row("ipc")))
    both = changes(made(predicted(1.0), row("bp")), made(predicted(1.1), row("bp"), row("ipc")))
    found = {change["kind"]: change for change in both.contenders}
    assert (found["predicted"]["change"], found["predicted"]["low"], found["predicted"]["p"]) == (1.1, None, None)
    assert found["predicted"]["verdict"] == SLOWER
    assert [row["why"] for row in both.missing] == ["only in NEW"]
    assert only(changes(made(predicted(1.0)), made(predicted(1.0))))["verdict"] == ALIKE


def test_a_time_without_samples_decides_nothing():
    bare = row("ipc", seconds=()) | {"median": 1.0}
    change = only(changes(made(bare), made(bare | {"median": 3.0})))
    assert (change["change"], change["low"], change["verdict"]) == (3.0, None, UNRESOLVED)
    assert slower_than(changes(made(bare), made(bare | {"median": 3.0})), 1.05) == []


def test_what_has_no_partner_is_listed():
    shared = row("bp")
    old = made(shared, row("ipc"), row("ipc", "layer-parallel", 2), failure("bp", "blas"))
    new = made(shared, failure("ipc"), row("bp", "intra-layer", 2), row("bp", "blas"))
    found = [(r["why"], r["algorithm"], r["execution"], r["error"]) for r in changes(old, new).missing]
    assert found == [
        ("failed in NEW", "ipc", "serial", "MemoryError: no room"),
        ("only in OLD", "ipc", "layer-parallel", None),
        ("only in NEW", "bp", "intra-layer", None),
        ("failed in OLD", "bp", "blas", "MemoryError: no room"),
    ]


# --- too slow ---


def test_slower_than_a_limit_beyond_doubt():
    def found(*seconds):
        rows = [row("ipc", width=width, seconds=values) for width, values in enumerate(seconds, 1)]
        before = [row("ipc", width=width, seconds=some(1, 31, 0.001)) for width in range(1, len(seconds) + 1)]
        return [change["width"] for change in slower_than(changes(made(*before), made(*rows)), 1.05)]

    assert found(some(1.2, 31, 0.001), some(1.04, 31, 0.001), some(1.06, 31, 0.2), some(0.5, 31, 0.001)) == [1]


def test_a_prediction_above_the_limit_and_a_new_failure_count():
    old = [row("ipc", seconds=()) | {"kind": "predicted", "median": 1.0}, row("bp"), row("pc")]
    new = [old[0] | {"median": 1.06}, failure("bp")]
    slow = slower_than(changes(made(*old), made(*new)), 1.05)
    assert [change["algorithm"] for change in slow] == ["ipc", "bp"]


# --- ratios of iPC ---


def test_ratios_of_both_files_and_their_change():
    old = made(row("ipc", seconds=some(1, 31, 0.01, 1)), row("bp", seconds=some(2, 31, 0.01, 2)))
    new = made(row("ipc", seconds=some(1.5, 31, 0.01, 3)), row("bp", seconds=some(2, 31, 0.01, 4)))
    (ratio,) = changes(old, new).ratios
    assert (ratio["old"], ratio["new"]) == tuple(pairs(results)[0]["ratio"] for results in (old, new))
    assert ratio["change"] == ratio["new"] / ratio["old"]
    assert ratio["verdict"] == "higher"
    widths = [math.log(ratio[f"{name}_high"] / ratio[f"{name}_low"]) for name in ("old", "new")]
    assert max(widths) < math.log(ratio["high"] / ratio["low"]) < sum(widths)
    assert changes(new, old).ratios[0]["verdict"] == "lower"


def test_ratios_need_both_sides_in_both_files():
    both, alone = made(row("ipc"), row("bp")), made(row("ipc"))
    assert changes(both, alone).ratios == []
    with pytest.raises(InputError, match="'blas'"):
        changes(both, both, "blas")


# --- machines ---


def test_machines_are_told_apart_as_far_as_both_say():
    here = {"cpu_model": "A", "cores": 2, "governor": None, "caches": [{"level": 1, "size": 32768, "members": [0]}]}
    assert machine_differences(made(**here), made(**here)) == []
    assert machine_differences(made(**here), made()) == []
    assert machine_differences(made(**here), made(**here | {"governor": "powersave"})) == []
    assert machine_differences(made(**here), made(**here | {"cpu_model": "B", "cores": 4})) == [
        "CPU model (A → B)",
        "usable cores (2 → 4)",
    ]
    kernels = {"cpu": "zen", "settings": {}}
    was, now = made(**here, kernels=kernels), made(**here, kernels={**kernels, "settings": {"NUMBA_OPT": 0}})
    assert machine_differences(was, now) == ["what kernels are compiled for and with"]
    assert machine_differences(made(**here), now) == []  # a file that does not say
    pinned = [{"level": 1, "size": 32768, "members": [1]}]
    assert machine_differences(made(**here), made(**here | {"caches": pinned})) == []
    larger = [{"level": 1, "size": 65536, "members": [0]}]
    assert machine_differences(made(**here), made(**here | {"caches": larger})) == ["caches"]


def test_a_later_run_that_carried_a_file_on_counts_too():
    old, new = made(cpu_model="A"), made(cpu_model="A")
    new.resumed.append({"cpu_model": "B"})
    assert machine_differences(old, new) == ["CPU model (A → B)"]


def test_versions_and_settings_are_no_other_machine():
    old = made(versions={"numpy": "2.0", "numba": "1", "torch": None}, system="Linux 5")
    new = made(versions={"numpy": "2.1", "numba": "1", "torch": "2"}, system="Linux 6")
    assert machine_differences(old, new) == []
    assert setting_differences(old, new) == ["system (Linux 5 → Linux 6)", "numpy (2.0 → 2.1)", "torch (none → 2)"]
