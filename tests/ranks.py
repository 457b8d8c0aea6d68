"""Real ranks for tests: started on this machine with a time-out, found again by a mark, and none left behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil
import pytest

from pcsim.host import mpi

PROGRAMS = Path(__file__).with_name("programs")
PATIENCE = 300  # seconds: no test is to fail because the machine is busy
_MARK = "PCSIM_TEST_JOB"  # a variable that every process of a job has, with a value of its own


@lru_cache
def launcher():
    """The words that start ranks, but for their number; None where there is no launcher. ``PCSIM_TEST_MPIEXEC`` names
    another than the one beside this Python, or in PATH (with ``MPI4PY_MPIABI=openmpi``, that of Open MPI)."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = os.environ.get("PCSIM_TEST_MPIEXEC") or (str(beside) if beside.exists() else shutil.which("mpiexec"))
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    is_open_mpi = any(name in told for name in ("Open MPI", "OpenRTE", "PRTE", "prte"))
    return [found, *(["--oversubscribe", "--allow-run-as-root"] if is_open_mpi else [])]


def require_ranks():
    """Skip the test where ranks cannot be started."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    if launcher() is None:
        pytest.skip("no mpiexec next to this Python or in PATH")


@dataclass
class Answer:
    """What a job left."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def told(self):
        """Lines on standard error that are pcsim's, not the launcher's."""
        return [line for line in self.stderr.splitlines() if line.startswith(("pcsim", "[rank", "Traceback"))]


class Job:
    """A launch of ``count`` ranks that all run ``python *words``; or, MPMD, one rank for each list in ``parts``.

    Use as a context manager: at its end no process of the job is left.
    """

    def __init__(self, count, *words, parts=None, cwd=None, **variables):
        require_ranks()
        start, python = launcher(), sys.executable
        if parts is None:
            parts, numbers = [words], [count]
        else:
            numbers = [1] * len(parts)
        command = list(start)
        for number, part in zip(numbers, parts, strict=True):
            command += [] if part is parts[0] else [":"]
            command += ["-n", str(number), python, *map(str, part)]
        self.mark = uuid.uuid4().hex
        known = {name for names in mpi.LAUNCHERS for name in names}
        environment = {name: value for name, value in os.environ.items() if name not in known}
        environment |= {_MARK: self.mark, **variables}
        # Files, not pipes: whoever outlived the job would keep a pipe open, and the test would wait for it.
        self.out, self.err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - closed at the end
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=self.err,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.out.close()
        self.err.close()

    def processes(self):
        """The processes of the job that are alive, by the mark in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == self.mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def rank(self, number):
        """The process of a rank, once it is there."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for process in self.processes():
                try:
                    variables = process.environ()
                except psutil.Error:
                    continue
                if any(variables.get(name) == str(number) for _, name in mpi.LAUNCHERS):
                    return process
            time.sleep(0.02)
        raise TimeoutError(f"rank {number} was not there within {PATIENCE} s: {self.read(self.err)}")

    def read(self, file):
        """What has come so far."""
        return os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")

    def wait_for(self, condition, patience=PATIENCE):
        """Until ``condition()`` is true; an error if the job ends before, or if it takes too long."""
        end = time.monotonic() + patience
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise TimeoutError(f"waited in vain; the job ends with {self.process.poll()}: {self.read(self.err)}")
            time.sleep(0.02)

    def finish(self, patience=PATIENCE):
        """Wait for the launcher to end."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            told = self.read(self.out)[-2000:] + self.read(self.err)[-4000:]
            self.end()
            raise TimeoutError(f"the job did not end within {patience} s and was killed: {told}") from None
        return Answer(code, self.read(self.out), self.read(self.err), time.monotonic() - self.began)

    def gone(self, patience):
        """Whether no process of the job is left within so many seconds."""
        end = time.monotonic() + patience
        while self.processes():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def end(self):
        """Kill what is left."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        while left := self.processes():  # a launcher may put ranks into groups of their own
            for process in left:
                try:
                    process.kill()
                except psutil.Error:
                    continue
            time.sleep(0.02)
        self.process.wait()


def launch(count, *words, patience=PATIENCE, **options):
    """Run ``python *words`` on so many ranks to its end."""
    with Job(count, *words, **options) as job:
        return job.finish(patience)


def program(count, name, *words, **options):
    """Run one of ``tests/programs``."""
    return launch(count, PROGRAMS / name, *words, **options)


def pcsim(count, *words, **options):
    """Run ``python -m pcsim`` on so many ranks."""
    return launch(count, "-m", "pcsim", *words, **options)


def on_ranks(count, code):
    """Run ``python -c code`` on so many ranks of this machine; skips the test where there is no MPI."""
    return launch(count, "-c", code, patience=PATIENCE)
