"""The compiled loops of one rank in backprop: as ``loops/backprop.py``, with messages in place of shared memory.

*Row-split*: each rank has some rows of every matrix; after each layer it hands its rows of the new values to all
others, and on the way back its shares of the errors to those whose rows they are. *Pipeline*: each rank has some layers
and passes micro-batches on. *Data-parallel*: each rank has all layers and some samples, and the gradients are summed
(``MPI_Iallreduce``) while the errors of the layers below are computed.
"""

from ...kernels.layers.dense import BACKPROJECT, UPDATE
from ...kernels.layers.step import activate_layer, layer_step
from ...kernels.layers.vectors import squares, sum_shares
from ...kernels.layers.view import part_of_batch
from ...kernels.layers.weights import descend, gradient
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.messages import Library, address_of, done, finish, send, start, sum_over_ranks
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire
from .backprop import forward, predict
from .exchange import copy_rows, finish_all, start_all
from .steps import layers, load_rows, note_divergence, output_energy, rate_at


@njit(nogil=True, cache=True)
def intra_layer(who, arrays, offsets, options, data, rates, updates, shares, signals, notes, messages):
    """Rank r has some elements of every ``x[l]``, and the rows of ``W[l-1]`` that make them. ``gathers[l]`` and
    ``sums[l]``: for ``x[l]`` and for the errors below layer l the requests to receive, then to send, from and to each
    rank (0: none). The shares of rank r lie in part r of the drives, and are added up in the order of the ranks. Of a
    batch above 1 what goes to and comes from rank r is packed in part r of ``out`` and ``inbox``, ``part`` long: MPI's
    own way with scattered data took 100 µs for 64 rows of 32."""
    s = layers(arrays, offsets, options)
    rank, ranks, all_firsts, all_counts = who.place, len(shares.rows), shares.first_row, shares.rows
    padded, value_at, depth, alphas = s.padded, s.value_at, len(offsets.sizes) - 1, pointer(rates.alpha)
    number = rates.number
    firsts, counts, share_size, part = all_firsts[rank], all_counts[rank], offsets.value_count, messages.part
    errors, stop = pointer(arrays.errors), pointer(signals.stop)
    library = Library(*messages.functions, pointer(messages.scratch))
    gathers, sums = pointer(messages.gathers), pointer(messages.sums)
    out, inbox = pointer(messages.out), pointer(messages.inbox)
    share_of_all, packed = pointer(arrays.drives), s.batch > 1
    share = offset(pointer(arrays.drives), rank * share_size)
    notes.times[0, 0], diverged = nanoseconds(), pointer(notes.diverged)
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha = rate_at(alphas, len(rates.alpha), update)
        load_rows(data.x, data.rows, update, ZERO, s.batch, padded[0], s.x, value_at[0])
        load_rows(data.y, data.rows, update, ZERO, s.batch, padded[depth], s.x, value_at[depth])
        activate_layer(s, ZERO)
        for l in range(depth):
            hand = 2 * ranks * (l + 1)
            if l + 1 < depth:
                start_all(library, gathers, hand, ranks, False)
            predict(s, l, depth, firsts[l + 1], counts[l + 1], errors)
            if l + 1 < depth:
                at, wide = value_at[l + 1], padded[l + 1]
                if packed:  # the same for all
                    count = counts[l + 1]
                    copy_rows(s.batch, count, s.x, at + firsts[l + 1], wide, out, 0, count)
                start_all(library, gathers, hand + ranks, ranks, True)
                if not finish_all(library, gathers, hand, 2 * ranks, stop):
                    return 0
                for other in range(ranks if packed else 0):
                    if other != rank:
                        count = all_counts[other, l + 1]
                        copy_rows(s.batch, count, inbox, other * part, count, s.x, at + all_firsts[other, l + 1], wide)
                activate_layer(s, l + 1)
        if update == 0:
            notes.energy[rank] = 0.5 * squares(s, depth, firsts[depth], counts[depth], errors, ZERO)
        note_divergence(diverged, ZERO, s, depth, firsts[depth], counts[depth], errors, ZERO, number + update)
        for l in range(depth - 1, -1, -1):
            first, count, hand = firsts[l + 1], counts[l + 1], 2 * ranks * l
            if l == 0:
                layer_step(UPDATE, s, l, first, count, s.x, errors, share, ZERO, s.one, alpha, number + update + 1)
                continue
            start_all(library, sums, hand, ranks, False)
            # One pass over the weights where the batch is one; else the update's product covers the messages.
            fused = s.batch == 1
            work = BACKPROJECT | (UPDATE if fused else ZERO)
            layer_step(work, s, l, first, count, s.x, errors, share, ZERO, s.one, alpha, number + update + 1)
            at, wide = value_at[l], padded[l]
            for other in range(ranks if packed else 0):
                if other != rank:
                    theirs = all_counts[other, l]
                    copy_rows(s.batch, theirs, share, at + all_firsts[other, l], wide, out, other * part, theirs)
            start_all(library, sums, hand + ranks, ranks, True)
            if not fused:
                layer_step(UPDATE, s, l, first, count, s.x, errors, share, ZERO, s.one, alpha, number + update + 1)
            if not finish_all(library, sums, hand, 2 * ranks, stop):
                return 0
            for other in range(ranks if packed else 0):
                if other != rank:
                    to = other * share_size + at + firsts[l]
                    copy_rows(s.batch, counts[l], inbox, other * part, counts[l], share_of_all, to, wide)
            sum_shares(s, l, firsts[l], counts[l], arrays.drives, share_size, ranks, errors)
    notes.times[0, 1] = nanoseconds()
    return 0


