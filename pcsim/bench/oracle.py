"""How near a contender's weights and values must come to the oracle's, for engines and peers alike."""

from collections.abc import Sequence

import numpy as np

TOLERANCE = {"float32": 2e-3, "float64": 1e-9}  # largest difference of changes of weights, relative

# Adam divides by the size of a gradient, so that one which is nothing but rounding moves its weight as far as any other
# does: of this share of the weights it is enough that they went no further than the oracle's.
ROUNDING_ALONE = 1e-3

Arrays = Sequence[np.ndarray]


def hold_weights(mine: Arrays, its: Arrays, before: Arrays, updates: str, optimizer: str = "sgd") -> None:
    """ArithmeticError, which names the layer, where ``mine`` differ from the oracle's weights by more than rounding;
    ``before``: the weights that both began with. ``updates``: how many there were, in words."""
    allowed = ROUNDING_ALONE if "adam" in optimizer else 0.0
    for l, (weights, right, start) in enumerate(zip(mine, its, before, strict=True)):
        change = float(np.max(np.abs(right - start)))
        # A change is a difference of rounded weights: its own rounding error is theirs.
        rounding = 4 * np.finfo(start.dtype).eps * float(np.max(np.abs(right)))
        off = np.abs(weights - right)
        far = off > TOLERANCE[start.dtype.name] * change + rounding
        near = np.isfinite(off).all() and far.mean() <= allowed and off.max() <= 2 * change + rounding
        if weights.dtype != start.dtype or not near:
            raise ArithmeticError(f"weights of layer {l} differ from the oracle's after {updates} updates")


def hold_values(mine: Arrays, its: Arrays, updates: str) -> None:
    """The same for the values of all layers."""
    for l, (values, right) in enumerate(zip(mine, its, strict=True)):
        if not np.allclose(values, right, rtol=1e-3, atol=1e-3 if right.dtype == np.float32 else 1e-9):
            raise ArithmeticError(f"values of layer {l} differ from the oracle's after {updates} updates")
