"""Contenders: an algorithm, what of it is tuned, and how its settings become a training."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..algorithms import Algorithm, registry
from ..errors import InputError
from ..training.lbfgs import MEMORY
from .problems import Problem
from .spaces import Choice, Knob, Range, draws

# Of the settings of a trial, those that are arguments of ``train``; ``horizon`` is the share of the budget at whose end
# a schedule has fallen, and the trial ends; ``solver`` is who takes the steps in place of an optimiser, with so much
# ``memory``. All others are fields of the algorithm.
OF_TRAINING = ("batch_size", "steps_per_batch", "repeat", "schedule", "start", "horizon", "solver", "memory")

LBFGS = "l-bfgs"


@dataclass(frozen=True)
class Contender:
    """An algorithm by its name in the registry, what is the same in all its trials, and the space of what is not.

    ``exact``: whether it follows BP's gradient; the best of these is what others are compared with. ``loss``: that of
    the problem; another would be another race.
    """

    name: str
    algorithm: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Knob] = field(default_factory=dict)
    exact: bool = False
    loss: str = "squared"

    def draws(self, trials: int) -> list[dict[str, Any]]:
        """The settings of its trials: one where nothing is tuned. They depend on nobody else in the race."""
        return [{**self.fixed, **drawn} for drawn in draws(self.space, trials, zlib.crc32(self.name.encode()))]

    def made(self, settings: Mapping[str, Any]) -> Algorithm:
        """The algorithm with those of the settings that are its own."""
        cls = registry.find(self.algorithm)
        known = {each.name for each in fields(cls) if each.init}
        own = {name: value for name, value in settings.items() if name not in OF_TRAINING}
        if unknown := sorted(set(own) - known):
            raise InputError(f"contender {self.name}: {cls.title} has no {unknown[0]}")
        return cls(**own)

    def told(self) -> dict[str, Any]:
        """Everything that was declared, for files."""
        return {
            "name": self.name, "algorithm": self.algorithm, "exact": self.exact, "loss": self.loss,
            "fixed": dict(self.fixed), "space": {name: str(knob) for name, knob in self.space.items()},
        }  # fmt: skip


def contenders(problem: Problem) -> dict[str, Contender]:
    """Who can run in a problem, by name: each with its optimiser Adam, a rate from 1e-5 or 1e-4 on, and the problem's
    batches; those with ``-fixed`` have the settings of a publication and tune nothing. Nor does L-BFGS, which runs
    where the batch never changes."""
    L, online = problem.depth, problem.batches == (1,)
    changing = problem.batches != (None,)
    rate = Range(1e-5, 3e-3) if online else Range(1e-4, 3e-2)
    common: dict[str, Knob] = {"alpha": rate, "schedule": Choice(("constant", "cosine"))}
    if changing:
        common |= {"horizon": Range(0.2, 1.0)}
    if len(problem.batches) > 1:
        common |= {"batch_size": Choice(problem.batches)}
    adam = {"optimizer": "adam"} | ({} if len(problem.batches) > 1 else {"batch_size": problem.batches[0]})
    precision, gamma = Range(1.0, 1e4), Range(0.1, 1.0)
    on_values: dict[str, Knob] = {"gamma": gamma, "precision": precision}
    # In nets of a hundred layers L steps are long: with few, lower layers learn from what skips let through.
    least = min(max(2, L // 2), 16)
    steps = {most: Range(least, min(most * L, 128), whole=True) for most in (3, 4)}
    dwelling: dict[str, Knob] = {"steps_per_batch": steps[3]} if changing else {}
    start = {"start": "pipelined"} if changing else {}
    found = [
        Contender("bp", "bp", adam, common, exact=True),
        Contender("ipc", "ipc", adam | start, common | on_values | dwelling),
        Contender("pc", "pc", adam, common | on_values | {"T": steps[4]}),
        Contender(
            "bp-async", "bp-async", adam,
            common | {"weights": Choice(("current", "stashed")), "weight_prediction": Choice((False, True))},
        ),
        Contender("local", "local", adam, common | {"head": Choice(("squared", "cross-entropy"))}),
        Contender("dfa", "dfa", adam, common),
        Contender(
            "dual", "dual", adam | {"incremental": True}, common | dwelling | {"beta": Range(0.01, 1.0)},
        ),
        # Kingma and Ba, arXiv:1412.6980: "good default settings"; batches of 128 as in its Sec. 6.
        Contender("bp-fixed", "bp", adam | {"alpha": 1e-3} | _batch(problem, 128), exact=True),
    ]  # fmt: skip
    if changing:
        dwells: dict[str, Knob] = {"repeat": Range(2, max(3, min(9, 3 * L)), whole=True)}
        # With SGD's momentum the step of a gradient g is alpha g / (1 - momentum), not Adam's alpha.
        momentum = common | {"alpha": Range(1e-5, 3e-2), "momentum": Choice((0.5, 0.9, 0.95, 0.99))}
        found += [
            Contender("bp-dwelling", "bp", adam, common | dwells, exact=True),
            # Ajanthan et al. 2025
            Contender("bp-async-nesterov", "bp-async", adam | {"optimizer": "nadamw", "momentum": 0.99}, common),
            # Kosson et al. 2020
            Contender(
                "bp-async-compensated",
                "bp-async",
                adam | {"optimizer": "momentum", "spike_compensation": True},
                momentum | {"weight_prediction": Choice((False, True))},
            ),
            # Yang et al. 2021
            Contender("bp-async-delay-rates", "bp-async", adam, common | {"delay_rates": Range(10, 1e4, whole=True)}),
            # Narayanan et al. 2021
            Contender(
                "bp-async-two-versions",
                "bp-async",
                adam | {"weights": "two-versions", "accumulate": max(1, 2 * (L - 1))},
                common,
            ),
        ]
    elif problem.goal == "loss":
        # SciPy's own settings; its line search finds the lengths of its steps, so that there is no rate to tune.
        found.append(Contender("bp-lbfgs", "bp", {"batch_size": None, "solver": LBFGS, "memory": MEMORY}, exact=True))
    return {one.name: one for one in found}


def _batch(problem: Problem, usual: int) -> dict[str, Any]:
    """The batch of the problem nearest to the usual one, where there is a choice."""
    sizes = [size for size in problem.batches if size]
    return {"batch_size": min(sizes, key=lambda size: abs(size - usual))} if sizes else {}


def chosen(problem: Problem, names: list[str] | None) -> list[Contender]:
    """Those of these names (default: bp, bp-dwelling or bp-lbfgs where it can be, and ipc), BP first; InputError for
    others, and where nobody follows BP's gradient, with whom all are compared."""
    known = contenders(problem)
    wanted = names or [name for name in ("bp", "bp-dwelling", "bp-lbfgs", "ipc") if name in known]
    for name in wanted:
        if name not in known:
            raise InputError(f"contender {name!r} does not run in {problem.name}: choose from {', '.join(known)}")
    found = [known[name] for name in dict.fromkeys(wanted)]
    if not any(one.exact for one in found):
        raise InputError("nobody in this race follows BP's gradient, with whom all are compared: add bp")
    return sorted(found, key=lambda one: not one.exact)
