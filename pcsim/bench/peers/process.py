"""A peer in a process of its own: its thread pools leave the other contenders alone, and it ends with its parent.

The parent asks and the child answers, one line of JSON each, over the child's standard input and output. The child
holds its net between requests. It knows no library: the module named by ``Peer`` does.
"""

import contextlib
import importlib
import json
import math
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from ...algorithms import Algorithm
from ...algorithms.registry import algorithm_from_json, algorithm_to_json
from ..case import Case
from ..oracle import hold_values, hold_weights
from ..wire import case_from_json, case_to_json
from . import PEERS, python_of, takes, takes_numbers

LONGEST_REQUEST = 600.0  # seconds until a silent child is ended

ROUNDS, SAMPLE_SECONDS = 5, 6e-3  # to choose a variant: the shortest of so many samples, each at least so long

HOPELESS = 2.0  # a variant this many times slower than the fastest so far is not timed again

Array = np.ndarray


@dataclass
class Variant:
    """One way to make updates: ``run`` makes that many, a multiple of ``chunk``, and waits for the result."""

    run: Callable[[int], None]
    chunk: int = 1


class Peer(Protocol):
    """What a peer's module has under this name: the net of a case in its library, made by ``Peer(case, algorithm,
    workers)``."""

    notes: list[str]

    def variants(self, best: str | None) -> dict[str, Callable[[], Variant]]:
        """Ways to make updates, each with what builds it. Asked first with None, then with the name of the fastest
        so far for those worth trying beside it, until there is no new name."""

    def load(self, weights: list[Array], values: list[Array], algorithm: Algorithm) -> None:
        """Start again with these weights and values (L and L + 1 arrays), and with this algorithm's rates."""

    def arrays(self) -> tuple[list[Array], list[Array]]:
        """The weights, and the values of all layers (none for BP), as they stand."""


# The parent ----------------------------------------------------------------------------------------------------------


