"""What a machine charges for a task: by hand, and never more with a better figure."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import FILES, MEASURED, put, task

from pcsim.algorithms import IPC
from pcsim.errors import InputError
from pcsim.predict.machine import Level, Machine, MessageTimes, Segment
from pcsim.predict.machine_files import load, parse
from pcsim.predict.plans import Net
from pcsim.predict.prices import SPLIT, Task
from pcsim.predict.simulate import simulate
from pcsim.predict.what_if import FIGURES, with_figure

some_examples = settings(deadline=None, max_examples=200)


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


measured = parse(MEASURED, Path("by hand"))
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


def test_another_element_size_is_outside_the_calibrated_range():
    marks = [simulate(IPC(), Net((32,) * 3, 1, item), measured).mark for item in (4, 8)]
    assert marks == ["", "outside the calibrated range"]


def test_a_gradient_of_one_sample_costs_what_its_update_does():
    points = [p for p in MEASURED["products"]["points"] if p[0] not in SPLIT or p[2] > 1]
    machine = parse(put(MEASURED, "products.points", points), Path("machine.json"))
    cost = [machine.cost(Task(work, 32, 32, 1, 4, 1000.0, 2)) for work in ("gradient", "descend", "update")]
    assert cost[0] == cost[1] == cost[2]
