"""What every test gets: a Numba cache of its own, as Numba does not notice edits to a callee in another file.

``PCSIM_TEST_CACHE`` names a folder in which compiled code is kept from one run of the tests to the next, under a hash
of all sources; without it, compiled code is gone when the tests end.
"""

import hashlib
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings


def _digest():
    """Of all sources of the package."""
    root, found = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted([*(root / "pcsim").rglob("*.py"), *(root / "kernels").rglob("*.py")]):
        found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


# Before anything imports Numba, here and in every process that a test starts; the workers of pytest-xdist share it.
if "PCSIM_TEST_CACHE" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="pcsim-numba-", ignore_cleanup_errors=True)
    os.environ["PCSIM_TEST_CACHE"] = _cache.name
os.environ["NUMBA_CACHE_DIR"] = str(Path(os.environ["PCSIM_TEST_CACHE"]).absolute() / _digest())
os.environ.setdefault("MPLBACKEND", "Agg")
# A shell that starts the tests in the background has Ctrl-C ignored, here and in what tests start to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)


# A busy machine takes as long as it likes: how long an example takes says nothing about the code.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


def pytest_collection_modifyitems(items):
    """Files that take long come first, so that processes which share the tests come to an end together."""
    items.sort(key=lambda item: item.getparent(pytest.Module).get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def no_thread_left_behind():
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("pcsim-worker")]
    assert not left, f"threads left running: {left}"


@pytest.fixture
def full_after_one_row(monkeypatch):
    """A disk on which a results file has room for one row."""
    from pcsim.errors import InputError
    from pcsim.results.files import Writer

    whole, rows = Writer.write, []

    def write(self, row):
        if rows:
            raise InputError("row not written: No space left on device")
        rows.append(whole(self, row))
        return rows[-1]

    monkeypatch.setattr(Writer, "write", write)


@pytest.fixture
def pcsim(capsys, monkeypatch):
    """Run a command in this process: (exit code, standard output, standard error)."""
    from pcsim.cli import main  # not before the folder of its cache is named

    before = signal.getsignal(signal.SIGTERM)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pcsim", *map(str, words)])
        try:
            code = main.main([str(word) for word in words])
        except SystemExit as ending:
            code = ending.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    yield run
    signal.signal(signal.SIGTERM, before)
