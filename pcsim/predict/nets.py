"""What a prediction is of: a net by the sizes of its layers, and its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..net.named import Outline
from ..schedule.patches import padded, samples_at_once
from .prices import Form


@dataclass(frozen=True)
class Net:
    """``sizes``, n[0] … n[L]; the batch; bytes of an element.

    ``steps_per_batch``: None where the batch never changes, else how many updates iPC stays on each, which begin with a
    ``start`` ("forward" or "pipelined"); BP, PC and Z-IL then take a new batch for every update. The rows of a batch
    come from a data set that no cache holds. ``title``: the name of a named net; ``forms``: of each layer None, or what
    a convolution is; ``skip``: whether it adds its input; both empty where no layer is, or does.
    """

    sizes: tuple[int, ...]
    batch: int = 1
    item: int = 4
    steps_per_batch: int | None = None
    start: str = "forward"
    title: str | None = None
    forms: tuple[Form | None, ...] = ()
    skip: tuple[bool, ...] = ()

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
        """The net in words where its layers are not all the same; else None."""
        return self.title or (None if len(set(self.sizes)) == 1 else "-".join(map(str, self.sizes)))

    @property
    def name(self) -> str:
        """The net and its batches in words."""
        words = [self.unequal or f"{self.depth} × {self.width}", f"batch {self.batch}"]
        if self.steps_per_batch:
            words.append(f"a new one every {self.steps_per_batch} steps")
        return ", ".join([*words, *(["pipelined start"] if self.start == "pipelined" else [])])

    @property
    def rows(self) -> tuple[int, ...]:
        """Of each layer's weights: units above, or kernels."""
        return tuple(
            f.filters if f else n for f, n in zip(self.forms or (None,) * self.depth, self.sizes[1:], strict=True)
        )

    @property
    def columns(self) -> tuple[int, ...]:
        """Of each layer's weights: units below, or numbers of a patch."""
        return tuple(
            f.columns if f else n for f, n in zip(self.forms or (None,) * self.depth, self.sizes[:-1], strict=True)
        )

    def weights(self) -> list[int]:
        """Of each layer."""
        return [below * above for below, above in zip(self.columns, self.rows, strict=True)]

    def multiplications(self) -> list[int]:
        """Of one product of each layer, for a sample."""
        forms = self.forms or (None,) * self.depth
        return [count * (form.positions if form else 1) for form, count in zip(forms, self.weights(), strict=True)]

    def costs(self) -> list[int]:
        """What a layer's product costs, by which layers are shared out: its multiplications, for a net with
        convolutions with padding and biases, as the engines do."""
        if not self.forms:
            return self.weights()
        pairs = zip(self.forms, self.columns, self.rows, strict=True)
        shapes = [(form, padded(n, self.item), padded(m, self.item)) for form, n, m in pairs]
        return [(columns * rows + rows) * (form.positions if form else 1) for form, columns, rows in shapes]

    def form(self, layer: int) -> Form | None:
        """Of a layer's convolution; None for a dense layer, and for whatever stands beside the net's own."""
        return self.forms[layer] if layer < len(self.forms) else None


def equal_nets(depths: Sequence[int], widths: Sequence[int], batches: Sequence[int], item: int = 4) -> list[Net]:
    """Nets whose layers are all alike, by batch, depth and width."""
    return [Net((width,) * (depth + 1), batch, item) for batch in batches for depth in depths for width in widths]


def named_net(
    title: str, outline: Outline, batch: int, item: int = 4, steps_per_batch: int | None = None, start: str = "forward"
) -> Net:
    """A net of :mod:`pcsim.net.named`."""
    sizes, forms = outline.sizes, list[Form | None]()
    for l, form in enumerate(outline.forms):
        if form is None:
            forms.append(None)
            continue
        filters, columns = outline.shapes[l]
        above = sizes[l + 1]
        pooled = form.pool is not None
        at_once = samples_at_once(form.positions, columns, above, pooled, item, batch)
        forms.append(
            Form(
                filters, columns, form.positions, form.kernel * form.image.channels, pooled, at_once, sizes[l], above, l
            )
        )
    some = any(forms)
    skip = outline.skip if any(outline.skip) else ()
    return Net(sizes, batch, item, steps_per_batch, start, title, tuple(forms) if some else (), tuple(skip))
