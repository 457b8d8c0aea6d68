"""BP and iPC in JAX on its CPU client. Imported only in a peer's own process, after its cores are set.

Found by timing (JAX 0.4.38 and 0.10.2, two cores, batch 1): ``dot_general`` says which dimensions are multiplied, and
is up to seven times as fast as ``h @ W.T``, for which XLA may write out the transpose. A loop in the compiled code
saves the cost of a call (0.08 of 0.10 ms at 32 x 64), and two or eight updates in a turn of that loop save copies.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from ...algorithms import Algorithm
from ..case import Case
from .jax_layers import Layer, layer
from .process import Array, Variant

ACTIVATIONS: dict[str, Callable] = {  # their slopes are JAX's own
    "identity": lambda x: x,
    "tanh": jax.numpy.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "sigmoid": jax.nn.sigmoid,
    "gelu": partial(jax.nn.gelu, approximate=False),
}

OUT_IN, IN_OUT = "h @ W.T", "h @ W"  # how the weights lie: W[l] as in pcsim, or transposed

Way = tuple[str, bool]  # the layout of the weights, and whether convolutions are products of patches

LONGEST_COMPILATION = 20.0  # seconds: what is expected to take longer is left out

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of Adam

# Weights, and for iPC the values of the hidden layers; Adam's two moments, updates made, and batches begun.
State = tuple[list, list, list, list, Any, Any]


class Peer:
    """The net of ``case`` in JAX; a state for each layout in use."""

    def __init__(self, case: Case, algorithm: Algorithm, workers: int) -> None:
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        self.notes: list[str] = []
        self.versions = {"jax": jax.__version__}
        self.algorithm, self.adam = algorithm.name, algorithm.optimizer == "adam"
        self.f = ACTIVATIONS[case.activation]
        found = case.outline
        self.kinds = [*zip(found.forms, found.skip, strict=True)] if found else [(None, False)] * case.depth
        self.convolves = case.convolves
        _, x, y = case.problem()
        rows = case.table_of_batches()
        self.changing = rows is not None
        # Updates on a batch, which are a turn of the loop.
        self.steps = (case.steps_per_batch or 1) if self.algorithm == "ipc" else 1
        self.data = [jax.numpy.asarray(part) for part in (x, y, np.zeros((1, 1), np.int32) if rows is None else rows)]
        self.dtype = self.data[0].dtype
        self.states: dict[str, State] = {}
        self.seconds = 0.0  # that one update took to compile

    def load(self, weights: list[Array], values: list[Array], algorithm: Algorithm) -> None:
        """Start again from ``weights`` and ``values``."""
        self.states.clear()
        self.start = weights, values[1:-1] if self.algorithm == "ipc" else []
        self.rates = [np.asarray(rate, self.dtype) for rate in (algorithm.alpha, getattr(algorithm, "gamma", 0.0))]

    def arrays(self) -> tuple[list[Array], list[Array]]:
        """The weights, (n[l+1], n[l]), and the values, (B, n[l])."""
        ((layout, (weights, hidden, _, _, _, begun)),) = self.states.items()
        weights = [np.asarray(w.T if layout == IN_OUT else w) for w in weights]
        if self.algorithm != "ipc":
            return weights, []
        x, y = self._batch(begun - 1, *self.data)
        return weights, [np.asarray(v) for v in (x, *hidden, y)]

    def _batch(self, begun: Any, x: Any, y: Any, rows: Any) -> tuple[Any, Any]:
        """x and y after so many batches."""
        if not self.changing:
            return x, y
        mine = rows[begun % rows.shape[0]]
        return x[mine], y[mine]

    def variants(self, best: str | None) -> dict[str, Callable[[], Variant]]:
        """Both layouts, for BP both derivatives, and convolutions as products too; then the ways to repeat what was
        best among them."""
        own = ipc if self.algorithm == "ipc" else bp
        steps: dict[str, tuple[Way, Callable]] = {layout: ((layout, False), own) for layout in (OUT_IN, IN_OUT)}
        if self.convolves:
            steps |= {f"{layout}, patches": ((layout, True), own) for layout in (OUT_IN, IN_OUT)}
        if self.algorithm != "ipc":
            steps[f"{IN_OUT}, jax.grad"] = (IN_OUT, False), bp_by_grad
        if best is None:
            return {name: partial(self._loop, *step, 1) for name, step in steps.items()}
        if best not in steps:
            return {}
        one, many = ("a batch", "batches") if self.steps > 1 else ("an update", "updates")
        more: dict[str, Callable[[], Variant]] = {f"{best}, {one} a call": partial(self._calls, *steps[best])}
        for several in (2, 8):
            if several * self.seconds <= LONGEST_COMPILATION:
                more[f"{best}, {several} {many} a turn"] = partial(self._loop, *steps[best], several)
            else:
                self.notes.append(f"{best}, {several} {many} a turn: would compile for too long")
        return more

    def _state(self, layout: str) -> State:
        if layout not in self.states:
            weights, hidden = self.start
            # A copy in any case: it is donated, and must not be pcsim's own memory.
            copies = [jax.numpy.array(np.array(w.T if layout == IN_OUT else w, order="C")) for w in weights]
            moments = [[jax.numpy.zeros_like(w) for w in copies] if self.adam else [] for _ in range(2)]
            counts = [jax.numpy.zeros((), np.int32) for _ in range(2)]
            self.states[layout] = (copies, [jax.numpy.array(v) for v in hidden], *moments, *counts)
        return self.states[layout]

    def _turn(self, way: Way, step: Callable) -> Callable:
        """As many updates as are made on a batch, at least one; from a state to the next."""
        layout, patches = way
        layers = [layer(form, skip, layout == IN_OUT, patches) for form, skip in self.kinds]
        step = partial(step, self.f, layers)

        def turn(state: State, x: Any, y: Any, rows: Any, alpha: Any, gamma: Any) -> State:
            W, hidden, means, squares, made, begun = state
            x, y = self._batch(begun, x, y, rows)
            if self.changing and self.algorithm == "ipc":
                hidden, h = [], x
                for l, w in enumerate(W[:-1]):
                    hidden.append(layers[l].above(h, self.f(h) if l else h, w))
                    h = hidden[-1]

            def update(held: tuple) -> tuple:
                W, hidden, means, squares, made = held
                rate = np.ones((), self.dtype) if self.adam else alpha
                ascents, hidden = step(W, hidden, x, y, rate, gamma)
                made = made + 1
                if self.adam:
                    ascents, means, squares = adam(ascents, means, squares, made, alpha)
                return [w + ascent for w, ascent in zip(W, ascents, strict=True)], hidden, means, squares, made

            held = W, hidden, means, squares, made
            if self.convolves and self.steps > 1:  # where copies are little of the time, and compiling is long
                held = jax.lax.fori_loop(0, self.steps, lambda _, held: update(held), held)
            else:
                for _ in range(self.steps):
                    held = update(held)
            return *held, begun + 1

        return turn

    def _loop(self, way: Way, step: Callable, several: int) -> Variant:
        turn, layout = self._turn(way, step), way[0]

        def turns_of(state: State, *data: Any) -> State:
            for _ in range(several):
                state = turn(state, *data)
            return state

        def loop(state: State, turns: Any, *data: Any) -> State:
            return jax.lax.fori_loop(0, turns, lambda _, state: turns_of(state, *data), state)

        compiled, chunk = self._compile(loop, layout, 1), several * self.steps

        def run(updates: int) -> None:
            state = compiled(self._state(layout), updates // chunk, *self.data, *self.rates)
            self.states[layout] = jax.block_until_ready(state)

        return Variant(run, chunk)

    def _calls(self, way: Way, step: Callable) -> Variant:
        layout = way[0]
        compiled = self._compile(self._turn(way, step), layout)

        def run(updates: int) -> None:
            state = self._state(layout)
            for _ in range(updates // self.steps):
                state = compiled(state, *self.data, *self.rates)
            self.states[layout] = jax.block_until_ready(state)

        return Variant(run, self.steps)

    def _compile(self, function: Callable, layout: str, *arguments: int) -> Callable:
        begin = time.perf_counter()
        jitted = jax.jit(function, donate_argnums=0)
        compiled = jitted.lower(self._state(layout), *arguments, *self.data, *self.rates).compile()
        self.seconds = self.seconds or time.perf_counter() - begin
        return compiled


def adam(ascents: list, means: list, squares: list, number: Any, alpha: Any) -> tuple[list, list, list]:
    """The ``number``-th step of Adam along these ascents (Kingma and Ba, arXiv:1412.6980), and its moments."""
    one, exact = np.ones((), alpha.dtype), jax.numpy.asarray(number, alpha.dtype)
    rate, spread = alpha / (one - BETA_1**exact), one / (one - BETA_2**exact)
    means = [BETA_1 * m + (1 - BETA_1) * g for m, g in zip(means, ascents, strict=True)]
    squares = [BETA_2 * s + (1 - BETA_2) * g * g for s, g in zip(squares, ascents, strict=True)]
    steps = [rate * m / (jax.numpy.sqrt(s * spread) + EPSILON) for m, s in zip(means, squares, strict=True)]
    return steps, means, squares


def bp(
    f: Callable, layers: list[Layer], W: list, hidden: list, x: Any, y: Any, alpha: Any, gamma: Any
) -> tuple[list, list]:
    """The weights' steps of one update of backprop, its backward pass by hand."""
    L, mu = len(W), x
    slopes, pulls = [], []
    for l in range(L):
        activity, slope = jax.vjp(f, mu) if l else (x, lambda e: (e,))
        product, pull = layers[l].linear(activity, W[l])
        mu = product + mu if layers[l].skip else product
        slopes.append(slope)
        pulls.append(pull)
    e = y - mu
    ascents = list(W)
    for l in reversed(range(L)):
        below, ascents[l] = pulls[l](e, alpha)
        if l:
            (driven,) = slopes[l](below)
            e = driven + e if layers[l].skip else driven
    return ascents, []


