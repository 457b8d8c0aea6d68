"""Asynchronous BP: the oracle against CONTRACT's slots taken literally, engines against the oracle, twins that fail."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, distance, problems

from pcsim import BP, AsyncBP, InputError, Network, train
from pcsim.algorithms import algorithm_from_json, algorithm_to_json
from pcsim.engines import make_engine
from pcsim.engines.optimizers import Compensated, Momentum
from pcsim.net.network import with_arrays

some = settings(max_examples=25, deadline=None, derandomize=True)
KINDS = (
    AsyncBP(),
    AsyncBP(weights="stashed"),
    AsyncBP(accumulate=3),
    AsyncBP(weights="stashed", accumulate=2, delay_rates=4),
    AsyncBP(weights="two-versions", accumulate=14),
    AsyncBP(weight_prediction=True),
    AsyncBP(weights="stashed", weight_prediction=True),
    AsyncBP(optimizer="adam", delay_rates=3),
    AsyncBP(optimizer="momentum", spike_compensation=True),
    AsyncBP(optimizer="momentum", weights="stashed", accumulate=3, spike_compensation=True),
)
kinds = st.sampled_from(KINDS)


def made(problem, algorithm, runs=(3,), batches=None, backend="numpy", **options):
    """An engine after some runs; ``batches``: rows of each batch, all rows each time if there are none."""
    net, x, y = problem
    order = iter(batches or ())
    rows = (lambda: next(order)) if batches else lambda: np.arange(len(x))
    engine = make_engine(backend, net, algorithm, x, y, rows, **options)
    energies = [engine.run(updates)[1] for updates in runs]
    return engine, energies


def drawn(problem, count, size, seed=0):
    """So many batches of ``size`` rows."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, len(problem[1]), size) for _ in range(count)]


def literal(problem, algorithm, updates, batches):
    """CONTRACT's slots, one after another, all layers of a slot from the weights with which it begins."""
    net, x, y = problem
    L = net.depth
    W = [[w.copy() for w in net.weights]]  # at the beginning of each slot
    values = {(0, k): x[rows] for k, rows in enumerate(batches)}
    errors = {}
    for s in range(updates + 2 * (L - 1)):
        now, new = with_arrays(net, W[s], net.biases), [w.copy() for w in W[s]]
        for l in range(L):
            k, old = s - l, s - (2 * (L - 1) - l)
            if k >= 0:
                values[l + 1, k] = now.layers[l].predict(values[l, k])
            if l == L - 1 and k >= 0:
                errors[L, k] = y[batches[k]] - values[L, k]
            if old >= 0 and old < updates:
                used = now if algorithm.weights == "current" else with_arrays(net, W[old + l], net.biases)
                errors[l, old] = used.layers[l].pull_back(values[l, old], errors[l + 1, old])
                new[l] += algorithm.alpha * now.layers[l].gradient(values[l, old], errors[l + 1, old])[0]
        W.append(new)
    return W[-1]


@some
@given(problems(max_depth=5, max_width=9, max_batch=6), st.sampled_from(["current", "stashed"]), st.integers(1, 6))
def test_oracle_is_the_contract_slot_by_slot(problem, weights, updates):
    net, x, y = problem
    problem = with_arrays(net, list(net.weights), None), x, y  # the slots above leave biases alone
    algorithm = AsyncBP(0.01, weights=weights)
    batches = drawn(problem, updates + 2 * net.depth, 2)
    engine, _ = made(problem, algorithm, (updates,), batches)
    assert distance(engine.network.weights, literal(problem, algorithm, updates, batches)) < EXACT
    learns = all(np.any(a != b) for a, b in zip(engine.network.weights, net.weights, strict=True))  # no dead ReLU
    if net.depth > 2 and updates > 2 and learns:
        twin = AsyncBP(0.01, weights="stashed" if weights == "current" else "current")
        assert distance(literal(problem, twin, updates, batches), engine.network.weights) > EXACT


