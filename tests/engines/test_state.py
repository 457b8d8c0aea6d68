"""A training that goes on from a state has the bits of one that never stopped, on whatever engine."""

import numpy as np
import pytest

from pcsim import BP, IPC, PC, ZIL, InputError, Network
from pcsim.engines import compiled
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.threads import ThreadsEngine
from pcsim.training.batches import Batches

CASES = {
    "ipc": (IPC(1e-2, 0.2), {}),
    "ipc adam, batches": (IPC(1e-2, 0.2, optimizer="adam"), {"steps_per_batch": 5}),
    "pc adam, batches": (PC(1e-2, 0.2, T=3, optimizer="adam"), {}),
    "ipc muon, batches": (IPC(1e-2, 0.2, optimizer="muon"), {"steps_per_batch": 5}),
    "zil": (ZIL(1e-2), {}),
    "bp": (BP(1e-2), {}),
    "bp adam, rows": (BP(1e-2, optimizer="adam"), {"execution": "intra-layer", "workers": 2}),
    "bp adam, samples": (BP(1e-2, optimizer="adam"), {"execution": "data-parallel", "workers": 2}),
    "bp nesterov, rows": (BP(1e-2, "nesterov", momentum=0.8), {"execution": "intra-layer", "workers": 2}),
    "zil adamw, batches": (ZIL(1e-2, "adamw", momentum=0.8, weight_decay=0.1), {"workers": 2}),
    "bp, pipeline": (BP(1e-2), {"execution": "pipeline", "workers": 3}),
}


def made(kind, name, **options):
    """A fresh engine of a case: 5 layers with biases, 11 samples."""
    algorithm, more = CASES[name]
    net = Network.mlp([5, 9, 9, 7, 9, 4], seed=2, dtype="float64", bias=True)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(11, 5)), rng.normal(size=(11, 4))
    rows = Batches(11, 4 if "batches" in name else 11, seed=5)
    if kind is NumpyEngine:
        more = {key: value for key, value in more.items() if key == "steps_per_batch"}
    return kind(net, algorithm, x, y, rows, **{**more, **options})


def left(engine):
    net = engine.network
    return [*net.weights, *net.biases, *engine.values]


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(left(a), left(b), strict=True))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [NumpyEngine, ThreadsEngine])
def test_what_goes_on_from_a_state_has_the_bits_of_what_never_stopped(kind, name):
    whole, first, second = (made(kind, name) for _ in range(3))
    whole.run(3)
    whole.run(8)
    first.run(3)
    second.restore(first.state())
    assert same(first, second)
    second.run(8)
    assert same(whole, second)
    # The twin: a state whose position in the data, or in the cycle, or whose moments were lost.
    spoilt = {"batches": 0} if "batches" in name else {"weights": [w + 1e-9 for w in first.state()["weights"]]}
    third = made(kind, name)
    third.restore({**first.state(), **spoilt})
    third.run(8)
    assert not same(whole, third)


@pytest.mark.parametrize("name", ["ipc", "ipc adam, batches", "ipc muon, batches", "pc adam, batches", "zil"])
def test_another_number_of_workers_goes_on(name):
    first, second, whole = (
        made(ThreadsEngine, name, workers=3),
        made(ThreadsEngine, name, workers=2),
        made(ThreadsEngine, name),
    )
    first.run(3)
    second.restore(first.state())
    second.run(8)
    whole.run(11)
    assert same(whole, second)


@pytest.mark.parametrize("name", CASES)
def test_another_engine_goes_on(name):
    one, other, whole = made(NumpyEngine, name), made(ThreadsEngine, name), made(NumpyEngine, name)
    one.run(3)
    other.restore(one.state())
    other.run(8)
    whole.run(11)
    for mine, its in zip(left(other), left(whole), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-11)
    back = made(NumpyEngine, name)
    back.restore(other.state())
    for mine, its in zip(left(back)[:10], left(other)[:10], strict=True):
        assert np.array_equal(mine, its)


def test_a_state_is_a_copy():
    engine = made(ThreadsEngine, "ipc")
    state = engine.state()
    before = [w.copy() for w in state["weights"]]
    engine.run(3)
    assert all(np.array_equal(a, b) for a, b in zip(before, state["weights"], strict=True))


