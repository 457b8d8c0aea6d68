"""Progress: a bar on a terminal, coloured unless NO_COLOR is set; elsewhere lines, and never a long silence."""

import os
import pty
import re
import subprocess
import sys
import threading
import time
from argparse import Namespace

import pytest

from pcsim.cli import display as displays

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")
SHOWN = """
import time
from argparse import Namespace
from pcsim.cli.display import Display
with Display("bench") as display:
    for number in (1, 2, 3):
        display.cell(Namespace(number=number, total=3, name="depth 4", skipped=False))
        time.sleep(0.15)
"""


def on_a_terminal(**environment):
    """What a bar writes to a terminal."""
    mine, theirs = pty.openpty()
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")}
    process = subprocess.Popen(
        [sys.executable, "-c", SHOWN], stderr=theirs, env=known | {"TERM": "xterm-256color"} | environment
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(mine, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(mine)
    assert process.wait(timeout=60) == 0
    return written.decode()


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["plain", "empty", "set", "dumb"],
)
def test_colours_of_the_bar(environment, coloured):
    shown = on_a_terminal(**environment)
    assert "depth 4" in shown
    assert bool(COLOUR.search(shown)) == coloured


@pytest.mark.parametrize(("silence", "heard"), [(0.2, True), (60.0, False)])
def test_a_long_cell_is_not_silent(monkeypatch, capsys, silence, heard):
    monkeypatch.setattr(displays, "SILENCE", silence)
    with displays.Display("bench") as display:
        display.cell(Namespace(number=3, total=9, name="depth 4", skipped=False))
        end = time.monotonic() + (30 if heard else 1)
        said = ""
        while time.monotonic() < end and said.count("still") < 2:
            time.sleep(0.05)
            said += capsys.readouterr().err
    assert bool(re.search(r"pcsim bench: still at depth 4, \d+ s\n", said)) == heard
    assert "pcsim progress" not in {thread.name for thread in threading.enumerate()}
