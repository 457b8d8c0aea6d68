"""Machine files: strict reading, one line for every fault, costs by hand, and figures that only help."""

import copy
import dataclasses
import json
import math
import pickle
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcsim.algorithms import IPC
from pcsim.errors import InputError
from pcsim.predict import machine
from pcsim.predict.machine import COLUMNS, Level, Machine, MessageTimes, Segment
from pcsim.predict.machine_files import PRESETS, figure, load, parse, presets
from pcsim.predict.plans import Net
from pcsim.predict.prices import PARTS, SPLIT, Task
from pcsim.predict.simulate import simulate
from pcsim.predict.what_if import FIGURES, with_figure

SERVER = json.loads((PRESETS / "server-64.json").read_text())
CLUSTER = json.loads((PRESETS / "cluster-ethernet.json").read_text())
IDEAL = json.loads((PRESETS / "ideal.json").read_text())
MEASURED = {
    "schema": "pcsim-machine/1",
    "name": "by hand",
    "title": "",
    "calibrated": {"time": "today", "widths": [16, 64], "batches": [1, 8], "workers": [1, 2], "dtype": "float32"},
    "topology": {part: figure(count, part, "by hand") for part, count in (("nodes", 1), ("sockets", 1), ("cores", 2))},
    "products": {
        "model": "measured",
        "unit": "s",
        "source": "by hand",
        "overhead": figure(1e-7, "s", "by hand"),
        "columns": list(COLUMNS),
        "points": [
            [work, workers, batch, rows, columns, distance, 1e-9 * rows * columns * batch * workers * slow]
            for work in (*PARTS, *SPLIT)
            for workers in (1, 2)
            for batch in (1, 8)
            for columns in (16, 64)
            for rows in ((1,) if work == "values" else (columns // 2, columns))
            for distance, slow in ((1000.0, 1.0), (100_000.0, 3.0))
        ],
    },
    "memory": [
        {
            "level": "memory",
            "size": figure(None, "byte", "by hand"),
            "bandwidth": figure(1e10, "byte/s", "by hand"),
        }
    ],
}
FILES = {"server": SERVER, "cluster": CLUSTER, "ideal": IDEAL, "measured": MEASURED}
some_examples = settings(deadline=None, max_examples=200)


def refused(content):
    """The one line in which a content is refused."""
    with pytest.raises(InputError) as caught:
        parse(content, Path("machine.json"))
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("machine.json: ")
    return line.removeprefix("machine.json: ")


def put(content, path, value):
    """A copy with another value at a path such as ``products.start.unit`` or ``memory.0``; of ``...`` without it."""
    content = copy.deepcopy(content)
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inner = content
    for part in way:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


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


# --- costs by hand -------------------------------------------------------------------------------------------------


def task(work="predict", rows=8, columns=4, batch=1, distance=100.0, workers=1, **fields):
    return Task(work, rows, columns, batch, 4, distance, workers, **fields)


def test_flop_and_bytes_of_a_task():
    assert task().flops == 2 * 8 * 4
    assert task("predict+backproject+update", batch=3).flops == 3 * 2 * 8 * 4 * 3
    assert task("values").flops == task("values").bytes == task("descend").flops == 0
    size = 8 * 4 * 4
    assert task().bytes == size
    assert task("predict+backproject+update").bytes == 2 * size  # once read, once written
    assert task("predict+backproject+update", batch=2).bytes == 4 * size
    assert task("gradient").bytes == size
    assert task("descend").bytes == 3 * size


def test_a_roofline_by_hand():
    near = Level("near", 1000, 1e9)
    far = Level("far", None, 1e6, shared=2e6, sharers=8)
    machine = Machine("r", "", "roofline", 1, 1, 8, flop_rate=1e7, overhead=0.5, element=0.25, levels=(near, far))
    assert machine.cost(task()) == (0.5 + 64 / 1e7, 0.0, True)
    far_away = machine.cost(task(distance=1001.0))
    assert far_away.seconds == pytest.approx(0.5 + 128 / 1e6)
    assert far_away.memory == pytest.approx(128 / 1e6 - 64 / 1e7)
    crowded = machine.cost(task(distance=1001.0, workers=4)).seconds
    assert crowded == pytest.approx(0.5 + 128 / 0.5e6)
    assert machine.cost(task(distance=1001.0, workers=4, together=False)) == far_away
    assert machine.cost(task("values", batch=2)).seconds == pytest.approx(0.5 + 8 * 0.25)
    assert machine.level(task(distance=500.0, crowd=3.0)) is near  # nobody shares the near one


def test_constants_by_hand():
    costs = {"start": 1.0, "predict": 2.0, "backproject": 4.0, "update": 8.0, "values": 16.0}
    machine = Machine("c", "", "constant", 1, 1, None, constants=costs)
    assert machine.cost(task("predict+backproject+update", batch=5)).seconds == 14
    assert machine.cost(task("gradient")).seconds == 8 and machine.cost(task("descend")).seconds == 0
    assert machine.cost(task("values")).seconds == 16
    each = dataclasses.replace(machine, serial_batch=True)
    assert each.cost(task("predict+backproject+update", batch=5)).seconds == 70


def test_messages_meetings_and_hand_overs_by_hand():
    messages = MessageTimes(1.0, (Segment(0.0, 2.0, 0.5), Segment(100.0, 8.0, 0.25)))
    assert (messages.one_way(10), messages.one_way(100)) == (7.0, 33.0)
    machine = Machine(
        "m", "", "constant", 2, 1, 4, handover_latency=1.0, handover_bandwidth=4.0, barrier=(3.0, 2.0), between=messages
    )
    assert machine.handover(8) == 3.0
    assert [machine.meeting(n) for n in (1, 2, 4, 16)] == [0.0, 3.0, 5.0, 9.0]
    assert machine.messages(True) is machine.messages(False) is messages  # nothing is known of ranks within a node
    with pytest.raises(InputError, match="no messages between nodes"):
        dataclasses.replace(machine, between=None, within=messages).messages(True)
    assert machine.workers == 8 and dataclasses.replace(machine, nodes=None).workers is None


def test_energy_is_flop_and_bytes_at_their_prices():
    level = Level("memory", None, 1e9, energy=3.0)
    machine = Machine("e", "", "roofline", 1, 1, 1, flop_rate=1e9, levels=(level,), flop_energy=2.0)
    assert machine.energy(task()) == 2.0 * 64 + 3.0 * 128
    assert dataclasses.replace(machine, flop_energy=None).energy(task()) is None


def test_more_cores_share_what_there_is():
    machine = load("server-64")
    more = machine.scaled(2 * machine.cores)
    assert more.cores == 2 * machine.cores and more.workers == 2 * machine.workers
    shared = [i for i, level in enumerate(machine.levels) if level.sharers == machine.cores]
    assert shared
    grown = machine.scaled(2 * machine.cores, bandwidth=True)
    for i in shared:
        assert more.levels[i].shared == machine.levels[i].shared
        assert more.levels[i].sharers == 2 * machine.levels[i].sharers
    assert grown.levels[-1].shared == 2 * machine.levels[-1].shared
    assert more.name != grown.name != machine.name
    with pytest.raises(InputError, match="at least one core"):
        machine.scaled(0)


# --- measured points -----------------------------------------------------------------------------------------------

measured = parse(MEASURED, Path("by hand"))


def test_measured_points_are_given_back():
    for work, workers, batch, rows, columns, distance, seconds in MEASURED["products"]["points"]:
        found = measured.cost(Task(work, rows, columns, batch, 4, distance, workers, float(workers)))
        assert found.seconds == pytest.approx(seconds + (1e-7 if work == "values" else 0.0), rel=1e-9)
        assert found.inside


def test_between_measured_points_and_beyond_them():
    def cost(**fields):
        return measured.cost(task(**{"rows": 32, "columns": 32, "distance": 1000.0, **fields}))

    assert cost().seconds == pytest.approx(1e-9 * 32 * 32) and cost().inside
    assert cost(distance=10_000.0).seconds == pytest.approx(2e-9 * 32 * 32)  # half way along the logarithm
    assert cost(distance=1e9).seconds == pytest.approx(3e-9 * 32 * 32)
    assert cost(distance=1e9).memory == pytest.approx(2e-9 * 32 * 32)
    assert not cost(rows=128, columns=128).inside
    assert cost(rows=128, columns=128).seconds == pytest.approx(1e-9 * 128 * 128)
    assert not cost(workers=3).inside and not cost(batch=64).inside
    assert cost(batch=8).inside and cost(batch=64).seconds == pytest.approx(64e-9 * 32 * 32)
    parts = cost(work="predict+update")
    assert parts.seconds == pytest.approx(cost().seconds + cost(work="update").seconds)


def test_twin_another_point_is_another_cost():
    content = copy.deepcopy(MEASURED)
    for point in content["products"]["points"]:
        if point[:5] == ["predict", 1, 1, 64, 64]:
            point[6] *= 1.01
    twin = parse(content, Path("twin"))
    same = task(rows=64, columns=64, distance=1000.0)
    assert twin.cost(same).seconds == pytest.approx(1.01 * measured.cost(same).seconds)
    assert twin.cost(task(rows=16, columns=16)) == measured.cost(task(rows=16, columns=16))


def test_a_work_without_points_is_refused():
    content = put(MEASURED, "products.points", [p for p in MEASURED["products"]["points"] if p[0] != "update"])
    with pytest.raises(InputError, match="no measured points for 'update' at batch 1"):
        parse(content, Path("twin")).cost(task("update"))


better = {"flop rate": 2.0, "memory bandwidth": 2.0, "hand-over bandwidth": 2.0}


@some_examples
@given(
    st.sampled_from(["measured", "server", "cluster", "ideal"]),
    st.sampled_from(sorted(FIGURES)),
    st.sampled_from(["start", "predict+backproject+update", "update", "gradient", "descend", "values"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([1, 2, 20, 100]),
    st.floats(1, 1e8),
    st.integers(1, 4),
)
def test_a_better_figure_never_makes_a_task_dearer(file, name, work, rows, columns, batch, distance, workers):
    machine = parse(FILES[file], Path(file))
    changed = with_figure(machine, name, better.get(name, 0.5))
    one = task(work, rows, columns, batch, distance, workers)
    assert changed.cost(one).seconds <= machine.cost(one).seconds * (1 + 1e-9)
    assert changed.handover(1000) <= machine.handover(1000)
    assert changed.meeting(8) <= machine.meeting(8)


@some_examples
@given(st.lists(st.floats(1e-9, 1e-6), min_size=8, max_size=8), st.integers(1, 100), st.floats(1, 1e7))
def test_more_bandwidth_never_makes_a_measured_task_dearer(seconds, rows, distance):
    """Whatever was measured, noise and all."""
    turn = iter(seconds * 2)
    points = [
        ["predict", 1, 1, r, c, d, next(turn)] for c in (16, 64) for r in (c // 2, c) for d in (1000.0, 100_000.0)
    ]
    machine = parse(put(MEASURED, "products.points", points), Path("noisy"))
    one = task(rows=rows, columns=32, distance=distance)
    for name in ("memory bandwidth", "flop rate"):
        assert with_figure(machine, name, 2.0).cost(one).seconds <= machine.cost(one).seconds * (1 + 1e-9), name


def test_an_unknown_figure_is_refused():
    with pytest.raises(InputError, match="'colour' is unknown: choose from flop rate"):
        with_figure(load("ideal"), "colour", 2.0)


def test_the_reader_knows_every_field_it_documents():
    assert machine.MODELS == ("constant", "roofline", "measured")
    assert load(str(PRESETS / "ideal.json")).constants["predict"] == 1


def test_another_element_size_is_outside_the_calibrated_range():
    marks = [simulate(IPC(), Net((32,) * 3, 1, item), measured).mark for item in (4, 8)]
    assert marks == ["", "outside the calibrated range"]


def test_a_gradient_of_one_sample_costs_what_its_update_does():
    points = [p for p in MEASURED["products"]["points"] if p[0] not in SPLIT or p[2] > 1]
    machine = parse(put(MEASURED, "products.points", points), Path("machine.json"))
    cost = [machine.cost(Task(work, 32, 32, 1, 4, 1000.0, 2)) for work in ("gradient", "descend", "update")]
    assert cost[0] == cost[1] == cost[2]


@pytest.mark.parametrize(
    ("field", "value"), [("workers", []), ("workers", [0]), ("dtype", "float16"), ("widths", "x"), ("time", 3)]
)
def test_a_calibration_says_when_and_over_which_range(field, value):
    assert f"calibrated.{field}: must be" in refused(put(MEASURED, f"calibrated.{field}", value))
