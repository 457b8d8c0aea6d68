"""Training runs: what is recorded, where they stop, how they go on, batches, and divergence."""

import dataclasses
import importlib
import itertools
import math
import threading

import numpy as np
import pytest
from nets import refusal

from pcsim import BP, IPC, PC, ZIL, Interrupted, Network, train
from pcsim.engines import limits, make_engine
from pcsim.engines.limits import resolve_workers
from pcsim.schedule.calendar import Calendar, Stage
from pcsim.training.data import load
from pcsim.training.train import Run, forward_loss

ALL = [BP(0.01), PC(0.01, 0.2, T=3), ZIL(0.01), IPC(0.01, 0.2)]
BOTH = ["numpy", pytest.param("threads", marks=pytest.mark.slow)]
by_algorithm = pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
by_backend = pytest.mark.parametrize("backend", BOTH)


def problem(dtype=np.float32, sizes=(4, 6, 5, 3), rows=7, seed=0):
    rng = np.random.default_rng(seed)
    net = Network.mlp(sizes, "tanh", seed=seed, dtype=dtype)
    return net, rng.normal(size=(rows, sizes[0])).astype(dtype), rng.normal(size=(rows, sizes[-1])).astype(dtype)


def same(a, b):
    """Whether two lists of arrays agree in every bit."""
    return len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def close(a, b, rtol=1e-9):
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p, q, rtol=rtol, atol=1e-13)


# The dynamics of a tanh net without biases, scale and skips, said once more in other words.


def predictions(weights, values):
    """mu[1] … mu[L]."""
    return [(np.tanh(x) if l else x) @ w.T for l, (w, x) in enumerate(zip(weights, values[:-1], strict=True))]


def weighted(weights, values, precision):
    """pi[l] e[l], l = 1 … L."""
    e = [x - mu for x, mu in zip(values[1:], predictions(weights, values), strict=True)]
    return [*e[:-1], precision * e[-1]]


def energy_of(weights, values, precision=1.0):
    """F."""
    e = weighted(weights, values, precision)
    return 0.5 * sum(float((layer**2).sum()) for layer in e[:-1]) + 0.5 * float((e[-1] ** 2).sum()) / precision


def start(weights, x, y):
    values = [x]
    for l, w in enumerate(weights):
        values.append((np.tanh(values[-1]) if l else values[-1]) @ w.T)
    return [*values[:-1], y]


def loss_of(weights, x, y):
    return energy_of(weights, start(weights, x, y))  # a forward start's energy is its loss


def relaxed(weights, values, gamma, precision):
    e = weighted(weights, values, precision)
    moved = [
        x + gamma * (-e[l] + (1 - np.tanh(x) ** 2) * (e[l + 1] @ weights[l + 1])) for l, x in enumerate(values[1:-1])
    ]
    return [values[0], *moved, values[-1]]


def learned(weights, values, alpha, precision):
    e = weighted(weights, values, precision)
    return [w + alpha * e[l].T @ (np.tanh(values[l]) if l else values[l]) for l, w in enumerate(weights)]


def by_hand(algorithm, net, x, y, updates, values=None):
    """Energies, losses, weights and values of PC or iPC."""
    weights, energies, losses = list(net.weights), [], []
    values = values or start(weights, x, y)
    alpha, gamma, pi = algorithm.alpha, algorithm.gamma, algorithm.precision
    for _ in range(updates):
        losses.append(loss_of(weights, x, y))
        if algorithm.name == "pc":
            values = start(weights, x, y)
            for _ in range(algorithm.T):
                values = relaxed(weights, values, gamma, pi)
        energies.append(energy_of(weights, values, pi))
        before = weights
        weights = learned(before, values, alpha, pi)
        if algorithm.name == "ipc":
            values = relaxed(before, values, gamma, pi)
    return energies, losses, weights, values


# What is recorded


@pytest.mark.parametrize(
    "algorithm",
    [IPC(0.02, 0.3), IPC(0.02, 0.2, precision=4.0), PC(0.02, 0.3, T=4), PC(0.02, 0.1, T=1, precision=0.5)],
    ids=repr,
)
def test_energy_and_loss_are_those_before_each_update(algorithm):
    net, x, y = problem(np.float64)
    run = train(net, algorithm, x, y, updates=8, backend="numpy")
    energies, losses, weights, values = by_hand(algorithm, net, x, y, 8)
    np.testing.assert_allclose(run.energy, energies, rtol=1e-10)
    np.testing.assert_allclose(run.loss, losses, rtol=1e-10)
    close(run.network.weights, weights)
    close(run.values, values)
    assert run.energy[0] != pytest.approx(run.energy[1], rel=1e-6)  # off by one would show


