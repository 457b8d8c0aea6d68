"""Results files: what is written is read, whatever cuts or spoils them, and what is refused."""

import errno
import gzip
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim.errors import InputError
from pcsim.results import fields, files
from pcsim.results.files import Writer, check_target, configuration, key, latest, read, samples
from pcsim.streams import packed

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
CONTEXT = {
    "cpu_model": "Made-up CPU",
    "cores": 2,
    "versions": {"pcsim": "0.1.0"},
    "kernels": {"cpu": "zen", "settings": {}},
}
ROW = {
    "algorithm": "ipc",
    "execution": "layer-parallel",
    "backend": "threads",
    "workers": 2,
    "depth": 8,
    "width": 64,
    "batch": 1,
    "steps": 1,
    "dtype": "float32",
    "activation": "tanh",
    "kind": "measured",
    "seconds": [1.0e-3, 1.2e-3, 1.1e-3],
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def complaint(path, call=read):
    """The one line that refuses the file; it names the file."""
    with pytest.raises(InputError) as caught:
        call(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


@pytest.fixture
def written(path):
    """A file of a header and two rows."""
    with Writer(path, CONTEXT) as writer:
        writer.write(ROW)
        writer.write(ROW | {"depth": 16})
    return path


# --- writing ---


def test_a_file_is_a_header_and_a_line_for_each_row(written):
    header, first, second = lines(written)
    assert header == {"schema": "pcsim-results/1", "context": CONTEXT}
    assert first == ROW | {"median": 1.1e-3, "ci95": first["ci95"], "warnings": [], "error": None}
    assert (first["depth"], second["depth"]) == (8, 16)
    assert written.read_bytes().endswith(b"}\n")


def test_a_row_is_on_the_disk_before_write_returns(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(path.read_bytes()))
    with Writer(path, CONTEXT) as writer:
        for depth in (2, 4):
            writer.write(ROW | {"depth": depth})
            assert json.loads(synced[-1].splitlines()[-1])["depth"] == depth
    assert len(synced) == 3


def test_numbers_of_numpy_become_plain_ones_and_nan_becomes_null(path):
    row = ROW | {
        "depth": np.int64(8),
        "seconds": np.array([1, 2, np.nan], np.float32),
        "smm": Fraction(2, 1),
        "smm_workers": Fraction(7, 2),
        "bandwidth": np.float64("inf"),
        "auto": np.bool_(True),
        "extra": {"deep": (np.float32(0.5), float("nan"))},
    }
    with Writer(path, CONTEXT | {"file": Path("machine.json"), "rate": np.float64("nan")}) as writer:
        returned = writer.write(row)
    header, stored = lines(path)
    assert (header["context"]["file"], header["context"]["rate"]) == ("machine.json", None)
    assert stored == returned
    assert (stored["depth"], stored["seconds"], stored["auto"]) == (8, [1, 2, None], True)
    assert (stored["smm"], stored["smm_workers"], stored["bandwidth"]) == (2, 3.5, None)
    assert stored["extra"] == {"deep": [0.5, None]}
    assert stored["median"] == 1.5
    assert isinstance(stored["smm"], int)
    assert "NaN" not in path.read_text()
    assert read(path).rows == [returned]


def test_what_a_row_says_itself_is_not_overwritten(path):
    with Writer(path, CONTEXT) as writer:
        assert writer.write(ROW | {"median": 5.0, "ci95": [4.0, 6.0]})["median"] == 5.0
        failure = writer.write(ROW | {"seconds": [], "error": "MemoryError: no"})
    assert (failure["median"], failure["ci95"], failure["error"]) == (None, None, "MemoryError: no")


def test_a_row_that_could_not_be_read_is_not_written(written):
    before = written.read_bytes()
    with Writer(written, CONTEXT, resume=True) as writer:
        resumed = written.read_bytes()
        for wrong, field in (({"kind": "guessed"}, "kind"), ({"seconds": [0.0]}, "seconds"), ({"depth": 0}, "depth")):
            assert f"row not written: {field} must be" in complaint(
                written, lambda _, row=wrong: writer.write(ROW | row)
            )
    assert resumed.startswith(before)
    assert written.read_bytes() == resumed


@pytest.mark.parametrize("resume", [False, True])
def test_what_is_no_place_for_results_is_refused(tmp_path, resume):
    other = tmp_path / "notes.txt"
    other.write_text("my notes\n")
    for place in (tmp_path, tmp_path / "missing" / "run.jsonl", other / "run.jsonl", tmp_path / ("x" * 300), other):
        complaint(place, lambda place: Writer(place, CONTEXT, resume=resume))
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    assert other.read_text() == "my notes\n"


def test_an_existing_file_is_refused_with_the_way_out(written):
    before = written.read_bytes()
    assert "--resume" in complaint(written, lambda path: Writer(path, CONTEXT))
    assert written.read_bytes() == before


@pytest.mark.parametrize("resume", [False, True])
def test_an_empty_or_absent_file_is_a_fresh_start(path, resume):
    path.touch()
    Writer(path, CONTEXT, resume=resume).close()
    assert lines(path) == [{"schema": "pcsim-results/1", "context": CONTEXT}]
    assert read(path).rows == []


def test_a_full_disk_leaves_the_earlier_rows_readable(written, monkeypatch):
    write = os.write

    def half(file, data):
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) // 2])

    writer = Writer(written, CONTEXT, resume=True)
    writer.write(ROW | {"depth": 24})
    monkeypatch.setattr(os, "write", half)
    assert "No space left on device" in complaint(written, lambda _: writer.write(ROW | {"depth": 32}))
    monkeypatch.undo()
    writer.write(ROW | {"depth": 64})
    writer.close()
    assert [row["depth"] for row in read(written).rows] == [8, 16, 24, 64]
    assert read(written).warnings == []


# --- carrying on ---


def test_resuming_keeps_the_header_and_notes_the_second_run(written):
    before = written.read_bytes()
    with Writer(written, CONTEXT | {"time": "later"}, resume=True) as writer:
        assert [row["depth"] for row in writer.rows] == [8, 16]
        assert (writer.recovered, writer.warnings) == (None, [])
        writer.write(ROW | {"depth": 32})
        assert [row["depth"] for row in writer.rows] == [8, 16, 32]
    assert written.read_bytes().startswith(before)
    assert lines(written)[3] == {"resumed": CONTEXT | {"time": "later"}}
    known = read(written)
    assert (known.context, known.resumed, known.warnings) == (CONTEXT, [CONTEXT | {"time": "later"}], [])
    assert [row["depth"] for row in known.rows] == [8, 16, 32]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cpu_model": "Other CPU"}, ["another CPU model"]),
        ({"versions": {"pcsim": "0.2.0"}}, ["another pcsim version"]),
        ({"cpu_model": "Other CPU", "versions": {"pcsim": "9"}}, ["another CPU model", "another pcsim version"]),
        ({"cpu_model": None, "versions": "unknown", "cores": 4}, []),
        ({"kernels": {"cpu": "zen", "settings": {}}}, []),
        (
            {"kernels": {"cpu": "generic", "settings": {}}},
            ["(for generic after for zen)"],
        ),
        ({"kernels": {"cpu": "zen", "settings": {"NUMBA_OPT": 0}}}, ["(for zen NUMBA_OPT=0 after for zen)"]),
        ({"kernels": None}, []),
    ],
)
def test_another_machine_or_version_is_a_warning(written, change, named):
    with Writer(written, CONTEXT | change, resume=True) as writer:
        pass
    for warnings in (writer.warnings, read(written).warnings):
        assert len(warnings) == len(named)
        assert all(name in text for name, text in zip(named, warnings, strict=True))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_wherever_a_crash_cuts_the_file_all_complete_rows_stay(tmp_path_factory, data):
    whole = b"".join(FIXTURE.read_bytes().splitlines(keepends=True)[:4])
    ends = [end for end in range(1, len(whole) + 1) if whole[:end].endswith(b"}\n")]
    # A row that misses only its line end is complete.
    edge = st.sampled_from([end + shift for end in ends for shift in (-2, -1, 0, 1) if end + shift <= len(whole)])
    cut = data.draw(st.integers(0, len(whole)) | edge)
    complete = sum(cut >= end - 1 for end in ends) - 1
    path = tmp_path_factory.mktemp("cut") / "run.jsonl"
    path.write_bytes(whole[:cut])
    rows = [json.loads(line) for line in whole.splitlines()[1:]][: max(complete, 0)]
    clean = any(cut in (end - 1, end) for end in ends)
    if complete < 0:
        complaint(path)
    else:
        known = read(path)
        assert known.rows == rows
        assert len(known.warnings) == (not clean)
        assert clean or f"line {complete + 2}: was cut" in known.warnings[0]
    with Writer(path, read(FIXTURE).context, resume=True) as writer:
        assert writer.rows == rows
        assert (writer.recovered is None) == (clean or cut == 0)
        writer.write(ROW)
    assert [row["depth"] for row in read(path).rows] == [*(row["depth"] for row in rows), 8]
    assert read(path).warnings == []


