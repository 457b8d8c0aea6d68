"""Does asynchronous BP learn? Test accuracy on FashionMNIST at batch 1 after some 6,000 samples, as a Markdown table.

    python benchmarks/late_gradients.py [--depths 6 12] [--seeds 0 1]

Of the 3,000 training images that come with pcsim 500 are held out. Each learner has three rates, a factor of about
three apart; the one with the best mean accuracy on the images held out is taken, and the accuracy on the 1,000 test
images is printed for that one alone. Nets: 784-64-…-64-10, tanh, float32, squared error, one thread.
"""

import argparse
import itertools

import numpy as np

import pcsim
from pcsim import BP, AsyncBP
from pcsim.engines import make_engine
from pcsim.training.data import load

HELD_OUT, SAMPLES = 500, 6000
GRADIENT, MOMENTUM, NESTEROV, ADAM = (3e-3, 1e-2, 3e-2), (3e-4, 1e-3, 3e-3), (3e-5, 1e-4, 3e-4), (1e-4, 3e-4, 1e-3)

# Name, algorithm at depth L, rates.
LEARNERS = (
    ("BP, gradient descent", lambda L: BP(), GRADIENT),
    ("asynchronous, current weights", lambda L: AsyncBP(), GRADIENT),
    ("asynchronous, stashed weights", lambda L: AsyncBP(weights="stashed"), GRADIENT),
    ("asynchronous, weight prediction", lambda L: AsyncBP(weight_prediction=True), GRADIENT),
    ("asynchronous, PipeMare's rates, K = 1,500", lambda L: AsyncBP(delay_rates=1500), GRADIENT),
    ("asynchronous, `accumulate=8`", lambda L: AsyncBP(accumulate=8), tuple(rate / 3 for rate in GRADIENT)),
    (
        "asynchronous, two versions, `accumulate=2(L-1)`",
        lambda L: AsyncBP(weights="two-versions", accumulate=2 * (L - 1)),
        tuple(rate / 4 for rate in GRADIENT),
    ),
    ("BP, momentum 0.9", lambda L: BP(optimizer="momentum"), MOMENTUM),
    ("asynchronous, momentum 0.9", lambda L: AsyncBP(optimizer="momentum"), MOMENTUM),
    (
        "asynchronous, momentum 0.9, weight prediction",
        lambda L: AsyncBP(optimizer="momentum", weight_prediction=True),
        MOMENTUM,
    ),
    (
        "asynchronous, momentum 0.9, spike compensation",
        lambda L: AsyncBP(optimizer="momentum", spike_compensation=True),
        MOMENTUM,
    ),
    (
        "asynchronous, momentum 0.9, both",
        lambda L: AsyncBP(optimizer="momentum", weight_prediction=True, spike_compensation=True),
        MOMENTUM,
    ),
    ("asynchronous, Nesterov 0.99", lambda L: AsyncBP(optimizer="nesterov", momentum=0.99), NESTEROV),
    ("BP, Adam", lambda L: BP(optimizer="adam"), ADAM),
    ("asynchronous, Adam", lambda L: AsyncBP(optimizer="adam"), ADAM),
    ("asynchronous, Adam, weight prediction", lambda L: AsyncBP(optimizer="adam", weight_prediction=True), ADAM),
    ("asynchronous, AdamW with momentum 0.99", lambda L: AsyncBP(optimizer="adamw", momentum=0.99), ADAM),
)


def accuracy(net: pcsim.Network, data: tuple[np.ndarray, np.ndarray]) -> float:
    """The share of the samples whose largest output is the right one."""
    x, labels = data
    with np.errstate(all="ignore"):
        return float(np.mean(net.forward(x)[-1].argmax(1) == labels))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[6, 12])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    data, test = load(split="train"), load(split="test")
    x, y = data.x[:-HELD_OUT], data.y[:-HELD_OUT]
    held_out, unseen = (data.x[-HELD_OUT:], data.labels[-HELD_OUT:]), (test.x, test.labels)
    print("| learner |", " | ".join(f"{L} layers" for L in arguments.depths), "|")
    print("| :-- |", " | ".join("--:" for _ in arguments.depths), "|")
    for name, made, rates in LEARNERS:
        found = []
        for L in arguments.depths:
            scores = {}
            for rate in rates:
                nets = []
                for seed in arguments.seeds:
                    algorithm = made(L)
                    algorithm = algorithm.__class__(**{**vars(algorithm), "alpha": rate})
                    net = pcsim.Network.mlp([784, *[64] * (L - 1), 10], "tanh", seed=seed)
                    rng = np.random.default_rng(seed)
                    order = itertools.chain.from_iterable(rng.permutation(len(x)) for _ in itertools.count())
                    rows = lambda order=order: np.array([next(order)])  # noqa: E731
                    engine = make_engine("threads", net, algorithm, x, y, rows)
                    engine.run(SAMPLES // getattr(algorithm, "accumulate", 1))
                    nets.append(engine.network)
                scores[rate] = [float(np.mean([accuracy(net, part) for net in nets])) for part in (held_out, unseen)]
            found.append(max(scores.values(), key=lambda both: both[0])[1])
        print(f"| {name} |", " | ".join(f"{each:.2f}" for each in found), "|", flush=True)


if __name__ == "__main__":
    main()
