"""The compiled loop of one rank in intra-layer predictive coding: as ``loops/teams.py``, without shared memory.

Every rank has some rows of every ``W[l]``, with the units of ``x[l+1]`` that they predict, and copies of what others
have: values that its products read, and a share of every drive. Within a step the layers do not wait for one another,
so that a step takes two exchanges, whatever the depth:

- *shares*: each rank sends to each other its share of the drives of that one's units; these are summed up in the order
  of the ranks, and the units' values move;
- *values*: it sends the new values of its units to all whose products read them.

Neighbouring layers go in one message until that is long enough to be worth its latency (``groups``); what comes last is
under way while the products of other layers are made. The shares of a rank lie in its part of the drives, as on
threads: as many workers leave the same bits.
"""

from collections import namedtuple

from ...kernels.layers.dense import PREDICT, UPDATE
from ...kernels.layers.shares import fill_units
from ...kernels.layers.step import activate_layer, activate_rows, start_prediction
from ...kernels.layers.vectors import squares, subtract_from
from ...kernels.layers.weights import PLAIN
from ...kernels.machine.clock import nanoseconds
from ...kernels.machine.compiling import ZERO, inner, njit
from ...kernels.machine.messages import Library, done
from ...kernels.machine.simd import offset, pointer
from ...kernels.machine.sync import load_acquire
from .exchange import copy_rows, finish_all, start_all
from .steps import layers, load_rows, note_divergence, rate_at, step_of_cycle
from .teams import Member, move_own, multiply

# Where a layer's part of a message lies, for each layer and other rank: to be sent, and received; shares, values, and
# values of a forward start. -1: no part.
SHARES, VALUES, STARTS = 0, 2, 4

# ``arguments.ShareMessages`` with pointers in place of arrays; firsts, counts: units of all ranks.
Messages = namedtuple(
    "Messages", "ranks rank shares values starts group begins at out inbox firsts counts depth spent library stop"
)


@njit(nogil=True, cache=True)
def messages_of(who, messages, shares, spent, stop):
    """The messages of a run."""
    return Messages(
        len(shares.rows), who.place, pointer(messages.shares), pointer(messages.values), pointer(messages.starts),
        pointer(messages.group), pointer(messages.begins), pointer(messages.at), pointer(messages.out),
        pointer(messages.inbox), pointer(shares.first_row), pointer(shares.rows), len(messages.group) - 1, spent,
        Library(*messages.functions, pointer(messages.scratch)), stop,
    )  # fmt: skip


@inner
def _place(m, kind, l, other):
    return m.at[(kind * (m.depth + 1) + l) * m.ranks + other]


@inner
def _units(m, rank, l):
    """A rank's first unit of layer l, and how many there are."""
    return m.firsts[rank * (m.depth + 1) + l], m.counts[rank * (m.depth + 1) + l]


@inner
def _pack_shares(m, s, l, share):
    """Put what others need of this rank's share of a drive where it is sent from."""
    for other in range(m.ranks):
        to = _place(m, SHARES, l, other)
        if to >= 0:
            first, count = _units(m, other, l)
            copy_rows(s.batch, count, share, s.value_at[l] + first, s.padded[l], m.out, to, count)


@inner
def _unpack_shares(m, s, l, shares, size):
    """Put the shares of others, of this rank's units, where they are summed up."""
    first, count = _units(m, m.rank, l)
    for other in range(m.ranks):
        at = _place(m, SHARES + 1, l, other)
        if at >= 0:
            to = other * size + s.value_at[l] + first
            copy_rows(s.batch, count, m.inbox, at, count, shares, to, s.padded[l])


@inner
def _pack_values(m, s, kind, l):
    """Put this rank's values where they are sent from."""
    first, count = _units(m, m.rank, l)
    for other in range(m.ranks):
        to = _place(m, kind, l, other)
        if to >= 0:
            copy_rows(s.batch, count, s.x, s.value_at[l] + first, s.padded[l], m.out, to, count)


@inner
def _unpack_values(m, s, kind, l):
    """Put the values of others where this rank's products read them, and activate them."""
    for other in range(m.ranks):
        at = _place(m, kind + 1, l, other)
        if at >= 0:
            first, count = _units(m, other, l)
            copy_rows(s.batch, count, m.inbox, at, count, s.x, s.value_at[l] + first, s.padded[l])
            activate_rows(s, l, first, count)


