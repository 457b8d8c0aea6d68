"""count and doctor as a user meets them."""

import json
import os
from pathlib import Path

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"


def test_count_prints_table_4(pcsim):
    code, out, _ = pcsim("count", "--depths", 4, "--steps", 8, "--workers", 1, 2)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("BP", "PC", "Z-IL", "iPC"))]
    assert [row[:1] + row[-6:-2][:2] for row in rows] == [
        ["BP", "7", "7"],
        ["PC", "56", "16"],
        ["Z-IL", "21", "6"],
        ["iPC", "7", "2"],
    ]
    code, out, _ = pcsim("count", "--depths", 4, "--algorithms", "ipc", "--json", "-")
    assert json.loads(out)[0]["smm"] == 2


def test_doctor_gives_findings(pcsim, tmp_path):
    code, out, _ = pcsim("doctor")
    assert code in (0, 1)
    assert "hand-over" in out
    code, _, _ = pcsim("doctor", "--json", tmp_path / "d.json")
    statuses = [check["status"] for check in json.loads((tmp_path / "d.json").read_text())["checks"]]
    assert len(statuses) > 10
    assert code == ("fail" in statuses)


def test_what_is_given_twice_is_shown_once(pcsim):
    twice = pcsim("count", "--depths", 2, 2, "--workers", 1, 1, "--steps", 3, 3, "--algorithms", "pc", "pc")
    assert twice == pcsim("count", "--depths", 2, "--workers", 1, "--steps", 3, "--algorithms", "pc")
    assert twice[0] == 0


def test_a_report_as_a_page(pcsim, tmp_path):
    code, out, err = pcsim("report", FIXTURE, "--html", tmp_path / "page.html")
    assert (code, out, err) == (0, f"page: {tmp_path / 'page.html'}\n", "")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.endswith("</html>\n")
    code, out, err = pcsim("report", FIXTURE, "--html", "-")
    assert (code, out) == (0, text)
    assert "page: standard output" in err


def test_a_page_into_nowhere_is_one_line(pcsim, tmp_path):
    for words in ([tmp_path / "missing" / "page.html"], [tmp_path / "page.html", "--format", "csv"]):
        code, out, err = pcsim("report", FIXTURE, "--html", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_doctor_prints_commands_and_runs_none(pcsim, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("pcsim.doctor.here.PROBES", {})  # facts alone are asked for here
    code, out, _ = pcsim("doctor")
    assert "pcsim doctor --fix" in out
    code, out, _ = pcsim("doctor", "--fix")
    assert code == 0
    assert "unset OMP_NUM_THREADS" in out.splitlines()
    assert os.environ["OMP_NUM_THREADS"] == "1"
    pcsim("doctor", "--json", tmp_path / "d.json")
    fixes = json.loads((tmp_path / "d.json").read_text())["fixes"]
    assert "unset OMP_NUM_THREADS" in [fix["command"] for fix in fixes]
    code, _, complaint = pcsim("doctor", "--fix", "--json", "-")
    assert (code, "not allowed with" in complaint) == (2, True)
