"""count and doctor as a user meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

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


@pytest.mark.parametrize("words", [[], ["--times"]])
def test_plot_has_a_style_a_width_and_a_title(pcsim, tmp_path, words):
    drawn = {}
    for name, look in {
        "plain": [],
        "narrow": ["--width", 3.4],
        "talk": ["--style", "talk"],
        "title": ["--title", "All mine"],
        "none": ["--title", ""],
    }.items():
        code, _, err = pcsim("plot", FIXTURE, "--out", tmp_path / f"{name}.svg", *words, *look)
        assert (code, err) == (0, "")
        drawn[name] = (tmp_path / f"{name}.svg").read_text()
    widths = {name: text.split('width="')[1].split('pt"')[0] for name, text in drawn.items()}
    assert widths == {"plain": "504", "narrow": "244.8", "talk": "864", "title": "504", "none": "504"}
    assert "All mine" in drawn["title"]

    def written(name, *styles):
        texts = [line for line in drawn[name].splitlines() if "<text" in line]
        return any(all(style in line for style in styles) for line in texts)

    assert written("plain", "700", "8.5px")
    assert not written("none", "700", "8.5px")
    assert written("talk", "14px")
    assert written("plain", "7.5px")


def test_predicted_files_over_workers_are_drawn_as_simulate_draws_them(pcsim, tmp_path):
    words = ["server-64", "--depths", 8, 32, "--widths", 64, 1024, "--workers", 1, 4, 16, "--title", "Mine"]
    code, _, _ = pcsim("simulate", *words, "--figure", tmp_path / "here.svg", "--out", tmp_path / "o.jsonl")
    assert code == 0
    assert pcsim("plot", tmp_path / "o.jsonl", "--out", tmp_path / "there.svg", "--title", "Mine")[0] == 0
    here, there = ((tmp_path / name).read_text() for name in ("here.svg", "there.svg"))

    def lines(text):  # everything but the caption, whose words differ
        return [line for line in text.splitlines() if "<path" in line or line.strip().startswith(("L ", "M "))]

    panels = [f"depth {depth}, width {width}" for depth in (8, 32) for width in (64, 1024)]
    assert all(panel in here and panel in there for panel in panels)
    assert len(lines(here)) == len(lines(there)) > 20
    # A denominator asks for the figure of ratios.
    code, _, _ = pcsim("plot", tmp_path / "o.jsonl", "--denominator", "paper-style", "--out", tmp_path / "ratio.svg")
    assert code == 0
    assert "predicted: iPC ÷ BP" in (tmp_path / "ratio.svg").read_text()


def test_the_caption_of_curves_has_data_optimiser_rate_and_machine(pcsim, tmp_path):
    assert pcsim("plot", RESULTS / "learning-adam.jsonl", "--out", tmp_path / "c.svg", "--width", 14)[0] == 0
    text = (tmp_path / "c.svg").read_text().replace("\N{NO-BREAK SPACE}", " ")
    for words in (
        "fashion-mnist, 250 samples",
        "optimiser adam",
        "alpha 0.0001",
        "gamma 0.5",
        "AMD EPYC, 2 usable cores",
    ):
        assert words in text


def test_a_backend_that_matplotlib_does_not_know_is_no_matter(tmp_path):
    words = [sys.executable, "-m", "pcsim", "plot", str(FIXTURE), "--out", str(tmp_path / "x.png")]
    environment = os.environ | {"MPLBACKEND": "garbage"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "x.png").stat().st_size > 10_000


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


def test_a_character_that_no_font_has_is_no_warning(pcsim, tmp_path):
    code, _, err = pcsim("plot", FIXTURE, "--out", tmp_path / "a.png", "--title", "\u0378")
    assert (code, err) == (0, "")
