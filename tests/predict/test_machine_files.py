"""Machine files: units and sources of the presets, and one line for each fault."""

import copy
import json
import math
import pickle
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from machines import FILES, IDEAL, MEASURED, SERVER, put

from pcsim.errors import InputError
from pcsim.predict import machine
from pcsim.predict.machine_files import PRESETS, figure, load, parse, presets
from pcsim.predict.prices import Task

some_examples = settings(deadline=None, max_examples=200)


def refused(content):
    """The one line in which a content is refused."""
    with pytest.raises(InputError) as caught:
        parse(content, Path("machine.json"))
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("machine.json: ")
    return line.removeprefix("machine.json: ")


# --- presets -------------------------------------------------------------------------------------------------------


def figures_of(content, at=""):
    """(path, figure) of every figure in a file."""
    if isinstance(content, dict):
        if "value" in content:
            yield at, content
        for name, inner in content.items():
            yield from figures_of(inner, f"{at}.{name}")
    elif isinstance(content, list):
        for number, inner in enumerate(content):
            yield from figures_of(inner, f"{at}[{number}]")


@pytest.mark.parametrize("name", presets())
def test_every_figure_of_a_preset_has_a_unit_and_a_source(name):
    content = json.loads((PRESETS / f"{name}.json").read_text())
    found = dict(figures_of(content))
    assert len(found) >= 8
    for at, one in found.items():
        assert set(one) == {"value", "unit", "source"}, at
        assert one["unit"].strip() and one["source"].strip(), at
    machine = load(name)
    assert machine.name == name and machine.title and machine.source == content
    assert machine.calibrated is None
    # A calibrated machine is a measured one, and no preset pretends to be.
    assert machine.model in ("constant", "roofline")


def test_there_are_presets():
    assert {"ideal", "server-64", "cluster-ethernet", "cluster-infiniband", "gpu-batched"} <= set(presets())


# --- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "path", "value", "said"),
    [
        ("ideal", "schema", ..., "schema: must be 'pcsim-machine/1' and is missing"),
        ("ideal", "schema", "pcsim-machine/2", "schema: must be 'pcsim-machine/1', not 'pcsim-machine/2'"),
        ("ideal", "schema", 1, "schema: must be a text, not 1"),
        ("ideal", "name", ..., "name: is missing"),
        ("ideal", "name", None, "name: must be a text, not null"),
        ("ideal", "colour", "blue", "colour: is unknown"),
        ("ideal", "two\nlines", 1, "two"),
        ("ideal", "notes", "none", "notes: must be a list"),
        ("ideal", "topology", ..., "topology: is missing"),
        ("ideal", "topology", [], "topology: must be an object, not []"),
        ("ideal", "topology.nodes", 1, "topology.nodes: must be an object, not 1"),
        ("ideal", "topology.nodes.value", 0, "topology.nodes.value: must be at least 1, not 0"),
        ("ideal", "topology.nodes.value", 1.5, "topology.nodes.value: must be a whole number of at least 1, not 1.5"),
        ("ideal", "topology.cores.unit", "core", "topology.cores.unit: must be 'cores', not 'core'"),
        ("ideal", "topology.racks", 1, "topology.racks: is unknown"),
        ("ideal", "topology.batched", 1, "topology.batched: must be true or false, not 1"),
        ("ideal", "products.model", "guess", "products.model: must be one of constant, roofline, measured"),
        ("ideal", "products.predict.unit", ..., "products.predict.unit: must be 's' and is missing"),
        ("ideal", "products.predict.unit", "ms", "products.predict.unit: must be 's', not 'ms'"),
        ("ideal", "products.predict.source", ..., "products.predict.source: is missing"),
        ("ideal", "products.predict.source", " ", "products.predict.source: must say where the figure is from"),
        ("ideal", "products.predict.value", ..., "products.predict.value: is missing"),
        ("ideal", "products.predict.value", -1, "products.predict.value: must be at least 0, not -1"),
        ("ideal", "products.predict.value", "1", 'products.predict.value: must be a finite number, not "1"'),
        ("ideal", "products.predict.value", True, "products.predict.value: must be a finite number, not true"),
        ("ideal", "products.predict.value", math.nan, "products.predict.value: must be a finite number, not NaN"),
        ("ideal", "products.predict.value", math.inf, "products.predict.value: must be a finite number"),
        ("ideal", "products.predict.value", None, "products.predict.value: must be a finite number, not null"),
        ("ideal", "products.predict.error", 0.1, "products.predict.error: is unknown"),
        ("ideal", "products.flop_rate", figure(1e9, "flop/s", "x"), "products.flop_rate: is unknown"),
        ("server", "products.flop_rate", ..., "products.flop_rate: is missing (flop/s)"),
        ("server", "products.flop_rate.value", 0, "products.flop_rate.value: must be at least 1"),
        ("server", "memory", ..., "memory: is missing: a roofline needs a level at least"),
        ("server", "memory", {}, "memory: must be a list"),
        ("server", "memory.0", 3, "memory[0]: must be an object, not 3"),
        ("server", "memory.0.bandwidth.value", -1.0, "memory[0].bandwidth.value: must be at least 1"),
        ("server", "memory.0.size.value", None, "memory[1].size: must be larger than that of the level before"),
        ("server", "memory.1.size.value", 1, "memory[1].size: must be larger than that of the level before"),
        ("server", "memory.0.level", ..., "memory[0].level: is missing"),
        ("server", "memory.0.speed", 1, "memory[0].speed: is unknown"),
        ("server", "handover.latency.value", -1e-9, "handover.latency.value: must be at least 0"),
        ("server", "handover.bandwidth.unit", "bit/s", "handover.bandwidth.unit: must be 'byte/s', not 'bit/s'"),
        ("server", "barrier.pair.unit", "µs", "barrier.pair.unit: must be 's'"),
        ("server", "energy.flop.value", -1, "energy.flop.value: must be at least 0"),
        ("cluster", "messages.between.segments", [], "messages.between.segments: must begin with one from 0 bytes on"),
        ("cluster", "messages.between.segments.0.from.value", 1, "messages.between.segments: must begin with one"),
        ("cluster", "messages.between.segments.0.gap.value", -1, "messages.between.segments[0].gap.value: must be at"),
        ("cluster", "messages.between.segments.0.gap.unit", "s", "messages.between.segments[0].gap.unit: must be"),
        ("cluster", "messages.across", {}, "messages.across: is unknown"),
        ("measured", "calibrated", 3, "calibrated: must be an object, not 3"),
        ("measured", "products.unit", ..., "products.unit: is missing"),
        ("measured", "products.unit", "ms", "products.unit: must be 's', not 'ms'"),
        ("measured", "products.columns", ["work"], "products.columns: must be"),
        ("measured", "products.points", [], "products.points: must hold a point at least"),
        ("measured", "products.points.3", [1, 2], "products.points[3]: must be a list of 7"),
        ("measured", "products.points.0.0", "sleep", "products.points[0]: work must be of start, predict"),
        ("measured", "products.points.0.6", -1.0, "products.points[0]: seconds must be a number of at least 0"),
        ("measured", "products.points.0.6", 0, "products.points[0]: seconds must be above 0"),
        ("measured", "products.points.0.6", math.nan, "products.points[0]: seconds must be a number"),
        ("measured", "products.points.0.3", 1.5, "products.points[0]: rows must be a whole number"),
        ("measured", "products.points.0.1", True, "products.points[0]: workers must be a number"),
    ],
)
def test_a_fault_is_one_line_that_names_the_field(file, path, value, said):
    parse(FILES[file], Path("machine.json"))
    assert refused(put(FILES[file], path, value)).startswith(said)


