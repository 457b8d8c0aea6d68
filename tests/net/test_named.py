"""Nets by name."""

import numpy as np
import pytest

from pcsim import InputError
from pcsim.net.named import NAMES, is_named, named, outline


@pytest.mark.parametrize(
    ("name", "image", "sizes"),
    [
        ("cnn-64-128-64", (28, 28, 1), (784, 12544, 6272, 1024, 128, 10)),
        ("cnn-64-128-64", (32, 32, 3), (3072, 16384, 8192, 1024, 128, 10)),
        ("cnn-8-16-8", (32, 32, 3), (3072, 2048, 1024, 128, 128, 10)),
        ("cnn-8-16-8x4", (28, 28, 1), (784, 6272, 3136, 288, 512, 10)),
        ("alexnet", (32, 32, 3), (3072, 4096, 3072, 6144, 4096, 1024, 4096, 4096, 10)),
        ("vgg5", (32, 32, 3), (3072, 32768, 16384, 8192, 2048, 10)),
        ("vgg7", (32, 32, 3), (3072, 32768, 32768, 16384, 9216, 4608, 512, 10)),
        ("residual-mlp-5-16", (28, 28, 1), (784, 16, 16, 16, 16, 10)),
    ],
)
def test_sizes(name, image, sizes):
    net = named(f"{name}@{'x'.join(map(str, image))}")
    assert net.sizes == sizes == outline(f"{name}@{'x'.join(map(str, image))}").sizes
    assert [w.shape for w in net.weights] == list(outline(f"{name}@{'x'.join(map(str, image))}").shapes)
    assert net.skip == ([0, 1, 1, 1, 0] if "residual" in name else [0] * net.depth)


def test_options_are_passed_on():
    net = named("residual-mlp-8-16", parameterisation="mupc", seed=3, dtype="f8")
    assert np.allclose(net.scale, [1 / 28, *[1 / np.sqrt(16 * 8)] * 6, 1 / 16])


@pytest.mark.parametrize(
    ("name", "image", "words"),
    [
        ("vgg6", (32, 32, 3), "a net 'vgg6' is unknown: choose from cnn-64-128-64"),
        ("vgg5", (8, 8, 3), r"vgg5 for images of 8x8x3: parts\[3\]: a pool of 2 × 2 is larger"),
        ("residual-mlp-2-8", (28, 28, 1), "has no layers"),
        ("cnn-8-16-8x0", (28, 28, 1), "has no layers"),
        ("vgg5", (32, 32), "an image is written as height, width and channels"),
    ],
)
def test_what_is_no_net_is_one_line(name, image, words):
    with pytest.raises(InputError, match=words) as error:
        named(f"{name}@{'x'.join(map(str, image))}")
    assert "\n" not in str(error.value)


def test_every_name_is_one():
    assert not is_named("784-64-10")
    for name in NAMES:
        assert is_named(name.replace("xC", "x2").replace("-L-N", "-4-8") + "@32x32x3")
        named(name.replace("xC", "x2").replace("-L-N", "-4-8") + "@32x32x3")
