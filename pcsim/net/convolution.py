"""Convolutions: images, the patches that a kernel sees, pooling, and the layer made of them, in NumPy.

An image is a row of numbers, channels last: pixel after pixel, row after row, all channels of a pixel side by side. So
the patches of an image are the rows of a matrix, and a convolution is a product of that matrix and the kernels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..checks import is_whole, shown
from ..errors import InputError
from .layers import Dense, Product

Array = np.ndarray

POOLS = ("max", "average")


class Image(NamedTuple):
    """The shape of the values of a layer."""

    height: int
    width: int
    channels: int

    @property
    def units(self) -> int:
        """How many numbers they are."""
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"


@dataclass(frozen=True)
class Convolution:
    """What kind of layer a convolution is: the ``image`` below, ``channels`` kernels of ``kernel`` × ``kernel`` pixels,
    a step of ``stride`` pixels between patches, ``padding`` pixels of zeros around the image, and where wanted the
    ``pool`` ("max" or "average") of ``window`` × ``window`` positions next to one another. What does not fill a window
    is left out, as PyTorch does.

    InputError for numbers that are none, and where a kernel or a window is larger than the image that it sees.

    >>> form = Convolution(Image(28, 28, 1), channels=64, kernel=5, stride=2, padding=2)
    >>> form.out, form.shape, form.positions
    (Image(height=14, width=14, channels=64), (64, 25), 196)
    """

    image: Image
    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: str | None = None
    window: int = 2

    def __post_init__(self) -> None:
        image = _image(self.image)
        object.__setattr__(self, "image", image)
        for name, least in (("channels", 1), ("kernel", 1), ("stride", 1), ("padding", 0), ("window", 1)):
            value = getattr(self, name)
            if not is_whole(value, least):
                raise InputError(f"{name} of a convolution must be a whole number of at least {least}: {shown(value)}")
            object.__setattr__(self, name, int(value))
        if self.pool is not None and self.pool not in POOLS:
            raise InputError(f"pool must be one of {', '.join(POOLS)}, or None, not {shown(self.pool)}")
        if self.kernel > min(image.height, image.width) + 2 * self.padding:
            raise InputError(
                f"a kernel of {self.kernel} × {self.kernel} is larger than an image of {image.height} × {image.width} "
                f"pixels with a padding of {self.padding}"
            )
        if self.pool and self.window > min(self.filtered[:2]):
            raise InputError(
                f"a pool of {self.window} × {self.window} is larger than its image of {self.filtered.height} × "
                f"{self.filtered.width} pixels"
            )

    @property
    def filtered(self) -> Image:
        """The image that the kernels make, before it is pooled."""
        high, wide = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in self.image[:2])
        return Image(high, wide, self.channels)

    @property
    def out(self) -> Image:
        """The image above."""
        if not self.pool:
            return self.filtered
        return Image(self.filtered.height // self.window, self.filtered.width // self.window, self.channels)

    @property
    def positions(self) -> int:
        """Patches of an image."""
        return self.filtered.height * self.filtered.width

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix of weights: a row for each kernel, which goes through rows, columns and channels of a patch."""
        return self.channels, self.kernel * self.kernel * self.image.channels

    def patches(self, x: Array) -> Array:
        """The patches of images ``x``, (B, units), as (B, positions, columns of the weights)."""
        p, k, s = self.padding, self.kernel, self.stride
        padded = np.pad(x.reshape(-1, *self.image), ((0, 0), (p, p), (p, p), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::s, ::s]
        return windows.transpose(0, 1, 2, 4, 5, 3).reshape(len(x), self.positions, -1)

    def image_of(self, patches: Array) -> Array:
        """The transpose of :meth:`patches`: each number is added to the pixel from which it would have been taken."""
        p, k, s = self.padding, self.kernel, self.stride
        height, width, channels = self.image
        high, wide, _ = self.filtered
        parts = patches.reshape(-1, high, wide, k, k, channels)
        found = np.zeros((len(patches), height + 2 * p, width + 2 * p, channels), patches.dtype)
        for row in range(k):
            for column in range(k):
                found[:, row : row + s * high : s, column : column + s * wide : s] += parts[:, :, :, row, column]
        return found[:, p : p + height, p : p + width].reshape(len(patches), -1)

    def pooled(self, z: Array) -> Array:
        """The images above, (B, units), of what the kernels made, ``z``, (B, positions, channels)."""
        if not self.pool:
            return z.reshape(len(z), -1)
        windows = self._windows(z)
        return (windows.max(-1) if self.pool == "max" else windows.mean(-1)).reshape(len(z), -1)

    def unpooled(self, e: Array, z: Array) -> Array:
        """The transpose of :meth:`pooled` at ``z``: errors ``e``, (B, units above), at the positions that they are of,
        (B, positions, channels). Of equal positions in a window the first is the largest."""
        if not self.pool:
            return e.reshape(z.shape)
        windows, (high, wide, channels), q = self._windows(z), self.out, self.window
        share = np.full(windows.shape, 1 / q**2, e.dtype)
        if self.pool == "max":
            share = (np.arange(q * q) == windows.argmax(-1)[..., None]).astype(e.dtype)
        spread = (e.reshape(-1, high, wide, channels, 1) * share).reshape(-1, high, wide, channels, q, q)
        found = np.zeros((len(e), *self.filtered), e.dtype)
        found[:, : high * q, : wide * q] = spread.transpose(0, 1, 4, 2, 5, 3).reshape(-1, high * q, wide * q, channels)
        return found.reshape(z.shape)

    def _windows(self, z: Array) -> Array:
        """Pools' windows, (B, height, width, channels, window ** 2)."""
        (high, wide, channels), q = self.out, self.window
        whole = z.reshape(-1, *self.filtered)[:, : high * q, : wide * q].reshape(-1, high, q, wide, q, channels)
        return whole.transpose(0, 1, 3, 5, 2, 4).reshape(-1, high, wide, channels, q * q)

    def told(self) -> dict[str, Any]:
        """What makes it this kind, for files."""
        return {
            "image": list(self.image), "channels": self.channels, "kernel": self.kernel, "stride": self.stride,
            "padding": self.padding, "pool": self.pool, "window": self.window,
        }  # fmt: skip


Part = Callable[[Image], Convolution]


def conv(
    channels: int, kernel: int, stride: int = 1, padding: int = 0, pool: str | None = None, window: int = 2
) -> Part:
    """A convolution of whatever image is below it, for ``Network.cnn``; see :class:`Convolution`."""
    return partial(
        Convolution, channels=channels, kernel=kernel, stride=stride, padding=padding, pool=pool, window=window
    )


def chained(
    image: Sequence[int], parts: Sequence[Part | int]
) -> tuple[list[Convolution | None], list[tuple[int, int]]]:
    """The forms of layers one above the other, from the image of the input, and the shapes of their weights."""
    if not isinstance(parts, list | tuple) or not parts:
        raise InputError("parts must be a list of convolutions (pcsim.conv) and units of dense layers")
    below: Image | None = _image(image)
    units, forms, shapes = _image(image).units, list[Convolution | None](), list[tuple[int, int]]()
    for l, part in enumerate(parts):
        if is_whole(part):
            forms.append(None)
            shapes.append((int(part), units))
            below, units = None, int(part)
        elif not callable(part):
            raise InputError(f"parts[{l}] must be what pcsim.conv gives, or units of a dense layer, not {shown(part)}")
        elif below is None:
            raise InputError(f"parts[{l}] is a convolution above a dense layer, which has no image")
        else:
            try:
                form = part(below)
            except InputError as error:
                raise InputError(f"parts[{l}]: {error}") from None
            forms.append(form)
            shapes.append(form.shape)
            below, units = form.out, form.out.units
    return forms, shapes


def _image(given: Any) -> Image:
    if not isinstance(given, tuple | list) or len(given) != 3 or not all(is_whole(side) for side in given):
        raise InputError(f"an image is its height, width and channels, three whole numbers, not {shown(given)}")
    return Image(*map(int, given))


@dataclass(frozen=True, eq=False)
class Conv2d(Dense):
    """A convolution, ``mu = pool(patches(scale * f(x)) @ W.T) + b (+ x)``: a dense layer on the patches of its images.

    ``form`` says which; there is a row of ``W`` and a number of ``b`` for each channel. The weights of
    ``torch.nn.Conv2d``, (channels, channels below, kernel, kernel), are those of ``W`` in another order:
    ``weight.transpose(0, 2, 3, 1).reshape(channels, -1)``.
    """

    form: Convolution = field(kw_only=True)

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Of ``W``: a row for each kernel."""
        return self.form.shape

    @property
    def products(self) -> dict[str, Product]:
        """The shapes of its matrix products, by the name of the operation: for each sample as often as there are
        positions."""
        return {name: one._replace(times=self.form.positions) for name, one in _dense(*self.form.shape).items()}

    def _filtered(self, x: Array) -> tuple[Array, Array]:
        """Patches of the activations, and what the kernels make of them."""
        patches = self.form.patches(self.scale * self.f(x))
        return patches, patches @ self.weights.T

    def predict(self, x: Array) -> Array:
        """``mu``, (B, m), of the layer above from the values ``x``, (B, n), in the dtype of the weights."""
        _, filtered = self._filtered(x)
        mu, bias = self.form.pooled(filtered), self.bias
        if bias is not None:
            mu = mu + np.tile(bias, mu.shape[1] // len(bias))
        return (mu + x if self.skip else mu).astype(self.weights.dtype, copy=False)

    def pull_back(self, x: Array, e: Array) -> Array:
        """What drives the values ``x``, (B, n), from the errors above, ``e``, (B, m)."""
        _, filtered = self._filtered(x)
        back = self.form.image_of(self.form.unpooled(e, filtered) @ self.weights)
        driven = self.slope(x) * self.scale * back
        return driven + e if self.skip else driven

    def gradient(self, x: Array, e: Array) -> tuple[Array, Array | None]:
        """The directions in which ``W`` and ``b`` ascend (None without a bias), summed over the batch."""
        patches, filtered = self._filtered(x)
        errors = self.form.unpooled(e, filtered)
        ascent = np.tensordot(errors, patches, ((0, 1), (0, 1)))
        of_bias = None if self.make_bias is None else e.reshape(-1, self.form.channels).sum(0)
        return ascent, of_bias


def _dense(m: int, n: int) -> dict[str, Product]:
    return {"predict": Product(m, n), "pull_back": Product(n, m), "gradient": Product(m, n)}
