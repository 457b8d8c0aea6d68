"""Whatever takes arrays, numbers and names for nets and trainings: what it takes, refuses and copies."""

import re
import warnings
from collections import UserList, deque

import numpy as np
import pytest
from nets import refusal

from pcsim import BP, IPC, PC, ZIL, InputError, Network, train
from pcsim.net.lazy import LazyArrays

A = np.array([[0.25, -1 / 3], [1.5, 1e-3]])  # of float64, and not all of it in float32
WIDE = Network.mlp([2, 2], dtype="f8")


def run(x=A, y=A, values=None, net=WIDE, algorithm=None, **options):
    options = {"updates": 2, "backend": "numpy", **options}
    return train(net, algorithm or IPC(0.1, 0.2), x, y, values=values, **options)


def made(net):
    return [*net.weights, *(net.biases or [])]


# Where arrays are taken: the name in messages, what takes a (2, 2) array, and what comes of it.
PLACES = {
    "weights[0]": lambda a: made(Network([a])),
    "weights[1]": lambda a: made(Network([np.eye(2), a])),
    "biases[0]": lambda a: made(Network([np.eye(2)], biases=[a[0]])),
    "weights[0] replaced": lambda a: made(WIDE.replace([a], None)),
    "biases[0] replaced": lambda a: made(WIDE.replace([np.eye(2)], [a[0]])),
    "x": lambda a: WIDE.forward(a),
    "x of train": lambda a: made(run(x=a).network),
    "y": lambda a: made(run(y=a).network),
    "values[0]": lambda a: made(run(values=[a, A]).network),
    "values[1]": lambda a: made(run(values=[A, a]).network),
}
everywhere = pytest.mark.parametrize("place", PLACES)


def bits(arrays):
    return [(array.dtype, array.tobytes()) for array in arrays]


@everywhere
@pytest.mark.parametrize("order", ["<", ">", "="])
def test_the_order_of_bytes_changes_nothing(place, order):
    found = PLACES[place](A.astype(A.dtype.newbyteorder(order)))
    assert bits(found) == bits(PLACES[place](A))
    assert all(array.dtype.isnative and array.dtype == np.float64 for array in found)


@pytest.mark.parametrize("dtype", [">f8", "<f8", "f8", np.dtype(">f4"), "<f4", "float32"])
def test_nor_does_that_of_a_dtype(dtype):
    native = np.dtype(dtype).newbyteorder("=")
    assert bits(Network.mlp([3, 2], dtype=dtype, bias=True).weights) == bits(Network.mlp([3, 2], dtype=native).weights)
    lazy = Network.of_layers([2, 2], dtype, lambda l: A.astype(dtype))
    assert (lazy.dtype, lazy.weights[0].dtype) == (native, native)
    assert np.array_equal(lazy.weights[0], A.astype(native))
    kept = LazyArrays([(2, 2)], dtype, lambda l: A.astype(dtype))
    assert bits(Network(kept).weights) == bits([A.astype(native)])


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [BP(0.1), PC(0.1), ZIL(0.1), IPC(0.1)], ids=lambda a: a.name)
def test_another_order_of_bytes_trains_on_threads(algorithm):
    net = Network.mlp([2, 3, 2])
    swapped = net.replace([w.astype(">f4") for w in net.weights], None)
    one, other = (train(n, algorithm, A, A, updates=3) for n in (net, swapped))
    assert bits(one.network.weights) == bits(other.network.weights)


@pytest.mark.parametrize(
    ("weights", "biases", "said"),
    [
        ([A, np.eye(2, dtype="f4")], None, r"weights\[0\] is rounded to float32"),
        ([np.eye(2, dtype="f4"), A], None, r"weights\[1\] is rounded to float32"),
        ([np.eye(2, dtype="f4")], [A[0]], r"biases\[0\] is rounded to float32"),
        ([np.array([[2**24 + 1, 0], [0, 1]])], None, r"weights\[0\] is rounded to float32"),
        ([A.astype(np.longdouble) / 3], None, r"weights\[0\] is rounded to float64$"),
    ],
)
def test_what_has_to_be_rounded_is_said(weights, biases, said):
    if np.finfo(np.longdouble).nmant == 52 and weights[0].dtype == np.longdouble:
        pytest.skip("here a long double is a double")
    with pytest.warns(UserWarning, match=said):
        Network(weights, biases=biases)
    net = Network([np.eye(2, dtype=w.dtype) for w in weights])
    with pytest.warns(UserWarning, match=said):
        net.replace(weights, biases)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i8", "u1", "?", ">f2", ">i4", object])
