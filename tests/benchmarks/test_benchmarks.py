"""The benchmark suite runs, and says beside every time what it must be held against."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def benchmarks(folder, *arguments):
    """The suite, or a part of it, in a process of its own."""
    # Not as a part of these tests: where processes share the tests, pytest-benchmark times nothing.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *arguments]
    return subprocess.run(
        [*command, "-c", str(ROOT / "setup.cfg"), str(ROOT / "benchmarks")],
        cwd=folder, env=alone, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip


def test_a_benchmark_says_what_was_counted_and_its_share_of_the_ceiling(tmp_path):
    answer = benchmarks(tmp_path, "-k", "4x64-b1-ipc-serial-1", "--benchmark-json=out.json", "--benchmark-storage=.")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (found,) = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert found["group"] == "update 4x64-b1"
    info = found["extra_info"]
    assert (info["mm"], info["smm"], info["mm_full"]) == (7, 2, 11)
    assert info["flops"] == 11 * 2 * 64**2
    assert info["bytes"] == 2 * 4 * 4 * 64**2
    assert info["roofline"] > 0
    assert info["seconds_per_update"] * info["updates"] > 0


def test_kernels_and_an_epoch_run(tmp_path):
    chosen = "gelu or (products and 16 and 64) or (pass and fused and 32 and second) or (epoch and ipc and 3)"
    answer = benchmarks(tmp_path, "-k", chosen, "--benchmark-disable")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert " passed" in answer.stdout
