"""What an engine holds, taken out of its memory and put into it: the net, the values, and all that a training needs to
go on.

Each worker has parts of the arrays; a ``layout`` says which, and a ``transport`` puts together what several processes
have.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from ..algorithms import Algorithm
from ..host.threads import in_threads
from ..net.extras import HEADS
from ..net.network import Network, with_arrays
from ..schedule.calendar import Calendar
from .layout import Layout
from .loops.arguments import Arrays, Options, Ranks, Who
from .loops.steps import activate_block
from .rings import Flights
from .starts import PipelinedStarts
from .states import check_state
from .streams import StreamLayout, Streams
from .sweeps import Sweeps

Array = np.ndarray


class Transport(Protocol):
    """Who works here, and how workers hear of one another: the threads of one process, or ranks of such threads."""

    workers: int  # of this process
    all_workers: int
    place: int  # of this process's first worker among all
    first_core: int
    pin: bool
    below: bool  # whether there is another process below, or above
    above: bool
    copies: bool  # whether each process has rows of its own where samples are split

    def connect(self, layout: Layout, arrays: list[Arrays], execution: str | None, starts: PipelinedStarts) -> None: ...
    def start(self, work: Callable[[int], None], stop: Array) -> None: ...
    def neighbours(self, layout: Layout, batches: int, first_start: int, spent: Array, *run: Any) -> Ranks: ...
    def backprop(self, execution: str) -> tuple[Any, tuple]: ...
    def shared(self, execution: str, ranks: Ranks) -> tuple[Any, tuple]: ...
    def together(self, seconds: float, energy: Array) -> tuple[float, float]: ...
    def everyone(self, mine: Any) -> list[Any]: ...
    def steps_in_a_wave(self, layout: Layout, wave: int, chosen: bool) -> int: ...
    def assemble(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        index: Callable[[int], tuple | None],
        mine: Callable[[int], Array],
        everywhere: bool = True,
    ) -> Array | None: ...


class Contents:
    """The memory of an engine, and where it stands: what ``state`` takes out and ``restore`` puts in."""

    original: Network  # as it was given
    algorithm: Algorithm
    transport: Transport
    layout: Layout
    arrays: list[Arrays]
    options: Options
    calendar: Calendar | None
    starts: PipelinedStarts
    flights: Flights | None
    streams: Streams | None
    sweeps: Sweeps | None
    y: Array
    x: Array  # the data, of which a process may have no columns
    batch: int
    full_batch: bool
    momentum: float  # of the values
    t: int  # step of the cycle
    number: int  # weight updates made
    begun: int  # batches begun
    given: bool  # whether the first start is

    first_rows: Array | None  # of a batch that was drawn beforehand
    batches: Callable[[], Array]

    def _next_rows(self) -> Array:
        rows, self.first_rows = self.batches() if self.first_rows is None else self.first_rows, None
        return rows

    def _in_threads(self, work: Callable[[int], None]) -> None:
        in_threads(self.transport.workers, work, pin=self.transport.pin, first_core=self.transport.first_core)

    def _who(self, worker: int) -> Who:
        transport, P = self.transport, self.transport.workers
        below = worker - 1 if worker else (P if transport.below else -1)
        above = worker + 1 if worker + 1 < P else (P + 1 if transport.above else -1)
        return Who(worker, P, below, above, transport.place + worker, *self.layout.blocks[worker])

    @property
    def network(self) -> Network:
        """The net as it stands, a copy."""
        whole = self.gather()
        assert whole is not None
        return whole

    @property
    def values(self) -> list[Array]:
        """Values of all layers, a copy: L + 1 arrays (B, n[l]); for BP the last forward pass (of the cross-entropy with
        the softmax of the output)."""
        whole = self.gather_values()
        assert whole is not None
        return whole

    def gather(self, everywhere: bool = True) -> Network | None:
        """The net as it stands, a copy; of several processes on the first, or ``everywhere``."""
        weights, biases = self._gathered(self.arrays[0].parameters, everywhere)
        heads = self._heads(self.arrays[0].parameters, everywhere)
        if weights is None:
            return None
        net = with_arrays(self.original, weights, biases or None)
        if self.streams:
            object.__setattr__(net, HEADS, heads)
        return net

    def gather_values(self, everywhere: bool = True) -> list[Array] | None:
        """Values of all layers, a copy; of several processes on the first, or ``everywhere``."""
        found = []
        for l in range(self.original.depth + 1):
            index, mine = partial(self.layout.value_part, l=l), partial(self._values_of, l=l)
            found.append(self._assembled((self.batch, self.original.sizes[l]), index, mine, everywhere))
        return None if any(values is None for values in found) else [values for values in found if values is not None]

    def _values_of(self, worker: int, l: int) -> Array:
        """The part of layer l's values that a worker of this process has."""
        layout = self.layout
        values = layout.values_of(self.arrays[worker].values, l, worker)
        if l == self.original.depth and (self.calendar is None or self.sweeps):  # there is the target
            pulled = self.sweeps.beta if self.sweeps else 1
            values = values - layout.errors_of(self.arrays[worker].errors, l, worker) / pulled
        return values[layout.value_part(layout.place + worker, l)]

    def _gathered(self, flat: Array, everywhere: bool = True) -> tuple[list[Array] | None, list[Array]]:
        """Weights and biases in an array like the parameters, a copy of each; None where they are not put together."""
        layout, found = self.layout, tuple[list[Array], list[Array]](([], []))
        for l in range(self.original.depth):
            part, shape = partial(layout.weight_part, l=l), self.original.layers[l].weight_shape
            for kind, whole in enumerate(found[: 1 if self.original.biases is None else 2]):

                def mine(worker: int, l: int = l, kind: int = kind) -> Array:
                    return layout.rows_of(flat, worker, l)[kind]

                put = self._assembled(shape[: 2 - kind], part, mine, everywhere)
                if put is not None:
                    whole.append(put)
        return (found[0] or None), found[1]

    def _heads(self, flat: Array, everywhere: bool = True) -> list[Array]:
        """Heads in an array like the parameters, a copy of each; none where there are none, or are not put together."""
        found, layout, sizes = [], self.layout, self.original.sizes
        for l in range(self.original.depth - 1) if isinstance(layout, StreamLayout) else ():

            def mine(worker: int, l: int = l) -> Array:
                assert isinstance(layout, StreamLayout)
                return layout.head_of(flat, l)

            part = partial(layout.weight_part, l=l)
            found.append(self._assembled((sizes[-1], sizes[l + 1]), part, mine, everywhere))
        return [whole for whole in found if whole is not None]

    def _assembled(self, shape: tuple[int, ...], index: Any, mine: Any, everywhere: bool) -> Array | None:
        return self.transport.assemble(shape, self.original.dtype, index, mine, everywhere)

    def state(self) -> dict[str, Any]:
        """All that a training needs to go on from here, on any engine: ``weights``, ``biases``, ``values``; the
        optimiser's ``mean`` and ``square``, of weights and then biases (empty where it has none); ``step`` of the
        cycle, ``updates`` made, ``batches`` begun; whether the values are ``given``; the ``velocity`` of values
        with momentum; of pipelined ``starts`` under way the values of each, x[0], x[1] … as far as known; and what of
        asynchronous BP is in flight (see ``states.FLIGHTS``)."""
        net, both = self.network, (self.arrays[0].mean, self.arrays[0].square)
        moments = [self._gathered(flat) if len(flat) else ([], []) for flat in both]
        of_heads = [self._heads(flat) if len(flat) else [] for flat in both]
        return {
            "weights": list(net.weights), "biases": None if net.biases is None else list(net.biases),
            "values": self.values, "mean": [*(moments[0][0] or ()), *moments[0][1], *of_heads[0]],
            "square": [*(moments[1][0] or ()), *moments[1][1], *of_heads[1]], "step": self.t, "updates": self.number,
            "batches": self.begun, "given": self.given, "velocity": self._velocities(),
            "starts": self.starts.state(self.t, self._assembled),
            **({"heads": list(net.heads or [])} if self.streams else {}),
            **({"dual": self._of_sweeps(self.sweeps)} if self.sweeps else {}),
            **(self.flights.state(self.number, self.arrays[0].values, self._assembled) if self.flights else {}),
        }  # fmt: skip

    def _of_sweeps(self, sweeps: Sweeps) -> list[Array]:
        return sweeps.state(self.arrays, self._assembled) if self.begun else []

    def _velocities(self) -> list[Array]:
        """Of values with momentum, (B, n[l]) for l = 1 … L - 1; else none."""
        layout, found = self.layout, []
        for l in range(1, self.original.depth) if self.momentum else ():
            shape = (self.batch, self.original.sizes[l])

            def mine(worker: int, l: int = l) -> Array:
                return layout.values_of(self.arrays[worker].velocity, l, worker)[
                    layout.value_part(layout.place + worker, l)
                ]

            found.append(self._assembled(shape, partial(layout.value_part, l=l), mine, True))
        return [part for part in found if part is not None]

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state`` of any engine with the same net, algorithm, data and options; this one must be fresh,
        so that its ``batches`` begin at the beginning. InputError if the state does not fit."""
        check_state(state, self.original, self.algorithm, self.calendar, self.batch, self.begun)
        self.t, self.number, self.given = state["step"], state["updates"], state["given"]
        rows = [self._next_rows() for _ in range(state["batches"] - self.begun)]
        self.begun = state["batches"]
        if self.starts.on:
            self.starts.restored(self.number, rows)
        if self.flights:
            self.flights.restored(self.number, rows, self.full_batch)

        targets = self.y[rows[-1]] if self.sweeps and rows else self.y[:0]

        def put(worker: int) -> None:
            layout, arrays = self.layout, self.arrays[worker]
            lo, hi = layout.blocks[worker]
            values = None if self.flights or self.streams else state["values"] or None
            self._fill(state["weights"], state["biases"], values, worker, state.get("heads"))
            for l in {0, layout.depth} & {*range(lo, hi + 1)} if state["values"] else ():
                layout.values_of(arrays.values, l, worker)[...] = state["values"][l]
            layout.errors_of(arrays.errors, layout.depth, worker)[...] = 0
            for l in range(1, layout.depth) if state["velocity"] else ():
                if lo <= l < hi:
                    layout.values_of(arrays.velocity, l, worker)[...] = state["velocity"][l - 1]
                elif l == hi:  # the copy at the upper edge
                    layout.values_of(arrays.velocity[layout.value_count :], l, worker)[...] = state["velocity"][l - 1]
            for flat, parts in ((arrays.mean, state["mean"]), (arrays.square, state["square"])):
                for l in range(lo, hi) if len(flat) else ():
                    first, rows = layout.owned(worker, l)
                    of_layer = parts[l : 2 * layout.depth if state["biases"] else layout.depth : layout.depth]
                    for place, part in zip(layout.rows_of(flat, worker, l), of_layer, strict=False):
                        place[...] = part[first : first + rows]
                if self.streams and len(flat):
                    kinds = 2 if state["biases"] else 1
                    self.streams.layout.fill_heads(flat, parts[kinds * layout.depth :], lo, hi)
            self.starts.restore(worker, self.t, state.get("starts", []))
            if self.flights:
                there = self._who(worker)._replace(hi=self.flights.last_here(worker))
                for at in self.flights.restore(worker, state, self.x, arrays):
                    activate_block(there, arrays, layout.offsets[worker]._replace(value_at=at), self.options)
            if self.sweeps and state["dual"]:
                self.sweeps.restore(arrays, worker, state["dual"], state["values"], targets)
            elif self.calendar is not None:
                activate_block(self._who(worker), arrays, layout.offsets[worker], self.options)

        self._in_threads(put)

    def _fill(
        self, weights: Any, biases: Any, values: list[Array] | None, worker: int, heads: list[Array] | None = None
    ) -> None:
        """Weights and biases of a worker, and its values if they are given."""
        layout, arrays = self.layout, self.arrays[worker]
        lo, hi = layout.blocks[worker]
        for l in range(lo, hi):
            given = weights[l]
            first, rows = layout.owned(worker, l)
            for whole in layout.rows_of(arrays.parameters, worker, l, padding=True):
                whole[...] = 0
            mine, bias = layout.rows_of(arrays.parameters, worker, l)
            mine[...] = given[first : first + rows]
            if biases is not None:
                bias[...] = biases[l][first : first + rows]
        if self.flights:
            self.flights.fill(arrays.parameters, worker)
        if self.streams:
            given_heads = self.original.heads if heads is None else heads
            self.streams.layout.fill_heads(arrays.parameters, list(given_heads or []), lo, hi)
        if values is not None:  # with the copies at both edges of the block, of which a neighbour may be elsewhere
            for l in range(max(lo, 1), hi):
                layout.values_of(arrays.values, l)[...] = values[l]
            layout.values_of(arrays.top, hi)[...] = values[hi]
