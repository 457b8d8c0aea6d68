"""The oracle of local losses, feedback alignment and dual propagation, held against slopes and closed forms."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import BP, DFA, DualProp, InputError, Local, Network, train
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.numpy_streams import SIMILARITY, similarity
from pcsim.engines.sweeps import Sweeps, SweptLayout
from pcsim.engines.threads import ThreadsEngine
from pcsim.net.losses import LOSSES

SIZES = st.lists(st.integers(1, 7), min_size=3, max_size=6)


def problem(sizes, batch, seed, activation="tanh", bias=True, loss="squared"):
    rng = np.random.default_rng(seed)
    net = Network.mlp(sizes, activation, bias=bias, seed=seed, dtype="float64", loss=loss)
    y = rng.normal(size=(batch, sizes[-1]))
    if loss == "cross-entropy":
        y = np.abs(y) / np.abs(y).sum(1, keepdims=True)
    return net, rng.normal(size=(batch, sizes[0])), y


def trained(net, algorithm, x, y, updates=1, **options):
    return train(net, algorithm, x, y, updates=updates, backend="numpy", **options)


def slope(function, array, place, step=1e-6):
    """The derivative of a function without arguments by one number of an array."""
    kept = array[place]
    array[place] = kept + step
    above = function()
    array[place] = kept - step
    below = function()
    array[place] = kept
    return (above - below) / (2 * step)


# Local losses


def loss_of_layer(net, l, x, y, algorithm):
    """What layer l descends on, from the values below it."""
    z = net.layers[l].predict(x)
    if l == net.depth - 1:
        return net.loss.loss(z, y)
    of_heads = LOSSES[algorithm.head]() if algorithm.head else net.loss
    a = net.layers[l + 1].f(z)
    loss = of_heads.loss(a @ net.heads[l].T, y)
    if algorithm.loss == "pred":
        return loss
    return (1 - SIMILARITY) * loss + SIMILARITY * similarity(a, y)[0]


@settings(max_examples=25, deadline=None)
@given(
    SIZES, st.integers(2, 5), st.integers(0, 99), st.sampled_from(["pred", "predsim"]),
    st.sampled_from([None, "squared", "cross-entropy"]), st.sampled_from(["squared", "cross-entropy"]), st.booleans(),
)  # fmt: skip
def test_layers_and_heads_descend_on_their_own_loss(sizes, batch, seed, loss, head, output, bias):
    sizes = [n + 2 for n in sizes] if loss == "predsim" else sizes  # of one unit less its mean nothing is left
    net, x, y = problem(sizes, batch, seed, bias=bias, loss=output)
    y = y if output == "cross-entropy" else np.abs(y) / np.abs(y).sum(1, keepdims=True)
    algorithm = Local(1e-3, loss=loss, head=head)
    run = trained(net, algorithm, x, y)
    before = net.with_extras("heads", 0)
    values, rng = before.forward(x), np.random.default_rng(seed)
    for l in range(net.depth):
        arrays = [(before.weights[l], run.network.weights[l])]
        arrays += [(before.heads[l], run.network.heads[l])] if l < net.depth - 1 else []
        arrays += [(before.biases[l], run.network.biases[l])] if bias else []
        for old, new in arrays:
            place = tuple(int(rng.integers(n)) for n in old.shape)
            expected = -slope(lambda l=l: loss_of_layer(before, l, values[l], y, algorithm), old, place)
            assert (new - old)[place] / 1e-3 == pytest.approx(expected, rel=1e-4, abs=1e-6)
    losses = [loss_of_layer(before, l, values[l], y, algorithm) for l in range(net.depth)]
    assert run.energy[0] == pytest.approx(sum(losses))


def test_twin_nothing_comes_down():
    """What a layer learns does not depend on the weights above it; BP's does."""
    net, x, y = problem([4, 6, 5, 3], 4, 1)
    other = net.replace([net.weights[0], net.weights[1] + 1, net.weights[2] - 1], net.biases)
    runs = [trained(n, Local(1e-2), x, y) for n in (net, other)]
    assert np.array_equal(runs[0].network.weights[0], runs[1].network.weights[0])
    runs = [trained(n, BP(1e-2), x, y) for n in (net, other)]
    assert not np.array_equal(runs[0].network.weights[0], runs[1].network.weights[0])


