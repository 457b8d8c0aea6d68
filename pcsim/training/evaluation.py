"""What is held out of a training: a validation split, test rows, accuracy, and when to stop early."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..checks import is_number, shown, whole_number
from ..errors import InputError
from ..net.network import Network
from .data_checks import table_of

Array = np.ndarray


class Rows(NamedTuple):
    """Inputs and targets of rows that are never trained on."""

    x: Array
    y: Array


def accuracy(network: Network, x: Array, y: Array) -> float:
    """The share of rows whose largest output is that of the largest target; NaN for a net that has diverged."""
    return scores(network, Rows(x, y))[1]


def scores(network: Network, rows: Rows) -> tuple[float, float]:
    """Mean loss per row, and accuracy, of an ordinary forward pass."""
    with np.errstate(all="ignore"):
        mu = network.forward(rows.x)[-1]
        loss = network.loss.loss(mu, rows.y) / len(rows.x)
    if not np.isfinite(mu).all():
        return loss if not math.isfinite(loss) else math.nan, math.nan
    return loss, float(np.mean(mu.argmax(1) == rows.y.argmax(1)))


def held_out(name: str, given: Any, network: Network) -> Rows | None:
    """``given``, a pair of x and y, as rows; None for None."""
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise InputError(f"{name} must be a pair of tables x and y, not {shown(given)}")
    x = table_of(f"{name}[0]", given[0], network.sizes[0], network)
    y = table_of(f"{name}[1]", given[1], network.sizes[-1], network)
    if len(x) != len(y):
        raise InputError(f"{name}[0] has {len(x)} rows, but {name}[1] has {len(y)}")
    network.loss.check_targets(y)
    return Rows(x, y)


def split(validation: Any, x: Array, y: Array, seed: int) -> tuple[Array, Array, Rows]:
    """x and y without a share of their rows drawn at random, and these rows."""
    share = float(validation)
    count = round(share * len(x))
    if not 0 < share < 1 or not 0 < count < len(x):
        raise InputError(
            f"validation must be a pair of tables, or a share of the {len(x)} rows that leaves some of them and takes "
            f"some, not {shown(validation)}"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(x))
    out, kept = np.sort(order[:count]), np.sort(order[count:])
    return x[kept], y[kept], Rows(x[out], y[out])


def is_share(validation: Any) -> bool:
    """Whether a validation is asked for as a share of the rows."""
    return is_number(validation)


@dataclass
class Evaluations:
    """What was seen of rows that are not trained on, each list with one entry for each time that somebody looked.

    - ``updates``: how many weight updates had been made; ``seconds``: training seconds until then
    - ``validation_loss``: mean per row; ``validation_accuracy``, ``test_accuracy``: shares of rows
    - ``best``: which entry has the lowest validation loss, None for none
    """

    updates: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    best: int | None = None

    def look(self, network: Network, validation: Rows | None, test: Rows | None) -> list[float]:
        """Loss and accuracy on the validation's rows, accuracy on the test's: those that there are."""
        found = list(scores(network, validation)) if validation else []
        return found + ([scores(network, test)[1]] if test else [])

    def add(self, updates: int, seconds: float, found: list[float], validates: bool) -> bool:
        """One more entry, of what ``look`` found; whether it is the best so far."""
        self.updates.append(updates)
        self.seconds.append(seconds)
        if validates:
            self.validation_loss.append(found[0])
            self.validation_accuracy.append(found[1])
        self.test_accuracy += found[2 if validates else 0 :]
        before = math.inf if self.best is None else self.validation_loss[self.best]
        better = validates and found[0] < before
        if better:
            self.best = len(self.updates) - 1
        return better

    def exhausted(self, patience: int | None) -> bool:
        """Whether the validation loss has not fallen for so many entries."""
        return patience is not None and len(self.updates) - 1 - (self.best or 0) >= patience


def checked_patience(patience: Any, validates: bool) -> int | None:
    """InputError for a patience that has nothing to wait for."""
    if patience is None:
        return None
    if not validates:
        raise InputError("patience needs validation: rows whose loss says when to stop")
    return whole_number("patience", patience)