# --- packed ---


def test_a_packed_file_holds_the_same(written, tmp_path):
    other = tmp_path / "run.jsonl.gz"
    with Writer(other, CONTEXT) as writer:
        writer.write(ROW)
        assert gzip.decompress(other.read_bytes()).endswith(b"}\n")  # whole after each line
        writer.write(ROW | {"depth": 16})
    assert gzip.decompress(other.read_bytes()) == written.read_bytes()
    assert read(other).rows == read(written).rows
    with Writer(other, CONTEXT, resume=True) as writer:
        writer.write(ROW | {"depth": 32})
    assert [row["depth"] for row in read(other).rows] == [8, 16, 32]
    assert "--resume" in complaint(other, lambda path: Writer(path, CONTEXT))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_wherever_a_crash_cuts_a_packed_file_all_complete_rows_stay(tmp_path_factory, data):
    texts = FIXTURE.read_bytes().splitlines(keepends=True)[:4]
    ends = np.cumsum([len(packed(text)) for text in texts]).tolist()
    cut = data.draw(st.integers(0, ends[-1]) | st.sampled_from(ends))
    complete = sum(cut >= end for end in ends) - 1
    path = tmp_path_factory.mktemp("cut") / "run.jsonl.gz"
    path.write_bytes(b"".join(map(packed, texts))[:cut])
    rows = [json.loads(line) for line in texts[1:]][: max(complete, 0)]
    if complete < 0:
        complaint(path)
    else:
        known = read(path)
        assert known.rows == rows
        assert len(known.warnings) == (cut not in ends)
        check_target(path, resume=True)
    with Writer(path, read(FIXTURE).context, resume=True) as writer:
        assert writer.rows == rows
        assert (writer.recovered is None) == (cut in (0, *ends))
        writer.write(ROW)
    assert [row["depth"] for row in read(path).rows] == [*(row["depth"] for row in rows), 8]
    assert read(path).warnings == []
    gzip.decompress(path.read_bytes())