@pytest.mark.parametrize("algorithm", [IPC(0.02, 0.3, precision=4.0), PC(0.02, 0.3, T=4)], ids=repr)
def test_threads_record_the_same_to_rounding(algorithm):
    net, x, y = problem()
    run = train(net, algorithm, x, y, updates=8, workers=2)
    wide = net.replace([w.astype(np.float64) for w in net.weights], None)
    energies, losses, _, _ = by_hand(algorithm, wide, x.astype(np.float64), y.astype(np.float64), 8)
    np.testing.assert_allclose(run.energy, energies, rtol=1e-5)
    np.testing.assert_allclose(run.loss, losses, rtol=1e-5)


@by_backend
@by_algorithm
def test_the_loss_recorded_is_that_of_a_run_that_ends_there(algorithm, backend):
    net, x, y = problem()
    run = train(net, algorithm, x, y, updates=5, backend=backend)
    assert run.recorded == [0, 1, 2, 3, 4]
    for number, loss in zip(run.recorded, run.loss, strict=True):
        weights = (
            train(net, algorithm, x, y, updates=number, backend=backend).network.weights if number else net.weights
        )
        expected = loss_of([w.astype(np.float64) for w in weights], x.astype(np.float64), y.astype(np.float64))
        assert loss == pytest.approx(expected, rel=1e-5)
    assert run.loss == sorted(run.loss, reverse=True)


@by_backend
@pytest.mark.parametrize("algorithm", [BP(0.01), ZIL(0.01)], ids=lambda a: a.name)
def test_energy_before_an_update_of_bp_and_zil_is_the_loss(algorithm, backend):
    net, x, y = problem()
    run = train(net, algorithm, x, y, updates=5, backend=backend)
    np.testing.assert_allclose(run.energy, run.loss, rtol=1e-5)
    assert run.loss[-1] < run.loss[0]


def test_forward_loss_is_half_the_sum_of_squares():
    net = Network([[[1.0, 2.0]]], "tanh")
    assert forward_loss(net, np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([[1.0], [1.0]])) == 0.5 * (4 + 9)
    lost = net.replace([np.array([[np.nan, 0.0]])], None)
    assert math.isnan(forward_loss(lost, np.ones((1, 2)), np.ones((1, 1))))


@by_backend
@by_algorithm
def test_recording_changes_nothing(algorithm, backend):
    net, x, y = problem()
    runs = {n: train(net, algorithm, x, y, updates=8, backend=backend, record_every=n) for n in (0, 1, 3, 100)}
    full = runs[1]
    assert full.recorded == list(range(8))
    assert runs[3].recorded == [0, 3, 6]
    assert runs[100].recorded == [0]
    assert runs[0].recorded == runs[0].energy == runs[0].loss == runs[0].recorded_seconds == []
    for run in runs.values():
        assert run.updates == 8
        assert same(run.network.weights, full.network.weights)
        assert same(run.values, full.values)
        assert run.energy == [full.energy[n] for n in run.recorded]
        assert run.loss == [full.loss[n] for n in run.recorded]
        assert len(run.recorded_seconds) == len(run.recorded)
        assert run.diverged is None
        assert run.timeline is None


class Clockwork:
    """An engine that takes a second for its first update, two for the second, and so on."""

    def __init__(self, network, algorithm, x, y, batches, **options):
        self.network, self.values, self.timeline, self.done = network, [], None, 0

    def run(self, updates, trace=False):
        self.done += updates
        return float(sum(range(self.done - updates + 1, self.done + 1))), 0.0


def test_seconds_are_those_of_training_until_each_record(monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("pcsim.training.train"),
        "make_engine",
        lambda backend, *given, **options: Clockwork(*given),
    )
    net, x, y = problem()
    run = train(net, BP(), x, y, updates=5, record_every=2)
    assert (run.recorded, run.recorded_seconds) == ([0, 2, 4], [0.0, 3.0, 10.0])
    assert (run.updates, run.seconds) == (5, 15.0)


