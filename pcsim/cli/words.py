"""What all verbs have in common: exit codes, how words become numbers, errors of one line, and which process prints.

Nothing slow is imported here, and no verb is known.
"""

import argparse
import codecs
import contextlib
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from ..algorithms.predictive_coding import MOST_STEPS
from ..checks import is_number, is_whole
from ..errors import InputError
from ..host import mpi
from ..schedule.calendar import STARTS
from ..streams import check_place, is_packed, is_stream, packed, write_out

CHECK_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

TOGETHER = ("doctor", "calibrate")  # verbs that ranks do together without being told

PATIENCE = 300.0  # seconds that nobody needs to be warned of


READABLE = "pcsim-readable"  # how a character is written that an encoding lacks

_PLAIN = {
    "÷": "/", "×": "x", "·": "*", "−": "-", "–": "-", "µ": "u", "→": "->", "…": "...", "≤": "<=", "≥": ">=", "≈": "~",
    "‡": "#", "√": "sqrt ", "⌈": "ceil(", "⌉": ")", "²": "^2", "³": "^3", "½": "1/2", "α": "alpha", "γ": "gamma",
    "✓": "ok",
    "„": '"', "“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u202f": " ", "█": "#", "━": "-", "─": "-",
}  # fmt: skip


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in lacking).encode("ascii", "replace").decode(), error.end


codecs.register_error(READABLE, _readable)


class Distinct(argparse.Action):
    """A list in which what was given twice stands once."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, list(dict.fromkeys(values)))


class PerStep(argparse.Action):
    """A rate; of several numbers a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


class Parser(argparse.ArgumentParser):
    """Errors are one line: what is wrong, and where to read more. What a list has twice stands once, but for sizes."""

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        if options.get("nargs") == "+" and names != ("--sizes",):
            options.setdefault("action", Distinct)
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if speaks():  # help, version and errors
            super()._print_message(message, file)


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of the parser and of its verbs."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from actions(verb)


def named(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> frozenset[str]:
    """What of the arguments stands on a command line, which the parser has to understand; it cannot be used again."""
    for action in actions(parser):
        action.default = argparse.SUPPRESS
    return frozenset(vars(parser.parse_args(words)))


def speaks() -> bool:
    """Whether this process may print and write: of ranks the first alone."""
    place = mpi.launched() if _rank else None
    return place is None or place[0] == 0


_rank = False


def take_part(words: Sequence[str]) -> bool:
    """Whether a command line is for all ranks together; where it is not, a launched process is none, and does its work
    like any other."""
    global _rank
    verb = next((word for word in words if not word.startswith("-")), "")
    backend = [word for flag, word in pairwise([*words, ""]) if flag == "--backend"]
    backend += [word.removeprefix("--backend=") for word in words if word.startswith("--backend=")]
    _rank = mpi.launched() is not None and (backend[-1:] == ["mpi"] or (verb in TOGETHER and not mpi.alone()))
    return _rank


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    number = _read(int, text)
    if not is_whole(number):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number


def number_of_workers(text: str) -> int | str:
    """The same, or "auto"."""
    return text if text == "auto" else whole_number(text)


def positive_number(text: str) -> float:
    """A finite number above 0."""
    number = _read(float, text)
    if not is_number(number) or number <= 0:
        raise argparse.ArgumentTypeError(f"must be a finite number above 0, not {text!r}")
    return number


def add_judgement(parser: argparse.ArgumentParser) -> None:
    """What a verdict goes by: the difference that does not matter, and other hours of the machine."""
    add_ledger(parser)
    parser.add_argument(
        "--difference",
        type=positive_number,
        default=0.03,
        metavar="D",
        help="how large a difference does not matter: where the whole interval lies within 1/(1 + D) and 1 + D the "
        "verdict is 'no difference larger than D' (default 0.03)",
    )


def add_ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ledger",
        type=file_name,
        nargs="+",
        default=[],
        metavar="FILE.jsonl",
        help="results files of this machine, from at least five different hours, which say how far hours lie "
        "apart; without them intervals are for a re-run within the hour",
    )


