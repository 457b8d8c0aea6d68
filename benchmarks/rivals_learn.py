"""What ways of learning that run all layers at once learn: accuracy on FashionMNIST, and after how many samples.

    python benchmarks/rivals_learn.py --data FOLDER --out FILE.json [--study samples|epochs]
    python benchmarks/rivals_learn.py --out FILE.json --tables

FOLDER holds the four files of the data set, 60,000 and 10,000 images (Debian: ``dataset-fashion-mnist``). The last
5,000 training images are held out. Two studies of the net 784-128-128-128-128-128-10 (tanh, float32, squared error):

- ``samples``: a batch of one, at most 20,000 samples. How many it takes until 70 and 80 % of the images held out (the
  first 2,000 of them, looked at every 250 samples) are told. Five rates a learner, five seeds.
- ``epochs``: 20 epochs at batches of 64. Accuracy on the test images. Three rates a learner, three seeds.

Of a learner's rates the one counts that is best on the images held out. Runs that are in FILE are not made again.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pcsim
from pcsim import BP, DFA, IPC, AsyncBP, DualProp, Local
from pcsim.engines import make_engine
from pcsim.host.context import capture
from pcsim.streams import write_whole
from pcsim.tables import layout
from pcsim.training.data import load

SIZES = [784, 128, 128, 128, 128, 128, 10]
HELD_OUT, LOOKED_AT, MOST, EVERY, GOALS = 5000, 2000, 20_000, 250, (0.7, 0.8)
EPOCHS, BATCH = 20, 64

Array = np.ndarray

# Name, algorithm at a rate, updates on a batch (None: one), rates at a batch of one and of 64.
LEARNERS: tuple[tuple[str, Callable[[float], pcsim.Algorithm], int | None, tuple, tuple], ...] = (
    ("BP", lambda a: BP(a, "adam"), None, (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), (1e-4, 3e-4, 1e-3)),
    ("asynchronous BP", lambda a: AsyncBP(a, "adam"), None, (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), (1e-4, 3e-4, 1e-3)),
    ("local losses", lambda a: Local(a, "adam"), None, (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), (1e-4, 3e-4, 1e-3)),
    (
        "local losses, heads with cross-entropy",
        lambda a: Local(a, "adam", head="cross-entropy"), None, (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), (1e-4, 3e-4, 1e-3),
    ),
    ("DFA", lambda a: DFA(a, "adam"), None, (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), (1e-4, 3e-4, 1e-3)),
    (
        "dual propagation, 4 sweeps",
        lambda a: DualProp(a, "adam", sweeps=4), None, (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), (1e-4, 3e-4, 1e-3),
    ),
    (
        "iPC, 9 steps on a batch, gamma 0.43, precision 721",
        lambda a: IPC(a, 0.43, "adam", 721.0), 9, (1e-5, 3e-5, 1e-4, 3e-4, 1e-3), (),
    ),
)  # fmt: skip


def accuracy(net: pcsim.Network, x: Array, labels: Array) -> float:
    """The share of the samples whose largest output is the right one."""
    with np.errstate(all="ignore"):
        return float(np.mean(net.forward(x)[-1].argmax(1) == labels))


def engine_of(algorithm: pcsim.Algorithm, steps: int | None, batch: int, seed: int, x: Array, y: Array) -> Any:
    """A net in training on one thread, on batches in an order that is shuffled anew in every epoch."""
    rng = np.random.default_rng(seed)
    order = itertools.chain.from_iterable(
        rng.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch) for _ in itertools.count()
    )
    net = pcsim.Network.mlp(SIZES, "tanh", seed=seed)
    return make_engine("threads", net, algorithm, x, y, lambda: next(order), steps_per_batch=steps)


def run_samples(algorithm: pcsim.Algorithm, steps: int | None, seed: int, data: dict[str, Array]) -> dict[str, Any]:
    """Accuracy on images held out by the number of samples, until the last goal is reached."""
    engine, curve = engine_of(algorithm, steps, 1, seed, data["x"], data["y"]), []
    for samples in range(EVERY, MOST + 1, EVERY):
        engine.run(EVERY * (steps or 1))
        curve.append([samples, accuracy(engine.network, data["held_x"][:LOOKED_AT], data["held_labels"][:LOOKED_AT])])
        if curve[-1][1] >= GOALS[-1]:
            break
    return {"curve": curve}


def run_epochs(algorithm: pcsim.Algorithm, steps: int | None, seed: int, data: dict[str, Array]) -> dict[str, Any]:
    """Accuracy after all epochs on images held out, and on test images."""
    engine = engine_of(algorithm, steps, BATCH, seed, data["x"], data["y"])
    engine.run(EPOCHS * (len(data["x"]) // BATCH) * (steps or 1))
    net = engine.network
    return {
        "held_out": accuracy(net, data["held_x"], data["held_labels"]),
        "test": accuracy(net, data["test_x"], data["test_labels"]),
    }


def data_of(folder: str) -> dict[str, Array]:
    """The images, without those held out; these; and test images."""
    train, test = load(folder, split="train"), load(folder, split="test")
    return {
        "x": train.x[:-HELD_OUT], "y": train.y[:-HELD_OUT], "held_x": train.x[-HELD_OUT:],
        "held_labels": train.labels[-HELD_OUT:], "test_x": test.x, "test_labels": test.labels,
    }  # fmt: skip


def wanted(study: str) -> list[tuple[str, float, int]]:
    """Learner, rate and seed of each run."""
    seeds = range(5 if study == "samples" else 3)
    return [
        (name, rate, seed)
        for seed in seeds
        for name, _, _, *rates in LEARNERS
        for rate in rates[study == "epochs"]
    ]  # fmt: skip


def best(rows: list[dict[str, Any]], study: str, name: str) -> list[dict[str, Any]]:
    """The runs of a learner at the rate that is best on the images held out; none where there is no run."""
    by_rate: dict[float, list[dict[str, Any]]] = {}
    for row in rows:
        if (row["study"], row["learner"]) == (study, name):
            by_rate.setdefault(row["rate"], []).append(row)

    def score(runs: list[dict[str, Any]]) -> float:
        if study == "epochs":
            return -float(np.mean([row["held_out"] for row in runs]))
        return float(np.mean([samples_to(row, GOALS[-1]) or 2 * MOST for row in runs]))

    return min(by_rate.values(), key=score, default=[])


def samples_to(row: dict[str, Any], goal: float) -> int | None:
    """Samples until so many of the images held out were told; None if it never came to that."""
    return next((samples for samples, share in row["curve"] if share >= goal), None)


def tables(rows: list[dict[str, Any]]) -> str:
    """Both studies as Markdown."""
    body = []
    for name, *_ in LEARNERS:
        runs = best(rows, "samples", name)
        cells = []
        for goal in GOALS:
            found = [samples_to(row, goal) for row in runs]
            there = sorted(each for each in found if each)
            text = f"{there[len(there) // 2]:,} ({there[0]:,}–{there[-1]:,})" if there else "–"
            cells.append(text if len(there) == len(found) else f"{text}, {len(there)} of {len(found)}")
        if runs:
            body.append([name, f"{runs[0]['rate']:g}", *cells])
    first = layout(["learner", "rate", *(f"samples to {goal:.0%}" for goal in GOALS)], body, "markdown")
    body = []
    for name, *_ in LEARNERS:
        runs = best(rows, "epochs", name)
        if runs:
            test = [100 * row["test"] for row in runs]
            body.append([name, f"{runs[0]['rate']:g}", f"{np.mean(test):.1f}", f"{min(test):.1f}–{max(test):.1f}"])
    return f"{first}\n\n{layout(['learner', 'rate', 'test accuracy, %', 'of the seeds'], body, 'markdown')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--data", metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--study", choices=["samples", "epochs"], nargs="+", default=["samples", "epochs"])
    parser.add_argument("--tables", action="store_true", help="print the tables of FILE")
    arguments = parser.parse_args()
    known = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"context": capture(), "rows": []}
    rows = known["rows"]
    data = None if arguments.tables else data_of(arguments.data)
    made = {name: (algorithm, steps) for name, algorithm, steps, *_ in LEARNERS}
    for study in [] if data is None else arguments.study:
        for name, rate, seed in wanted(study):
            if any((r["study"], r["learner"], r["rate"], r["seed"]) == (study, name, rate, seed) for r in rows):
                continue
            algorithm, steps = made[name]
            begin = time.perf_counter()
            run = (run_samples if study == "samples" else run_epochs)(algorithm(rate), steps, seed, data)
            rows.append({"study": study, "learner": name, "rate": rate, "seed": seed, **run})
            write_whole(json.dumps(known), arguments.out)
            print(f"{study}, {name}, rate {rate:g}, seed {seed}: {time.perf_counter() - begin:.1f} s", flush=True)
    print(tables(rows))


if __name__ == "__main__":
    main()