@by_backend
@by_algorithm
def test_what_is_passed_in_stays_as_it_is(algorithm, backend):
    net, x, y = problem()
    values = None if algorithm.name == "bp" else net.forward(x)
    arrays = [*net.weights, x, y, *(values or [])]
    before = [array.copy() for array in arrays]
    run = train(net, algorithm, x, y, updates=3, backend=backend, values=values)
    assert same(arrays, before)
    assert not same(run.network.weights, net.weights)
    assert not any(np.shares_memory(a, b) for a in run.network.weights for b in net.weights)
    assert [v.shape for v in run.values] == [(7, n) for n in net.sizes]
    assert {array.dtype for array in (*run.network.weights, *run.values)} == {np.dtype(np.float32)}
    assert same([run.values[0]], [x])
    if algorithm.name != "bp":
        assert same([run.values[-1]], [y])


@by_algorithm
def test_data_may_be_lists_and_integers(algorithm):
    net = Network.mlp([2, 3, 1])
    lists = train(net, algorithm, [[0, 1], [1, 0]], [[True], [False]], updates=2, backend="numpy")
    arrays = train(
        net, algorithm, np.array([[0, 1], [1, 0]], np.float32), np.array([[1], [0]], "f8"), updates=2, backend="numpy"
    )
    assert lists.loss == arrays.loss


# Where a run stops


@by_backend
def test_until_loss_stops_at_the_first_record_at_or_below_it(backend):
    net, x, y = problem()
    whole = train(net, IPC(0.01, 0.2), x, y, updates=40, backend=backend)
    aim = whole.loss[12]
    assert aim < min(whole.loss[:12])
    run = train(net, IPC(0.01, 0.2), x, y, updates=40, backend=backend, until_loss=aim)
    assert run.loss == whole.loss[:13]
    assert run.recorded[-1] == 12
    assert run.diverged is None
    rarely = train(net, IPC(0.01, 0.2), x, y, updates=40, backend=backend, until_loss=aim, record_every=5)
    assert rarely.recorded == [0, 5, 10, 15]
    never = train(net, IPC(0.01, 0.2), x, y, updates=40, backend=backend, until_loss=0.0)
    assert never.loss == whole.loss
    assert never.updates == 40
    at_once = train(net, IPC(0.01, 0.2), x, y, updates=40, backend=backend, until_loss=2 * whole.loss[0])
    assert at_once.recorded == [0]


@by_backend
def test_on_record_is_called_after_each_record(backend):
    net, x, y = problem()
    seen = []
    run = train(
        net,
        IPC(0.01),
        x,
        y,
        updates=8,
        backend=backend,
        record_every=3,
        on_record=lambda run: seen.append((run, list(run.recorded), list(run.loss), list(run.energy))),
    )
    assert [recorded for _, recorded, _, _ in seen] == [[0], [0, 3], [0, 3, 6]]
    assert all(one is run for one, *_ in seen)
    assert seen[-1][2:] == (run.loss, run.energy)
    train(net, IPC(0.01), x, y, updates=2, backend=backend, record_every=0, on_record=seen.append)
    assert len(seen) == 3


@by_backend
@by_algorithm
@pytest.mark.parametrize("batches", [{}, {"batch_size": 3, "steps_per_batch": 2}], ids=["full batch", "batches"])
def test_what_on_record_sees_is_the_run_as_it_stands(algorithm, backend, batches):
    net, x, y = problem()
    options = {"backend": backend, "record_every": 3, **batches}
    seen = []
    train(
        net,
        algorithm,
        x,
        y,
        updates=8,
        on_record=lambda run: seen.append((run.network, run.values, run.updates, run.seconds)),
        **options,
    )
    assert [updates for _, _, updates, _ in seen] == [3, 6, 8]
    for network, values, updates, _ in seen:  # also those of earlier records, as they were then
        whole = train(net, algorithm, x, y, updates=updates, **options)
        assert same(network.weights, whole.network.weights)
        assert same(values, whole.values)
        assert not same(network.weights, net.weights)
    assert 0 < seen[0][3] < seen[1][3] < seen[2][3]


@by_backend
def test_what_on_record_does_to_arrays_changes_no_training(backend):
    net, x, y = problem()

    def spoil(run):
        for array in (*run.network.weights, *run.values):
            array[...] = 99

    options = {"updates": 6, "backend": backend, "record_every": 2}
    spoiled, whole = (train(net, IPC(0.02, 0.3), x, y, on_record=seen, **options) for seen in (spoil, None))
    assert spoiled.energy == whole.energy
    assert same(spoiled.loss[:1], whole.loss[:1])
    first, *_ = spoiled.network.weights
    assert np.all(first == 99)  # the caller's own, as it left it
    assert same([x, y], problem()[1:])


