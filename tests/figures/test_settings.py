"""Figures are the same whatever a user's matplotlibrc says, and nothing waits for a drawing."""

import io
import re
import types
from pathlib import Path

import matplotlib
import matplotlib.figure
import pytest
from synthetic import everything as made_up

import pcsim
from pcsim.figures import learning, predicted, ranks, ratios, schedules, style
from pcsim.predict import sweep
from pcsim.predict.machine_files import load
from pcsim.predict.rivals import sensitivity
from pcsim.report.html import page
from pcsim.results import files, pairs
from pcsim.results.fields import CURVES, SCHEMA
from pcsim.training import curves

HOSTILE = {
    "text.usetex": True,  # where there may be no LaTeX
    "font.family": ["fantasy"],
    "font.size": 31,
    "axes.grid": True,
    "axes.facecolor": "yellow",
    "axes.spines.top": True,
    "lines.marker": "x",
    "lines.linewidth": 9,
    "xtick.bottom": False,
    "legend.fontsize": 40,
    "figure.dpi": 31,
    "figure.constrained_layout.use": True,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "svg.fonttype": "path",
    "path.sketch": (3, 50, 5),
}

RANKS = Path(__file__).parents[2] / "benchmarks/results/ranks-strong-2-cores.jsonl"


def drawings():
    """Every function of the figures, with what it draws."""
    cases = list(sweep.sweep(load("server-64"), [2, 8], [64], [1], [1, 4]))
    found = made_up()
    events, _ = sweep.timeline_of(cases[-1], load("server-64"))
    measured = files.read(RANKS)
    curve = Path(__file__).parents[2] / "benchmarks/results/learning-adam.jsonl"
    rows = curves.latest(files.read(curve, CURVES).rows)
    return {
        "ratio_figure": lambda: ratios.ratio_figure(pairs.pairs(found), "costs $5 and 4 $"),
        "times_figure": lambda: ratios.times_figure(found),
        "gains_figure": lambda: ratios.gains_figure(found),
        "ranks_figure": lambda: ranks.ranks_figure(measured),
        "learning_figure": lambda: learning.learning_figure(curves.for_figure(rows)),
        "map_figure": lambda: predicted.map_figure(sweep.maps(cases), "source"),
        "curves_figure": lambda: predicted.curves_figure(cases, "source"),
        "sensitivity_figure": lambda: predicted.sensitivity_figure(
            sensitivity(cases[0].net, load("server-64"), 4), 2.0, "source", "net"
        ),
        "gantt": lambda: schedules.gantt(events.events),
        "schedule_figure": lambda: schedules.schedule_figure(pcsim.IPC().tasks(4, 3), 2, 6),
    }


DRAWINGS = drawings()


def test_every_figure_is_among_them():
    made = set()
    for module in (learning, predicted, ranks, ratios, schedules):
        for name, thing in vars(module).items():
            is_own = isinstance(thing, types.FunctionType) and thing.__module__ == module.__name__
            if is_own and thing.__annotations__.get("return") == "Figure":
                made.add(name)
    assert made == set(DRAWINGS)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_has_settings_of_its_own(name, suffix, tmp_path):
    style.save(DRAWINGS[name](), tmp_path / f"plain{suffix}")
    with matplotlib.rc_context(HOSTILE):
        before = dict(matplotlib.rcParams)
        style.save(DRAWINGS[name](), tmp_path / f"hostile{suffix}")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / f"hostile{suffix}").read_bytes() == (tmp_path / f"plain{suffix}").read_bytes()


def test_twin_a_figure_without_them_differs():
    def drawn():
        figure, out = matplotlib.figure.Figure(figsize=(1, 1)), io.BytesIO()
        figure.add_subplot().plot([1, 2])
        figure.savefig(out)
        return out.getvalue()

    plain = style.with_own_settings(drawn)()
    with matplotlib.rc_context(HOSTILE | {"text.usetex": False}):
        assert drawn() != plain
        assert style.with_own_settings(drawn)() == plain


def test_a_page_has_them_too():
    plain = page(made_up(), "best-bp")
    with matplotlib.rc_context(HOSTILE):
        assert page(made_up(), "best-bp") == plain
    assert len(re.findall("data:image/svg", plain)) >= 2


class BrokenError(Exception):
    pass


def broken(*given, **named):
    raise BrokenError


SIMULATE = ["simulate", "server-64", "--depths", "4", "--widths", "64", "--workers", "2", "--out", "made.jsonl"]

BENCH = ["bench", "--depths", "2", "--widths", "8", "--seconds", "0.02", "--workers", "1", "--baselines", "serial"]

TRAIN = ["train", "--samples", "5", "--updates", "2", "--hidden", "4", "--algorithms", "bp", "--backend", "numpy"]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([*SIMULATE, "--figure", "made.png"], ["made.jsonl"]),
        ([*SIMULATE, "--gantt", "made.png", "--trace", "trace.json"], ["made.jsonl", "trace.json"]),
        ([*TRAIN, "--out", "made.jsonl", "--figure", "made.png"], ["made.jsonl"]),
        ([*BENCH, "--launches", "1", "--out", "made.jsonl", "--trace", "traces"], ["made.jsonl", "traces"]),
    ],
)
def test_results_are_printed_and_kept_before_anything_is_drawn(words, kept, pcsim, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "save", broken)
    with pytest.raises(BrokenError):
        pcsim(*words)
    assert capsys.readouterr().out.strip()
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    assert len(files.read("made.jsonl", SCHEMA, CURVES).rows) >= 1
