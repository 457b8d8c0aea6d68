"""Who owns which layers, rows or samples, and where they lie in the flat arrays of a process.

Nothing here runs anything: engines, transports and the rings of a calibration ask where things are.
"""

from collections.abc import Sequence

import numpy as np

from ..algorithms import Algorithm, AsyncBP
from ..kernels.layers.activations import CODES
from ..kernels.layers.dense import padded
from ..kernels.layers.orthogonal import working_size
from ..kernels.layers.products import panel_size
from ..kernels.layers.weights import ADAM, ADAMW, COMPENSATED, DECAYED, MOMENTUM, MUON, NADAMW, NESTEROV, PLAIN
from ..kernels.machine import blas
from ..kernels.machine.memory import PAGE_BYTES, side_by_side
from ..kernels.machine.simd import VECTOR_BYTES
from ..net.network import Network
from ..schedule.blocks import balanced_blocks, even_parts
from ..schedule.teams import Team, balanced_rows
from .images import forms_of, padded_shapes, positions
from .loops.arguments import Arrays, Offsets, Options, Shares

Array = np.ndarray

APART = 16 << 10  # bytes between what two workers write, at least

RULES = {
    "sgd": PLAIN, "momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM, "adamw": ADAMW, "nadamw": NADAMW,
    "muon": MUON,
}  # fmt: skip

LAYERS, ROWS, TEAMS, SAMPLES = "layers", "rows", "teams", "samples"  # what workers have of their own


