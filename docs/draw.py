"""Draws the pictures of these pages that no results file is behind: ``python docs/draw.py``.

Schedules that follow from the task graphs: counted, so that they are the same on every machine.
"""

from pathlib import Path

import pcsim
from pcsim.figures.schedules import schedule_figure
from pcsim.figures.waits import waits_figure

IMAGES = Path(__file__).parent / "images"

DEPTH, MMS = 4, 14

SCHEDULES = {
    "smm-bp": (pcsim.BP(), "Backprop, four layers: 7 products in a row for each weight update"),
    "smm-ipc": (pcsim.IPC(), "Incremental predictive coding, four layers: 2 products in a row"),
}

# The second: updates after which the picture begins, when all layers have work.
WAITS = {
    "waits-bp": (pcsim.BP(), 0, "Backprop: one chain up and down, in which one layer works at a time"),
    "waits-ipc": (pcsim.IPC(), 6, "iPC: a layer waits for its neighbours, and only for what they made a step before"),
    "waits-bp-async": (
        pcsim.AsyncBP(), 8, "Asynchronous BP: the same chain, but with a batch in each layer; errors come late"
    ),
    "waits-local": (pcsim.Local(), 6, "Local losses: nobody waits for a layer above"),
    "waits-dfa": (pcsim.DFA(), 6, "Direct feedback alignment: all layers wait for the output"),
    "waits-dual": (
        pcsim.DualProp(incremental=True), 3, "Dual propagation, incremental: neighbours take turns"
    ),
}  # fmt: skip


def draw(folder: Path) -> None:
    """Write every picture into a folder."""
    import matplotlib

    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "pcsim"}  # text as text, the same names every time
    for name, (algorithm, title) in SCHEDULES.items():
        graph = algorithm.tasks(DEPTH, 12)
        figure = schedule_figure(graph, workers=2 * DEPTH, until=MMS, lanes="layer", title=title)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    for name, (algorithm, after, title) in WAITS.items():
        figure = waits_figure(algorithm.tasks(DEPTH, 30), after, MMS, title=title)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw(IMAGES)