def test_what_is_not_rounded_is_not_warned_of(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = Network([np.eye(2).astype(kind), np.eye(2, dtype="f4")], biases=[np.ones(2), np.zeros(2, kind)])
    assert np.array_equal(net.weights[0], np.eye(2))


# Masks


class Giving:
    """As a library's own type, which gives NumPy a masked array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, *_, **__):
        return self.array


@everywhere
def test_hidden_numbers_are_refused(place):
    name = place.split()[0]
    masked = np.ma.masked_greater(A, 1)
    hidden = [masked, np.ma.masked_all((2, 2)), [masked[0], masked[1]], [list(masked[0]), list(masked[1])]]
    for given in hidden[: 2 if "biases" in place else 4]:
        if "biases" in place:
            given = given[::-1]  # its first row is used
        assert refusal(lambda given=given: PLACES[place](given)) == (
            f"{name} is a masked array: fill or leave out what is masked"
        )
    if "biases" not in place:
        for given in (Giving(masked), UserList(masked), deque(masked), [UserList(masked[1]), [1, 2]]):
            with pytest.raises(InputError, match=f"^{re.escape(name)} is a masked array"):
                PLACES[place](given)
    shown = np.ma.masked_greater(A, 100)
    assert bits(PLACES[place](shown)) == bits(PLACES[place](A))  # nothing is hidden


# What is no number


class Refusing:
    """As a parameter of torch: NumPy cannot have it."""

    shape, ndim = (2, 2), 2

    def __getitem__(self, index):
        return self

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.\nUse detach() instead.")


def filled(value, kind=object):
    array = A.astype(kind)
    array[0, 0] = value
    return array


@everywhere
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (A.astype(str), "holds text: give real numbers"),
        (A.astype(bytes), "holds bytes: give real numbers"),
        (A * 1j, "holds complex numbers: give real numbers"),
        (A.astype("M8[s]"), "holds dates: give real numbers"),
        (filled(None), "holds Python objects: give real numbers, not None"),
        (filled("1.5"), "holds Python objects: give real numbers, not '1.5'"),
        (filled(1j), "holds Python objects: give real numbers, not 1j"),
        (A.view("V8"), "is of dtype "),
        (
            Refusing(),
            "is not an array of numbers: Can't call numpy() on Tensor that requires grad. Use detach() instead.",
        ),
    ],
    ids=lambda given: "" if isinstance(given, str) else type(given).__name__,
)
def test_what_is_no_number_is_named(place, given, words):
    assert refusal(lambda: PLACES[place](given)).startswith(f"{place.split()[0]} {words}")


@pytest.mark.parametrize("place", [place for place in PLACES if place != "x" and "replaced" not in place])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (filled(np.nan, "f8"), "holds NaN or infinity: clean the data first"),
        (filled(np.inf, "f8"), "holds NaN or infinity: clean the data first"),
        (filled(-np.inf), "holds NaN or infinity: clean the data first"),
    ],
)
def test_what_is_not_finite_is_refused(place, given, words):
    assert refusal(lambda: PLACES[place](given)) == f"{place.split()[0]} {words}"


def test_what_is_too_large_is_told_from_infinity():
    net, large = Network.mlp([2, 2]), filled(1e300, "f8")
    for name, call in {
        "x": lambda: run(x=large, net=net),
        "y": lambda: run(y=large, net=net),
        "values[1]": lambda: run(values=[A, large], net=net),
        "weights[0]": lambda: Network([large, np.eye(2, dtype="f4")]),
        "biases[0]": lambda: Network([np.eye(2, dtype="f4")], biases=[large[0]]),
    }.items():
        assert refusal(call) == f"{name} holds a number too large for float32"


@everywhere
def test_tables_with_columns_of_several_types_are_numbers(place):
    pandas = pytest.importorskip("pandas")
    whole = np.array([[1.0, 0.0], [0.0, 1.0]])
    expected = bits(PLACES[place](whole))
    frames = [
        pandas.DataFrame({"a": [1.0, 0.0], "b": [False, True]}),
        pandas.DataFrame({"a": [1, 0], "b": [0, 1]}, dtype="Int64"),
        pandas.DataFrame({"a": [True, False], "b": [False, True]}, dtype="boolean"),
    ]
    for frame in frames if "biases" not in place else [frame.iloc for frame in frames]:  # of these a row is taken
        assert bits(PLACES[place](frame)) == expected
    if "biases" not in place:
        missing = pandas.DataFrame({"a": [1, None], "b": [0, 1]}, dtype="Int64")
        assert refusal(lambda: PLACES[place](missing)).endswith("holds Python objects: give real numbers, not <NA>")


# Copies


@everywhere
def test_arrays_are_copied_both_ways(place):
    kinds = ["weights", "biases"] if "replaced" in place or "[" in place else []
    for order in ("C", "F"):
        given = np.array(A, order=order)
        found = PLACES[place](given)
        before = bits(found)
        given[...] = np.nan
        assert bits(found) == before or (place == "x" and not kinds)
        given = np.array(A, order=order)
        for array in PLACES[place](given):
            if place != "x":  # a forward pass begins with the values that it is given
                array[...] = np.nan
        assert np.array_equal(given, A)


def test_lists_are_copied_too():
    lists = {"weights": [A.copy(), A.copy()], "activation": ["relu"], "biases": [A[0], A[1]]}
    lists |= {"scale": [1, 2], "skip": [0, 1]}
    net = Network(**lists)
    for given in lists.values():
        given.clear()
    assert (net.depth, len(net.biases), net.activations, list(net.scale)) == (2, 2, ("identity", "relu"), [1, 2])
    weights, biases = [A.copy()], [A[0]]
    other = WIDE.replace(weights, biases)
    weights.clear()
    biases.clear()
    assert (len(other.weights), len(other.biases)) == (1, 1)


# Numbers


def numbers_of(value):
    """A number as NumPy's scalars of several types, and as arrays without dimensions."""
    kinds = [np.float16, np.float32, np.float64, np.longdouble] if isinstance(value, float) else [np.int8, np.int64]
    kinds += [] if isinstance(value, float) else [np.uint8]
    return [made for kind in kinds for made in (kind(value), np.array(kind(value)))]


NET = Network.mlp([2, 3, 2])
X = np.eye(2)
BATCH = {"batch_size": 1, "steps_per_batch": 2, "record_every": 1, "updates": 3, "seed": 1}
NUMBERS = {
    **{
        name: lambda value, name=name: train(NET, IPC(), X, X, **{**BATCH, name: value}, backend="numpy").loss
        for name in BATCH
    },
    "until_loss": lambda value: train(NET, IPC(), X, X, updates=5, backend="numpy", until_loss=value).recorded,
    "workers": lambda value: train(NET, IPC(), X, X, updates=1, backend="numpy", workers=value).loss,
    "alpha": lambda value: IPC(alpha=value),
    "gamma": lambda value: IPC(gamma=value),
    "precision": lambda value: PC(precision=value),
    "alpha of BP": lambda value: BP(value),
    "T": lambda value: PC(T=value),
    "depth of tasks": lambda value: IPC().tasks(depth=value).smm,
    "updates of tasks": lambda value: int(IPC().tasks(2, value).steps[-1]),
    "steps_per_batch of tasks": lambda value: IPC().tasks(2, 2, value).mm,
    "sizes": lambda value: Network.mlp([value, value]),
    "sizes of layers": lambda value: Network.of_layers([value, value], "f4", lambda l: np.ones((value, value))).sizes,
    "seed of a net": lambda value: Network.mlp([2, 2], seed=value),
    "scale": lambda value: Network.mlp([2, 2], scale=[value]),
}
RATES = ("until_loss", "alpha", "gamma", "precision", "alpha of BP", "scale")


@pytest.mark.parametrize("argument", NUMBERS)
def test_numpys_scalars_and_arrays_without_dimensions_are_numbers(argument):
    value = 0.5 if argument in RATES else 1
    expected = NUMBERS[argument](value)
    for number in [value, *numbers_of(value)]:
        found = NUMBERS[argument](number)
        assert found == expected
        assert repr(found) == repr(expected)  # Python's own numbers come of them


@pytest.mark.parametrize("argument", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [
        "1",
        None,
        1j,
        np.complex64(1),
        np.str_("1"),
        np.array("1"),
        np.ma.masked,
        np.ma.array(1, mask=True),
        np.array([1]),
        [1],
        np.nan,
        np.float32(np.nan),
        np.array(np.nan),
        {},
        np.bool_(True),
        np.array(True),
    ],
    ids=repr,
)
def test_what_is_no_number_is_refused_with_the_name_of_the_argument(argument, value):
    unset = {"batch_size", "steps_per_batch", "until_loss", "steps_per_batch of tasks", "record_every"}
    if value is None and argument in unset:
        return
    message = refusal(lambda: NUMBERS[argument](value))
    assert argument.split()[0] in message


@pytest.mark.parametrize("yes", [True, np.True_, np.array(True), 1, np.int8(1)], ids=repr)
def test_numpys_truth_values_are_truth_values(yes):
    no = type(yes)(0) if not isinstance(yes, np.ndarray) else np.array(False)
    assert Network.mlp([2, 2, 2], skip=[yes, no]).skip == [True, False]
    assert Network.mlp([2, 2], bias=yes) == Network.mlp([2, 2], bias=True)
    assert Network.mlp([2, 2], lazy=yes).lazy
    assert not Network.mlp([2, 2], lazy=no).lazy


# What is no net


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Network(None), "weights must be a list of arrays, one for each layer, not None"),
        (lambda: Network(3), "weights must be a list of arrays, one for each layer, not 3"),
        (lambda: Network("ab"), "weights must be a list of arrays, one for each layer, not 'ab'"),
        (lambda: Network({"W": A}), "weights must be a list of arrays, one for each layer, not {"),
        (lambda: Network(np.array(1.0)), "weights must be a list of arrays, one for each layer, not array(1.)"),
        (lambda: Network([None]), "weights[0] holds Python objects: give real numbers, not None"),
        (lambda: Network([A], None), "activation must be a name or a list of names, not of type NoneType"),
        (lambda: Network([A], 3), "activation must be a name or a list of names, not of type int"),
        (lambda: Network.mlp([3, 4, 2], ["tanh", "relu"]), "activation lists 2 names, but the net has 1 hidden layers"),
        (lambda: Network([A], biases=True), "biases must be None, or a list of arrays, one for each layer"),
        (lambda: Network([A], biases=A[:1, 0]), "biases[0] must be a 1-dimensional array of real numbers"),
        (lambda: Network([A], biases=0.5), "biases must be None, or a list of arrays, one for each layer"),
        (lambda: Network([A], scale=2.0), "scale must be a list of 1 numbers, one for each layer, not 2.0"),
        (lambda: Network([A], scale=["2"]), "scale[0] must be a finite number, not '2'"),
        (lambda: Network([A], scale=None), "scale must be a list of 1 numbers, one for each layer, not None"),
        (lambda: Network([A], skip=True), "skip must be a list of 1 truth values, one for each layer, not True"),
        (lambda: Network([A], skip=["no"]), "skip[0] must be True or False, not 'no'"),
        (lambda: Network([A], skip=[2]), "skip[0] must be True or False, not 2"),
        (lambda: Network([A], loss="mse"), "loss must be one of squared, cross-entropy, not 'mse'"),
        (lambda: Network.mlp(784), "sizes must be a list of whole numbers, units of every layer from the input, not"),
        (lambda: Network.mlp(None), "sizes must be a list of whole numbers, units of every layer from the input, not"),
        (lambda: Network.mlp([2, None]), "sizes [2, None]: every layer needs a whole number of units, at least 1"),
        (lambda: Network.mlp([2, 2], bias="no"), "bias must be True or False, not 'no'"),
        (lambda: Network.mlp([2, 2], bias=None), "bias must be True or False, not None"),
        (lambda: Network.mlp([2, 2], lazy="yes"), "lazy must be True or False, not 'yes'"),
        (lambda: Network.mlp([2, 2], skip=True), "skip must be a list of 1 truth values, one for each layer, not True"),
        (lambda: Network.mlp([2, 2], dtype=object()), "dtype <object obj"),
        (lambda: Network.mlp([2, 2], dtype=">i4"), "dtype int32 is not supported: use float32 or float64"),
        (lambda: Network.of_layers(3, "f4", None), "sizes must be a list of whole numbers"),
        (lambda: WIDE.replace(None, None), "weights must be a list of arrays, one for each layer, not None"),
        (lambda: WIDE.replace([A, A], None), "weights are 2 arrays; expected 1, one a layer"),
        (lambda: WIDE.replace([A[:1]], None), "weights[0] has shape (1, 2), expected (2, 2)"),
        (lambda: WIDE.replace([A], True), "biases must be None, or a list of arrays, one for each layer"),
        (lambda: WIDE.replace([A], [A[0, :1]]), "biases[0] has shape (1,), expected (2,)"),
        (lambda: WIDE.forward(A[:, :1]), "x must be a table of numbers with 2 columns, one a unit of the input"),
        (lambda: WIDE.forward(3), "x must be a table of numbers with 2 columns, one a unit of the input"),
        (lambda: run(net=None), "network must be a pcsim.Network, not None"),
        (lambda: run(values=3), "values must be arrays of shapes [(2, 2), (2, 2)], for PC, Z-IL and iPC"),
        (lambda: run(values=A), "values must be arrays of shapes [(2, 2), (2, 2)], for PC, Z-IL and iPC"),
        (lambda: run(on_record=3), "on_record must be a function of a run, not 3"),
        (lambda: run(trace="no"), "trace must be True or False, not 'no'"),
        (lambda: run(execution=3), "execution says how threads or ranks share the work of a net"),
    ],
)  # fmt: skip
def test_one_line_names_the_argument_and_what_is_meant(call, words):
    assert refusal(call).startswith(words)
