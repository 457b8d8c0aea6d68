"""Arrays of layers that are made whenever they are asked for."""

from collections.abc import Callable, Sequence
from typing import NoReturn, overload

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError

Array = np.ndarray


class LazyArrays(Sequence[Array]):
    """One array a layer, made whenever it is asked for and kept by nobody here: ``layers[l]`` is ``make(l)``.

    shapes: of the arrays, ``(n[l+1], n[l])`` for weights and ``(n[l+1],)`` for biases; dtype: of all of them.
    owned: the layers that this process holds, a block of them (default all, may be empty).

    Iteration goes one array at a time; a slice is a list of arrays, all of them in memory.

    Raises InputError for a layer that is not held, and if ``owned`` is not a block of the layers.

    >>> halves = LazyArrays([(2, 2), (1, 2)], np.float32, lambda l: np.full([(2, 2), (1, 2)][l], 0.5, np.float32))
    >>> len(halves), halves.owned, halves[-1]
    (2, range(0, 2), array([[0.5, 0.5]], dtype=float32))
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        dtype: DTypeLike,
        make: Callable[[int], Array],
        owned: range | None = None,
    ) -> None:
        self.shapes, self.dtype, self.make = tuple(shapes), np.dtype(dtype).newbyteorder("="), make
        self.owned = range(len(self.shapes)) if owned is None else owned
        if self.owned and (self.owned.step != 1 or self.owned[0] < 0 or self.owned[-1] >= len(self.shapes)):
            raise InputError(f"owned {self.owned} is not a block of the {len(self.shapes)} layers")

    def __reduce__(self) -> NoReturn:
        raise InputError("arrays that are made when they are asked for cannot be pickled: save the net into a folder")

    def __deepcopy__(self, memo: object) -> "LazyArrays":
        return self  # nothing in it ever changes

    def __len__(self) -> int:
        return len(self.shapes)

    @overload
    def __getitem__(self, l: int) -> Array: ...
    @overload
    def __getitem__(self, l: slice) -> list[Array]: ...
    def __getitem__(self, l: int | slice) -> Array | list[Array]:
        if isinstance(l, slice):
            return [self[k] for k in range(len(self))[l]]
        l = range(len(self))[l]  # counts from the end, too, and raises IndexError, with which an iteration ends
        if l not in self.owned:
            held = f"it holds layers {self.owned[0]} to {self.owned[-1]}" if self.owned else "it holds none"
            raise InputError(f"layer {l} is not held by this process: {held}")
        made = self.make(l)
        return made if made.dtype == self.dtype else made.astype(self.dtype)


def shapes_of(arrays: Sequence[Array]) -> Sequence[tuple[int, ...]]:
    return arrays.shapes if isinstance(arrays, LazyArrays) else [array.shape for array in arrays]
