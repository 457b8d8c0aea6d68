"""The oracle against finite differences and closed forms, the threads engine against the oracle, twins that fail."""

import itertools
import mmap
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, distance, problems
from programs.cases import PLANS, Planned

from pcsim import BP, IPC, PC, ZIL, InputError, Network, train
from pcsim.algorithms import ALGORITHMS, Calendar
from pcsim.algorithms.backprop import BP_EXECUTIONS
from pcsim.algorithms.common import OPTIMIZERS
from pcsim.engines.layout import Layout
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.threads import ThreadsEngine
from pcsim.training.train import forward_loss

some = settings(max_examples=40, deadline=None, derandomize=True)
# Compilation happens once per signature; the first example of the session pays for it.


def run(engine_class, problem, algorithm, updates=3, workers=1, **options):
    net, x, y = problem
    rows = np.arange(len(x))
    engine = engine_class(net, algorithm, x, y, lambda: rows, workers=workers, **options)
    with np.errstate(all="ignore"):
        energies = [engine.run(updates)[1], engine.run(1)[1]]  # two runs: state goes on from one to the next
    return engine.network, engine.values, energies


algorithms = st.one_of(
    st.builds(IPC, alpha=st.just(0.004), gamma=st.sampled_from([0.05, 0.3]), precision=st.sampled_from([1.0, 2.5])),
    st.builds(PC, alpha=st.just(0.004), gamma=st.just(0.2), T=st.integers(1, 6), precision=st.sampled_from([1.0, 2.5])),
    st.builds(ZIL, alpha=st.just(0.004)),
    st.builds(Planned, alpha=st.just(0.004), gamma=st.just(0.2), plan=st.sampled_from(PLANS)),
    st.builds(BP, alpha=st.just(0.004)),
)


# The oracle


@some
@given(problems(max_depth=4, max_width=5, max_batch=4))
def test_bp_is_the_gradient_by_central_differences(problem):
    net, x, y = problem
    if net.activation in ("relu", "leaky_relu"):
        net = Network(net.weights, "tanh", net.biases, net.scale, net.skip)  # differences need a smooth net
    alpha = 1e-3
    trained, _, _ = run_once(NumpyEngine, (net, x, y), BP(alpha))
    step = 1e-6
    for kind in ("weights", "biases"):
        for l, array in enumerate(getattr(net, kind) or []):
            numeric = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + step
                above = forward_loss(net, x, y)
                array[index] = kept - step
                below = forward_loss(net, x, y)
                array[index] = kept
                numeric[index] = (above - below) / (2 * step)
            change = getattr(trained, kind)[l] - array
            np.testing.assert_allclose(change, -alpha * numeric, rtol=2e-4, atol=1e-9 * (1 + np.abs(numeric).max()))


def run_once(engine_class, problem, algorithm, **options):
    net, x, y = problem
    rows = np.arange(len(x))
    engine = engine_class(net, algorithm, x, y, lambda: rows, **options)
    energy = engine.run(1)[1]
    return engine.network, engine.values, energy


@some
@given(problems())
def test_zil_equals_bp(problem):
    assert distance(run_once(NumpyEngine, problem, ZIL(0.01))[0], run_once(NumpyEngine, problem, BP(0.01))[0]) < EXACT


class AlmostZIL(ZIL):
    """Z-IL with a gamma of 0.99: a twin that must not equal BP."""

    @property
    def gamma(self):
        return 0.99


def deep_problem(seed=3, depth=4, batch=3):
    rng = np.random.default_rng(seed)
    net = Network.mlp([6, 7, 8, 7, 5][: depth + 1], "tanh", seed=seed, dtype=np.float64)
    return net, rng.normal(size=(batch, 6)), rng.normal(size=(batch, net.sizes[-1]))


@pytest.mark.parametrize("engine", [NumpyEngine, ThreadsEngine])
def test_zil_with_another_gamma_is_not_bp(engine):
    problem = deep_problem()
    assert distance(run_once(engine, problem, AlmostZIL(0.01))[0], run_once(engine, problem, BP(0.01))[0]) > 1e-7