@njit(nogil=True, cache=True)
def data_parallel(who, arrays, offsets, options, data, rates, updates, shares, signals, notes, messages):
    """This rank has some samples of the batch. The gradient of layer l lies at ``gradient_at[l]`` of ``scratch``, and
    its sum over the ranks takes its place."""
    s = layers(arrays, offsets, options)
    rank, gradient_at = who.place, messages.gradient_at
    padded, depth, alphas, number = s.padded, len(offsets.sizes) - 1, pointer(rates.alpha), rates.number
    errors, stop = pointer(arrays.errors), pointer(signals.stop)
    library = Library(*messages.functions, pointer(messages.scratch))
    in_place, kind, operation = messages.in_place, messages.kind, messages.operation
    communicator, base, item = messages.communicator, messages.base, messages.item
    begin, samples = shares.first[rank], shares.samples[rank]
    mine = part_of_batch(s, samples, offset(pointer(shares.at), rank * (depth + 1)))
    pending = pointer(messages.pending)
    notes.times[0, 0], diverged = nanoseconds(), pointer(notes.diverged)
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha = rate_at(alphas, len(rates.alpha), update)
        entropy = forward(s, mine, depth, data, update, begin, samples, errors)
        if update == 0:
            notes.energy[rank] = output_energy(mine, depth, ZERO, padded[depth], errors, ZERO, entropy)
        note_divergence(diverged, ZERO, mine, depth, ZERO, padded[depth], errors, ZERO, number + update)
        for l in range(depth - 1, -1, -1):
            at = gradient_at[l]
            gradient(mine, l, ZERO, padded[l + 1], errors, mine.value_at[l + 1], s.one, at)
            count = padded[l + 1] * (padded[l] + (1 if s.has_bias else 0))
            sum_over_ranks(
                library, in_place, base + at * item, count, kind, operation, communicator, address_of(pending, l)
            )
            if l > 0:
                layer_step(BACKPROJECT, mine, l, ZERO, padded[l + 1], s.x, errors, errors, ZERO, s.one, alpha, ZERO)
            for above in range(depth - 1, l - 1, -1):
                if not done(library, address_of(pending, above)):
                    break
        for l in range(depth - 1, -1, -1):
            if not finish(library, address_of(pending, l), stop):
                return 0
            descend(s, l, ZERO, padded[l + 1], gradient_at[l], alpha, number + update + 1)
    notes.times[0, 1] = nanoseconds()
    return 0


