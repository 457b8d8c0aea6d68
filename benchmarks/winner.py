"""A search for a layer-parallel learner that needs fewer products in a row than BP: races in which the net, the data
or the learner is changed as publications propose, BP having the same change.

    python benchmarks/winner.py FOLDER                          # all variants that FOLDER does not hold yet
    python benchmarks/winner.py FOLDER --variants skips centred
    python benchmarks/winner.py FOLDER --table                  # Markdown, of what FOLDER holds

Each is a race as ``pcsim race`` runs them (docs/how-to/race.md), on ``fashion-mlp`` at a depth of 6 with one pass over
the data; its file is FOLDER/VARIANT.jsonl, and is carried on where it was interrupted.
"""

import argparse
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from pcsim.algorithms import Algorithm
from pcsim.algorithms.rates import rising
from pcsim.engines import optimizers
from pcsim.host.context import capture
from pcsim.net.network import Network
from pcsim.race.contenders import Contender, contenders
from pcsim.race.problems import PROBLEMS, Problem, Rows
from pcsim.race.race import Plan
from pcsim.race.spaces import Range
from pcsim.results.fields import RACE
from pcsim.results.files import Writer
from pcsim.results.races import load_race
from pcsim.tables import layout

DEPTH, PASSES, TRIALS, SEEDS = 6, 1, 16, 5

ABOUT = {
    "plain": "as in `pcsim race`",
    "skips": "hidden layers add their input",
    "centred": "the mean training image is taken from every image",
    "orthogonal": "orthogonal weights at the start",
    "leaky-relu": "leaky ReLU in place of tanh",
    "value-momentum": "values with momentum (iPC and PC)",
    "rising-precision": "iPC: precision rises within a batch",
    "epsilon": "Adam's epsilon 1e-12 in place of 1e-8",
    "predsim": "local losses of similarities",
}


@dataclass(frozen=True)
class Changed(Problem):
    """A problem with one thing changed, for all who take part."""

    variant: str = "plain"

    @classmethod
    def of(cls, problem: Problem, variant: str) -> "Changed":
        """The same problem otherwise."""
        return cls(**{each.name: getattr(problem, each.name) for each in fields(problem)}, variant=variant)

    @cached_property
    def rows(self) -> Rows:
        """The data, centred where that is the change."""
        found = super().rows
        if self.variant != "centred":
            return found
        mean = found.x.mean(0)
        held, test = (part and (part[0] - mean, part[1]) for part in (found.validation, found.test))
        return replace(found, x=found.x - mean, validation=held, test=test)

    def net(self, seed: int) -> Network:
        """The net of a seed, with skips or orthogonal weights where that is the change."""
        net = super().net(seed)
        if self.variant == "skips":
            skip = [rows == columns for columns, rows in zip(self.sizes, self.sizes[1:], strict=False)]
            return Network(list(net.weights), self.activation, skip=skip, loss=net.loss)
        if self.variant == "orthogonal":
            return net.replace([orthogonal(w, seed + l) for l, w in enumerate(net.weights)], None)
        return net

    def told(self) -> dict[str, Any]:
        """What makes it this problem, for files."""
        return super().told() | {"variant": self.variant}


def orthogonal(weights: np.ndarray, seed: int) -> np.ndarray:
    """A matrix of that shape whose rows, or columns, are orthonormal (Saxe et al., arXiv:1312.6120)."""
    drawn = np.random.default_rng(seed).normal(size=(max(weights.shape), min(weights.shape)))
    q, r = np.linalg.qr(drawn)
    q *= np.sign(np.diag(r))
    return (q if weights.shape[0] >= weights.shape[1] else q.T).astype(weights.dtype)


class Rising(Contender):
    """iPC whose precision rises to that of its settings by the factor ``rise`` in the steps on a batch."""

    def made(self, settings: Mapping[str, Any]) -> Algorithm:
        """The algorithm with a precision for each step."""
        own = dict(settings)
        last, steps = own["precision"], own["steps_per_batch"]
        own["precision"] = rising(last / own.pop("rise"), last, steps)
        return super().made(own)


