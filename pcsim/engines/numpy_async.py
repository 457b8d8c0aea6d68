"""The oracle of asynchronous BP: CONTRACT's slots in plain NumPy.

In slot s layer l predicts for batch s - l and back-projects and updates for batch s - (2(L-1) - l). Here a layer's
slots are numbered by the batch t that it updates from: its step t is the slot ``t + 2(L-1) - l``, in which it predicts
for batch ``t + 2(L-1-l)``. Step t of layer l needs step t of layer l + 1, for the error, and step t - 2 of layer l - 1,
for the values; so taking, for one t after another, the layers from the last to the first gives what the slots give.

A layer does nothing for a batch below 0. N complete weight updates are made when each layer has updated N times, from
batches 0 … N m - 1 (m of them accumulate for an update). Later batches are under way then: layer l has predicted for
``2(L-1-l)`` of them. They have changed no weight, so a net that is looked at then is the one that a drained pipeline
would leave; a further run goes on with them as if there had been no pause.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..algorithms import AsyncBP
from ..net.layers import Dense
from ..net.network import Network

Array = np.ndarray


class Flight:
    """The batches under way in ``net``, which is trained in place.

    next_rows: gives the rows of ``x`` and ``y`` in the next batch; update: ``update(l, x, e, alpha, number)`` makes
    layer l's ``number``-th update from values below and errors above it; alpha: the rate of an update, counted from 0.
    """

    def __init__(
        self,
        net: Network,
        algorithm: AsyncBP,
        data: tuple[Array, Array],
        next_rows: Callable[[], Array],
        update: Callable[[int, Array, Array, float, int], None],
        alpha: Callable[[int], float],
    ) -> None:
        self.net, self.algorithm, self.data, self.next_rows = net, algorithm, data, next_rows
        self.update, self.alpha = update, alpha
        L = net.depth
        self.t = -2 * (L - 1)
        self.rows: dict[int, Array] = {}  # of each batch under way
        self.x: list[dict[int, Array]] = [{} for _ in range(L + 1)]  # values of each layer, by batch
        self.e: dict[int, Array] = {}  # the error of each layer's values at this step
        self.used: list[dict[int, Dense]] = [{} for _ in range(L)]  # each layer as it predicted, by batch
        self.kept: list[list[tuple[Array, Array]]] = [[] for _ in range(L)]  # what accumulates for the next update
        self.before = [self._now(l) for l in range(L)]  # each layer before its last update

    def steps(self) -> float:
        """Steps up to the one that completes the next weight update; the loss of the first batch in it."""
        losses: list[float] = []
        complete = False
        while not complete:
            for l in reversed(range(self.net.depth)):
                self._step(l, self.t, losses)
            self.t += 1
            complete = self.t > 0 and self.t % self.algorithm.accumulate == 0
        return losses[0]

    @property
    def values(self) -> list[Array]:
        """Values of the last batch from which all layers have updated, the output's prediction last."""
        return [x[self.t - 1] for x in self.x] if self.t > 0 else []

    def state(self) -> dict[str, list[Array]]:
        """What is in flight between two updates, as ``states.FLIGHTS`` says."""
        net, algorithm, t, L = self.net, self.algorithm, self.t, self.net.depth
        found: dict[str, list[Array]] = {"under_way": [], "stashed": [], "before": []}
        if t <= 0:
            return found
        found["under_way"] = [np.stack([self.x[l][t + i] for i in range(2 * (L - l))]) for l in range(1, L)]
        for kind in ("weights", "bias") if net.biases is not None else ("weights",):
            for l in range(L - 1) if algorithm.weights == "stashed" else ():
                kept = [getattr(self.used[l][t + i], kind) for i in range(algorithm.lag(l, L))]
                found["stashed"].append(np.stack(kept))
            if algorithm.keeps_before:
                found["before"] += [getattr(layer, kind).copy() for layer in self.before]
        return found

    def restore(self, state: dict[str, Any], rows: list[Array]) -> None:
        """Go on from a state, whose net is there already, with the rows of all batches so far."""
        net, algorithm, L = self.net, self.algorithm, self.net.depth
        t = self.t = state["updates"] * algorithm.accumulate
        self.rows = {k: rows[k] for k in range(t, t + 2 * (L - 1))}
        self.x = [{t - 1: values.copy()} for values in state["values"]]
        self.x[0] |= {k: self.data[0][rows] for k, rows in self.rows.items()}
        for l, values in enumerate(state["under_way"], 1):
            self.x[l] |= {t + i: part.copy() for i, part in enumerate(values)}

        if algorithm.keeps_before:
            self.before = [_layer(net.layers[l], state["before"][l::L]) for l in range(L)]
        for l in range(L - 1):
            kept = state["stashed"][l :: L - 1]
            for i in range(algorithm.lag(l, L)):
                self.used[l][t + i] = _layer(net.layers[l], [part[i] for part in kept]) if kept else self.before[l]

    def _step(self, l: int, t: int, losses: list[float]) -> None:
        net, L = self.net, self.net.depth
        new = t + self.algorithm.lag(l, L)
        if new < 0:
            return
        if l == 0:
            self.rows[new] = self.next_rows()
            self.x[0][new] = self.data[0][self.rows[new]]
        self.used[l][new] = self._predicting(l, t, new)
        self.x[l + 1][new] = self.used[l][new].predict(self.x[l][new])
        if t < 0:
            return
        x, used = self.x[l][t], self.used[l].pop(t)
        if l == L - 1:
            target = self.data[1][self.rows.pop(t)]
            self.e[L] = net.loss.error(self.x[L][t], target)
            losses.append(net.loss.loss(self.x[L][t], target))
            self.x[L].pop(t - 1, None)
        if l > 0:
            self.e[l] = self._pulling(l, used).pull_back(x, self.e[l + 1]).astype(net.dtype, copy=False)
        self._accumulate(l, t, x, self.e[l + 1])
        self.x[l].pop(t - 1, None)

    def _predicting(self, l: int, t: int, new: int) -> Dense:
        """Layer l as it predicts for batch ``new``."""
        algorithm, now, before = self.algorithm, self._now(l), self.before[l]
        if algorithm.weights == "two-versions":
            window = new // algorithm.accumulate
            made = max(t, 0) // algorithm.accumulate
            now = now if made <= window - 1 else before
        if algorithm.weight_prediction:
            now = _ahead(now, before, algorithm.delay(l, self.net.depth))
        return now

    def _pulling(self, l: int, used: Dense) -> Dense:
        """Layer l as it pulls errors back for a batch that it has predicted for as ``used``."""
        return self.net.layers[l] if self.algorithm.weights == "current" else used

    def _accumulate(self, l: int, t: int, x: Array, e: Array) -> None:
        algorithm, kept = self.algorithm, self.kept[l]
        kept.append((x, e))
        if len(kept) < algorithm.accumulate:
            return
        number = t // algorithm.accumulate
        self.before[l] = self._now(l)
        values, errors = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        self.update(l, values, errors, self.alpha(number) * algorithm.rate(l, self.net.depth, number), number + 1)
        kept.clear()

    def _now(self, l: int) -> Dense:
        """Layer l with a copy of its weights as they stand."""
        layer = self.net.layers[l]
        weights, bias = layer.weights.copy(), None if layer.bias is None else layer.bias.copy()
        return _with(layer, weights, bias)


def _layer(layer: Dense, parts: list[Array]) -> Dense:
    """A layer with other weights and, if it has any, biases."""
    return _with(layer, parts[0], None if layer.bias is None else parts[1])


def _with(layer: Dense, weights: Array, bias: Array | None) -> Dense:
    return replace(layer, make_weights=lambda: weights, make_bias=None if bias is None else lambda: bias)


def _ahead(now: Dense, before: Dense, delay: float) -> Dense:
    """A layer as linear prediction expects it ``delay`` updates later."""
    weights = (now.weights + delay * (now.weights - before.weights)).astype(now.weights.dtype)
    if now.bias is None or before.bias is None:
        return _with(now, weights, None)
    return _with(now, weights, (now.bias + delay * (now.bias - before.bias)).astype(now.bias.dtype))