class PeerEngine:
    """Trains the net of ``case`` by ``algorithm`` in the library ``name``, in a process of its own.

    workers: threads the library may use; cores: the process is bound to the first ``workers`` of them (None: to any).
    module: what trains, if not pcsim's own. Every method raises RuntimeError, with one line that begins with the
    peer's name, when the child fails, dies, or does not answer within LONGEST_REQUEST; the engine is then closed.
    """

    steps_per_update = 1
    timeline = None

    def __init__(
        self,
        name: str,
        case: Case,
        algorithm: Algorithm,
        workers: int = 1,
        cores: list[int] | None = None,
        *,
        module: str | None = None,
        timeout: float = LONGEST_REQUEST,
    ) -> None:
        fits = takes(name, algorithm.optimizer, case.steps_per_batch is not None) and takes_numbers(algorithm)
        if algorithm.name not in PEERS[name] or not fits or getattr(algorithm, "precision", 1) != 1:
            raise ValueError(
                f"{name} runs {', '.join(PEERS[name])} here, with precision 1"
                + (
                    ", plain gradient descent and one batch"
                    if name == "pcx"
                    else " and the optimizer sgd or adam, its numbers as usual"
                )
            )
        self.name, self.timeout = name, timeout
        self.variant = ""  # the fastest one, and the one that is run
        self.variants: dict[str, float] = {}  # seconds per update of every one tried
        self.notes: list[str] = []  # variants that failed, and why
        self.compile_seconds = 0.0  # of building the chosen variant
        self.prepare_seconds = 0.0  # of starting the library, and of building and timing all variants
        self.versions: dict[str, str] = {}
        self._buffer = b""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        threads = {f"{library}_NUM_THREADS": str(workers) for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
        # The same pcsim; another interpreter has its own, as this one's packages are not for it.
        ours = str(Path(__file__).resolve().parents[3])
        folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in ("", ours)]
        if python_of(name) == sys.executable:
            folders.insert(0, ours)
        self._child = subprocess.Popen(
            [python_of(name), "-P", "-c", "from pcsim.bench.peers.process import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # A group of its own: Ctrl-C is the parent's to act on, and compilers that the library starts end with it.
            process_group=0,
            env={
                **os.environ,
                **threads,
                "NPROC": str(workers),  # the size of XLA's pools
                "JAX_PLATFORMS": "cpu",
                "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of compiling processes
                "PYTHONPATH": os.pathsep.join(folders),
            },
        )
        self._end = weakref.finalize(self, _end, self._child, self._errors)
        self._ask(
            "start",
            module=module or f"pcsim.bench.peers.{name}",
            case=case_to_json(case),
            algorithm=algorithm_to_json(algorithm),
            workers=workers,
            cores=cores,
        )

    def prepare(self) -> None:
        """Build every variant, time them in turns, and keep the fastest."""
        answer = self._ask("prepare")
        self.variant, self.variants, self.notes = answer["variant"], answer["variants"], answer["notes"]
        self.compile_seconds, self.prepare_seconds = answer["compile_seconds"], answer["prepare_seconds"]
        self.versions = answer["versions"]

    def check(self, every: bool = False) -> None:
        """Hold the chosen variant's updates against the NumPy oracle's (``prepare`` comes first if it has not); or
        those of every variant.

        Both make two updates, or as many as a call makes, at a rate at which they show, and for iPC from random
        values. ArithmeticError if weights or values differ by more than rounding; afterwards the net begins again.
        """
        if not self.variant:
            self.prepare()
        self._ask("check", every=every)

    def run(self, updates: int, trace: bool = False) -> tuple[float, float]:
        """Make at least ``updates`` updates; the seconds that just so many of them took, and NaN for the energy.

        Where a call makes several updates, whole calls are made, and the seconds are their share. The child has been
        quiet for a moment when this returns.
        """
        if not self.variant:
            self.prepare()
        return self._ask("run", updates=int(updates))["seconds"], math.nan

    def close(self) -> None:
        """End the child. (Nothing survives a forgotten close: the child ends with the engine, or with this process.)"""
        self._end()

    def __enter__(self) -> "PeerEngine":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, do: str, **arguments: Any) -> dict:
        if not self._end.alive:
            raise RuntimeError(f"{self.name}: its process has been closed")
        try:
            answer = self._exchange(json.dumps({"do": do, **arguments}).encode() + b"\n")
        except BaseException:  # Ctrl-C too: an answer that nobody awaits would be taken for the next one
            self.close()
            raise
        if "error" not in answer:
            return answer
        if answer["kind"] == "ArithmeticError":
            raise ArithmeticError(f"{self.name}: {answer['error']}")
        self.close()
        raise RuntimeError(f"{self.name}: {answer['error']}")

    def _exchange(self, request: bytes) -> dict:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer will tell
            self._child.stdin.write(request)
            self._child.stdin.flush()
        end = time.monotonic() + self.timeout
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._child.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise RuntimeError(f"{self.name}: no answer for {self.timeout:g} s")
            received = os.read(self._child.stdout.fileno(), 1 << 16)
            if not received:
                raise RuntimeError(f"{self.name}: {self._death()}")
            self._buffer += received
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            return json.loads(line)
        except ValueError:
            raise RuntimeError(f"{self.name}: its answer is not a line of JSON: {line[:80].decode()!r}") from None

    def _death(self) -> str:
        code = self._child.wait()
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._errors.seek(0)
        said = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f"its process {how}" + (f": {said[-1]}" if said else "")


def _end(child: subprocess.Popen, errors: IO[bytes]) -> None:
    """End the child and all it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, errors):
        with contextlib.suppress(OSError):  # closing flushes, and nobody reads any more
            if pipe is not None:
                pipe.close()


# The child -----------------------------------------------------------------------------------------------------------


def main() -> None:
    """The child: answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    sys.stdout = sys.stderr
    server = _Server()
    for request in iter(_requests().get, None):
        try:
            answer = getattr(server, request.pop("do"))(**request) or {}
        except ArithmeticError as failure:
            answer = {"error": str(failure), "kind": "ArithmeticError"}
        except Exception as failure:
            answer = {"error": _line(failure), "kind": type(failure).__name__}
        print(json.dumps(answer), file=answers, flush=True)


def _requests() -> "queue.SimpleQueue[dict]":
    """Requests as they come. When there will be no more, the parent is gone, and so is this process: at once, even in
    the middle of an update."""
    requests: queue.SimpleQueue[dict] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(json.loads(line))
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)  # and what compiles for it

    threading.Thread(target=read, daemon=True).start()
    return requests


def _line(failure: BaseException) -> str:
    """One line that says what it was."""
    text = str(failure).strip()
    return f"{type(failure).__name__}: {text.splitlines()[0]}" if text else type(failure).__name__