def test_a_file_that_was_packed_as_a_whole_is_read_and_carried_on(written):
    whole = gzip.compress(written.read_bytes())
    written.write_bytes(whole)
    with Writer(written, CONTEXT, resume=True) as writer:
        writer.write(ROW | {"depth": 32})
    assert [row["depth"] for row in read(written).rows] == [8, 16, 32]
    assert written.read_bytes().startswith(whole)


def test_one_that_was_cut_as_a_whole_is_read_but_not_carried_on(written):
    cut = gzip.compress(written.read_bytes())[:-4]
    written.write_bytes(cut)
    assert [row["depth"] for row in read(written).rows] == [8]
    for call in (lambda path: Writer(path, CONTEXT, resume=True), lambda path: check_target(path, resume=True)):
        assert "gunzip it" in complaint(written, call)
    assert written.read_bytes() == cut


def test_rows_on_standard_output(capsysbinary):
    check_target("-")
    with Writer("-", CONTEXT) as writer:
        assert json.loads(capsysbinary.readouterr().out)["context"] == CONTEXT
        writer.write(ROW)
        assert json.loads(capsysbinary.readouterr().out)["depth"] == 8
    for call in (lambda: Writer("-", CONTEXT, resume=True), lambda: check_target("-", resume=True)):
        with pytest.raises(InputError, match="--resume cannot continue standard output"):
            call()
    assert capsysbinary.readouterr().out == b""


