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

LONGEST_COMPILATION = 20.0  # seconds: what is expected to take longer is left out

State = tuple[list, list]  # weights, and for iPC the values of the hidden layers


class Peer:
    """The net of ``case`` in JAX; a state for each layout in use."""

    def __init__(self, case: Case, algorithm: Algorithm, workers: int) -> None:
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        self.notes: list[str] = []
        self.versions = {"jax": jax.__version__}
        self.algorithm = algorithm.name
        self.f = ACTIVATIONS[case.activation]
        _, x, y = case.problem()
        self.x, self.y = jax.numpy.asarray(x), jax.numpy.asarray(y)
        self.states: dict[str, State] = {}
        self.seconds = 0.0  # that one update took to compile

    def load(self, weights: list[Array], values: list[Array], algorithm: Algorithm) -> None:
        """Start again from ``weights`` and ``values``."""
        self.states.clear()
        self.start = weights, values[1:-1] if self.algorithm == "ipc" else []
        self.rates = [np.asarray(rate, self.x.dtype) for rate in (algorithm.alpha, getattr(algorithm, "gamma", 0.0))]

    def arrays(self) -> tuple[list[Array], list[Array]]:
        """The weights, (n[l+1], n[l]), and the values, (B, n[l])."""
        ((layout, (weights, hidden)),) = self.states.items()
        values = [self.x, *hidden, self.y] if self.algorithm == "ipc" else []
        return [np.asarray(w.T if layout == IN_OUT else w) for w in weights], [np.asarray(v) for v in values]

    def variants(self, best: str | None) -> dict[str, Callable[[], Variant]]:
        """Both layouts, and for BP both derivatives; then the ways to repeat what was best among them."""
        steps: dict[str, tuple[str, Callable]] = {}
        if self.algorithm == "ipc":
            steps = {layout: (layout, ipc) for layout in (OUT_IN, IN_OUT)}
        else:
            steps = {layout: (layout, bp) for layout in (OUT_IN, IN_OUT)}
            steps[f"{IN_OUT}, jax.grad"] = IN_OUT, bp_by_grad
        if best is None:
            return {name: partial(self._loop, *step, 1) for name, step in steps.items()}
        if best not in steps:
            return {}
        more: dict[str, Callable[[], Variant]] = {f"{best}, an update a call": partial(self._calls, *steps[best])}
        for several in (2, 8):
            if several * self.seconds <= LONGEST_COMPILATION:
                more[f"{best}, {several} updates a turn"] = partial(self._loop, *steps[best], several)
            else:
                self.notes.append(f"{best}, {several} updates a turn: would compile for too long")
        return more

    def _state(self, layout: str) -> State:
        if layout not in self.states:
            weights, hidden = self.start
            self.states[layout] = (
                # A copy in any case: it is donated, and must not be pcsim's own memory.
                [jax.numpy.array(np.array(w.T if layout == IN_OUT else w, order="C")) for w in weights],
                [jax.numpy.array(v) for v in hidden],
            )
        return self.states[layout]

    def _loop(self, layout: str, step: Callable, several: int) -> Variant:
        step = partial(step, self.f, layout == IN_OUT)

        def turn(state: State, *data: Any) -> State:
            for _ in range(several):
                state = step(state, *data)
            return state

        def loop(state: State, turns: Any, *data: Any) -> State:
            return jax.lax.fori_loop(0, turns, lambda _, state: turn(state, *data), state)

        compiled = self._compile(loop, layout, 1)

        def run(updates: int) -> None:
            state = compiled(self._state(layout), updates // several, self.x, self.y, *self.rates)
            self.states[layout] = jax.block_until_ready(state)

        return Variant(run, several)

    def _calls(self, layout: str, step: Callable) -> Variant:
        compiled = self._compile(partial(step, self.f, layout == IN_OUT), layout)

        def run(updates: int) -> None:
            state = self._state(layout)
            for _ in range(updates):
                state = compiled(state, self.x, self.y, *self.rates)
            self.states[layout] = jax.block_until_ready(state)

        return Variant(run)

    def _compile(self, function: Callable, layout: str, *arguments: int) -> Callable:
        begin = time.perf_counter()
        jitted = jax.jit(function, donate_argnums=0)
        compiled = jitted.lower(self._state(layout), *arguments, self.x, self.y, *self.rates).compile()
        self.seconds = self.seconds or time.perf_counter() - begin
        return compiled


def dot(a: Any, b: Any, i: int, j: int) -> Any:
    """The product over dimension ``i`` of a matrix and ``j`` of another."""
    return jax.lax.dot_general(a, b, (((i,), (j,)), ((), ())))


def forth(turned: bool, h: Any, w: Any) -> Any:
    """``h @ W.T``"""
    return dot(h, w, 1, 0 if turned else 1)


def back(turned: bool, e: Any, w: Any) -> Any:
    """``e @ W``"""
    return dot(e, w, 1, 1 if turned else 0)


def outer(turned: bool, e: Any, h: Any) -> Any:
    """``e.T @ h``"""
    return dot(h, e, 0, 0) if turned else dot(e, h, 0, 0)


def bp(f: Callable, turned: bool, state: State, x: Any, y: Any, alpha: Any, gamma: Any) -> State:
    """One update of backprop, its backward pass by hand."""
    W, _ = state
    L = len(W)
    h, slopes = [x], [lambda e: (e,)]
    for l in range(L - 1):
        activity, slope = jax.vjp(f, forth(turned, h[l], W[l]))
        h.append(activity)
        slopes.append(slope)
    e = y - forth(turned, h[L - 1], W[L - 1])
    new = list(W)
    for l in reversed(range(L)):
        new[l] = W[l] + outer(turned, alpha * e, h[l])
        if l:
            (e,) = slopes[l](back(turned, e, W[l]))
    return new, []


def bp_by_grad(f: Callable, turned: bool, state: State, x: Any, y: Any, alpha: Any, gamma: Any) -> State:
    """One update of backprop, its backward pass by ``jax.grad``."""

    def loss(W: list) -> Any:
        mu = x
        for l, w in enumerate(W):
            mu = forth(turned, f(mu) if l else mu, w)
        return 0.5 * ((mu - y) ** 2).sum()

    W, _ = state
    return [w - alpha * gradient for w, gradient in zip(W, jax.grad(loss)(W), strict=True)], []


def ipc(f: Callable, turned: bool, state: State, x: Any, y: Any, alpha: Any, gamma: Any) -> State:
    """One step of iPC, the joint schedule: new values and new weights from the values, weights and errors before."""
    W, hidden = state
    L = len(W)
    values = [x, *hidden, y]
    h, slopes = [x], [lambda e: (e,)]
    for l in range(1, L):
        activity, slope = jax.vjp(f, values[l])
        h.append(activity)
        slopes.append(slope)
    e = [values[l + 1] - forth(turned, h[l], W[l]) for l in range(L)]  # e[l] here is the error of layer l + 1
    new = [values[l] + gamma * (slopes[l](back(turned, e[l], W[l]))[0] - e[l - 1]) for l in range(1, L)]
    return [W[l] + outer(turned, alpha * e[l], h[l]) for l in range(L)], new
