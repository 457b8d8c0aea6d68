"""BP in PyTorch on CPU: by autograd, by hand, and compiled; convolutions, channels last, by autograd alone. Imported
only in a peer's own process.

Compiled, a batch of one is written as sums of elementwise products, which Inductor fuses to loops of its own; a larger
one as matrix products of BLAS. (torch 2.13, two cores, batch 1: 0.13 ms against 0.17 with products at 32 x 64, 10.6
against 15.4 at 32 x 1024.)
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from ...algorithms import Algorithm
from ...net.named import Outline
from ..case import Case
from .process import Array, Variant

F = torch.nn.functional

ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {  # f(x), and f'(x) from x and h = f(x)
    "identity": (lambda x: x, lambda x, h: torch.ones_like(x)),
    "tanh": (torch.tanh, lambda x, h: 1 - h * h),
    "relu": (torch.relu, lambda x, h: (x > 0).to(x.dtype)),
    "leaky_relu": (F.leaky_relu, lambda x, h: torch.where(x > 0, 1.0, 0.01).to(x.dtype)),
    "sigmoid": (torch.sigmoid, lambda x, h: h * (1 - h)),
    "gelu": (
        F.gelu,
        lambda x, h: 0.5 * (1 + torch.erf(x * 2**-0.5)) + x * torch.exp(-0.5 * x * x) * 0.3989422804014327,
    ),
}

DEEPEST_COMPILED = 64  # compilation grows with the depth: 5 to 10 s a variant at 32 layers


class Images:
    """The layers of a net of convolutions, whose images and kernels PyTorch has with channels last in memory."""

    def __init__(self, net: Outline) -> None:
        self.image, self.forms = net.image, net.forms

    def kernels(self, weights: list[torch.Tensor]) -> list[torch.Tensor]:
        """Matrices of weights as PyTorch has them."""
        found = []
        for form, w in zip(self.forms, weights, strict=True):
            if form:
                w = w.reshape(form.channels, form.kernel, form.kernel, -1).permute(0, 3, 1, 2)
                w = w.contiguous(memory_format=torch.channels_last)
            found.append(w)
        return found

    def matrices(self, weights: list[torch.Tensor]) -> list[torch.Tensor]:
        """The other way round."""
        return [
            w.permute(0, 2, 3, 1).reshape(len(w), -1) if form else w
            for form, w in zip(self.forms, weights, strict=True)
        ]

    def shaped(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of numbers as images."""
        return x.view(len(x), *self.image).permute(0, 3, 1, 2)

    def predict(self, l: int, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """What layer l makes of its activations."""
        form = self.forms[l]
        if form is None:
            return (a if a.ndim == 2 else a.permute(0, 2, 3, 1).reshape(len(a), -1)) @ w.t()
        mu = F.conv2d(a, w, None, form.stride, form.padding)
        if form.pool:
            mu = (F.max_pool2d if form.pool == "max" else F.avg_pool2d)(mu, form.window)
        return mu


class Peer:
    """The net of ``case`` in PyTorch; all variants update the same weights in place."""

    def __init__(self, case: Case, algorithm: Algorithm, workers: int) -> None:
        torch.set_num_threads(workers)
        torch.set_num_interop_threads(1)
        self.notes: list[str] = []
        self.versions = {"torch": torch.__version__}
        self.f, self.slope = ACTIVATIONS[case.activation]
        self.images = Images(case.outline) if case.outline and case.convolves else None
        self.depth, self.batch = case.depth, case.batch
        self.skip = case.outline.skip if case.outline else (False,) * case.depth
        _, x, y = case.problem()
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        rows = case.table_of_batches()
        self.rows = None if rows is None else list(torch.from_numpy(rows))
        self.adam = algorithm.optimizer == "adam"
        self.W: list[torch.Tensor] = []

    def load(self, weights: list[Array], values: list[Array], algorithm: Algorithm) -> None:
        """Start again from ``weights``."""
        self.rate, self.begun = algorithm.alpha, 0
        self.alpha = torch.tensor(algorithm.alpha, dtype=self.x.dtype)
        given = [torch.from_numpy(w.copy()) for w in weights]
        given = self.images.kernels(given) if self.images else given
        self.W = self.W or given
        for mine, its in zip(self.W, given, strict=True):
            mine.detach().copy_(its)
        self.optimizer = torch.optim.Adam(self.W, lr=algorithm.alpha, fused=True) if self.adam else None

    def _next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """x and y of the next update."""
        if self.rows is None:
            return self.x, self.y
        rows = self.rows[self.begun % len(self.rows)]
        self.begun += 1
        return self.x.index_select(0, rows), self.y.index_select(0, rows)

    def _descend(self, gradients: Sequence[torch.Tensor]) -> None:
        """Weights by their gradients: PyTorch's own Adam, or what SGD(foreach=True) does, without its checks."""
        if self.optimizer is None:
            torch._foreach_add_(self.W, gradients, alpha=-self.rate)
            return
        for w, gradient in zip(self.W, gradients, strict=True):
            w.grad = gradient
        self.optimizer.step()

    def arrays(self) -> tuple[list[Array], list[Array]]:
        """The weights, (n[l+1], n[l]); BP has no values to keep."""
        W = self.images.matrices(self.W) if self.images else self.W
        return [w.detach().numpy().copy() for w in W], []

    def variants(self, best: str | None) -> dict[str, Callable[[], Variant]]:
        """Eager ones and compiled ones."""
        if best is not None:
            return {}
        found: dict[str, Callable[[], Variant]] = {"eager, autograd": lambda: self._repeat(self._autograd)}
        if self.images:
            if self._compiles():
                found["compiled, autograd"] = lambda: self._repeat(partial(self._autograd, self._compiled_loss()))
            return found
        found["eager, by hand"] = lambda: self._repeat(self._by_hand)
        if self._compiles():
            for name, sums in {"compiled": False, **({"compiled, sums": True} if self.batch == 1 else {})}.items():
                found[name] = partial(self._compiled, sums)
        return found

    def _compiles(self) -> bool:
        """Whether compiled variants can be had; if not it is noted why."""
        if shutil.which("g++") is None and shutil.which("clang++") is None:
            self.notes.append("compiled: no C++ compiler was found")
        elif self.depth > DEEPEST_COMPILED:
            self.notes.append(f"compiled: left out above {DEEPEST_COMPILED} layers, where compiling takes too long")
        else:
            return True
        return False

    def _repeat(self, step: Callable[[], Any]) -> Variant:
        def run(updates: int) -> None:
            for _ in range(updates):
                step()

        return Variant(run)

    def _loss(self, W: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Half the squared errors of the output."""
        mu = self.images.shaped(x) if self.images else x
        for l, w in enumerate(W):
            a = self.f(mu) if l else mu
            product = self.images.predict(l, a, w) if self.images else a @ w.t()
            mu = product + mu if self.skip[l] else product
        return 0.5 * ((mu - y) ** 2).sum()

    def _autograd(self, loss: Callable[..., torch.Tensor] | None = None) -> None:
        for w in self.W:
            w.requires_grad_()
        gradients = torch.autograd.grad((loss or self._loss)(self.W, *self._next()), self.W)
        with torch.no_grad():
            self._descend(gradients)

    def _compiled_loss(self) -> Callable[..., torch.Tensor]:
        return torch.compile(self._loss, dynamic=False, fullgraph=True)

    @torch.no_grad()
    def _by_hand(self) -> None:
        W, L, skip = self.W, self.depth, self.skip
        input, y = self._next()
        x, h, gradients = [input], [input], []
        for l in range(L - 1):
            x.append(torch.addmm(x[l], h[l], W[l].t()) if skip[l] else h[l] @ W[l].t())
            h.append(self.f(x[-1]))
        mu = h[-1] @ W[-1].t()
        e = y - (mu + x[-1] if skip[-1] else mu)
        for l in reversed(range(L)):
            back = (e @ W[l]) * self.slope(x[l], h[l]) if l else e
            back = back + e if l and skip[l] else back
            if self.adam:
                gradients.append(-e.t() @ h[l])
            elif self.batch == 1:
                W[l].addr_(e[0], h[l][0], alpha=self.rate)
            else:
                W[l].addmm_(e.t(), h[l], alpha=self.rate)
            e = back
        if self.adam:
            self._descend(gradients[::-1])

    def _compiled(self, sums: bool) -> Variant:
        f, slope, L, batch, adam, skip = self.f, self.slope, self.depth, self.batch, self.adam, self.skip

        def update(W: list[Any], input: Any, y: Any, alpha: Any) -> list[Any]:
            def forth(h: Any, w: Any) -> Any:
                return (w * h).sum(1)[None] if sums else h @ w.t()

            def back(e: Any, w: Any) -> Any:
                return (w * e.t()).sum(0)[None] if sums else e @ w

            x, h = [input], [input]
            for l in range(L - 1):
                x.append(forth(h[l], W[l]) + x[l] if skip[l] else forth(h[l], W[l]))
                h.append(f(x[-1]))
            mu = forth(h[-1], W[-1])
            e, gradients = y - (mu + x[-1] if skip[-1] else mu), []
            for l in reversed(range(L)):
                below = back(e, W[l]) * slope(x[l], h[l]) if l else e
                below = below + e if l and skip[l] else below
                scaled = (-e if adam else alpha * e).t()
                ascent = scaled * h[l] if batch == 1 else scaled @ h[l]
                if adam:
                    gradients.append(ascent)
                else:
                    W[l].add_(ascent)
                e = below
            return gradients[::-1]

        for w in self.W:
            w.requires_grad_(False)
        compiled = torch.compile(update, dynamic=False, fullgraph=True)

        @torch.no_grad()
        def step() -> None:
            for w in self.W:
                w.requires_grad_(False)
            gradients = compiled(self.W, *self._next(), self.alpha)
            if adam:
                self._descend(gradients)

        return self._repeat(step)
