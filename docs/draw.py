"""Draws the pictures of these pages that no results file is behind: ``python docs/draw.py``.

Schedules that follow from the task graphs: counted, so that they are the same on every machine.
"""

from pathlib import Path

import pcsim
from pcsim.figures.schedules import schedule_figure

IMAGES = Path(__file__).parent / "images"

DEPTH, MMS = 4, 14

SCHEDULES = {
    "smm-bp": (pcsim.BP(), "Backprop, four layers: 7 products in a row for each weight update"),
    "smm-ipc": (pcsim.IPC(), "Incremental predictive coding, four layers: 2 products in a row"),
}


def draw(folder: Path) -> None:
    """Write every picture into a folder."""
    import matplotlib

    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "pcsim"}  # text as text, the same names every time
    for name, (algorithm, title) in SCHEDULES.items():
        graph = algorithm.tasks(DEPTH, 12)
        figure = schedule_figure(graph, workers=2 * DEPTH, until=MMS, lanes="layer", title=title)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw(IMAGES)