class _Server:
    """The child's side of ``PeerEngine``: a method for each request, whose result is the answer."""

    def start(self, module: str, case: dict, algorithm: dict, workers: int, cores: list[int] | None) -> None:
        self.begin = time.perf_counter()
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores[:workers])  # before there are threads: they inherit it
        self.case, self.algorithm = case_from_json(case), algorithm_from_json(algorithm)
        self.peer: Peer = importlib.import_module(module).Peer(self.case, self.algorithm, workers)
        self.built: dict[str, Variant] = {}
        self._fresh()

    def _fresh(self) -> None:
        net, x, y = self.case.problem()
        first = slice(self.case.batch)  # where batches change, the first is given its forward pass by the peer
        self.peer.load(list(net.weights), [*net.forward(x[first])[:-1], y[first]], self.algorithm)

    def prepare(self) -> dict:
        self.times: dict[str, float] = {}
        compiled: dict[str, float] = {}
        notes: list[str] = []
        best: str | None = None
        tried: set[str] = set()
        while new := {name: build for name, build in self.peer.variants(best).items() if name not in tried}:
            tried |= set(new)
            for name, build in new.items():
                begin = time.perf_counter()
                try:
                    variant = build()
                    variant.run(variant.chunk)
                except Exception as failure:
                    notes.append(f"{name}: {_line(failure)}")
                    continue
                compiled[name] = time.perf_counter() - begin
                self.built[name] = variant
            if not self.built:
                raise RuntimeError(f"no variant runs: {notes[0]}")
            self._time([name for name in new if name in self.built])
            best = min(self.times, key=lambda name: self.times[name])
        if best is None:
            raise RuntimeError("there is no variant")
        self.chosen = best
        self._begin_again()
        return {
            "variant": best,
            "variants": self.times,
            "notes": [*self.peer.notes, *notes],
            "compile_seconds": compiled[best],
            "prepare_seconds": time.perf_counter() - self.begin,
            "versions": getattr(self.peer, "versions", {}),
        }

    def _time(self, names: list[str]) -> None:
        """Samples in turns; each variant keeps its shortest."""
        rivals = {name: self._enough(name) for name in [*names, *self.times]}
        for done in range(ROUNDS):
            for name, updates in list(rivals.items()):
                variant = self.built[name]
                begin = time.perf_counter()
                variant.run(updates)
                seconds = (time.perf_counter() - begin) / updates
                self.times[name] = min(seconds, self.times.get(name, math.inf))
            fastest = min(self.times.values())
            if done:  # one sample may have been disturbed
                rivals = {name: n for name, n in rivals.items() if self.times[name] <= HOPELESS * fastest}

    def _enough(self, name: str) -> int:
        """How many updates make a sample."""
        variant = self.built[name]
        updates = variant.chunk
        while True:
            begin = time.perf_counter()
            variant.run(updates)
            seconds = time.perf_counter() - begin
            if seconds >= SAMPLE_SECONDS / 2:
                return updates
            updates *= max(2, min(100, math.ceil(SAMPLE_SECONDS / max(seconds, 1e-7))))

    def check(self, every: bool = False) -> None:
        for name in self.built if every else [self.chosen]:
            self._check(self.built[name])
        self._begin_again()

    def _begin_again(self) -> None:
        """A fresh net, its memory touched by one call, so that the first sample is like the others."""
        self._fresh()
        variant = self.built[self.chosen]
        variant.run(variant.chunk)

    def _check(self, variant: Variant) -> None:
        from ...engines.numpy import NumpyEngine

        algorithm = replace(self.algorithm, alpha=1e-3 / self.case.batch)
        net, x, y = self.case.problem()
        rng = np.random.default_rng(self.case.seed + 2)
        values = [x, *(rng.normal(size=(self.case.batch, n)).astype(x.dtype) for n in net.sizes[1:-1]), y]
        changing = self.case.steps_per_batch
        updates = -(-(changing + 1 if changing else 2) // variant.chunk) * variant.chunk
        oracle = NumpyEngine(
            net,
            algorithm,
            x,
            y,
            self.case.batches(),
            values=None if algorithm.chained or changing else values,
            steps_per_batch=changing,
        )
        oracle.run(updates)
        self.peer.load(list(net.weights), values, algorithm)
        variant.run(updates)
        weights, last = self.peer.arrays()
        hold_weights(weights, oracle.network.weights, net.weights, str(updates), algorithm.optimizer)
        if last:  # backprop has none
            hold_values(last, oracle.values, str(updates))

    def run(self, updates: int) -> dict:
        from ...host.threads import settle

        variant = self.built[self.chosen]
        calls = -(-updates // variant.chunk)
        begin = time.perf_counter()
        variant.run(calls * variant.chunk)
        seconds = time.perf_counter() - begin
        settle()  # threads that still spin would take a core from the next contender
        return {"seconds": seconds * updates / (calls * variant.chunk)}
