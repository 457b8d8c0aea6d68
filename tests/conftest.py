"""What every test gets: a Numba cache of its own, as Numba does not notice edits to a callee in another file."""

import os
import signal
import sys
import tempfile
import threading

import pytest

# Before anything imports Numba, here and in every process that a test starts.
_cache = tempfile.TemporaryDirectory(prefix="pcsim-numba-", ignore_cleanup_errors=True)
os.environ["NUMBA_CACHE_DIR"] = _cache.name
os.environ.setdefault("MPLBACKEND", "Agg")
# A shell that starts the tests in the background has Ctrl-C ignored, here and in what tests start to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_thread_left_behind():
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("pcsim-worker")]
    assert not left, f"threads left running: {left}"


@pytest.fixture
def pcsim(capsys, monkeypatch):
    """Run a command in this process: (exit code, standard output, standard error)."""
    from pcsim import cli  # not before the folder of its cache is named

    before = signal.getsignal(signal.SIGTERM)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pcsim", *map(str, words)])
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as ending:
            code = ending.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    yield run
    signal.signal(signal.SIGTERM, before)