def test_one_layer_alone_is_bp():
    net, x, y = problem([4, 3], 5, 2)
    expected = trained(net, BP(1e-2, "adam"), x, y, 4).network
    for algorithm in (Local(1e-2, "adam"), DFA(1e-2, "adam"), DualProp(1e-2, "adam", sweeps=1)):
        found = trained(net, algorithm, x, y, 4).network
        assert np.allclose(found.weights[0], expected.weights[0], rtol=1e-10)


LEARNERS = (
    Local(0.05),
    Local(0.01, "adam"),
    Local(0.02, "momentum", weight_decay=0.01),
    Local(0.05, head="cross-entropy"),
    DFA(0.05),
    DFA(0.01, "adam"),
    DFA(0.02, "nesterov", weight_decay=0.01),
)


def on(engine, problem, algorithm, batches, runs, **options):
    net, x, y = problem
    order = itertools.cycle(batches)
    made = engine(net, algorithm, x, y, lambda: next(order), **options)
    energies = [made.run(updates)[1] for updates in runs]
    net = made.network
    return [*net.weights, *(net.biases or []), *(net.heads or []), *made.values], energies


@settings(max_examples=30, deadline=None)
@given(
    SIZES, st.integers(1, 3), st.integers(0, 99), st.sampled_from(LEARNERS), st.booleans(), st.booleans(),
    st.sampled_from(["squared", "cross-entropy"]), st.lists(st.integers(1, 20), min_size=1, max_size=3), st.data(),
)  # fmt: skip
def test_threads_learn_what_the_oracle_learns(sizes, batch, seed, algorithm, bias, fused, loss, runs, data):
    net, x, y = problem(sizes, 6, seed, bias=bias, loss="cross-entropy")
    net = Network(net.weights, net.activation, net.biases, loss=loss)
    rng = np.random.default_rng(seed)
    batches = [rng.permutation(6)[:batch] for _ in range(5)]
    workers = data.draw(st.integers(1, net.depth))
    options = {"workers": workers, "fused": fused, "wave": data.draw(st.sampled_from([None, 1, 3, 8]))}
    expected, energies = on(NumpyEngine, (net, x, y), algorithm, batches, runs)
    found, its = on(ThreadsEngine, (net, x, y), algorithm, batches, runs, **options)
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert np.abs(mine - other).max() <= 1e-11 * max(1, np.abs(other).max())
    assert np.allclose(its, energies, rtol=1e-10)
    # The same bits for any number of workers, and of batches taken together.
    again, _ = on(ThreadsEngine, (net, x, y), algorithm, batches, runs, fused=fused)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_twin_another_head_is_told_apart():
    made = problem([4, 6, 5, 3], 6, 1)
    batches = [np.arange(2), np.arange(2, 4)]
    runs = [on(e, made, a, batches, (3,))[0] for e, a in ((NumpyEngine, Local(0.05)), (ThreadsEngine, Local(0.05)))]
    assert np.allclose(runs[0][0], runs[1][0], rtol=1e-12)
    other = on(ThreadsEngine, made, Local(0.05, head_seed=1), batches, (3,))[0]
    assert not np.allclose(runs[0][0], other[0], rtol=1e-6)
    aligned = [on(ThreadsEngine, made, DFA(0.05, feedback_seed=seed), batches, (3,))[0] for seed in (0, 1)]
    assert not np.allclose(aligned[0][0], aligned[1][0], rtol=1e-6)


