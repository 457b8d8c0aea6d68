"""Seconds per weight update of ways of learning that run all layers at once, at a batch of one, interleaved.

    python benchmarks/rivals.py                         # 6 × 48, 24 × 200 and 32 × 1024 hidden units, 10 classes
    python benchmarks/rivals.py --nets 24x200 --rounds 15

A new sample for every update, but for iPC and incremental dual propagation, which stay on one (``--steps 8``: they have
a new one every 8 updates). Plain gradient descent, float32, pinned workers; medians over rounds, in one process: a
comparison, not a result to quote.
"""

import argparse
from collections.abc import Callable

import numpy as np

import pcsim
from pcsim.engines.threads import ThreadsEngine
from pcsim.host.topology import physical_cores
from pcsim.tables import layout, scaled

SECONDS, LEAST = 0.05, 96  # of a sample; updates, as a run begins with a wave in which fewer workers are busy
CLASSES = 10


def contenders(steps: int | None) -> dict[str, tuple[pcsim.Algorithm, dict]]:
    """By name: the algorithm, and what else its engine is given."""
    sweep = pcsim.DualProp(1e-6, incremental=True)
    return {
        "iPC": (pcsim.IPC(1e-6, 0.1), {"steps_per_batch": steps}),
        "asynchronous BP": (pcsim.AsyncBP(1e-6), {"execution": "pipeline-async"}),
        "local losses": (pcsim.Local(1e-6), {}),
        "DFA": (pcsim.DFA(1e-6), {}),
        "dual propagation": (sweep, {"steps_per_batch": steps}),
    }


def rows(seed: int, changing: bool) -> Callable[[], np.ndarray]:
    rng = np.random.default_rng(seed)
    return (lambda: rng.integers(0, 256, 1)) if changing else lambda: np.array([0])


def measure(depth: int, width: int, workers: list[int], rounds: int, steps: int | None) -> dict[tuple[str, int], float]:
    """Median seconds per update of each contender on each number of workers."""
    net = pcsim.Network.mlp([width] * depth + [CLASSES], seed=0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, width)).astype(np.float32)
    y = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, 256)]
    engines, seconds = {}, {}
    for name, (algorithm, options) in contenders(steps).items():
        for count in workers:
            batches = rows(count, "steps_per_batch" not in options or steps is not None)
            engine = ThreadsEngine(net, algorithm, x, y, batches, workers=count, pin=True, **options)
            engine.run(16)  # compiles, and fills a pipeline
            engines[name, count], seconds[name, count] = engine, [engine.run(16)[0] / 16]
    for _ in range(rounds):
        for key, engine in engines.items():
            updates = max(LEAST, int(SECONDS / min(seconds[key])) // 16 * 16)
            seconds[key].append(engine.run(updates)[0] / updates)
    return {key: float(np.median(found[1:])) for key, found in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--nets", nargs="+", default=["6x48", "24x200", "32x1024"], metavar="DEPTHxWIDTH")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, help="updates of iPC and dual propagation on a sample (default: all)")
    arguments = parser.parse_args()
    workers = sorted({1, min(2, physical_cores())})
    body = []
    for net in arguments.nets:
        depth, width = map(int, net.split("x"))
        found = measure(depth, width, workers, arguments.rounds, arguments.steps)
        for name in contenders(arguments.steps):
            times = [found[name, count] for count in workers]
            ratios = [times[0] / times[-1], times[-1] / found["iPC", workers[-1]]]
            body.append([f"{depth} × {width}", name, *map(scaled, times), *(f"{ratio:.2f}" for ratio in ratios)])
    header = ["net", "", *(f"{count} worker{'s' * (count > 1)}" for count in workers)]
    print(layout([*header, f"1 ÷ {workers[-1]}", f"÷ iPC on {workers[-1]}"], body, "markdown"))


if __name__ == "__main__":
    main()
