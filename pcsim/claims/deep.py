"""Claims about nets of a hundred layers: whether they learn, and whether rates carry over from small nets."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..algorithms import BP, PC, Algorithm
from ..net.named import outline
from ..results.fields import Row
from ..training.curves import Study
from ..training.data import load
from .accuracies import images, trained
from .claim import FAILS, HOLDS, ONLY_IF, UNRESOLVED, Claim, Finding, Work

MUPC = "Innocenti et al. 2025, arXiv:2505.13124"

LEARNT, GUESSED = 0.6, 0.3  # test accuracies of nets that have learnt, and of nets that have not (of ten classes)

RATES = tuple(float(f"{rate:.2g}") for rate in np.geomspace(1e-4, 1.0, 9))  # of weights, each 3.2 times the one before

GAMMAS = (0.05, 0.1, 0.2, 0.4, 0.8)


def _study(algorithm: Algorithm, net: str, parameterisation: str, seed: int) -> Study:
    return Study(algorithm, outline(net).sizes, "relu", seed, net=net, parameterisation=parameterisation)


def _loss(row: Row) -> float:
    """Of all rows after the last update; infinite where it diverged."""
    loss = row["whole"]["loss"]
    return math.inf if loss is None or not math.isfinite(loss) or row["diverged"] else float(loss)


USUAL = {"mupc": 3e-2, "sp": 1e-3}  # rates of weights of each parameterisation, where those of values are asked for

# What is changed: its values, and the algorithm with one of them.
KNOBS: dict[str, tuple[tuple[float, ...], Callable[[float, int, str], Algorithm]]] = {
    "alpha": (RATES, lambda rate, T, how: PC(rate, 0.2, T, "adam")),
    "gamma": (GAMMAS, lambda gamma, T, how: PC(USUAL[how], gamma, T, "adam")),
}


def carries_over(work: Work, knob: str) -> Finding:
    """The best value of a rate, by the loss after as many updates, in nets of several widths and depths: whether the
    smallest net's will do for all."""
    nets = ((8, 32), (8, 64), (16, 64)) if work.quick else ((8, 32), (8, 128), (8, 512), (8, 64), (32, 64), (64, 64))
    values, made = KNOBS[knob]
    seeds, updates = 3, 20 if work.quick else 60
    cells = [(how, *net) for how in ("mupc", "sp") for net in nets]
    groups: list[tuple[dict[str, Any], list[Study]]] = []
    for how, L, N in cells:
        name = f"residual-mlp-{L}-{N}"
        studies = [_study(made(value, L, how), name, how, seed) for value in values for seed in range(seeds)]
        groups.append(({"updates": updates, "batch_size": 64, "record_every": updates}, studies))
    rows, file = trained(work, f"{knob}-of-nets", groups, load("fashion-mnist"))
    losses = {
        cell: np.array([_loss(row) for row in of]).reshape(len(values), seeds)
        for cell, of in zip(cells, rows, strict=True)
    }
    body, apart = [], dict[str, list[float]]()
    for how in ("mupc", "sp"):
        first = int(np.argmin(losses[how, *nets[0]].mean(1)))
        for L, N in nets:
            means = losses[how, L, N].mean(1)
            best = int(np.argmin(means))
            # How much more loss the smallest net's best leaves here than this net's own, in each seed.
            own = losses[how, L, N][best]
            more = float(np.mean(losses[how, L, N][first] / own)) if np.isfinite(own).all() else math.inf
            apart.setdefault(how, []).append(more)
            shown = [f"{mean:.3g}" if math.isfinite(mean) else "diverged" for mean in means]
            body.append((how, f"{L} × {N}", f"{values[best]:g}", *shown, f"{more:.3g}"))
    evidence: dict[str, Any] = {
        "table": (("", "net", f"best {knob}", *(f"loss at {value:g}" for value in values), "smallest's ÷ best"), *body),
        "seeds": seeds, "files": (file,),
    }  # fmt: skip
    return of_carried(apart, knob, evidence)


ENOUGH = 1.2  # loss with the smallest net's best value ÷ that with a net's own


def of_carried(apart: dict[str, list[float]], knob: str, evidence: dict[str, Any]) -> Finding:
    """A rate carries over where the smallest net's leaves no net with more than a fifth more loss."""
    most = {how: max(found) for how, found in apart.items()}
    said = (
        f"With the {knob} that is best in the smallest net the others keep at most {most['mupc']:.3g} times the loss "
        f"of their own best one in muPC, and {most['sp']:.3g} times in the standard parameterisation"
    )
    return Finding(HOLDS if most["mupc"] < ENOUGH else FAILS, said, **evidence)