@by_backend
@by_algorithm
def test_an_interrupt_leaves_the_run_as_of_its_last_record(algorithm, backend):
    net, x, y = problem()

    def press(run):
        if run.updates == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train(net, algorithm, x, y, updates=50, backend=backend, record_every=2, on_record=press)
    assert isinstance(caught.value, Interrupted)
    run, whole = caught.value.run, train(net, algorithm, x, y, updates=4, backend=backend, record_every=2)
    assert (run.recorded, run.updates, run.loss) == ([0, 2], 4, whole.loss)
    assert same(run.network.weights, whole.network.weights)
    assert same(run.values, whole.values)


def test_an_interrupt_amid_updates_leaves_no_half_of_one(monkeypatch):
    net, x, y = problem()
    engines = importlib.import_module("pcsim.engines.numpy")
    step, made = engines.NumpyEngine._step, []

    def press(self, energy):
        made.append(self)
        if len(made) == 12:
            self.net.weights[0][...] = 99
            raise KeyboardInterrupt
        return step(self, energy)

    with monkeypatch.context() as patched:
        patched.setattr(engines.NumpyEngine, "_step", press)
        with pytest.raises(Interrupted) as caught:
            train(net, IPC(0.02, 0.3), x, y, updates=50, backend="numpy", record_every=5)
    run, whole = caught.value.run, train(net, IPC(0.02, 0.3), x, y, updates=10, backend="numpy")
    assert (run.updates, run.recorded) == (10, [0, 5])
    assert same(run.network.weights, whole.network.weights)


def test_an_interrupt_before_the_first_record_leaves_the_net_as_it_was(monkeypatch):
    net, x, y = problem()
    module = importlib.import_module("pcsim.training.session")
    monkeypatch.setattr(module, "forward_loss", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(Interrupted) as caught:
        train(net, BP(), x, y, updates=5, backend="numpy")
    run = caught.value.run
    assert (run.updates, run.recorded, run.diverged) == (0, [], None)
    assert same(run.network.weights, net.weights)


@by_backend
def test_an_exception_of_on_record_ends_the_run(backend):
    net, x, y = problem()
    seen = []

    def enough(run):
        seen.append(run)
        if len(seen) == 3:
            raise ZeroDivisionError("enough")

    with pytest.raises(ZeroDivisionError, match="enough"):
        train(net, IPC(0.01), x, y, updates=20, backend=backend, on_record=enough)
    assert len(seen) == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pcsim-worker")]


# A run taken up again


@by_backend
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 7])
def test_ipc_goes_on_from_its_values_bit_by_bit(backend, workers, rows):
    net, x, y = problem(rows=rows)
    options = {"backend": backend, "workers": workers}
    whole = train(net, IPC(0.02, 0.3), x, y, updates=10, **options)
    first = train(net, IPC(0.02, 0.3), x, y, updates=5, **options)
    second = train(first.network, IPC(0.02, 0.3), x, y, updates=5, values=first.values, **options)
    assert same(second.network.weights, whole.network.weights)
    assert same(second.values, whole.values)
    assert first.energy + second.energy == whole.energy
    assert first.loss + second.loss == whole.loss
    fresh = train(first.network, IPC(0.02, 0.3), x, y, updates=5, **options)
    assert not same(fresh.network.weights, whole.network.weights)  # without the values it is another run


@by_backend
@pytest.mark.parametrize("algorithm", ALL[:3], ids=lambda a: a.name)
def test_algorithms_that_start_anew_at_every_update_need_no_values(algorithm, backend):
    net, x, y = problem()
    whole = train(net, algorithm, x, y, updates=6, backend=backend)
    first = train(net, algorithm, x, y, updates=3, backend=backend)
    second = train(first.network, algorithm, x, y, updates=3, backend=backend)
    assert same(second.network.weights, whole.network.weights)
    assert first.loss + second.loss == whole.loss


def test_values_take_the_place_of_the_first_forward_pass():
    net, x, y = problem(np.float64)
    rng = np.random.default_rng(5)
    values = [rng.normal(size=(7, n)) for n in net.sizes]  # input and target among them are not taken
    run = train(net, IPC(0.02, 0.3), x, y, updates=4, backend="numpy", values=values)
    energies, losses, weights, _ = by_hand(IPC(0.02, 0.3), net, x, y, 4, [x, *values[1:-1], y])
    np.testing.assert_allclose(run.energy, energies, rtol=1e-10)
    np.testing.assert_allclose(run.loss, losses, rtol=1e-10)
    close(run.network.weights, weights)


