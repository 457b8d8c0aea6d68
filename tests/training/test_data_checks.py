"""What cannot be trained is told in one line, before anything begins."""

import math

import numpy as np
import pytest
from nets import refusal

from pcsim import BP, IPC, PC, DualProp, InputError, Local, Network, train
from pcsim.training.session import Session

NET = Network.mlp([2, 3, 1])
X, Y = np.ones((4, 2)), np.ones((4, 1))


def attempt(algorithm=None, x=X, y=Y, **options):
    train(NET, algorithm or IPC(), x, y, **{"updates": 1, "backend": "numpy", **options})


def spoiled(array, number):
    array = array.copy()
    array[-1, -1] = number
    return array


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: attempt(x=spoiled(X, np.nan)), "x holds NaN or infinity: clean the data first"),
        (lambda: attempt(y=spoiled(Y, np.inf)), "y holds NaN or infinity: clean the data first"),
        (lambda: attempt(x=np.ones((4, 3))), r"x must be a table of numbers with 2 columns.*not shape \(4, 3\)"),
        (lambda: attempt(y=np.ones((4, 2))), r"y must be a table of numbers with 1 columns.*not shape \(4, 2\)"),
        (lambda: attempt(x=X[0]), r"x must be a table .* not shape \(2,\)"),
        (lambda: attempt(y=Y[:, 0]), r"y must be a table .* not shape \(4,\)"),
        (lambda: attempt(x=X[:0], y=Y[:0]), "at least one row"),
        (lambda: attempt(x=X.astype(str)), "x holds text: give real numbers"),
        (lambda: attempt(x=X * 1j), "x holds complex numbers: give real numbers"),
        (lambda: attempt(x=None), "x holds Python objects: give real numbers"),
        (lambda: attempt(x=np.ma.masked_less(X, 1e9)), "x is a masked array: fill or leave out what is masked"),
        (lambda: attempt(y=Y[:3]), "x has 4 rows, but y has 3"),
        (lambda: attempt(updates=0), "updates must be a whole number of at least 1, not 0"),
        (lambda: attempt(updates=-5), "updates must be a whole number of at least 1, not -5"),
        (lambda: attempt(updates=2.0), "updates must be a whole number of at least 1, not 2.0"),
        (lambda: attempt(updates=True), "updates must be a whole number of at least 1, not True"),
        (lambda: attempt(updates=None), "give either updates or epochs: for how long"),
        (lambda: attempt(record_every=-1), "record_every must be a whole number of at least 0, not -1"),
        (lambda: attempt(record_every=0.5), "record_every must be a whole number of at least 0, not 0.5"),
        (lambda: attempt(BP(), batch_size=5), "batch_size must be between 1 and the 4 rows of the data, not 5"),
        (lambda: attempt(BP(), batch_size=0), "batch_size must be between 1 and the 4 rows of the data, not 0"),
        (lambda: attempt(BP(), batch_size=2.0), "batch_size must be between 1 and the 4 rows"),
        (lambda: attempt(Local(loss="predsim"), batch_size=1), "predsim compares samples of a batch"),
        (lambda: attempt(DualProp(sweeps=3, incremental=True)), "sweeps once for each weight update: leave sweeps out"),
        (lambda: attempt(batch_size=2), "iPC with a batch_size needs steps_per_batch"),
        (lambda: attempt(batch_size=2, steps_per_batch=0), "steps_per_batch must be a whole number of at least 1"),
        (lambda: attempt(steps_per_batch="3"), "steps_per_batch must be a whole number of at least 1, not '3'"),
        (lambda: attempt(backend="cuda"), "backend 'cuda' is unknown: choose from numpy, threads"),
        (lambda: attempt(backend=None), "backend None is unknown"),
        (lambda: attempt(workers=0), 'workers must be a whole number of at least 1, or "auto", not 0'),
        (lambda: attempt(workers=-1), "workers must be a whole number"),
        (lambda: attempt(workers=1.0), "workers must be a whole number"),
        (lambda: attempt(workers=True), "workers must be a whole number"),
        (lambda: attempt(workers="all"), "or \"auto\", not 'all'"),
        (
            lambda: attempt(workers=3, backend="threads"),
            "3 workers are more than the 2 layers of the net: use at most 2",
        ),
        (lambda: attempt(BP(), workers=2, backend="threads"), "BP's layers wait for one another.*workers=1"),
        (lambda: attempt(values=[]), r"values must be arrays of shapes \[\(4, 2\), \(4, 3\), \(4, 1\)\]"),
        (lambda: attempt(values=NET.forward(X)[:2]), "values must be arrays of shapes"),
        (lambda: attempt(values=NET.forward(X[:3])), "values must be arrays of shapes"),
        (lambda: attempt(BP(), values=NET.forward(X)), "values must be arrays .* for PC, Z-IL and iPC"),
        (lambda: attempt(PC(), batch_size=2, values=NET.forward(X)), r"values must be arrays of shapes \[\(2, 2\)"),
    ],
)
def test_one_line_says_why_this_cannot_be_trained(call, words):
    with pytest.raises(InputError, match=words):
        call()
    refusal(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda: attempt(x=X * 1e300),
        lambda: attempt(x=[[1, 2], [3]]),
        lambda: attempt(batch_size=2, steps_per_batch=1, seed=-1),
        lambda: attempt(until_loss="0.1"),
        lambda: attempt(until_loss=math.nan),
        lambda: attempt(until_loss=0.1, record_every=0),
        lambda: attempt(batch_size=True, steps_per_batch=1),
        lambda: train(NET, IPC, X, Y, updates=1),
        lambda: train(NET, "ipc", X, Y, updates=1),
    ],
    ids=[
        "x too large for float32",
        "ragged x",
        "seed below 0",
        "until_loss is text",
        "until_loss is NaN",
        "until_loss that nobody looks at",
        "batch_size is a truth value",
        "a class for an algorithm",
        "a name for an algorithm",
    ],
)
def test_one_line_for_what_python_would_let_pass(call):
    refusal(call)


def test_nothing_begins_before_the_arguments_are_checked(monkeypatch):
    monkeypatch.setattr(Session, "go", lambda *arguments: pytest.fail("training began"))
    for call in (
        lambda: attempt(workers=0),
        lambda: attempt(values=[]),
        lambda: attempt(backend="cuda"),
    ):
        refusal(call)