@inner
def _start_group(m, requests, g, sends):
    """Start to receive, or to send, a group's messages."""
    start_all(m.library, requests, (2 * g + (1 if sends else 0)) * m.ranks, m.ranks, sends)


@inner
def _finish_group(m, requests, g, sends, step):
    """Wait for a group's messages, received or sent; False for a stop."""
    before = nanoseconds() if len(m.spent) > 0 else 0
    if not finish_all(m.library, requests, (2 * g + (1 if sends else 0)) * m.ranks, m.ranks, m.stop):
        return False
    if len(m.spent) > 0:
        m.spent[step] += nanoseconds() - before
    return True


@inner
def _move_on(m, g):
    """Let the library move what is under way: a test of what is to come from the next rank."""
    request = m.shares[2 * g * m.ranks + (m.rank + 1) % m.ranks]
    if request != 0:
        done(m.library, request)


@inner
def _take_values(m, s, g, again, step):
    """Wait for the values of a group's layers and put them in place; ``again``: they will come once more. False for a
    stop."""
    if not _finish_group(m, m.values, g, False, step):
        return False
    for l in range(m.begins[g], m.begins[g + 1]):
        _unpack_values(m, s, VALUES, l)
    if again:
        _start_group(m, m.values, g, False)
    return True


@inner
def _start(b, s, m, data, batch, slot, forward, step):
    """Load a batch, and if ``forward`` let the values be their predictions, layer by layer; False for a stop."""
    load_rows(data.x, data.rows, batch, ZERO, s.batch, s.padded[0], s.x, s.value_at[0])
    load_rows(data.y, data.rows, batch, ZERO, s.batch, s.padded[b.depth], s.x, s.value_at[b.depth])
    activate_layer(s, ZERO)
    for l in range(b.depth):
        first, rows, at = b.firsts[l + 1], b.rows[l + 1], s.value_at[l + 1]
        if b.momentum > 0 and l + 1 < b.depth:
            fill_units(s, l + 1, first, rows, b.velocity, ZERO, s.zero)
        if forward and l + 1 == b.depth:
            start_prediction(s, l, first, rows, b.e, slot + at)
            subtract_from(s, b.depth, s.batch, first, rows, s.x, at, b.e, slot + at)
        elif forward:
            _start_group(m, m.starts, l + 1, False)
            start_prediction(s, l, first, rows, s.x, at)
            fill_units(s, l + 1, first, rows, b.e, slot, s.zero)
            if not _finish_group(m, m.starts, l + 1, True, step):
                return False
            _pack_values(m, s, STARTS, l + 1)
            _start_group(m, m.starts, l + 1, True)
            if not _finish_group(m, m.starts, l + 1, False, step):
                return False
            activate_rows(s, l + 1, first, rows)
            _unpack_values(m, s, STARTS, l + 1)
        elif l + 1 < b.depth:
            activate_layer(s, l + 1)
    return True


@inner
def _moves_in(calendar, moves):
    """In how many steps of this run values move."""
    found = 0
    for step in range(calendar.steps):
        found += moves[step_of_cycle(calendar, step) % calendar.stages]
    return found


