"""Verbs where compiled code cannot be kept, or what was kept is damaged: they do their work, and say so once."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

VERBS = {
    "count": ["--depths", "4"],
    "simulate": ["ideal", "--depths", "2", "--widths", "8", "--workers", "1"],
    "doctor": [],
}
UNKEPT = "compiled kernels cannot be kept ("
DAMAGED = "kept kernels were cut short or damaged"


def run(verb, folder):
    done = subprocess.run(
        [sys.executable, "-m", "pcsim", verb, *VERBS[verb]],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    return done


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_cannot_be_made(verb):
    done = run(verb, "/proc/nope")
    assert done.stderr.count(UNKEPT) == 1
    assert done.stdout
    if verb == "doctor":
        assert "warn  kernel cache" in done.stdout
        assert "could not be examined" not in done.stdout


def test_files_that_were_cut_short(tmp_path):
    whole = run("count", tmp_path)
    kept = list(tmp_path.rglob("*.nbc"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    mended, again = run("count", tmp_path), run("count", tmp_path)
    assert whole.stdout == mended.stdout == again.stdout
    assert (mended.stderr.count(DAMAGED), again.stderr.count(DAMAGED)) == (1, 0)
