"""Matrices beside the layers: the heads of local losses, and the fixed feedback of direct feedback alignment.

Each is a list of L - 1 matrices, one for each hidden layer x[l+1], l = 0 … L - 2, with as many classes as the output
has units.
"""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray

HEADS, FEEDBACK = "heads", "feedback"  # V[l], (n[L], n[l+1]), which are learnt; B[l], (n[l+1], n[L]), which are not


def shapes_of_extras(name: str, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """The shapes of ``heads`` or ``feedback`` of a net of those sizes."""
    classes = sizes[-1]
    return [(classes, n) if name == HEADS else (n, classes) for n in sizes[1:-1]]


def drawn(name: str, sizes: Sequence[int], seed: int, dtype: np.dtype) -> list[Array]:
    """Uniform in ±1/sqrt(inputs of the matrix), as ``Network.mlp`` draws weights; another stream than that of weights
    from the same seed."""
    rng = np.random.default_rng([seed, 1 if name == HEADS else 2])
    shapes = shapes_of_extras(name, sizes)
    return [rng.uniform(-1, 1, shape).astype(dtype) / dtype.type(np.sqrt(shape[1])) for shape in shapes]
