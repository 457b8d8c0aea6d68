"""A cell measured in a fresh process: memory laid out anew, nothing warm (TRUST, point 10).

The process gets what to measure as JSON on standard input and gives its rows as JSON on standard output.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from ..results.fields import Row
from .case import Case
from .ceilings import Ceiling, Ceilings
from .contenders import Contender
from .measure import measure_cell, warm_up
from .wire import case_from_json, case_to_json, contender_from_json, contender_to_json


def measure_afresh(
    case: Case, contenders: Sequence[Contender], budget: float, pin: bool, ceilings: Ceilings | None, launch: int
) -> list[Row]:
    """The rows of a cell, measured in process number ``launch``. ChildProcessError where that process fails."""
    request = {
        "case": case_to_json(case),
        "contenders": [contender_to_json(contender) for contender in contenders],
        "budget": budget,
        "pin": pin,
        "ceilings": None if ceilings is None else ceilings.to_json(),
    }
    command = [sys.executable, "-P", "-c", "from pcsim.bench.launch import serve; serve()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # A group of its own: Ctrl-C is this process's to act on.
    with subprocess.Popen(command, process_group=0, **pipes) as process:  # type: ignore[call-overload]
        try:
            answer, _ = process.communicate(json.dumps(request))
        except BaseException:  # Ctrl-C above all: the process must not outlive this one
            process.kill()
            raise
    if process.returncode != 0:
        raise ChildProcessError(f"the process that measured {case} ended with exit code {process.returncode}")
    return [{**row, "launch": launch} for row in json.loads(answer)]


def serve() -> None:
    """What the process does."""
    request = json.load(sys.stdin)
    case, known = case_from_json(request["case"]), request["ceilings"]
    rows = measure_cell(
        case,
        [contender_from_json(fields) for fields in request["contenders"]],
        budget=request["budget"],
        pin=request["pin"],
        ceilings=None if known is None else Ceilings([Ceiling(**c) for c in known]),
        compile_seconds=warm_up(case.dtype),
    )
    print(json.dumps(rows))
