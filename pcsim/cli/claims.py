"""The verb ``claims``."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..streams import check_streams, target, write_whole
from .words import CHECK_FAILED, INTERRUPTED, file_name, say


def add_verb(verbs: Any) -> None:
    """Add it to the command line."""
    claims = verbs.add_parser("claims", help="published claims: run their experiments, and say which hold here")
    what = claims.add_subparsers(dest="what", metavar="list, run or report", required=True)
    listed = what.add_parser("list", help="all claims, and where they stand")
    listed.set_defaults(run=_list)
    run = what.add_parser("run", help="run experiments (default: all), each finding a file in a folder")
    run.add_argument("ids", nargs="*", metavar="ID", help="claims, as list names them")
    run.add_argument("--quick", action="store_true", help="a first look: shallower nets, fewer trials and seeds")
    run.add_argument("--out", type=file_name, required=True, metavar="FOLDER", help="carried on where it stopped")
    run.set_defaults(run=_run)
    report = what.add_parser("report", help="what a folder of findings says")
    report.add_argument("folder", type=file_name, metavar="FOLDER")
    report.add_argument("--html", type=file_name, metavar="FILE.html", help="write one page in place of Markdown")
    report.set_defaults(run=_report)


def _list(arguments: argparse.Namespace) -> int:
    from ..claims import folder

    print(folder.listing())
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from ..claims import folder
    from .display import Display

    check_streams([])
    wanted, place = folder.find(arguments.ids), Path(arguments.out)
    if place.exists() and not place.is_dir():
        raise InputError(f"{place}: is there and no folder: give another name")
    place.mkdir(parents=True, exist_ok=True)
    try:
        with Display("claims") as display:
            left = folder.run(
                wanted,
                place,
                arguments.quick,
                lambda claim, known: display.note(f"{claim.id}{' (known already)' if known else ''}"),
                display.share,
            )
    except KeyboardInterrupt:
        say(f"pcsim claims: interrupted; findings are kept in {place}; run it again to go on")
        return INTERRUPTED
    held = {claim.id: found for claim, found in folder.findings(place)}
    for claim in wanted:
        found = held[claim.id]
        if found:
            print(f"{claim.id}: {found['verdict']}. {found['sentence']}.")
    for claim in left:
        say(f"pcsim claims: {claim.id} was not run: its data are not on this machine (see the line above)")
    print(f"\nfindings: {target(arguments.out)}")
    return CHECK_FAILED if left else 0


def _report(arguments: argparse.Namespace) -> int:
    from ..claims import folder

    place = Path(arguments.folder)
    if arguments.html:
        write_whole(folder.page(place), Path(arguments.html))
        print(f"page: {target(arguments.html)}")
    else:
        print(folder.markdown(place), end="")
    return 0
