"""Training: an engine driven update by update, with energy and loss written down as it goes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from ..algorithms import PIPELINE_ASYNC, Algorithm, asynchronous
from ..checks import scalar, shown, whole_number
from ..engines import Engine, blas_threads, make_engine
from ..engines.limits import resolve_workers
from ..errors import InputError
from ..host.mpi import agree, all_to_all, check_thread, world
from ..net.given import check_seed, checked_truth
from ..net.network import Network
from ..schedule.teams import suits
from ..schedule.timeline import Timeline
from .data_checks import batch_rows, check_batches, given_data, given_values

Array = np.ndarray


@dataclass
class Run:
    """What a training run leaves, and, as it stands then, what ``on_record`` sees.

    - ``network``: a trained copy; ``values``: x[l] at the end, L + 1 arrays (B, n[l]); both after ``updates`` updates
    - ``recorded``: how many updates had been made at each record; ``energy``: F before the update that followed;
      ``loss``: ``1/2 sum (mu[L] - y)**2`` of a forward pass over all data; ``recorded_seconds``: training seconds until
      then
    - ``updates``, ``seconds``: totals, without compilation and records
    - ``final_loss``: after all ``updates``, where losses are recorded
    - ``diverged``: the update by which numbers had ceased to be finite, or None
    - ``timeline``: of the last updates, if traced
    """

    network: Network
    values: list[Array]
    updates: int = 0
    seconds: float = 0.0
    recorded: list[int] = field(default_factory=list)
    energy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    recorded_seconds: list[float] = field(default_factory=list)
    final_loss: float | None = None
    diverged: int | None = None
    timeline: Timeline | None = None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while ``train`` was training: ``run`` is the run as it stood when it was last recorded."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


def forward_loss(network: Network, x: Array, y: Array) -> float:
    """``1/2 * sum((mu[L] - y)**2)`` of an ordinary forward pass; infinite or NaN where the net has diverged."""
    with np.errstate(all="ignore"):
        return network.loss.loss(network.forward(x)[-1], y)


def train(
    network: Network,
    algorithm: Algorithm,
    x: ArrayLike,
    y: ArrayLike,
    *,
    updates: int,
    backend: str = "threads",
    workers: int | str = 1,
    batch_size: int | None = None,
    steps_per_batch: int | None = None,
    record_every: int = 1,
    values: list[Array] | None = None,
    until_loss: float | None = None,
    seed: int = 0,
    trace: bool = False,
    on_record: Callable[[Run], None] | None = None,
    execution: str | None = None,
    start: str = "forward",
) -> Run:
    """Train a copy of ``network`` on ``x``, (N, n[0]), and ``y``, (N, n[L]), by ``updates`` complete weight updates.

    - ``backend``: "numpy" (the oracle), "threads", or "mpi" (every rank makes the same call; only rank 0 need have the
      data, and the result is on all ranks, but of a lazy net each rank has only its own layers)
    - ``workers``: a number of threads (of each rank), or "auto" for as many as there are usable cores and layers to
      share (on ranks: 1)
    - ``batch_size``: None for full batch; else batches are drawn without replacement in an order given by ``seed``, the
      rest of an epoch that fills no batch left out, and iPC (as whatever has no end of its own) stays on each for
      ``steps_per_batch`` updates
    - ``start``: where the values of a new batch come from: "forward", a forward pass when it begins, or "pipelined":
      its layers are predicted one by one during the steps before, with whatever weights they then have, so that nobody
      waits for them (whatever stays on a batch for ``steps_per_batch``, which may be less than the depth)
    - ``record_every``: updates between two records of energy and loss, 0 for none; ``on_record``: called when the
      updates that follow a record have been made, with the run as it stands then: its net and values are copies
    - ``values``: L + 1 arrays (B, n[l]) to begin from in place of the first forward pass (not BP)
    - ``until_loss``: stop at the first record at or below it
    - ``trace``: keep a timeline of the updates since the last record, so of the whole run with ``record_every=0``
      (every event of every step: short runs)
    - ``execution``: how BP shares its work among threads or ranks: "serial" (default), "intra-layer", "blas" (threads
      alone), "pipeline" or "data-parallel"; "pipeline-async" is asynchronous BP, which learns from late gradients (see
      ``pcsim.AsyncBP``); how PC, Z-IL and iPC share theirs among threads: "layer-parallel" (default), "intra-layer"
      (rows of every layer), "data-parallel" (samples), "hybrid" (teams of workers for blocks of layers), or "auto" for
      what should be the fastest by the sizes of layers and batch

    Threads of one process may train at once. BLAS has one thread meanwhile, for the whole process, and then as many as
    before; what needs another number (execution "blas"; "numpy" on several) is refused beside another call.

    The same call gives the same bits every time, and PC, Z-IL and iPC, and BP's "pipeline", for any number of workers,
    since one of them forms each of a layer's sums, in one order; "intra-layer", "hybrid", "data-parallel" and "blas"
    split sums, and between numbers of workers, as between executions and backends, results differ by
    rounding. Raises
    InputError for arguments that do not fit. A run that diverges ends early, and says so in ``diverged``. Ctrl-C raises
    :class:`Interrupted`, a KeyboardInterrupt whose ``run`` is what there was after the last updates that were made
    between two records.

    >>> net = Network.mlp([2, 8, 1], seed=1)
    >>> from pcsim import IPC
    >>> run = train(net, IPC(alpha=0.05, gamma=0.1), [[0, 1], [1, 0]], [[1], [-1]], updates=200, backend="numpy")
    >>> run.loss[0] > 100 * run.loss[-1]
    True
    """
    if not isinstance(network, Network):
        raise InputError(f"network must be a pcsim.Network, not {shown(network)}")
    if not isinstance(algorithm, Algorithm):
        raise InputError(f"algorithm must be an Algorithm, e.g. pcsim.IPC(), not {shown(algorithm)}")
    if backend == "mpi":
        check_thread()
    inputs, targets, count = given_data(network, x, y, backend)
    updates, record_every = whole_number("updates", updates), whole_number("record_every", record_every, 0)
    batch = check_batches(algorithm, network.depth, count, batch_size, steps_per_batch, start)
    steps_per_batch = None if steps_per_batch is None else whole_number("steps_per_batch", steps_per_batch)
    seed, trace = check_seed(seed), checked_truth("trace", trace)
    if until_loss is not None:
        until_loss = scalar(until_loss)
        if not isinstance(until_loss, Real) or isinstance(until_loss, bool) or math.isnan(until_loss):
            raise InputError(f"until_loss must be a number, not {shown(until_loss)}")
        until_loss = float(until_loss)
        if not record_every:
            raise InputError("until_loss needs record_every of at least 1: without records nobody looks at the loss")
    if on_record is not None and not callable(on_record):
        raise InputError(f"on_record must be a function of a run, not {shown(on_record)}")
    given = None if values is None else given_values(values, network, batch, algorithm)
    algorithm, execution = asynchronous(algorithm, execution)
    if execution not in (None, PIPELINE_ASYNC) and backend == "numpy":
        raise InputError("execution says how threads or ranks share the work of a net; backend numpy has neither")
    workers = resolve_workers(workers, algorithm, network.depth, backend, execution)
    if execution == "auto" and not algorithm.chained:
        alone = backend != "threads" or start != "forward"  # then layers are on workers
        execution = None if alone else suits(network.sizes, batch, workers)
    if backend == "mpi":
        limits = {"updates": updates, "record_every": record_every, "until_loss": until_loss, "trace": trace}
        agree(world().COMM_WORLD, limits | {"batch_size": batch})
    order = batch_rows(count, batch, seed)
    engine = make_engine(
        backend,
        network,
        algorithm,
        inputs,
        targets,
        lambda: next(order),
        workers=workers,
        steps_per_batch=steps_per_batch,
        values=given,
        start=start,
        **({"execution": execution} if execution else {}),
    )
    run = Run(network, [])
    # NumPy computes the loss. Its threads would spin for a tenth of a second after each product, on the workers' cores.
    limit = blas_threads(None if backend == "numpy" else 1, alone=execution == "blas")
    looked_at = on_record is not None or backend != "mpi"
    if backend == "mpi":  # nets are put together by all ranks at once, for any rank that looks at them
        looked_at = any(all_to_all(world().COMM_WORLD, looked_at))
    net = _Inspector(engine, inputs, targets, looked_at and record_every > 0)
    try:
        with limit, np.errstate(all="ignore"):  # divergence is found below, and named
            _drive(run, engine, net, updates, record_every, until_loss, trace, on_record)
    except KeyboardInterrupt:
        raise Interrupted(run) from None
    if not net.looked_at:
        run.network, run.values = engine.network, engine.values
    if backend == "mpi":
        engine.close()  # type: ignore[attr-defined]
    return run


class _Inspector:
    """What is asked of a net between updates; an engine whose layers are on several ranks answers it itself.

    looked_at: whether anybody looks at net and values before the end.
    """

    def __init__(self, engine: Engine, x: Array, y: Array, looked_at: bool) -> None:
        self.engine, self.x, self.y, self.looked_at = engine, x, y, looked_at
        self.finite = getattr(engine, "finite", self._finite)

    def now(self, recorded: bool) -> tuple[tuple[Network, list[Array]] | None, float]:
        """Copies of net and values, if looked at, and the loss, if recorded."""
        network = self.engine.network if self.looked_at else None
        loss = 0.0
        if recorded and hasattr(self.engine, "loss"):
            loss = self.engine.loss()
        elif recorded:
            loss = forward_loss(network or self.engine.network, self.x, self.y)
        return (None if network is None else (network, self.engine.values)), loss

    def _finite(self) -> bool:
        return all(np.isfinite(w).all() for w in self.engine.network.weights)


def _drive(
    run: Run,
    engine: Engine,
    net: _Inspector,
    updates: int,
    record_every: int,
    until_loss: float | None,
    trace: bool,
    on_record: Callable[[Run], None] | None,
) -> None:
    recorded = record_every > 0
    _, loss = net.now(recorded)
    while run.updates < updates:
        chunk = min(record_every or updates, updates - run.updates)
        seconds, energy = engine.run(chunk, trace=trace)
        copies, after = net.now(recorded)
        # An interrupt finds a run that is whole: nothing that takes time lies between these lines.
        run.network, run.values = copies or (run.network, run.values)
        if recorded:
            run.recorded.append(run.updates)
            run.energy.append(energy)
            run.loss.append(loss)
            run.recorded_seconds.append(run.seconds)
        run.updates += chunk
        run.seconds += seconds
        if trace:
            run.timeline = engine.timeline
        if not (math.isfinite(energy) and math.isfinite(loss)):
            run.diverged = run.updates - chunk
        run.final_loss = after if recorded and run.diverged is None else None
        if on_record and recorded:
            on_record(run)
        if run.diverged is not None or (until_loss is not None and loss <= until_loss):
            break
        loss = after
    # What came after the last record is seen in the weights alone.
    if run.diverged is None and not net.finite():
        run.diverged = run.updates
        if on_record and recorded:
            on_record(run)