def lineup(problem: Problem, variant: str) -> list[Contender]:
    """BP, once and dwelling, and those that need two or three products in a row."""
    known = contenders(problem)
    ipc, pc, local = known["ipc"], known["pc"], known["local"]
    if variant in ("value-momentum", "leaky-relu"):
        momentum = Range(0.0, 0.9, log=False)
        # PCX's best for PC: gamma 0.75 to 0.85, momentum 0.25 to 0.65, T = 8, AdamW (arXiv:2407.01163, appendix)
        ipc = replace(ipc, space={**ipc.space, "value_momentum": momentum})
        pc = replace(pc, space={**pc.space, "value_momentum": momentum})
    if variant == "rising-precision":
        ipc = Rising(ipc.name, ipc.algorithm, ipc.fixed, {**ipc.space, "rise": Range(2.0, 1e3)})
    found = [known["bp"], known["bp-dwelling"], ipc]
    if variant in ("plain", "value-momentum", "leaky-relu"):
        found.append(pc)
    if variant in ("plain", "skips", "centred", "orthogonal", "leaky-relu"):
        found += [local, known["dfa"], known["bp-async"]]
    if variant == "predsim":
        found = [known["bp"], replace(local, fixed={**local.fixed, "loss": "predsim"})]
    return found


class FineAdam(optimizers.Adam):
    """Adam with an epsilon of 1e-12."""

    def _step(self, g: np.ndarray, alpha: float, number: int) -> np.ndarray:
        self.mean = self.momentum * self.mean + (1 - self.momentum) * g
        self.square = 0.999 * self.square + 0.001 * g**2
        mean, square = self.mean / (1 - self.momentum**number), self.square / (1 - 0.999**number)
        return alpha * mean / (np.sqrt(square) + 1e-12)


def run(variant: str, folder: Path) -> None:
    """The race of a variant, from where its file ends."""
    problem = Changed.of(replace(PROBLEMS["fashion-mlp"], depth=DEPTH, passes=PASSES), variant)
    if variant == "leaky-relu":
        problem = replace(problem, activation="leaky_relu")
    fine = variant == "epsilon"  # an option of nobody: the oracle's own Adam is replaced
    backend = "numpy" if variant in ("epsilon", "predsim") else "threads"
    plan = Plan(problem, lineup(problem, variant), TRIALS, SEEDS, backend=backend)
    file = folder / f"{variant}.jsonl"
    writer = Writer(file, capture(["python", *sys.argv]), file.exists(), RACE)
    swapped = mock.patch.dict(optimizers.OPTIMIZERS, adam=FineAdam) if fine else nullcontext()

    def progress(text: str, done: int, total: int) -> None:
        print(f"\r{variant}: {text}, {done} of {total}  ", end="", file=sys.stderr, flush=True)

    try:
        with swapped:
            for row in plan.run(list(writer.rows), progress):
                writer.write(row)
    finally:
        writer.close()
        print(file=sys.stderr)


def table(folder: Path) -> str:
    """Of each variant and goal what the best BP's span is, and the span of the others ÷ it."""
    body, names = [], ("ipc", "pc", "local", "dfa", "bp-async")
    for variant in ABOUT:
        file = next((f for f in (folder / f"{variant}.jsonl", folder / f"{variant}.jsonl.gz") if f.exists()), None)
        if file is None:
            continue
        race, _ = load_race(file)
        for goal in race.goals:
            found = {one.contender: one for one in race.outcomes(goal, "span")}
            if not found:  # no winners yet
                continue
            best = next(iter(found.values()))
            cells = [
                f"{one.ratio:.2g} ({one.interval[0]:.2g} to {one.interval[1]:.2g})"
                if one and one.interval and one.ratio
                else f"{one.reached} of {len(one.costs)} seeds"
                if one
                else ""
                for one in map(found.get, names)
            ]
            body.append([ABOUT[variant], f"{goal:.0%}".replace("%", " %"), f"{best.median:,.0f}", *cells])
    return layout(["change", "accuracy", "span of the best BP", *(f"{name} ÷ BP" for name in names)], body, "markdown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path, help="of the race files")
    parser.add_argument("--variants", nargs="+", choices=list(ABOUT), default=list(ABOUT))
    parser.add_argument("--table", action="store_true", help="print what the folder holds")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.folder))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for variant in arguments.variants:
        run(variant, arguments.folder)


if __name__ == "__main__":
    main()
