"""Images flipped and cropped as batches are copied: the bits of the oracle, for any number of workers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import BP, IPC, PC, InputError, Network, conv, train
from pcsim.engines.loops.arguments import Images
from pcsim.engines.loops.steps import load_rows
from pcsim.net.augment import PADDING, Augment, augment_of, parts
from pcsim.net.convolution import Image
from pcsim.training.batches import Batches

few = settings(max_examples=40, deadline=None, derandomize=True)
SIDE = 2 * PADDING + 1
SAME = 2 * (PADDING * SIDE + PADDING)

images = st.builds(Image, st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))


def coded(rows, changes):
    return np.asarray(rows) | np.asarray(changes, np.int64) << 40


def taken(x, image, changes):
    return Augment(image, 0, True, True).taken(x, coded(np.arange(len(x)), changes))


def rows_of(image, count=5):
    return np.arange(1.0, count * image.units + 1).reshape(count, -1)


# --- what is drawn ---


def test_each_epoch_and_seed_changes_images_anew_and_a_row_alone_says_how():
    augment, rows = Augment(Image(8, 8, 3), 3, True, True), np.arange(1000)
    plain, changes = parts(augment.coded(rows, 0, 1000))
    assert np.array_equal(plain, rows)
    assert np.array_equal(augment.coded(rows[::-7], 0, 1000), augment.coded(rows, 0, 1000)[::-7])  # of any order
    other = Augment(Image(8, 8, 3), 4, True, True)
    for more in (augment.coded(rows, 1, 1000), other.coded(rows, 0, 1000)):
        assert (parts(more)[1] != changes).mean() > 0.9
    many = parts(augment.coded(np.arange(100_000), 0, 100_000))[1]
    for kind, number in ((many % 2, 2), (many // 2 % SIDE, SIDE), (many // 2 // SIDE, SIDE)):
        np.testing.assert_allclose(np.bincount(kind, minlength=number) / 100_000, 1 / number, atol=0.01)


@pytest.mark.parametrize(
    ("flip", "crop", "changes"), [(True, False, {SAME, SAME + 1}), (False, True, set(range(0, 2 * SIDE**2, 2)))]
)
def test_only_what_is_asked_for(flip, crop, changes):
    found = parts(Augment(Image(8, 8, 3), 0, flip, crop).coded(np.arange(3000), 0, 3000))[1]
    assert set(found.tolist()) == changes


def test_batches_of_an_epoch_and_repeated_ones_have_its_changes():
    augment = Augment(Image(2, 2, 1), 5, True, True)
    plain, changed = Batches(10, 3, 5, 2), Batches(10, 3, 5, 2, augment)
    for batch in range(24):
        rows = plain()
        assert np.array_equal(changed(), augment.coded(rows, batch // 6, 10))
    full = Batches(4, 4, 0, 1, augment)
    assert not np.array_equal(full(), full())


# --- what becomes of an image ---


@few
@given(images)
def test_no_shift_is_the_image_and_twice_turned_too(image):
    x = rows_of(image)
    np.testing.assert_array_equal(taken(x, image, [SAME] * 5), x)
    turned = taken(x, image, [SAME + 1] * 5)
    np.testing.assert_array_equal(turned.reshape(5, *image), x.reshape(5, *image)[:, :, ::-1])
    np.testing.assert_array_equal(taken(turned, image, [SAME + 1] * 5), x)


@few
@given(images, st.lists(st.integers(0, 2 * SIDE**2 - 1), min_size=5, max_size=5))
def test_each_pixel_is_where_the_shift_says(image, changes):
    x = rows_of(image)
    found, whole = taken(x, image, changes).reshape(5, *image), x.reshape(5, *image)
    for i, change in enumerate(changes):
        down, right = change // 2 // SIDE - PADDING, change // 2 % SIDE - PADDING
        for row, column in np.ndindex(image[:2]):
            across = image.width - 1 - column if change % 2 else column
            inside = 0 <= row + down < image.height and 0 <= across + right < image.width
            expected = whole[i, row + down, across + right] if inside else 0
            assert (found[i, row, column] == expected).all()


@few
@given(images, st.lists(st.integers(0, 2 * SIDE**2 - 1), min_size=5, max_size=5), st.sampled_from(["f4", "f8"]))
def test_workers_copy_what_the_oracle_does(image, changes, dtype):
    x = np.random.default_rng(0).normal(size=(5, image.units)).astype(dtype)
    rows, wide = np.array([[4, 1, 1, 0, 3]]), image.units + 3
    given = Images(x, np.array([changes]), *(np.int64(side) for side in (*image, PADDING)))
    out = np.full(5 * wide, 7, dtype)
    copied = np.asarray(_load(given, rows, wide, out)).reshape(5, wide)
    expected = Augment(image, 0, True, True).taken(x, coded(rows[0], changes))
    np.testing.assert_array_equal(copied[:, : image.units], expected)
    assert (copied[:, image.units :] == 7).all()
    other = [change ^ 1 for change in changes]  # the twin
    turned = Augment(image, 0, True, True).taken(x, coded(rows[0], other))
    assert image.width == 1 or not np.array_equal(turned, expected) or not expected.any()


def _load(data, rows, wide, out):
    from pcsim.kernels.machine.compiling import njit
    from pcsim.kernels.machine.simd import pointer

    global _compiled
    if _compiled is None:

        @njit()
        def load(data, rows, wide, out):
            load_rows(data, rows, 0, 0, rows.shape[1], wide, pointer(out), 0)

        _compiled = load
    _compiled(data, rows, wide, out)
    return out


_compiled = None


# --- trainings ---

NET = Network.cnn((6, 5, 2), [conv(3, 3, padding=1), conv(4, 3, pool="max"), 6, 3], seed=1, dtype="f8")
RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(13, 60)), RNG.normal(size=(13, 3))
BOTH = {"batch_size": 4, "augment": ["flip", "crop"], "seed": 3}
CASES = {
    "iPC": (IPC(0.01, 0.2), {"steps_per_batch": 3}),
    "iPC, pipelined": (IPC(0.01, 0.2), {"steps_per_batch": 2, "start": "pipelined"}),
    "iPC, samples": (IPC(0.01, 0.2), {"steps_per_batch": 3, "execution": "data-parallel"}),
    "PC": (PC(0.02, 0.3, T=4), {}),
    "BP": (BP(0.05), {}),
    "BP, pipeline": (BP(0.05), {"execution": "pipeline"}),
    "BP, samples": (BP(0.05), {"execution": "data-parallel"}),
    "BP, repeated": (BP(0.05), {"repeat": 2}),
    "BP, full batch": (BP(0.05), {"batch_size": None}),
}


def weights_of(algorithm, updates=14, net=NET, **options):
    found = train(net, algorithm, X, Y, updates=updates, **BOTH | options)
    return np.concatenate([w.ravel() for w in found.network.weights])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_threads_train_as_the_oracle_does(case):
    algorithm, options = CASES[case]
    plain = {name: value for name, value in options.items() if name != "execution"}
    oracle = weights_of(algorithm, backend="numpy", **plain)
    one = weights_of(algorithm, **options)
    np.testing.assert_allclose(one, oracle, rtol=0, atol=1e-12)
    for workers in (2, 3):
        if workers > 1 and not (algorithm.name == "bp" and "execution" not in options):
            several = weights_of(algorithm, workers=workers, **options)
            if "samples" in case:
                np.testing.assert_allclose(several, oracle, rtol=0, atol=1e-12)
            else:
                assert np.array_equal(several, one)
    for change in ({"augment": None}, {"augment": "flip"}, {"seed": 4}):  # the twins
        assert abs(weights_of(algorithm, backend="numpy", **plain, **change) - oracle).max() > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threads", "numpy"])
@pytest.mark.parametrize("case", ["iPC", "iPC, pipelined", "BP, repeated", "BP, full batch"])
def test_a_training_that_goes_on_has_the_same_bits(tmp_path, case, backend):
    algorithm, options = CASES[case]
    options = options | {"backend": backend, "checkpoint": tmp_path / "a.npz", "resume": True}
    weights_of(algorithm, updates=5, **options)
    whole = {name: value for name, value in options.items() if name not in ("checkpoint", "resume")}
    assert np.array_equal(weights_of(algorithm, **options), weights_of(algorithm, **whole))
    with pytest.raises(InputError, match=r'another training: augment is \["flip", "crop"\] there, \["crop"\] here$'):
        weights_of(algorithm, **options | {"augment": ["crop"]})
    with pytest.raises(InputError, match=r'another training: augment is \["flip", "crop"\] there, none here$'):
        weights_of(algorithm, **options | {"augment": None})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"augment": "turn"}, "augment must be one or several of flip, crop, not 'turn'"),
        ({"augment": []}, "augment must be one or several of flip, crop, not "),
        ({"augment": ["flip", 3]}, "augment must be one or several of flip, crop, not "),
        ({"augment": True}, "augment must be one or several of flip, crop, not True"),
        ({"net": Network.mlp([60, 4, 3])}, "augment needs images: a net whose first layer is a convolution"),
        ({"algorithm": IPC(), "batch_size": None}, "augment needs batches that change: iPC stays on one without steps"),
    ],
)
@pytest.mark.parametrize("backend", ["threads", "numpy"])
def test_what_cannot_be_changed_is_one_line(given, said, backend):
    with pytest.raises(InputError) as caught:
        weights_of(**{"algorithm": BP(), "backend": backend} | given)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1


def test_names_in_any_order_are_the_same():
    forms = NET.forms
    assert augment_of(("crop", "flip"), forms, 2) == augment_of(["flip", "crop", "flip"], forms, 2)
    assert augment_of("crop", forms).names == ["crop"]
    assert augment_of(None, ()) is None
