"""Files packed by gzip, cut ones, bombs, and standard input and output."""

import gzip
import io
import os
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim import streams
from pcsim.errors import InputError
from pcsim.streams import CUT, check_place, check_streams, packed, read_bytes, read_text, unpack, write_out, write_whole


class Fed(io.TextIOWrapper):
    """Standard input that holds some bytes."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data), encoding="utf-8")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_members_are_unpacked_one_after_the_other(texts):
    data = b"".join(map(packed, texts))
    text, members = unpack(data, "made")
    assert text == gzip.decompress(data) == b"".join(texts)
    ends = [(len(b"".join(texts[:n])), len(b"".join(map(packed, texts[:n])))) for n in range(1, len(texts) + 1)]
    assert members == ends


def test_large_members_and_zeros_behind_them():
    texts = [os.urandom(3 * 2**20), b"a" * 2**21, b"end\n"]
    data = b"".join(map(packed, texts)) + bytes(512)
    assert unpack(data, "made")[0] == b"".join(texts)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_wherever_a_file_is_cut_whole_members_stay(data):
    parts = [b'{"a": 1}\n', b'{"b": 2}\n', b'{"c": 3}\n']
    ends = [len(b"".join(map(packed, parts[:n]))) for n in range(4)]
    cut = data.draw(st.integers(1, ends[-1]))
    whole = sum(cut >= end for end in ends) - 1
    text, members = unpack(b"".join(map(packed, parts))[:cut], "made")
    assert members == [(9 * n, ends[n]) for n in range(1, whole + 1)]
    assert text.startswith(b"".join(parts[:whole]))
    if cut in ends:
        assert text == b"".join(parts[:whole])
    else:
        assert text.endswith(CUT)
        assert not text.endswith(b"}" + CUT)


def test_damage_is_one_line():
    data = bytearray(packed(b"some text\n" * 20) * 3)
    data[25] ^= 255
    with pytest.raises(InputError, match=r"^made: damaged gzip data \(.*\)$"):
        unpack(bytes(data), "made")
    with pytest.raises(InputError, match="damaged"):
        unpack(packed(b"text") + b"no gzip", "made")


def test_a_bomb_is_refused_before_it_has_gone_off(monkeypatch, tmp_path):
    engine = zlib.compressobj(9, wbits=31)
    block = bytes(2**24)
    data = b"".join(engine.compress(block) for _ in range(16)) + engine.flush()  # 256 MB in 256 kB
    with pytest.raises(InputError, match="all alike"):
        unpack(data, "made")
    (tmp_path / "bomb.json.gz").write_bytes(data)
    with pytest.raises(InputError, match=r"bomb\.json\.gz: unpacks"):
        read_text(tmp_path / "bomb.json.gz", "calibrate")
    monkeypatch.setattr(streams, "LARGEST_BYTES", 1000)
    with pytest.raises(InputError, match="more than 1,000 bytes"):
        unpack(packed(os.urandom(2000)), "made")


def test_what_is_packed_is_known_by_its_bytes(tmp_path):
    (tmp_path / "plain.gz").write_bytes(b"plain\n")
    (tmp_path / "packed.txt").write_bytes(packed(b"packed\n"))
    assert read_bytes(tmp_path / "plain.gz") == (b"plain\n", None)
    assert read_bytes(tmp_path / "packed.txt").text == b"packed\n"
    assert read_bytes(tmp_path / "missing") == (b"", None)
    with pytest.raises(InputError, match="is a folder"):
        read_bytes(tmp_path)
    with pytest.raises(InputError, match="ordinary"):
        read_bytes("/dev/zero")


@pytest.mark.parametrize("pack", [bytes, packed])
def test_standard_input(monkeypatch, pack):
    monkeypatch.setattr(sys, "stdin", Fed(pack("µ\n".encode())))
    assert read_text("-", "bench") == "µ\n"
    with pytest.raises(InputError, match="standard input: is empty"):
        read_text("-", "bench")


def test_half_a_text_is_refused(tmp_path):
    (tmp_path / "half.gz").write_bytes(packed(b"text" * 100)[:-3])
    with pytest.raises(InputError, match="end too early"):
        read_text(tmp_path / "half.gz", "bench")
    (tmp_path / "latin").write_bytes("µ".encode("latin-1"))
    with pytest.raises(InputError, match="is not text"):
        read_text(tmp_path / "latin", "bench")


def test_a_whole_file_or_nothing(tmp_path, capsysbinary):
    write_whole("text", tmp_path / "a.json")
    write_whole("text", tmp_path / "a.json.GZ")
    assert (tmp_path / "a.json").read_bytes() == b"text\n"
    assert gzip.decompress((tmp_path / "a.json.GZ").read_bytes()) == b"text\n"
    write_whole("µ", "-")
    assert capsysbinary.readouterr().out == "µ\n".encode()
    with pytest.raises(InputError, match="cannot write"):
        write_whole("text", tmp_path / "missing" / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.GZ"]


def test_what_is_no_file_stays_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole("text", tmp_path / "pipe")
    assert os.read(reader, 100) == b"text\n"
    os.close(reader)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole("text", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text\n"
    for place in (tmp_path, "nul\0"):
        with pytest.raises(InputError, match="cannot write"):
            write_whole("text", place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "pipe"]


def test_output_without_bytes(monkeypatch):
    """As notebooks and tests replace it."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    write_out("µ\n".encode())
    assert shown.getvalue() == "µ\n"


def test_one_file_can_be_a_stream():
    check_streams(["-", None, "a", "b"])
    with pytest.raises(InputError, match="only one file can be -"):
        check_streams(["-", "a", "-"])


def test_looking_at_a_place_changes_nothing(tmp_path):
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("mine")
    link.symlink_to(tmp_path / "later")
    os.mkfifo(tmp_path / "pipe")  # nobody reads it, so whoever opened it would wait
    for name in ("there", "link", "pipe", "new"):
        check_place(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "there"]
    assert there.read_text() == "mine"
    assert not link.exists()