# --- reading ---


def test_the_fixture_says_that_it_is_made_up():
    known = read(FIXTURE)
    assert "made-up" in known.context["note"]
    assert known.warnings == []
    assert {row["algorithm"] for row in known.rows} == set(fields.ALGORITHMS)
    assert any(row["error"] for row in known.rows)


def test_half_a_surrogate_pair_is_a_question_mark(written):
    """It can be written as JSON, and in no other way."""
    put(written, variant="a\ud800b\U0001f600", activation="\\ud800")
    row = read(written).rows[1]
    assert (row["variant"], row["activation"]) == ("a?b\U0001f600", "\\ud800")


def put(path, **changes):
    """Line 3 of the file with these fields; a field ``...`` is taken out."""
    every = lines(path)
    row = {name: value for name, value in (every[2] | changes).items() if value is not ...}
    path.write_text("\n".join(map(json.dumps, [*every[:2], row])) + "\n")
    return path


@pytest.mark.parametrize("field", list(fields._REQUIRED))
def test_each_required_field_is_required(written, field):
    assert complaint(put(written, **{field: ...})).endswith(f"line 3: {field} is missing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("algorithm", "SGD"),
        ("algorithm", ""),
        ("algorithm", ["bp"]),
        ("execution", ""),
        ("backend", None),
        ("workers", 0),
        ("workers", True),
        ("depth", 2.0),
        ("width", "64"),
        ("batch", -1),
        ("steps", -1),
        ("dtype", 32),
        ("activation", {}),
        ("kind", "Measured"),
        ("seconds", 0.1),
        ("seconds", [0.1, "0.2"]),
        ("seconds", [0.0]),
        ("seconds", [-1.0]),
        ("seconds", [True]),
        ("seconds", [float("nan")]),
        ("seconds", [10**400]),
        ("median", [1]),
        ("median", 0),
        ("median", float("inf")),
        ("ci95", [1]),
        ("ci95", [2, 1]),
        ("ci95", [None, 1]),
        ("warnings", "slow"),
        ("warnings", [1]),
        ("error", 1),
        ("smm", "2"),
        ("mm", float("nan")),
        ("roofline", [0.5]),
        ("auto", 1),
        ("rounds", 1.5),
        ("launch", -1),
        ("ranks", 0),
        ("ranks", 1.5),
        ("hosts", True),
        ("messages", -1),
        ("counted_messages", "2"),
        ("message_bytes", [8]),
        ("collectives", float("inf")),
        ("latency", -1e-6),
        ("delay", False),
        ("mine", {"deep": [1, float("nan")]}),
    ],
)
def test_a_wrong_value_is_refused_by_name(written, field, value):
    assert f"line 3: {field} must be " in complaint(put(written, **{field: value}))


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(written, text):
    every = written.read_text().splitlines()
    written.write_text("\n".join([*every[:2], every[2].replace('"depth": 16', f'"depth": 16, "mine": {text}')]) + "\n")
    assert "line 3: mine must be" in complaint(written)


def test_missing_samples_and_extra_fields_are_kept(written):
    row = read(put(written, seconds=[0.1, None], mine={"a": [1, None]}, smm=None, steps=None)).rows[1]
    assert (row["mine"], row["smm"], row["steps"]) == ({"a": [1, None]}, None, None)
    np.testing.assert_array_equal(samples(row), [0.1, np.nan])


def test_blank_lines_do_no_harm(written):
    before = read(written).rows
    written.write_text(written.read_text().replace("\n", "\r\n\n"))
    assert read(written).rows == before