def test_two_layers_by_hand():
    """Identity, one unit, W = (a, b), x = y = 1 then 2: slots 0 to 3."""
    net = Network([np.array([[0.5]]), np.array([[2.0]])], activation="identity")
    x = y = np.array([[1.0], [2.0]])
    rows = [np.array([k % 2]) for k in range(6)]
    found = made((net, x, y), AsyncBP(0.1), (2,), rows)[0].network.weights
    a, b = 0.5, 2.0
    h0 = a * 1  # slot 0: layer 0 predicts for batch 0
    h1, e0 = a * 2, 1 - b * h0  # slot 1: layer 0 for batch 1; layer 1 predicts for batch 0, and updates from it
    d0, b = b * e0, b + 0.1 * e0 * h0
    h2, e1 = a * 1, 2 - b * h1  # slot 2: layer 0 for batch 2, with the old a, and updates from batch 0
    a = a + 0.1 * d0 * 1
    d1, b = b * e1, b + 0.1 * e1 * h1
    a = a + 0.1 * d1 * 2  # slot 3: and from batch 1
    assert h2 == 0.5
    assert distance(found, [np.array([[a]]), np.array([[b]])]) < EXACT


@some
@given(problems(max_depth=6, max_width=9, max_batch=4), kinds)
def test_frozen_weights_give_the_gradient_of_bp(problem, kind):
    """At a rate of almost 0 each layer's change is alpha times BP's gradient; a layer that takes another batch's is
    found."""
    net, x, y = problem
    if kind.optimizer != "sgd":
        kind = replace(kind, optimizer="sgd", spike_compensation=False)
    kind = replace(kind, delay_rates=0, alpha=1e-9)
    m = kind.accumulate
    batches = drawn(problem, 2 * m + 2 * net.depth, 2)
    change = [w - v for w, v in zip(made(problem, kind, (1,), batches)[0].network.weights, net.weights, strict=True)]

    def exact(taken):
        rows = np.concatenate(taken)
        trained = train(net, BP(1e-9), x[rows], y[rows], updates=1, backend="numpy").network
        return [w - v for w, v in zip(trained.weights, net.weights, strict=True)]

    scale = max(float(np.abs(c).max()) for c in exact(batches[:m]))
    assert all(np.abs(c - e).max() <= 1e-5 * scale for c, e in zip(change, exact(batches[:m]), strict=True))
    if scale > 1e-9 and (np.sort(np.concatenate(batches[:m])) != np.sort(np.concatenate(batches[1 : m + 1]))).any():
        others = exact(batches[1 : m + 1])
        assert any(np.abs(c - e).max() > 1e-5 * scale for c, e in zip(change, others, strict=True))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.weights != "two-versions"], ids=lambda k: k.weights)
def test_one_layer_is_bp(kind):
    net = Network.mlp([4, 3], bias=True, seed=1, dtype=np.float64)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 4)), rng.normal(size=(4, 3))
    ours = train(net, replace(kind, alpha=0.02), x, y, updates=6, batch_size=2, backend="numpy")
    if kind.accumulate == 1:
        bp = train(net, BP(0.02, kind.optimizer), x, y, updates=6, batch_size=2, backend="numpy")
        assert distance(ours.network, bp.network) < EXACT
        assert ours.energy == pytest.approx(bp.energy, rel=1e-12)
    late = train(net, AsyncBP(0.02, weights="two-versions"), x, y, updates=6, batch_size=2, backend="numpy")
    assert distance(late.network, ours.network) > 1e-6  # a delay of 1 at every depth, this one included


@some
@given(problems(max_depth=5, max_width=7, max_batch=4), kinds, st.integers(1, 5), st.integers(1, 5))
def test_two_runs_are_one(problem, kind, first, second):
    kind = replace(kind, alpha=0.01)
    batches = drawn(problem, (first + second) * kind.accumulate + 2 * problem[0].depth, 2)
    whole, halves = (made(problem, kind, runs, batches)[0] for runs in ((first + second,), (first, second)))
    assert distance(whole.network, halves.network) == 0


