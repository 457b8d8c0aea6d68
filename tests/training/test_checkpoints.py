"""A training goes on from its checkpoint with the bits of one that never stopped, and from nothing else."""

import io
import json
import zipfile

import numpy as np
import pytest

from pcsim import BP, IPC, PC, ZIL, AsyncBP, InputError, Network, train
from pcsim.training import checkpoints

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(21, 5)), RNG.normal(size=(21, 3))
NET = Network.mlp([5, 8, 6, 3], seed=3, dtype="float64", bias=True)
FULL = IPC(0.01, 0.2, "adam", value_momentum=0.5)
LATE = AsyncBP(0.01, "momentum", weights="stashed", accumulate=2, spike_compensation=True)
USUAL = {"batch_size": 4, "steps_per_batch": 3, "validation": 0.2, "schedule": "cosine", "warmup": 5}


class Killed(Exception):
    pass


def killed_at(count):
    """Ends a training by an exception at its ``count``-th word of progress."""
    words = iter(range(count))

    def told(progress):
        if next(words, None) is None:
            raise Killed

    return told


def same(one, other):
    left = [[*run.network.weights, *run.network.biases, *run.values] for run in (one, other)]
    told = [(r.updates, r.recorded, r.energy, r.loss, r.final_loss, r.evaluations.updates,
             r.evaluations.validation_loss) for r in (one, other)]  # fmt: skip
    return told[0] == told[1] and all(np.array_equal(a, b) for a, b in zip(*left, strict=True))


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (FULL, {"backend": "numpy"}),
        (FULL, {"workers": 2}),
        (PC(0.01, (0.3, 0.2), T=3, value_momentum=0.3), {"workers": 3}),
        (BP(0.01, "adam"), {"workers": 2, "execution": "intra-layer"}),
        (IPC(0.01, 0.2), {"workers": 2, "start": "pipelined", "steps_per_batch": 1}),
        (LATE, {"workers": 2, "steps_per_batch": None}),
        (LATE, {"backend": "numpy", "steps_per_batch": None}),
    ],
)
@pytest.mark.parametrize("words", [0, 4])
def test_killed_and_resumed_is_never_stopped(tmp_path, algorithm, options, words):
    settings = {"updates": 31, "record_every": 4, "evaluate_every": 5, **USUAL, **options}
    whole = train(NET, algorithm, X, Y, **settings)
    file = tmp_path / "c.npz"
    settings |= {"checkpoint": file, "checkpoint_every": 7}
    with pytest.raises(Killed):
        train(NET, algorithm, X, Y, on_progress=killed_at(words + 8), **settings)
    assert file.exists()
    resumed = train(NET, algorithm, X, Y, resume=True, **settings)
    assert same(whole, resumed)
    # Of a training that has ended, nothing is left to do.
    assert same(whole, train(NET, algorithm, X, Y, resume=True, on_progress=killed_at(0), **settings))
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


@pytest.mark.parametrize("lost", ["velocity", "mean", "batches", "step", "values"])
def test_whatever_is_lost_shows(tmp_path, lost):
    """The twins: each part of the state counts."""
    settings = {"record_every": 0, **USUAL, "schedule": "constant", "backend": "numpy"}
    file = tmp_path / "c.npz"
    train(NET, FULL, X, Y, updates=7, checkpoint=file, checkpoint_every=7, **settings)
    whole = train(NET, FULL, X, Y, updates=20, **settings)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = json.loads(parts["checkpoint.json"])
    state = sheet["parts"]["state"]
    if "value" in state[lost]:
        state[lost]["value"] = 0
    else:
        for name in [name for name in parts if name.startswith(f"state-{lost}-")]:
            array = np.load(io.BytesIO(parts[name]))
            np.save(out := io.BytesIO(), 0 * array)
            parts[name] = out.getvalue()
    parts["checkpoint.json"] = json.dumps(sheet)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    spoilt = train(NET, FULL, X, Y, updates=20, checkpoint=file, resume=True, **settings)
    assert not same(whole, spoilt)


def test_a_longer_training_goes_on_from_a_shorter_one(tmp_path):
    file = tmp_path / "c.npz"
    for updates in (5, 12):
        run = train(NET, BP(0.01), X, Y, updates=updates, batch_size=4, checkpoint=file, resume=True)
    assert same(run, train(NET, BP(0.01), X, Y, updates=12, batch_size=4))