# Batches


def rows_of(energy):
    """Which rows a batch held, where row i's energy is 2**i."""
    whole = round(energy)
    assert energy == pytest.approx(whole, rel=1e-5)
    return [i for i in range(whole.bit_length()) if whole >> i & 1]


def batches(rows, batch, epochs, backend="numpy", algorithm=None, steps=1, seed=0):
    """The rows of each batch of a run, read off its energies: a net of zeros that all but keeps still."""
    net = Network([np.zeros((1, 2), np.float32)])
    y = np.sqrt(2.0 * 2.0 ** np.arange(rows))[:, None]
    run = train(
        net,
        algorithm or IPC(alpha=1e-30),
        np.ones((rows, 2)),
        y,
        updates=rows // batch * epochs * steps,
        backend=backend,
        batch_size=batch,
        steps_per_batch=steps,
        seed=seed,
    )
    assert run.loss == pytest.approx([2**rows - 1] * run.updates)  # of all rows, whatever the batch
    return [rows_of(energy) for energy in run.energy]


TINY = [BP(1e-30), PC(1e-30), ZIL(1e-30), IPC(1e-30)]


@by_backend
@pytest.mark.parametrize("algorithm", TINY, ids=lambda a: a.name)
def test_every_row_is_used_once_in_an_epoch(algorithm, backend):
    held = batches(10, 2, 4, backend, algorithm)
    assert {len(batch) for batch in held} == {2}
    epochs = [held[i : i + 5] for i in range(0, 20, 5)]
    for epoch in epochs:
        assert sorted(itertools.chain(*epoch)) == list(range(10))
    assert any(epoch != epochs[0] for epoch in epochs[1:])  # each epoch in an order of its own


@by_backend
def test_the_remainder_of_an_epoch_is_dropped(backend):
    held = batches(10, 3, 8, backend)
    left_out = []
    for i in range(0, 24, 3):
        epoch = list(itertools.chain(*held[i : i + 3]))
        assert len(epoch) == len(set(epoch)) == 9
        left_out += set(range(10)) - set(epoch)
    assert len(left_out) == 8
    assert len(set(left_out)) > 1  # not always the same row


