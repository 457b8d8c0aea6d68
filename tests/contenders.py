"""Contenders of a case for tests, with rates so small that a long run changes little."""

from pcsim import BP, IPC, PC, ZIL
from pcsim.bench import contenders as who

ALL = [IPC(1e-7), PC(1e-7, 0.5, 2), ZIL(1e-7), BP(1e-7)]


def contenders(case, workers=(1, 2), baselines=("serial", "numpy"), algorithms=ALL):
    """Who runs in a cell where the last alternative of each group is the fastest."""
    groups = who.candidates(case, algorithms, workers, baselines)
    return [one for group in groups for one in list(group.values())[-1]]
