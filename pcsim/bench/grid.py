"""The grids of cells: the default one, and those of weak scaling."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from ..checks import whole_number
from ..errors import InputError
from .case import Case
from .contenders import OWN_BASELINES, OWN_ON_RANKS, RANK_BASELINES, check_baselines
from .data import check_data
from .peers import PEERS, available

# The paper's Fig. 6 with 32 to 1024 units and 2 to 32 layers, one data point; and its Fig. 2 nets, full batch.
DEPTHS = (2, 4, 8, 16, 32)

WIDTHS = (32, 64, 128, 256, 512, 1024)

FULL_BATCH, FULL_BATCH_WIDTH = 250, 64

SECONDS = 1.5  # measured per cell, over all processes

LAUNCHES = 8  # processes: starting one costs less than a hundredth of what it measures, so builds within are not needed

# A first look at both ends of small nets, in about 20 s on two cores: depths, widths, batches, seconds of a cell.
QUICK_DEPTHS, QUICK_WIDTHS, QUICK_BATCHES, QUICK_SECONDS = (4, 16), (64, 256), (1,), 0.5


def grid(
    depths: Sequence[int] | None,
    widths: Sequence[int] | None,
    batches: Sequence[int] | None,
    nets: Sequence[str] = (),
    steps_per_batch: Sequence[int] = (),
    starts: Sequence[str] = ("forward",),
    **common: object,
) -> list[Case]:
    """Cells of a sweep, small nets first. Without ``batches``: batch 1, and one row of full-batch cells of width 64.

    ``nets``: by their sizes, beside the ``depths`` and ``widths``, or in place of them where these are not given. Each
    of ``steps_per_batch`` has cells of its own, and so has each of ``starts``, where batches change.
    """
    for name, numbers in (("depths", depths), ("widths", widths), ("batches", batches)):
        for number in numbers or ():
            whole_number(f"--{name}", number)
    given = bool(depths or widths)
    depths, widths = sorted(set(depths or DEPTHS)), sorted(set(widths or WIDTHS))
    cells = list(itertools.product(sorted(set(batches or (1,))), depths, widths))
    if batches is None and FULL_BATCH_WIDTH in widths:
        cells += [(FULL_BATCH, depth, FULL_BATCH_WIDTH) for depth in depths]
    found = [Case(depth, width, batch, **common) for batch, depth, width in cells]  # type: ignore[arg-type]
    if nets:
        sizes = [Case.of_net(name, batch, **common) for batch in sorted(set(batches or (1,))) for name in nets]
        found = [*(found if given else []), *sizes]
    found = list(dict.fromkeys(found))
    for case in found:
        check_data(case.data, case.sizes)
    if steps_per_batch:
        changes = [(T, start) for T in sorted(set(steps_per_batch)) for start in dict.fromkeys(starts)]
        return [replace(case, steps_per_batch=T, start=start) for T, start in changes for case in found]
    if any(start != "forward" for start in starts):
        raise InputError("--start is about batches that change: add --steps-per-batch")
    return found


def weak_grid(cases: Sequence[Case], counts: Sequence[int]) -> dict[Case, list[int]]:
    """Weak scaling: every net grows with the ranks, so that each has as many layers as the net of ``cases`` has; for
    each cell the numbers of ranks that it is for."""
    grown: dict[Case, list[int]] = {}
    for case in cases:
        for count in counts:
            grown.setdefault(replace(case, depth=case.depth * count), []).append(count)
    return grown


def resolve_baselines(names: Sequence[str], backend: str = "threads") -> list[str]:
    """The baselines that ``names`` stand for: "own" for all of pcsim's, "all" for these and the peers installed."""
    if backend == "mpi":
        spelt = dict.fromkeys(name for word in names for name in (OWN_ON_RANKS if word in ("own", "all") else (word,)))
        check_baselines(list(spelt), RANK_BASELINES)
        return list(spelt)
    lists = {"own": OWN_BASELINES, "all": (*OWN_BASELINES, *filter(available, PEERS))}
    found = dict.fromkeys(name for word in names for name in lists.get(word, (word,)))
    check_baselines(list(found))
    return list(found)
