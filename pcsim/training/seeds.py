"""The same training from several seeds, side by side where cores are free."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from ..algorithms import Algorithm, asynchronous
from ..checks import shown, whole_number
from ..engines.limits import resolve_workers
from ..errors import InputError
from ..host.context import usable_cores
from ..net.given import check_seed
from ..net.network import Network
from .run import Progress, Run
from .train import train


def checkpoint_of(file: str | os.PathLike[str], seed: int) -> Path:
    """The checkpoint of one seed: the seed stands before the suffix."""
    path = Path(file)
    return path.with_name(f"{path.stem}-{seed}{path.suffix}")


def train_seeds(
    network: Network | Callable[[int], Network],
    algorithm: Algorithm,
    x: ArrayLike,
    y: ArrayLike,
    *,
    seeds: Sequence[int],
    at_once: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_record: Callable[[int, Run], None] | None = None,
    on_progress: Callable[[int, Progress], None] | None = None,
    **settings: Any,
) -> list[Run]:
    """A run of :func:`~pcsim.train` for each seed, in their order.

    - ``network``: the net to begin with, or a function that makes one of a seed; the seed also orders the batches and
      draws the validation's rows
    - ``at_once``: how many runs share this process at a time, each with ``workers`` threads (default: as many as there
      are cores for, on "threads"; ranks and NumPy run one after the other). The bits do not depend on it
    - ``checkpoint``: of several seeds, each is put before its suffix
    - ``on_record``, ``on_progress``: are given the seed too, perhaps by several threads at a time
    - ``settings``: whatever else ``train`` takes

    >>> from pcsim import IPC
    >>> runs = train_seeds(lambda seed: Network.mlp([2, 8, 1], seed=seed), IPC(0.05, 0.1), [[0, 1], [1, 0]],
    ...                    [[1], [-1]], seeds=(0, 1), updates=200, backend="numpy")
    >>> all(run.loss[-1] < 0.01 * run.loss[0] for run in runs)
    True
    """
    if not isinstance(seeds, list | tuple | range) or not seeds or len(set(map(str, seeds))) < len(seeds):
        raise InputError(f"seeds must be a list of different whole numbers, not {shown(seeds)}")
    seeds = [check_seed(seed) for seed in seeds]
    for name in ("seed", "trace"):
        if name in settings:
            raise InputError(f"{name} is for a single run: call train")
    nets = [network if isinstance(network, Network) else network(seed) for seed in seeds]
    room = 1
    if settings.get("backend", "threads") == "threads" and settings.get("execution") != "blas":
        learner, execution = asynchronous(algorithm, settings.get("execution"))
        workers = resolve_workers(settings.get("workers", 1), learner, nets[0].depth, "threads", execution)
        room = max(1, len(usable_cores()) // workers)
    at_once = min(len(seeds), room if at_once is None else whole_number("at_once", at_once))
    ending = threading.Event()

    def one(number: int) -> Run:
        seed = seeds[number]

        def progress(now: Progress) -> None:
            if ending.is_set():
                raise KeyboardInterrupt
            if on_progress:
                on_progress(seed, now)

        record = partial(on_record, seed) if on_record else None
        file = checkpoint if checkpoint is None or len(seeds) == 1 else checkpoint_of(checkpoint, seed)
        return train(
            nets[number],
            algorithm,
            x,
            y,
            seed=seed,
            checkpoint=file,
            on_record=record,
            on_progress=progress,
            **settings,
        )

    if at_once == 1:
        return [one(number) for number in range(len(seeds))]
    with ThreadPoolExecutor(at_once, "pcsim seed") as pool:
        runs = [pool.submit(one, number) for number in range(len(seeds))]
        try:
            return [run.result() for run in runs]
        except BaseException:
            ending.set()  # within a second or so, when they next tell how far they are
            for run in runs:
                run.cancel()
            raise