def test_each_remedy_changes_what_is_learnt_and_two_versions_have_one_delay():
    net = Network.mlp([3, 5, 4, 2], seed=2, dtype=np.float64)
    rng = np.random.default_rng(1)
    problem = net, rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    nets = [made(problem, replace(kind, alpha=0.02), (5,), drawn(problem, 200, 2))[0].network for kind in KINDS]
    for i, one in enumerate(nets):
        assert all(distance(one, other) > 1e-9 for other in nets[:i])

    # PipeDream-2BW: w(t+1) = w(t) - alpha g(w(t-1)), where g is the gradient of the batches that accumulate.
    m, batches = 14, drawn(problem, 200, 2)
    before = now = net
    for window in range(5):
        rows = np.concatenate(batches[window * m : window * m + m])
        moved = train(before, BP(0.02), *(part[rows] for part in problem[1:]), updates=1, backend="numpy").network
        step = [w + (v - u) for w, v, u in zip(now.weights, moved.weights, before.weights, strict=True)]
        before, now = now, with_arrays(net, step, None)
    assert distance(nets[4], now) < 1e-11


def test_a_late_gradient_does_at_once_what_momentum_would_have_made_of_it():
    """Spike compensation's closed form: one gradient, then none, and after D updates as if it had been in time."""
    algorithm, m, alpha, g = AsyncBP(optimizer="momentum", spike_compensation=True), 0.9, 0.1, np.array([2.0])
    for delay in (0, 1, 2.5, 6):
        late, plain = Compensated(g, algorithm), Momentum(g, algorithm)
        late.delay = delay
        moved = late.step(g, g, alpha, 1)
        assert moved == pytest.approx(alpha * g * (m**delay + (1 - m**delay) / (1 - m)), rel=1e-14)
        in_time = plain.step(g, g, alpha, 1)
        for _ in range(int(delay)):
            in_time = in_time + plain.step(g, 0 * g, alpha, 1)
        if delay == int(delay):
            assert moved == pytest.approx(in_time, rel=1e-14)
            assert late.step(g, 0 * g, alpha, 1) == pytest.approx(plain.step(g, 0 * g, alpha, 1), rel=1e-14)
            assert delay == 0 or abs(moved - alpha * g) > 1e-3  # the twin: plain momentum