def list_of_cores(text: str) -> list[int]:
    """Numbers of processors such as ``0-3,8``, in the order given."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not all(word.isdecimal() and len(word) < 7 for word in (first, *([last] if dash else []))):
            raise argparse.ArgumentTypeError(f"must be numbers such as 0-3,8, not {text!r}")
        found += range(int(first), int(last or first) + 1)
    if not found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"must name cores, each once, not {text!r}")
    return found


def add_cores(parser: argparse.ArgumentParser) -> None:
    """The flag of every verb that runs workers."""
    parser.add_argument(
        "--cores",
        dest="chosen_cores",
        type=list_of_cores,
        metavar="LIST",
        help="logical processors to use, as in 0-3,8: worker i runs on the i-th (default: all that this process may "
        "use, one of each physical core first, neighbours together, fast ones before slow ones)",
    )


def file_name(text: str) -> str:
    """Anything but nothing: an empty name is a variable that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file, and is empty")
    return text


def _read(kind: type, text: str) -> Any:
    """The number that a text stands for, or None."""
    try:
        return kind(text)
    except ValueError:
        return None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write(text: str, path: str) -> None:
    data = (text + "\n").encode()
    if is_stream(path):
        write_out(data)
        return
    try:
        with open(path, "wb") as file:
            file.write(packed(data) if is_packed(path) else data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def beside(*paths: str | None) -> contextlib.AbstractContextManager[Any]:
    """Within this block, what is printed for the reader goes to standard error where one of the files is standard
    output."""
    return contextlib.redirect_stdout(sys.stderr) if any(map(is_stream, paths)) else contextlib.nullcontext()


def net_name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must name the units of a net's layers, as in 784-64-64-10, and is empty")
    return text


NETS = "cnn-64-128-64, cnn-8-16-8, alexnet, vgg5, vgg7, residual-mlp-L-N; with an image, as in vgg5@32x32x3"


def add_nets(
    parser: argparse.ArgumentParser,
    text: str = f"nets by the units of their layers, as in 784-64-64-10, or by a name ({NETS}), in place of --depths "
    "and --widths or beside them",
) -> None:
    parser.add_argument(
        "--nets",
        type=net_name,
        nargs="+",
        default=[],
        metavar="NET",
        help=text,
    )


def number_of_steps(text: str) -> int:
    number = whole_number(text)
    if number > MOST_STEPS:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_STEPS:,}, not {number:,}")
    return number


def add_changing(parser: argparse.ArgumentParser) -> None:
    """How batches change, and with what values a new one begins."""
    parser.add_argument(
        "--steps-per-batch",
        type=number_of_steps,
        nargs="+",
        default=[],
        metavar="T",
        help="a new batch for every T updates of iPC, and for every update of BP, PC and Z-IL (default: one batch)",
    )
    parser.add_argument(
        "--start",
        choices=STARTS,
        nargs="+",
        default=["forward"],
        help="where a new batch's values come from: a forward pass (default), or one that runs layer by layer during "
        "the steps before, so that nobody waits for it",
    )


def in_a_line(error: BaseException) -> str:
    """What went wrong, for people."""
    if isinstance(error, MemoryError):
        return "not enough memory" + (f" ({error})" if str(error) else "")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    return " ".join(str(error).split())


def warn_of_time(verb: str, seconds: float) -> None:
    """Say so beforehand where a verb is likely to take more than some minutes."""
    if seconds > PATIENCE:
        unit, name = next((u, n) for u, n in ((86400, "days"), (3600, "hours"), (60, "minutes")) if seconds >= 2 * u)
        say(
            f"pcsim {verb}: this may take about {seconds / unit:,.0f} {name}; Ctrl-C ends it and keeps what is finished"
        )


def check_new(path: str | None, suffixes: tuple[str, ...] = ()) -> None:
    """InputError at once where a file could not be made later."""
    if path is None or is_stream(path):
        return
    target = Path(path)
    if target.exists():
        raise InputError(f"{path}: exists already; give another name")
    if suffixes and target.suffix.lower() not in suffixes:
        raise InputError(f"{path}: end the name in {' or '.join(suffixes)}")
    check_place(path)
