"""How near a contender's weights and values must come to the oracle's, for engines and peers alike."""

from collections.abc import Sequence

import numpy as np

TOLERANCE = {"float32": 2e-3, "float64": 1e-9}  # largest difference of changes of weights, relative

Arrays = Sequence[np.ndarray]


def hold_weights(mine: Arrays, its: Arrays, before: Arrays, updates: str) -> None:
    """ArithmeticError, which names the layer, where ``mine`` differ from the oracle's weights by more than rounding;
    ``before``: the weights that both began with. ``updates``: how many there were, in words."""
    for l, (weights, right, start) in enumerate(zip(mine, its, before, strict=True)):
        change = float(np.max(np.abs(right - start)))
        # A change is a difference of rounded weights: its own rounding error is theirs.
        rounding = 4 * np.finfo(start.dtype).eps * float(np.max(np.abs(right)))
        near = float(np.max(np.abs(weights - right))) <= TOLERANCE[start.dtype.name] * change + rounding
        if weights.dtype != start.dtype or not near:
            raise ArithmeticError(f"weights of layer {l} differ from the oracle's after {updates} updates")


def hold_values(mine: Arrays, its: Arrays, updates: str) -> None:
    """The same for the values of all layers."""
    for l, (values, right) in enumerate(zip(mine, its, strict=True)):
        if not np.allclose(values, right, rtol=1e-3, atol=1e-3 if right.dtype == np.float32 else 1e-9):
            raise ArithmeticError(f"values of layer {l} differ from the oracle's after {updates} updates")
