"""Compiled code on disk: what it depends on is told apart, and a cache that is broken, full or shut is no crash."""

import json
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from pcsim.kernels.machine import cache, settings
from pcsim.kernels.machine.compiling import njit

PROGRAM = Path(__file__).parents[1] / "programs/kept.py"


def run(folder, *before, **variables):
    """What a fresh process tells of its kernel."""
    names = [name for name in os.environ if name.startswith("NUMBA_")]
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"NUMBA_CACHE_DIR": str(folder), **variables}
    done = subprocess.run(
        [*before, sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*.nbc")}


CHANGES = [
    {"NUMBA_OPT": "0"},
    {"NUMBA_LOOP_VECTORIZE": "0"},
    {"NUMBA_SLP_VECTORIZE": "1"},
    {"NUMBA_DEBUGINFO": "1"},
    {"NUMBA_BOUNDSCHECK": "1"},
    {"NUMBA_LLVM_REFPRUNE_PASS": "0"},
    {"NUMBA_CPU_NAME": "generic"},
    {"NUMBA_CPU_FEATURES": "+sse2"},
    {"NUMBA_A_SETTING_OF_TOMORROW": "1"},
]


@pytest.mark.slow
def test_what_changes_code_is_told_apart(tmp_path):
    assert run(tmp_path)["compiled"] == 1
    for change in CHANGES:  # neither is taken for the other, whichever came first
        first, again = run(tmp_path, **change), run(tmp_path, **change)
        assert (first["compiled"], again["compiled"], again["loaded"]) == (1, 0, 1), change
    last = run(tmp_path, NUMBA_NUM_THREADS="1", NUMBA_COLOR_SCHEME="light_bg")
    assert (last["compiled"], last["loaded"], last["said"], last["settings"]) == (0, 1, [], {})
    assert len(files(tmp_path)) == 1 + len(CHANGES)


@pytest.mark.slow
def test_settings_of_a_file_count_like_variables(tmp_path):
    pytest.importorskip("yaml")
    assert run(tmp_path)["compiled"] == 1
    (tmp_path / ".numba_config.yaml").write_text("opt: '0'\n")
    found = run(tmp_path, "env", "-C", str(tmp_path))
    assert (found["compiled"], found["settings"]) == (1, {"NUMBA_OPT": 0})


@pytest.mark.slow
@pytest.mark.parametrize("cut", [0, 1, 31, 32, 1000, -1, "flipped", "unreadable"])
def test_broken_files_are_compiled_anew_and_mended(tmp_path, cut):
    whole = run(tmp_path)
    (path,) = files(tmp_path)
    data = path.read_bytes()
    if cut == "unreadable":
        path.unlink()
        path.mkdir()
    elif cut == "flipped":
        path.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    else:
        path.write_bytes(data[:cut])
    found = run(tmp_path)
    assert (found["compiled"], found["loaded"]) == (1, 0)
    assert len(found["said"]) == (2 if cut == "unreadable" else 1)
    assert "cut short or damaged" in found["said"][0]
    if cut != "unreadable":
        again = run(tmp_path)
        assert (again["compiled"], again["said"], again["broken"], whole["broken"]) == (0, [], 0, 0)


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_costs_compilation_alone(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("/proc/nope", tmp_path / "file/below"):
        found = run(folder)
        assert found["compiled"] == 1
        assert len(found["said"]) == 1
        assert found["said"][0].startswith("compiled kernels cannot be kept (")
        assert found["why"]


def doubled(x):
    return 2 * x


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A kernel whose code goes to a folder of its own."""
    monkeypatch.setattr(cache, "_said", set())
    monkeypatch.setattr(cache, "_folders", set())
    monkeypatch.setattr(cache, "_places", lambda file: [tmp_path / "kept"])
    known = cache._writable  # a test may put something else in its place
    known.cache_clear()
    yield lambda: njit(cache=True, nogil=True)(doubled)
    known.cache_clear()


def test_a_full_disk_is_said_once(made, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    def used():
        kernel = made()
        return kernel(2), kernel(2.5), made()(3)

    with pytest.warns(cache.KernelCacheWarning) as said:
        assert used() == (4, 5.0, 6)
    assert [str(each.message) for each in said] == [
        "compiled kernels cannot be kept (No space left on device): every process compiles them anew; "
        "set NUMBA_CACHE_DIR to a folder with room that can be written"
    ]


@pytest.mark.parametrize("dynamic", [False, True])
def test_code_with_addresses_is_not_kept_and_that_is_said(made, monkeypatch, dynamic):
    # NUMBA_OPT=0 leaves them in.
    monkeypatch.setattr(cache, "_said", set())
    implementation = cache.KernelCache(made().py_func)._impl
    found = SimpleNamespace(lifted=(), library=SimpleNamespace(has_dynamic_globals=dynamic))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert implementation.check_cachable(found) is not dynamic
    assert ["NUMBA_OPT=0" in str(one.message) for one in said] == [True] * dynamic


def test_what_was_kept_is_read_where_nothing_can_be_written(made, tmp_path, monkeypatch):
    assert made()(2) == 4
    monkeypatch.setattr(cache, "_places", lambda file: [tmp_path / "kept", tmp_path / "no such folder"])
    monkeypatch.setattr(cache, "_writable", lambda folder: "Read-only file system")
    kernel = made()
    assert kernel(2) == 4
    assert sum(kernel.stats.cache_hits.values()) == 1
    assert cache.why_not_kept() == "Read-only file system"


def test_older_sources_leave_nothing(made, tmp_path, monkeypatch):
    assert made()(2) == 4
    (old,) = files(tmp_path)
    monkeypatch.setattr(cache, "_digest", lambda folder: b"edited")  # an edit to any file whose code may be compiled in
    kernel = made()
    assert kernel(2) == 4
    assert sum(kernel.stats.cache_misses.values()) == 1
    (new,) = files(tmp_path)
    assert new != old


def test_two_keys_never_share_a_file(made, tmp_path):
    one, other = made(), made()
    assert one(2) == 4
    assert other(2.5) == 5.0  # another process, which has not seen the first one's file
    assert len(files(tmp_path)) == 2
    third = made()
    assert (third(2), third(2.5)) == (4, 5.0)
    assert sum(third.stats.cache_hits.values()) == 2


def test_a_file_of_another_key_is_not_taken(made, tmp_path, monkeypatch):
    assert made()(2) == 4
    monkeypatch.setattr(cache.KernelCache, "_index_key", lambda self, signature, codegen: ("another",))
    monkeypatch.setattr(cache._Files, "path", lambda self, key: next(iter(files(tmp_path))))
    kernel = made()
    kernel(2)
    assert sum(kernel.stats.cache_hits.values()) == 0


ADDS = """
import re
import numpy as np
from numba import njit
from pcsim.kernels.machine.memory import aligned_empty
from pcsim.kernels.machine.simd import load, multiply_add, pointer, splat, store

@njit
def add(a, b):
    p, q = pointer(a), pointer(b)
    store(q, 0, multiply_add(load(p, 0), splat(p[1]), load(q, 0)))

for dtype in (np.float32, np.float64):
    a, b = aligned_empty(16, dtype), aligned_empty(16, dtype)
    a[:], b[:] = np.arange(16), 1
    add(a, b)
    assert np.array_equal(b[:8], np.arange(8) + 1)
code = "".join(add.inspect_asm().values())
print("calls" if re.search(r"\\bfmaf?\\b", code) else "fused" if "vfmadd" in code else "apart")
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere every processor can")
def test_without_fused_instructions_nothing_is_called():
    def code(**variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
        return subprocess.run(
            [sys.executable, "-c", ADDS], env=environment | variables, capture_output=True, text=True, timeout=300,
            check=True,
        ).stdout.strip()  # fmt: skip

    assert code(NUMBA_CPU_NAME="generic") == "apart"
    assert code(NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="+sse2,-fma") == "apart"
    if settings.has("fma", settings.host()[1]):
        assert code() == "fused"


def test_who_can_fuse():
    assert settings.fuses("x86_64-unknown-linux-gnu", "+avx2,+fma,-avx512f")
    assert not settings.fuses("x86_64-unknown-linux-gnu", "+avx2,-fma,+fma4")
    assert not settings.fuses("x86_64-unknown-linux-gnu", "")
    assert settings.fuses("aarch64-unknown-linux-gnu", "")
