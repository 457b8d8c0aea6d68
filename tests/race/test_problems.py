"""Problems: which rows they train on, and the net that a seed begins with."""

from dataclasses import replace

import numpy as np

from pcsim.race.problems import problem
from pcsim.training.data import load

OLD = (0, 1, 2, 3, 4)


def accuracy(net, x, y):
    for W in net.weights[:1]:
        x = x @ W.T
    for W in net.weights[1:]:
        x = np.tanh(x) @ W.T
    return np.mean(x.argmax(1) == y.argmax(1))


def test_a_net_has_learnt_the_classes_before_and_the_problem_is_about_the_others():
    pretrained = replace(problem("digits"), before=OLD, held=100)
    rows, digits = pretrained.rows, load("digits")
    assert set(rows.y.argmax(1)) == set(rows.validation[1].argmax(1)) == set(range(5, 10))
    assert set(rows.test[1].argmax(1)) == set(range(5, 10))
    assert len(rows.x) + 100 == np.isin(digits.labels, range(5, 10)).sum()
    known = np.isin(digits.labels, OLD)
    x, y = digits.x[known], digits.y[known]
    net, fresh = pretrained.net(3), problem("digits").net(3)
    assert accuracy(net, x, y) > 0.6 > 0.4 > accuracy(fresh, x, y)
    assert accuracy(net, rows.x, rows.y) < 0.2
    assert all(np.array_equal(a, b) for a, b in zip(net.weights, pretrained.net(3).weights, strict=True))
    assert pretrained.told()["before"] == list(OLD) and "before" not in problem("digits").told()


def test_images_are_generated_from_codes():
    generative = problem("generative-100")
    rows, images = generative.rows, load("fashion-mnist", samples=100)
    assert generative.sizes == (256, 256, 256, 256, 784)
    assert np.array_equal(rows.y, images.x)
    assert abs(rows.x.mean()) < 0.05 and abs(rows.x.std() - 1) < 0.05
    assert np.array_equal(rows.x, problem("generative-100").rows.x)


def test_another_width_and_depth():
    assert problem("digits", depth=5, hidden=7).sizes == (64, 7, 7, 7, 7, 10)


def test_a_problem_may_name_its_net():
    cnn, deep = problem("fashion-cnn"), problem("residual", depth=5, hidden=16)
    assert cnn.net(0).sizes == cnn.sizes == (784, 12544, 6272, 1024, 128, 10)
    assert deep.net(0).sizes == (784, 16, 16, 16, 16, 10) and deep.net(0).skip == [False, True, True, True, False]
    assert deep.net(0).scale[2] == (16 * 5) ** -0.5  # muPC's
    standard = replace(deep, parameterisation="sp")
    assert standard.net(0).scale[2] == 1
    assert standard.net_name == deep.net_name == "residual-mlp-5-16"