@pytest.mark.parametrize("algorithm", [Local(1e-2, "adam"), DFA(1e-2, "adam")], ids=["local", "dfa"])
def test_threads_go_on_from_the_oracle_s_state(algorithm, tmp_path):
    net, x, y = problem([5, 6, 4, 5, 3], 20, 7)
    options = {"batch_size": 4, "seed": 3}
    file = tmp_path / "k.npz"
    whole = train(net, algorithm, x, y, updates=12, workers=2, **options)
    train(net, algorithm, x, y, updates=5, workers=2, checkpoint=file, **options)
    again = train(net, algorithm, x, y, updates=12, workers=3, checkpoint=file, resume=True, **options)
    assert again.network == whole.network
    (tmp_path / "k.npz").unlink()
    trained(net, algorithm, x, y, 5, checkpoint=file, **options)
    mixed = train(net, algorithm, x, y, updates=12, checkpoint=file, resume=True, **options)
    for mine, its in zip(mixed.network.weights, whole.network.weights, strict=True):
        assert np.allclose(mine, its, rtol=1e-10)


class NoRanks(DualProp):
    backends = ("numpy", "threads")


@pytest.mark.parametrize(
    ("algorithm", "options", "words"),
    [
        (Local(), {"workers": 5}, "5 workers are more than the 4 layers of the net"),
        (Local(), {"execution": "data-parallel"}, "the only execution is layer-parallel"),
        (DFA(), {"workers": 5}, "5 workers are more than the 4 layers of the net"),
        (DFA(), {"execution": "blas"}, "the only execution is layer-parallel"),
        (Local(loss="predsim"), {}, "predsim runs on backend numpy alone so far"),
        (DualProp(), {"workers": 5}, "5 workers are more than the 4 layers of the net"),
        (DualProp(), {"execution": "hybrid"}, "the only execution is layer-parallel"),
        (NoRanks(), {"backend": "mpi"}, "so far on backend numpy and threads alone, not on mpi"),
    ],
)
def test_what_threads_cannot_is_one_line(algorithm, options, words):
    net, x, y = problem([5, 6, 4, 5, 3], 6, 7)
    if options.get("backend") == "mpi":
        pytest.importorskip("mpi4py")
    with pytest.raises(InputError, match=words):
        train(net, algorithm, x, y, updates=1, **options)


# Direct feedback alignment


def through_all_layers(net):
    """``B[l] = (W[L-1] … W[l+1]).T``: what BP would send down."""
    found, product = [], np.eye(net.sizes[-1])
    for l in reversed(range(net.depth - 1)):
        product = product @ net.weights[l + 1]
        found.insert(0, product.T)
    return found


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 4), st.integers(0, 99))
def test_feedback_through_all_layers_is_bp_in_a_linear_net(sizes, batch, seed):
    net, x, y = problem(sizes, batch, seed, "identity")
    aligned = Network(net.weights, "identity", net.biases, feedback=through_all_layers(net))
    found, expected = (trained(n, a, x, y).network for n, a in ((aligned, DFA(1e-2)), (net, BP(1e-2))))
    for mine, its in zip([*found.weights, *found.biases], [*expected.weights, *expected.biases], strict=True):
        assert np.allclose(mine, its, rtol=1e-12, atol=1e-14)


def test_twin_other_feedback_is_not_bp():
    net, x, y = problem([3, 4, 4, 2], 3, 1, "identity")
    found = trained(net, DFA(1e-2), x, y).network
    assert not np.allclose(found.weights[0], trained(net, BP(1e-2), x, y).network.weights[0])


def delayed(net, algorithm, batches, updates, shift=0):
    """CONTRACT's delays, by the versions of each layer: batch k is predicted by layer l after ``k + l - (L-1)``
    updates (at least none), and makes the update after all that came before it. ``shift`` breaks it."""
    L, feedback = net.depth, net.feedback
    versions = [[(w.copy(), b.copy())] for w, b in zip(net.weights, net.biases, strict=True)]

    def layer(l, version):
        weights, bias = versions[l][max(0, version)]
        return copy.copy(net.layers[l]), weights, bias

    for k in range(updates):
        x, y = batches[k]
        values = [x]
        for l in range(L):
            dense, weights, bias = layer(l, k + l - (L - 1) + shift * (l == 0))
            values.append(dense.f(values[l]) @ weights.T + bias)
        e = net.loss.error(values[L], y)
        for l in range(L):
            delta = e if l == L - 1 else (e @ feedback[l].T) * net.layers[l + 1].slope(values[l + 1])
            weights, bias = versions[l][k]
            a, rate = net.layers[l].f(values[l]), algorithm.alpha
            versions[l].append((weights + rate * delta.T @ a, bias + rate * delta.sum(0)))
    return [version[-1][0] for version in versions]