def test_files_hold_every_option():
    for kind in KINDS:
        assert algorithm_from_json(algorithm_to_json(kind)) == kind


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AsyncBP(weights="old"), "weights must be one of"),
        (lambda: AsyncBP(accumulate=0), "accumulate must be a whole number"),
        (lambda: AsyncBP(weight_prediction=1), "must be True or False"),
        (lambda: AsyncBP(spike_compensation=True), "is for the optimizer momentum, not sgd"),
        (lambda: AsyncBP(weight_prediction=True, weights="two-versions"), "is for weights current or stashed"),
        (lambda: AsyncBP(weights="two-versions").tasks(3), "accumulate of at least 2"),
        (lambda: train(Network.mlp([2, 2]), AsyncBP(), [[0, 1]], [[1, 0]], updates=1, execution="serial"), "one exec"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@settings(some, max_examples=12)
@given(
    problems(max_depth=5, max_width=19, max_batch=5), kinds, st.integers(1, 2), st.sampled_from(["numpy", "threads"])
)
def test_a_state_goes_on_elsewhere(problem, kind, updates, backend):
    """With what is in flight: to the same bits on an engine of the same kind, wherever its workers are."""
    kind = replace(kind, alpha=0.01)
    size = 3 if len(problem[1]) == 2 else 2  # a batch of all rows has them in order
    batches = drawn(problem, 6 * kind.accumulate + 2 * problem[0].depth, size)
    elsewhere = "threads" if backend == "numpy" else "numpy"
    several = {"workers": min(2, problem[0].depth)} if backend == "threads" else {}
    whole, energies = made(problem, kind, (updates, 3), batches, backend, **several)
    state = made(problem, kind, (updates,), batches, backend)[0].state()
    for other, options in ((backend, several), (elsewhere, {})):
        engine = made(problem, kind, (), batches, other, **options)[0]
        engine.restore(state)
        assert distance(engine.values, made(problem, kind, (updates,), batches, backend)[0].values) < EXACT
        energy = engine.run(3)[1]
        if other == backend:
            assert distance(engine.network, whole.network) == distance(engine.values, whole.values) == 0
            assert energy == energies[1]
        assert distance(engine.network, whole.network) < EXACT


@pytest.mark.parametrize("lost", ["under_way", "stashed", "before"])
def test_twin_a_state_that_has_lost_something_ends_elsewhere_or_is_refused(lost):
    net = Network.mlp([3, 5, 4, 2], seed=2, dtype=np.float64)
    rng = np.random.default_rng(1)
    problem = net, rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    kind = AsyncBP(0.02, weights="stashed" if lost == "stashed" else "current", weight_prediction=lost == "before")
    batches = drawn(problem, 40, 2)
    whole = made(problem, kind, (2, 3), batches, "threads")[0]
    state = made(problem, kind, (2,), batches, "threads")[0].state()
    twin = made(problem, kind, (), batches, "threads")[0]
    twin.restore({**state, lost: [part + 0.1 for part in state[lost]]})
    twin.run(3)
    assert distance(twin.network, whole.network) > 1e-6
    left = {key: value for key, value in state.items() if key != lost}
    for spoilt, message in (
        (left, "has the batches under way"),
        ({**state, lost: state[lost][:-1]}, f"{lost} of the state has"),
        ({**state, "batches": 3}, "are not the"),
    ):
        with pytest.raises(InputError, match=message):
            made(problem, kind, (), batches, "threads")[0].restore(spoilt)


def test_a_state_before_the_first_update_is_a_beginning():
    net = Network.mlp([3, 4, 2], seed=2, dtype=np.float64)
    for backend in ("numpy", "threads"):
        engine = made((net, np.ones((2, 3)), np.ones((2, 2))), AsyncBP(), (), backend=backend)[0]
        again = made((net, np.ones((2, 3)), np.ones((2, 2))), AsyncBP(), (), backend=backend)[0]
        again.restore(engine.state())
        engine.run(3)
        again.run(3)
        assert distance(engine.network, again.network) == 0


def test_bp_with_that_execution_is_the_class_with_its_defaults():
    net = Network.mlp([3, 4, 2], seed=2, dtype=np.float64)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    runs = [
        train(net, algorithm, x, y, updates=4, batch_size=1, backend="numpy", execution=execution)
        for algorithm, execution in ((BP(0.1), "pipeline-async"), (AsyncBP(0.1), None), (BP(0.1), None))
    ]
    assert distance(runs[0].network, runs[1].network) == 0
    assert distance(runs[0].network, runs[2].network) > 1e-6


@settings(some, max_examples=20)
@given(
    problems(max_depth=6, max_width=19, max_batch=5),
    kinds,
    st.integers(1, 3),
    st.sampled_from([1, 2, 4, 7]),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_threads_are_the_oracle(problem, kind, size, wave, workers, updates):
    kind = replace(kind, alpha=0.01)
    batches = drawn(problem, (2 * updates + 1) * kind.accumulate + 2 * problem[0].depth, size)
    runs = (updates, updates + 1)
    oracle, its = made(problem, kind, runs, batches)
    workers = min(workers, problem[0].depth)
    several, mine = made(problem, kind, runs, batches, "threads", workers=workers, wave=wave)
    alone, _ = made(problem, kind, runs, batches, "threads", workers=1, wave=1)
    assert distance(several.network, oracle.network) < EXACT
    assert distance(several.values, oracle.values) < EXACT
    assert mine == pytest.approx(its, rel=1e-10)
    assert all((a == b).all() for a, b in zip(several.network.weights, alone.network.weights, strict=True))


def test_twin_whose_gradients_are_a_batch_less_late_is_found():
    """Threads with the delays of a net that is one layer less deep."""

    class Sooner(AsyncBP):
        def lag(self, l, depth):
            return max(0, super().lag(l, depth) - 1)

    net = Network.mlp([3, 5, 4, 2], seed=2, dtype=np.float64)
    rng = np.random.default_rng(1)
    problem = net, rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    batches = drawn(problem, 30, 1)
    right = made(problem, AsyncBP(0.05), (8,), batches, "threads")[0].network
    assert distance(right, made(problem, AsyncBP(0.05), (8,), batches)[0].network) < EXACT
    assert distance(right, made(problem, Sooner(0.05), (8,), batches)[0].network) > 1e-6


def test_curves_name_the_options():
    assert [kind.label for kind in KINDS[:4]] == [
        "async BP",
        "async BP (stashed)",
        "async BP (3 batches)",
        "async BP (stashed, 2 batches, K=4)",
    ]
