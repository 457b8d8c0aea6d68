"""Ctrl-C at any time, above all while Numba compiles: exit code 130 and one line within seconds, and nobody left."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from ranks import Job, require_ranks

from pcsim.cli import interrupts
from pcsim.host import threads

pytestmark = pytest.mark.slow

ENDS = 8  # seconds: pcsim promises 5 on an idle machine

VERBS = {
    "bench": [
        "bench",
        "--depths",
        "2",
        "--widths",
        "8",
        "--batches",
        "1",
        "--workers",
        "1",
        "--baselines",
        "serial",
        "--launches",
        "1",
    ],
    "train": ["train", "--samples", "20", "--updates", "5", "--hidden", "6", "--algorithms", "ipc", "--workers", "2"],
}


def start(words, cache):
    """A process with an empty cache, and the lines that it has said so far."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-m", "pcsim", *words], env=environment, **pipes)
    said = []
    listener = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, "")))
    listener.start()
    return process, said, listener


@pytest.mark.parametrize("seconds", [0.1, 4.0])
@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_while_compiling(verb, seconds, tmp_path):
    process, said, listener = start(VERBS[verb], tmp_path)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and not any("compiling, once" in line for line in said):
            time.sleep(0.02)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        code = process.wait(60)
        took = time.monotonic() - sent
    finally:
        process.kill()
        listener.join()
        process.stderr.close()
    assert code == 130, said
    assert took < ENDS
    assert "Traceback" not in "".join(said)
    assert [line for line in said if "interrupted" in line] == said[-1:]


def test_ranks_that_compile_end_on_ctrl_c(tmp_path):
    require_ranks()
    words = [*VERBS["bench"][:1], "--backend", "mpi", *VERBS["bench"][1:5], "--seconds", "0.02", "--no-pin"]
    with Job(2, "-m", "pcsim", *words, "--oversubscribe", NUMBA_CACHE_DIR=str(tmp_path)) as job:
        job.wait_for(lambda: any(tmp_path.rglob("*.nbc")))
        time.sleep(1)
        job.process.send_signal(signal.SIGINT)
        answer = job.finish(ENDS)
        assert job.gone(ENDS)
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    assert "interrupted" in answer.stderr


STUCK = """
import sys, time
from pcsim.cli import interrupts
interrupts.LONGEST = 0.5
with interrupts.ended_in_time("bench", 130):
    while True:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def test_what_does_not_end_is_ended():
    """As in LLVM, where nobody looks for an interrupt; its children go with it."""
    program = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'input()'])\n" + STUCK
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDS) == 130
        assert process.stderr.read() == b"pcsim bench: interrupted; files hold what was finished\n"
    assert len(children) == 1
    assert psutil.wait_procs(children, ENDS)[1] == []


def test_an_interrupt_is_not_lost_where_c_calls_python():
    def call_back():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass

    def interrupted():
        with interrupts.ended_in_time("bench", 130):
            ctypes.CFUNCTYPE(None)(call_back)()  # drops what it raises
            time.sleep(10)

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begin < interrupts.LONGEST


def test_what_ends_by_itself_is_left_to_it():
    def interrupted():
        with interrupts.ended_in_time("bench", 130):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not any(thread.name == "pcsim-watch" for thread in threading.enumerate())


def test_a_thread_that_does_not_look_for_stop_is_interrupted():
    """What compiles in a thread is interrupted as in the main thread."""
    raised = []

    def work(worker):
        try:
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            raised.append(worker)
            raise

    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        threads.in_threads(2, work)
    assert sorted(raised) == [0, 1]
