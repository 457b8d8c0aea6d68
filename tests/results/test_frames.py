"""Results and curves files as pandas frames."""

import json
import sys
from pathlib import Path

import pytest

import pcsim
from pcsim.errors import InputError
from pcsim.results.fields import CURVES
from pcsim.results.files import Writer, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
CURVE = {
    "algorithm": "ipc",
    "kind": "measured",
    "label": "iPC",
    "optimizer": "sgd",
    "alpha": 1e-4,
    "depth": 2,
    "samples": 3,
    "sizes": [4, 4, 2],
    "interrupted": False,
    "diverged": None,
    **{name: [1.0, 2.0] for name in ("updates", "smm", "mm", "seconds", "loss", "energy")},
}


def test_a_line_for_each_row_and_a_column_for_each_field():
    frame, rows = pcsim.load(FIXTURE), read(FIXTURE).rows
    assert len(frame) == len(rows)
    assert set(frame.columns) == {name for row in rows for name in row}
    for name in ("algorithm", "depth", "seconds", "smm"):
        assert frame[name].tolist() == [row[name] for row in rows]
    assert frame["median"].dtype.kind == "f"
    assert frame["median"].dropna().tolist() == [row["median"] for row in rows if row["median"] is not None]
    best = frame[frame.algorithm == "bp"].groupby(["depth", "width"])["median"].min()
    assert best[2, 64] == min(
        row["median"] for row in rows if (row["algorithm"], row["depth"], row["width"]) == ("bp", 2, 64)
    )


def test_the_context_goes_with_the_frame(tmp_path):
    data = FIXTURE.read_text().splitlines()
    (tmp_path / "cut.jsonl").write_text("\n".join([*data[:3], json.dumps({"resumed": {"cores": 4}}), data[4][:20]]))
    frame = pcsim.load(tmp_path / "cut.jsonl")
    assert len(frame) == 2
    assert frame.attrs["schema"] == "pcsim-results/1"
    assert frame.attrs["context"] == json.loads(data[0])["context"]
    assert frame.attrs["resumed"] == [{"cores": 4}]
    assert "cut in the middle" in frame.attrs["warnings"][0]


def test_curves_too(tmp_path):
    with Writer(tmp_path / "curves.jsonl", {"cores": 2}, schema=CURVES) as writer:
        writer.write(CURVE)
    frame = pcsim.load(str(tmp_path / "curves.jsonl"))
    assert frame.attrs["schema"] == CURVES
    assert frame["loss"].tolist() == [[1.0, 2.0]]


def test_a_file_without_rows_is_an_empty_frame(tmp_path):
    Writer(tmp_path / "empty.jsonl", {}).close()
    assert len(pcsim.load(tmp_path / "empty.jsonl")) == 0


def test_what_is_neither_is_refused_in_one_line(tmp_path):
    (tmp_path / "other.jsonl").write_text('{"schema": "pcsim-machine/1"}\n')
    for path in (tmp_path / "other.jsonl", tmp_path / "missing.jsonl", __file__):
        with pytest.raises(InputError) as caught:
            pcsim.load(path)
        assert "\n" not in str(caught.value)


def test_without_pandas_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"^pcsim\.load needs pandas.*pip install pandas$"):
        pcsim.load(FIXTURE)
