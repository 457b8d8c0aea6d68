"""The oracle: every algorithm in plain NumPy, each line an equation of CONTRACT. Everything fast is held against it.

No cleverness belongs here: no fusion, no threads of its own, no reuse of buffers. (Its matrix products use as many
BLAS threads as NumPy does.)
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..algorithms import BP, DFA, Algorithm, AsyncBP, DualProp, Local, PredictiveCoding
from ..algorithms.common import MOMENTS
from ..algorithms.rates import Schedule, at_step
from ..checks import whole_number
from ..net.augment import Augment
from ..net.extras import FEEDBACK, HEADS
from ..net.losses import Squared
from ..net.network import Network, with_arrays
from ..schedule.timeline import Timeline
from .numpy_async import Flight
from .numpy_dual import Dual
from .numpy_streams import Feedback, local_step
from .optimizers import learnt, optimizers_of
from .states import check_state

Array = np.ndarray


class NumpyEngine:
    """Trains a copy of ``network`` on ``x``, (N, n[0]), and ``y``, (N, n[L]).

    ``batches`` gives the rows of the next batch each time a cycle begins; ``values``, L + 1 arrays (B, n[l]), take
    the place of the first cycle's forward pass (PC, Z-IL and iPC); ``schedule`` says how alpha changes from update to
    update; ``augment`` how images change, of which ``batches`` then gives coded rows.
    """

    def __init__(
        self,
        network: Network,
        algorithm: Algorithm,
        x: Array,
        y: Array,
        batches: Callable[[], Array],
        *,
        workers: int = 1,
        steps_per_batch: int | None = None,
        values: list[Array] | None = None,
        schedule: Schedule | None = None,
        start: str = "forward",
        augment: Augment | None = None,
    ) -> None:
        x, y = augment.views(x, y) if augment else (x, y)
        self.net = _copy(algorithm.prepared(network))
        self.algorithm, self.x, self.y, self.batches = algorithm, x, y, batches
        self.timeline: Timeline | None = None
        self.diverged: int | None = None
        self.x_t: list[Array] = values or []
        self.given = values is not None
        self.t = self.number = self.begun = 0  # step of the cycle; weight updates made; batches begun
        self.optimizers = optimizers_of(self.net, algorithm)
        self.schedule = schedule or Schedule()
        self.velocity: list[Array] = []  # of values with momentum: v[1] … v[L-1]
        if isinstance(algorithm, PredictiveCoding | DualProp):
            self.calendar = algorithm.calendar_from(network.depth, steps_per_batch, start)
        self.starts: list[tuple[Array, list[Array]]] = []  # of batches to come: rows, and x[0], x[1] … as far as known
        self.flight: Flight | None = None
        if isinstance(algorithm, AsyncBP):
            self.flight = Flight(self.net, algorithm, (x, y), self._next_rows, self._update, self._alpha_of)

        self.feedback: Feedback | None = None
        if isinstance(algorithm, DFA):
            self.feedback = Feedback(self.net, algorithm, (x, y), self._next_rows, self._ascend)
        self.dual: Dual | None = None
        if isinstance(algorithm, DualProp):
            self.dual = Dual(self.net, algorithm)

    def _parameters(self) -> list[Array]:
        """All that is learnt, as ``optimizers_of`` has it."""
        return learnt(self.net, self.algorithm)

    @property
    def network(self) -> Network:
        """The net as it stands, a copy."""
        return _copy(self.net)

    @property
    def values(self) -> list[Array]:
        """Values of all layers, a copy: L + 1 arrays (B, n[l]); for BP the last forward pass."""
        return [x.copy() for x in self.x_t]

    @property
    def _alpha(self) -> float:
        """The rate of the weight update that is being made."""
        return self._alpha_of(self.number)

    def _alpha_of(self, number: int) -> float:
        return self.algorithm.alpha * float(self.schedule.factors(number, 1)[0])

    def _next_rows(self) -> Array:
        self.begun += 1
        return self.batches()

    def state(self) -> dict[str, Any]:
        """All that a training needs to go on from here, on any engine (see ``CompiledEngine.state``); copies."""
        net, moments = self.net, MOMENTS[self.algorithm.optimizer]
        return {
            "weights": [w.copy() for w in net.weights],
            "biases": net.biases and [b.copy() for b in net.biases],
            "values": self.values,
            "mean": [part.mean.copy() for part in self.optimizers if moments > 0],
            "square": [part.square.copy() for part in self.optimizers if moments > 1],
            "step": self.t,
            "updates": self.number,
            "batches": self.begun,
            "given": self.given,
            "velocity": [v.copy() for v in self.velocity],
            "starts": [[x.copy() for x in values] for _, values in self.starts],
            **(self.flight.state() if self.flight else {}),
            **({"heads": [v.copy() for v in net.heads or []]} if isinstance(self.algorithm, Local) else {}),
            **({"feedback": list(net.feedback or []), **self.feedback.state()} if self.feedback else {}),
            **({"dual": self.dual.state()} if self.dual else {}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state`` of any engine with the same net, algorithm, data and options; this one must be fresh,
        so that its ``batches`` begin at the beginning. InputError if the state does not fit."""
        calendar = self.calendar if isinstance(self.algorithm, PredictiveCoding | DualProp) else None
        check_state(state, self.net, self.algorithm, calendar, None, self.begun)
        kept = [*state["weights"], *(state["biases"] or []), *state.get("heads", [])]
        for mine, its in zip(self._parameters(), kept, strict=True):
            mine[...] = its
        self.x_t = [x.copy() for x in state["values"]]
        for field in ("mean", "square"):
            for part, moment in zip(self.optimizers, state[field], strict=False):
                setattr(part, field, moment.copy())
        self.velocity = [v.copy() for v in state["velocity"]]
        rows = [self._next_rows() for _ in range(state["batches"])]
        started = [[x.copy() for x in values] for values in state.get("starts", [])]
        self.starts = list(zip(rows[len(rows) - len(started) :], started, strict=True))
        self.t, self.number, self.given = state["step"], state["updates"], state["given"]
        if self.flight and self.number:
            self.flight.restore(state, rows)
        if self.feedback:
            object.__setattr__(self.net, FEEDBACK, [b.copy() for b in state["feedback"]] or None)
            if self.number:
                self.feedback.restore(state, rows)
        if self.dual and state["dual"]:
            self.dual.restore(state["dual"], self.x_t, self.y[rows[-1]])

    def run(self, updates: int, trace: bool = False) -> tuple[float, float]:
        """Make ``updates`` complete weight updates; seconds taken, and the energy F before the first of them.

        There is no trace: NumPy's calls are not the tasks of the graph.
        """
        whole_number("updates", updates)
        begin = time.perf_counter()
        energies = [self._made() for _ in range(updates)]
        return time.perf_counter() - begin, energies[0]

    def _made(self) -> float:
        """One complete weight update."""
        if isinstance(self.algorithm, BP):
            return self._backprop()
        if isinstance(self.algorithm, Local):
            return self._local()
        if self.feedback:
            loss = self.feedback.step()
            self._note_divergence(np.array(loss))
            self.number, self.x_t = self.number + 1, self.feedback.values
            return loss
        return self._dual() if self.dual else self._predictive_coding()

    def _local(self) -> float:
        assert isinstance(self.algorithm, Local)
        rows = self._next_rows()
        x, y = self.x[rows].astype(self.net.dtype, copy=False), self.y[rows]
        losses, self.x_t = local_step(self.net, self.algorithm, x, y, self._ascend, self.number + 1)
        self._note_divergence(np.array(losses))
        self.number += 1
        return losses

    def _dual(self) -> float:
        """Half sweeps up to the one that completes a weight update; the loss of the output when it first moved."""
        dual, calendar, done, loss = self.dual, self.calendar, self.number, None
        assert dual is not None
        while self.number == done:
            stage = calendar.stages[self.t % len(calendar.stages)]
            if self.t == 0:
                rows = self._next_rows()
                dual.begin(self.x[rows].astype(self.net.dtype, copy=False), self.y[rows])
            ascents, found = dual.half_sweep(stage)
            if loss is None and found is not None:
                loss = found
                self._note_divergence(dual.difference[-1])
            for l, both in ascents.items():
                for position, ascent in zip((l, self.net.depth + l), both, strict=True):
                    if ascent is not None:
                        self._ascend(position, ascent, self.number + 1)
            self.number += stage.completes
            self.t = 0 if self.t + 1 == calendar.cycle else self.t + 1
        assert loss is not None
        self.x_t = dual.values
        return loss

    def _note_divergence(self, error: Array) -> None:
        if self.diverged is None and not np.isfinite(error).all():
            self.diverged = self.number

    def _backprop(self) -> float:
        if self.flight:
            energy = self.flight.steps()
            self.number, self.x_t = self.number + 1, self.flight.values
            return energy
        net, rows = self.net, self._next_rows()
        L, alpha = net.depth, self._alpha
        x = net.forward(self.x[rows])  # Eq. 12
        errors = [net.loss.error(x[L], self.y[rows])]  # minus the gradients of the loss by x[L], x[L-1], …, x[1]
        self._note_divergence(errors[0])
        loss = net.loss.loss(x[L], self.y[rows])
        for l in reversed(range(1, L)):  # Eq. 13
            errors.append(net.layers[l].pull_back(x[l], errors[-1]).astype(net.dtype, copy=False))
        self.number += 1
        for l, e in zip(reversed(range(L)), errors, strict=True):
            self._update(l, x[l], e, alpha, self.number)
        # What is predicted, in the loss's own terms: of the cross-entropy shares.
        self.x_t = x if isinstance(net.loss, Squared) else [*x[:L], self.y[rows] - errors[0]]
        return loss

    def _predictive_coding(self) -> float:
        """Steps up to and including the one that completes a weight update."""
        done = self.number
        energy = None
        while self.number == done:
            energy, complete = self._step(energy)
            self.number += complete
        assert energy is not None
        return energy

    def _step(self, energy: float | None) -> tuple[float | None, bool]:
        net, algorithm, calendar, t = self.net, self.algorithm, self.calendar, self.t
        assert isinstance(algorithm, PredictiveCoding)
        L, gamma, stage = net.depth, at_step(algorithm.gamma, t), calendar.stages[t % len(calendar.stages)]
        if calendar.pipelined:
            self._begin_starts()
        if t == 0:
            rows, known = self.starts.pop(0) if self.starts else (self._next_rows(), [])
            if not self.given:
                self.x_t = [*known, self.y[rows]] if known else net.forward(self.x[rows])
            self.x_t = [self.x[rows], *(v.astype(net.dtype) for v in self.x_t[1:L]), self.y[rows]]
            self.given = False
            self.velocity = [np.zeros_like(v) for v in self.x_t[1:L]] if algorithm.value_momentum else []
        x = self.x_t
        pi = [1.0] * L + [at_step(algorithm.precision, t)]

        # The joint schedule: everything below is computed from (x_t, W_t), and only then put in place.
        mu = {l + 1: net.layers[l].predict(x[l]) for l in range(L)}
        e = {l: x[l] - mu[l] for l in range(1, L)} | {L: net.loss.error(mu[L], x[L])}  # Eq. 9
        self._note_divergence(e[L])
        new = list(x)
        if stage.move:
            for l in range(1, L):  # Eq. 6
                back = net.layers[l].pull_back(x[l], pi[l + 1] * e[l + 1])
                force = back - pi[l] * e[l]
                if self.velocity:
                    force = self.velocity[l - 1] = algorithm.value_momentum * self.velocity[l - 1] + force
                new[l] = (x[l] + gamma * force).astype(net.dtype, copy=False)

        for _, values in self.starts:  # pipelined: each one layer further
            values.append(net.layers[len(values) - 1].predict(values[-1]).astype(net.dtype, copy=False))

        if stage.update and energy is None:
            energy = sum(Squared().energy(e[l], pi[l]) for l in range(1, L)) + net.loss.loss(mu[L], x[L], pi[L])
        for l in stage.update:  # Eq. 7
            self._update(l, x[l], pi[l + 1] * e[l + 1], self._alpha, self.number + 1)
        self.x_t = new
        self.t = 0 if t + 1 == calendar.cycle else t + 1
        return energy, stage.completes

    def _begin_starts(self) -> None:
        """Pipelined: begin those that are due. In this step batch k, which comes in so many more steps, is predicted
        x[L - steps]; what would lie before step 0 is an ordinary forward pass."""
        net, cycle, t = self.net, self.calendar.cycle, self.t
        L, first = net.depth, self.number == 0 and t == 0
        batch = self.number // (int(self.calendar.completed[-1]) * (self.calendar.repeats or 1))  # of this step
        if first and L > 1:
            self.starts.append(self._started(L - 1))
        while (comes := (self.begun - batch) * cycle - t) <= L - 1 and comes > 0:
            self.starts.append(self._started(L - 1 - comes if first else 0))

    def _started(self, layers: int) -> tuple[Array, list[Array]]:
        """The rows of the next batch and x[0], with the forward pass through so many layers."""
        rows = self._next_rows()
        values = [self.x[rows].astype(self.net.dtype, copy=False)]
        for l in range(layers):
            values.append(self.net.layers[l].predict(values[-1]).astype(self.net.dtype, copy=False))
        return rows, values

    def _update(self, l: int, x: Array, e: Array, alpha: float, number: int) -> None:
        """``W[l]`` and ``b[l]`` by the optimiser's step along their gradients."""
        for position, ascent in zip((l, self.net.depth + l), self.net.layers[l].gradient(x, e), strict=True):
            self._ascend(position, ascent, number, alpha)

    def _ascend(self, position: int, ascent: Array | None, number: int, alpha: float | None = None) -> None:
        """One of the ``_parameters`` by the optimiser's step of that update, at the rate of that update unless told."""
        if ascent is not None:
            parameter = self._parameters()[position]
            rate = self._alpha_of(number - 1) if alpha is None else alpha
            step = self.optimizers[position].step(parameter, ascent, rate, number)
            parameter += step.astype(self.net.dtype, copy=False)


def _copy(net: Network) -> Network:
    other = with_arrays(net, [w.copy() for w in net.weights], net.biases and [b.copy() for b in net.biases])
    if net.heads is not None:  # which are learnt too
        object.__setattr__(other, HEADS, [v.copy() for v in net.heads])
    return other
