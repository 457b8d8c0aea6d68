"""Calendars: each rule by a calendar that breaks it, and the graphs of calendars that pcsim does not have."""

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.errors import InputError
from pcsim.schedule.builders import task_graph
from pcsim.schedule.calendar import Calendar, Stage
from pcsim.schedule.tasks import Kind

START, PREDICT, BACKPROJECT, VALUE, UPDATE, *_ = Kind

MOVE, ALL = Stage(), Stage(update=(0, 1, 2), completes=True)

DEPTH = 3  # of the nets for which these calendars are made


# Rules


@pytest.mark.parametrize(
    ("stages", "options", "said"),
    [
        ((), {}, "at least one stage"),
        ([ALL], {}, "a tuple of Stage"),
        ((ALL, "move"), {}, "a tuple of Stage"),
        ((replace(ALL, update=(0, 1, 3)),), {}, r"W\[0\] to W\[2\]"),
        ((replace(ALL, update=(0, 1, -1)),), {}, r"W\[0\] to W\[2\]"),
        ((replace(ALL, update=[0, 1, 2]),), {}, r"in a tuple"),
        ((replace(ALL, update=(0, 1, "2")),), {}, r"must name weights"),
        ((replace(ALL, update=(0, 1, 2, 1)),), {}, "stage 0 updates a layer twice"),
        ((MOVE, replace(ALL, predict=False)), {}, r"stage 1 updates W\[0\] before the error is known"),
        ((Stage(predict=False), ALL), {}, "stage 0 updates the values before the error is known"),
        ((Stage(predict=False, move=False), ALL), {}, "stage 0 does nothing"),
        ((MOVE, replace(ALL, completes=2)), {}, "stage 1: completes is True or False, not 2"),
        ((replace(MOVE, move="yes"), ALL), {}, "stage 0: move is True or False, not 'yes'"),
        ((replace(MOVE, predict=1), ALL), {}, "stage 0: predict is True or False, not 1"),
        ((ALL,), {"chained": "no"}, "chained is True or False, not 'no'"),
        ((Stage(update=(1, 2), completes=True),), {}, r"in which W\[0\] was not updated"),
        ((ALL, Stage(update=(2,), completes=True)), {}, r"stage 1 completes .* W\[0\] was not"),
        ((Stage(update=(0, 1, 2)),), {}, "no stage completes a weight update"),
        ((ALL, Stage(update=(1,))), {}, r"W\[1\] updates after the last weight update"),
        ((ALL,), {"repeats": 0}, "repeats 1 time or more"),
        ((ALL,), {"repeats": True}, "repeats 1 time or more"),
        ((ALL,), {"repeats": 1.5}, "repeats 1 time or more"),
        ((replace(ALL, move=False),), {}, r"no error ever reaches W\[0\]"),
        ((ALL,), {"chained": True}, "chained"),
        ((replace(ALL, move=False), MOVE), {"chained": True}, "chained"),
        ((replace(ALL, move=False),), {"chained": True, "repeats": None}, "chained"),
        # The output's error is known below W[2] after one step in which values moved, below W[1] after two.
        ((Stage(update=(1,)), MOVE, Stage(update=(0, 2), completes=True)), {}, r"W\[1\] .* step 0 .* at step 1"),
        ((MOVE, Stage(update=(0,)), Stage(update=(1, 2), completes=True)), {}, r"W\[0\] .* step 1 .* at step 2"),
        (
            (MOVE, Stage(move=False, update=(0,)), Stage(move=False), Stage(update=(1, 2), completes=True), MOVE),
            {},
            r"W\[0\] .* step 1 .* at step 4",
        ),
    ],
)
def test_a_calendar_that_breaks_a_rule_is_refused_in_one_line(stages, options, said):
    with pytest.raises(InputError, match=said) as caught:
        Calendar(stages, **options).check(DEPTH)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "calendar",
    [
        Calendar((ALL,), None),
        Calendar((ALL,), 1),  # W[0] never hears of the error: the batch does not last until then
        Calendar((MOVE, ALL), 2),
        Calendar((MOVE, replace(ALL, move=False), MOVE)),
        Calendar((Stage(update=(2,)), Stage(update=(1,)), Stage(update=(0,), completes=True))),
        Calendar((Stage(update=(0, 2)), Stage(update=(1,)), Stage(update=(0,), completes=True))),  # W[0] once in vain
        Calendar((Stage(update=(2, 0)), Stage(update=(1,), completes=True)), 3),  # in the next rounds it is known
        Calendar((MOVE, MOVE, ALL, MOVE, MOVE, ALL)),
        Calendar((replace(ALL, move=False),), chained=True),
    ],
)
def test_a_calendar_that_keeps_the_rules_is_taken(calendar):
    calendar.check(DEPTH)


@pytest.mark.parametrize("depth", range(1, 9))
def test_the_built_in_calendars_keep_the_rules(depth):
    for algorithm in (BP(), ZIL(), IPC(), *(PC(T=T) for T in range(1, 10))):
        for steps_per_batch in (None, 1, 2, 5, 40):
            assert algorithm.checked_calendar(depth, steps_per_batch).chained == isinstance(algorithm, BP)


# Steps and updates


def naive_steps(calendar, updates, position):
    stages, steps = calendar.stages, 0
    while updates:
        updates -= stages[(position + steps) % len(stages)].completes
        steps += 1
    return steps


@pytest.mark.parametrize(
    "calendar",
    [Calendar((ALL,)), Calendar((MOVE, ALL)), Calendar((ALL, MOVE, ALL, MOVE, MOVE)), Calendar((MOVE, ALL, MOVE))],
)
def test_steps_end_with_the_one_that_completes_an_update(calendar):
    assert calendar.completed.tolist() == [0, *accumulate(stage.completes for stage in calendar.stages)]
    for position in range(len(calendar.stages)):
        for updates in range(1, 8):
            assert calendar.steps(updates, position) == naive_steps(calendar, updates, position)


