"""The real loops of ``pcsim/engines/loops`` as coroutines on a machine of ``clocks``.

The sources are loaded anew: every function that waits becomes a generator, and what they import from ``kernels`` is
replaced by what it reads and writes. So the order of reads, writes, flags and messages is that of the code as it is.
"""

import ast
import inspect
from pathlib import Path

from clocks import CELL, Pointer
from pcsim.kernels.layers.dense import BACKPROJECT, PREDICT, SHARE, UPDATE
from pcsim.kernels.layers.view import part_of_batch, with_values, with_weights
from pcsim.kernels.layers.weights import ADAM, MOMENTUM

from pcsim.engines.loops import (
    asynchronous,
    asynchronous_ranks,
    backprop,
    backprop_ranks,
    dual,
    dual_edges,
    edges,
    exchange,
    feedback,
    local,
    predictive_coding,
    rows_ranks,
    samples,
    samples_ranks,
    starts,
    steps,
    streams_ranks,
    teams,
    teams_ranks,
    zero_bubble,
)

MODULES = [steps, exchange, edges, starts, predictive_coding, backprop, backprop_ranks, teams, samples, zero_bubble]
MODULES += [asynchronous, asynchronous_ranks, local, feedback, dual_edges, dual, streams_ranks]
MODULES += [rows_ranks, samples_ranks, teams_ranks]
WAITS = {"wait", "meet", "finish", "done", "finish_all", "_all_here", "_await", "_until", "poll_until", "all_told"}
WAITS |= {"_all_started", "_met", "until_swept", "_poll_until", "_finish_group", "_descended", "_all_told", "_all_met"}

machine = None  # that of the case that is run


def use(new):
    """Let the loops run on this machine."""
    global machine
    machine = new


# What stands in for the kernels: flags and messages


def publish(flags, worker, value):
    yield
    machine.progress += 1
    machine.flags.setdefault((flags.address, worker), []).append((value, machine.release()))


def reached(flags, worker):
    yield
    told = machine.flags.get((flags.address, worker))
    if not told:
        return 0
    machine.join(told[-1][1])
    return told[-1][0]


def wait(flags, worker, value, stop):
    yield
    while value > 0:  # what flags are at first
        for told, clock in machine.flags.get((flags.address, worker), ()):
            if told >= value:  # no more is known than that it has come so far
                machine.join(clock)
                return True
        if machine.stops.get(stop.address) and machine.random.random() < 0.5:
            return False
        yield "spin"
    return True


def meet(worker, workers, ready, stop):
    yield from publish(ready, worker, 1)
    for other in range(workers):
        if not (yield from wait(ready, other, 1, stop)):
            return False
    return True


def load_acquire(flags, index):
    yield
    return machine.stops.setdefault(flags.address, 0)


def go_on(library, tests, stop):
    yield "spin"
    return not (machine.stops.get(stop.address) and machine.random.random() < 0.5)


def start(library, request):
    yield
    machine.start(request)


def done(library, request):
    yield
    return machine.done(request)


def finish(library, request, stop):
    while not (yield from done(library, request)):
        if not (yield from go_on(library, 0, stop)):
            return False
    return True


