"""report, plot and doctor as a user meets them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rows import row, some

from pcsim.results.files import Writer

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"


def test_doctor_gives_findings(pcsim, tmp_path):
    code, out, _ = pcsim("doctor")
    assert code in (0, 1)
    assert "hand-over" in out
    code, _, _ = pcsim("doctor", "--json", tmp_path / "d.json")
    statuses = [check["status"] for check in json.loads((tmp_path / "d.json").read_text())["checks"]]
    assert len(statuses) > 10
    assert code == ("fail" in statuses)


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


RACES = [RESULTS / f"race-fashion-{name}.jsonl.gz" for name in ("250-3", "250-6")]


def test_races_are_drawn_and_told_together(pcsim, tmp_path):
    drawn = {}
    for name, words in {
        "profile": RACES,
        "of-one": [RACES[0], "--profile"],
        "costs": [RACES[0]],
        "sensitivity": [*RACES, "--sensitivity"],
    }.items():
        code, out, err = pcsim("plot", *words, "--out", tmp_path / f"{name}.svg")
        assert (code, out, err) == (0, f"figure: {tmp_path / name}.svg\n", "")
        drawn[name] = (tmp_path / f"{name}.svg").read_text()
    assert "SMMs, × the best" in drawn["profile"] and "SMMs, × the best" in drawn["of-one"]
    assert "Who reaches the goal first" in drawn["costs"]
    assert "fashion-250, 6 layers, to a loss of 0.02" in drawn["sensitivity"]
    code, out, err = pcsim("report", *RACES)
    assert (code, err) == (0, "")
    assert "SMMs within 2" in out and "fashion-250, 3 layers, to a loss of 0.1" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report", RACES[0], FIXTURE], "only races are put together"),
        (["report", *RACES, "--show", "ladder"], "there are tables alone"),
        (["plot", FIXTURE, FIXTURE.parent / ".." / "fixtures" / FIXTURE.name], "only races are put together"),
        (["plot", FIXTURE, "--profile"], "--profile is for what race wrote"),
        (["plot", RACES[0], "--times"], "holds a race, and --times is for what bench wrote"),
        (["plot", RACES[0], "--ledger", FIXTURE], "--ledger is for what bench wrote"),
        (["plot", RESULTS / "learning-adam.jsonl", "--sensitivity"], "--sensitivity is for what race wrote"),
        (["plot", *RACES, RACES[0].parent / ".." / "results" / RACES[0].name], "two of the races are in this problem"),
    ],
)
def test_files_that_cannot_be_put_together(pcsim, tmp_path, words, message):
    more = ["--out", tmp_path / "x.png"] if words[0] == "plot" else []
    code, out, err = pcsim(*words, *more)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


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


# --- intervals of several processes ---


@pytest.fixture
def hours(tmp_path):
    """Results files of six hours: iPC takes half the time of BP, give or take 2 % a process and 5 % an hour."""
    random = np.random.default_rng(1)
    names = []
    for number in range(6):
        names.append(tmp_path / f"{number}.jsonl")
        ours = 0.5 * np.exp(random.normal(0, 0.05))
        with Writer(names[-1], {"cpu_model": "A", "cores": 2, "time": f"hour {number}"}) as writer:
            for launch in range(4):
                for one in ("ipc", "bp"):
                    time = (ours if one == "ipc" else 1) * np.exp(random.normal(0, 0.02))
                    writer.write(row(one, seconds=list(some(time, 3, 0.001, launch)), launch=launch))
    return names


def test_a_report_says_what_its_intervals_promise(pcsim, hours):
    code, out, err = pcsim("report", hours[0])
    assert (code, err) == (0, "")
    assert "Re-run intervals, into which 95 of 100 repetitions fall: 4 processes, within this hour; of another" in out
    assert out.splitlines()[-1].startswith("This run can tell differences from ")
    code, wide, err = pcsim("report", hours[0], "--ledger", *hours[1:])
    assert (code, err) == (0, "")
    assert "95 of 100 repetitions fall: 4 processes.\n" in wide
    least = [float(text.splitlines()[-1].split("from ")[1].split(" %")[0]) for text in (out, wide)]
    assert least[1] > least[0]
    evidence = pcsim("report", hours[0], "--show", "verdicts")[1]
    assert "re-run interval  interval of the ratio" in evidence
    assert evidence.splitlines()[-1] == out.splitlines()[-1]


def test_a_comparison_knows_other_hours_from_a_ledger(pcsim, hours):
    plain = pcsim("compare", hours[0], hours[1])
    code, wide, err = pcsim("compare", hours[0], hours[1], "--ledger", *hours[1:])
    assert (code, err, plain[0]) == (0, "", 0)
    assert "4 and 4 processes, within this hour" in plain[1]
    assert "--ledger FILE" in plain[1]
    assert "4 and 4 processes" in wide
    assert "within this hour" not in wide
    lines = [
        list(csv.DictReader(pcsim("compare", hours[0], hours[1], "--format", "csv", *words)[1].splitlines()))
        for words in ([], ["--ledger", *hours[1:]])
    ]
    for one, other in zip(*lines, strict=True):
        assert float(one["low"]) > float(other["low"])
        assert float(one["resolves"]) < float(other["resolves"])
    code = pcsim("plot", hours[0], "--ledger", *hours[1:], "--out", hours[0].with_suffix(".svg"))[0]
    assert code == 0
    assert "4 processes" in hours[0].with_suffix(".svg").read_text()


def test_one_process_promises_nothing(pcsim):
    out = pcsim("report", FIXTURE, "--show", "verdicts")[1]
    assert "within one run" in out
    assert "95 %" not in out
    assert "promise nothing about a re-run" in pcsim("report", FIXTURE)[1]


def test_a_ledger_that_tells_nothing_is_one_line(pcsim, hours, tmp_path):
    for verb, words in (("report", []), ("compare", [hours[1]]), ("plot", ["--out", tmp_path / "figure.svg"])):
        for files, said in ((hours[1:5], "at least 5 hours, and 4"), ([*hours[1:5], FIXTURE], "another machine")):
            code, out, err = pcsim(verb, hours[0], *words, "--ledger", *files)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert said in err
    assert not (tmp_path / "figure.svg").exists()


def test_the_difference_that_does_not_matter_is_told(pcsim, hours):
    assert "no difference larger than 400 %" in pcsim("report", hours[0], "--difference", 4)[1]
    assert "iPC is faster in 1" in pcsim("report", hours[0])[1]


def test_a_report_for_other_programs(pcsim, hours):
    code, out, err = pcsim("report", hours[0], "--json", "--ledger", *hours[1:])
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["schema"], found["source"], found["time"]) == ("pcsim-report/1", "0.jsonl", "hour 0")
    assert found["ledger"]["invocations"] == 5
    assert 0.01 < found["ledger"]["sigma"] < 0.2
    (pair,) = found["pairs"]
    assert pair["rerun_interval"][0] < pair["ratio_interval"][0] < pair["ratio"] < pair["ratio_interval"][1]
    assert (pair["within_one_run"], pair["processes"], pair["verdict"]) == (None, 4, "iPC faster")
    assert (pair["ours"]["execution"], pair["ours"]["chosen"], pair["other"]["chosen"]) == ("serial", 4, 4)
    assert found["resolves"] == {"median": pair["resolves"], "worst": pair["resolves"]}
    code, out, _ = pcsim("report", FIXTURE, "--json", "--denominator", "paper-style")
    pairs = json.loads(out)["pairs"]
    assert {pair["rerun_interval"] for pair in pairs} == {None}
    assert all(pair["within_one_run"][0] <= pair["ratio"] for pair in pairs)


def test_json_is_everything_in_its_own_format(pcsim, hours):
    for words in (["--show", "ladder"], ["--format", "csv"], ["--html", "-"]):
        code, out, err = pcsim("report", hours[0], "--json", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)


def test_two_modes_are_said_and_marked(pcsim, tmp_path):
    with Writer(tmp_path / "r.jsonl", {"cpu_model": "A"}) as writer:
        for launch, time in enumerate((1.0, 2.5, 1.01, 2.52, 1.0)):
            writer.write(row("ipc", seconds=[time] * 3, launch=launch))
            writer.write(row("bp", seconds=[9.0 + launch / 9] * 3, launch=launch))
    out = pcsim("report", tmp_path / "r.jsonl")[1]
    assert "Two modes, marked ‡, whose mean no run has: iPC serial on 1 at depth 8 × width 64, batch 1: 3 at" in out
    assert "‡ one of the two times has two modes" in out
    assert pcsim("report", tmp_path / "r.jsonl", "--show", "verdicts")[1].count("serial on 1‡") == 1
    assert "two modes" not in pcsim("report", tmp_path / "r.jsonl", "--show", "ladder")[1]
    modes = json.loads(pcsim("report", tmp_path / "r.jsonl", "--json")[1])["pairs"][0]["ours"]["modes"]
    assert (modes["fast_count"], modes["slow_count"]) == (3, 2)