@by_backend
def test_the_order_follows_the_seed(backend):
    one, again, other = (batches(9, 3, 4, backend, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert one == batches(9, 3, 4, "numpy", BP(1e-30), seed=1)  # the same for all algorithms and engines


@by_backend
def test_ipc_stays_on_a_batch_for_its_steps(backend):
    held = batches(8, 2, 3, backend, steps=3)
    assert len(held) == 36
    for i in range(0, 36, 3):
        assert held[i] == held[i + 1] == held[i + 2]
    assert held[::3] == batches(8, 2, 3, backend)


@by_backend
@by_algorithm
def test_batches_with_one_seed_give_the_same_bits(algorithm, backend):
    net, x, y = problem(rows=9)
    options = {"updates": 10, "backend": backend, "batch_size": 4, "steps_per_batch": 2}
    one, again, other = (train(net, algorithm, x, y, seed=seed, **options) for seed in (3, 3, 4))
    assert same(one.network.weights, again.network.weights)
    assert same(one.values, again.values)
    assert (one.energy, one.loss) == (again.energy, again.loss)
    assert not same(one.network.weights, other.network.weights)
    assert [v.shape for v in one.values] == [(4, n) for n in net.sizes]
    if algorithm.name != "bp" and backend == "threads":
        many = train(net, algorithm, x, y, seed=3, workers=3, **options)
        assert same(one.network.weights, many.network.weights)
        assert one.energy == many.energy


@by_backend
@by_algorithm
def test_a_batch_of_all_rows_is_full_batch(algorithm, backend):
    net, x, y = problem()
    full = train(net, algorithm, x, y, updates=4, backend=backend)
    for seed in (0, 1):
        batch = train(net, algorithm, x, y, updates=4, backend=backend, batch_size=7, seed=seed)
        assert same(full.network.weights, batch.network.weights)
        assert full.energy == batch.energy


def test_each_new_batch_of_ipc_begins_with_a_forward_pass():
    net, x, y = problem(np.float64, rows=2)
    run = train(net, IPC(0.02, 0.3), x, y, updates=6, backend="numpy", batch_size=1, steps_per_batch=3, seed=0)
    first = 0 if run.energy[0] == pytest.approx(loss_of(net.weights, x[:1], y[:1]), rel=1e-10) else 1
    current = net
    for row in (first, 1 - first):
        energies, _, weights, values = by_hand(IPC(0.02, 0.3), current, x[row : row + 1], y[row : row + 1], 3)
        np.testing.assert_allclose(run.energy[:3] if row == first else run.energy[3:], energies, rtol=1e-10)
        current = current.replace(weights, None)
    close(run.network.weights, weights)
    close(run.values, values)


# Divergence


@by_backend
@by_algorithm
@pytest.mark.parametrize("every", [1, 4])
def test_divergence_ends_the_run_and_is_named(algorithm, backend, every):
    net, x, y = problem(sizes=(4, 6, 3))
    net = Network(net.weights, "identity")
    run = train(net, dataclasses.replace(algorithm, alpha=5.0), x, y, updates=400, backend=backend, record_every=every)
    assert run.diverged is not None
    assert run.recorded[-1] <= run.diverged < run.recorded[-1] + every
    assert 0 < run.diverged <= run.updates < 400
    broken = not (math.isfinite(run.energy[-1]) and math.isfinite(run.loss[-1]))
    assert run.diverged == run.recorded[-1] if broken else run.diverged >= run.recorded[-1]
    assert np.isfinite(run.energy[:-1]).all()
    assert np.isfinite(run.loss[:-1]).all()


SPLIT = [(BP(0.1), execution) for execution in ("serial", "intra-layer", "blas", "data-parallel", "pipeline")]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1.0, 1e10, 1e18, 1e20, 1e30, 1e38])
@pytest.mark.parametrize(
    ("algorithm", "execution"),
    [*((a, None) for a in ALL[1:]), (IPC(0.01, 0.2, precision=3.0), None), *SPLIT],
    ids=lambda a: getattr(a, "name", str(a)),
)
def test_large_errors_are_the_same_on_every_backend(algorithm, execution, size):
    """Squares of float32 end at 3.4e38, and a sum of squares is of float64: not where numbers are merely large."""
    net, x, y = problem(sizes=(4, 6, 3), rows=8)
    net = Network(net.weights, "identity")
    options = {"updates": 12, "record_every": 1}
    oracle = train(net, algorithm, x, size * y, backend="numpy", **options)
    for workers in (1,) if execution == "serial" else (1, 2):
        run = train(net, algorithm, x, size * y, workers=workers, execution=execution, **options)
        assert run.diverged == oracle.diverged
        assert run.recorded == oracle.recorded
        # At the last record both have diverged, one perhaps in its energy and one in its loss.
        before = slice(None) if oracle.diverged is None else slice(-1)
        np.testing.assert_allclose(run.energy[before], oracle.energy[before], rtol=1e-3)
        np.testing.assert_allclose(run.loss[before], oracle.loss[before], rtol=1e-3)
    assert math.isfinite(oracle.energy[0])


@by_backend
def test_one_large_error_is_no_divergence(backend):
    run = train(Network([[[1.0]]]).replace([np.ones((1, 1), "f4")], None), BP(0.1), [[1.0]], [[1e20]], updates=60,
                backend=backend)  # fmt: skip
    assert run.diverged is None
    assert run.energy[0] == pytest.approx(5e39, rel=1e-6)
    assert run.loss[-1] < 1e-4 * run.loss[0]


@by_backend
@pytest.mark.parametrize("every", [0, 400])
def test_divergence_since_the_last_record_is_named_too(backend, every):
    net, x, y = problem(sizes=(4, 6, 3))
    run = train(Network(net.weights, "identity"), BP(5.0), x, y, updates=400, backend=backend, record_every=every)
    assert not np.isfinite(run.network.weights[0]).all()
    assert run.diverged is not None


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["intra-layer", "data-parallel", "hybrid"])
def test_shared_layers_name_the_update_of_a_divergence(execution):
    """Without records nobody sees energies on the way: the loops themselves note when the output's error is none."""
    net, x, y = problem(np.float64, sizes=(4, 6, 5, 3))
    net, algorithm = Network(net.weights, "identity"), IPC(5.0, 0.2)
    alone = train(net, algorithm, x, y, updates=60, record_every=1)
    run = train(net, algorithm, x, y, updates=2000, record_every=0, workers=2, execution=execution)
    assert abs(run.diverged - alone.diverged) <= 1
    assert run.diverged < 50


def test_on_record_is_told_of_divergence():
    net, x, y = problem(sizes=(4, 6, 3))
    seen = []
    run = train(
        Network(net.weights, "identity"),
        BP(5.0),
        x,
        y,
        updates=400,
        backend="numpy",
        on_record=lambda run: seen.append(run.diverged),
    )
    assert seen[-1] == run.diverged


