"""The notebooks run from a fresh kernel, show their pictures, write nothing into the repository, hold no outputs."""

import os
import tempfile
from pathlib import Path

import nbformat
import pytest
import synthetic
from nbclient import NotebookClient
from programs.small_caches import SMALL
from traitlets.config import Config

from pcsim.host.context import usable_cores

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
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

# The tests measure fewer nets for a shorter time than a user would: what cells say, and what stands there instead.
QUICKER = {
    "01_speed_ratio": {
        "grid([2, 8, 32], [32, 128, 512], [1])": "grid([2, 32], [32, 512], [1])",
        "budget=0.3": "budget=0.04",
    },
}

# Runs before the first cell. Calibrations find small caches, whose rings are soon gone round. An audit hook sees every
# file that Python opens, whoever else is at work in the tree.
GUARD = """
import os, sys

from pcsim.calibration import calibrate

calibrate.caches = lambda core: {small!r}

def _guard(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if os.path.abspath(arguments[0]).startswith({root!r}):
            raise PermissionError(f"a notebook must not write into the repository: {{arguments[0]}}")

sys.addaudithook(_guard)
"""


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def execute(notebook, folder, monkeypatch):
    """Run the notebook as a user would from ``folder``; its cells then hold their outputs."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the notebook chooses its own
    guard = nbformat.v4.new_code_cell(GUARD.format(root=str(ROOT) + os.sep, small=SMALL), id="guard")
    notebook.cells.insert(0, guard)
    working = folder / "working"
    working.mkdir()
    resources = {"metadata": {"path": str(working)}}
    # Sockets in a folder: a port that was free a moment ago may be taken when the kernel comes to bind it.
    with tempfile.TemporaryDirectory(prefix="pcsim-") as sockets:
        config = Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources, config=config).execute()
    notebook.cells.remove(guard)
    return list(working.iterdir())


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def said(notebook):
    """All that the cells printed or showed as text."""
    texts = []
    for output in outputs(notebook):
        data = output.get("data", {})
        texts += [output.get("text", ""), data.get("text/markdown", ""), data.get("text/plain", "")]
    return "\n".join(texts)


def test_every_notebook_is_expected():
    assert [path.stem for path in NOTEBOOKS] == sorted(EXPECTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs_in_short_cells(path):
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_it_promises(path, tmp_path, monkeypatch):
    if path.stem == "01_speed_ratio" and len(usable_cores()) < 2:
        pytest.skip("a speed-up by a second worker needs a second core")
    notebook = read(path)
    for there, instead in QUICKER.get(path.stem, {}).items():
        (cell,) = (cell for cell in notebook.cells if there in cell.source)
        cell.source = cell.source.replace(there, instead)
    written = execute(notebook, tmp_path, monkeypatch)
    assert not written, "a notebook leaves no files behind"
    pictures, words = EXPECTED[path.stem]
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) >= pictures
    text = said(notebook)
    assert [word for word in words if word not in text] == []
    errors = [output.text for output in outputs(notebook) if output.get("name") == "stderr"]
    assert not errors, "a warning is a fault of the cell or of pcsim"


def test_reads_a_results_file_in_place_of_measuring(tmp_path, monkeypatch):
    """``RESULTS`` names a file: then what it holds is shown, and nothing is measured but the trace."""
    if len(usable_cores()) < 2:
        pytest.skip("the trace needs a second core")
    notebook = read(ROOT / "notebooks" / "01_speed_ratio.ipynb")
    (cell,) = (cell for cell in notebook.cells if 'RESULTS = ""' in cell.source)
    fixture = ROOT / "tests" / "fixtures" / "results-small.jsonl"
    cell.source = cell.source.replace('RESULTS = ""', f"RESULTS = {str(fixture)!r}")
    execute(notebook, tmp_path, monkeypatch)
    assert "out of order: none" in said(notebook)


def test_reads_a_clusters_files_in_place_of_ours(tmp_path, monkeypatch):
    """The three names stand for files of MPI ranks; each figure and table is then theirs."""
    notebook = read(ROOT / "notebooks" / "05_cluster.ipynb")
    given = {"STRONG": synthetic.strong(), "WEAK": synthetic.weak(), "LATENCY": synthetic.delayed()}
    for name, results in given.items():
        synthetic.store(results, tmp_path / f"{name}.jsonl")
    (cell,) = (cell for cell in notebook.cells if 'STRONG, WEAK, LATENCY = "", "", ""' in cell.source)
    names = ", ".join(repr(str(tmp_path / f"{name}.jsonl")) for name in given)
    cell.source = cell.source.replace('= "", "", ""', f"= {names}")
    assert not execute(notebook, tmp_path, monkeypatch)
    pictures, words = EXPECTED["05_cluster"]
    text = said(notebook)
    assert [word for word in [*words, *(f"{name}.jsonl: Made-up CPU" for name in given)] if word not in text] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) >= pictures
    assert [output.text for output in outputs(notebook) if output.get("name") == "stderr"] == []


def test_the_guard_sees_a_file_written_into_the_repository(tmp_path, monkeypatch):
    target = ROOT / "notebooks" / "must-not-be-written"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"open({str(target)!r}, 'w').close()")])
    with pytest.raises(Exception, match="must not write into the repository"):
        execute(notebook, tmp_path, monkeypatch)
    assert not target.exists()
