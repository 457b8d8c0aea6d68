"""The compiled loop of one rank in data-parallel predictive coding: as ``loops/samples.py``, without shared memory.

A rank has some samples and all weights. It predicts, back-projects and moves values for its samples, layer after layer
and without a word from others; only the gradients are summed over all ranks (``MPI_Iallreduce``). A sum is under way
until the next step's products need its layer: there the weights move. Neighbouring layers whose gradients are short
share one sum, as to begin one costs some microseconds.
"""

from collections import namedtuple

from ...kernels.layers.dense import PREDICT, UPDATE
from ...kernels.layers.step import layer_step
from ...kernels.layers.values import move_values, push_values
from ...kernels.layers.vectors import fill, squares
from ...kernels.layers.view import part_of_batch
from ...kernels.layers.weights import descend, gradient
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.messages import Library, address_of, done, finish, sum_over_ranks
from ...kernels.machine.simd import pointer
from ...kernels.machine.sync import load_acquire
from .samples import begin_samples
from .steps import layers, note_divergence, rate_at, step_of_cycle

# ``arguments.GradientSums`` with pointers in place of arrays; spent: nanoseconds of each step, if there is an account.
Sums = namedtuple(
    "Sums", "in_place kind operation communicator base item pending gradient_at opened least spent library stop"
)


@njit(nogil=True, cache=True)
def sums_of(messages, spent, stop):
    """The sums of a run."""
    return Sums(
        messages.in_place, messages.kind, messages.operation, messages.communicator, messages.base, messages.item,
        pointer(messages.pending), pointer(messages.gradient_at), pointer(messages.opened), messages.least, spent,
        Library(*messages.functions, pointer(messages.scratch)), stop,
    )  # fmt: skip


@inner
def _numbers_of(s, sums, first, l):
    """How many numbers the gradients of the layers ``first … l`` are."""
    return sums.gradient_at[l] - sums.gradient_at[first] + s.padded[l + 1] * (s.padded[l] + 1)


@inner
def _sum(s, sums, first, l):
    """Start the sum of the gradients of the layers ``first … l``."""
    begin, count = sums.base + sums.gradient_at[first] * sums.item, _numbers_of(s, sums, first, l)
    sum_over_ranks(
        sums.library, sums.in_place, begin, count, sums.kind, sums.operation, sums.communicator,
        address_of(sums.pending, first),
    )  # fmt: skip
    for below in range(first, l + 1):
        sums.opened[below] = first


@inner
def _descended(s, sums, l, alpha, number, step):
    """Wait for the sum with layer l's gradient, and move its weights; False for a stop."""
    before = nanoseconds() if len(sums.spent) > 0 else 0
    if not finish(sums.library, address_of(sums.pending, sums.opened[l]), sums.stop):
        return False
    if len(sums.spent) > 0:
        sums.spent[step] += nanoseconds() - before
    descend(s, l, ZERO, s.padded[l + 1], sums.gradient_at[l], alpha, number)
    return True


@njit(nogil=True, cache=True)
def samples_of_rank(
    who, arrays, offsets, options, data, rates, calendar, shares, team, signals, notes, ranks, messages
):
    """The steps of ``calendar`` by one rank (groups of arguments: see ``arguments``). energy[rank] receives its part of
    F at the first step that updates weights."""
    s = layers(arrays, offsets, options)
    rank, depth, size = who.place, len(offsets.sizes) - 1, offsets.value_count
    mine = part_of_batch(s, team.samples, pointer(team.at))
    e, h, stop, products = (
        pointer(arrays.errors), pointer(arrays.drives), pointer(signals.stop), pointer(calendar.products)
    )  # fmt: skip
    moves, completed = pointer(calendar.moves), pointer(calendar.completed)
    alphas, gammas, precisions = pointer(rates.alpha), pointer(rates.gamma), pointer(rates.precision)
    momentum, velocity = rates.value_momentum, pointer(arrays.velocity)
    sums = sums_of(messages, ranks.spent, stop)
    notes.times[0, 0], diverged = nanoseconds(), pointer(notes.diverged)
    number, batch = rates.number, ZERO
    # Of the step before: where its products stand, its rate, and how many updates were made.
    before, rate_before, number_before, under_way = ZERO, s.zero, number, False
    for step in range(calendar.steps):
        if load_acquire(stop, 0) != 0:
            break
        t = step_of_cycle(calendar, step)
        stage = t % calendar.stages
        slot, forward, moving, turn = (step & 1) * size, False, moves[stage] != 0, stage * depth
        if t == 0:
            forward = not calendar.given or step > 0
            for l in range(depth if under_way else ZERO):
                if products[before + l] & UPDATE and not _descended(s, sums, l, rate_before, number_before + 1, step):
                    return 0
            under_way = False
            begin_samples(s, mine, depth, data, batch, team.begin, team.samples, e, slot, forward)
            for l in range(1, depth if momentum > 0 else 1):
                fill(velocity, mine.value_at[l], team.samples * s.padded[l], s.zero)
            batch += 1
        gamma = rate_at(gammas, len(rates.gamma), t)
        precision = rate_at(precisions, len(rates.precision), t)
        first, last = depth, depth  # of the layers whose sum has still to start; and of the last sum
        for l in range(depth):
            due = under_way and products[before + l] & UPDATE
            if due and not _descended(s, sums, l, rate_before, number_before + 1, step):
                return 0
            work, weight = products[turn + l], precision if l + 1 == depth else s.one
            if forward:
                work &= ~PREDICT
            if work & ~UPDATE:
                layer_step(work & ~UPDATE, mine, l, ZERO, s.padded[l + 1], s.x, e, h, slot, weight, s.zero, ZERO)
            if l + 1 == depth:
                note_divergence(diverged, ZERO, mine, depth, ZERO, s.padded[depth], e, slot, number)
            if step == calendar.energy_step:
                notes.energy[rank] += 0.5 * weight * squares(mine, l + 1, ZERO, s.padded[l + 1], e, slot)
            if work & UPDATE:
                gradient(
                    mine, l, ZERO, s.padded[l + 1], e, slot + mine.value_at[l + 1], weight, sums.gradient_at[l]
                )  # fmt: skip
                first = min(first, l)
                follows = l + 1 < depth and products[turn + l + 1] & UPDATE
                if not follows or _numbers_of(s, sums, first, l) >= sums.least:
                    _sum(s, sums, first, l)
                    first, last = depth, first
            if last < depth:  # the library may move what is under way
                done(sums.library, address_of(sums.pending, last))
            if moving and l > 0 and momentum > 0:
                push_values(mine, l, s.x, e, h, slot, gamma, momentum, velocity, ZERO, True)
            elif moving and l > 0:
                move_values(mine, l, s.x, e, h, slot, gamma, True)
        before, rate_before, number_before, under_way = (
            turn, rate_at(alphas, len(rates.alpha), number - rates.number), number, True
        )  # fmt: skip
        number += completed[stage + 1] - completed[stage]
    for l in range(depth if under_way else ZERO):
        due = products[before + l] & UPDATE
        if due and not _descended(s, sums, l, rate_before, number_before + 1, calendar.steps - 1):
            return 0
    notes.times[0, 1] = nanoseconds()
    return 0
