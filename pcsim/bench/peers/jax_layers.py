"""Layers of nets in JAX: what they predict, and what of errors above goes back to their activities and their weights.

Values are rows of numbers, as in pcsim; an image in them is seen by its shape, which moves nothing. Convolutions are
those of XLA, or (``patches``) shifted views of the images side by side and a product, whichever a case finds faster.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from ...net.convolution import Convolution

# Errors above and a factor to what goes back to the activities, and that factor times the ascent of the weights.
Pull = Callable[[Any, Any], tuple[Any, Any]]


class Layer(NamedTuple):
    """``forth(h, w)`` is what a layer makes of its activities; ``linear(h, w)`` that, and its pull-back there; ``skip``
    says whether it adds the values below."""

    forth: Callable[[Any, Any], Any]
    linear: Callable[[Any, Any], tuple[Any, Pull]]
    skip: bool

    def above(self, x: Any, h: Any, w: Any) -> Any:
        """What the layer predicts from the values ``x`` and their activities ``h``."""
        return self.forth(h, w) + x if self.skip else self.forth(h, w)


def layer(form: Convolution | None, skip: bool, turned: bool, patches: bool) -> Layer:
    """A layer with weights as in pcsim, or ``turned``: transposed."""
    if form is None:
        return Layer(partial(forth, turned), partial(dense, turned), skip)
    filtered = partial(convolved_by_product if patches else convolved, form, turned)

    def predict(h: Any, w: Any) -> Any:
        z = filtered(h.reshape(-1, *form.image), w)
        return (pooled(form, z) if form.pool else z).reshape(len(h), -1)

    def linear(h: Any, w: Any) -> tuple[Any, Pull]:
        mu, transposed = jax.vjp(predict, h, w)

        def pull(e: Any, factor: Any) -> tuple[Any, Any]:
            back, ascent = transposed(e)
            return back, factor * ascent

        return mu, pull

    return Layer(predict, linear, skip)


def dot(a: Any, b: Any, i: int, j: int) -> Any:
    """The product over dimension ``i`` of a matrix and ``j`` of another."""
    return jax.lax.dot_general(a, b, (((i,), (j,)), ((), ())))


def forth(turned: bool, h: Any, w: Any) -> Any:
    """``h @ W.T``"""
    return dot(h, w, 1, 0 if turned else 1)


def back(turned: bool, e: Any, w: Any) -> Any:
    """``e @ W``"""
    return dot(e, w, 1, 1 if turned else 0)


def outer(turned: bool, e: Any, h: Any) -> Any:
    """``e.T @ h``"""
    return dot(h, e, 0, 0) if turned else dot(e, h, 0, 0)


def dense(turned: bool, h: Any, w: Any) -> tuple[Any, Pull]:
    """A dense layer and its pull-back, by hand."""
    return forth(turned, h, w), lambda e, factor: (back(turned, e, w), outer(turned, factor * e, h))


def convolved(form: Convolution, turned: bool, images: Any, w: Any) -> Any:
    """XLA's own convolution, channels last."""
    k, p = form.kernel, form.padding
    kernels = w.reshape((k, k, -1, form.channels) if turned else (form.channels, k, k, -1))
    layouts = ("NHWC", "HWIO" if turned else "OHWI", "NHWC")
    return jax.lax.conv_general_dilated(
        images, kernels, (form.stride, form.stride), [(p, p), (p, p)], dimension_numbers=layouts
    )


def convolved_by_product(form: Convolution, turned: bool, images: Any, w: Any) -> Any:
    """The patches of the images, and a product."""
    p, s, (high, wide, _) = form.padding, form.stride, form.filtered
    padded = jax.numpy.pad(images, ((0, 0), (p, p), (p, p), (0, 0)))
    views = [
        padded[:, row : row + s * high : s, column : column + s * wide : s]
        for row in range(form.kernel)
        for column in range(form.kernel)
    ]
    patches = jax.numpy.concatenate(views, axis=-1)
    return forth(turned, patches.reshape(-1, patches.shape[-1]), w).reshape(*patches.shape[:3], -1)


def pooled(form: Convolution, z: Any) -> Any:
    """Pools as elementwise operations on the positions of a window, which XLA makes one loop of; of equal positions the
    first is the largest, as in pcsim. (Its own reduction over windows has a slow derivative on CPUs.)"""
    (high, wide, _), q = form.out, form.window
    views = [z[:, row : row + q * high : q, column : column + q * wide : q] for row in range(q) for column in range(q)]
    found = views[0]
    for view in views[1:]:
        found = jax.numpy.where(view > found, view, found) if form.pool == "max" else found + view
    return found if form.pool == "max" else found / q**2