@inner
def _backward(part, lo, hi, errors, library, poked):
    """Errors of one micro-batch below each layer of a block; between layers the library may move what is under way."""
    for l in range(hi - 1, lo - 1, -1):
        if l > 0:
            layer_step(
                BACKPROJECT, part, l, ZERO, part.padded[l + 1], part.x, errors, errors, ZERO, part.one, part.zero, ZERO
            )
        if poked != 0:
            done(library, poked)


@njit(nogil=True, cache=True)
def pipeline(who, arrays, offsets, options, data, rates, updates, shares, signals, notes, messages):
    """This rank has the layers ``lo … hi-1``. ``requests[m]``: of micro-batch m, to receive values from below, to send
    them above, to receive errors from above, to send them below (0: no such rank)."""
    s = layers(arrays, offsets, options)
    lo, hi, parts = who.lo, who.hi, len(shares.first)
    padded, value_at, depth, alphas = s.padded, s.value_at, len(offsets.sizes) - 1, pointer(rates.alpha)
    number = rates.number
    errors, stop = pointer(arrays.errors), pointer(signals.stop)
    library = Library(*messages.functions, pointer(messages.scratch))
    begins, requests = pointer(shares.at), pointer(messages.requests)
    notes.times[0, 0], diverged = nanoseconds(), pointer(notes.diverged)
    for update in range(updates):
        if load_acquire(stop, 0) != 0:
            break
        alpha = rate_at(alphas, len(rates.alpha), update)
        # Values from below and errors from above have been used when the weights were updated.
        for m in range(parts):
            for i in (4 * m, 4 * m + 2):
                if requests[i] != 0:
                    start(library, requests[i])
        if lo == 0:
            load_rows(data.x, data.rows, update, ZERO, s.batch, padded[0], s.x, value_at[0])
        if hi == depth:
            load_rows(data.y, data.rows, update, ZERO, s.batch, padded[depth], s.x, value_at[depth])
        entropy = 0.0
        for m in range(parts):
            from_below, to_above, to_below = requests[4 * m], requests[4 * m + 1], requests[4 * m + 3]
            if from_below != 0 and not finish(library, from_below, stop):
                return 0
            # The last update's message must have gone before its place is written.
            if to_above != 0 and not finish(library, to_above, stop):
                return 0
            part = part_of_batch(s, shares.samples[m], offset(begins, m * (depth + 1)))
            for l in range(lo, hi):
                activate_layer(part, l)
                entropy += predict(part, l, depth, ZERO, padded[l + 1], errors)
                if m > 0 and requests[4 * m - 3] != 0:
                    done(library, requests[4 * m - 3])
            if to_above != 0:
                send(library, to_above)
            if hi == depth:
                if to_below != 0 and not finish(library, to_below, stop):
                    return 0
                _backward(part, lo, hi, errors, library, from_below)
                if to_below != 0:
                    send(library, to_below)
        if hi == depth:
            if update == 0:
                notes.energy[0] = output_energy(s, depth, ZERO, padded[depth], errors, ZERO, entropy)
            note_divergence(diverged, ZERO, s, depth, ZERO, padded[depth], errors, ZERO, number + update)
        else:
            for m in range(parts):
                if not finish(library, requests[4 * m + 2], stop):
                    return 0
                to_below = requests[4 * m + 3]
                if to_below != 0 and not finish(library, to_below, stop):
                    return 0
                part = part_of_batch(s, shares.samples[m], offset(begins, m * (depth + 1)))
                following = requests[4 * m + 6] if m + 1 < parts else 0
                _backward(part, lo, hi, errors, library, following)
                if to_below != 0:
                    send(library, to_below)
        for l in range(hi - 1, lo - 1, -1):
            layer_step(UPDATE, s, l, ZERO, padded[l + 1], s.x, errors, errors, ZERO, s.one, alpha, number + update + 1)
    notes.times[0, 1] = nanoseconds()
    for i in range(4 * parts):
        if requests[i] != 0 and not finish(library, requests[i], stop):
            return 0
    return 0
