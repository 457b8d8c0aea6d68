"""Races in words."""

import csv
import io

from races import FEW, MANY, race_of

from pcsim.report import races


def test_a_table_has_every_contender_and_says_what_follows():
    race = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0), "local": ((10, None, None, None, 9), 1.0)}, missed=(0.9,))
    text = races.table(race)
    assert "x: 4-3-2, tanh, squared loss, 100 rows, 10 passes at most" in text
    assert "! no BP reached 0.9: nothing is compared there" in text
    assert "to 80 % of the rows held out" in text
    assert "samples: ipc ÷ bp 0.49 (" in text and "), fewer" in text
    assert "span: ipc ÷ bp 2.45 (" in text and "), more" in text
    assert "samples: local ÷ bp: reached from 2 of 5 seeds" in text
    line = next(line for line in text.splitlines() if line.split()[:1] == ["local"])
    assert line.split()[1:3] == ["–", "–"] and line.endswith("2 of 5")


def test_the_comparison_marks_the_best_bp():
    race = race_of({"bp": (MANY, 1.0), "bp-dwelling": (FEW, 9.0), "ipc": (FEW, 5.0)})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in races.comparison(race, 0.8).splitlines()]
    by_name = {row[0]: row for row in rows}
    assert by_name["contender"] == ["contender", "samples", "÷ BP", "SMMs", "÷ BP", "span", "÷ BP"]
    assert by_name["bp-dwelling"][1:3] == ["10", "1"] and by_name["bp"][6] == "1"
    assert by_name["bp"][2].startswith("2 (")
    assert by_name["ipc"][5] == "50"


def test_figures_as_csv_are_numbers():
    race = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0), "local": ((10, None, None, None, 9), 1.0)})
    lines = {(line["contender"], line["axis"]): line for line in csv.DictReader(io.StringIO(races.table(race, "csv")))}
    ipc, local = lines["ipc", "samples"], lines["local", "span"]
    assert (float(ipc["median"]), ipc["seeds"], ipc["verdict"]) == (10, "5", "fewer")
    assert float(ipc["low"]) < float(ipc["ratio"]) < float(ipc["high"])
    assert (local["median"], local["reached"], local["ratio"]) == ("", "2", "")


def test_seconds_are_those_of_an_update_times_updates():
    race = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0)})
    for name, seconds in (("bp", 1e-3), ("ipc", 3e-3)):
        told = {"contender": name, "trial": 0, "seconds": seconds, "execution": "serial", "workers": 1}
        race.timed.append(told | {"phase": "timed"})
        race.predicted.append(told | {"phase": "predicted", "machine": "m", "joules": 2e-3})
    text = races.table(race)
    lines = text[text.index("measured here") :].splitlines()[1:3]
    assert "20.0 ms (serial 1)" in lines[0] and "30.0 ms (serial 1)" in lines[1]
    assert lines[0].split()[-1] == "0.04"


def test_counts_as_readers_want_them():
    assert [races.count(value) for value in (float("inf"), 0.1234, 5.0, 1234.4)] == ["–", "0.123", "5", "1,234"]