def test_a_mean_of_steps_may_be_a_fraction():
    assert Calendar((MOVE, ALL), None).steps_per_update == 2
    assert Calendar((ALL, MOVE, ALL)).steps_per_update == 1.5
    assert isinstance(IPC().calendar(4).steps_per_update, int)


# Graphs of any calendar


@st.composite
def calendars(draw, depth):
    """Any calendar that keeps the rules."""
    layers = st.sets(st.integers(0, depth - 1)).map(lambda found: tuple(sorted(found)))
    stages = []
    for _ in range(draw(st.integers(1, 2))):
        early = [Stage(move=draw(st.booleans()), update=draw(layers)) for _ in range(draw(st.integers(0, 2)))]
        stages += [*early, Stage(move=draw(st.booleans()), update=tuple(range(depth)), completes=True)]
    stages += [Stage(move=draw(st.booleans())) for _ in range(draw(st.integers(0, 2)))]
    found = Calendar(tuple(stages), draw(st.none() | st.integers(1, 3)))
    try:
        found.check(depth)
    except InputError:
        assume(False)
    return found


@st.composite
def cases(draw):
    depth = draw(st.integers(1, 5))
    return draw(calendars(depth)), depth, draw(st.integers(1, 7))


def naive_tasks(calendar, depth, steps):
    """What each task waits for: every array remembers who wrote it, as in the oracle's step."""
    found, writer = {}, {}

    def run(task, reads, writes, book):
        found[task] = {writer[name] for name in reads if name in writer}
        book.update(dict.fromkeys(writes, task))

    for s in range(steps):
        stage = calendar.stages[s % len(calendar.stages)]
        opening = s == 0 if calendar.endless else s % calendar.cycle == 0
        if opening:
            writer = {name: task for name, task in writer.items() if name[0] == "W"}
        for l in range(depth):
            if opening:
                made = [("x", l + 1)] if l + 1 < depth else []
                run((START, s, l), [("x", l), ("W", l)], [("e", l + 1), *made], writer)
            else:
                run((PREDICT, s, l), [("x", l), ("x", l + 1), ("W", l)], [("e", l + 1)], writer)
        after = {}
        for l in range(1, depth) if stage.move else ():
            run((BACKPROJECT, s, l), [("e", l + 1), ("W", l)], [("d", l)], writer)
            run((VALUE, s, l), [("e", l), ("d", l), ("x", l)], [("x", l)], after)
        for l in stage.update:
            run((UPDATE, s, l), [("e", l + 1), ("x", l), ("W", l)], [("W", l)], after)
        writer.update(after)
    return found


def edges_of(graph):
    names = [(Kind(k), s, l) for k, s, l in zip(graph.kinds, graph.steps, graph.layers, strict=True)]
    indptr, indices = graph.predecessors
    return {name: [names[u] for u in indices[indptr[v] : indptr[v + 1]]] for v, name in enumerate(names)}


@settings(deadline=None, max_examples=300)
@given(cases())
def test_the_graph_of_any_calendar_has_the_edges_of_the_dynamics(case):
    calendar, depth, updates = case
    graph = task_graph("mine", calendar, depth, updates)
    found = edges_of(graph)
    assert {name: set(before) for name, before in found.items()} == naive_tasks(
        calendar, depth, calendar.steps(updates)
    )
    assert all(len(before) == len(set(before)) for before in found.values())
    assert all(
        u < v
        for v in range(len(graph))
        for u in graph.predecessors.indices[slice(*graph.predecessors.indptr[v : v + 2])]
    )
    assert graph.update_of[-1] == updates - 1
    assert graph.period == calendar.period


@settings(deadline=None, max_examples=100)
@given(cases())
def test_twin_one_move_less_gives_another_graph(case):
    calendar, depth, updates = case
    moving = [number for number, stage in enumerate(calendar.stages) if stage.move]
    assume(depth > 1 and moving and moving[0] < calendar.steps(updates))
    stages = list(calendar.stages)
    stages[moving[0]] = replace(stages[moving[0]], move=False)
    twin = replace(calendar, stages=tuple(stages))
    steps = calendar.steps(updates)
    assert naive_tasks(calendar, depth, steps).keys() != edges_of(task_graph("mine", twin, depth, updates)).keys()


@settings(deadline=None, max_examples=60)
@given(cases())
def test_counts_are_those_of_the_steady_state(case):
    calendar, depth, _ = case
    number = calendar.period_updates
    graph, longer = (task_graph("mine", calendar, depth, times * number + 1) for times in (2, 9))
    assert graph.period_updates == longer.period_updates == number
    for name in ("mm", "smm", "mm_full"):
        assert getattr(graph, name) == getattr(longer, name)
    owner = [l * 2 // depth for l in range(depth)]
    assert graph.messages(owner) == longer.messages(owner)
    for workers in (1, 2):
        assert graph.makespan(workers) == longer.makespan(workers) >= max(graph.smm, graph.mm / workers)


def test_half_as_many_updates_cost_two_steps_each():
    """iPC whose weights update at every second step: by hand."""
    calendar = Calendar((Stage(), Stage(update=(0, 1, 2, 3), completes=True)), None)
    graph = task_graph("half", calendar, 4, 3)
    assert (graph.mm, graph.smm, graph.mm_full) == (2 * 7, 4, 2 * 7 + 4)
    assert graph.messages([0, 0, 1, 1]) == 2 * IPC().tasks(4, 3).messages([0, 0, 1, 1])
