"""How figures are to look: the flags of every verb that draws."""

import argparse
from typing import Any

from ..errors import InputError
from .words import positive_number


def add_look(parser: argparse.ArgumentParser) -> None:
    """The flags of every verb that draws."""
    parser.add_argument(
        "--style", choices=["paper", "talk"], help="of figures: small texts for print (default), or large for a slide"
    )
    parser.add_argument(
        "--width",
        type=positive_number,
        metavar="INCHES",
        help="of figures: a journal's columns are 3.4 and 7 (default 7; for a talk 12)",
    )
    parser.add_argument("--title", metavar="TEXT", help='of figures, in place of their own; "" for none')


def look_of(arguments: argparse.Namespace, *flags: str) -> Any:
    """How figures are to look. InputError where nothing is drawn because none of the flags that draw is given."""
    from ..figures.style import Look

    if flags and all(getattr(arguments, flag) is None for flag in flags):
        for name in ("style", "width", "title"):
            if getattr(arguments, name) is not None:
                raise InputError(f"--{name} is about figures: add {' or '.join(f'--{flag}' for flag in flags)}")
    return Look(arguments.style or "paper", arguments.width or 0.0)
