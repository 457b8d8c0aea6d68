"""Claims of equality, which the NumPy oracle decides in float64."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from ..algorithms import BP, PC, ZIL
from ..net.network import Network
from ..training.train import train
from .claim import FAILS, HOLDS, ONLY_IF, Claim, Finding, Work


def zil_is_bp(work: Work) -> Finding:
    """Weights after some updates of both, of nets of several depths."""
    body, worst = [], 0.0
    for L in (2, 3, 5) if work.quick else (2, 3, 5, 8, 12):
        rng = np.random.default_rng(L)
        x, y = rng.normal(size=(7, 9)), rng.normal(size=(7, 4))
        net = Network.mlp([9, *[11] * (L - 1), 4], "tanh", seed=L, dtype="float64")
        runs = [train(net, one, x, y, updates=5, backend="numpy").network for one in (ZIL(0.01), BP(0.01))]
        moved = max(float(np.abs(a - b).max()) for a, b in zip(runs[1].weights, net.weights, strict=True))
        apart = max(float(np.abs(a - b).max()) for a, b in zip(runs[0].weights, runs[1].weights, strict=True))
        worst = max(worst, apart / moved)
        body.append((L, f"{moved:.2g}", f"{apart:.2g}"))
    return Finding(
        HOLDS if worst < 1e-9 else FAILS,
        f"After five updates weights differ by {worst:.1g} of what they have moved, in float64",
        table=(("depth", "weights moved by", "Z-IL − BP"), *body),
    )


def against_bp(
    depth: int, seed: int, gamma: float, steps: Iterable[int], residual: bool = False
) -> dict[int, list[tuple[float, float]]]:
    """Of PC with so many ``steps`` the update of each layer against BP's: cosine (NaN for an update of 0) and norm.
    ``residual``: the layers between the first and the last add their input, in muPC's parameterisation."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(16, 32)), rng.normal(size=(16, 8))
    how: dict[str, Any] = {"seed": seed, "dtype": "float64"}
    if residual:
        how |= {"skip": [False, *[True] * (depth - 2), False], "parameterisation": "mupc"}
    net = Network.mlp([32] * depth + [8], "tanh", **how)

    def moved(algorithm: BP | PC) -> list[np.ndarray]:
        trained = train(net, algorithm, x, y, updates=1, backend="numpy", record_every=0).network
        return [after - before for after, before in zip(trained.weights, net.weights, strict=True)]

    right, found = moved(BP(1.0)), {}
    for T in steps:
        pairs = list(zip(moved(PC(1.0, gamma, T)), right, strict=True))
        norms = [(float(np.linalg.norm(a)), float(np.linalg.norm(b))) for a, b in pairs]
        found[T] = [
            (float((a * b).sum()) / (of_a * of_b) if of_a else float("nan"), of_a / of_b)
            for (a, b), (of_a, of_b) in zip(pairs, norms, strict=True)
        ]
    return found


def signal_decay(work: Work, residual: bool = False) -> Finding:
    """The update of layer l after t steps against BP's, as the error arrives (t = L - 1 - l) and later; of a plain or a
    ``residual`` net."""
    depth, seeds = (6, range(3)) if work.quick else (12, range(5))
    body: list[tuple[Any, ...]] = []
    kept: dict[float, float] = {}
    straight = True
    late: dict[tuple[float, int], float] = {}
    for gamma in (0.1, 0.5, 1.0):
        times = sorted({*range(1, depth), depth, 2 * depth, 5 * depth, 20 * depth})
        runs = [against_bp(depth, seed, gamma, times, residual) for seed in seeds]
        arrived = np.array([[run[depth - 1 - l][l][1] for l in range(depth - 1)] for run in runs])
        far = np.arange(depth - 1, 0, -1)
        logs = np.log(arrived.mean(0))
        slope = np.polyfit(far, logs, 1)[0]
        kept[gamma] = float(np.exp(slope))
        straight = straight and (abs(slope) < 0.01 or abs(np.corrcoef(far, logs)[0, 1]) > 0.99)
        for l in sorted({0, depth // 2, depth - 2}):
            for t in (depth - 1 - l, depth, 2 * depth, 5 * depth, 20 * depth):
                cosine, norm = np.mean([run[t][l] for run in runs], 0)
                body.append((f"{gamma:g}", l, t, f"{cosine:.3f}", f"{norm:.2g}"))
                if l == 0:
                    late[gamma, t] = float(norm)
    decays = straight and all(abs(kept[gamma] / gamma - 1) < 0.1 for gamma in kept)
    back = late[0.5, 5 * depth] / late[0.5, depth - 1]
    return Finding(
        (ONLY_IF if back > 10 or kept[1.0] > 0.9 else HOLDS) if decays else FAILS,
        f"As the error arrives, each layer keeps {kept[0.1]:.2g} of what the one above has got at gamma 0.1, and "
        f"{kept[0.5]:.2g} at 0.5; at gamma 1 the update then is BP's ({kept[1.0]:.3g}). Of BP's update the first of "
        f"{depth} layers has {late[0.5, depth - 1]:.1g} at gamma 0.5 when the error arrives and "
        f"{late[0.5, 5 * depth]:.2g} after 5 L steps, at gamma 0.1 {late[0.1, depth - 1]:.1g} and "
        f"{late[0.1, 5 * depth]:.1g}",
        "gamma is below 1, and T not many times the depth" if decays and (back > 10 or kept[1.0] > 0.9) else "",
        (("gamma", "layer", "t", "cosine with BP's", "norm ÷ BP's"), *body),
        seeds=len(seeds),
    )


CLAIMS = (
    Claim(
        "zil-is-bp", "Song et al. 2020, NeurIPS; Salvatori et al. 2022, arXiv:2212.00720, Algorithm 3",
        "Z-IL's weight update equals backpropagation's exactly.",
        "weights that differ by more than rounding", zil_is_bp, "computed",
    ),
    Claim(
        "signal-decay", "Goemaere et al. 2025, arXiv:2505.20137",
        "In predictive coding the signal that a layer learns from decays exponentially with its distance from the "
        "output.",
        "updates whose size, beside BP's, does not fall by a constant factor from layer to layer", signal_decay,
        "computed",
    ),
    Claim(
        "signal-decay-residual", "Goemaere et al. 2025, arXiv:2505.20137",
        "The signal decays with depth in residual nets, too (here in muPC's parameterisation).",
        "updates whose size, beside BP's, does not fall by a constant factor from layer to layer",
        partial(signal_decay, residual=True), "computed",
    ),
)  # fmt: skip