@pytest.mark.parametrize("engine", [NumpyEngine, ThreadsEngine])
def test_zil_from_a_noisy_start_is_not_bp(engine):
    net, x, y = deep_problem()
    rng = np.random.default_rng(0)
    start = [v + 1e-3 * rng.normal(size=v.shape) for v in net.forward(x)]
    noisy = run_once(engine, (net, x, y), ZIL(0.01), values=start)[0]
    assert distance(noisy, run_once(engine, (net, x, y), BP(0.01))[0]) > 1e-8
    exact = run_once(engine, (net, x, y), ZIL(0.01), values=net.forward(x))[0]
    assert distance(exact, run_once(engine, (net, x, y), BP(0.01))[0]) < EXACT


def joint_step(net, x, alpha, gamma, weights_first=False, values_first=False):
    """One iPC step by hand, in the order of CONTRACT, or in one of the two orders that break it."""
    weights = [w.copy() for w in net.weights]
    L = len(weights)
    f, slope = np.tanh, lambda v: 1 - np.tanh(v) ** 2
    a = [x[0], *(f(v) for v in x[1:L])]
    e = [None, *(x[l + 1] - a[l] @ weights[l].T for l in range(L))]
    if weights_first:
        weights = [weights[l] + alpha * e[l + 1].T @ a[l] for l in range(L)]
    new = [x[0], *(x[l] + gamma * (-e[l] + slope(x[l]) * (e[l + 1] @ weights[l])) for l in range(1, L)), x[L]]
    if values_first:
        a = [new[0], *(f(v) for v in new[1:L])]
    if not weights_first:
        weights = [weights[l] + alpha * e[l + 1].T @ a[l] for l in range(L)]
    return weights, new


@pytest.mark.parametrize("engine", [NumpyEngine, ThreadsEngine])
def test_ipc_follows_the_joint_schedule_step_by_step(engine):
    net, x, y = deep_problem()
    values = [*net.forward(x)[:-1], y]
    rows = np.arange(len(x))
    mine = engine(net, IPC(0.05, 0.3), x, y, lambda: rows)
    current = net
    for _ in range(6):
        weights, values = joint_step(current, values, 0.05, 0.3)
        current = current.replace(weights, None)
        mine.run(1)
        assert distance(mine.network, current) < EXACT
        assert distance(mine.values, values) < EXACT


@pytest.mark.parametrize("order", ["weights_first", "values_first"])
@pytest.mark.parametrize("engine", [NumpyEngine, ThreadsEngine])
def test_another_order_of_updates_is_told_apart(engine, order):
    net, x, y = deep_problem()
    values = [*net.forward(x)[:-1], y]
    weights, moved = joint_step(net, values, 0.05, 0.3)
    wrong, also = joint_step(net.replace(weights, None), moved, 0.05, 0.3, **{order: True})
    rows = np.arange(len(x))
    mine = engine(net, IPC(0.05, 0.3), x, y, lambda: rows)
    mine.run(2)
    assert max(distance(mine.network, net.replace(wrong, None)), distance(mine.values, also)) > 1e-6


@some
@given(problems(), st.sampled_from([NumpyEngine, ThreadsEngine]))
def test_ipc_energy_never_rises_with_small_rates(problem, engine):
    net, x, y = problem
    rows = np.arange(len(x))
    # Below the inverse of the largest curvature of these small nets; relu's kinks and all
    mine = engine(net, IPC(alpha=2e-5, gamma=1e-3), x, y, lambda: rows)
    energies = [mine.run(1)[1] for _ in range(25)]
    assert all(after <= before * (1 + 1e-12) for before, after in itertools.pairwise(energies))


def test_ipc_energy_rises_with_a_rate_far_too_large():
    net, x, y = deep_problem()
    run_ = train(net, IPC(alpha=3.0, gamma=1.5), x, y, updates=40, backend="numpy")
    assert max(run_.energy) > run_.energy[0]