def bp_by_grad(
    f: Callable, layers: list[Layer], W: list, hidden: list, x: Any, y: Any, alpha: Any, gamma: Any
) -> tuple[list, list]:
    """The weights' steps of one update of backprop, its backward pass by ``jax.grad``."""

    def loss(W: list) -> Any:
        mu = x
        for l, w in enumerate(W):
            mu = layers[l].above(mu, f(mu) if l else mu, w)
        return 0.5 * ((mu - y) ** 2).sum()

    return [-alpha * gradient for gradient in jax.grad(loss)(W)], []


def ipc(
    f: Callable, layers: list[Layer], W: list, hidden: list, x: Any, y: Any, alpha: Any, gamma: Any
) -> tuple[list, list]:
    """The weights' steps and the new values of one step of iPC, the joint schedule: from the values, weights and errors
    before."""
    values, L = [x, *hidden, y], len(W)
    new, ascents, below = [], [], None  # below: the error of the layer at hand
    for l in range(L):
        activity, slope = jax.vjp(f, values[l]) if l else (x, lambda e: (e,))
        mu, pull = layers[l].linear(activity, W[l])
        e = values[l + 1] - (mu + values[l] if layers[l].skip else mu)
        back, ascent = pull(e, alpha)
        if l:
            (driven,) = slope(back)
            new.append(values[l] + gamma * ((driven + e if layers[l].skip else driven) - below))
        ascents.append(ascent)
        below = e
    return ascents, new
