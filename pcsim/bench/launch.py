"""Cells measured in fresh processes: memory laid out anew, nothing warm (TRUST, point 10).

A process gets requests as lines of JSON on standard input, each of a cell, and answers each with a line of rows.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..results.fields import Row
from .case import Case
from .ceilings import Ceiling, Ceilings
from .contenders import Contender, Group
from .measure import FEW_ROUNDS, Known, fastest, measure_cell, warm_up
from .peers import PYTHONS
from .wire import case_from_json, case_to_json, contender_from_json, contender_to_json

# OpenBLAS's threads spin for 2**28 clock cycles after a product, during which nobody else can be timed. 2**20 (0.4 ms)
# bridge the gaps between two products, too: medians of NumPy and BLAS stayed the same, and a cell takes half the time.
QUICK_TO_SLEEP = {"OPENBLAS_THREAD_TIMEOUT": "20"}

# Of a cache that cannot be used, this process has spoken already.
SAID = "ignore::UserWarning:pcsim.kernels.machine.cache"


class Launch:
    """The process number ``launch`` of a run, which measures cells until it is closed."""

    def __init__(self, launch: int, dtype: str, seed: str = "") -> None:
        self.launch, self.seed = launch, seed or str(launch)
        command = [sys.executable, "-P", "-W", SAID, "-c", f"from pcsim.bench.launch import serve; serve({dtype!r})"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        # The same pcsim, also in a source tree that nobody has installed.
        folders = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
        environment = {**QUICK_TO_SLEEP, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
        # A group of its own: Ctrl-C is this process's to act on.
        self.process = subprocess.Popen(command, process_group=0, env=environment, **pipes)

    def measure(
        self, case: Case, groups: Sequence[Group], budget: float, pin: bool, ceilings: Ceilings, known: Known | None
    ) -> list[Row]:
        """The rows of a cell; InputError where it cannot be measured, ChildProcessError where the process fails."""
        request = {
            "case": case_to_json(case),
            "groups": [_to_json(group) for group in groups],
            "budget": budget,
            "pin": pin,
            "ceilings": ceilings.to_json(),
            "known": None if known is None else vars(known),
            "seed": self.seed,
            "pythons": PYTHONS,
        }
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            answer = ""
        else:
            answer = self.process.stdout.readline()
        if not answer:
            raise ChildProcessError(f"the process that measured {case} ended with exit code {self.process.wait()}")
        found = json.loads(answer)
        if isinstance(found, str):
            raise InputError(found)
        return [{**row, "launch": self.launch} for row in found]

    def close(self) -> None:
        """It has nothing left to do, and after Ctrl-C it must not outlive this process."""
        self.process.kill()
        self.process.communicate()


def serve(dtype: str) -> None:
    """What the process does."""
    compile_seconds = warm_up(dtype)
    for line in sys.stdin:
        request = json.loads(line)
        case, known = case_from_json(request["case"]), request["known"]
        PYTHONS.update(request["pythons"])
        found: list[Row] | str
        try:
            found = measure_cell(
                case,
                settled(case, [_from_json(group) for group in request["groups"]], request["pin"]),
                budget=request["budget"],
                pin=request["pin"],
                ceilings=Ceilings([Ceiling(**c) for c in request["ceilings"]]),
                compile_seconds=compile_seconds,
                known=None if known is None else Known(**known),
                rounds=FEW_ROUNDS,
                seed=request["seed"],
            )
        except InputError as failure:  # memory, for example, that was there when the sweep began
            found = str(failure)
        print(json.dumps(found), flush=True)


def settled(case: Case, groups: Sequence[Group], pin: bool) -> list[Contender]:
    """Who runs in a cell: of each group that offers a choice the fastest, which is found by timing."""
    found: list[Contender] = []
    for group in groups:
        alternatives = list(group)
        found += group[alternatives[0] if len(group) == 1 else fastest(case, alternatives, pin)]
    return found


def _to_json(group: Group) -> list[Any]:
    return [
        [contender_to_json(choice), [contender_to_json(one) for one in brought]] for choice, brought in group.items()
    ]


def _from_json(held: list[Any]) -> Group:
    return {contender_from_json(choice): [contender_from_json(one) for one in brought] for choice, brought in held}
