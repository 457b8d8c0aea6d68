"""Progress on standard error: a bar with the time left on a terminal, a plain line for each cell or run elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from ..kernels import machine  # noqa: F401 - says why, where Numba cannot be used

from numba.core import event  # isort: skip

MOMENT, OFTEN = 0.5, 5.0  # seconds of compilation before the first word of it, and between words
SILENCE = 8.0  # seconds without a word, after which a plain display says where it still is


class Display:
    """Shows where a long job stands; use as a context manager."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.bar: Any = None
        self.task: Any = None
        self.began = time.monotonic()
        self.tenths = -1
        self.compiling = _Compiling(self.note)
        self.said, self.at, self.since = time.monotonic(), "", time.monotonic()
        self.ended = threading.Event()
        self.heart: threading.Thread | None = None
        if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):  # there no bar can be drawn
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=1,  # drawing takes a core from what is being measured
            )

    def __enter__(self) -> "Display":
        if self.bar:
            self.bar.start()
        else:
            self.heart = threading.Thread(target=self._beat, name="pcsim progress", daemon=True)
            self.heart.start()
        event.register("numba:compile", self.compiling)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event.unregister("numba:compile", self.compiling)
        if self.bar:
            self.bar.stop()
        if self.heart:
            self.ended.set()
            self.heart.join()

    def note(self, text: str) -> None:
        """A line of its own."""
        self._show(text, 0, None)

    def cell(self, progress: Any) -> None:
        """A sweep has come to a cell."""
        done, total = progress.number - 1, progress.total
        if not done:
            self.began = time.monotonic()  # what came before, compilation above all, says nothing about the cells
        state = " (already measured)" if progress.skipped else ""
        self._show(f"{progress.name}{state}", done, total, getattr(progress, "share", None))

    def share(self, text: str, done: int, total: int) -> None:
        """``done`` of ``total``; without a bar a line for each tenth, and none in the first second."""
        tenth = 10 * done // max(1, total)
        if not done:
            self.began, self.tenths = time.monotonic(), -1
        if self.bar:
            self._show(text, done, total)
        elif tenth > self.tenths and time.monotonic() - self.began > 1:
            self.tenths = tenth
            left = (time.monotonic() - self.began) / done * (total - done) if 50 * done >= total else 0.0
            reached = f"{text}: {done} of {total}"
            self.note(reached + (f", {left:.0f} s left" if left >= 1 else ""))
            self.at = reached

    def run(self, number: int, total: int, plan: Any, updates: int, skipped: bool) -> None:
        """A new training run begins."""
        self.prefix = f"run {number} of {total}: {plan.label}, depth {len(plan.sizes) - 1}"
        self.updates, self.began, self.tenths = updates, time.monotonic(), -1
        self._show(self.prefix + (" (already trained)" if skipped else ""), 0, updates)

    def progress(self, now: Any) -> None:
        """How far a training is, in tenths where there is no bar."""
        tenth = 10 * now.updates // now.total
        if self.bar or tenth <= self.tenths or time.monotonic() - self.began < 1:
            return
        self.tenths, left = tenth, now.seconds_left or 0.0
        self.at = f"{self.prefix}: {now.updates} of {now.total} updates"
        self.note(self.at + (f", {left:.0f} s left" if left >= 1 else ""))

    def record(self, run: Any) -> None:
        """A training run has written down its loss."""
        if self.bar:
            self._show(f"{self.prefix}, loss {run.loss[-1]:.4g}", run.updates, self.updates)
        if run.diverged is not None:
            self._show(f"{self.prefix}: diverged at update {run.diverged}", run.updates, self.updates)

    def _show(self, text: str, done: int, total: int | None, behind: float | None = None) -> None:
        """``behind``: the share of the work that is, where that is not ``done`` of ``total``."""
        if behind is None:
            behind = done / total if total else 0.0
        if self.bar:
            if self.task is None:
                self.task = self.bar.add_task(text, total=total)
            self.bar.update(self.task, description=text, completed=behind * (total or 0), total=total)
            return
        share = ""
        if total and self.verb in ("bench", "validate"):
            spent = time.monotonic() - self.began
            left = f", {spent / behind * (1 - behind):.0f} s left" if behind else ""
            share = f"[{done + 1}/{total}{left}] "
        self.at, self.since = text, time.monotonic()
        self._say(f"{share}{text}")

    def _say(self, text: str) -> None:
        self.said = time.monotonic()
        print(f"pcsim {self.verb}: {text}", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        """On a thread of its own, which sleeps while others speak."""
        while not self.ended.wait(max(0.1, self.said + SILENCE - time.monotonic())):
            now = time.monotonic()
            if now - self.said >= SILENCE:
                with suppress(OSError):  # nobody reads; the job itself will find out
                    self._say(f"still at {self.at or 'its beginning'}, {now - self.since:.0f} s")


class _Compiling(event.Listener):
    """Hears of each function that Numba compiles, on any thread, and says so where that takes more than a moment."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.functions, self.next, self.said = 0, 0.0, False

    def on_start(self, event: event.Event) -> None:
        """A function is about to be compiled, often amid another that calls it."""
        now = time.monotonic()
        if not self.functions:
            self.next = now + MOMENT
        self.functions += 1
        if now >= self.next:
            self.say(f"compiling: {self.functions} functions so far" if self.said else "compiling, once: some minutes")
            self.said, self.next = True, now + OFTEN

    def on_end(self, event: event.Event) -> None:
        """It has been compiled."""
