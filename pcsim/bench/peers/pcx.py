"""iPC in PCX, composed from its public interface alone. Imported only in a peer's own process.

PCX's own composition: a layer's product, then a Vode that holds the value and takes the prediction; the energy is
summed over Vodes and batch, one gradient gives the step of values and weights together (the joint schedule), and an
optimiser of each takes it. Several steps stand in one jitted call.
"""

import itertools
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import optax
import pcx
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu

from ...algorithms import Algorithm
from ..case import Case
from .jax import ACTIVATIONS
from .process import Array, Variant


class PcxNet(pxc.EnergyModule):
    """Layers without bias, and a Vode for each layer's values; the last Vode's are the target."""

    def __init__(self, sizes: tuple[int, ...], activation: str) -> None:
        super().__init__()
        self.layers = [pxnn.Linear(m, n, bias=False) for m, n in itertools.pairwise(sizes)]
        self.vodes = [pxc.Vode() for _ in sizes[1:]]
        self.f = pcx.static(ACTIVATIONS[activation])

    def __call__(self, x: Any) -> Any:
        for l, (layer, vode) in enumerate(zip(self.layers, self.vodes, strict=True)):
            x = vode(layer(self.f.get()(x) if l else x))
        return x


class Peer:
    """The net of ``case`` in PCX."""

    def __init__(self, case: Case, algorithm: Algorithm, workers: int) -> None:
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        self.notes: list[str] = []
        self.versions = {"pcx": version("pcx"), "jax": jax.__version__}
        net, x, _ = case.problem()
        self.x = jax.numpy.asarray(x)
        self.net = PcxNet(net.sizes, case.activation)
        self.net.vodes[-1].h.target = True

    def load(self, weights: list[Array], values: list[Array], algorithm: Algorithm) -> None:
        """Start again from ``weights`` and ``values``."""
        for layer, w in zip(self.net.layers, weights, strict=True):
            layer.nn.weight.set(jax.numpy.array(w))
        for vode, value in zip(self.net.vodes, values[1:], strict=True):
            vode.h.set(jax.numpy.array(value))
            vode.shape.set(value.shape[1:])  # of one sample, as a call within vmap would note it
        rates = algorithm.alpha, getattr(algorithm, "gamma", 0.0)
        self.alpha, self.gamma = (np.asarray(rate, self.x.dtype) for rate in rates)

    def arrays(self) -> tuple[list[Array], list[Array]]:
        """The weights, (n[l+1], n[l]), and the values, (B, n[l])."""
        weights = [np.asarray(layer.nn.weight.get()) for layer in self.net.layers]
        return weights, [np.asarray(self.x), *(np.asarray(vode.h.get()) for vode in self.net.vodes)]

    def variants(self, best: str | None) -> dict[str, Callable[[], Variant]]:
        """Steps one after the other in a compiled call, or scanned; with the old state's memory donated, or not."""
        if best is not None:
            return {}
        return {
            "8 steps a call": partial(self._build, 8, False, False),
            "8 steps a call, donated": partial(self._build, 8, False, True),
            "32 steps a call, scanned, donated": partial(self._build, 32, True, True),
        }

    def _build(self, steps: int, scanned: bool, donated: bool) -> Variant:
        @pxf.vmap(
            {"net": pxu.M(pxc.VodeParam | pxc.VodeParam.Cache).to((None, 0))},
            in_axes=(0,),
            out_axes=None,
            axis_name="batch",
        )
        def energy(x: Any, *, net: PcxNet) -> Any:
            net(x)
            return jax.lax.psum(net.energy(), "batch")  # a sum, never a mean

        def learned(leaf: Any) -> bool:
            return isinstance(leaf, pxnn.LayerParam) or value(leaf)

        def value(leaf: Any) -> bool:
            return isinstance(leaf, pxc.VodeParam) and not getattr(leaf, "target", False)

        gradient = pxf.value_and_grad({"net": pxu.M(learned).to((False, True))})(energy)
        optimizers = {
            "weights": pxu.Optim(lambda: optax.sgd(1.0), pxu.M(pxnn.LayerParam)(self.net)),
            "values": pxu.Optim(lambda: optax.sgd(1.0), pxu.M(value)(self.net)),
        }

        def step(x: Any, alpha: Any, gamma: Any, *, net: PcxNet, weights: pxu.Optim, values: pxu.Optim) -> None:
            with pxu.step(net, clear_params=pxc.VodeParam.Cache):
                _, slopes = gradient(x, net=net)
            weights.step(net, slopes["net"], scale_by=alpha)
            values.step(net, slopes["net"], scale_by=gamma)

        def scan_step(_: Any, *data: Any, **state: Any) -> tuple[tuple, None]:
            step(*data, **state)
            return data, None

        @pxf.jit(donate_argnames=("net",) if donated else None)
        def many(*data: Any, **state: Any) -> None:
            if scanned:
                pxf.scan(scan_step, length=steps)(*data, **state)
            else:
                for _ in range(steps):
                    step(*data, **state)

        def run(updates: int) -> None:
            for _ in range(updates // steps):
                many(self.x, self.alpha, self.gamma, net=self.net, **optimizers)
            jax.block_until_ready([layer.nn.weight.get() for layer in self.net.layers])
            jax.block_until_ready([vode.h.get() for vode in self.net.vodes])

        return Variant(run, steps)
