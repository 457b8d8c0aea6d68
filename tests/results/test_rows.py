"""Rows from typed fields: the order of the file, fields of ranks, and that both kinds can be written and read."""

from dataclasses import fields

import pytest

from pcsim.results.fields import SCHEMA, check_row
from pcsim.results.files import Writer, read
from pcsim.results.rows import MeasuredRow, PredictedRow, RankFields

FIRST = [
    "algorithm",
    "execution",
    "backend",
    "workers",
    "depth",
    "width",
    "batch",
    "steps",
    "inference_steps",
    "dtype",
    "activation",
    "net",
    "steps_per_batch",
    "start",
    "optimizer",
    "momentum",
    "weight_decay",
    "data",
    "kind",
    "seconds",
    "median",
    "ci95",
    "mm",
    "smm",
    "mm_full",
    "smm_full",
    "smm_workers",
    "mm_starts",
    "smm_starts",
    "flops",
    "bytes",
    "flop_rate",
    "bandwidth",
]
MEASURED = [
    "roofline",
    "compile_seconds",
    "warnings",
    "error",
    "auto",
    "rounds",
    "updates_per_sample",
    "checked",
    "handover_seconds",
    "variant",
    "drift",
    "core_distance",
    "gemm_rate",
    "tile_rate",
]
RANKS: RankFields = {"ranks": 2, "hosts": 1, "counted_messages": 4, "delay": None, "latency": None, "messages": 4.0}

CASE = {
    "algorithm": "ipc",
    "execution": "serial",
    "backend": "threads",
    "workers": 1,
    "depth": 2,
    "width": 8,
    "batch": 1,
    "steps": 1,
    "inference_steps": 1,
    "dtype": "float32",
    "activation": "tanh",
    "net": None,
    "steps_per_batch": None,
    "start": "forward",
    "optimizer": "sgd",
    "mm": 3,
    "smm": 2,
    "mm_full": 5,
    "smm_full": 3,
    "smm_workers": 3.0,
    "mm_starts": 3,
    "smm_starts": 2,
    "flops": 1.0,
    "bytes": 2.0,
    "flop_rate": 3.0,
    "bandwidth": 4.0,
}


def measured(**changes):
    found = {
        "seconds": [2e-3, 1e-3],
        "median": 1.5e-3,
        "ci95": [1e-3, 2e-3],
        "roofline": 0.5,
        "compile_seconds": 0.0,
        "warnings": [],
        "error": None,
        "auto": False,
        "rounds": 2,
        "updates_per_sample": 3,
        "checked": True,
        "handover_seconds": None,
        "variant": None,
        "drift": 1.0,
        "core_distance": None,
        "gemm_rate": None,
        "tile_rate": None,
        "on_ranks": None,
    }
    return MeasuredRow(**{**CASE, **found, **changes})


def predicted(**changes):
    found = {
        "seconds": [],
        "median": 1e-3,
        "ci95": None,
        "variant": None,
        "on_ranks": None,
        "machine": "m",
        "utilisation": 1.0,
        "joules": None,
        "critical_path": "",
        "warnings": [],
    }
    return PredictedRow(**{**CASE, **found, **changes})


def test_fields_stand_in_the_order_of_the_file():
    assert list(measured().row()) == [*FIRST, *MEASURED]
    last = ["machine", "utilisation", "joules", "critical_path", "warnings", "error"]
    assert list(predicted().row()) == [*FIRST, "variant", *last]


def test_fields_of_ranks_are_there_where_ranks_ran():
    assert list(measured(on_ranks=RANKS).row()) == [*FIRST, *MEASURED, *RANKS]
    row = predicted(on_ranks={"ranks": 2, "messages": 4.0}).row()
    assert list(row)[len(FIRST) : len(FIRST) + 4] == ["variant", "ranks", "messages", "machine"]
    assert "on_ranks" not in row


def test_a_field_that_is_forgotten_or_made_up_is_refused():
    with pytest.raises(TypeError, match="missing"):
        MeasuredRow(**CASE)
    with pytest.raises(TypeError, match="unexpected"):
        measured(colour="red")
    assert {f.name for f in fields(MeasuredRow)} >= set(FIRST)


@pytest.mark.parametrize(("made", "kind"), [(measured, "measured"), (predicted, "predicted")])
def test_both_kinds_are_written_and_read(made, kind, tmp_path):
    row = made().row()
    assert row["kind"] == kind
    check_row(row, "here", SCHEMA)
    with Writer(tmp_path / "r.jsonl", {}) as writer:
        writer.write(row)
    (found,) = read(tmp_path / "r.jsonl").rows
    assert found == row
    assert list(found) == list(row)
