"""Training: a net, an algorithm and data checked, an engine made for them, and driven update by update."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..algorithms import Algorithm, asynchronous
from ..algorithms.rates import Schedule
from ..algorithms.registry import algorithm_to_json
from ..checks import is_number, scalar, shown, whole_number
from ..engines import blas_threads, make_engine
from ..engines.limits import check_plain, resolve_workers
from ..errors import InputError
from ..host.mpi import agree, all_to_all, check_thread, from_root, on_root, world
from ..net.given import check_seed, checked_truth
from ..net.network import Network
from ..schedule.teams import suits, suits_ranks
from . import checkpoints
from .batches import Batches
from .data_checks import check_batches, given_augment, given_data, given_values, updates_of_epochs
from .evaluation import Rows, checked_patience, held_out, is_share, split
from .run import Interrupted, Progress, Run
from .session import Inspector, Plan, Session, forward_loss, keeper, run_from_parts

__all__ = ["Interrupted", "Progress", "Run", "forward_loss", "train"]

Array = np.ndarray


def train(
    network: Network,
    algorithm: Algorithm,
    x: ArrayLike,
    y: ArrayLike,
    *,
    updates: int | None = None,
    epochs: int | None = None,
    backend: str = "threads",
    workers: int | str = 1,
    batch_size: int | None = None,
    steps_per_batch: int | None = None,
    schedule: str = "constant",
    warmup: int = 0,
    floor: float = 0.0,
    record_every: int | None = None,
    values: list[Array] | None = None,
    until_loss: float | None = None,
    validation: float | tuple[ArrayLike, ArrayLike] | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    evaluate_every: int | None = None,
    patience: int | None = None,
    until_accuracy: float | None = None,
    repeat: int = 1,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    trace: bool = False,
    on_record: Callable[[Run], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    execution: str | None = None,
    start: str = "forward",
    order: str = "split",
    augment: str | Sequence[str] | None = None,
) -> Run:
    """Train a copy of ``network`` on ``x``, (N, n[0]), and ``y``, (N, n[L]), by ``updates`` complete weight updates, or
    by as many as there are in ``epochs`` passes over the rows.

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
    - ``schedule``: of alpha, "constant" or "cosine", which falls to ``floor`` times alpha at the last update; before
      that alpha rises for ``warmup`` updates (:class:`~pcsim.Schedule`)
    - ``record_every``: updates between two records of energy and loss, 0 for none (default: 1, with ``epochs`` one
      epoch); ``on_record``: called when the updates that follow a record have been made, with the run as it stands
      then: its net and values are copies
    - ``values``: L + 1 arrays (B, n[l]) to begin from in place of the first forward pass (not BP)
    - ``until_loss``: stop at the first record at or below it
    - ``validation``: rows that are not trained on, (x, y), or a share of the rows, drawn by ``seed``; ``test``: more
      such rows. Each ``evaluate_every`` updates (default: an epoch) and at the end ``run.evaluations`` gets their loss
      and accuracy, outside the clock. ``patience``: stop when so many evaluations in a row have not lowered the
      validation loss; ``run.best`` is the net that had the lowest. ``until_accuracy``: stop at the first evaluation
      whose validation accuracy is at or above it
    - ``repeat``: how often each batch is taken before the next one comes: what has an end of its own, as BP has, can
      stay on a batch as long as iPC does
    - ``checkpoint``: a file that holds the training as it stands each ``checkpoint_every`` updates (default: an epoch)
      and at the end; ``resume``: go on from it, if it is there, with the bits of a training that never stopped
    - ``on_progress``: called about once a second with a :class:`Progress`
    - ``trace``: keep a timeline of the updates since the last record, so of the whole run with ``record_every=0``
      (every event of every step: short runs)
    - ``execution``: how BP shares its work among threads or ranks: "serial" (default), "intra-layer", "blas" (threads
      alone), "pipeline" or "data-parallel"; "pipeline-async" is asynchronous BP, which learns from late gradients (see
      ``pcsim.AsyncBP``); how PC, Z-IL and iPC share theirs: "layer-parallel" (default), "intra-layer" (rows of
      every layer), "data-parallel" (samples), "hybrid" (teams of workers for blocks of layers; on ranks a team of
      threads on each), or "auto" for what should be the fastest by the sizes of layers and batch
    - ``order``: of BP's "pipeline": "split", all weight products of a batch at its end, or "zero-bubble", some of them
      where a stage would wait (Qi et al. 2024); the same gradient
    - ``augment``: of images, "flip" (half of them from right to left) and "crop" (at a random place of the image with 4
      pixels of zeros around it), anew in each epoch by ``seed``; records of the loss are of the images as they are

    Threads of one process may train at once. BLAS has one thread meanwhile, for the whole process, and then as many as
    before; what needs another number (execution "blas"; "numpy" on several) is refused beside another call.

    The same call gives the same bits every time, and PC, Z-IL and iPC, and BP's "pipeline" in order "split", for any
    number of workers, since one of them forms each of a layer's sums, in one order; "intra-layer", "hybrid",
    "data-parallel", "blas" and the order "zero-bubble" split sums, and between numbers of workers, as between
    executions and backends, results differ by rounding. Raises InputError for arguments that do not fit. A run that
    diverges ends within a second or so, and names the update in ``diverged``. Ctrl-C raises :class:`Interrupted`,
    a KeyboardInterrupt whose ``run`` is what there was after the last updates that were made between two records.

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
    on_ranks = backend == "mpi"
    if on_ranks:
        check_thread()
    seed, trace, resume = check_seed(seed), checked_truth("trace", trace), checked_truth("resume", resume)
    inputs, targets, count, validated, tested = _rows(network, x, y, backend, validation, test, seed)
    batch = check_batches(algorithm, network.depth, count, batch_size, steps_per_batch, start)
    steps_per_batch = None if steps_per_batch is None else whole_number("steps_per_batch", steps_per_batch)
    repeat = whole_number("repeat", repeat)
    epoch = updates_of_epochs(algorithm, network.depth, count, batch, steps_per_batch, repeat)
    changed = given_augment(augment, network.forms, algorithm, network.depth, steps_per_batch, start, seed)
    if (updates is None) == (epochs is None):
        raise InputError("give either updates or epochs: for how long to train")
    if epochs is not None:
        record_every = epoch if record_every is None else record_every
        updates = whole_number("epochs", epochs) * epoch
    updates = whole_number("updates", updates)
    record_every = whole_number("record_every", 1 if record_every is None else record_every, 0)
    if until_loss is not None:
        until_loss = scalar(until_loss)
        if not isinstance(until_loss, Real) or isinstance(until_loss, bool) or math.isnan(until_loss):
            raise InputError(f"until_loss must be a number, not {shown(until_loss)}")
        until_loss = float(until_loss)
        if not record_every:
            raise InputError("until_loss needs record_every of at least 1: without records nobody looks at the loss")
    for name, function, what in (("on_record", on_record, "run"), ("on_progress", on_progress, "progress")):
        if function is not None and not callable(function):
            raise InputError(f"{name} must be a function of a {what}, not {shown(function)}")
    looks = validation is not None or test is not None
    if evaluate_every is not None and not looks:
        raise InputError("evaluate_every needs validation or test: rows to look at")
    if until_accuracy is not None:
        if validation is None:
            raise InputError("until_accuracy needs validation: rows to look at")
        if not is_number(until_accuracy) or not 0 < until_accuracy <= 1:
            raise InputError(f"until_accuracy must be a share above 0 and at most 1, not {shown(until_accuracy)}")
    if checkpoint is None and (resume or checkpoint_every is not None):
        raise InputError("resume and checkpoint_every need checkpoint: the file of the training")
    if network.lazy and (looks or checkpoint is not None):
        raise InputError("validation, test and checkpoint need a net in memory: this one makes its layers on demand")
    plan = Plan(
        updates,
        record_every,
        whole_number("evaluate_every", evaluate_every or epoch) if looks else 0,
        whole_number("checkpoint_every", checkpoint_every or epoch) if checkpoint is not None else 0,
        until_loss,
        checked_patience(patience, validation is not None),
        trace,
        until_accuracy,
    )
    of_alpha = Schedule(schedule, warmup, updates, floor)
    given = None if values is None else given_values(values, network, batch, algorithm)
    algorithm, execution = asynchronous(algorithm, execution)
    if backend == "numpy":
        check_plain(execution, order)
    workers = resolve_workers(workers, algorithm, network.depth, backend, execution)
    if execution == "auto" and not algorithm.chained:
        splits = start == "forward" and not algorithm.orthogonal
        execution = _suiting(network.sizes, batch, workers, on_ranks) if splits else None
    if on_ranks:
        facts = {"batch_size": batch, "resume": resume, "checkpoint": checkpoint is not None, "seed": seed}
        agree(world().COMM_WORLD, asdict(plan) | facts)
    kept, keep = None, None
    if checkpoint is not None:
        of_data = None if inputs is None else checkpoints.digest([inputs, targets])
        facts = checkpoints.facts_of_net(network) | {
            "algorithm": algorithm_to_json(algorithm),
            "data": from_root(world().COMM_WORLD, of_data) if on_ranks else of_data,
            "batch_size": batch,
            "steps_per_batch": steps_per_batch,
            "start": start,
            "seed": seed,
            "schedule": asdict(of_alpha if of_alpha.kind != "constant" else Schedule(warmup=of_alpha.warmup)),
            "given values": None if given is None else checkpoints.digest(given),
            "cadences": [plan.record_every, plan.evaluate_every],
            **({"repeat": repeat} if repeat > 1 else {}),
            **({"augment": changed.names} if changed else {}),
        }
        kept = _kept(checkpoint, facts, resume, on_ranks)
        keep = keeper(checkpoint, facts, on_ranks)
    engine = make_engine(
        backend,
        network,
        algorithm,
        inputs,
        targets,
        Batches(count, batch, seed, repeat, changed),
        workers=workers,
        steps_per_batch=steps_per_batch,
        values=given,
        start=start,
        schedule=of_alpha,
        **({"execution": execution} if execution else {}),
        **({"order": order} if order != "split" else {}),
        **({"augment": changed} if changed else {}),
    )
    run = Run(network, [])
    if kept is not None:
        engine.restore(kept["state"])
        run_from_parts(run, kept["run"], network)
    # NumPy computes the loss. Its threads would spin for a tenth of a second after each product, on the workers' cores.
    limit = blas_threads(None if backend == "numpy" else 1, alone=execution == "blas")
    looked_at = on_record is not None or not on_ranks
    if on_ranks:  # nets are put together by all ranks at once, for any rank that looks at them
        looked_at = any(all_to_all(world().COMM_WORLD, looked_at))
    net = Inspector(engine, inputs, targets, looked_at and record_every > 0)
    session = Session(
        run, engine, net, plan, validation=validated, test=tested, keep=keep, on_record=on_record,
        on_progress=on_progress, on_ranks=on_ranks,
    )  # fmt: skip
    try:
        with limit, np.errstate(all="ignore"):  # divergence is found, and named
            session.go()
    except KeyboardInterrupt:
        raise Interrupted(run) from None
    if not net.looked_at or kept is not None:
        run.network, run.values = engine.network, engine.values
    if on_ranks:
        engine.close()  # type: ignore[attr-defined]
    return run


