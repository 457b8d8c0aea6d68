"""Nets that publications train, by name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import InputError
from .arrays import sizes_of
from .convolution import Convolution, Image, Part, chained, conv
from .network import Network

CLASSES = 10


def _cnn_64_128_64(image: Image, classes: int) -> list[Part | int]:
    """Three convolutions and two dense layers (Salvatori et al. 2022, arXiv:2212.00720, Sec. 4). The sizes of kernels
    and of the hidden dense layer are not published: here 5 × 5 at every second pixel, and 128 units."""
    return [conv(channels, 5, stride=2, padding=2) for channels in (64, 128, 64)] + [128, classes]


def _cnn_8_16_8(image: Image, classes: int, width: int = 1) -> list[Part | int]:
    """Three convolutions with max pools and a dense layer of 128 units (the same, Table 2), ``width`` times as wide.
    The kernels' size is not published: here 3 × 3."""
    layers: list[Part | int] = [conv(width * channels, 3, padding=1, pool="max") for channels in (8, 16, 8)]
    return [*layers, width * 128, classes]


def _alexnet(image: Image, classes: int) -> list[Part | int]:
    """AlexNet (Krizhevsky et al. 2012) as it is usually fitted to images of 32 × 32: five convolutions, three of them
    pooled, and two hidden dense layers; without dropout and without local response normalisation."""
    pooled: dict[str, Any] = {"padding": 1, "pool": "max"}
    return [
        conv(64, 3, stride=2, **pooled), conv(192, 3, **pooled), conv(384, 3, padding=1), conv(256, 3, padding=1),
        conv(256, 3, **pooled), 4096, 4096, classes,
    ]  # fmt: skip


def _vgg(channels: Sequence[int], padding: Sequence[int], pooled: Sequence[bool]) -> Callable[[Image, int], list]:
    def made(image: Image, classes: int) -> list[Part | int]:
        parts: list[Part | int] = [
            conv(count, 3, padding=around, pool="max" if pool else None)
            for count, around, pool in zip(channels, padding, pooled, strict=True)
        ]
        return [*parts, classes]

    return made


def _residual_mlp(image: Image, classes: int, layers: int, width: int) -> tuple[list[Part | int], list[bool]]:
    """A net of ``layers`` dense layers of ``width`` units; those between the first and the last add their input."""
    return [*[width] * (layers - 1), classes], [False, *[True] * (layers - 2), False]


# Of each name its numbers, and what makes the layers of them.
_BUILT: dict[str, Callable[..., Any]] = {
    r"cnn-64-128-64": _cnn_64_128_64,
    r"cnn-8-16-8(?:x(\d+))?": _cnn_8_16_8,
    r"alexnet": _alexnet,
    # Of the code beside Pinchetti et al., arXiv:2407.01163.
    r"vgg5": _vgg((128, 256, 512, 512), (1, 1, 1, 1), (True, True, True, True)),
    r"vgg7": _vgg((128, 128, 256, 256, 512, 512), (1, 1, 1, 0, 1, 0), (True, False) * 3),
    r"residual-mlp-(\d+)-(\d+)": _residual_mlp,
}

NAMES = ("cnn-64-128-64", "cnn-8-16-8", "cnn-8-16-8xC", "alexnet", "vgg5", "vgg7", "residual-mlp-L-N")


@dataclass(frozen=True)
class Outline:
    """A named net without its numbers: the image below, what ``Network.cnn`` makes its layers of, and for each layer
    its form (None: dense), the shape of its weights and whether it adds its input."""

    image: Image
    parts: tuple[Part | int, ...]
    forms: tuple[Convolution | None, ...]
    shapes: tuple[tuple[int, int], ...]
    skip: tuple[bool, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of all layers, from the input."""
        return sizes_of(self.shapes, self.forms)

    @property
    def multiplications(self) -> tuple[int, ...]:
        """Of one product of each layer, for a sample."""
        times = (form.positions if form else 1 for form in self.forms)
        return tuple(count * rows * columns for count, (rows, columns) in zip(times, self.shapes, strict=True))


def is_named(name: str) -> bool:
    """Whether it is a name, with an image or without."""
    return any(re.fullmatch(pattern, name.partition("@")[0]) for pattern in _BUILT)


@lru_cache
def outline(name: str) -> Outline:
    """The net of a name; after an ``@`` the image that it is for, as in ``vgg5@32x32x3`` (default 28x28x1).

    ``cnn-8-16-8xC`` is C times as wide; ``residual-mlp-L-N`` has L layers of N units, of which those between the first
    and the last add their input. All have 10 classes. InputError for a name that is none, and for an image that is
    none or too small.
    """
    net, _, size = name.partition("@")
    image = _image_of(name, size or "28x28x1")
    for pattern, build in _BUILT.items():
        if found := re.fullmatch(pattern, net):
            numbers = [int(number) for number in found.groups() if number]
            if not all(numbers) or (build is _residual_mlp and numbers[0] < 3):
                raise InputError(f"a net {net!r} has no layers: give larger numbers")
            made = build(image, CLASSES, *numbers)
            parts, skip = made if isinstance(made, tuple) else (made, [False] * len(made))
            try:
                forms, shapes = chained(image, parts)
            except InputError as error:
                raise InputError(f"{net} for images of {image}: {error}") from None
            return Outline(image, tuple(parts), tuple(forms), tuple(shapes), tuple(skip))
    raise InputError(f"a net {net!r} is unknown: choose from {', '.join(NAMES)}")


def _image_of(name: str, text: str) -> Image:
    sides = text.split("x")
    if len(sides) != 3 or not all(side.isascii() and side.isdecimal() and 0 < int(side) < 1 << 16 for side in sides):
        raise InputError(f"{name}: an image is written as height, width and channels, as in 32x32x3")
    height, width, channels = map(int, sides)
    return Image(height, width, channels)


def named(name: str, activation: str | Sequence[str] = "tanh", **options: Any) -> Network:
    """The net of a name, see :func:`outline`; ``options`` are those of ``Network.cnn``.

    >>> named("vgg5@32x32x3").sizes
    (3072, 32768, 16384, 8192, 2048, 10)
    """
    found = outline(name)
    return Network.cnn(found.image, list(found.parts), activation, **{"skip": found.skip} | options)
