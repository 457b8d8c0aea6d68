"""The notebooks run from a fresh kernel, show their pictures, write nothing into the repository, and are stored with
outputs, which for those that measure nothing are what they say now."""

import os
from pathlib import Path

import nbformat
import pytest
import run_notebooks
import synthetic
from programs.small_caches import SMALL
from run_notebooks import NOTEBOOKS, faults, outputs, read, texts

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LONGEST_CELL = 12  # lines: logic lives in pcsim, cells call it

# At least so many pictures, and what each notebook must have said by its end.
EXPECTED = {
    "01_speed_ratio": (3, ["below 1, iPC is faster", "read-write", "hand-over", "out of order: none"]),
    "02_counting": (6, ["{'iPC': (5, 2), 'BP': (3, 0)}", "gain of iPC"]),
    "03_learning": (5, ["loss 0.1 reached", "diverged at update", "changed"]),
    "04_projection": (
        8,
        ["below 1", "predicted", "out of order: none", "a glimpse of this host", "outside the calibrated range"],
    ),
    "05_cluster": (
        3,
        ["more workers than cores", "other than counted", "best-bp", "hand-over ÷ latency", "added latency"],
    ),
}

# Nothing that they say depends on the machine or the hour, but in cells with the tag "timed".
SAME = ("02_counting", "04_projection")

# The notebook that shows a file measures where no file is named; here fewer nets, for a shorter time.
MEASURED_HERE = {
    'RESULTS = MEASURED / "bench-2-cores.jsonl"': 'RESULTS = ""',
    "grid([2, 8, 32], [32, 128, 512], [1])": "grid([2, 32], [32, 512], [1])",
    "budget=0.3": "budget=0.04",
}

# Runs before the first cell. Calibrations find small caches, whose rings are soon gone round. An audit hook sees every
# file that Python opens, whoever else is at work in the tree.
GUARD = """
import os, sys

if {one_core}:
    os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})

from pcsim.calibration import calibrate

calibrate.caches = lambda core: {small!r}

def _guard(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if os.path.abspath(arguments[0]).startswith({root!r}):
            raise PermissionError(f"a notebook must not write into the repository: {{arguments[0]}}")

sys.addaudithook(_guard)
"""


def execute(notebook, folder, monkeypatch, one_core=False):
    """Run the notebook as a user would from ``folder``; its cells then hold their outputs."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the notebook chooses its own
    guard = GUARD.format(root=str(ROOT) + os.sep, small=SMALL, one_core=one_core)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(guard))
    working = folder / "working"
    working.mkdir()
    run_notebooks.execute(notebook, working)
    del notebook.cells[0]
    return list(working.iterdir())


def changed(notebook, changes):
    """The notebook with other words in its cells: what they say, and what is to stand there instead."""
    for there, instead in changes.items():
        (cell,) = (cell for cell in notebook.cells if there in cell.source)
        cell.source = cell.source.replace(there, instead)
    return notebook


def said(notebook):
    """All that the cells printed or showed as text."""
    return "\n".join(text for output in outputs(notebook) for text in texts(output).values())


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def check_shown(notebook, name):
    """That the notebook shows what it promises, and complains of nothing."""
    least, words = EXPECTED[name]
    text = said(notebook)
    assert pictures(notebook) >= least
    assert [word for word in words if word not in text] == []
    assert [output.text for output in outputs(notebook) if output.get("name") == "stderr"] == []


def timeless(notebook):
    """By cell, what it says that does not depend on machine and hour; tables in plain text, as HTML is pandas' own."""
    cells = [
        cell for cell in notebook.cells if cell.cell_type == "code" and "timed" not in cell.metadata.get("tags", [])
    ]
    said = {cell.id: [texts(output) for output in cell.outputs] for cell in cells}
    return {name: [{k: v for k, v in one.items() if k != "text/html"} for one in found] for name, found in said.items()}


