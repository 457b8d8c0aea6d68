"""Several races in tables."""

import csv
import io

from races import FEW, MANY, race_of

from pcsim.report import profiles


def races():
    found = [
        race_of({"bp": (MANY, 1.0), "ipc": (FEW, 5.0)}, missed=(0.9,)),
        race_of({"bp": (FEW, 1.0), "ipc": ((10, None, None, None, 9), 5.0), "local": (MANY, 1.0)}),
    ]
    found[1].declared["problem"] |= {"name": "y"}
    return found


def rows(text, first):
    """Lines of the Markdown table that begins with this head."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:] if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in split}


def test_profiles_at_one_two_and_four():
    text = profiles.table(races(), "markdown")
    found = rows(text, "contender")
    assert found["contender"][:4] == ["ran at", "samples best", "samples within 2", "samples within 4"]
    assert found["bp"] == ["2", "1", "2", "2", "1", "2", "2", "2", "2", "2"]
    assert found["ipc"] == ["2", "1", "1", "1", "1", "1", "1", "0", "0", "1"]
    assert found["local"][:4] == ["1", "0", "1", "1"]
    assert "! no BP reached 0.9" in text


def test_the_tuning_stands_below():
    found = rows(profiles.table(races(), "markdown"), "trials that got there")
    assert found["y, 2 layers, to 80 %"] == ["5 of 5", "2 of 5", "5 of 5"]
    assert found["x, 2 layers, to 80 %"] == ["5 of 5", "5 of 5", "-"]


def test_csv_has_all_that_a_profile_is_made_of():
    lines = list(csv.DictReader(io.StringIO(profiles.table(races(), "csv"))))
    assert len(lines) == 3 * (2 + 3)
    by = {(line["problem"], line["axis"], line["contender"]): line for line in lines}
    assert float(by["x, 2 layers", "samples", "bp"]["factor"]) == 2
    missed = by["y, 2 layers", "span", "ipc"]
    assert (missed["median"], missed["factor"], missed["trials_reached"], missed["trials"]) == ("", "", "2", "5")


def test_who_needs_least_stands_above():
    given = races()
    given[0].predicted = [
        {"contender": name, "trial": 0, "seconds": seconds, "joules": None, "machine": "m"}
        for name, seconds in (("bp", 1.0), ("ipc", 1.0))
    ]
    found = rows(profiles.table(given, "markdown"), "fewest")
    assert found["fewest"] == ["x, 2 layers, to 80 %", "y, 2 layers, to 80 %"]
    assert found["samples"] == ["ipc 0.49 (0.47 to 0.51)", "bp"]
    assert found["span"] == ["bp", "bp"] and found["span@1"] == ["–", "–"]
    assert found["span@L"] == found["span@2"] == ["bp", "bp"]
    assert found["seconds, m (predicted)"] == ["ipc 0.49 (0.47 to 0.51)", "-"]
    assert "joules, m (predicted)" not in found
    (given[1].finals[0])["score"] = [0.1, 0.2]  # of BP's seeds one misses
    assert rows(profiles.table(given, "markdown"), "fewest")["samples"][1] == "bp"
