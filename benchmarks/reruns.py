"""How often do intervals hold what they promise? From results files of the same command on the same machine.

    python benchmarks/reruns.py FILE FILE FILE … [--slower PERCENT]

For each cell: the ratio iPC ÷ best BP (median, lowest, highest over the files), how often the interval of the ratio
holds the median of all, and how often the ratio of another file falls into the re-run interval of one; then how often
``compare`` calls two files different, in ratios and in times, and how often it finds iPC made slower by so much (its
times in one of the files are made longer). With seven files or more all is said once more with a ledger: of each two
files the others.
"""

import argparse
import itertools
import math
import statistics
from pathlib import Path

from pcsim.results.changes import FASTER, SLOWER, changes
from pcsim.results.files import Results, read
from pcsim.results.ledger import INVOCATIONS, ledger
from pcsim.results.pairs import cell_of, pairs


def share(found):
    found = list(found)
    return f"{100 * sum(found) / len(found):.0f} % of {len(found)}" if found else "-"


def inside(value, low, high):
    return low <= value <= high


def by_cell(results, known=None):
    return {cell_of(pair): pair for pair in pairs(results, spread=known and known.ratios)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--slower", type=float, default=10.0, metavar="PERCENT", help="default 10")
    options = parser.parse_args()
    files = [read(path) for path in options.files]
    found = [by_cell(one) for one in files]
    cells = [cell for cell in found[0] if all(cell in one for one in found)]
    # What the others say of the hours, for each two: they must not be among those that say how far hours lie apart.
    couples = list(itertools.combinations(range(len(files)), 2))
    ledgers = {
        couple: ledger([one for place, one in enumerate(files) if place not in couple], files[couple[0]])
        for couple in couples
        if len(files) - 2 >= INVOCATIONS
    }

    print(f"{len(files)} files")
    print("depth x width  median  lowest  highest  interval  holds the median   re-run falls in   with a ledger")
    held, fell, later, spreads, turned = [], [], [], [], 0
    for cell in cells:
        own = [one[cell] for one in found]
        ratios = [pair["ratio"] for pair in own]
        middle = statistics.median(ratios)
        here = [inside(middle, pair["mean_low"], pair["mean_high"]) for pair in own]
        there = [inside(other["ratio"], one["low"], one["high"]) for one, other in itertools.permutations(own, 2)]
        hours = []
        for (one, other), known in ledgers.items():
            for first, second in ((one, other), (other, one)):
                wide = by_cell(files[first], known)[cell]
                hours.append(inside(ratios[second], wide["low"], wide["high"]))
        width = statistics.median(math.sqrt(pair["mean_high"] / pair["mean_low"]) - 1 for pair in own)
        held, fell, later = held + here, fell + there, later + hours
        spreads.append(max(ratios) / min(ratios) - 1)
        turned += len({pair["verdict"] for pair in own if pair["verdict"].endswith("faster")}) > 1
        print(
            f"{cell.depth:>5} x {cell.width:<5} {middle:7.3f} {min(ratios):7.3f} {max(ratios):8.3f}"
            f"  ± {100 * width:4.1f} %  {share(here):>16} {share(there):>17} {share(hours):>15}"
        )
    print(f"all cells: holds the median {share(held)}; a re-run falls in {share(fell)}, with a ledger {share(later)}")
    print(f"highest ÷ lowest - 1 of the ratio, median over cells: {100 * statistics.median(spreads):.1f} %")
    print(f"cells that were called faster in one file and slower in another: {turned} of {len(cells)}")
    slower = [slowed(one, 1 + options.slower / 100) for one in files]
    for one, other in couples:
        alarms(files[one], files[other], ledgers.get((one, other)), "two files of the same")
        alarms(files[one], slower[other], ledgers.get((one, other)), f"iPC slower by {options.slower:g} %", "ipc")
    for words, called in CALLED.items():
        print(f"compare: {words} called different: {share(called)}")


CALLED: dict[str, list[bool]] = {}


def slowed(results, factor):
    """The same with longer times of iPC."""
    rows = [
        row | {"seconds": [factor * one for one in row["seconds"]], "median": factor * row["median"]}
        if row["algorithm"] == "ipc" and row["error"] is None
        else row
        for row in results.rows
    ]
    return Results(results.path, results.context, rows)


def alarms(old, new, known, words, name=None):
    """Note what compare calls different, without a ledger and with one; of times, those of one algorithm or of all."""
    for hours, one in (("", None), (", with a ledger", known)):
        if hours and not known:
            continue
        found = changes(old, new, ledger=one)
        times = [row for row in found.contenders if name in (None, row["algorithm"])]
        for kind, rows in (("ratios", found.ratios), ("times", times)):
            different = [row["verdict"] in (FASTER, SLOWER, "lower", "higher") for row in rows]
            CALLED.setdefault(f"{words}{hours}: {kind}", []).extend(different)


if __name__ == "__main__":
    main()
