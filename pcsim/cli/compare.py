"""The verb ``compare``."""

import argparse
import math
from typing import Any

from ..errors import InputError
from ..streams import check_streams
from .words import CHECK_FAILED, add_judgement, file_name, positive_number, say

LEFT = "only in OLD, only in NEW or failed in one of them"


def add_verb(verbs: Any) -> None:
    """Add it to the command line."""
    compare = verbs.add_parser(
        "compare",
        help="what changed from one results file to another, cell by cell",
        description="The change of every contender (algorithm, execution, workers) of every cell from one results "
        "file to another: its ratio NEW ÷ OLD of medians with an interval and a verdict, from the processes of both "
        "(bench --launches); and the ratio iPC ÷ BP of every cell in both. Of several rows of one contender in a file "
        "the last one counts.",
    )
    compare.add_argument("old", type=file_name, metavar="OLD.jsonl", help="the results file that was there before")
    compare.add_argument("new", type=file_name, metavar="NEW.jsonl", help="the one that is held against it")
    add_judgement(compare)
    compare.add_argument(
        "--fail-above",
        type=positive_number,
        metavar="X",
        help="exit with 1 if a contender of a cell is slower than X, as in 1.05, beyond doubt: the lower end of its "
        "interval of NEW ÷ OLD is above X (a prediction, which has no interval: NEW ÷ OLD itself); or if it had a time "
        f"in OLD and failed in NEW. What else is {LEFT}, and ratios of iPC to BP, do not count",
    )
    compare.add_argument(
        "--across-machines", action="store_true", help="compare files of different machines all the same"
    )
    compare.add_argument(
        "--denominator", default="best-bp", metavar="NAME", help="of the ratios, as for report (default best-bp)"
    )
    compare.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    compare.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from ..report import changes as words
    from ..results.changes import changes, machine_differences, slower_than
    from ..results.files import read
    from ..results.ledger import ledger

    if arguments.fail_above is not None and arguments.fail_above < 1:
        raise InputError(f"--fail-above must be at least 1, as in 1.05 for 5 % slower, not {arguments.fail_above:g}")
    check_streams([arguments.old, arguments.new, *arguments.ledger])
    old, new = read(arguments.old), read(arguments.new)
    apart = machine_differences(old, new)
    if apart and not arguments.across_machines:
        raise InputError(
            f"{old.path} and {new.path} are of different machines: {', '.join(apart)}; "
            "add --across-machines if they are to be compared all the same"
        )
    hours = ledger([read(name) for name in arguments.ledger], new, arguments.denominator) if arguments.ledger else None
    found = changes(old, new, arguments.denominator, arguments.difference, hours)
    for warning in (*old.warnings, *new.warnings):
        say(f"pcsim compare: {warning}")
    print(words.report(old, new, found, arguments.difference, arguments.format, apart))
    slow = slower_than(found, arguments.fail_above or math.inf)
    if arguments.fail_above is None or not slow:
        return 0
    say(f"pcsim compare: {words.too_slow(slow, arguments.fail_above)}")
    return CHECK_FAILED