def _suiting(sizes: Sequence[int], batch: int, workers: int, on_ranks: bool) -> str:
    """What "auto" stands for, so far as batches begin with a forward start; else layers are on workers."""
    return suits_ranks(sizes, batch, world().COMM_WORLD.size, workers) if on_ranks else suits(sizes, batch, workers)


def _rows(
    network: Network, x: ArrayLike, y: ArrayLike, backend: str, validation: Any, test: Any, seed: int
) -> tuple[Any, Any, int, Rows | None, Rows | None]:
    """x and y to train on and their number of rows, and what is held out; of ranks the first has them."""
    inputs, targets, _ = given_data(network, x, y, backend)

    def apart() -> tuple[Any, Any, Rows | None, Rows | None]:
        tested = held_out("test", test, network)
        if is_share(validation):
            return (*split(validation, inputs, targets, seed), tested)
        return inputs, targets, held_out("validation", validation, network), tested

    if backend != "mpi":
        inputs, targets, validated, tested = apart()
        return inputs, targets, len(inputs), validated, tested
    comm = world().COMM_WORLD
    inputs, targets, validated, tested = on_root(comm, apart) or (None, None, None, None)
    return inputs, targets, from_root(comm, None if inputs is None else len(inputs)), validated, tested


def _kept(file: Any, facts: dict[str, Any], resume: bool, on_ranks: bool) -> dict[str, dict[str, Any]] | None:
    """What there is to go on from; None for a training that begins. On ranks the first one's file counts."""

    def load() -> bytes | None:
        content = checkpoints.load(file)
        if content is not None and not resume:
            raise InputError(f"{file} is there already: resume the training in it, or remove it")
        return content

    if not on_ranks:
        content = load()
        return None if content is None else checkpoints.read(file, content, facts)
    comm = world().COMM_WORLD
    content = on_root(comm, load)
    size = from_root(comm, None if content is None else len(content))
    if size is None:
        return None
    buffer = np.empty(size, np.uint8) if content is None else np.frombuffer(content, np.uint8).copy()
    comm.Bcast(buffer)
    return checkpoints.read(file, buffer.tobytes(), facts)
