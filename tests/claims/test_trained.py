"""Claims about accuracy, calibration and energies: what their rules say of numbers, and what they measure."""

import math

import numpy as np
import pytest

from pcsim.claims import accuracies, computed, generative, measured, reliability
from pcsim.claims.accuracies import AS_PUBLISHED, PLAIN, best_test, interval, of_cnn, of_widths, reached
from pcsim.claims.claim import FAILS, HOLDS, ONLY_IF, UNRESOLVED, Work
from pcsim.claims.reliability import adaptive_error, clipped, corrupted, decided, softmax
from pcsim.results.files import read

# Accuracies


@pytest.mark.parametrize(
    ("bp", "ipc", "plain", "verdict"),
    [
        (0.885, 0.886, 0.885, HOLDS),
        (0.885, 0.886, 0.85, ONLY_IF),
        (0.885, 0.88, 0.85, FAILS),
        (0.87, 0.89, 0.89, FAILS),
        (0.885, math.nan, 0.85, FAILS),
    ],
)
def test_within_a_point_or_better(bp, ipc, plain, verdict):
    means = {"BP": bp, "PC": 0.87, "iPC": ipc, PLAIN.name: plain, AS_PUBLISHED.name: 0.84}
    found = {name: [mean - 0.001, mean, mean + 0.001] for name, mean in means.items()}
    assert reached(found, False, {"seeds": 3}).verdict == verdict
    assert reached(found, True, {"seeds": 3}).verdict == UNRESOLVED


def test_an_interval_of_seeds():
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2 and high - 2 == pytest.approx(2 - low) == pytest.approx(4.302653 / math.sqrt(3))  # Student's t, 2
    assert interval([1.0])[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("once", "dwelling", "verdict"),
    [
        ((2, 1), (1, 1), ONLY_IF),
        ((2, 1), (1, -1), ONLY_IF),
        ((2, -1), (1, 1), UNRESOLVED),
        ((2, 1), (-1, -1), ONLY_IF),
        ((-2, -1), (-1, -1), FAILS),
    ],
)
def test_every_width_has_to_be_better(once, dwelling, verdict):
    ahead = np.array([once, dwelling]).T[:, :, None] + np.array([-0.01, 0, 0.01])
    assert of_widths(ahead, "after an epoch", {"seeds": 3}).verdict == verdict


@pytest.mark.parametrize(
    ("ipc", "pc", "verdict"),
    [(0.9, 0.7, HOLDS), (0.6, 0.7, FAILS), (math.nan, 0.7, UNRESOLVED), (0.801, 0.7, UNRESOLVED)],
)
def test_a_cnn_is_better_with_ipc_or_not(ipc, pc, verdict):
    found = {name: [mean - 0.01, mean, mean + 0.01] for name, mean in {"BP": 0.8, "PC": pc, "iPC": ipc}.items()}
    found["BP"] = [0.805, 0.8, 0.795]  # else all seeds have the same difference
    assert of_cnn(found, "images, after an epoch", False, {"seeds": 3}).verdict == verdict
    assert of_cnn(found, "images, after an epoch", True, {"seeds": 3}).verdict == UNRESOLVED


def test_the_test_accuracy_is_that_of_the_best_validation():
    seen = {"validation_loss": [0.3, 0.1, None, 0.2], "test_accuracy": [0.5, 0.6, None, 0.9]}
    assert best_test({"evaluations": seen}) == 0.6
    assert math.isnan(best_test({}))


@pytest.mark.slow
def test_first_looks(tmp_path, monkeypatch):
    """Rows beside each finding; nets that several claims share are trained once."""
    monkeypatch.setattr(accuracies, "SIZES", (784, 8, 10))
    work = Work(tmp_path, quick=True)
    found = accuracies.table_1(work)
    assert found.verdict == UNRESOLVED and found.seeds == 3
    rows = read(tmp_path / found.files[0], "pcsim-curves/1").rows
    assert len(rows) == 3 * len(accuracies.LEARNERS)
    assert all(0.2 < best_test(row) < 1 for row in rows if row["learner"] == "BP")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "nets").iterdir()}
    calibrated, shifted = reliability.calibration(work), reliability.corruptions(work)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "nets").iterdir()} == before
    assert calibrated.files == shifted.files == found.files and len(shifted.table) == 2 + 25
    assert len(read(tmp_path / found.files[0], "pcsim-curves/1").rows) == len(rows)
    monkeypatch.setattr(generative, "hundred", lambda count, whole=generative.hundred: whole(4))
    for experiment in (accuracies.table_2, accuracies.converges, generative.figure_2_left):
        first = experiment(work)
        rows = read(tmp_path / first.files[0], "pcsim-curves/1").rows
        assert first.seeds == 3 and len(rows) % 3 == 0
        assert experiment(work) == first and len(read(tmp_path / first.files[0], "pcsim-curves/1").rows) == len(rows)


