"""Which rows make which batch: shuffled anew for each epoch, from one seed."""

import numpy as np

from ..net.augment import Augment

Array = np.ndarray


class Batches:
    """Row numbers of one batch after another, (B,) each: of each epoch a new permutation, of which the rest that fills
    no batch is left out; all rows in their order where a batch takes all. Each batch comes ``repeat`` times in a row.
    With ``augment`` each row number comes with the change of its image in that epoch.

    >>> batches = Batches(5, 2, seed=0)
    >>> first = batches()
    >>> more = batches.take(3)
    >>> first.shape, more.shape, sorted(np.concatenate([first, more[0]]).tolist()) != list(range(5))
    ((2,), (3, 2), True)
    """

    def __init__(self, rows: int, batch: int, seed: int, repeat: int = 1, augment: Augment | None = None) -> None:
        self.rows, self.batch, self.repeat, self.augment, self.epoch = rows, batch, repeat, augment, 0
        self.rng = np.random.default_rng(seed)
        self.left = np.empty((0, batch), np.int64)

    def __call__(self) -> Array:
        """The next batch."""
        return self.take(1)[0]

    def take(self, count: int) -> Array:
        """The next ``count`` batches, (count, B)."""
        parts, found = [self.left[:count]], len(self.left[:count])
        self.left = self.left[count:]
        while found < count:
            whole = self._epoch()
            parts.append(whole[: count - found])
            self.left = whole[count - found :]
            found += len(parts[-1])
        return parts[-1] if len(parts[-1]) == count else np.concatenate(parts)

    def _epoch(self) -> Array:
        order = np.arange(self.rows) if self.batch == self.rows else self.rng.permutation(self.rows)
        if self.augment:
            order = self.augment.coded(order, self.epoch, self.rows)
        self.epoch += 1
        return np.repeat(order[: self.rows // self.batch * self.batch].reshape(-1, self.batch), self.repeat, axis=0)