def test_other_workers_and_backends_go_on(tmp_path):
    file = tmp_path / "c.npz"
    settings = {**USUAL, "schedule": "constant", "checkpoint": file, "resume": True}
    train(NET, FULL, X, Y, updates=10, workers=3, **settings)
    run = train(NET, FULL, X, Y, updates=25, workers=2, **settings)
    alone = train(NET, FULL, X, Y, updates=25, **{**USUAL, "schedule": "constant"})
    assert all(np.array_equal(a, b) for a, b in zip(run.network.weights, alone.network.weights, strict=True))
    oracle = train(NET, FULL, X, Y, updates=30, backend="numpy", **settings)
    assert oracle.updates == 30


def net(sizes=NET.sizes, seed=3, dtype="float64"):
    return Network.mlp(sizes, seed=seed, dtype=dtype, bias=True)


OTHERS = {
    "alpha is 0.01 there, 0.02 here$": lambda: train(NET, BP(0.02), X, Y, **ONE),
    'name is "bp" there, "zil" here$': lambda: train(NET, ZIL(0.01), X, Y, **ONE),
    'optimizer is "sgd" there, "adam" here; batch_size is 4 there, 5 here$': lambda: train(
        NET, BP(0.01, "adam"), X, Y, **{**ONE, "batch_size": 5}
    ),
    "repeat is 1 there, 2 here$": lambda: train(NET, BP(0.01), X, Y, **ONE, repeat=2),
    "record_every is 1 there, 3 here$": lambda: train(NET, BP(0.01), X, Y, **ONE, record_every=3),
    "sizes is": lambda: train(net([5, 3, 3]), BP(0.01), X, Y, **ONE),
    "batch_size is 4 there, 5 here": lambda: train(NET, BP(0.01), X, Y, **{**ONE, "batch_size": 5}),
    "seed is 0 there, 1 here": lambda: train(NET, BP(0.01), X, Y, **ONE, seed=1),
    "the data are others$": lambda: train(NET, BP(0.01), 2 * X, Y, **ONE),
    "the weights before the first update are others$": lambda: train(net(seed=4), BP(0.01), X, Y, **ONE),
    'dtype is "float64" there, "float32" here$': lambda: train(net(dtype="float32"), BP(0.01), X, Y, **ONE),
    'schedule kind is "constant" there, "cosine" here': lambda: train(NET, BP(0.01), X, Y, **ONE, schedule="cosine"),
}
ONE = {"updates": 9, "batch_size": 4, "resume": True}


@pytest.mark.parametrize("message", OTHERS)
def test_the_checkpoint_of_another_training_is_refused(tmp_path, message, monkeypatch):
    file = tmp_path / "c.npz"
    monkeypatch.setitem(ONE, "checkpoint", file)
    train(NET, BP(0.01), X, Y, **ONE)
    before = file.read_bytes()
    with pytest.raises(InputError, match=f"c.npz is the checkpoint of another training: {message}"):
        OTHERS[message]()
    assert file.read_bytes() == before
    with pytest.raises(InputError, match="is there already: resume the training in it, or remove it"):
        train(NET, BP(0.01), X, Y, **{**ONE, "resume": False})


def test_what_is_left_out_where_it_is_as_usual_has_a_meaning(tmp_path):
    options = {"updates": 4, "batch_size": 4, "checkpoint": tmp_path / "c.npz", "resume": True}
    train(NET, BP(0.01), X, Y, **options, repeat=2)
    with pytest.raises(InputError, match=r"another training: repeat is 2 there, 1 here$"):
        train(NET, BP(0.01), X, Y, **options)


def test_damage_is_one_line(tmp_path, monkeypatch):
    file = tmp_path / "c.npz"
    monkeypatch.setitem(ONE, "checkpoint", file)
    train(NET, BP(0.01), X, Y, **ONE)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [0, 1, 30, len(whole) // 2, len(whole) - 1, *rng.integers(0, len(whole), 20)]:
        file.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="is not a whole checkpoint: ") as caught:
            train(NET, BP(0.01), X, Y, **ONE)
        assert "\n" not in str(caught.value)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("checkpoint.json", "{}")
    with pytest.raises(InputError, match="it is compressed"):
        train(NET, BP(0.01), X, Y, **ONE)


def test_a_pickle_is_never_opened(tmp_path, monkeypatch):
    file = tmp_path / "c.npz"
    monkeypatch.setitem(ONE, "checkpoint", file)
    train(NET, BP(0.01), X, Y, **ONE)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    np.save(out := io.BytesIO(), np.array([{}], object), allow_pickle=True)
    parts["state-weights-00000.npy"] = out.getvalue()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        train(NET, BP(0.01), X, Y, **ONE)


def test_where_nothing_can_be_written_nothing_is_lost(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        train(NET, BP(0.01), X, Y, updates=3, checkpoint=tmp_path / "no such folder" / "c.npz")
    assert checkpoints.load(tmp_path / "none.npz") is None
