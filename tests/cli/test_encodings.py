"""Standard output in every encoding, byte-order marks, and baselines that nobody runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcsim.calibration import validate
from pcsim.cli.words import READABLE
from pcsim.errors import InputError
from pcsim.predict.machine_files import load
from pcsim.results import files

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

VERBS = {
    "simulate": ["simulate", "server-64", "--depths", "2", "--widths", "64", "--workers", "2"],
    "gains": ["report", RESULTS / "bench-2-cores.jsonl", "--show", "gains"],
    "table": ["report", RESULTS / "bench-2-cores.jsonl"],
    "help": ["bench", "--help"],
    "count": ["count", "--depths", "4"],
}


def printed(words, encoding):
    done = subprocess.run(
        [sys.executable, "-m", "pcsim", *map(str, words)], capture_output=True, timeout=300, check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(encoding)
    return done.stdout.decode(encoding)


@pytest.mark.parametrize("verb", VERBS)
def test_output_is_readable_in_every_encoding(verb):
    whole = printed(VERBS[verb], "utf-8")
    for encoding in ("ascii", "iso-8859-1", "cp1252"):
        found = printed(VERBS[verb], encoding)
        assert found.count("?") == whole.count("?")
        assert len(found.splitlines()) == len(whole.splitlines())


def test_a_sign_that_nobody_spells_is_a_question_mark():
    assert "3 µs ÷ 漢".encode("ascii", READABLE) == b"3 us / ?"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", READABLE)


def test_files_may_begin_with_a_byte_order_mark(tmp_path):
    for name, read in (("machine-2-cores.json", load), ("validation-2-cores.json", validate.read)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (RESULTS / name).read_bytes())
        assert read(tmp_path / name) == read(RESULTS / name)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_wider_encodings_are_named(encoding, tmp_path):
    for name, read in (
        ("machine-2-cores.json", load),
        ("validation-2-cores.json", validate.read),
        ("bench-2-cores.jsonl", files.read),
    ):
        (tmp_path / name).write_bytes((RESULTS / name).read_text(encoding="utf-8").encode(encoding))
        with pytest.raises(InputError, match=rf"{name}: is text in {encoding.upper()}: convert it to UTF-8$"):
            read(tmp_path / name)


@pytest.mark.parametrize("baseline", ["intra-layer", "data-parallel", "pipeline"])
def test_a_baseline_that_fits_no_cell_is_said(baseline, pcsim, monkeypatch):
    from pcsim.bench import sweep

    monkeypatch.setattr(sweep.Sweep, "ceilings", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    words = ["bench", "--depths", "2", "--widths", "8", "--workers", "1"]
    assert f"{baseline} was asked for" in pcsim(*words, "--baselines", "serial", baseline)[2]
    assert "was asked for" not in pcsim(*words)[2]
    assert "was asked for" not in pcsim(*words, "--baselines", "serial")[2]
