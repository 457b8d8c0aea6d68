"""Nets on disk: the same bits when loaded, nothing written over, and one line for what does not fit."""

import itertools
import json
import math
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import kinds, part_of, refusal, same, some

from pcsim import InputError, Network
from pcsim.net.activations import ACTIVATIONS


@some
@kinds
def test_a_saved_net_is_loaded_to_the_bit(sizes, bias, seed, dtype):
    skip = [n == m for n, m in itertools.pairwise(sizes)]
    scale = np.random.default_rng(seed).normal(size=len(skip))
    activation = list(ACTIVATIONS)[seed % len(ACTIVATIONS)]
    net = Network.mlp(sizes, activation, bias=bias, seed=seed, dtype=dtype, scale=scale, skip=skip)
    with tempfile.TemporaryDirectory() as folder:
        net.save(folder)
        names = [f"{kind}-{l:05}.npy" for kind in ["weights", "biases"][: 1 + bias] for l in range(net.depth)]
        assert sorted(os.listdir(folder)) == sorted([*names, "network.json"])
        loaded = Network.load(folder)
        assert loaded.lazy
        assert loaded.owned == range(net.depth)
        assert same(loaded, net)
        assert all(a.flags.c_contiguous and a.flags.writeable for a in (*loaded.weights, *(loaded.biases or [])))
        loaded.save(Path(folder) / "a" / "copy")  # the lazy net again, into folders that are made
        assert same(Network.load(os.fspath(Path(folder) / "a" / "copy")), net)
        file = Path(folder) / "weights-00000.npy"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        assert not same(loaded, net)  # one bit on the disk would be noticed


def test_what_is_written_for_a_net(tmp_path):
    Network.mlp([3, 2, 2], "relu", bias=True, scale=[0.5, 3], skip=[0, 1]).save(tmp_path)
    assert json.loads((tmp_path / "network.json").read_text()) == {
        "schema": "pcsim-network/1",
        "sizes": [3, 2, 2],
        "activation": "relu",
        "dtype": "float32",
        "bias": True,
        "scale": [0.5, 3.0],
        "skip": [False, True],
    }


def test_a_diverged_net_is_saved_and_loaded(tmp_path):
    net = Network.mlp([3, 2, 2])
    net = net.replace([np.full((2, 3), np.nan, np.float32), np.full((2, 2), -np.inf, np.float32)], None)
    net.save(tmp_path)
    assert same(Network.load(tmp_path), net)


def test_arrays_in_another_order_are_saved_as_the_net_has_them(tmp_path):
    wide = Network.mlp([4, 3, 5], dtype="f8")
    net = wide.replace([np.asfortranarray(wide.weights[0]), wide.weights[1][::-1]], None)
    net.save(tmp_path / "saved")
    loaded = Network.load(tmp_path / "saved")
    assert all(np.array_equal(a, b) for a, b in zip(loaded.weights, net.weights, strict=True))
    np.save(tmp_path / "saved" / "weights-00000.npy", np.asfortranarray(wide.weights[0]))  # by somebody else
    assert loaded.weights[0].flags.c_contiguous
    assert np.array_equal(loaded.weights[0], wide.weights[0])


def test_a_loaded_net_reads_a_layer_when_it_is_asked_for(tmp_path, monkeypatch):
    net = Network.mlp([3, 4, 2])
    net.save(tmp_path / "net")
    read = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda file, **rest: read.append((file.name, rest)) or load(file, **rest))
    monkeypatch.chdir(tmp_path)
    loaded = Network.load("net")
    assert (loaded.sizes, loaded.dtype, loaded.parameters) == (net.sizes, net.dtype, net.parameters)
    assert not read
    monkeypatch.chdir("/")
    assert np.array_equal(loaded.weights[1], net.weights[1])
    assert read == [("weights-00001.npy", {"allow_pickle": False})]


