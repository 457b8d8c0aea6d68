"""Value updates of one layer."""

from ..machine.compiling import inner
from ..machine.simd import lanes, load, multiply_add, splat, store
from .activations import activate as activate_part


@inner
def move_values(s, l, x, e, h, slot, gamma, activate):
    """``x[l] += gamma * (h[l] - e[l])``: Eq. 6 for a hidden layer, whose precision is 1; and if ``activate``, ``a[l]``
    and ``d[l]``, sample by sample while its values are at hand."""
    plus, minus = splat(gamma), splat(-gamma)
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l]
        for j in range(at, at + s.padded[l], lanes(x)):
            moved = multiply_add(minus, load(e, slot + j), load(x, j))
            store(x, j, multiply_add(plus, load(h, slot + j), moved))
        if activate:
            activate_part(s.activations[l], x, at, s.sizes[l], s.scale[l], s.a, s.d)


@inner
def push_values(s, l, x, e, h, slot, gamma, momentum, v, shift, activate):
    """The same with momentum: ``v[l] = momentum * v[l] + (h[l] - e[l])``, ``x[l] += gamma * v[l]``; velocities begin at
    ``shift`` of v."""
    plus, keep, minus = splat(gamma), splat(momentum), splat(-s.one)
    for row in range(s.batch):
        at = s.value_at[l] + row * s.padded[l]
        for j in range(at, at + s.padded[l], lanes(x)):
            force = multiply_add(minus, load(e, slot + j), load(h, slot + j))
            moved = multiply_add(keep, load(v, shift + j), force)
            store(v, shift + j, moved)
            store(x, j, multiply_add(plus, moved, load(x, j)))
        if activate:
            activate_part(s.activations[l], x, at, s.sizes[l], s.scale[l], s.a, s.d)