# Fashion-MNIST


@pytest.fixture(scope="module")
def fashion():
    data = load("fashion-mnist", samples=50)
    return Network.mlp([784, 32, 10], "tanh", seed=0), data.x, data.y


@pytest.mark.parametrize("algorithm", [IPC(1e-3, 0.5, "adam"), PC(1e-3, 0.5, 4, "adam"), BP(1e-3, "adam")], ids=repr)
def test_adam_learns_a_little_fashion(fashion, algorithm):
    net, x, y = fashion
    run = train(net, algorithm, x, y, updates=60, record_every=59)
    assert run.diverged is None
    assert run.recorded == [0, 59]
    assert run.loss[1] < 0.5 * run.loss[0]


@by_backend
@pytest.mark.parametrize("algorithm", [IPC(1e-2), BP(1e-2)], ids=lambda a: a.name)
def test_plain_descent_at_one_hundredth_diverges_on_fashion(fashion, algorithm, backend):
    net, x, y = fashion
    run = train(net, algorithm, x, y, updates=2000, backend=backend)
    assert run.diverged is not None
    assert run.updates < 2000
    calm = train(net, dataclasses.replace(algorithm, alpha=1e-5), x, y, updates=20, backend=backend)
    assert calm.diverged is None
    assert calm.loss[-1] < calm.loss[0]


# Precision


def test_precision_weighs_the_outputs_error_alone():
    """At depth 1 there is no other error: precision times alpha is all that counts, and F is precision times loss."""
    net, x, y = problem(np.float64, sizes=(4, 3))
    weighted_run = train(net, IPC(0.004, precision=2.5), x, y, updates=5, backend="numpy")
    plain = train(net, IPC(0.01), x, y, updates=5, backend="numpy")
    close(weighted_run.network.weights, plain.network.weights)
    np.testing.assert_allclose(weighted_run.energy, 2.5 * np.array(plain.energy), rtol=1e-12)
    np.testing.assert_allclose(weighted_run.loss, plain.loss, rtol=1e-12)


@pytest.mark.parametrize("kind", [IPC, PC])
def test_precision_decides_at_other_depths(kind):
    net, x, y = problem(np.float64)
    one, more = (train(net, kind(0.01, precision=p), x, y, updates=6, backend="numpy") for p in (1.0, 10.0))
    assert more.energy[0] > 2 * one.energy[0]
    assert more.loss[-1] < one.loss[-1]


# Workers and engines


@pytest.mark.parametrize(
    ("algorithm", "backend", "depth", "cores", "expected"),
    [
        (IPC(), "threads", 3, 5, 3),
        (IPC(), "threads", 9, 5, 5),
        (PC(), "threads", 9, 2, 2),
        (ZIL(), "threads", 1, 5, 1),
        (BP(), "threads", 9, 5, 1),
        (IPC(), "numpy", 9, 5, 1),
    ],
)
def test_auto_takes_as_many_workers_as_cores_and_layers_allow(monkeypatch, algorithm, backend, depth, cores, expected):
    monkeypatch.setattr(limits, "advised_workers", lambda: cores)
    assert resolve_workers("auto", algorithm, depth, backend) == expected


def test_a_number_of_workers_is_taken_as_it_is():
    assert [resolve_workers(n, IPC(), 4, "threads") for n in (1, 3, np.int64(4))] == [1, 3, 4]
    assert resolve_workers(3, IPC(), 4, "numpy") == 1  # the oracle has none
    assert resolve_workers(1, BP(), 4, "threads") == 1


@by_algorithm
def test_training_with_auto_workers_gives_the_same_bits(algorithm):
    net, x, y = problem()
    auto, one = (train(net, algorithm, x, y, updates=4, workers=workers) for workers in ("auto", 1))
    assert same(auto.network.weights, one.network.weights)
    assert auto.energy == one.energy


@by_algorithm
def test_a_trace_keeps_the_timeline_of_the_last_updates(algorithm):
    net, x, y = problem()
    run = train(net, algorithm, x, y, updates=4, record_every=0, trace=True)
    assert run.timeline.violations(algorithm.tasks(net.depth, 4)) == []
    assert len({event.step for event in run.timeline.events}) == int(algorithm.tasks(net.depth, 4).steps[-1]) + 1
    plain = train(net, algorithm, x, y, updates=4, record_every=0)
    assert plain.timeline is None
    assert same(plain.network.weights, run.network.weights)
    piecewise = train(net, algorithm, x, y, updates=4, record_every=3, trace=True)
    assert len({event.step for event in piecewise.timeline.events}) == int(algorithm.tasks(net.depth, 1).steps[-1]) + 1