@pytest.mark.parametrize("bias", [False, True])
def test_parts_saved_to_one_folder_load_as_the_whole(tmp_path, bias):
    whole = Network.mlp([4, 5, 5, 5, 3], "gelu", bias=bias, scale=[1, 2, 3, 4], skip=[0, 1, 1, 0])
    barrier = threading.Barrier(3, timeout=60)
    parts = [part_of(whole, owned) for owned in (range(2), range(2, 4), range(4, 4))]
    sheets = []

    def wait():
        sheets.append((tmp_path / "net" / "network.json").exists())
        barrier.wait()

    threads = [threading.Thread(target=part.save, args=(tmp_path / "net", wait)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sheets == [False] * 3  # network.json comes last
    assert same(Network.load(tmp_path / "net"), whole)
    assert not list((tmp_path / "net").glob("*.part"))


def test_without_a_barrier_the_holder_of_layer_0_saves_last(tmp_path):
    whole = Network.mlp([4, 5, 5, 3])
    first, last = part_of(whole, range(2)), part_of(whole, range(2, 3))
    last.save(tmp_path / "right")
    assert "network.json is missing" in refusal(lambda: Network.load(tmp_path / "right"))
    first.save(tmp_path / "right")
    assert same(Network.load(tmp_path / "right"), whole)
    first.save(tmp_path / "wrong")
    assert "weights-00002.npy is missing" in refusal(lambda: Network.load(tmp_path / "wrong"))
    assert "network.json is there already" in refusal(lambda: last.save(tmp_path / "wrong"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_saved_net_is_not_written_over(tmp_path):
    Network.mlp([3, 2, 2]).save(tmp_path)
    before = contents(tmp_path)
    message = refusal(lambda: Network.mlp([3, 2, 2], seed=1).save(tmp_path))
    assert message.startswith(f"{tmp_path}/network.json is there already: ")
    assert contents(tmp_path) == before


def test_an_interrupted_save_leaves_no_net_and_can_be_done_again(tmp_path):
    net = Network.mlp([3, 2, 2, 2])

    def interrupted(l):
        if l == 2:
            raise KeyboardInterrupt
        return net.weights[l]

    with pytest.raises(KeyboardInterrupt):
        Network.of_layers(net.sizes, net.dtype, interrupted).save(tmp_path)
    assert sorted(contents(tmp_path)) == ["weights-00000.npy", "weights-00001.npy"]
    assert "network.json is missing" in refusal(lambda: Network.load(tmp_path))
    net.save(tmp_path)
    assert same(Network.load(tmp_path), net)


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(file, array, **rest):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    message = refusal(lambda: Network.mlp([3, 2]).save(tmp_path))
    assert message == f"{tmp_path}/weights-00000.npy cannot be written: No space left on device"
    assert not contents(tmp_path)


def test_one_line_where_no_folder_can_be(tmp_path):
    net = Network.mlp([3, 2])
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "under", "/dev/null/net", "/proc/net-of-mine", "nul\0"):
        with pytest.raises(InputError, match="cannot be written: ") as caught:
            net.save(folder)
        assert len(str(caught.value).splitlines()) == 1
    assert (tmp_path / "file").read_text() == "x"
    (tmp_path / "net" / "weights-00000.npy").mkdir(parents=True)
    assert "weights-00000.npy cannot be written: " in refusal(lambda: net.save(tmp_path / "net"))
    assert os.listdir(tmp_path / "net") == ["weights-00000.npy"]


def test_a_layer_alone_is_in_memory_while_a_net_is_saved(tmp_path):
    alive = set()

    class Counted(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def make(l):
        assert not alive, "the layer before is still there"
        array = np.zeros((50, 50), np.float32).view(Counted)
        alive.add(id(array))
        return array

    net = Network.of_layers([50] * 6, np.float32, make)
    net.save(tmp_path)
    with pytest.raises(AssertionError, match="still there"):
        list(net.weights)


SHEET = {
    "schema": "pcsim-network/1",
    "sizes": [3, 2, 2],
    "activation": "relu",
    "dtype": "float32",
    "bias": True,
    "scale": [1.0, 2.0],
    "skip": [False, True],
}


@pytest.fixture
def saved(tmp_path):
    Network.mlp([3, 2, 2], "relu", bias=True, scale=[1, 2], skip=[False, True]).save(tmp_path)
    assert json.loads((tmp_path / "network.json").read_text()) == SHEET
    return tmp_path


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "schema": ["pcsim-network/2", None, 1, ["pcsim-network/1"]],
        "sizes": [[3], [], [3, 0, 2], [3, 2.0, 2], [3, True, 2], [3, "2", 2], "322", None, 5, {"3": 2, "2": 2}],
        "activation": ["swish", None, [], ["relu", "relu"], ["swish"], [None], {}],
        "dtype": ["float16", "f4", None, ["float32"], 4],
        "bias": [None, 1, "true"],
        "scale": [[], [1.0], [1, 2, 3], [1, math.nan], [1, math.inf], [1, 10**400], [1, True], [1, "2"], 2, None],
        "skip": [[], [False], [False, 1], [False, None], "no", None],
    }.items(),
)
def test_one_line_names_the_field_that_is_wrong(saved, field, values):
    for value in values:
        (saved / "network.json").write_text(json.dumps({**SHEET, field: value}))
        message = refusal(lambda: Network.load(saved))
        assert message.startswith(f"{saved}/network.json: {field} ")
    (saved / "network.json").write_text(json.dumps({k: v for k, v in SHEET.items() if k != field}))
    message = refusal(lambda: Network.load(saved))
    assert f"{field} is missing" in message


def test_one_line_names_a_field_that_is_not_known(saved):
    for name in ("seed", "a\nb", ""):
        (saved / "network.json").write_text(json.dumps({**SHEET, name: 1}))
        assert refusal(lambda: Network.load(saved)) == f"{saved}/network.json: field {name!r} is unknown"


def test_a_skip_that_does_not_fit_names_the_file(saved):
    (saved / "network.json").write_text(json.dumps({**SHEET, "skip": [True, True]}))
    assert refusal(lambda: Network.load(saved)).startswith(f"{saved}/network.json: skip[0] needs as many outputs")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"[]", b"3", b"null", b"{}"])
