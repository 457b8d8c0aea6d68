"""Trainings as people run them: epochs, schedules, rows held out, patience, seeds side by side, progress."""

import math

import numpy as np
import pytest

from pcsim import BP, IPC, PC, AsyncBP, InputError, Network, train, train_seeds
from pcsim.training.batches import Batches
from pcsim.training.data import load
from pcsim.training.evaluation import accuracy

RNG = np.random.default_rng(7)
X, LABELS = RNG.normal(size=(43, 5)), RNG.integers(0, 3, 43)
X[np.arange(43), LABELS] += 3
Y = np.eye(3)[LABELS]
NET = Network.mlp([5, 8, 3], seed=3, dtype="float64")


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.network.weights, other.network.weights, strict=True))


@pytest.mark.parametrize("backend", ["numpy", "threads"])
@pytest.mark.parametrize(
    ("algorithm", "options", "each"),
    [(BP(0.01), {}, 5), (PC(0.01, 0.2, T=3), {}, 5), (IPC(0.01, 0.2), {"steps_per_batch": 3}, 15)],
)
def test_an_epoch_is_a_pass_over_the_rows(algorithm, options, each, backend):
    """43 rows are 5 batches of 8, each with as many updates as the algorithm stays on it."""
    run = train(NET, algorithm, X, Y, epochs=2, batch_size=8, backend=backend, **options)
    assert (run.updates, run.recorded) == (2 * each, [0, each])
    assert same(run, train(NET, algorithm, X, Y, updates=2 * each, batch_size=8, backend=backend, **options))


def test_batches_one_by_one_are_batches_taken_at_once():
    one, several = Batches(43, 8, 5), Batches(43, 8, 5)
    alone = np.array([one() for _ in range(23)])
    assert np.array_equal(alone, np.concatenate([several.take(n) for n in (1, 3, 9, 0, 10)]))
    for epoch in (alone[:5], alone[5:10]):
        assert len(np.unique(epoch)) == 40
    assert not np.array_equal(alone[:5], alone[5:10])
    rng = np.random.default_rng(5)
    assert np.array_equal(alone[:5].ravel(), rng.permutation(43)[:40])


def test_a_cosine_ends_at_its_floor_and_warm_up_begins_low():
    """One row, one weight, errors far from 0: each step is alpha's."""
    net = Network([np.zeros((1, 1))])
    seen = []
    train(net, BP(1e-9), [[1.0]], [[1e3]], updates=10, schedule="cosine", warmup=4, floor=0.25, backend="numpy",
          on_record=lambda run: seen.append(run.network.weights[0].item()))  # fmt: skip
    steps = np.diff([0, *seen]) / 1e-6
    np.testing.assert_allclose(steps[:5], [0.25, 0.5, 0.75, 1, 1], rtol=1e-5)
    assert (np.diff(steps[4:]) < 0).all()
    assert 0.25 < steps[-1] < 0.35


@pytest.mark.parametrize("backend", ["numpy", "threads"])
def test_what_is_held_out_is_not_trained_on_and_is_looked_at(backend):
    test = (X[:9], Y[:9])
    run = train(NET, BP(0.02), X, Y, epochs=4, batch_size=5, validation=0.3, test=test, backend=backend)
    found = run.evaluations
    order = np.random.default_rng([0, 1]).permutation(43)
    out, kept = np.sort(order[:13]), np.sort(order[13:])
    assert found.updates == [6, 12, 18, 24]
    assert found.seconds == sorted(found.seconds)
    mu = run.network.forward(X[out])[-1]
    assert found.validation_loss[-1] == pytest.approx(0.5 * np.sum((mu - Y[out]) ** 2) / 13)
    assert found.validation_accuracy[-1] == accuracy(run.network, X[out], Y[out]) > 0.7
    assert found.test_accuracy[-1] == np.mean(run.network.forward(X[:9])[-1].argmax(1) == LABELS[:9])
    same_rows = train(NET, BP(0.02), X[kept], Y[kept], epochs=4, batch_size=5, backend=backend)
    assert same(run, same_rows)
    assert run.best is None


