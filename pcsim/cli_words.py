"""What all verbs have in common: exit codes, how words become numbers, errors of one line, and who may speak.

Nothing slow is imported here, and no verb is known.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from . import mpi
from .errors import InputError

CHECK_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Errors are one line: what, and where to read on."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if _speaks():  # help, version and errors
            super()._print_message(message, file)


def _speaks() -> bool:
    """Whether this process may print and write: under an MPI launcher rank 0 alone."""
    place = mpi.launched()
    return place is None or place[0] == 0


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _workers(text: str) -> int | str:
    return text if text == "auto" else _count(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no finite number above 0")
    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(text: str, path: str) -> None:
    if path == "-":
        print(text)
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _with_crew(verb: str, work: Callable[[Any], int]) -> int:
    """Run ``work(crew)`` on rank 0 while the other ranks do what it orders; the exit code of all."""
    from .crew import sign_on

    crew = sign_on(sys.argv[1:])
    if crew.rank > 0:
        with mpi.patient(lambda: _say(f"pcsim {verb}: rank {crew.rank}: interrupted by a signal")):
            return crew.serve()
    code = BAD_INPUT
    try:
        code = work(crew)
    except InputError:
        crew.end(code)
        raise
    crew.end(code)
    return code
