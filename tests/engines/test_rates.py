"""Rates that change from update to update and from step to step, and momentum of values: the oracle against equations
written out here, threads against the oracle."""

import numpy as np
import pytest

from pcsim import BP, IPC, PC, ZIL, InputError, Network
from pcsim.algorithms.rates import Schedule, for_batch, rising
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.optimizers import Momentum
from pcsim.engines.threads import ThreadsEngine
from pcsim.training.batches import Batches

COSINE = Schedule("cosine", warmup=3, updates=9, floor=0.1)
STEPS = {"gamma": (0.3, 0.1, 0.2), "precision": rising(0.25, 2.0, 4)}


def made(kind, algorithm, seed=1, schedule=COSINE, batch=3, **options):
    """An engine of a net of 4 layers, with batches of 3 of 7 rows."""
    net = Network.mlp([5, 9, 17, 6, 4], seed=seed, dtype="float64", bias=True)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(7, 5)), rng.normal(size=(7, 4))
    rows = Batches(7, batch, seed)
    repeats = {"steps_per_batch": 5} if isinstance(algorithm, IPC) else {}
    return kind(net, algorithm, x, y, rows, schedule=schedule, **repeats, **options)


def left(engine):
    net = engine.network
    return [*net.weights, *net.biases, *engine.values]


def apart(one, other):
    """The largest difference, relative to the largest number of each array."""
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(left(one), left(other), strict=True))


def test_the_oracle_follows_the_equations_step_by_step():
    """Eq. 6 and 7 with v = m v + force; rates by the step of the batch, alpha by the update."""
    algorithm = IPC(0.02, value_momentum=0.6, **STEPS)
    engine = made(NumpyEngine, algorithm)
    W, b = [w.copy() for w in engine.net.weights], [b.copy() for b in engine.net.biases]
    rows = Batches(7, 3, 1)
    f, df = np.tanh, lambda x: 1 - np.tanh(x) ** 2
    for n in range(12):
        engine.run(1)
        t = n % 5
        if t == 0:
            batch = rows()
            x = [engine.x[batch]]
            for l in range(4):
                x.append((x[l] if l == 0 else f(x[l])) @ W[l].T + b[l])
            x[4], v = engine.y[batch], [0.0] * 4
        a = [x[0], *map(f, x[1:4])]
        pi = 0.25 * 8 ** (min(t, 3) / 3)
        e = [None, *(x[l + 1] - a[l] @ W[l].T - b[l] for l in range(4))]
        weighted = [*e[:4], pi * e[4]]
        new = list(x)
        for l in (1, 2, 3):
            v[l] = 0.6 * v[l] + df(x[l]) * (weighted[l + 1] @ W[l]) - e[l]
            new[l] = x[l] + (0.3, 0.1, 0.2, 0.2, 0.2)[t] * v[l]
        alpha = 0.02 * ((n + 1) / 3 if n < 3 else 0.1 + 0.45 * (1 + np.cos(np.pi * min(1, (n - 3) / 6))))
        for l in range(4):
            W[l] = W[l] + alpha * weighted[l + 1].T @ a[l]
            b[l] = b[l] + alpha * weighted[l + 1].sum(0)
        x = new
    for mine, its in zip(left(engine), [*W, *b, *x], strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-10, atol=1e-12)


CASES = {
    "ipc": (IPC(0.02, value_momentum=0.6, **STEPS), {"wave": 1}),
    "ipc in waves on three workers": (IPC(0.02, value_momentum=0.6, **STEPS), {"wave": 3, "workers": 3}),
    "ipc unfused on two workers": (IPC(0.02, value_momentum=0.6, **STEPS), {"fused": False, "workers": 2}),
    "ipc adam": (IPC(0.02, optimizer="adam", value_momentum=0.9), {"workers": 4}),
    "pc": (PC(0.02, T=6, value_momentum=0.3, **STEPS), {"workers": 2}),
    "zil": (ZIL(0.02), {"workers": 2}),
    "bp": (BP(0.02), {}),
    "bp in rows": (BP(0.02), {"execution": "intra-layer", "workers": 2}),
    "bp in samples": (BP(0.02), {"execution": "data-parallel", "workers": 2}),
    "bp in a pipeline": (BP(0.02), {"execution": "pipeline", "workers": 2}),
}


@pytest.mark.parametrize("name", CASES)
def test_threads_do_what_the_oracle_does(name):
    algorithm, options = CASES[name]
    oracle, threads = made(NumpyEngine, algorithm), made(ThreadsEngine, algorithm, **options)
    for updates in (1, 3, 9):
        oracle.run(updates)
        threads.run(updates)
    assert apart(threads, oracle) < 1e-11
    # The twin: alpha one update late.
    twin = made(ThreadsEngine, algorithm, **options, schedule=Schedule("cosine", 3, 10, 0.1))
    twin.run(13)
    assert apart(twin, oracle) > 1e-6