def test_patience_ends_a_training_that_gets_worse_and_keeps_the_best():
    wrong = (X, np.roll(Y, 1, axis=1))  # the better the training, the worse it does here
    run = train(NET, BP(0.02), X, Y, updates=400, validation=wrong, evaluate_every=3, patience=4, backend="numpy")
    losses = run.evaluations.validation_loss
    assert run.stopped_early
    assert run.updates == run.evaluations.updates[-1] < 400
    assert run.evaluations.best == int(np.argmin(losses)) == len(losses) - 5
    best = train(NET, BP(0.02), X, Y, updates=run.evaluations.updates[run.evaluations.best], backend="numpy")
    assert all(np.array_equal(a, b) for a, b in zip(run.best.weights, best.network.weights, strict=True))
    patient = train(NET, BP(0.02), X, Y, updates=60, validation=wrong, evaluate_every=3, patience=20, backend="numpy")
    assert (patient.updates, patient.stopped_early) == (60, False)


@pytest.mark.parametrize("at_once", [1, 3])
def test_seeds_side_by_side_are_the_runs_one_by_one(at_once):
    def net(seed):
        return Network.mlp([5, 8, 3], seed=seed, dtype="float64")

    settings = {"epochs": 3, "batch_size": 8, "validation": 0.2}
    runs = train_seeds(net, BP(0.02), X, Y, seeds=(4, 1, 9), at_once=at_once, **settings)
    for seed, run in zip((4, 1, 9), runs, strict=True):
        alone = train(net(seed), BP(0.02), X, Y, seed=seed, **settings)
        assert same(run, alone)
        assert run.evaluations.validation_loss == alone.evaluations.validation_loss
    assert not same(runs[0], runs[1])


def test_seeds_of_asynchronous_bp_have_several_workers():
    settings = {"updates": 6, "batch_size": 8, "workers": 2}
    runs = train_seeds(NET, AsyncBP(0.02), X, Y, seeds=(4, 1), **settings)
    for seed, run in zip((4, 1), runs, strict=True):
        assert same(run, train(NET, AsyncBP(0.02), X, Y, seed=seed, **settings))


def test_one_seed_that_fails_ends_the_others():
    def told(seed, progress):
        if seed == 2:
            raise RuntimeError("seed 2 breaks")

    with pytest.raises(RuntimeError, match="seed 2 breaks"):
        train_seeds(NET, BP(1e-9), X, Y, seeds=(1, 2), at_once=2, updates=10**7, record_every=0, on_progress=told)


def test_progress_tells_how_far_a_training_is():
    seen = []
    train(NET, BP(1e-3), X, Y, updates=300, record_every=100, backend="numpy",
          on_progress=lambda p: seen.append((p.updates, p.total, p.seconds_left, p.loss)))  # fmt: skip
    assert seen[0][0] < 10
    assert [made for made, *_ in seen] == sorted({made for made, *_ in seen})
    assert seen[-1][:3] == (300, 300, 0.0)
    assert seen[0][2] is None
    assert all(left >= 0 and loss > 0 for _, _, left, loss in seen[1:])


@pytest.mark.parametrize("every", [0, 7])
@pytest.mark.parametrize("algorithm", [BP(0.5), IPC(0.5, 0.1), PC(0.5, 0.1, T=2)], ids=lambda a: a.name)
def test_the_update_in_which_a_training_broke_is_named_alike_on_every_backend(algorithm, every):
    """All at once, though nobody records: with the same update, give or take what rounding does to an overflow."""
    net = Network(NET.weights, "identity")
    runs = [
        train(net, algorithm, X, Y, updates=10**6, record_every=every, backend=backend)
        for backend in ("numpy", "threads")
    ]
    each = train(net, algorithm, X, Y, updates=10**6, backend="numpy")
    assert each.diverged == each.recorded[-1]
    assert all(abs(run.diverged - each.diverged) <= 1 and run.updates < 10**5 for run in runs)
    assert not math.isfinite(each.energy[-1])


