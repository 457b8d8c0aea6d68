"""The compiled loop of one worker in data-parallel predictive coding, for all three calendars.

Each worker has some samples of the batch: it predicts, back-projects and moves values for these alone, over all layers.
The memory is shared, so that the sum of the gradients is taken inside the products, of which each worker makes some
rows. In a step there are two points to meet at, told layer by layer, so that a worker waits only for what comes next:

- *made*: errors and activations of a worker's samples are there, and it reads ``W[l]`` no more: new weights may come;
- *updated*: its rows of ``W[l]`` are new, and it reads the activations no more: values may move.

Results differ in rounding from those of another number of workers, as products of other shapes are summed up otherwise.
"""

from ...kernels.layers.dense import BACKPROJECT, PREDICT, UPDATE
from ...kernels.layers.step import activate_layer, layer_step, start_prediction
from ...kernels.layers.values import move_values, push_values
from ...kernels.layers.vectors import fill, squares, subtract_from
from ...kernels.layers.view import part_of_batch
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire, meet, publish
from .steps import layers, load_rows, note_divergence, rate_at, step_of_cycle
from .teams import all_told

MADE, UPDATED = 0, 1  # flags of a worker among those of progress


@inner
def begin_samples(s, mine, depth, data, batch, begin, samples, e, slot, forward):
    """Load a worker's samples of a batch, and if ``forward`` let the values be their predictions."""
    load_rows(data.x, data.rows, batch, begin, samples, s.padded[0], s.x, s.value_at[0])
    load_rows(data.y, data.rows, batch, begin, samples, s.padded[depth], s.x, s.value_at[depth])
    for l in range(depth):
        activate_layer(mine, l)
        if forward:
            units, at = s.padded[l + 1], mine.value_at[l + 1]
            if l + 1 == depth:
                start_prediction(mine, l, ZERO, units, e, slot + at)
                subtract_from(mine, depth, samples, ZERO, units, s.x, at, e, slot + at)
            else:
                start_prediction(mine, l, ZERO, units, s.x, at)
                fill(e, slot + at, samples * units, s.zero)


@njit(nogil=True, cache=True)
def samples(who, arrays, offsets, options, data, rates, calendar, shares, team, signals, notes):
    """The steps of ``calendar`` by one worker (groups of arguments: see ``arguments``). energy[worker] receives its
    part of F at the first step that updates weights."""
    s = layers(arrays, offsets, options)
    worker, workers, depth, size = who.worker, who.workers, len(offsets.sizes) - 1, offsets.value_count
    begin, count, mine = team.begin, team.samples, part_of_batch(s, team.samples, pointer(team.at))
    e, h, own = pointer(arrays.errors), pointer(arrays.drives), worker * (depth + 1)
    firsts, rows = offset(pointer(shares.first_row), own), offset(pointer(shares.rows), own)
    progress, stop, products = pointer(signals.progress), pointer(signals.stop), pointer(calendar.products)
    moves, completed = pointer(calendar.moves), pointer(calendar.completed)
    alphas, gammas, precisions = pointer(rates.alpha), pointer(rates.gamma), pointer(rates.precision)
    momentum, velocity = rates.value_momentum, pointer(arrays.velocity)
    if not meet(worker, workers, pointer(signals.ready), stop):
        return 0
    notes.times[worker, 0], diverged = nanoseconds(), pointer(notes.diverged)
    number, batch, span = rates.number, ZERO, depth + 1
    made, updated = ZERO, ZERO
    for step in range(calendar.steps):
        if load_acquire(stop, 0) != 0:
            break
        t = step_of_cycle(calendar, step)
        stage = t % calendar.stages
        slot, now, forward, moving = (step & 1) * size, step * span, False, moves[stage] != 0
        if t == 0:
            forward = not calendar.given or step > 0
            begin_samples(s, mine, depth, data, batch, begin, count, e, slot, forward)
            for l in range(1, depth if momentum > 0 else 1):
                fill(velocity, mine.value_at[l], count * s.padded[l], s.zero)
            batch += 1
        alpha = rate_at(alphas, len(rates.alpha), number - rates.number)
        gamma = rate_at(gammas, len(rates.gamma), t)
        precision = rate_at(precisions, len(rates.precision), t)
        for l in range(depth):
            work, weight = products[stage * depth + l] & ~UPDATE, precision if l + 1 == depth else s.one
            if forward:
                work &= ~PREDICT
            if work & (PREDICT | BACKPROJECT):
                layer_step(work, mine, l, ZERO, s.padded[l + 1], s.x, e, h, slot, weight, alpha, ZERO)
            publish(progress, 2 * worker + MADE, now + l + 1)
            if l + 1 == depth:
                note_divergence(diverged, worker, mine, depth, ZERO, s.padded[depth], e, slot, number)
            if step == calendar.energy_step:
                notes.energy[worker] += 0.5 * weight * squares(mine, l + 1, ZERO, s.padded[l + 1], e, slot)
        for l in range(depth):
            made = all_told(progress, MADE, ZERO, workers, now + l + 1, made, stop)
            if made < 0:
                return 0
            if products[stage * depth + l] & UPDATE and rows[l + 1] > 0:
                weight = precision if l + 1 == depth else s.one
                layer_step(
                    UPDATE, s, l, firsts[l + 1], rows[l + 1], s.x, e, h, slot, weight, alpha, number + 1
                )  # fmt: skip
            publish(progress, 2 * worker + UPDATED, now + l + 1)
        for l in range(depth):
            updated = all_told(progress, UPDATED, ZERO, workers, now + l + 1, updated, stop)
            if updated < 0:
                return 0
            if moving and l > 0 and momentum > 0:
                push_values(mine, l, s.x, e, h, slot, gamma, momentum, velocity, ZERO, True)
            elif moving and l > 0:
                move_values(mine, l, s.x, e, h, slot, gamma, True)
        number += completed[stage + 1] - completed[stage]
    notes.times[worker, 1] = nanoseconds()
    return 0