def test_one_linear_layer_follows_its_closed_form():
    """Depth 1 is linear regression: the error shrinks by (1 - alpha x x') at every update, for all four algorithms."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(1, 4)), rng.normal(size=(1, 3))
    net = Network([rng.normal(size=(3, 4))])
    net = Network([net.weights[0].astype(np.float64)])
    alpha = 0.05
    factor = (1 - alpha * float(np.sum(x * x))) ** 5
    for algorithm, engine in itertools.product(
        (IPC(alpha), PC(alpha, 0.5, 3), ZIL(alpha), BP(alpha)), (NumpyEngine, ThreadsEngine)
    ):
        trained = run(engine, (net, x, y), algorithm, updates=4)[0]
        np.testing.assert_allclose(y - trained.forward(x)[-1], factor * (y - net.forward(x)[-1]), rtol=1e-10)


# Threads against the oracle


@some
@given(problems(), algorithms, st.integers(1, 4))
def test_threads_equal_the_oracle(problem, algorithm, workers):
    workers = 1 if algorithm.name == "bp" else min(workers, problem[0].depth)
    net, values, energies = run(NumpyEngine, problem, algorithm)
    mine, its, also = run(ThreadsEngine, problem, algorithm, workers=workers)
    assert distance(mine, net) < EXACT
    assert distance(its, values) < EXACT
    np.testing.assert_allclose(also, energies, rtol=1e-11, atol=1e-24)


@some
@given(problems(), algorithms.filter(lambda a: a.name != "bp"), st.sampled_from(OPTIMIZERS), st.integers(1, 9))
def test_the_same_bits_for_any_number_of_workers_and_length_of_waves(problem, algorithm, optimizer, wave):
    algorithm = replace(algorithm, optimizer=optimizer)  # Adam counts the updates, also those within a wave
    reference = run(ThreadsEngine, problem, algorithm, updates=12, workers=1, wave=1)
    for workers in {min(w, problem[0].depth) for w in (1, 2, 3, 5)}:
        mine = run(ThreadsEngine, problem, algorithm, updates=12, workers=workers, wave=wave)
        assert all(
            np.array_equal(a, b, equal_nan=True)
            for a, b in zip([*mine[0].weights, *mine[1]], [*reference[0].weights, *reference[1]], strict=True)
        )
        assert mine[2] == reference[2]


@pytest.mark.parametrize("wave", [1, 4])
@pytest.mark.parametrize("plan", PLANS)
def test_the_same_bits_after_many_steps_in_which_values_do_not_move(plan, wave):
    """A worker that does not wait at the end of such a step writes errors that its neighbour still reads."""
    net = Network.mlp([64] * 9, seed=0)
    x, y = np.random.default_rng(0).normal(size=(2, 1, 64))
    one, two = (
        run(ThreadsEngine, (net, x, y), Planned(1e-3, plan=plan), updates=200, workers=workers, wave=wave)
        for workers in (1, 2)
    )
    assert all(map(np.array_equal, [*one[0].weights, *one[1]], [*two[0].weights, *two[1]]))


def possible(execution, workers, net, batch):
    """So many workers, or as many as this execution of BP can have; None where it cannot be."""
    if execution == "pipeline" and batch == 1:
        return None
    limits = {"serial": 1, "pipeline": net.depth, "data-parallel": batch}
    return min(workers, limits.get(execution, workers))


@some
@given(problems(max_batch=9), st.sampled_from(BP_EXECUTIONS), st.integers(1, 4), st.integers(1, 9))
def test_every_execution_of_bp_equals_the_oracle(problem, execution, workers, micro_batches):
    workers = possible(execution, workers, problem[0], len(problem[1]))
    if workers is None:
        return
    options = {"execution": execution, "workers": workers, "micro_batches": micro_batches}
    net, values, energies = run(NumpyEngine, problem, BP(0.004))
    mine, its, also = run(ThreadsEngine, problem, BP(0.004), **options)
    assert distance(mine, net) < EXACT
    assert distance(its, values) < EXACT
    np.testing.assert_allclose(also, energies, rtol=1e-11, atol=1e-24)


@pytest.mark.parametrize("execution", BP_EXECUTIONS)
@pytest.mark.parametrize("batch", [1, 7])
def test_wide_nets_split_by_rows_too(execution, batch):
    """Rows for every worker, ends that fill no vector, and widths that fill none at all."""
    rng = np.random.default_rng(1)
    net = Network.mlp([50, 67, 40, 8, 3, 41], "tanh", seed=3, dtype=np.float64, bias=True)
    problem = (net, rng.normal(size=(batch, 50)), rng.normal(size=(batch, 41)))
    oracle = run(NumpyEngine, problem, BP(0.004))
    workers = possible(execution, 3, net, batch)
    if workers is None:
        with pytest.raises(InputError, match="a pipeline needs a batch above 1"):
            run(ThreadsEngine, problem, BP(0.004), execution=execution, workers=3)
        return
    mine = run(ThreadsEngine, problem, BP(0.004), execution=execution, workers=workers)
    assert distance(mine[0], oracle[0]) < EXACT
    assert distance(mine[1], oracle[1]) < EXACT
    np.testing.assert_allclose(mine[2], oracle[2], rtol=1e-11)


@pytest.mark.parametrize("execution", ["intra-layer", "data-parallel", "pipeline"])
def test_a_worker_that_does_not_wait_is_told_apart(execution, monkeypatch):
    """The twin: one worker whose share of the errors, gradients or micro-batches is forgotten."""
    rng = np.random.default_rng(1)
    net = Network.mlp([40, 40, 40, 40], "tanh", seed=3, dtype=np.float64)
    problem = (net, rng.normal(size=(6, 40)), rng.normal(size=(6, 40)))
    oracle = run(NumpyEngine, problem, BP(0.004))

    def forgetful(self, *arguments):
        lay_out(self, *arguments)
        self.shares.rows[-1] -= 8  # rows of the last worker
        self.shares.samples[-1] -= 1  # a sample of the last part

    lay_out = Layout.__init__
    monkeypatch.setattr(Layout, "__init__", forgetful)
    mine = run(ThreadsEngine, problem, BP(0.004), execution=execution, workers=2)
    assert np.any(mine[0].weights[0][:32] != net.weights[0][:32])
    assert not all(np.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(mine[1], oracle[1], strict=True))


@some
@given(problems(max_batch=9), st.integers(1, 9), st.integers(1, 3))
def test_a_pipeline_has_the_same_bits_for_any_number_of_workers(problem, micro_batches, updates):
    net, x, _ = problem
    if len(x) == 1:
        return
    options = {"execution": "pipeline", "micro_batches": micro_batches, "updates": updates}
    reference = run(ThreadsEngine, problem, BP(0.004), **options)
    for workers in range(2, net.depth + 1):
        mine = run(ThreadsEngine, problem, BP(0.004), workers=workers, **options)
        for a, b in zip([*mine[0].weights, *mine[1]], [*reference[0].weights, *reference[1]], strict=True):
            assert np.array_equal(a, b, equal_nan=True)


@some
@given(problems(), algorithms.filter(lambda a: a.name != "bp"), st.integers(1, 3))
def test_unfused_steps_have_the_same_bits(problem, algorithm, workers):
    workers = min(workers, problem[0].depth)
    fused = run(ThreadsEngine, problem, algorithm, updates=4, workers=workers)
    mine = run(ThreadsEngine, problem, algorithm, updates=4, workers=workers, fused=False)
    for a, b in zip([*mine[0].weights, *mine[1]], [*fused[0].weights, *fused[1]], strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    assert mine[2] == fused[2]


@some
@given(
    problems(plain=True), st.sampled_from(BP_EXECUTIONS), st.integers(1, 3), st.sampled_from(OPTIMIZERS),
    st.sampled_from((0.0, 0.3)),
)  # fmt: skip
def test_optimisers_equal_the_oracle_in_every_execution_of_bp(problem, execution, workers, optimizer, decay):
    workers = possible(execution, workers, problem[0], len(problem[1]))
    if workers is None:
        return
    algorithm = BP(alpha=0.01, optimizer=optimizer, weight_decay=decay)
    mine = run(ThreadsEngine, problem, algorithm, updates=1, workers=workers, execution=execution)
    assert distance(mine[0], run(NumpyEngine, problem, algorithm, updates=1)[0]) < 1e-9


@some
@given(
    problems(plain=True), st.sampled_from([IPC, PC, ZIL, BP]), st.integers(1, 3), st.sampled_from(OPTIMIZERS),
    st.sampled_from((0.0, 0.3)),
)  # fmt: skip
def test_optimisers_equal_the_oracle(problem, kind, workers, optimizer, decay):
    algorithm = kind(alpha=0.01, optimizer=optimizer, weight_decay=decay)
    workers = 1 if kind is BP else min(workers, problem[0].depth)
    mine, oracle = (
        run(engine, problem, algorithm, updates=1, workers=w)
        for engine, w in ((ThreadsEngine, workers), (NumpyEngine, 1))
    )
    # Adam divides by the gradient's size, so the rounding of a gradient near its epsilon (1e-8) shows magnified.
    assert distance(mine[0], oracle[0]) < 1e-9


@some
@given(
    problems(max_batch=12), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from([IPC, PC, ZIL, BP])
)
def test_minibatches_equal_the_oracle(problem, batch, steps, workers, kind):
    net, x, y = problem
    batch = min(batch, len(x))
    options = {"batch_size": batch, "steps_per_batch": steps, "updates": 7, "record_every": 3, "seed": 11}
    workers = 1 if kind is BP else min(workers, net.depth)
    # A gamma small enough for these nets: past divergence there is nothing to compare.
    algorithm = kind(alpha=0.002) if kind in (ZIL, BP) else kind(alpha=0.002, gamma=0.05)
    oracle = train(net, algorithm, x, y, backend="numpy", **options)
    mine = train(net, algorithm, x, y, backend="threads", workers=workers, **options)
    assert distance(mine.network, oracle.network) < EXACT
    assert distance(mine.values, oracle.values) < EXACT
    np.testing.assert_allclose(mine.energy, oracle.energy, rtol=1e-10, atol=1e-20)
    np.testing.assert_allclose(mine.loss, oracle.loss, rtol=1e-10)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("kind", [IPC, PC, ZIL, BP])
def test_float32_stays_near_the_oracle(kind, batch):
    rng = np.random.default_rng(0)
    net = Network.mlp([20, 33, 16, 9], "tanh", seed=2)
    x, y = (rng.normal(size=(batch, n)).astype(np.float32) for n in (20, 9))
    mine = train(net, kind(alpha=0.01), x, y, updates=5)
    oracle = train(net, kind(alpha=0.01), x, y, updates=5, backend="numpy")
    assert mine.network.dtype == np.float32
    assert distance(mine.network, oracle.network) < 2e-6


def test_a_calendar_with_one_date_off_is_told_apart():
    """The twin of every exactness test: Z-IL whose first layer updates one step early."""

    class Early(ZIL):
        def calendar(self, depth, steps_per_batch=None):
            right = super().calendar(depth)
            *early, second, last = right.stages
            return Calendar((*early, replace(second, update=(1, 0)), replace(last, update=())))

    problem = deep_problem()
    assert (
        distance(run_once(ThreadsEngine, problem, Early(0.01))[0], run_once(NumpyEngine, problem, ZIL(0.01))[0]) > 1e-8
    )


def test_layers_that_no_error_has_reached_keep_their_bits():
    """Rounding alike in the forward start and in later predictions leaves an error of exactly 0 there."""
    rng = np.random.default_rng(0)
    for batch, bias in itertools.product((1, 6), (False, True)):
        net = Network.mlp([700, 40, 40, 40, 40, 3], seed=1, bias=bias)
        x, y = rng.normal(size=(batch, 700)), rng.normal(size=(batch, 3))
        trained = train(net, IPC(alpha=1e-2, optimizer="adam"), x, y, updates=3, workers=2).network
        assert np.array_equal(trained.weights[0], net.weights[0])
        assert not np.array_equal(trained.weights[2], net.weights[2])


# Threads as threads


def test_the_net_passed_in_is_untouched():
    net, x, y = deep_problem()
    before = [w.copy() for w in net.weights]
    for backend, kind in itertools.product(("numpy", "threads"), ALGORITHMS.values()):
        if backend in kind.backends:
            train(net, kind(alpha=0.1), x, y, updates=2, backend=backend)
    assert all(np.array_equal(a, b) for a, b in zip(before, net.weights, strict=True))


def test_more_workers_than_cores_and_layers_each_of_their_own():
    net = Network.mlp([3] * 13, seed=0, dtype=np.float64)
    x, y = np.ones((2, 3)), np.zeros((2, 3))
    one = train(net, IPC(0.01), x, y, updates=5, workers=1)
    many = train(net, IPC(0.01), x, y, updates=5, workers=12)
    assert one.loss == many.loss
    with pytest.raises(InputError, match="13 workers are more than the 12 layers"):
        train(net, IPC(0.01), x, y, updates=1, workers=13)
    with pytest.raises(InputError, match="workers=1"):
        train(net, BP(0.01), x, y, updates=1, workers=2)


def test_a_failing_worker_ends_the_run_with_its_own_message(monkeypatch):
    from pcsim.engines import compiled

    net, x, y = deep_problem()
    whole = compiled.predictive_coding

    def breaks(who, *arguments):
        if who.worker == 1:
            raise RuntimeError("worker one has had enough")
        return whole(who, *arguments)

    monkeypatch.setattr(compiled, "predictive_coding", breaks)
    with pytest.raises(RuntimeError, match="worker one has had enough"):
        train(net, IPC(0.01), x, y, updates=10, workers=3)


@pytest.mark.parametrize("kind", [IPC, PC, BP])
def test_an_interrupt_ends_the_run_and_leaves_no_thread(kind):
    import _thread

    net, x, y = deep_problem()
    train(net, kind(0.001), x, y, updates=1)  # compiled beforehand, so that the interrupt meets the loop
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train(net, kind(1e-9), x, y, updates=2**40, record_every=0, workers=1 if kind is BP else 2)
    timer.join()
    assert time.monotonic() - begin < 30
    assert not [t for t in threading.enumerate() if t.name.startswith("pcsim-worker")]


def _page_faults(engine):
    import resource  # on Unix alone

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    engine.run(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(mmap, "MADV_NOHUGEPAGE"), reason="pages are chosen and counted on Linux alone")
@pytest.mark.parametrize(("algorithm", "execution"), [(IPC(), None), (BP(), "intra-layer"), (BP(), "data-parallel")])
def test_memory_is_there_before_the_clock_starts(algorithm, execution, monkeypatch):
    # Finding huge pages took up to 30 ms of a first step of 10 ms; small pages can be counted.
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", mmap.MADV_NOHUGEPAGE)
    net = Network.mlp([256] * 9, seed=0)
    x, y = np.random.default_rng(0).normal(size=(2, 64, 256))

    def faults():
        options = {"workers": 2, "execution": execution}
        return _page_faults(ThreadsEngine(net, algorithm, x, y, lambda: np.arange(64), **options))

    faults()  # BLAS makes buffers of its own
    values = 5 * 9 * 64 * 256 * 4 // 4096  # pages, of which every loop writes x, a, d, e and h or shares
    assert faults() < values / 4
    monkeypatch.setattr(ThreadsEngine, "_touch", lambda self, worker: None)
    assert faults() > values / 2  # which is told apart