def test_every_notebook_is_expected():
    assert [path.stem for path in NOTEBOOKS] == sorted(EXPECTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_with_outputs_in_short_cells(path):
    notebook = read(path)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "make notebooks"
    assert [cell.source for cell in code if len(cell.source.splitlines()) > LONGEST_CELL] == []
    assert [cell.metadata for cell in code if set(cell.metadata) - {"tags"}] == []
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert faults(notebook) == []
    check_shown(notebook, path.stem)


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (nbformat.v4.new_output("stream", text="kept in /home/me/run.jsonl"), "names this machine"),
        (nbformat.v4.new_output("stream", text="at 2026-01-31T12:00"), "names this machine or the time"),
        (nbformat.v4.new_output("display_data", {"text/html": "<b>node-17</b>"}), "names this"),
        (nbformat.v4.new_output("stream", name="stderr", text="careful"), "a warning: careful"),
        (nbformat.v4.new_output("error", ename="ValueError", evalue="no"), "a cell failed: ValueError: no"),
        (nbformat.v4.new_output("display_data", {"image/png": "A" * 400_000}), "bytes, at most"),
    ],
)
def test_what_must_not_be_stored_is_told(output, fault):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    (found,) = faults(notebook, ["node-17", "me"])
    assert fault in found


def test_ordinary_outputs_are_no_fault():
    shown = nbformat.v4.new_output("execute_result", {"text/plain": "3/4 of 1.5/home", "image/png": "/tmp/"})
    assert faults(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[shown])]), ["home-1"]) == []


def test_another_text_is_noticed_and_another_time_is_not():
    def shown(text, tags=()):
        output = nbformat.v4.new_output("execute_result", {"text/plain": text, "text/html": f"<b>{text}</b>"})
        cell = nbformat.v4.new_code_cell("x", outputs=[output], metadata={"tags": list(tags)}, id="x")
        return timeless(nbformat.v4.new_notebook(cells=[cell]))

    assert shown("2 SMMs") == {"x": [{"text/plain": "2 SMMs"}]} != shown("3 SMMs")
    assert shown("2 ns", ["timed"]) == shown("3 ns", ["timed"]) == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_it_promises(path, tmp_path, monkeypatch):
    notebook = read(path)
    stored = timeless(notebook)
    assert not execute(notebook, tmp_path, monkeypatch), "a notebook leaves no files behind"
    check_shown(notebook, path.stem)
    if path.stem in SAME:
        assert timeless(notebook) == stored, "what is stored is not what the notebook says now: make notebooks"


@pytest.mark.parametrize("one_core", [False, True], ids=["all cores", "one core"])
def test_measures_where_no_file_is_named(one_core, tmp_path, monkeypatch):
    if one_core and not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to a core")
    notebook = changed(read(ROOT / "notebooks" / "01_speed_ratio.ipynb"), MEASURED_HERE)
    assert not execute(notebook, tmp_path, monkeypatch, one_core)
    check_shown(notebook, "01_speed_ratio")
    assert ("1 usable core," in said(notebook)) == (one_core or os.cpu_count() == 1)


def test_reads_a_clusters_files_in_place_of_ours(tmp_path, monkeypatch):
    """The three names stand for files of MPI ranks; each figure and table is then theirs."""
    notebook = read(ROOT / "notebooks" / "05_cluster.ipynb")
    given = {"STRONG": synthetic.strong(), "WEAK": synthetic.weak(), "LATENCY": synthetic.delayed()}
    for name, results in given.items():
        synthetic.store(results, tmp_path / f"{name}.jsonl")
    ours = {"STRONG": "strong", "WEAK": "weak", "LATENCY": "latency"}
    names = {name: repr(str(tmp_path / f"{name}.jsonl")) for name in given}
    changed(
        notebook,
        {f'{name} = MEASURED / "ranks-{ours[name]}-2-cores.jsonl"': f"{name} = {names[name]}" for name in given},
    )
    assert not execute(notebook, tmp_path, monkeypatch)
    check_shown(notebook, "05_cluster")
    assert [name for name in given if f"{name}.jsonl: Made-up CPU" not in said(notebook)] == []


def test_the_guard_sees_a_file_written_into_the_repository(tmp_path, monkeypatch):
    target = ROOT / "notebooks" / "must-not-be-written"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"open({str(target)!r}, 'w').close()")])
    with pytest.raises(Exception, match="must not write into the repository"):
        execute(notebook, tmp_path, monkeypatch)
    assert not target.exists()