def trains(work: Work) -> Finding:
    """PC and BP on a net of 128 layers, in two parameterisations, each at several rates."""
    L, N, T, seeds = (32, 32, 16, 3) if work.quick else (128, 128, 64, 3)
    updates, net = (30 if work.quick else 200), f"residual-mlp-{L}-{N}"
    rates = {"mupc": (3e-3, 1e-2), "sp": (1e-4, 1e-3)}
    data, test = images(work)
    who = {"PC": lambda rate: PC(rate, 0.2, T, "adam"), "BP": lambda rate: BP(rate, "adam")}
    cells = [(how, name, rate) for how in rates for name in who for rate in rates[how]]
    options = {"updates": updates, "batch_size": 64, "record_every": 0, "evaluate_every": updates, "test": test}
    groups = [
        (options, [_study(who[name](rate), net, how, seed) for seed in range(seeds)]) for how, name, rate in cells
    ]
    rows, file = trained(work, "deep-nets", groups, data)
    scores = {cell: [_accuracy(row) for row in of] for cell, of in zip(cells, rows, strict=True)}
    body = []
    for (how, name, rate), seen in scores.items():
        body.append((how, name, f"{rate:g}", f"{np.mean(seen):.1%}", f"{min(seen):.1%} to {max(seen):.1%}"))
    best = {
        (how, name): max((scores[how, name, rate] for rate in rates[how]), key=np.mean) for how in rates for name in who
    }
    evidence: dict[str, Any] = {
        "table": (("", "", "rate", "test accuracy", "seeds from, to"), *body), "seeds": seeds, "files": (file,),
    }  # fmt: skip
    after = f"After {updates} batches of 64 nets of {L} layers have reached"
    found = of_deep(best, after, evidence)
    return replace(found, verdict=UNRESOLVED, condition="") if work.quick else found


def of_deep(best: dict[tuple[str, str], list[float]], after: str, evidence: dict[str, Any]) -> Finding:
    """Whether PC has learnt with muPC in every seed, and has not in the standard parameterisation."""
    means = {key: float(np.mean(found)) for key, found in best.items()}
    said = f"{after} " + ", ".join(
        f"{means[how, name]:.1%} with {name} in {'muPC' if how == 'mupc' else 'the standard parameterisation'}"
        for how, name in means
    )
    if min(best["mupc", "PC"]) < LEARNT:
        return Finding(FAILS if means["mupc", "PC"] < LEARNT else UNRESOLVED, said, **evidence)
    if means["sp", "PC"] > LEARNT:
        return Finding(FAILS, said, **evidence)
    if means["sp", "PC"] > GUESSED:
        return Finding(UNRESOLVED, said, **evidence)
    if means["mupc", "PC"] < means["mupc", "BP"] - 0.05:
        return Finding(ONLY_IF, said, "it need not be as good as BP after as many samples", **evidence)
    return Finding(HOLDS, said, **evidence)


def _accuracy(row: Row) -> float:
    """On the test rows at the end; of a net that has diverged that of guessing."""
    seen = [value for value in (row.get("evaluations") or {}).get("test_accuracy", []) if value is not None]
    return seen[-1] if seen and not row["diverged"] else 0.1


CLAIMS = (
    Claim(
        "mupc-128-layers", f"{MUPC}, abstract",
        "With muPC residual nets of 128 layers can be trained by predictive coding, which in the standard "
        "parameterisation they cannot, with accuracies competitive with BP's.",
        "nets with muPC that have learnt nothing, or others that have", trains, "trained",
    ),
    Claim(
        "mupc-rates", f"{MUPC}, abstract",
        "With muPC the rate of the weights carries over from small nets to wider and deeper ones.",
        "a net in which the smallest one's best rate leaves a fifth more loss than its own",
        partial(carries_over, knob="alpha"), "trained",
    ),
    Claim(
        "mupc-value-rates", f"{MUPC}, abstract",
        "With muPC the rate of the values carries over from small nets to wider and deeper ones.",
        "a net in which the smallest one's best rate leaves a fifth more loss than its own",
        partial(carries_over, knob="gamma"), "trained",
    ),
)  # fmt: skip