def test_a_broken_line_that_is_not_the_last_is_refused(written):
    every = written.read_text().splitlines()
    for broken in (every[1][:-1], "[1, 2]", "null", "\x00", "[" * 100_000):
        written.write_text("\n".join([every[0], broken, every[2]]) + "\n")
        assert "line 2: row is not a JSON object" in complaint(written)
    written.write_bytes(every[0].encode() + b"\n\xff\xfe\n")
    assert "line 2: row is not a JSON object" in complaint(written)


def test_what_is_no_results_file_is_refused(path, tmp_path):
    header = '{"schema": "pcsim-results/1", "context": {}}\n'
    assert "no such file" in complaint(path)
    assert "is a folder" in complaint(tmp_path)
    for text, said in (
        ("", "is empty"),
        ("hello\n", "schema is missing"),
        ("[]\n", "schema is missing"),
        ('{"rows": []}\n', "schema is missing"),
        ('{"schema": "pcsim-results/2", "context": {}}\n', "'pcsim-results/1'"),
        ('{"schema": "pcsim-results/1"}\n', "context must be"),
        ('{"schema": "pcsim-results/1", "context": []}\n', "context must be"),
        ('{"schema": "pcsim-results/1", "context": {"rate": NaN}}\n', "context must be"),
        ('{"schema": "pcsim-results/1", "cont', "cut in the middle"),
        (header + header, "schema stands a second time"),
        (header + '{"resumed": 1}\n', "resumed must be"),
    ):
        path.write_text(text)
        assert said in complaint(path)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_whatever_crash_the_reader(tmp_path_factory, garbage, headed):
    path = tmp_path_factory.mktemp("garbage") / "run.jsonl"
    path.write_bytes((b'{"schema": "pcsim-results/1", "context": {}}\n' if headed else b"") + garbage)
    try:
        rows = read(path).rows
    except InputError:
        before = path.read_bytes()
        complaint(path)
        # The beginning of a header, plain or packed, is one that was cut.
        if not b'{"schema": "pcsim-results/1"'.startswith(before) and not before.startswith(b"\x1f"):
            complaint(path, lambda path: Writer(path, CONTEXT, resume=True))
            assert path.read_bytes() == before
    else:
        assert rows == []


positive = st.floats(1e-9, 1e3)
plain = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=4)


@settings(deadline=None, max_examples=60)
@given(
    seconds=st.lists(positive, max_size=8),
    extra=st.dictionaries(
        st.text(min_size=1).filter(lambda name: name not in ("schema", "resumed")), plain, max_size=3
    ),
    notes=st.lists(st.text(), max_size=2),
    sizes=st.tuples(*[st.integers(1, 10**6)] * 4),
)
def test_what_is_written_is_read(tmp_path_factory, seconds, extra, notes, sizes):
    extra = {name: value for name, value in extra.items() if name not in fields._REQUIRED | fields._OPTIONAL}
    cell = dict(zip(("workers", "depth", "width", "batch"), sizes, strict=True))
    row = ROW | extra | cell | {"seconds": seconds, "warnings": notes}
    path = tmp_path_factory.mktemp("trip") / "run.jsonl"
    with Writer(path, CONTEXT) as writer:
        returned = writer.write(row)
    assert read(path).rows == [returned]
    assert returned | row == returned


def test_the_key_is_the_cell_and_configuration():
    assert key(ROW) == (
        "ipc",
        "layer-parallel",
        "threads",
        2,
        8,
        64,
        1,
        1,
        "float32",
        "tanh",
        None,
        None,
        "forward",
        "sgd",
        0.9,
        0.0,
        "random",
    )
    assert key(ROW | {"start": "forward", "optimizer": None, "net": None}) == key(ROW)
    assert key(ROW | {"seconds": [], "auto": True, "launch": 3, "kind": "predicted"}) == key(ROW)
    assert key({name: value for name, value in ROW.items() if name != "steps"}) == key(ROW | {"steps": None})
    for name in files.KEY:
        assert key(ROW | {name: "other"}) != key(ROW)
    with pytest.raises(KeyError):
        key({})