class Layout:
    """What each of ``all_workers`` has of a net and of a batch; here are ``workers`` of them from ``place`` on.

    split: LAYERS, a block of them for each; ROWS of every matrix, each worker's apart from the others'; TEAMS, a block
    of layers for each of ``teams``, and rows of their matrices for its members; or SAMPLES of the batch, and for the
    weight updates rows of every matrix in one common copy, if not each process has ``copies`` of its own. parts: into
    how many parts the samples go. balanced: rows are as even as can be over all layers together, not in each.

    What a worker writes lies on pages of its own: processors fetch ahead within a page, and what one worker writes must
    not be fetched by another that is merely passing (it cost up to half the speed of two workers).
    """

    def __init__(
        self,
        network: Network,
        batch: int,
        split: str,
        workers: int,
        all_workers: int,
        place: int,
        parts: int,
        copies: bool = False,
        teams: Sequence[Team] = (),
        balanced: bool = False,
    ) -> None:
        dtype, L, P = network.dtype, network.depth, all_workers
        self.network, self.batch, self.split = network, batch, split
        self.copies = copies and split == SAMPLES
        self.workers, self.all_workers, self.place, self.dtype, self.depth = workers, P, place, dtype, L
        mine = range(place, place + workers)
        self.page, lanes = PAGE_BYTES // dtype.itemsize, VECTOR_BYTES // dtype.itemsize
        self.gap = APART // dtype.itemsize
        self.sizes = np.array(network.sizes)
        self.wide = np.array([padded(n, dtype) for n in self.sizes])
        self.rows, self.columns = padded_shapes(network, dtype)
        lengths = self.rows * self.columns + self.rows  # weights, then biases
        self.largest = int(lengths.max())
        self.forms: Array | None = None
        self.images_room = 0
        if network.forms:
            self.forms, self.images_room = forms_of(network, batch, dtype)
        self.by_rows = split != LAYERS
        self.teams = [team for team in teams for _ in range(team.members)]  # of each worker
        costs = (lengths * positions(network)).tolist()
        self.all_blocks = [(0, L)] * P if self.by_rows else balanced_blocks(costs, P)
        if split == TEAMS:
            self.all_blocks = [(team.lo, team.hi) for team in self.teams]
        self.blocks = [self.all_blocks[place] for place in mine]
        self.lo, self.hi = self.blocks[0][0], self.blocks[-1][1]  # the layers of this process
        self.firsts, self.counts = lanes * self._rows_of_workers(lanes, teams or [Team(0, L, 0, P)], balanced)
        self._lay_out_values()
        self._lay_out_weights(lengths)
        samples = even_parts(batch, parts)
        begins = np.array([first for first, _ in samples])
        counts = np.array([count for _, count in samples])
        self.shares = Shares(self.firsts, self.counts, self.value_at[0] + begins[:, None] * self.wide, begins, counts)
        codes = np.array([CODES[name] for name in network.activations])
        scale, skip = np.array(network.scale, dtype), np.array(network.skip, np.int64)
        self.offsets = [
            Offsets(
                self.sizes, self.wide, self.weight_at[w], self.bias_at[w], self.value_at[w], scale, skip, codes,
                self.value_count, self.forms,
            )
            for w in mine
        ]  # fmt: skip

    def _rows_of_workers(self, lanes: int, teams: Sequence[Team], balanced: bool) -> Array:
        """For each worker the first unit of each layer that is its own, and how many are, in vectors of them: as even
        as can be, in each layer (it has these rows of the matrix below) or ``balanced`` over a team's layers."""
        found = np.zeros((2, self.all_workers, self.depth + 1), np.int64)
        # Rows of a matrix are units of the layer above, but of a convolution.
        vectors = (np.concatenate([self.wide[:1], self.rows]) // lanes).tolist()
        for team in teams:
            for l, count in enumerate(vectors):
                for member, run in enumerate(even_parts(count, team.members)):
                    found[:, team.first + member, l] = run
            if balanced:
                upper = range(team.lo + 1, team.hi + 1)
                costs = [float(self.wide[l - 1]) for l in upper]
                rows = balanced_rows([vectors[l] for l in upper], costs, team.members)
                for l, runs in zip(upper, rows, strict=True):
                    found[:, team.first : team.first + team.members, l] = np.transpose(runs)
        return found

    def _lay_out_values(self) -> None:
        """Where each worker finds each layer's values: those of this process's layers, and of the one above."""
        here = np.arange(self.depth + 1)
        heights = np.where((self.lo <= here) & (here <= self.hi), self.batch * self.wide, 0)
        edges = self._edges()
        at = begins(heights, [*edges, *(edge + 1 for edge in edges)], self.page, self.gap)
        self.value_at = np.tile(at[:-1], (self.all_workers, 1))
        self.value_count = self._pages(int(at[-1]))
        if self.split == ROWS:
            for worker in range(max(1, self.place), self.place + self.workers):  # an input and a target of its own
                for l in (0, self.depth):
                    self.value_at[worker, l] = self.value_count
                    self.value_count += self._pages(int(self.batch * self.wide[l]))

    def _lay_out_weights(self, lengths: Array) -> None:
        """Where each worker finds each layer's weights and biases, and how many numbers they are in this process."""
        L, P, columns, end = self.depth, self.all_workers, self.columns, 0
        if self.split in (ROWS, TEAMS):
            weights, biases = np.zeros((2, P, L), np.int64)
            for worker in range(self.place, self.place + self.workers):
                end = self._pages(end + self.gap)
                for l in range(*self.all_blocks[worker]):
                    first, rows = int(self.firsts[worker, l + 1]), int(self.counts[worker, l + 1])
                    weights[worker, l] = end - first * columns[l]
                    biases[worker, l] = end + rows * columns[l] - first
                    end += rows * int(columns[l] + 1)
        else:
            here = np.arange(L)
            edges = self._edges()
            at = begins(np.where((self.lo <= here) & (here < self.hi), lengths, 0), edges, self.page, self.gap)
            end = int(at[-1])
            weights = np.tile(at[:-1], (P, 1))
            biases = weights + self.rows * columns
        self.weight_at, self.bias_at, self.parameter_count = weights, biases, end

    def _edges(self) -> list[int]:
        """Layers between this process's blocks."""
        if self.split in (ROWS, SAMPLES):
            return []
        return sorted({hi for _, hi in self.blocks} - {self.hi})

    def _pages(self, count: int) -> int:
        """As many elements in whole pages."""
        return -(-count // self.page) * self.page

    def owned(self, worker: int, l: int) -> tuple[int, int]:
        """The first row of ``W[l]`` that a worker of this process writes, and how many."""
        if not self.by_rows or self.copies:
            return 0, int(self.rows[l])
        return int(self.firsts[self.place + worker, l + 1]), int(self.counts[self.place + worker, l + 1])

    def rows_of(self, flat: Array, worker: int, l: int, padding: bool = False) -> tuple[Array, Array]:
        """Views of a worker's rows of ``W[l]`` and of their biases in an array like the parameters."""
        first, rows = self.owned(worker, l)
        place = self.place + worker
        columns, begin = int(self.columns[l]), int(self.weight_at[place, l]) + first * int(self.columns[l])
        bias = int(self.bias_at[place, l]) + first
        whole, biases = flat[begin : begin + rows * columns], flat[bias : bias + rows]
        m, n = self.network.layers[l].weight_shape
        m = max(0, min(rows, m - first))
        return (whole, biases) if padding else (whole.reshape(rows, columns)[:m, :n], biases[:m])

    def values_of(self, flat: Array, l: int, worker: int = 0) -> Array:
        """Layer l's values, (B, n[l]), in a flat array: a view without the padding."""
        part = flat[self.place_of(l, worker)].reshape(self.batch, self.wide[l])
        return part[:, : self.sizes[l]]

    def errors_of(self, flat: Array, l: int, worker: int = 0) -> Array:
        """The errors of layer l, the same way."""
        return self.values_of(flat, l, worker)

    def share_of_values(self, worker: int) -> tuple[int, int]:
        """From where to where a worker's values lie in a flat array of them; where rows or samples are split, an even
        part of all."""
        if self.split != LAYERS:
            return self.value_count * worker // self.workers, self.value_count * (worker + 1) // self.workers
        at, (lo, hi) = self.value_at[self.place + worker], self.blocks[worker]
        begin = 0 if worker == 0 else int(at[lo])
        return begin, (self.value_count if worker == self.workers - 1 else int(at[hi]))

    def weight_part(self, place: int, l: int) -> tuple | None:
        """Which rows of ``W[l]``, as an index, come from the worker at that place among all; None for none."""
        lo, hi = self.all_blocks[place]
        if not lo <= l < hi:
            return None
        if self.split == LAYERS:
            return (slice(None),)
        if self.copies:
            return (slice(None),) if place == 0 else None
        return (self._units(place, l + 1),)

    def value_part(self, place: int, l: int) -> tuple | None:
        """Which samples and units of ``x[l]`` come from the worker at that place; None for none."""
        lo, hi = self.all_blocks[place]
        if not lo <= min(l, self.depth - 1) < hi:
            return None
        if self.split in (ROWS, TEAMS):
            return slice(None), self._units(place, l)
        if self.split == SAMPLES:
            first, count = int(self.shares.first[place]), int(self.shares.samples[place])
            return (slice(first, first + count),)
        return (slice(None),)

    def _units(self, place: int, l: int) -> slice:
        """The units of layer l that a worker has, where rows are split."""
        first, size = int(self.firsts[place, l]), int(self.sizes[l])
        return slice(min(first, size), min(first + int(self.counts[place, l]), size))

    def place_of(self, l: int, worker: int = 0) -> slice:
        """Where layer l's values lie, with their padding."""
        begin = int(self.value_at[self.place + worker, l])
        return slice(begin, begin + self.batch * int(self.wide[l]))

    def allocate(self, rule: int, drives: int, velocities: bool = False) -> list[Arrays]:
        """The arrays of this process, for each of its workers, with the moments that the optimiser's ``rule`` has; room
        for so many halves of ``drives``. All are zero, and left to their owners to be touched first, so that their
        memory is near their cores (as far as huge pages go: the workers of a small net share one)."""
        dtype, count, weights = self.dtype, self.value_count, self.parameter_count
        mean, square = weights * (rule >= MOMENTUM), weights * (rule >= ADAM)
        scratch, moving = self.largest * (rule != PLAIN), 2 * count if velocities else 0
        panel = max(panel_size(int(self.wide.max()), self.batch), self.images_room)
        if rule == MUON:
            panel = max(panel, *(working_size(rows, columns) for rows, columns in self.matrices()))
        own = [scratch] * self.workers + [panel] * self.workers
        choices = count if any(form and form.pool == "max" for form in self.network.forms) else 0
        counts = [weights, *[count] * 4, 2 * count, drives * count, mean, square, moving, choices, *own]
        parameters, values, top, activated, slopes, errors, both, means, squares, speed, chosen, *mine = side_by_side(
            counts, dtype
        )
        kept = chosen if self.network.forms else None
        return [
            Arrays(parameters, values, activated, slopes, one, means, squares, errors, both, top, speed, panel, kept)
            for one, panel in zip(mine[: self.workers], mine[self.workers :], strict=True)
        ]

    def matrices(self) -> list[tuple[int, int]]:
        """Rows and columns of what is learnt, with their padding."""
        return list(zip(self.rows.tolist(), self.columns.tolist(), strict=True))

    def bytes_of_layers(self) -> Array:
        """Of each layer's weights; for a batch also of its values: there are x, a, d, its copy at an edge, and two each
        of e and h."""
        values = (self.batch > 1) * 8 * self.batch * self.wide[1:]
        return (self.rows * self.columns + values) * self.dtype.itemsize


def rule_of(algorithm: Algorithm) -> int:
    """What becomes of the gradients of an algorithm: see ``kernels.layers.weights``."""
    if isinstance(algorithm, AsyncBP) and algorithm.spike_compensation:
        return COMPENSATED
    rule = RULES[algorithm.optimizer]
    return DECAYED if rule == PLAIN and algorithm.weight_decay else rule


def options_of(
    dtype: np.dtype,
    batch: int,
    has_bias: bool,
    vectors: bool,
    rule: int = PLAIN,
    momentum: float = 0.0,
    decay: float = 0.0,
    own: bool = True,
    softmax: bool = False,
    delays: Sequence[float] = (),
) -> Options:
    """The options of the kernels. ``vectors``: BLAS also for a batch of one; ``own``: not BLAS for larger ones;
    ``delays``: of each layer, in updates, for spike compensation."""
    return Options(
        batch, has_bias, rule, np.array([momentum, decay, *delays], np.float64), own, blas.address("gemm", dtype),
        blas.address("gemv", dtype) if vectors else 0, blas.address("ger", dtype) if vectors else 0, dtype.type(1),
        softmax,
    )  # fmt: skip


def ring(columns: int, rows: int, depth: int, batch: int, dtype: np.dtype, skip: bool = False) -> Offsets:
    """Offsets of ``depth`` layers of ``rows`` rows of ``columns``, one after the other, whose values begin on pages of
    their own; all of them tanh, and with a ``skip`` or none."""
    wide = padded(columns, dtype)
    page = PAGE_BYTES // dtype.itemsize
    heights = -(-batch * wide // page) * page
    at = np.arange(depth) * rows * wide
    sizes, values = np.full(depth + 1, columns), np.arange(depth + 1) * heights
    scale, skips, codes = np.ones(depth, dtype), np.full(depth, int(skip)), np.full(depth + 1, CODES["tanh"])
    return Offsets(sizes, np.full(depth + 1, wide), at, at, values, scale, skips, codes, (depth + 1) * heights)


def begins(lengths: Array, cuts: Sequence[int], page: int, gap: int) -> Array:
    """Where each layer's part begins in a flat array, and where the last ends; a part in ``cuts`` on a page of its
    own, ``gap`` elements or more behind the one before."""
    found = np.zeros(len(lengths) + 1, np.int64)
    for l, length in enumerate(lengths):
        if l in cuts:
            found[l] = -(-(found[l] + gap) // page) * page
        found[l + 1] = found[l] + length
    return found