@pytest.mark.parametrize("name", ["ipc adam, batches", "pc adam, batches"])
def test_batches_made_in_portions_have_the_same_bits(name, monkeypatch):
    whole = made(ThreadsEngine, name, workers=2)
    whole.run(23, trace=True)
    monkeypatch.setattr(compiled, "MOST_ROWS", 8)
    portions = made(ThreadsEngine, name, workers=2)
    portions.run(23, trace=True)
    assert same(whole, portions)
    assert len(portions.timeline.events) == len(whole.timeline.events)
    assert [e.step for e in portions.timeline.events][-1] == [e.step for e in whole.timeline.events][-1]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [NumpyEngine, ThreadsEngine])
def test_a_state_from_before_the_first_run_is_one(kind, name):
    whole, other = made(NumpyEngine, name), made(kind, name)
    other.restore(made(NumpyEngine, name).state())
    whole.run(2)
    other.run(2)
    for mine, its in zip(left(other), left(whole), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-12)


def cut(arrays):
    return [arrays[0][:1], *arrays[1:]]


UNFIT = {
    "no dict": (lambda state: None, "a state must be a dict with the fields weights, "),
    "a field is missing": (
        lambda state: {k: v for k, v in state.items() if k != "step"},
        "a state must be a dict with",
    ),
    "a layer's shape": (
        lambda state: {"weights": cut(state["weights"])},
        "weights[0] of the state has shape (1, 5); exp",
    ),
    "fewer layers": (lambda state: {"weights": state["weights"][1:]}, "weights of the state has 4 arrays; expected 5"),
    "no list": (lambda state: {"weights": 3}, "weights of a state must be a list of arrays, not int"),
    "complex": (
        lambda state: {"weights": [w + 0j for w in state["weights"]]},
        "weights[0] of a state must be an array",
    ),
    "no biases": (lambda state: {"biases": None}, "the state and the engine's net differ in whether there are biases"),
    "a bias": (lambda state: {"biases": cut(state["biases"])}, "biases[0] of the state has shape (1,); expected (9,)"),
    "a value": (lambda state: {"values": state["values"][:2]}, "values of the state has 2 arrays; expected 6"),
    "no moments": (lambda state: {"mean": []}, "mean of the state has 0 arrays; expected 10"),
    "a moment": (lambda state: {"square": cut(state["square"])}, "square[0] of the state has shape (1, 5); expected"),
    "half a step": (
        lambda state: {"step": 1.5},
        "step of a state must be a whole number from 0 to 1,000,000,000,000,000, not 1.5",
    ),
    "steps beyond all": (
        lambda state: {"updates": 10**30},
        "updates of a state must be a whole number from 0 to 1,000,000",
    ),
    "a late step": (lambda state: {"step": 99}, "step 99 of the state is beyond the 5 steps of a batch"),
    "updates": (
        lambda state: {"updates": -5},
        "updates of a state must be a whole number from 0 to 1,000,000,000,000,000, not -5",
    ),
    "batches": (
        lambda state: {"batches": "2"},
        "batches of a state must be a whole number from 0 to 1,000,000,000,000,000, not '2'",
    ),
    "given": (lambda state: {"given": "x"}, "given of a state must be True or False, not 'x'"),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("kind", [NumpyEngine, ThreadsEngine])
def test_a_state_that_does_not_fit_changes_nothing(kind, case):
    spoil, words = UNFIT[case]
    first, second, untouched = (made(kind, "ipc adam, batches") for _ in range(3))
    first.run(3)
    state = first.state()
    changed = spoil(state)
    if changed and len(changed) == 1:
        changed = {**state, **changed}
    with pytest.raises(InputError) as refusal:
        second.restore(changed)
    assert str(refusal.value).startswith(words)
    second.run(2)
    untouched.run(2)
    assert same(second, untouched)


@pytest.mark.parametrize("kind", [NumpyEngine, ThreadsEngine])
def test_batches_cannot_be_taken_back(kind):
    engine = made(kind, "ipc")
    engine.run(1)
    with pytest.raises(InputError, match="restore needs a fresh engine"):
        engine.restore(engine.state())
    with pytest.raises(InputError, match="updates must be a whole number of at least 1, not 0"):
        engine.run(0)