def test_what_is_no_machine_file_is_refused(tmp_path):
    path = tmp_path / "machine.json"
    for content in (
        b"",
        b"hello",
        json.dumps(SERVER).encode()[:-40],
        pickle.dumps(SERVER),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"NaN",
        b'"text"',
        b"3",
        json.dumps(put(IDEAL, "products.predict.value", math.nan)).encode(),
        json.dumps(put(IDEAL, "products.predict.value", -math.inf)).encode(),
        b'{"schema": "pcsim-machine/1", "name": ' + b"9" * 5000 + b"}",
        json.dumps(IDEAL).replace('"value": 1,', '"value": 1e999,').encode(),
        json.dumps(IDEAL).replace('"value": 1,', '"value": 1' + "0" * 400 + ",").encode(),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            load(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value), content[:60]
    for name in ("no-such-machine", tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError) as caught:
            load(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"presets are .*ideal"):
        load("no-such-machine")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["s", "byte", 10**400, -(10**400), "predict", "values+update"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def paths_of(content, at=()):
    if isinstance(content, dict | list):
        inside = content.items() if isinstance(content, dict) else list(enumerate(content))[:3]
        for name, inner in inside:
            yield (*at, name)
            yield from paths_of(inner, (*at, name))


@pytest.mark.parametrize("file", FILES)
@some_examples
@given(data=st.data())
def test_no_change_to_a_valid_file_breaks_the_reader(file, data):
    content = copy.deepcopy(FILES[file])
    for _ in range(data.draw(st.integers(1, 2))):
        way = data.draw(st.sampled_from(list(paths_of(content)) or [("name",)]))
        inner = content
        for part in way[:-1]:
            inner = inner[part]
        match data.draw(st.sampled_from(["replace", "delete", "add"])):
            case "replace":
                inner[way[-1]] = data.draw(anything)
            case "delete":
                del inner[way[-1]]
            case "add" if isinstance(inner, dict):
                inner[data.draw(st.text(max_size=5))] = data.draw(anything)
    lines = []
    try:
        machine = parse(content, Path("machine.json"))
        assert machine.cost(Task("update", 16, 16, 1, 4, 1024.0, 1)).seconds >= 0
    except InputError as error:
        lines.append(str(error))
    assert all("\n" not in line and line.strip() for line in lines)


@some_examples
@given(st.binary(max_size=80))
@example(pickle.dumps({"schema": "pcsim-machine/1"}))
def test_no_bytes_whatever_break_the_reader(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("garbage") / "machine.json"
    path.write_bytes(garbage)
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@some_examples
@given(st.data())
def test_no_cut_file_is_read(tmp_path_factory, data):
    text = json.dumps(MEASURED)
    path = tmp_path_factory.mktemp("cut") / "machine.json"
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_the_reader_knows_every_field_it_documents():
    assert machine.MODELS == ("constant", "roofline", "measured")
    assert load(str(PRESETS / "ideal.json")).constants["predict"] == 1


@pytest.mark.parametrize(
    ("field", "value"), [("workers", []), ("workers", [0]), ("dtype", "float16"), ("widths", "x"), ("time", 3)]
)
def test_a_calibration_says_when_and_over_which_range(field, value):
    assert f"calibrated.{field}: must be" in refused(put(MEASURED, f"calibrated.{field}", value))
