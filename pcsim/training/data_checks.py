"""Checks of what is given to a training: data, batches, starting values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..algorithms import Algorithm
from ..checks import is_whole, scalar, shown, whole_number
from ..engines.limits import check_similarity
from ..errors import InputError
from ..host.mpi import from_root, on_root, world
from ..net.augment import Augment, augment_of
from ..net.convolution import Convolution
from ..net.given import as_array, finite
from ..net.network import Network

Array = np.ndarray


def check_batches(
    algorithm: Algorithm,
    depth: int,
    rows: int,
    batch_size: int | None,
    steps_per_batch: int | None,
    start: str = "forward",
) -> int:
    """The number of rows in a batch; InputError for batches that ``train`` could not make of so many rows, and for a
    calendar that breaks a rule in a net of that depth."""
    batch = rows if batch_size is None else scalar(batch_size)
    if not is_whole(batch) or batch > rows:
        raise InputError(f"batch_size must be between 1 and the {rows} rows of the data, not {shown(batch_size)}")
    check_similarity(algorithm, int(batch))
    if steps_per_batch is not None:
        steps_per_batch = whole_number("steps_per_batch", steps_per_batch)
    calendar = algorithm.checked_calendar(depth, steps_per_batch, start)
    if start != "forward" and not calendar.pipelined:
        why = "needs steps_per_batch" if calendar.endless else f"is not for {algorithm.title}"
        raise InputError(f"start={start!r} {why}")
    if calendar.endless and batch < rows:
        if steps_per_batch is not None:
            raise InputError(
                f"{algorithm.title} leaves steps_per_batch alone and would stay on its first batch for ever"
            )
        raise InputError(
            f"{algorithm.title} with a batch_size needs steps_per_batch: for how many updates it stays on a batch"
        )
    return int(batch)


def given_data(network: Network, x: ArrayLike, y: ArrayLike, backend: str) -> tuple[Any, Any, int]:
    """x and y as arrays, and their number of rows. On ranks those of rank 0 count, and all hear what is wrong."""

    def check() -> tuple[Array, Array, int]:
        first, second = table_of("x", x, network.sizes[0], network), table_of("y", y, network.sizes[-1], network)
        if len(first) != len(second):
            raise InputError(f"x has {len(first)} rows, but y has {len(second)}")
        network.loss.check_targets(second)
        return first, second, len(first)

    if backend != "mpi":
        return check()
    comm = world().COMM_WORLD
    found = on_root(comm, check) or (None, None, 0)
    return found[0], found[1], from_root(comm, found[2])


def table_of(name: str, value: ArrayLike, width: int, network: Network) -> Array:
    """``value`` as a table of finite numbers in the net's dtype; InputError for what is none."""
    array = as_array(name, value)
    if array.ndim != 2 or array.shape[1] != width or not len(array):
        raise InputError(
            f"{name} must be a table of numbers with {width} columns and at least one row, not shape {array.shape}"
        )
    return finite(name, array, network.dtype)


def given_augment(
    given: Any,
    forms: Sequence[Convolution | None],
    algorithm: Algorithm,
    depth: int,
    steps_per_batch: int | None,
    start: str = "forward",
    seed: int = 0,
) -> Augment | None:
    """How images change, None for not at all; InputError for what is no such change, for a net that takes no images,
    and where no second batch comes."""
    changed = augment_of(given, forms, seed)
    if changed and algorithm.checked_calendar(depth, steps_per_batch, start).endless:
        raise InputError(f"augment needs batches that change: {algorithm.title} stays on one without steps_per_batch")
    return changed


def given_values(values: Any, network: Network, batch: int, algorithm: Algorithm) -> list[Array]:
    """Copies of the values to begin from, checked as the data are."""
    shapes = [(batch, n) for n in network.sizes]
    given = [as_array(f"values[{l}]", v) for l, v in enumerate(values)] if isinstance(values, list | tuple) else []
    if algorithm.chained or [v.shape for v in given] != shapes:
        raise InputError(f"values must be arrays of shapes {shapes}, for PC, Z-IL and iPC")
    return [finite(f"values[{l}]", v, network.dtype) for l, v in enumerate(given)]


def updates_of_epochs(
    algorithm: Algorithm, depth: int, rows: int, batch: int, steps_per_batch: int | None, repeat: int = 1
) -> int:
    """How many weight updates are made in a pass over the rows, less those that fill no batch, each batch coming
    ``repeat`` times."""
    return repeat * (rows // batch) * algorithm.checked_calendar(depth, steps_per_batch).period_updates
