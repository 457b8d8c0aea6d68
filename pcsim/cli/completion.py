"""Completion of words in a shell, which shtab (an extra) makes from the parsers."""

import argparse
import sys
from typing import Any

from ..errors import InputError
from .words import BAD_INPUT, actions, say

SHELLS = ("bash", "zsh")

PATHS = ("FILE", "FOLDER", "PATH", ".json", "MACHINE")  # in a metavar: a path is wanted


class PrintCompletion(argparse.Action):
    """Print the script for a shell, and end."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, shell: Any, *_: Any) -> None:
        try:
            parser._print_message(script(parser, shell) + "\n", sys.stdout)
        except InputError as error:
            say(f"pcsim: {error}")
            parser.exit(BAD_INPUT)
        parser.exit()


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--print-completion`` to the command line."""
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=PrintCompletion,
        metavar="SHELL",
        help="print what completes verbs, flags and file names in bash or zsh (needs pip install 'pcsim[completion]'), "
        'for bash: eval "$(pcsim --print-completion bash)" in ~/.bashrc; for zsh: pcsim --print-completion zsh > '
        "a file _pcsim in a folder of $fpath",
    )


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell; InputError where shtab is not installed."""
    try:
        import shtab
    except ImportError:
        raise InputError("--print-completion needs shtab, which is not installed here: pip install shtab") from None
    for action in actions(parser):
        if any(word in str(action.metavar) for word in PATHS):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))