def test_numpy_keeps_no_timeline():
    net, x, y = problem()
    assert train(net, IPC(), x, y, updates=2, backend="numpy", trace=True).timeline is None


@by_backend
def test_an_engine_goes_on_from_run_to_run(backend):
    net, x, y = problem()
    rows = np.arange(7)
    engine = make_engine(backend, net, IPC(0.02, 0.3), x, y, lambda: rows)
    energies = [engine.run(n)[1] for n in (1, 2, 3)]
    whole = train(net, IPC(0.02, 0.3), x, y, updates=6, backend=backend)
    assert energies == [whole.energy[n] for n in (0, 1, 3)]
    assert same(engine.network.weights, whole.network.weights)
    assert same(engine.values, whole.values)


# What cannot be trained


NET = Network.mlp([2, 3, 1])


def test_a_run_starts_empty():
    run = Run(NET, [])
    assert (run.updates, run.seconds, run.recorded, run.energy, run.loss, run.diverged) == (0, 0.0, [], [], [], None)
    assert Run(NET, []).loss is not run.loss


# Calendars from outside


@dataclasses.dataclass(frozen=True)
class Renamed(IPC):
    """iPC under another name."""

    name, title = "renamed", "Renamed"


@dataclasses.dataclass(frozen=True)
class Uneven(IPC):
    """Two updates in six steps."""

    name, title = "uneven", "Uneven"

    def calendar(self, depth, steps_per_batch=None):
        both = Stage(update=tuple(range(depth)), completes=True)
        return Calendar((Stage(), both, Stage(), Stage(), Stage(), both), steps_per_batch)


@by_backend
def test_ipc_under_another_name_trains_alike(backend):
    net, x, y = problem()
    options = {"updates": 6, "backend": backend, "batch_size": 3, "steps_per_batch": 2}
    mine, its = (train(net, kind(0.02, 0.3), x, y, **options) for kind in (Renamed, IPC))
    assert same(mine.network.weights, its.network.weights)
    assert same(mine.values, its.values)
    forever = train(net, IPC(0.02, 0.3), x, y, **{**options, "steps_per_batch": 6})
    assert not same(mine.network.weights, forever.network.weights)  # twin: one that stays on its first batch
    assert refusal(lambda: train(net, Renamed(), x, y, updates=1, backend=backend, batch_size=3)) == (
        "Renamed with a batch_size needs steps_per_batch: for how many updates it stays on a batch"
    )


@by_backend
@pytest.mark.parametrize("batches", [{}, {"batch_size": 3, "steps_per_batch": 1}])
def test_two_updates_in_six_steps(backend, batches):
    net, x, y = problem(np.float64)
    one, whole = (train(net, Uneven(0.02, 0.3), x, y, updates=n, backend=backend, **batches) for n in (1, 5))
    assert len(whole.energy) == 5
    assert whole.energy[0] == one.energy[0]
    assert whole.energy[-1] < whole.energy[0] or batches
    close(
        whole.network.weights,
        train(net, Uneven(0.02, 0.3), x, y, updates=5, backend="numpy", **batches).network.weights,
    )
    assert Uneven().tasks(3, 5).steps[-1] + 1 == 14  # 6 + 6 + 2


@by_backend
def test_a_calendar_that_breaks_a_rule_is_not_trained(backend):
    class Early(Uneven):
        def calendar(self, depth, steps_per_batch=None):
            stages = Stage(update=tuple(range(depth - 1))), Stage(), Stage(update=(depth - 1,), completes=True)
            return Calendar(stages)

    net, x, y = problem()
    message = refusal(lambda: train(net, Early(), x, y, updates=1, backend=backend))
    assert message.startswith("calendar of Uneven at depth 3: W[1] updates for the last time at step 0")


@pytest.mark.parametrize("algorithm", [BP(0.01, "muon"), IPC(0.01, 0.3, optimizer="muon")])
def test_muon_learns_digits(algorithm):
    digits = load("digits", samples=400)
    net = Network.mlp([64, 32, 32, 10], seed=0)
    run = train(net, algorithm, digits.x, digits.y, epochs=6, batch_size=50, steps_per_batch=4, workers=1)
    assert run.final_loss < 0.4 * run.loss[0]