@njit(nogil=True, cache=True)
def rows_of_rank(who, arrays, offsets, options, data, rates, calendar, shares, team, signals, notes, ranks, messages):
    """The steps of ``calendar`` by one rank (groups of arguments: see ``arguments``). energy[rank] receives its part of
    F at the first step that updates weights."""
    s = layers(arrays, offsets, options)
    rank, depth, size = who.place, len(offsets.sizes) - 1, offsets.value_count
    h, all_rows, mine, stop = pointer(arrays.drives), pointer(shares.rows), rank * (depth + 1), pointer(signals.stop)
    all_shares = offset(h, 2 * size)  # behind the drives of two steps
    m = messages_of(who, messages, shares, ranks.spent, stop)
    b = Member(
        rank, ZERO, depth, depth, ZERO, m.ranks, ZERO, m.ranks, offset(pointer(shares.first_row), mine),
        offset(all_rows, mine), all_rows, depth + 1, ZERO, s.batch, s, pointer(arrays.errors), h, pointer(arrays.top),
        pointer(arrays.velocity), all_shares, offset(all_shares, rank * size), size, rates.value_momentum,
        pointer(signals.progress), pointer(signals.started), stop,
    )  # fmt: skip
    order, products = pointer(team.order), pointer(calendar.products)
    moves, completed = pointer(calendar.moves), pointer(calendar.completed)
    alphas, gammas, precisions = pointer(rates.alpha), pointer(rates.gamma), pointer(rates.precision)
    groups, exchanges, exchanged, coming = len(messages.begins) - 1, _moves_in(calendar, moves), ZERO, False
    notes.times[0, 0], diverged = nanoseconds(), pointer(notes.diverged)
    for g in range(groups if exchanges > 0 else ZERO):
        _start_group(m, m.shares, g, False)
        _start_group(m, m.values, g, False)
    number, batch = rates.number, ZERO
    alone = s.batch > 1 or s.rule != PLAIN  # whether the update of W[0] is a product of its own
    for step in range(calendar.steps):
        if load_acquire(stop, 0) != 0:
            break
        t = step_of_cycle(calendar, step)
        stage = t % calendar.stages
        slot, forward, moving = (step & 1) * size, False, moves[stage] != 0
        if t == 0:
            forward = not calendar.given or step > 0
            for g in range(groups if coming else ZERO):
                if not _take_values(m, s, g, exchanged < exchanges, step):
                    return 0
            coming = False
            if not _start(b, s, m, data, batch, slot, forward, step):
                return 0
            batch += 1
        alpha = rate_at(alphas, len(rates.alpha), number - rates.number)
        gamma = rate_at(gammas, len(rates.gamma), t)
        precision = rate_at(precisions, len(rates.precision), t)
        for turn in range(depth):
            l = order[turn]
            g = m.group[l]
            comes = coming and l > 0 and l == m.begins[g]
            if comes and not _take_values(m, s, g, exchanged < exchanges, step):
                return 0
            work, weight = products[stage * depth + l], precision if l + 1 == depth else s.one
            if forward:
                work &= ~PREDICT
            if l == 0 and alone:
                work &= ~UPDATE
            multiply(b, s, l, work, slot, weight, alpha, number + 1)
            if l + 1 == depth:
                note_divergence(diverged, ZERO, s, depth, b.firsts[depth], b.rows[depth], b.e, slot, number)
            if step == calendar.energy_step:
                notes.energy[rank] += 0.5 * weight * squares(s, l + 1, b.firsts[l + 1], b.rows[l + 1], b.e, slot)
            if moving and l > 0:
                if l == m.begins[g] and not _finish_group(m, m.shares, g, True, step):
                    return 0
                _pack_shares(m, s, l, b.share)
                if l + 1 == m.begins[g + 1]:
                    _start_group(m, m.shares, g, True)
                _move_on(m, g)
        coming = moving
        for g in range(groups if moving else ZERO):
            if not _finish_group(m, m.shares, g, False, step):
                return 0
            for l in range(m.begins[g], m.begins[g + 1]):
                _unpack_shares(m, s, l, b.shares, size)
            if exchanged + 1 < exchanges:
                _start_group(m, m.shares, g, False)
            if not _finish_group(m, m.values, g, True, step):
                return 0
            for l in range(m.begins[g], m.begins[g + 1]):
                move_own(b, s, l, slot, precision if l + 1 == depth else s.one, gamma)
                _pack_values(m, s, VALUES, l)
            _start_group(m, m.values, g, True)
        exchanged += moves[stage]
        if alone:
            work, weight = products[stage * depth] & UPDATE, precision if depth == 1 else s.one
            multiply(b, s, ZERO, work, slot, weight, alpha, number + 1)
        number += completed[stage + 1] - completed[stage]
    for g in range(groups):
        if coming and not _take_values(m, s, g, False, calendar.steps - 1):
            return 0
        if not (_finish_group(m, m.shares, g, True, 0) and _finish_group(m, m.values, g, True, 0)):
            return 0
    for l in range(1, depth):
        if not _finish_group(m, m.starts, l, True, 0):
            return 0
    notes.times[0, 1] = nanoseconds()
    return 0
