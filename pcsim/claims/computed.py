"""Claims of equality, which the NumPy oracle decides in float64."""

import numpy as np

from ..algorithms import BP, ZIL
from ..net.network import Network
from ..training.train import train
from .claim import FAILS, HOLDS, Claim, Finding, Work


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


CLAIMS = (
    Claim(
        "zil-is-bp", "Song et al. 2020, NeurIPS; Salvatori et al. 2022, arXiv:2212.00720, Algorithm 3",
        "Z-IL's weight update equals backpropagation's exactly.",
        "weights that differ by more than rounding", zil_is_bp, "computed",
    ),
)  # fmt: skip
