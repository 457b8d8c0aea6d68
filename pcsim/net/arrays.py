"""The arrays of a net: copied, or lazy as they are, and their shapes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from . import given
from .convolution import Convolution
from .lazy import LazyArrays, shapes_of

Array = np.ndarray


def sizes_of(shapes: Sequence[tuple[int, ...]], forms: Sequence[Convolution | None]) -> tuple[int, ...]:
    """Units of every layer, of weights of those shapes."""
    kinds = forms or (None,) * len(shapes)
    below = kinds[0].image.units if kinds[0] else shapes[0][1]
    return (below, *(form.out.units if form else shape[0] for form, shape in zip(kinds, shapes, strict=True)))


def chained_sizes(shapes: Sequence[tuple[int, ...]], forms: Sequence[Convolution | None]) -> tuple[int, ...]:
    """The same; InputError where a dense layer has not as many inputs as there are units below it."""
    sizes = sizes_of(shapes, forms)
    for l, shape in enumerate(shapes):
        below = forms[l - 1] if forms and l else None
        if l and not (forms and forms[l]) and shape[1] != sizes[l]:
            has = f"{sizes[l]} units above its convolution" if below else f"{sizes[l]} rows"
            raise InputError(f"weights[{l}] has {shape[1]} columns, but weights[{l - 1}] has {has}")
    return sizes


def check_skips(
    skip: Sequence[bool], sizes: Sequence[int], shapes: Sequence[tuple[int, ...]], forms: Sequence[Convolution | None]
) -> None:
    """InputError where a layer that adds its input has outputs of another size, or an image of another shape."""
    for l, shape in enumerate(shapes):
        form = forms[l] if forms else None
        if skip[l] and sizes[l] != sizes[l + 1]:
            of = f"layer {l} has {sizes[l]} and {sizes[l + 1]}" if forms else f"weights[{l}] has shape {shape}"
            raise InputError(f"skip[{l}] needs as many outputs as inputs, but {of}")
        if skip[l] and form and form.image != form.out:
            raise InputError(f"skip[{l}] adds an image of {form.image} to one of {form.out}")


def copies(name: str, value: Any, dimensions: int, dtype: np.dtype | None = None, finite: bool = True) -> list[Array]:
    """Copies of the arrays in a list, all of that dtype, or of the one that suits them all."""
    entries = given.listed(name, value, "a list of arrays, one for each layer")
    arrays = [given.as_array(f"{name}[{l}]", entry) for l, entry in enumerate(entries)]
    kind = dtype or given.shared_dtype(arrays)
    return [given.converted(f"{name}[{l}]", a, kind, dimensions, finite) for l, a in enumerate(arrays)]


def fitting_biases(
    biases: Any, weights: Sequence[Array], dtype: np.dtype, shapes: Sequence[tuple[int, ...]], finite: bool = True
) -> Sequence[Array] | None:
    """Biases that fit the weights, copies unless they are lazy as these are."""
    if biases is None:
        return None
    taken: Sequence[Array] = biases
    if not isinstance(biases, LazyArrays):
        given.listed("biases", biases, "None, or a list of arrays, one for each layer (mlp's bias=True makes some)")
    if len(biases) != len(shapes):
        raise InputError(f"biases need one entry for each of the {len(shapes)} layers")
    if not (isinstance(weights, LazyArrays) and isinstance(biases, LazyArrays)):
        taken = copies("biases", list(biases), 1, dtype, finite)
    elif (biases.dtype, biases.owned) != (weights.dtype, weights.owned):
        raise InputError("weights and biases differ in dtype, or in the layers that are held")
    for l, (shape, its) in enumerate(zip(shapes, shapes_of(taken), strict=True)):
        if its != shape[:1]:
            raise InputError(f"biases[{l}] has shape {its}, expected {shape[:1]}")
    return taken