@pytest.mark.slow
def test_a_classifier_learns_with_everything_switched_on():
    data, held = load("fashion-mnist", samples=1500), load("fashion-mnist", split="test")
    run = train(
        Network.mlp([784, 32, 10], seed=0), IPC(2e-3, (0.5, 0.2), "adam", precision=(0.5, 1.0), value_momentum=0.5),
        data.x, data.y, epochs=4, batch_size=50, steps_per_batch=4, schedule="cosine", warmup=20, validation=0.1,
        test=(held.x, held.y), patience=3,
    )  # fmt: skip
    assert run.evaluations.test_accuracy[-1] > 0.75


WRONG = {
    "give either updates or epochs": {"updates": 3, "epochs": 1},
    "epochs must be a whole number of at least 1, not 0": {"epochs": 0},
    "validation must be a pair of tables, or a share of the 43 rows": {"updates": 3, "validation": 1.0},
    r"validation\[0\] must be a table of numbers with 5 columns": {"updates": 3, "validation": (Y, Y)},
    "test must be a pair of tables x and y": {"updates": 3, "test": X},
    r"test\[0\] has 43 rows, but test\[1\] has 42": {"updates": 3, "test": (X, Y[:42])},
    "patience needs validation": {"updates": 3, "patience": 3},
    "evaluate_every needs validation or test": {"updates": 3, "evaluate_every": 3},
    "resume and checkpoint_every need checkpoint": {"updates": 3, "resume": True},
    "schedule 'sine' is unknown": {"updates": 3, "schedule": "sine"},
    "a cosine schedule needs more updates than the 3 of its warm-up": {"updates": 3, "schedule": "cosine", "warmup": 3},
    "on_progress must be a function of a progress": {"updates": 3, "on_progress": 1},
}


@pytest.mark.parametrize("message", WRONG)
def test_one_line_says_what_does_not_fit(message):
    with pytest.raises(InputError, match=message):
        train(NET, BP(), X, Y, **WRONG[message])


def test_seeds_that_are_none_are_refused():
    for seeds in ((), (1, 1), 3, (-1,)):
        with pytest.raises(InputError):
            train_seeds(NET, BP(), X, Y, seeds=seeds, updates=1)
    with pytest.raises(InputError, match="seed is for a single run"):
        train_seeds(NET, BP(), X, Y, seeds=(1,), updates=1, seed=3)


@pytest.mark.parametrize("backend", ["numpy", "threads"])
def test_a_batch_that_is_repeated_is_the_same_batch(backend):
    """BP that dwells on each batch three times: as many updates, on a third of the batches."""
    run = train(NET, BP(0.01), X, Y, updates=12, batch_size=8, repeat=3, backend=backend)
    batches = Batches(43, 8, 0)
    net = NET
    for _ in range(4):
        rows = batches()
        net = train(net, BP(0.01), X[rows], Y[rows], updates=3, backend=backend).network
    np.testing.assert_allclose(run.network.weights[0], net.weights[0], rtol=1e-12)
    assert not same(run, train(NET, BP(0.01), X, Y, updates=12, batch_size=8, backend=backend))


def test_an_epoch_of_repeated_batches_has_all_rows():
    run = train(NET, BP(0.01), X, Y, epochs=1, batch_size=8, repeat=3, backend="numpy")
    assert run.updates == 15


def test_a_training_ends_at_the_accuracy_that_was_wanted():
    options = {"epochs": 30, "batch_size": 8, "validation": 0.2, "evaluate_every": 2, "backend": "numpy"}
    whole = train(NET, BP(0.01), X, Y, **options).evaluations
    goal = sorted(set(whole.validation_accuracy))[1]
    run = train(NET, BP(0.01), X, Y, until_accuracy=goal, **options)
    first = next(at for at, seen in zip(whole.updates, whole.validation_accuracy, strict=True) if seen >= goal)
    assert run.stopped_early and run.updates == first < whole.updates[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until_accuracy": 0.9}, "until_accuracy needs validation"),
        ({"until_accuracy": 90, "validation": 0.2}, "a share above 0 and at most 1, not 90"),
        ({"repeat": 0}, "repeat must be a whole number of at least 1"),
    ],
)
def test_goals_and_repeats_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        train(NET, BP(0.01), X, Y, updates=2, batch_size=8, **options)