def test_gradients_are_as_late_as_the_pipeline_makes_them():
    net, x, y = problem([4, 5, 6, 5, 3], 12, 3)
    net, algorithm = net.with_extras("feedback", 0), DFA(0.05)
    orders = [np.random.default_rng(1).permutation(12)[:3] for _ in range(40)]
    engine = NumpyEngine(net, algorithm, x, y, iter(orders).__next__)
    engine.run(9)
    batches = [(x[rows], y[rows]) for rows in orders]
    for mine, its in zip(engine.network.weights, delayed(net, algorithm, batches, 9), strict=True):
        assert np.allclose(mine, its, rtol=1e-12, atol=1e-14)
    assert not np.allclose(engine.network.weights[0], delayed(net, algorithm, batches, 9, shift=1)[0])  # twin


# Dual propagation


@settings(max_examples=15, deadline=None)
@given(SIZES, st.integers(1, 4), st.integers(0, 99), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_dual_propagation_is_bp_in_a_linear_net(sizes, batch, seed, a):
    net, x, y = problem(sizes, batch, seed, "identity")
    algorithm = DualProp(1e-2, beta=0.7, a=a, sweeps=len(sizes))
    found, expected = (trained(net, one, x, y).network for one in (algorithm, BP(1e-2)))
    for mine, its in zip([*found.weights, *found.biases], [*expected.weights, *expected.biases], strict=True):
        assert np.allclose(mine, its, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("a", "order"), [(0.5, 2), (0.0, 1), (1.0, 1)])
def test_dual_propagation_tends_to_bp(a, order):
    """The gradient's error falls with beta, or, where raised and lowered values weigh alike, with its square."""
    net, x, y = problem([4, 6, 5, 6, 3], 3, 5)
    exact = trained(net, BP(1e-2), x, y).network.weights[0]
    apart = []
    for beta in (0.2, 0.1, 0.05):
        found = trained(net, DualProp(1e-2, beta=beta, a=a, sweeps=20), x, y).network.weights[0]
        apart.append(float(np.abs(found - exact).max()))
    assert apart[0] / apart[1] == pytest.approx(2**order, rel=0.15)
    assert apart[1] / apart[2] == pytest.approx(2**order, rel=0.1)


def test_incremental_sweeps_come_to_the_same():
    """With a rate that changes nothing, kept values relax to those of as many sweeps from a forward start."""
    net, x, y = problem([4, 6, 5, 6, 3], 3, 5)
    relaxed = NumpyEngine(net, DualProp(1e-12, beta=0.2, incremental=True), x, y, lambda: np.arange(3))
    relaxed.run(30)
    before = relaxed.network.weights[0]
    relaxed.run(1)
    ascent = (relaxed.network.weights[0] - before) / 1e-12
    expected = (trained(net, DualProp(1e-2, beta=0.2, sweeps=30), x, y).network.weights[0] - net.weights[0]) / 1e-2
    assert np.allclose(ascent, expected, rtol=1e-2, atol=1e-3)


def test_an_error_comes_down_one_layer_each_half_sweep():
    net, x, y = problem([4, 4, 4, 4, 4, 4, 3], 2, 1)
    for sweeps in (1, 2, 3):
        found = trained(net, DualProp(1e-2, sweeps=sweeps), x, y).network
        changed = [not np.array_equal(a, b) for a, b in zip(found.weights, net.weights, strict=True)]
        assert changed == [l >= net.depth - 2 * sweeps for l in range(net.depth)]


SWEEPERS = (
    DualProp(0.05, incremental=True),
    DualProp(0.05, beta=0.5, a=0.3, incremental=True, weight_decay=0.01),
    DualProp(0.01, "adam", a=1.0, incremental=True),
    DualProp(0.05, sweeps=1, a=0.0),
    DualProp(0.02, "momentum", sweeps=3, weight_decay=0.01),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=7), st.sampled_from([1, 1, 3]), st.integers(0, 99),
    st.sampled_from(SWEEPERS), st.sampled_from([None, 1, 2, 3]), st.booleans(), st.booleans(),
    st.sampled_from(["squared", "cross-entropy"]), st.sampled_from(["tanh", "relu", "sigmoid"]),
    st.lists(st.integers(1, 5), min_size=1, max_size=3), st.data(),
)  # fmt: skip
def test_threads_sweep_as_the_oracle_does(
    sizes, batch, seed, algorithm, steps, bias, fused, loss, activation, runs, data
):
    made = problem(sizes, 6, seed, activation, bias, loss)
    rng = np.random.default_rng(seed)
    batches = [rng.permutation(6)[:batch] for _ in range(5)]
    options = {"steps_per_batch": steps}
    expected, energies = on(NumpyEngine, made, algorithm, batches, runs, **options)
    ways = {"workers": data.draw(st.integers(1, len(sizes) - 1)), "wave": data.draw(st.sampled_from([None, 2, 3, 6]))}
    found, its = on(ThreadsEngine, made, algorithm, batches, runs, fused=fused, **ways, **options)
    for mine, other in zip(found, expected, strict=True):
        assert np.abs(mine - other).max() <= 1e-12 * max(1, np.abs(other).max())
    assert np.allclose(its, energies, rtol=1e-10)
    again, _ = on(ThreadsEngine, made, algorithm, batches, runs, fused=fused, **options)  # on one, step by step
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("sizes", [[70, 300, 290, 3], [530, 270, 20, 3]])  # rows taken by eight, and by four
@pytest.mark.parametrize("algorithm", SWEEPERS[:2])
def test_long_rows_go_through_the_fused_pass(sizes, algorithm):
    made = problem(sizes, 6, 3)
    algorithm, batches = replace(algorithm, alpha=1e-3), [np.arange(1), np.arange(1, 2)]
    expected, _ = on(NumpyEngine, made, algorithm, batches, (5,), steps_per_batch=2)
    found, _ = on(ThreadsEngine, made, algorithm, batches, (5,), steps_per_batch=2, workers=2)
    for mine, other in zip(found, expected, strict=True):
        assert np.abs(mine - other).max() <= 1e-12 * max(1, np.abs(other).max())