RANKED = ROW | {"backend": "mpi", "ranks": 2, "hosts": 1, "messages": 2, "counted_messages": 2, "message_bytes": 512}


def test_rows_of_ranks_are_read(path):
    row = RANKED | {"collectives": 0, "latency": 1.5e-6, "delay": None, "handover_seconds": 4e-7}
    bare = row | dict.fromkeys(("ranks", "hosts", "counted_messages", "latency"))
    with Writer(path, CONTEXT) as writer:
        written = [writer.write(row), writer.write(bare | {"messages": 2.5})]
    assert read(path).rows == written


def test_ranks_and_delays_tell_rows_apart_that_share_the_key():
    rows = [RANKED, RANKED | {"ranks": 1}, RANKED | {"delay": 0.0}, RANKED | {"delay": 1e-4}]
    assert len({key(row) for row in rows}) == 1
    assert len({configuration(row) for row in rows}) == 4
    assert configuration(ROW) == configuration(ROW | {"ranks": None, "delay": None})


def test_the_latest_rows_of_a_cell_count():
    rows = [ROW | {"median": 1.0}, ROW | {"execution": "serial"}, ROW | {"depth": 16}, ROW | {"median": 2.0}]
    assert latest(rows) == [rows[3], rows[2]]  # the cell was measured anew, its serial row not again
    assert latest([ROW | {"launch": 0}, ROW | {"launch": 1}]) == [ROW | {"launch": 0}, ROW | {"launch": 1}]
    # Half of a process, and then the whole of it: the other processes' rows stay.
    halves = [ROW | {"launch": n} for n in range(3)] + [ROW | {"launch": 2, "median": 7.0}]
    assert [row["launch"] for row in latest(halves)] == [0, 1, 2]
    assert latest(halves)[-1]["median"] == 7.0


def test_ranks_threads_and_delays_do_not_displace_one_another(monkeypatch):
    several = [RANKED, RANKED | {"ranks": 1}]  # two ranks of a thread, one rank of two
    delayed = [row | {"delay": delay} for delay in (0.0, 1e-4) for row in several]
    rows = [ROW, *several, *delayed]
    assert latest(rows) == rows
    assert latest([*rows, ROW | {"median": 1.0}]) == [ROW | {"median": 1.0}, *several, *delayed]
    again = [row | {"median": 1.0} for row in delayed[2:]]
    assert latest([*rows, *again]) == [ROW, *several, *delayed[:2], *again]
    # With the key alone, the second of two rows would make the first one old.
    monkeypatch.setattr(files, "configuration", key)
    assert latest(several) == several[1:]


def test_two_that_write_one_file_are_told_apart(written, tmp_path):
    """A second process that goes on with the file would write every row twice."""
    with Writer(written, {}, resume=True), pytest.raises(InputError, match=f"process {os.getpid()} is writing it"):
        Writer(written, {}, resume=True)
    with Writer(written, {}, resume=True), pytest.raises(InputError, match="is writing it; wait"):
        check_target(written, resume=True)
    before = written.read_bytes()
    Writer(written, {}, resume=True).close()  # the lock is gone with its holder
    assert written.read_bytes().startswith(before)
    new = tmp_path / "new.jsonl"
    with Writer(new, {}) as first:
        with pytest.raises(InputError, match="exists already"):
            Writer(new, {})
        first.write(ROW)


def test_a_loop_of_links_is_found_at_once(tmp_path):
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="symbolic links"):
        check_target(tmp_path / "a.jsonl")


def test_a_mark_of_byte_order_does_no_harm(written):
    written.write_bytes(b"\xef\xbb\xbf" + written.read_bytes())
    assert len(read(written).rows) == 2
    with Writer(written, CONTEXT, resume=True) as writer:
        writer.write(ROW | {"depth": 32})
    assert [row["depth"] for row in read(written).rows] == [8, 16, 32]
