"""A net in training by compiled loops: a layout of its memory, a transport between its workers, and a calendar.

This file starts runs, and turns what the loops noted into a timeline. What a worker does in a step is in ``loops/``; it
never enters Python between the steps of a run.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from ..algorithms import BP, DFA, Algorithm, AsyncBP, DualProp, Local, PredictiveCoding
from ..algorithms.rates import Rate, Schedule, per_step
from ..checks import whole_number
from ..errors import InputError
from ..host.blas import blas_libraries, blas_threads, limit_worker
from ..kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ..kernels.layers.weights import MUON
from ..kernels.machine.sync import make_flags
from ..net.augment import PADDING, Augment, parts
from ..net.losses import Squared
from ..net.network import Network
from ..schedule.calendar import Calendar
from ..schedule.timeline import Event, Timeline
from ..schedule.waves import read_caches, wave_length
from .contents import Contents, Transport
from .feedback import Aligned, FeedbackLayout
from .layout import LAYERS, ROWS, SAMPLES, TEAMS, Layout, options_of, rule_of
from .limits import check_images, check_order, check_softmax
from .loops.arguments import Data, Images, Notes, Ranks, Rates, Signals, Steps
from .loops.predictive_coding import predictive_coding
from .loops.steps import TRACE_COLUMNS
from .rings import Flights, LateFlights, RingLayout
from .shared import SHARED, team_of, teams_for
from .starts import PipelinedStarts
from .streams import LONGEST_WAVE, StreamLayout, Streams
from .sweeps import Sweeps, SweptLayout
from .turns import Turns

Array = np.ndarray

MICRO_BATCHES = 8  # of the pipeline by default: the same for any number of workers, so that the bits are
MOST_ROWS = 1 << 20  # row numbers of batches that are made at a time
_SPLITS = {"intra-layer": ROWS, "data-parallel": SAMPLES}


class CompiledEngine(Contents):
    """Trains a copy of ``network`` on ``x``, (N, n[0]), and ``y``, (N, n[L]), by the workers of a ``transport``.

    ``batches`` gives the rows of the next batch each time one begins (``first_batch`` has been drawn already);
    ``values``, L + 1 arrays (B, n[l]), take the place of the first forward pass. ``wave`` is the number of steps a
    worker takes together (see ``loops/predictive_coding.py``), None for what suits the cache; it changes no bit of the
    result. ``fused=False`` reads the weights anew for each product of a step, and takes the steps one by one: the same
    bits, and what fusion is measured against.

    ``execution`` says how BP shares its work (``BP_EXECUTIONS``; default: serial), see ``loops/backprop.py``, or how
    PC, Z-IL and iPC do (``PC_EXECUTIONS``; default: layers on workers), see ``loops/teams.py``, ``loops/samples.py``.
    ``micro_batches`` is the number of parts that a pipeline makes of a batch (at most B), ``order`` in which order its
    stages take them (``schedule/pipelines.py``). ``schedule``: how alpha
    changes from update to update (None: it does not). ``start``: where the values of a new batch come from, "forward"
    or "pipelined" (see ``loops/starts.py``). ``augment``: how images change; then ``batches`` gives coded rows.
    """

    def __init__(
        self,
        network: Network,
        algorithm: Algorithm,
        x: Array,
        y: Array,
        batches: Callable[[], Array],
        transport: Transport,
        *,
        first_batch: Array,
        steps_per_batch: int | None,
        values: list[Array] | None,
        wave: int | None,
        fused: bool,
        execution: str | None,
        micro_batches: int,
        schedule: Schedule | None = None,
        start: str = "forward",
        blas_threads: int = 1,
        order: str = "split",
        augment: Augment | None = None,
    ) -> None:
        network = algorithm.prepared(network)
        self.original, self.algorithm, self.batches, self.transport = network, algorithm, batches, transport
        dtype, self.fused, self.blas_threads = network.dtype, fused, blas_threads
        self.execution = execution
        if isinstance(algorithm, BP):
            self.execution = execution or "serial"
        elif execution not in SHARED:
            self.execution = None  # layers on workers
        self.x, self.y = np.ascontiguousarray(x, dtype), np.ascontiguousarray(y, dtype)
        self.first_rows: Array | None = first_batch
        self.batch = len(first_batch)
        self.augment = augment
        self.full_batch = self.batch == len(x) and augment is None
        self.t = self.number = self.begun = 0  # step of the cycle; weight updates made; batches begun
        self.given = values is not None
        self.timeline: Timeline | None = None
        self.diverged: int | None = None

        shared = self.execution if isinstance(algorithm, PredictiveCoding) else None
        split = _SPLITS.get(self.execution or "", LAYERS)
        split = TEAMS if shared and split != SAMPLES else split
        team = transport.workers if transport.copies else None
        self.teams = teams_for(shared, network, self.batch, transport.all_workers, team) if shared else []
        parts = transport.all_workers if split == SAMPLES else min(micro_batches, self.batch)
        where = transport.workers, transport.all_workers, transport.place
        kinds = ((Local, StreamLayout), (AsyncBP, RingLayout), (DFA, FeedbackLayout), (DualProp, SweptLayout))
        streams = next((layout for kind, layout in kinds if isinstance(algorithm, kind)), None)
        if streams:
            self.layout = streams(network, self.batch, *where)
        else:
            self.layout = Layout(network, self.batch, split, *where, parts, transport.copies, self.teams, bool(shared))
        several = transport.copies or transport.below or transport.above
        check_images(algorithm, network.forms, self.execution, order, several)
        rule, softmax = rule_of(algorithm), not isinstance(network.loss, Squared)
        if softmax:
            check_softmax(self.execution if isinstance(algorithm, BP) else None, execution)
        self.schedule = schedule or Schedule()
        self.momentum = algorithm.value_momentum if isinstance(algorithm, PredictiveCoding) else 0.0
        sharing = transport.workers if shared == "hybrid" else transport.all_workers
        drives = {ROWS: transport.all_workers, TEAMS: 2 + sharing}.get(split, 2)
        self.arrays = self.layout.allocate(rule, drives, velocities=self.momentum > 0)
        vectors = self.execution == "blas" and self.batch == 1
        L = network.depth
        self.options = options_of(
            dtype, self.batch, network.biases is not None, vectors, rule, algorithm.momentum, algorithm.weight_decay,
            own=self.execution != "blas", softmax=softmax,
            delays=[algorithm.delay(l, L) for l in range(L)] if isinstance(algorithm, AsyncBP) else (),
        )  # fmt: skip
        self.calendar: Calendar | None = None
        if isinstance(algorithm, PredictiveCoding | DualProp):
            self.calendar = algorithm.calendar_from(network.depth, steps_per_batch, start)
            if shared and self.calendar.pipelined:
                raise InputError(f"a pipelined start is for layers on workers: execution {shared!r} begins with a pass")
        lengths = self.layout.bytes_of_layers()
        here = int(lengths[self.layout.lo : self.layout.hi].sum())
        suits = wave or wave_length(here, int(lengths.max()), transport.workers)
        self.wave = transport.steps_in_a_wave(
            self.layout, suits, (self.calendar is None and streams is None) or wave is not None
        )
        # How many batches stream through a layer in one go.
        long = LONGEST_WAVE if here > transport.workers * read_caches().own else 1
        self.flights: Flights | None = None
        if isinstance(algorithm, AsyncBP) and isinstance(self.layout, RingLayout):
            self.flights = LateFlights(self.layout, algorithm, self._next_rows, self.wave)
        if isinstance(algorithm, DFA) and isinstance(self.layout, FeedbackLayout):
            more = self._next_rows, self.options, wave or long, fused
            self.flights = Aligned(self.layout, algorithm, network, *more)
        self.streams: Streams | None = None
        if isinstance(algorithm, Local) and isinstance(self.layout, StreamLayout):
            self.streams = Streams(self.layout, algorithm, network, self.options, wave or long, fused)
        self.sweeps: Sweeps | None = None
        if isinstance(algorithm, DualProp) and isinstance(self.layout, SweptLayout) and self.calendar:
            self.sweeps = Sweeps(self.layout, algorithm, self.calendar, network, fused, self.wave)
        check_order(order, self.execution)
        self.turns = Turns(self.layout) if order == "zero-bubble" else None
        self.starts = PipelinedStarts(self.layout, self.calendar, self.wave, self._next_rows)
        self.blas = blas_libraries()
        self.uses_blas = self.batch > 1 or vectors or rule == MUON or bool(network.forms)
        # The owner touches its memory first, so that it is near its core.
        self._in_threads(self._touch)
        self._in_threads(partial(self._fill, network.weights, network.biases, values))
        transport.connect(self.layout, self.arrays, self.execution, self.starts)

    def _touch(self, worker: int) -> None:
        """Have the system give a worker the pages in which it will work: to find and clear a huge page can take
        longer than a step, and would count as the first step's time."""
        arrays, (begin, end) = self.arrays[worker], self.layout.share_of_values(worker)
        step, count = self.layout.page, self.layout.value_count
        for flat in (arrays.values, arrays.top, arrays.activated, arrays.slopes, arrays.errors, arrays.drives):
            for half in range(0, len(flat), count):
                flat[half + begin : half + end : step] = 0
        for flat in (arrays.scratch, arrays.panel):
            flat[::step] = 0
        self.starts.touch(worker)
        if self.turns:
            self.turns.touch(worker)
        for flat in (arrays.mean, arrays.square):
            for l in range(*self.layout.blocks[worker]) if len(flat) else ():
                for part in self.layout.rows_of(flat, worker, l, padding=True):
                    part[::step] = 0

    @property
    def steps_per_update(self) -> int:
        """Inference steps in a weight update, of a calendar with unequal ones the most that come on average."""
        return -(-len(self.calendar.stages) // int(self.calendar.completed[-1])) if self.calendar else 1

    # A run

    def run(self, updates: int, trace: bool = False, clock: bool = False) -> tuple[float, float]:
        """Make ``updates`` complete weight updates; seconds from the common start to the end of the slowest worker,
        and the energy F before the first update. With ``trace``, ``timeline`` then holds what each worker did (of BP
        only where it has tasks of the graph to itself: alone, without a flush, or in the zero-bubble order). ``clock``:
        on ranks, also take the time of messages."""
        whole_number("updates", updates)
        steps = self._steps(updates)
        self.spent = np.zeros(steps if clock else 0, np.int64)  # nanoseconds of each step that messages took
        taken, energy, events, before = 0.0, None, [], 0
        with blas_threads(self.blas_threads, among=self.blas) if self.uses_blas else nullcontext():
            for part in self._portions(updates):
                done = self._steps(part)
                seconds, first, noted = self._run_part(part, trace, self.spent[before : before + done])
                before, taken, energy = before + done, taken + seconds, first if energy is None else energy
                events.append((noted, done))
        self.given = False
        if trace:
            self.timeline = self._timeline(events) or self.timeline
        assert energy is not None
        return taken, energy

    @property
    def _parts(self) -> int:
        """Of an update of BP, each of which is a step of the task graph: parts of a batch, or batches."""
        if self.flights:
            return self.flights.per_update
        return self.turns.parts if self.turns else 1

    def _steps(self, updates: int) -> int:
        return self.calendar.steps(updates, self.t % len(self.calendar.stages)) if self.calendar else updates

    def _portions(self, updates: int) -> list[int]:
        """So many updates in portions for which row numbers of batches are made at a time."""
        most = updates
        if not self.full_batch:
            batches = max(1, MOST_ROWS // self.batch)
            calendar = self.calendar
            if self.flights:
                most = max(1, batches // self.flights.per_update)
            elif calendar is None:
                most = batches
            elif calendar.repeats is not None:
                most = batches * int(calendar.completed[-1]) * calendar.repeats
        return [most] * (updates // most) + ([updates % most] if updates % most else [])

    def _run_part(self, updates: int, trace: bool, spent: Array) -> tuple[float, float, list[Array]]:
        L, transport, steps = self.original.depth, self.transport, self._steps(updates)
        first_start = int(self.given and self.t == 0)
        rows: Array | None
        if self.starts.on:
            rows, batches = self.starts.draw(self.t, steps)
        elif self.flights:
            of_run = None if self.full_batch else self.flights.rows_of_run(self.number, updates)
            rows, batches = of_run, self.flights.batches(self.number, updates)
        else:
            rows, batches = self._rows(steps), self._batches(steps)
        data = self._data(self._rows(steps) if rows is None else rows)
        stop, ready = make_flags(1), make_flags(transport.workers)
        # More than there are workers: for the neighbours on other ranks.
        signals = Signals(make_flags(2 * transport.workers + 5), make_flags(transport.workers + 2), ready, stop)
        energy = np.zeros(max(L, transport.all_workers))
        times = np.zeros((transport.workers, 16), np.int64)  # a cache line and its pair for each worker
        room = steps * (4 * (L + 1) if self.calendar else 3 * L * self._parts) if trace else 0
        room += 2 * L * L if trace and self.flights else 0  # as they fill
        diverged = np.full(transport.workers, -1)
        traces = [np.zeros((room, TRACE_COLUMNS), np.int64) for _ in range(transport.workers)]
        entropy = np.zeros(transport.workers)
        notes = [Notes(energy, trace, times, diverged, entropy) for trace in traces]
        counts = [0] * transport.workers
        relaxes = self.calendar is not None and not self.sweeps
        loop = self._relaxation(updates, steps) if relaxes else self._backprop(updates)
        ranks = transport.neighbours(self.layout, batches, first_start, spent, self.starts, self.t, self.number)

        def guarded(worker: int) -> None:
            if self.uses_blas:
                limit_worker(self.blas_threads, self.blas)
            counts[worker] = loop(worker, data, signals, notes[worker], ranks)

        transport.start(guarded, stop)
        if self.calendar is not None:
            if self.starts.on:
                self.starts.made(self.t, steps)
            self.t = (self.t + steps) % self.calendar.cycle if self.calendar.cycle else self.t + steps
        self.number += updates
        self.begun += batches
        self.given = False
        self._note_divergence(diverged)
        noted = [note.trace[:count] for note, count in zip(notes, counts, strict=True)]
        return *transport.together(float(times[:, 1].max() - times[:, 0].min()) * 1e-9, energy), noted

    def _data(self, rows: Array) -> Data:
        """The data, and the rows that make each batch."""
        if self.augment is None:
            return Data(self.x, self.y, rows)
        rows, changes = parts(rows)
        sides = (np.int64(side) for side in (*self.augment.image, PADDING))
        return Data(Images(self.x, changes, *sides), self.y, rows)

    def _note_divergence(self, found: Array) -> None:
        """``found``: for each worker of this process, the update before which it met what is not finite, or -1."""
        first = [int(number) for each in self.transport.everyone(found.tolist()) for number in each if number >= 0]
        if first and self.diverged is None:
            self.diverged = min(first)

    def _groups(self, worker: int) -> tuple:
        """The arguments that all loops have in common."""
        return self._who(worker), self.arrays[worker], self.layout.offsets[worker], self.options

    def _rates(self, updates: int, gamma: Rate = 0.0, precision: Rate = 1.0) -> Rates:
        """The rates of a run of so many weight updates."""
        alpha = self.algorithm.alpha * self.schedule.factors(self.number, updates)
        dtype = self.original.dtype
        alphas, gammas, precisions = (np.array(r, dtype) for r in (alpha, per_step(gamma), per_step(precision)))
        return Rates(alphas, gammas, precisions, dtype.type(self.momentum), self.number)

    def _relaxation(self, updates: int, steps: int) -> Callable[..., int]:
        """The loop of predictive coding, for so many updates, which take so many steps."""
        algorithm, calendar = self.algorithm, self.calendar
        assert isinstance(algorithm, PredictiveCoding) and calendar is not None
        rates = self._rates(updates, algorithm.gamma, algorithm.precision)
        updated, S = calendar.updates(self.original.depth), len(calendar.stages)
        predicts = np.array([stage.predict for stage in calendar.stages])
        moves = calendar.moves
        products = PREDICT * predicts[:, None] + UPDATE * updated + BACKPROJECT * moves[:, None]
        products[:, 0] -= BACKPROJECT * moves  # the input is clamped
        stage = self.t % S
        due = np.roll(updated.any(1), -stage)
        calendar_of_run = Steps(
            products.astype(np.int64).ravel(), moves.astype(np.int64), calendar.completed.astype(np.int64), S,
            calendar.cycle, self.t, self.given and self.t == 0, steps, int(due.argmax()), self.wave, self.fused,
        )  # fmt: skip

        if self.execution is not None:
            name = self.execution

            def shared(worker: int, data: Data, signals: Signals, notes: Notes, ranks: Ranks) -> int:
                compiled, more = self.transport.shared(name, ranks)
                team, shares = team_of(self.layout, self.teams, worker), self.layout.shares
                return compiled(
                    *self._groups(worker), data, rates, calendar_of_run, shares, team, signals, notes, *more
                )  # fmt: skip

            return shared

        def loop(worker: int, data: Data, signals: Signals, notes: Notes, ranks: Ranks) -> int:
            starts = self.starts.arguments(worker, self.number == 0 and calendar_of_run.first == 0)
            return predictive_coding(*self._groups(worker), data, rates, calendar_of_run, signals, notes, ranks, starts)

        return loop

    def _backprop(self, updates: int) -> Callable[..., int]:
        """The loop of BP's execution, or of what is neither BP nor predictive coding, for so many updates."""
        rates = self._rates(updates)
        name = "zero-bubble" if self.turns else self.execution or "serial"
        compiled, messages = self.transport.backprop(name if isinstance(self.algorithm, BP) else self.algorithm.name)
        shared: Any = self.layout.shares
        if self.flights:
            shared = self.flights.of_run(self.number, updates)
        elif self.streams:
            shared = self.streams.of_run(updates)
        elif self.sweeps:
            shared = self.sweeps.of_run(self.t, self._steps(updates))

        def loop(worker: int, data: Data, signals: Signals, notes: Notes, ranks: Ranks) -> int:
            shares = self.turns.of_worker(worker) if self.turns else shared
            more = (ranks,) if self.sweeps else messages
            return compiled(*self._groups(worker), data, rates, updates, shares, signals, notes, *more)

        return loop

    def _batches(self, steps: int) -> int:
        """How many batches begin within the next ``steps`` steps."""
        if self.calendar is None:
            return steps
        cycle = self.calendar.cycle
        return len(range(-self.t % cycle, steps, cycle)) if cycle else int(self.t == 0)

    def _rows(self, steps: int) -> Array:
        """The rows of each batch that begins within the next ``steps`` steps: (batches, B); one for all if full."""
        if self.full_batch:
            return np.arange(self.batch).reshape(1, -1)
        count = self._batches(steps)
        take = getattr(self.batches, "take", None)
        if take and count:  # many at once
            first = [] if self.first_rows is None else [self._next_rows()[None]]
            more = [take(count - len(first))] if count > len(first) else []
            return np.ascontiguousarray(np.concatenate(first + more), np.int64)
        rows = np.empty((count, self.batch), np.int64)
        for row in rows:
            row[:] = self._next_rows()
        return rows

    def _timeline(self, portions: list[tuple[list[Array], int]]) -> Timeline | None:
        """Events of all workers from what the loops noted; None where they noted nothing."""
        mine, before = [], self.calendar.lead(self.original.depth) if self.calendar else 0
        for noted, steps in portions:
            for worker, rows in enumerate(noted):
                place = self.transport.place + worker
                for work, l, step, begin, end in rows.tolist():
                    mine.append([place, work, l, before + step, begin * 1e-9, end * 1e-9])
            before += steps * self._parts
        events = [Event(*event) for theirs in self.transport.everyone(mine) for event in theirs]
        return Timeline(events) if events else None