def test_what_converges_is_counted(monkeypatch, tmp_path):
    def shares(ipc, pc):
        def trained(work, name, groups, data):
            far = [[0.8 if number < (ipc if at % 2 == 0 else pc) else 0.5 for at in (at,)] * 3
                   for at, number in ((at, at // 2) for at in range(len(groups)))]  # fmt: skip
            return [[{"evaluations": {"test_accuracy": [value]}} for value in of] for of in far], "x.jsonl.gz"

        monkeypatch.setattr(accuracies, "trained", trained)
        return accuracies.converges(Work(tmp_path))

    held, fallen = shares(88, 26), shares(88, 60)
    assert held.verdict == HOLDS and "iPC converges in 88 to 88 of 96 settings, PC in 26 to 26" in held.sentence
    assert fallen.verdict == FAILS and held.table[-1] == ("all", 96, "88", "26")


# Calibration


def test_a_calibrated_net_has_no_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 200_000)
    right = rng.uniform(size=confidence.size) < confidence
    assert adaptive_error(confidence, right) < 0.01
    assert adaptive_error(confidence**0.5, right) > 0.1  # too sure of itself
    assert adaptive_error(np.full(10, 0.9), np.arange(10) < 9, bins=1) == pytest.approx(0)


def test_outputs_as_shares_and_as_logits():
    outputs = np.array([[1.2, -0.1, 0.3], [0.0, 0.0, 0.0]])
    for read_as in (clipped, softmax):
        found = read_as(outputs)
        assert np.allclose(found.sum(1), 1) and (found > 0).all() and (found.argmax(1) == outputs.argmax(1)).all()
    assert clipped(outputs)[0, 0] == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize("kind", reliability.KINDS)
def test_corruptions_grow_with_their_level(kind):
    x = np.random.default_rng(0).uniform(size=(3, 784)).astype(np.float32)
    assert np.array_equal(corrupted(x, kind, 0), x)
    apart = [float(np.abs(corrupted(x, kind, level) - x).mean()) for level in reliability.LEVELS]
    assert apart[0] > 0 and apart[-1] > 1.1 * apart[0]
    held = corrupted(x, kind, 5)
    assert held.shape == x.shape and held.dtype == x.dtype and held.min() >= 0 and held.max() <= 1
    assert np.array_equal(held, corrupted(x, kind, 5))


@pytest.mark.parametrize(
    ("shares", "logits", "verdict"),
    [
        ((0.1, 0.05, 0.15), (0.1, 0.05, 0.15), HOLDS),
        ((0.1, 0.05, 0.15), (-0.1, -0.15, -0.05), ONLY_IF),
        ((0.0, -0.05, 0.05), (-0.1, -0.15, -0.05), UNRESOLVED),
        ((0.0, -0.05, 0.05), (0.0, -0.05, 0.05), UNRESOLVED),
        ((0.0, -0.01, 0.01), (0.0, -0.01, 0.01), FAILS),
    ],
)
def test_every_reading_has_to_be_better(shares, logits, verdict):
    assert decided({"as shares": shares, "as logits": logits}, "", {"seeds": 3}).verdict == verdict


# Energies


@pytest.mark.parametrize(
    ("ipc", "pc", "verdict"),
    [((5, 4), (10, 9), HOLDS), ((5, 4), (10, 3), ONLY_IF), ((10, 9), (5, 4), FAILS), ((10, 3), (5, 4), UNRESOLVED)],
)
def test_energies_at_one_rate_and_at_the_best(ipc, pc, verdict):
    """Of each its energy at the shared rate and at another."""
    nets, seeds = ((1, 8, 784),), 3
    sides = {1: ipc, **dict.fromkeys(generative.INFERENCE, pc)}
    found = {
        (nets[0], T, rate): [np.array([50.0, last + 0.1 * seed]) for seed in range(seeds)]
        for T, energy in sides.items()
        for rate, last in zip((1, 4), energy, strict=True)
    }
    assert generative.decided(found, nets, (1, 4), {"seeds": 3}).verdict == verdict


# Signals, and time


def test_the_signal_decays_by_gamma_for_each_layer():
    """When the error arrives, and not for a layer further: at gamma 1 the update is BP's."""
    for gamma in (0.1, 0.5, 1.0):
        found = computed.against_bp(5, 0, gamma, range(1, 5))
        for l in range(4):
            cosine, norm = found[4 - l][l]
            assert norm == pytest.approx(gamma ** (4 - l), rel=1e-6) and cosine == pytest.approx(1)
            assert l == 0 or (math.isnan(found[4 - l][l - 1][0]) and found[4 - l][l - 1][1] == 0)


@pytest.mark.parametrize(
    ("short", "long", "verdict"),
    [((4.8, 5.2), (5.5, 5.7), HOLDS), ((4.8, 5.2), (13, 14), ONLY_IF), ((3.0, 3.2), (13, 14), FAILS)],
)
def test_pc_takes_five_to_six_times_as_long(monkeypatch, tmp_path, short, long, verdict):
    def timed(work, case, algorithm, name):
        low, high = short if algorithm.T == 8 else long
        pair = {"ratio": (low + high) / 2, "low": low, "high": high, "median": 1e-3, "other_median": 2e-4,
                "execution": "serial", "other_execution": "blas", "workers": 1, "other_workers": 2}  # fmt: skip
        return dict.fromkeys(("best-bp", "paper-style"), pair | {"processes": 8}), f"{name}.jsonl"

    monkeypatch.setattr(measured, "timed", timed)
    found = measured.pc_time(Work(tmp_path))
    assert found.verdict == verdict and found.files == ("pc-8-784-256-10.jsonl", "pc-20-784-256-10.jsonl")


def test_diverged_energies_are_infinite():
    assert generative.energies({"energy": [3.0, None]}).tolist() == [3.0, math.inf]
