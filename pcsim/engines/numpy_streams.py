"""The oracle of what learns without errors from above: local losses, and direct feedback alignment.

Samples stream through the layers, so a layer that is further up works on an older batch. Local losses never look at
another layer's error, and each layer meets the batches in their order: taking one batch after another through all
layers gives what the pipeline gives. In feedback alignment layer l predicts for batch k with weights that have learnt
from the batches up to ``k + l - L``; a slot of the pipeline is made here as CONTRACT says it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..algorithms.local import DFA, Local
from ..net.losses import LOSSES, Squared
from ..net.network import Network

Array = np.ndarray

SIMILARITY = 0.99  # of the loss predsim (Nøkland and Eidnes 2019, section 4)

# ``update(position, ascent, number)``: the optimiser's step for one matrix or bias, by its place among all.
Update = Callable[[int, Array | None, int], None]


def local_step(net: Network, algorithm: Local, x: Array, y: Array, update: Update, number: int) -> tuple[float, list]:
    """All layers learn from one batch: the sum of all losses before, and the values of all layers."""
    heads, values, losses = net.heads, [x], 0.0
    assert heads is not None
    of_heads = LOSSES[algorithm.head]() if algorithm.head else net.loss
    L = net.depth
    for l in range(L):
        below = values[l]
        values.append(net.layers[l].predict(below))
        if l == L - 1:
            e = net.loss.error(values[L], y)
            losses += net.loss.loss(values[L], y)
            values[L] = said(net, values[L], y, e)
        else:
            above = net.layers[l + 1]
            a, slope = above.f(values[l + 1]), above.slope(values[l + 1])
            z = a @ heads[l].T
            share = 1 - SIMILARITY if algorithm.loss == "predsim" else 1.0
            of_head = share * of_heads.error(z, y)
            e = of_head @ heads[l]
            losses += share * of_heads.loss(z, y)
            if algorithm.loss == "predsim":
                loss, ascent = similarity(a, y)
                e, losses = e + SIMILARITY * ascent, losses + SIMILARITY * loss
            e = (slope * e).astype(net.dtype, copy=False)
            update(position_of_extra(net, l), of_head.T @ a, number)
        learn(net, l, below, e, update, number)
    return losses, values


def said(net: Network, mu: Array, y: Array, e: Array) -> Array:
    """What is predicted, in the loss's own terms: of the cross-entropy shares."""
    return mu if isinstance(net.loss, Squared) else y - e


def similarity(a: Array, y: Array) -> tuple[float, Array]:
    """``1/B sum((S(a) - S(y))**2)`` of the cosine similarities S between the samples of a batch, each less its mean,
    and minus its gradient by ``a``, (B, n)."""
    B = len(a)
    centred = a - a.mean(1, keepdims=True)
    length = 1e-8 + np.sqrt((centred**2).sum(1, keepdims=True))
    n = centred / length
    target = y - y.mean(1, keepdims=True)
    target = target / (1e-8 + np.sqrt((target**2).sum(1, keepdims=True)))
    apart = n @ n.T - target @ target.T
    by_n = 4 / B * apart @ n
    norm = np.maximum(length - 1e-8, 1e-30)
    by_centred = by_n / length - centred * (by_n * centred).sum(1, keepdims=True) / (norm * length**2)
    return float((apart.astype(np.float64) ** 2).sum()) / B, -(by_centred - by_centred.mean(1, keepdims=True))


def learn(net: Network, l: int, x: Array, e: Array, update: Update, number: int) -> None:
    """``W[l]`` and its biases learn from the values below and the errors above."""
    for position, ascent in zip((l, net.depth + l), net.layers[l].gradient(x, e), strict=True):
        if ascent is not None:
            update(position, ascent, number)


def position_of_extra(net: Network, l: int) -> int:
    """The place of ``V[l]`` among all that is learnt: behind weights and biases."""
    return net.depth * (1 if net.biases is None else 2) + l


class Feedback:
    """The batches under way of direct feedback alignment, in ``net``, which is trained in place."""

    def __init__(
        self,
        net: Network,
        algorithm: DFA,
        data: tuple[Array, Array],
        next_rows: Callable[[], Array],
        update: Update,
    ) -> None:
        self.net, self.algorithm, self.data, self.next_rows, self.update = net, algorithm, data, next_rows, update
        self.slot = 0
        self.rows: dict[int, Array] = {}  # of each batch under way
        self.x: list[dict[int, Array]] = [{} for _ in range(net.depth + 1)]  # values of each layer, by batch

    def step(self) -> float:
        """Slots up to the one that completes the next weight update; the loss of its batch."""
        while True:
            loss = self._slot()
            if loss is not None:
                return loss

    @property
    def values(self) -> list[Array]:
        """Values of the last batch from which all layers have updated."""
        return [x[self.slot - self.net.depth] for x in self.x] if self.slot >= self.net.depth else []

    def _slot(self) -> float | None:
        net, L, s = self.net, self.net.depth, self.slot
        self.rows[s] = self.next_rows()
        self.x[0][s] = self.data[0][self.rows[s]]
        for l in range(min(L, s + 1)):  # each from its own batch, with the weights of this slot
            self.x[l + 1][s - l] = net.layers[l].predict(self.x[l][s - l])
        self.slot += 1
        batch = s - (L - 1)
        if batch < 0:
            return None
        y = self.data[1][self.rows.pop(batch)]
        e = net.loss.error(self.x[L][batch], y)
        loss = net.loss.loss(self.x[L][batch], y)
        self.x[L][batch] = said(net, self.x[L][batch], y, e)
        assert net.feedback is not None
        for l in range(L):
            delta = e
            if l < L - 1:
                delta = (e @ net.feedback[l].T) * net.layers[l + 1].slope(self.x[l + 1][batch])
            learn(net, l, self.x[l][batch], delta.astype(net.dtype, copy=False), self.update, batch + 1)
        for x in self.x:
            x.pop(batch - 1, None)
        return loss

    def state(self) -> dict[str, Any]:
        """What is in flight between two updates: of each layer x[l], l = 1 … L - 1, the values in the next L - l
        batches."""
        done = self.slot - self.net.depth + 1
        if done <= 0:
            return {"under_way": []}
        L = self.net.depth
        return {"under_way": [np.stack([self.x[l][done + i] for i in range(L - l)]) for l in range(1, L)]}

    def restore(self, state: dict[str, Any], rows: list[Array]) -> None:
        """Go on from a state, whose net is there already, with the rows of all batches so far."""
        done, L = state["updates"], self.net.depth
        self.slot = done + L - 1
        self.rows = {k: rows[k] for k in range(done, len(rows))}
        self.x = [{done - 1: values.copy()} for values in state["values"]]
        self.x[0] |= {k: self.data[0][its] for k, its in self.rows.items()}
        for l, values in enumerate(state["under_way"], 1):
            self.x[l] |= {done + i: part.copy() for i, part in enumerate(values)}