@pytest.mark.parametrize(
    "other", [{"beta": 0.100001}, {"a": 0.500001}, {"incremental": False, "sweeps": 1}, {"alpha": 0.050001}]
)
def test_twin_another_sweep_is_told_apart(other):
    made, batches = problem([4, 6, 5, 3], 6, 1), [np.arange(1), np.arange(2, 3)]
    expected, _ = on(NumpyEngine, made, SWEEPERS[0], batches, (6,), steps_per_batch=3)
    found, _ = on(ThreadsEngine, made, replace(SWEEPERS[0], **other), batches, (6,), steps_per_batch=3)
    assert not np.allclose(found[0], expected[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("algorithm", [SWEEPERS[2], SWEEPERS[4]])
@pytest.mark.parametrize("steps", [None, 4])
def test_sweeps_go_on_from_a_state_of_either_engine(algorithm, steps, tmp_path):
    net, x, y = problem([5, 6, 4, 5, 3], 20, 7)
    options = {"batch_size": 20 if steps is None and algorithm.incremental else 4, "seed": 3, "steps_per_batch": steps}
    file = tmp_path / "k.npz"
    whole = train(net, algorithm, x, y, updates=11, workers=2, **options)
    train(net, algorithm, x, y, updates=6, workers=2, checkpoint=file, **options)
    again = train(net, algorithm, x, y, updates=11, workers=3, checkpoint=file, resume=True, **options)
    assert again.network == whole.network
    file.unlink()
    trained(net, algorithm, x, y, 6, checkpoint=file, **options)
    mixed = train(net, algorithm, x, y, updates=11, checkpoint=file, resume=True, **options)
    assert np.allclose(mixed.network.weights[1], whole.network.weights[1], rtol=1e-10)
    file.unlink()
    train(net, algorithm, x, y, updates=6, workers=2, checkpoint=file, **options)
    mixed = trained(net, algorithm, x, y, 11, checkpoint=file, resume=True, **options)
    assert np.allclose(mixed.network.weights[1], whole.network.weights[1], rtol=1e-10)


@pytest.mark.parametrize("batch", [1, 2])
def test_threads_scale_what_goes_up_and_what_comes_down(batch):
    net, x, y = problem([4, 6, 5, 3], 6, 1)
    scaled = Network(net.weights, net.activation, net.biases, scale=[0.5, 2.0, 0.3])
    batches = [np.arange(batch), np.arange(2, 2 + batch)]
    runs = [on(e, (scaled, x, y), SWEEPERS[1], batches, (6,)) for e in (NumpyEngine, ThreadsEngine)]
    for mine, other in zip(runs[1][0], runs[0][0], strict=True):
        assert np.abs(mine - other).max() <= 1e-12 * max(1, np.abs(other).max())
    plain, _ = on(ThreadsEngine, (net, x, y), SWEEPERS[1], batches, (6,))
    assert not np.allclose(plain[1], runs[0][0][1], rtol=1e-6)  # twin


@pytest.mark.parametrize("depth", [2, 5, 8])
@pytest.mark.parametrize("steps", [None, 1, 3])
@pytest.mark.parametrize("algorithm", [SWEEPERS[0], SWEEPERS[3], SWEEPERS[4]])
def test_messages_of_sweeps_are_those_of_the_task_graph(algorithm, steps, depth):
    net = Network.mlp([4] * (depth + 1), seed=1)
    calendar, graph = algorithm.calendar(depth, steps), algorithm.steady_tasks(depth, steps)
    sweeps = Sweeps(SweptLayout(net, 1, 1, 1, 0), algorithm, calendar, net, True, 1)
    for k in range(1, depth):
        assert graph.message_ways([int(l >= k) for l in range(depth)]) == pytest.approx(sweeps.messages(k))


@pytest.mark.parametrize("engine", [NumpyEngine, ThreadsEngine])
def test_dual_propagation_has_no_skips(engine):
    net = Network.mlp([4, 4, 4, 3], seed=1, skip=[False, True, False])
    with pytest.raises(InputError, match="dual propagation is for layers without skip connections"):
        engine(net, DualProp(), np.zeros((2, 4)), np.zeros((2, 3)), lambda: np.arange(2))


@pytest.mark.parametrize("batch", [1, 2])
def test_threads_name_the_update_at_which_the_oracle_diverges(batch):
    made = problem([5, 6, 4, 3], 6, 7, "relu")
    for algorithm in (DualProp(1e30, incremental=True), DualProp(1e30, sweeps=2)):
        engines = [e(made[0], algorithm, *made[1:], lambda: np.arange(batch)) for e in (NumpyEngine, ThreadsEngine)]
        with np.errstate(all="ignore"):
            for engine in engines:
                engine.run(30)
        assert engines[0].diverged == engines[1].diverged is not None


# All of them

RIVALS = {
    "local": Local(1e-2, "adam"),
    "predsim": Local(1e-2, "momentum", loss="predsim", head="cross-entropy"),
    "dfa": DFA(1e-2, "adam"),
    "dual": DualProp(1e-2, "adamw", weight_decay=0.01, sweeps=3),
    "incremental": DualProp(1e-2, "nesterov", incremental=True),
}


@pytest.mark.parametrize("name", RIVALS)
def test_a_training_goes_on_from_its_state_with_the_same_bits(name, tmp_path):
    net, x, y = problem([5, 6, 4, 5, 3], 20, 7)
    y = np.abs(y) / np.abs(y).sum(1, keepdims=True)
    options = {"batch_size": 4, "record_every": 3, "seed": 3, "steps_per_batch": 2 if name == "incremental" else None}
    whole = trained(net, RIVALS[name], x, y, 13, **options)
    file = tmp_path / "k.npz"
    trained(net, RIVALS[name], x, y, 7, checkpoint=file, **options)
    again = trained(net, RIVALS[name], x, y, 13, checkpoint=file, resume=True, **options)
    assert again.network == whole.network
    assert again.loss == whole.loss
    other = trained(net, RIVALS[name], x, y, 13, **options | {"seed": 4})  # twin
    assert other.network != whole.network


@pytest.mark.parametrize("name", RIVALS)
def test_heads_and_feedback_are_saved_with_the_net(name, tmp_path):
    net, x, y = problem([5, 6, 4, 3], 6, 7)
    y = np.abs(y) / np.abs(y).sum(1, keepdims=True)
    found = trained(net, RIVALS[name], x, y, 3).network
    found.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    assert loaded == found
    assert (loaded.heads is None, loaded.feedback is None) == (found.heads is None, found.feedback is None)
    on = [trained(each, RIVALS[name], x, y, 2).network for each in (found, loaded)]
    assert on[0] == on[1]


@pytest.mark.parametrize("name", RIVALS)
def test_an_epoch_is_a_pass_over_the_rows(name):
    net, x, y = problem([5, 6, 4, 3], 20, 7)
    y = np.abs(y) / np.abs(y).sum(1, keepdims=True)
    steps = {"steps_per_batch": 2} if name == "incremental" else {}
    run = train(net, RIVALS[name], x, y, epochs=3, batch_size=5, backend="numpy", **steps)
    assert run.updates == 3 * 4 * (2 if steps else 1)


@pytest.mark.parametrize("name", RIVALS)
def test_divergence_is_named(name):
    net, x, y = problem([5, 6, 4, 3], 6, 7, "relu")
    algorithm = type(RIVALS[name])(1e200)
    assert trained(net, algorithm, x, y, 30).diverged is not None


def test_heads_are_left_alone_by_what_does_not_learn_by_them(tmp_path):
    """And a training of a net that has some goes on from its checkpoint."""
    net, x, y = problem([5, 6, 4, 3], 8, 7)
    headed, file = net.with_extras("heads", 0), tmp_path / "k.npz"
    options = {"batch_size": 4}
    whole = trained(headed, BP(1e-2, "adam"), x, y, 9, **options).network
    trained(headed, BP(1e-2, "adam"), x, y, 4, checkpoint=file, **options)
    again = trained(headed, BP(1e-2, "adam"), x, y, 9, checkpoint=file, resume=True, **options).network
    assert again == whole
    assert all(np.array_equal(a, b) for a, b in zip(whole.heads, headed.heads, strict=True))
    with pytest.raises(InputError, match="is the checkpoint of another training"):
        trained(net.with_extras("heads", 1), BP(1e-2, "adam"), x, y, 9, checkpoint=file, resume=True, **options)


@pytest.mark.parametrize("engine", [NumpyEngine, ThreadsEngine])
@pytest.mark.parametrize(("dtype", "beta"), [("float32", 9e-5), ("float64", 1e-13)])
def test_a_beta_that_drowns_in_rounding_is_refused(engine, dtype, beta):
    net = Network.mlp([4, 5, 3], seed=1, dtype=dtype)
    with pytest.raises(InputError, match=f"is lost in the rounding of {dtype}: give at least"):
        engine(net, DualProp(1e-2, beta=beta), np.ones((1, 4)), np.ones((1, 3)), lambda: np.zeros(1, np.int64))