def test_one_line_where_network_json_is_none(saved, data):
    (saved / "network.json").write_bytes(data)
    assert refusal(lambda: Network.load(saved)).startswith(f"{saved}/network.json")


def test_one_line_where_nothing_was_saved(tmp_path):
    (tmp_path / "folder" / "network.json").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    for folder, words in (
        (tmp_path, "is missing"),
        (tmp_path / "no", "is missing"),
        (tmp_path / "file", "cannot be read"),
        (tmp_path / "folder", "cannot be read"),
    ):
        message = refusal(lambda folder=folder: Network.load(folder))
        assert message.startswith(f"{folder}/network.json {words}: ")
    with pytest.raises(InputError, match=r"network\.json cannot be read: "):
        Network.load("nul\0")


def header_of(shape, dtype="'<f4'", order="False"):
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("name", ["weights-00001.npy", "biases-00000.npy"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: np.save(file, np.ones((3, 3), np.float32)), "holds (3, 3) of float32"),
        (lambda file: np.save(file, np.ones(4, np.float32)), "holds (4,) of float32"),
        (lambda file: np.save(file, np.load(file).astype(np.float64)), "of float64"),
        (lambda file: np.save(file, np.load(file).astype(">f4")), "of >f4;"),
        (lambda file: np.save(file, np.load(file).astype("i4")), "of int32"),
        (lambda file: np.save(file, np.array([None] * 2)), "cannot be read: "),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "cannot be read: "),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "cannot be read: "),
        (lambda file: file.write_bytes(b""), "cannot be read: "),
        (lambda file: file.write_bytes(b"PK\x03\x04" + b"\0" * 100), "cannot be read: "),
        (lambda file: file.write_bytes(b"\x80\x04K\x01."), "cannot be read: "),  # a pickle of 1
        (lambda file: file.write_bytes(header_of("(2**3, 2)")), "cannot be read: "),
        (lambda file: file.write_bytes(header_of("(" * 90)), "cannot be read: "),
        (lambda file: file.write_bytes(header_of(f"({10**30}, 2)")), "cannot be read: "),
        (lambda file: (file.unlink(), file.mkdir()), "cannot be read: Is a directory"),
    ],
)
def test_one_line_names_the_file_that_does_not_fit(saved, name, spoil, words):
    loaded = Network.load(saved)
    spoil(saved / name)
    kind, l = name.removesuffix(".npy").split("-")
    # At loading, and when a layer is asked for whose file was exchanged since.
    for call in (lambda: Network.load(saved), lambda: getattr(loaded, kind)[int(l)]):
        message = refusal(call)
        assert message.startswith(f"{saved / name} ")
        assert words in message


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=4))
@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
def test_a_spoilt_header_is_refused_or_harmless(changes):
    with tempfile.TemporaryDirectory() as folder:
        Network.mlp([3, 2]).save(folder)
        file = Path(folder) / "weights-00000.npy"
        data = bytearray(file.read_bytes())
        for place, byte in changes:
            data[place] = byte
        file.write_bytes(data)
        message = ""
        try:
            array = Network.load(folder).weights[0]
            harmless = array.shape == (2, 3) and array.dtype == np.float32
        except InputError as error:
            message, harmless = str(error), True
    assert harmless
    assert len(message.splitlines()) <= 1
