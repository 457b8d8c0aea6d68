"""Claims about generative nets: the energy of images that are to be generated, against inference steps."""

from itertools import product
from typing import Any

import numpy as np

from ..algorithms import IPC, PC
from ..results.fields import Row
from ..training.curves import Study
from ..training.data import Dataset, load
from .accuracies import trained
from .claim import FAILS, HOLDS, ONLY_IF, UNRESOLVED, Claim, Finding, Work
from .counted import IPC_PAPER

ALPHA, GAMMA = 5e-5, 0.5  # of the paper's Appendix D.1

INFERENCE = (8, 12, 16)  # T of PC


def hundred(count: int) -> Dataset:
    """So many images as outputs of a net whose only input is 1: ``W[0]`` is then the mean of the highest layer, and all
    other layers are free."""
    images = load("fashion-mnist", samples=count)
    ones = np.ones((count, 1), np.float32)
    return Dataset(f"{images.name}, generated", ones, images.x, images.labels, images.x.shape[1])


def energies(row: Row) -> np.ndarray:
    """Before the weight updates that were recorded, and infinite where a run had diverged."""
    return np.array([np.inf if value is None else value for value in row["energy"]], np.float64)


def figure_2_left(work: Work) -> Finding:
    """PC and iPC from the same nets, as published at one rate, and each at the best of several."""
    images, steps, seeds = (20, 96, 3) if work.quick else (100, 960, 3)
    rates = (1, 4) if work.quick else (1, 4, 16, 64)
    nets = ((1, *[64] * 3, 784),) if work.quick else ((1, *[256] * 3, 784), (1, *[128] * 4, 784))
    cells = [
        (sizes, T, rate) for sizes, T, rate in product(nets, (1, *INFERENCE), rates) if sizes == nets[0] or rate == 1
    ]
    groups = []
    for sizes, T, rate in cells:
        one = IPC(rate * ALPHA, GAMMA) if T == 1 else PC(rate * ALPHA, GAMMA, T)
        # every 48 steps a record of each
        options = {"updates": steps // T + 1, "record_every": 48 // T}
        groups.append((options, [Study(one, sizes, seed=seed) for seed in range(seeds)]))
    rows, file = trained(work, "generative", groups, hundred(images))
    found = {cell: [_to(energies(row), steps) for row in of] for cell, of in zip(cells, rows, strict=True)}
    body: list[tuple[Any, ...]] = []
    for (sizes, T, rate), of in found.items():
        at = np.mean(of, 0)
        body.append(
            (f"{len(sizes) - 1} × {sizes[1]}", "iPC" if T == 1 else f"PC T={T}", f"{rate * ALPHA:g}",
             *(f"{at[len(at) * share // 4 - 1]:.4g}" if np.isfinite(at[len(at) * share // 4 - 1]) else "diverged"
               for share in (1, 2, 4)))
        )  # fmt: skip
    header = ("net", "algorithm", "rate", *(f"energy after {steps * share // 4} steps" for share in (1, 2, 4)))
    evidence: dict[str, Any] = {"table": (header, *body), "seeds": seeds, "files": (file,)}
    return decided(found, nets, rates, evidence)


def _to(energy: np.ndarray, steps: int) -> np.ndarray:
    """One energy for every 48 steps, without that before the first; infinite for those that a divergence has cut."""
    wanted = steps // 48
    return np.append(energy[1 : wanted + 1], np.full(max(0, wanted + 1 - max(len(energy), 1)), np.inf))


def decided(found: dict[Any, Any], nets: Any, rates: Any, evidence: dict[str, Any]) -> Finding:
    """Whether iPC's energy is below PC's for every T and seed, at the shared rate and with each one's best."""

    def last(sizes: Any, T: int, rate: float) -> np.ndarray:
        return np.array([of[-1] for of in found[sizes, T, rate]])

    shared = all((last(sizes, 1, 1) < last(sizes, T, 1)).all() for sizes in nets for T in INFERENCE)
    best = {T: min((last(nets[0], T, rate) for rate in rates), key=np.mean) for T in (1, *INFERENCE)}
    rival = min(INFERENCE, key=lambda T: float(np.mean(best[T])))
    below, above = (best[1] < best[rival]).all(), (best[1] > best[rival]).all()
    ratio = float(np.mean([np.mean(last(nets[0], T, 1)) for T in INFERENCE]) / np.mean(last(nets[0], 1, 1)))
    said = (
        f"At the rate of {ALPHA:g} for both, PC's energy is {ratio:.3g} times iPC's after the same steps (mean of T = "
        f"{', '.join(map(str, INFERENCE))}); each at the best of its rates, PC's (T = {rival}) is "
        f"{np.mean(best[rival]) / np.mean(best[1]):.3g} times iPC's"
    )
    if shared and below:
        return Finding(HOLDS, said, **evidence)
    if shared and above:
        return Finding(ONLY_IF, said, "both learn at the same rate", **evidence)
    return Finding(UNRESOLVED if shared or below else FAILS, said, **evidence)


CLAIMS = (
    Claim(
        "figure-2-left", f"{IPC_PAPER}, Fig. 2 (left and centre) and Fig. 7",
        "The energy of a generative net for 100 images falls much faster with iPC than with PC, whatever its T, by "
        "inference steps (here on images of FashionMNIST).",
        "an energy of PC's that is no higher after as many steps", figure_2_left, "trained",
    ),
)  # fmt: skip