@pytest.mark.parametrize("change", [{"gamma": (0.3, 0.1)}, {"precision": (0.25, 0.5)}, {"value_momentum": 0.5}])
def test_every_rate_counts(change):
    one = made(ThreadsEngine, CASES["ipc"][0])
    given = {"value_momentum": 0.6, **STEPS}
    other = made(ThreadsEngine, IPC(0.02, **(given | change)))
    one.run(7)
    other.run(7)
    assert apart(one, other) > 1e-6


@pytest.mark.parametrize("kinds", [(NumpyEngine, ThreadsEngine), (ThreadsEngine, ThreadsEngine)])
def test_a_state_within_a_batch_keeps_the_velocities(kinds):
    algorithm = CASES["ipc"][0]
    options = [{} if kind is NumpyEngine else {"workers": 1 + place} for place, kind in enumerate(kinds)]
    whole = made(kinds[1], algorithm, **options[1])
    first, second, twin = (
        made(kind, algorithm, **more) for kind, more in zip((*kinds, kinds[1]), (*options, options[1]), strict=True)
    )
    whole.run(12)
    first.run(8)
    state = first.state()
    second.restore(state)
    second.run(4)
    assert apart(second, whole) < (1e-12 if NumpyEngine in kinds else 1e-300)
    twin.restore(state | {"velocity": [0 * v for v in state["velocity"]]})
    twin.run(4)
    assert apart(twin, whole) > 1e-6
    with pytest.raises(InputError, match="velocity of the state has 1 arrays; expected 3"):
        made(kinds[1], algorithm).restore(state | {"velocity": state["velocity"][:1]})


def test_schedules():
    assert Schedule().factors(5, 100).tolist() == [1]
    assert Schedule(warmup=4).factors(2, 4).tolist() == [0.75, 1, 1, 1]
    whole = COSINE.factors(0, 12)
    assert np.array_equal(whole[4:7], COSINE.factors(4, 3))
    assert whole[3] == 1
    assert np.allclose(whole[9:], 0.1)
    assert (np.diff(whole[3:10]) < 0).all()
    assert rising(2, 2, 1) == (2.0,)


def moved(alpha, momentum, updates):
    """By how much one sample's gradient of 1 has moved a weight after each of so many updates."""
    one = np.ones(1)
    optimizer = Momentum(one, BP(optimizer="momentum", momentum=momentum))
    return np.cumsum([optimizer.step(one, one * (number == 0), alpha, number + 1)[0] for number in range(updates)])


@pytest.mark.parametrize(("batch", "new"), [(128, 1), (32, 8), (3, 3), (4, 64)])
@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_another_batch_leaves_a_sample_its_half_life_and_its_contribution(batch, new, momentum):
    alpha, kept = for_batch(0.1, momentum, batch, new)
    assert alpha / (1 - kept) == pytest.approx(0.1 / (1 - momentum), rel=1e-12)

    def after(a, m, size, rounds):  # so many times batch * new samples
        return moved(a, m, rounds * batch * new // size)[-1]

    for rounds in (1, 4):
        assert after(alpha, kept, new, rounds) == pytest.approx(after(0.1, momentum, batch, rounds), rel=1e-11)
    # Twins: the rate, or the momentum, as it was; and the factor that is for means.
    for a, m in ((0.1, kept), (alpha, momentum), (alpha * new / batch, kept)) if batch != new else ():
        assert after(a, m, new, 1) != pytest.approx(after(0.1, momentum, batch, 1), rel=1e-3)


def test_without_momentum_a_sample_moves_the_weights_by_alpha_whatever_the_batch():
    assert for_batch(0.1, 0.0, 128, 1) == (0.1, 0.0)
    for wrong in ((0.0, 0.9, 8, 1), (0.1, 1.0, 8, 1), (0.1, -0.1, 8, 1), (0.1, 0.9, 0, 1), (0.1, 0.9, 8, 1.5)):
        with pytest.raises(InputError):
            for_batch(*wrong)


WRONG = {
    "schedule 'sine' is unknown": lambda: Schedule("sine"),
    "warmup must be a whole number of at least 0": lambda: Schedule(warmup=-1),
    "floor must be a share of alpha from 0 to 1": lambda: Schedule(floor=2),
    "a cosine schedule needs more updates than the 5": lambda: Schedule("cosine", warmup=5, updates=5),
    "gamma must be a number above 0, or one for each": lambda: IPC(gamma=()),
    r"precision\[1\] must be a finite number above 0": lambda: PC(precision=(1, 0)),
    "alpha must be a finite number above 0": lambda: BP(alpha=(1, 2)),
    "value_momentum must be a finite number of at least 0 and below 1": lambda: IPC(value_momentum=1),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_rate_is_refused(message):
    with pytest.raises(InputError, match=message):
        WRONG[message]()
