"""Real kills: of a process with two threads, and of two ranks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ranks import require_ranks

SCRIPT = Path(__file__).parents[2] / "scripts" / "kills.py"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("ranks", "late"), [(0, []), (2, []), (2, ["--late"])])
def test_a_killed_training_ends_in_the_bits_of_one_that_was_not(ranks, late):
    """Three moments; ``scripts/kills.py`` by itself takes twenty. Late: asynchronous BP."""
    if ranks:
        require_ranks()
    words = [sys.executable, str(SCRIPT), "--kills", "3", "--ranks", str(ranks), "--epochs", "25", *late]
    told = subprocess.run(
        words, capture_output=True, text=True, timeout=900, check=False, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "the same bits" in told.stdout
