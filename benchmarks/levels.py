"""Which level of a measurement carries its variance: samples, the same engine again, another build, another process?

    python benchmarks/levels.py [--processes 6] [--builds 3] [--visits 2] [--rounds 5] [--seed 0]
                                [--pages small | huge] [--out FILE]
    python benchmarks/levels.py --show FILE

Nine nets of batch 1 (depths 2, 8, 32; widths 48, 192, 768), iPC and BP in five executions. Every process builds all
engines several times; every build is visited several times, nets in random order, contenders in turns. Standard output
gets the standard deviations of ln(seconds) that each level adds, in percent, estimated without bias from the nested
means (Kalibera and Jones 2013, section 9); a level whose estimate is below zero counts as 0. ``--pages small`` lays
arrays where the system has room, as pcsim did until 0.2.0. ``--out`` keeps the medians of all visits as JSON.
"""

import argparse
import itertools
import json
import subprocess
import sys

import numpy as np

DEPTHS, WIDTHS = (2, 8, 32), (48, 192, 768)
EXECUTIONS = (("ipc", "serial", 1), ("ipc", "layer-parallel", 2), ("bp", "serial", 1), ("bp", "intra-layer", 2),
              ("bp", "blas", 2))  # fmt: skip
LEVELS = ("process", "build", "visit")


def child(options):
    """Measure in this process; prints a list of (net, contender, build, visit, median, samples' spread)."""
    from pcsim.algorithms import BP, IPC
    from pcsim.bench import measure
    from pcsim.bench.build import build
    from pcsim.bench.case import Case
    from pcsim.bench.contenders import Contender
    from pcsim.bench.rows import Entry

    if options.pages == "small":
        from pcsim.kernels.machine.memory import aligned_empty

        from pcsim.engines import layout

        def apart(counts, dtype):
            arrays = [aligned_empty(count, dtype) for count in counts]
            for array in arrays[1:]:  # the weights are left to their owners
                array[:] = 0
            return arrays

        layout.side_by_side = apart
    random = np.random.default_rng(options.child)
    nets = list(itertools.product(DEPTHS, WIDTHS))
    algorithms = {"ipc": IPC(measure.ALPHA, measure.GAMMA), "bp": BP(measure.ALPHA)}
    updates, found = {}, []
    for number in range(options.builds):
        entries = {}
        for net in random.permutation(len(nets)).tolist():
            case = Case(*nets[net], 1)
            for name, execution, workers in EXECUTIONS:
                entry = Entry(Contender(algorithms[name], execution, workers))
                entry.engine = build(case, entry.contender, True)
                who = net, name, execution
                if who in updates:
                    entry.updates = updates[who]
                else:
                    measure._calibrate(case, entry)
                    updates[who] = entry.updates
                entries[who] = entry
        for visit in range(options.visits):
            for net in random.permutation(len(nets)).tolist():
                alive = [(who, entry) for who, entry in entries.items() if who[0] == net]
                for _ in range(options.rounds):
                    for _, entry in alive:
                        measure._sample(entry)
                for (_, name, execution), entry in alive:
                    logs = np.log(entry.seconds)
                    spread = float(np.subtract(*np.percentile(logs, [75, 25]))) / 1.349
                    found.append((net, f"{name} {execution}", number, visit, float(np.median(logs)), spread))
                    entry.seconds.clear()
    print(json.dumps(found))


def components(values):
    """Standard deviations that each level adds, from an array whose axes are the levels, outermost first."""
    found, means = [], values
    within = 0.0
    for axis in range(values.ndim - 1, -1, -1):
        spread = float(means.var(axis=axis, ddof=1).mean()) if means.shape[axis] > 1 else 0.0
        found.append(max(0.0, spread - within))
        within, means = spread / means.shape[axis], means.mean(axis=axis)
    return np.sqrt(found[::-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--builds", type=int, default=3)
    parser.add_argument("--visits", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pages", choices=("small", "huge"), default="huge")
    parser.add_argument("--out")
    parser.add_argument("--show", metavar="FILE", help="the table of a file that --out has written")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options)
        return
    if options.show:
        with open(options.show) as file:
            rows = json.load(file)["rows"]
        show(rows, [1 + max(row[place] for row in rows) for place in (0, 3, 4)])
        return
    rows = []
    for process in range(options.processes):
        command = [sys.executable, __file__, *sys.argv[1:], "--child", str(1000 * options.seed + process)]
        print(f"process {process + 1} of {options.processes}", file=sys.stderr, flush=True)
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        rows += [(process, *row) for row in json.loads(output)]
    if options.out:
        with open(options.out, "w") as file:
            json.dump({"command": sys.argv, "rows": rows}, file)
    show(rows, (options.processes, options.builds, options.visits))


def show(rows, shape):
    """The table: a line for each net and contender, and for the ratio iPC (2 workers) ÷ BP (intra-layer)."""
    nets = list(itertools.product(DEPTHS, WIDTHS))
    values, spreads = {}, {}
    for process, net, name, number, visit, median, spread in rows:
        values.setdefault((net, name), np.full(shape, np.nan))[process, number, visit] = median
        spreads.setdefault((net, name), []).append(spread)
    names = sorted({name for _, name in values})
    for net in range(len(nets)):
        values[net, "ratio to intra-layer"] = values[net, "ipc layer-parallel"] - values[net, "bp intra-layer"]
        values[net, "ratio to serial"] = values[net, "ipc layer-parallel"] - values[net, "bp serial"]
    print(f"{'net':>9} {'contender':22} {'µs':>9} " + " ".join(f"{level:>8}" for level in (*LEVELS, "sample")))
    names += ["ratio to intra-layer", "ratio to serial"]
    totals = {name: [] for name in names}
    for name in names:
        for net, (depth, width) in enumerate(nets):
            parts = 100 * components(values[net, name])
            totals[name].append(parts**2)
            middle = float(np.exp(np.median(values[net, name]))) * (1 if name.startswith("ratio") else 1e6)
            own = f"{100 * np.median(spreads[net, name]):8.1f}" if (net, name) in spreads else ""
            print(f"{depth:>3} x {width:>3} {name:22} {middle:9.2f} " + " ".join(f"{p:8.1f}" for p in parts), own)
    print("over all nets, root mean square")
    for name, parts in totals.items():
        print(f"{'':9} {name:22} {'':9} " + " ".join(f"{p:8.1f}" for p in np.sqrt(np.mean(parts, axis=0))))


if __name__ == "__main__":
    main()