def sum_over_ranks(library, source, target, count, kind, operation, communicator, request):
    yield
    machine.sum_over_ranks(request, range(target // CELL, (target + 8 * count - 1) // CELL + 1))


# What stands in for the kernels: reads and writes


def rows_of(s, p, l, slot=0, first=0, rows=None, samples=None, at=None):
    """Cells of so many units of layer l in each sample."""
    wide, at = s.padded[l], slot + s.value_at[l] if at is None else at
    samples, rows = s.batch if samples is None else samples, wide if rows is None else rows
    if rows == wide:
        return list(p.cells(at, samples * wide))
    return [cell for sample in range(samples) for cell in p.cells(at + sample * wide + first, rows)]


def weights_of(s, p, l, first, rows):
    """Cells of rows of a layer's weights, one for each vector of rows, and of their biases."""
    columns, at = s.padded[l], s.weight_at[l]
    mine = [p.cells(at + row * columns, 1)[0] for row in range(first, first + rows, CELL // p.item)]
    return [*mine, *p.cells(s.bias_at[l] + first, rows)]


def layer_step(work, s, l, first, rows, target, e, h, slot, precision, alpha, number):
    mine, errors = weights_of(s, s.W, l, first, rows), rows_of(s, e, l + 1, slot, first, rows)
    below = rows_of(s, s.a, l)
    if work & PREDICT:
        machine.access(("predict", l), [*below, *mine, *rows_of(s, target, l + 1, 0, first, rows)], errors)
    if work & BACKPROJECT:
        slopes = [] if work & SHARE else rows_of(s, s.d, l)
        machine.access(("project", l), [*errors, *mine, *slopes], rows_of(s, h, l, slot))
    if work & UPDATE:
        kept = [s.mean] * bool(s.rule >= MOMENTUM) + [s.square] * bool(s.rule >= ADAM)
        moments = [cell for flat in kept for cell in weights_of(s, flat, l, first, rows)]
        machine.access(("update", l, int(number)), [*errors, *below, *mine, *moments], [*mine, *moments])


def stream_step(new, old, l, e, k, h, rate):
    mine, errors = weights_of(new, new.W, l, 0, new.padded[l + 1]), list(e.cells(k, new.padded[l + 1]))
    machine.access(("predict", l), [*rows_of(new, new.a, l), *mine], rows_of(new, new.x, l + 1))
    if l > 0:
        machine.access(("project", l), [*errors, *mine, *rows_of(old, old.d, l)], e.cells(h, old.padded[l]))
    machine.access(("update", l), [*errors, *rows_of(old, old.a, l), *mine], mine)


def late_step(new, old, l, e, k, rate):
    mine, errors = weights_of(new, new.W, l, 0, new.padded[l + 1]), list(e.cells(k, new.padded[l + 1]))
    machine.access(("predict", l), [*rows_of(new, new.a, l), *mine], rows_of(new, new.x, l + 1))
    machine.access(("update", l), [*errors, *rows_of(old, old.a, l), *mine], mine)


def learn_step(new, old, l, e, k, rate):
    mine, errors = weights_of(new, new.W, l, 0, new.padded[l + 1]), list(e.cells(k, new.padded[l + 1]))
    machine.access(("update", l), [*errors, *rows_of(old, old.a, l), *mine], mine)
    machine.access(("predict", l), [*rows_of(new, new.a, l), *mine], rows_of(new, new.x, l + 1))


def split_layer(s, l, share, e, h, slot):
    machine.access(("split", l), [*rows_of(s, s.x, l), *rows_of(s, h, l)], [*rows_of(s, s.a, l), *rows_of(s, e, l)])


def dual_step(work, s, l, share, e, h, slot, rate):
    start_prediction(s, l, 0, s.padded[l + 1], s.x, s.value_at[l + 1])
    split_layer(s, l + 1, share, e, h, slot)
    layer_step(work & ~PREDICT | SHARE, s, l, 0, s.padded[l + 1], s.x, e, h, 0, 1, rate, 0)


def multiply_part(p, at, count, factor):
    mine = list(p.cells(at, count))
    machine.access("multiply", mine, mine)


def step_ahead(p, before, at, count, delay, out):
    for cell, its, to in zip(p.cells(at, count), before.cells(at, count), out.cells(at, count), strict=True):
        machine.access("ahead", [cell, its], [to])


def start_prediction(s, l, first, rows, out, at):
    to = rows_of(s, out, l + 1, 0, first, rows, at=at)
    machine.access(("start", l), [*rows_of(s, s.a, l), *weights_of(s, s.W, l, first, rows)], to)


def activate_rows(s, l, first, rows):
    to = [*rows_of(s, s.a, l, 0, first, rows), *rows_of(s, s.d, l, 0, first, rows)]
    machine.access(("activate", l), rows_of(s, s.x, l, 0, first, rows), to)


def activate_layer(s, l):
    activate_rows(s, l, 0, s.padded[l])


def move_values(s, l, x, e, h, slot, gamma, activate):
    mine = rows_of(s, x, l)
    machine.access(("move", l), [*mine, *rows_of(s, e, l, slot), *rows_of(s, h, l, slot)], mine)
    if activate:
        activate_layer(s, l)


def push_values(s, l, x, e, h, slot, gamma, momentum, v, shift, activate):
    mine = rows_of(s, v, l, shift)
    machine.access(("push", l), [*mine, *rows_of(s, e, l, slot), *rows_of(s, h, l, slot)], mine)
    machine.access(("move", l), [*rows_of(s, x, l), *mine], rows_of(s, x, l))
    if activate:
        activate_layer(s, l)


def move_units(
    s, l, first, rows, shares, size, begin, end, above, stride, worker, e, h, slot, weight, gamma, momentum, v, keep
):
    mine = rows_of(s, s.x, l, 0, first, rows)
    there = [other for other in range(begin, end) if above[other * stride] > 0]
    parts = [cell for other in there for cell in rows_of(s, shares, l, other * size, first, rows)]
    errors = rows_of(s, e, l, slot, first, rows) + (rows_of(s, e, l + 1, slot, first, rows) if s.skip[l] else [])
    drives = rows_of(s, h, l, slot, first, rows) if keep else []
    pushed = rows_of(s, v, l, 0, first, rows) if momentum > 0 else []
    slopes = rows_of(s, s.d, l, 0, first, rows)
    machine.access(("move", l), [*mine, *parts, *errors, *slopes, *pushed], [*mine, *drives, *pushed])
    activate_rows(s, l, first, rows)


def sum_units(s, l, first, rows, shares, size, begin, end, above, stride, worker, e, h, slot, weight):
    there = [other for other in range(begin, end) if above[other * stride] > 0]
    parts = [cell for other in there for cell in rows_of(s, shares, l, other * size, first, rows)]
    errors = rows_of(s, e, l + 1, slot, first, rows) if s.skip[l] else []
    reads = [*parts, *errors, *rows_of(s, s.d, l, 0, first, rows)]
    machine.access(("sum", l), reads, rows_of(s, h, l, slot, first, rows))


def move_copies(s, l, first, rows, x, e, h, slot, gamma, momentum, v, shift):
    mine = rows_of(s, x, l, 0, first, rows) + (rows_of(s, v, l, shift, first, rows) if momentum > 0 else [])
    errors, drives = rows_of(s, e, l, slot, first, rows), rows_of(s, h, l, slot, first, rows)
    machine.access(("move", l), [*mine, *errors, *drives], mine)


def copy_units(s, l, first, rows, source, out):
    machine.access(("copy", l), rows_of(s, source, l, 0, first, rows), rows_of(s, out, l, 0, first, rows))


def fill_units(s, l, first, rows, p, slot, value):
    machine.access(("fill", l), (), rows_of(s, p, l, slot, first, rows))


def subtract_from(s, l, samples, first, rows, x, at, e, k):
    errors = rows_of(s, e, l, 0, first, rows, samples, k)
    machine.access(("subtract", l), [*errors, *rows_of(s, x, l, 0, first, rows, samples, at)], errors)


def sum_shares(s, l, first, rows, shares, size, count, e):
    p = Pointer(shares)
    parts = [cell for share in range(count) for cell in rows_of(s, p, l, share * size, first, rows)]
    machine.access(("shares", l), parts, rows_of(s, e, l, 0, first, rows))


def squares(s, l, first, rows, e, slot):
    return float(machine.access(("squares", l), rows_of(s, e, l, slot, first, rows), ()) % (1 << 30))


def softmax_errors(s, l, x, e, slot):
    mine = rows_of(s, e, l, slot)
    machine.access(("softmax", l), [*mine, *rows_of(s, x, l)], mine)
    return 0.0


def all_finite(s, l, first, rows, e, slot):
    machine.access(("squares", l), rows_of(s, e, l, slot, first, rows), ())
    return True


def copy_part(p, at, count, out, to):
    for source, target in zip(p.cells(at, count), out.cells(to, count), strict=True):
        machine.access("copy", [source], [target])
        machine.labels[target] = machine.labels.get(source, 0)


def fill(p, at, count, value):
    machine.access("fill", (), p.cells(at, count))


def gradient(s, l, first, rows, e, k, precision, at):
    reads = [*rows_of(s, e, l + 1, 0, first, rows, at=k), *rows_of(s, s.a, l)]
    machine.access(("gradient", l), reads, s.scratch.cells(at, rows * (s.padded[l] + 1)))


def descend(s, l, first, rows, at, alpha, number):
    mine = weights_of(s, s.W, l, first, rows)
    machine.access(("descend", l), [*s.scratch.cells(at, rows * (s.padded[l] + 1)), *mine], mine)


def load_rows(data, rows, batch, first, count, padded, out, at):
    batch = min(batch, len(rows) - 1)
    for i in range(first, first + count):
        machine.access(("load", data.shape, int(rows[batch, i])), (), out.cells(at + i * padded, padded))


def rate_at(rates, count, turn):
    return 0.5  # so that sums of energies are exact in any order


def copy_rows(samples, count, source, i, step, target, k, stride):
    for sample in range(samples):
        machine.access("pack", source.cells(i + sample * step, count), target.cells(k + sample * stride, count))


STANDINS = {
    "njit": lambda **_: lambda function: function,
    "inner": lambda function: function,
    "folded": lambda function: function,
    "pointer": Pointer,
    "pointer_or_none": lambda array: None if array is None else Pointer(array),
    "offset": lambda p, n: Pointer(p.array, p.shift + int(n)),
    "part_of_batch": part_of_batch.py_func,
    "with_weights": with_weights.py_func,
    "with_values": with_values.py_func,
    "address_of": lambda p, n: p.address + n * p.item,
    "nanoseconds": lambda: 0,
    "send": start,
} | {
    function.__name__: function
    for function in (
        publish, reached, wait, meet, load_acquire, go_on, start, done, finish, sum_over_ranks, layer_step,
        start_prediction, activate_rows, activate_layer, move_values, push_values, subtract_from, sum_shares, squares,
        all_finite, softmax_errors, copy_part, fill, gradient, descend, load_rows, rate_at, copy_rows, stream_step,
        learn_step, late_step, split_layer, dual_step, multiply_part, step_ahead, move_units, sum_units, move_copies,
        copy_units, fill_units,
    )
}  # fmt: skip
AS_THEY_ARE = {
    "LayersView", "copy_samples", "Library", "PREDICT", "BACKPROJECT", "SHARE", "UPDATE", "PLAIN", "ZERO", "ONE",
    "ALONE", "BACKWARD", "FORWARD", "FLAG_STRIDE",
}  # fmt: skip


class _Coroutines(ast.NodeTransformer):
    """Calls of what waits are awaited."""

    def __init__(self, waiting):
        self.waiting = waiting

    def visit_Call(self, node):
        self.generic_visit(node)
        named = isinstance(node.func, ast.Name) and node.func.id in self.waiting
        return ast.copy_location(ast.YieldFrom(node), node) if named else node


def _calls(node):
    return [n for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]


def sources():
    """The text of each module of the loops."""
    return {module.__name__.rpartition(".")[2]: Path(module.__file__).read_text() for module in MODULES}


def waits(texts):
    """Every call of the loops whose answer somebody waits for: (module, function, callee, line, column)."""
    found = []
    for module, text in texts.items():
        for function in ast.parse(text).body:
            if isinstance(function, ast.FunctionDef):
                bare = {id(n.value) for n in ast.walk(function) if isinstance(n, ast.Expr)}  # only moves messages on
                found += [
                    (module, function.name, call.func.id, call.lineno, call.col_offset)
                    for call in _calls(function)
                    if call.func.id in WAITS and id(call) not in bare
                ]
    return found


class _Without(ast.NodeTransformer):
    """One call does not wait."""

    def __init__(self, place):
        self.place = place

    def visit_Call(self, node):
        self.generic_visit(node)
        gone = (node.lineno, node.col_offset) == self.place and getattr(node.func, "id", "") in WAITS
        return ast.copy_location(ast.Constant(True), node) if gone else node


def load(texts=None, without=None):
    """The loops by name, from these texts; ``without``: one of ``waits`` that does not wait."""
    trees = {name: ast.parse(text) for name, text in (texts or sources()).items()}
    if without:
        trees[without[0]] = _Without(without[3:]).visit(trees[without[0]])
    functions = [f for tree in trees.values() for f in tree.body if isinstance(f, ast.FunctionDef)]
    waiting = {name for name, standin in STANDINS.items() if inspect.isgeneratorfunction(standin)} | {"send"}
    while (
        more := {f.name for f in functions if any(c.func.id in waiting for c in _calls(f))} - waiting - STANDINS.keys()
    ):
        waiting |= more
    loaded, shared = {}, {}
    for module in MODULES:
        short = module.__name__.rpartition(".")[2]
        tree, names = trees[short], {"__package__": module.__package__, "__name__": module.__name__}
        for kind in (True, False):  # imports, of which some are replaced, and then what uses them
            body = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom) == kind]
            for n in body if kind else ():
                if isinstance(n, ast.ImportFrom) and "kernels" in (n.module or ""):
                    unknown = {alias.name for alias in n.names} - STANDINS.keys() - AS_THEY_ARE
                    assert not unknown, f"say in tests/replay.py what {unknown} of {n.module} reads and writes"
            part = ast.fix_missing_locations(_Coroutines(waiting).visit(ast.Module(body, [])))
            exec(compile(part, module.__file__, "exec"), names)
            names |= STANDINS | ({name: shared[name] for name in names.keys() & shared.keys()} if kind else {})
        own = {f.name for f in tree.body if isinstance(f, ast.FunctionDef)} - STANDINS.keys()
        shared |= {name: names[name] for name in own}
        loaded[short] = names
    return loaded
