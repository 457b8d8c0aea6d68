"""What a prediction is of: a net by the sizes of its layers, and its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Net:
    """``sizes``, n[0] … n[L]; the batch; bytes of an element.

    ``steps_per_batch``: None where the batch never changes, else how many updates iPC stays on each, which begin with a
    ``start`` ("forward" or "pipelined"); BP, PC and Z-IL then take a new batch for every update. The rows of a batch
    come from a data set that no cache holds.
    """

    sizes: tuple[int, ...]
    batch: int = 1
    item: int = 4
    steps_per_batch: int | None = None
    start: str = "forward"

    @property
    def depth(self) -> int:
        """L, the number of weight matrices."""
        return len(self.sizes) - 1

    @property
    def width(self) -> int:
        """Of the widest layer."""
        return max(self.sizes)

    @property
    def unequal(self) -> str | None:
        """The sizes in words where they are not all the same; else None."""
        return None if len(set(self.sizes)) == 1 else "-".join(map(str, self.sizes))

    @property
    def name(self) -> str:
        """The net and its batches in words."""
        words = [self.unequal or f"{self.depth} × {self.width}", f"batch {self.batch}"]
        if self.steps_per_batch:
            words.append(f"a new one every {self.steps_per_batch} steps")
        return ", ".join([*words, *(["pipelined start"] if self.start == "pipelined" else [])])

    def weights(self) -> list[int]:
        """Of each layer."""
        return [below * above for below, above in zip(self.sizes, self.sizes[1:], strict=False)]


def equal_nets(depths: Sequence[int], widths: Sequence[int], batches: Sequence[int], item: int = 4) -> list[Net]:
    """Nets whose layers are all alike, by batch, depth and width."""
    return [Net((width,) * (depth + 1), batch, item) for batch in batches for depth in depths for width in widths]
