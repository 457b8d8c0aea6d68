"""The real loops in thousands of random orders of events: no race, no stale value, no deadlock, MPI's rules kept.

``replay`` tells how. Whoever adds an execution, or a loop, adds its kind to ``KINDS``.
"""

from dataclasses import replace

import clocks
import pytest
import replay
import replayed

from pcsim.schedule.calendar import Calendar, Stage

THREADS = ("layers", "serial", "intra-layer", "data-parallel", "pipeline", "pipeline-async", "zero-bubble")
THREADS += ("local", "dfa", "dual")
SHARED = ("pc-intra-layer", "pc-hybrid", "pc-data-parallel")
RANKS = (
    "layers-ranks",
    "intra-layer-ranks",
    "data-parallel-ranks",
    "pipeline-ranks",
    "zero-bubble-ranks",
    "pipeline-async-ranks",
    "local-ranks",
    "dfa-ranks",
    "dual-ranks",
)
RANKS += tuple(f"{kind}-ranks" for kind in SHARED)
KINDS = (*THREADS, *SHARED, *RANKS)
# Whatever the number of workers: of the others the sums depend on it.
SAME_BITS = (None, "pipeline", "pipeline-async", "serial", "local", "dfa", "dual")


@pytest.fixture(scope="module")
def loops():
    return replay.load()


@pytest.fixture(autouse=True)
def no_threads(monkeypatch):
    replayed.prepare(monkeypatch)


def count(kind):
    """How many cases of a kind."""
    return 150 if kind.startswith("layers") else 50


def check(case, loops):
    """A Fault if the case has one, or leaves something else than one worker does, step by step."""
    found = replayed.Replay(case, loops).run()
    if found is not None and case.execution in SAME_BITS:
        fused = case.fused if case.execution in replayed.RIVALS else True  # another pass, whose order is another, too
        alone = replace(case, ranks=1, threads=1, mpi=False, wave=1, fused=fused, stop_after=None)
        if found != replayed.Replay(alone, loops).run():
            raise clocks.Fault("a stale value: one worker's are made from others")


def first_fault(kinds, loops, cases, **options):
    """The first fault of so many cases of each kind; None for none."""
    for seed in range(cases):
        for kind in kinds:
            try:
                check(replayed.draw(seed, kind, **options), loops)
            except clocks.Fault as fault:
                return f"{kind} {seed}: {fault}"
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_no_order_of_events_is_a_race_or_a_deadlock(loops, kind):
    assert first_fault([kind], loops, count(kind)) is None


@pytest.mark.parametrize("kind", RANKS)
def test_messages_keep_mpi_s_rules(loops, kind):
    assert first_fault([kind], loops, count(kind), rules=True) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_at_any_time_ends_all_workers_and_starts_nothing_twice(loops, kind):
    assert first_fault([kind], loops, count(kind) // 2, rules=kind in RANKS, stops=True) is None


def test_cases_are_as_many_kinds_of_runs_as_there_are(loops):
    """What is drawn has every depth, number of workers, wave, and what else can be."""
    drawn = [
        replayed.draw(seed, kind, stops=True) for kind in ("layers", "layers-ranks") for seed in range(count(kind))
    ]
    assert {case.depth for case in drawn} == set(range(1, 10))
    assert {case.threads for case in drawn if not case.mpi} == set(range(1, 6))
    assert {case.ranks * case.threads for case in drawn if case.mpi} >= {2, 3, 4, 6, 8}
    assert {case.wave for case in drawn} == {1, 2, 3, 5}
    assert {case.calendar.repeats for case in drawn} == {None, 1, 2, 5}
    assert {case.calendar.start for case in drawn} == {"forward", "pipelined"}
    assert (
        {case.fused for case in drawn}
        == {case.given for case in drawn}
        == {case.adam for case in drawn}
        == {True, False}
    )
    assert any(not stage.move for case in drawn for stage in case.calendar.stages)
    stopped = [replayed.Replay(case, loops).run() is None for case in drawn[:60]]
    assert 10 < sum(stopped) < 60


def test_no_receive_is_started_across_a_forward_start():
    """Values move in the step of the start and two steps later, not in between: the message of that later step could
    come before the zeros of the first had been used."""
    every = (0, 1, 2, 3)
    stages = (Stage(), Stage(move=False), Stage(update=every, completes=True))
    case = replayed.Case(72, None, 4, 4, 1, calendar=Calendar(stages, 1), runs=(4,), mpi=True)
    right, text = replay.sources(), " and free:"
    assert text in right["edges"]
    twin = replay.load({**right, "edges": right["edges"].replace(text, ":")})
    faults, mended = 0, replay.load()
    for seed in range(40):
        check(replace(case, seed=seed), mended)
        try:
            check(replace(case, seed=seed), twin)
        except clocks.Fault:
            faults += 1
    assert faults


# Twins: one wait less, or one condition


def kinds_of(module):
    """Which cases run the loops of a module."""
    layers = ("layers-ranks", "layers")
    bp = {"backprop": THREADS[2:5], "asynchronous": THREADS[5:6], "backprop_ranks": RANKS[1:4]}
    bp |= {"zero_bubble": ("zero-bubble", "zero-bubble-ranks"), "asynchronous_ranks": RANKS[5:6]}
    bp |= {"local": ("local",), "feedback": ("dfa",), "dual": ("dual", RANKS[8]), "streams_ranks": RANKS[6:8]}
    bp["dual_edges"] = RANKS[8:9]
    bp["exchange"] = (RANKS[1], RANKS[9])
    shared = {"teams": SHARED[:2], "samples": SHARED[2:]}
    shared |= {"rows_ranks": RANKS[9:10], "teams_ranks": RANKS[10:11], "samples_ranks": RANKS[11:]}
    return {"edges": layers[:1], "predictive_coding": layers, "starts": layers, **bp, **shared}[module]


def fault_of(module, loops, count=80):
    """The first fault that cases of this module find, in any of the ways to look."""
    alone = module in ("backprop", "asynchronous", "local", "feedback", "dual", "teams", "samples")  # without messages
    options = [{}] if alone else [{}, {"rules": True}, {"rules": True, "stops": True}]
    return next(filter(None, (first_fault(kinds_of(module), loops, count, **each) for each in options)), None)


NEEDLESS = {  # (module, function, what is called): why nothing is amiss without
    ("predictive_coding", "predictive_coding", "meet"): "a common start, for the clocks",
    ("backprop", "intra_layer", "meet"): "a common start, for the clocks",
    ("backprop", "data_parallel", "meet"): "a common start, for the clocks",
    ("backprop", "pipeline", "meet"): "a common start, for the clocks",
    ("asynchronous", "pipeline_async", "meet"): "a common start, for the clocks",
    ("local", "local", "meet"): "a common start, for the clocks",
    ("feedback", "feedback", "meet"): "a common start, for the clocks",
    ("dual", "dual", "meet"): "a common start, for the clocks",
    ("streams_ranks", "local_on_rank", "meet"): "a common start, for the clocks",
    ("streams_ranks", "feedback_on_rank", "meet"): "a common start, for the clocks",
    ("streams_ranks", "_error_left", "_until"): "values that came from below need it; MPI may say so later",
    ("zero_bubble", "zero_bubble", "meet"): "a common start, for the clocks",
    ("asynchronous_ranks", "pipeline_async", "meet"): "a common start, for the clocks",
    ("teams", "teams", "meet"): "a common start, for the clocks",
    ("samples", "samples", "meet"): "a common start, for the clocks",
    ("teams_ranks", "team_of_rank", "meet"): "a common start, for the clocks",
    ("backprop_ranks", "data_parallel", "done"): "moves messages on; each sum is waited for below",
}
WAITS = replay.waits(replay.sources())


def named(place):
    return "-".join(map(str, place[:4]))


@pytest.mark.parametrize("place", [place for place in WAITS if place[:3] not in NEEDLESS], ids=named)
def test_twin_without_one_wait_is_found(place):
    assert fault_of(place[0], replay.load(without=place))


def test_what_is_called_needless_is_there_and_is():
    places = [place for place in WAITS if place[:3] in NEEDLESS]
    assert {place[:3] for place in places} == NEEDLESS.keys()
    assert [place for place in places if fault_of(place[0], replay.load(without=place), 4)] == []


TWINS = [  # module, what stands there, what the twin has
    ("edges", " and step <= edges.state[state + RECEIVED]:", ":"),
    ("edges", "if step < reached(progress, mine) and", "if"),
    ("edges", "arrived = edges.state[state + SENT] > step", "arrived = True"),
    ("edges", "edges.state[state + POSTED] > step and done(", "done("),
    ("edges", " and (after - step) & 1 and free", " and free"),
    ("edges", "if arrived and _left(edges, side, (step + 1) & 1) and", "if arrived and"),
    ("edges", " and _passed(edges, side, step):", ":"),
    ("edges", "edges.state[START_DONE]) > step", "edges.state[START_DONE]) >= step"),
    ("edges", "_passes(edges, ABOVE, k) < step:", "_passes(edges, ABOVE, k) < step - 2:"),
    ("edges", "* cycle - edges.first < edges.state[SENT]:", "* cycle - edges.first < edges.state[SENT] + 3:"),
    ("edges", "if step >= 0 else reached(started, workers - 1) > k", "if step >= 0 else True"),
    ("predictive_coding", "<= b.starts.lead  #", "<  b.starts.lead  #"),
    ("edges", "_left(edges, side, (step + 1) & 1)", "_left(edges, side, step & 1)"),
    ("edges", " and reached(started, workers - 1) > batch", ""),
    ("edges", "if side == ABOVE and edges.batches > 0", "if False"),
    ("predictive_coding", "if b.below == b.workers and forward:", "if False:"),
    ("starts", "(p.batch + k) % p.places[l]", "k * 0"),
    ("predictive_coding", "publish(b.started, b.worker, k + 1)", "publish(b.started, b.worker, k + 2)"),
    ("predictive_coding", "step + 1, step) or not moving:", "step + 1, step):"),
    ("predictive_coding", "b.worker + 1, step + 1)", "b.worker + 1, step + 2)"),
    ("predictive_coding", "inner = l if upwards else l + 1", "inner = l + 1 if upwards else l"),
    ("predictive_coding", "if l == b.lo and bottom >= 0:", "if False:"),
    ("backprop", "    publish(turns, worker, turn)\n", "    publish(turns, worker, turn + 1)\n"),
    ("backprop", "if l > 0 or depth == 1:", "if l > 0:"),
    ("backprop_ranks", "for i in (4 * m, 4 * m + 2):", "for i in (4 * m,):"),
    ("asynchronous", "done - 2, stop)", "done - 3, stop)"),
    ("asynchronous", "(t & 1) * r.error_count\n    below", "ZERO\n    below"),
    ("asynchronous", "batch % r.places[m]", "batch % max(1, r.places[m] - 2)"),
    ("local", "2 * who.below + 1, t + 1, stop)", "2 * who.below + 1, t, stop)"),
    ("local", "t + 1 - r.places, stop)", "t - r.places, stop)"),
    ("local", "t if r.fused else t + 1)", "t + 1)"),
    ("local", "(l - r.lo) * r.wide", "ZERO"),
    ("local", "t % places * (", "t % max(1, places - 3) * ("),
    ("feedback", "done - given.ahead - 1, stop)", "done - given.ahead - 2, stop)"),
    ("feedback", "2 * top + 1, done - lag, stop)", "2 * top + 1, done - lag - 1, stop)"),
    ("feedback", "2 * who.below + 1, done, stop)", "2 * who.below + 1, done - 1, stop)"),
    ("feedback", "k % r.places[m]", "k % max(1, r.places[m] - 1)"),
    ("feedback", "t % r.kept * r.size", "t % max(1, r.kept - 2) * r.size"),
    ("feedback", "r.depth - given.wave)", "r.depth)"),
    ("dual", "2 * b.below + 1, step)", "2 * b.below + 1, step - 1)"),
    ("dual", "2 * b.above, step)", "2 * b.above, step - 1)"),
    ("dual", "2 * b.below + 1, step + 1)", "2 * b.below + 1, step)"),
    ("dual", "work & PREDICT or not work & UPDATE", "True"),
    ("dual", "opening and k == 0", "opening"),
    ("dual", "_updates_until(b, stage, together)", "2 * _updates_until(b, stage, together)"),
    ("dual", "if opening and l + 1 < b.depth:", "if False:"),
    ("dual_edges", "return _done(c, side) > moment >> 1", "return True"),
    ("dual_edges", "return reached(c.started, c.workers - 1) > _batch(c, moment >> 1)", "return True"),
    ("dual_edges", "return _done(c, side) >= step", "return True"),
    ("dual_edges", "reached(c.started, ZERO) <= _batch(c, step)", "False"),
    ("dual_edges", "c.state[state + SENT] == 0 and moment", "moment"),
    ("dual_edges", "c.state[state + POSTED] == 0 and moment", "moment"),
    ("dual_edges", "min(c.state[state + OUT], c.state[state + COMING]) >> 1", "c.state[state + COMING] >> 1"),
    ("dual_edges", "min(c.state[state + OUT], c.state[state + COMING]) >> 1", "c.state[state + OUT] >> 1"),
    ("dual_edges", "publish(c.started, c.workers, _batch(c, moment >> 1) + 1)", "pass"),
    ("dual_edges", "// c.cycle - (c.first > 0)", "// c.cycle"),
    ("streams_ranks", "2 * who.below + 1, t + 1, stop)", "2 * who.below + 1, t, stop)"),
    ("streams_ranks", "2 * who.above, t + 1 - r.places", "2 * who.above, t - r.places"),
    ("streams_ranks", "2 * who.below + 1, now, stop)", "2 * who.below + 1, now - 1, stop)"),
    ("streams_ranks", "told, now - lag, stop)", "told, now - lag - 1, stop)"),
    ("streams_ranks", "if k < min(made, c.end_above):", "if k < c.end_above:"),
    ("streams_ranks", " and k - c.places_below < learnt:", ":"),
    ("streams_ranks", " and done(c.library, _of_values(c, ABOVE, k)):", ":"),
    ("streams_ranks", " and done(c.library, _of_values(c, BELOW, k)):", ":"),
    ("streams_ranks", "if t < known and", "if t < c.last and"),
    ("zero_bubble", "for i in (4 * m, 4 * m + 2):", "for i in (4 * m,):"),
    ("zero_bubble", "wait(progress, 2 * (worker + 1), step + 1, stop)", "wait(progress, 2 * (worker + 1), step, stop)"),
    ("asynchronous_ranks", "now - 2, stop)", "now - 3, stop)"),
    ("asynchronous_ranks", "t - 2 < max(made, 0):", "t - 3 < max(made, 0):"),
    ("asynchronous_ranks", "t - 1 < max(made, 0):", "t - 4 < max(made, 0):"),
    ("asynchronous_ranks", " and _values_left(c, t - c.places_above):", ":"),
    ("asynchronous_ranks", " and _errors_left(c, t):", ":"),
    ("asynchronous_ranks", "t < made:\n        send(c.library, _of_v", "True:\n        send(c.library, _of_v"),
    ("asynchronous_ranks", "t < made:\n        send(c.library, _of_e", "True:\n        send(c.library, _of_e"),
    ("teams", "now - span + l + 1, moved, stop)", "now - span + l, moved, stop)"),
    ("teams", "now + position[l - 1], made_below", "now + position[l - 1] - 1, made_below"),
    ("teams", "    if known >= value:", "    if known + 1 >= value:"),
    ("samples", "now + l + 1, updated, stop)", "now + l, updated, stop)"),
    ("rows_ranks", "        coming = moving\n", ""),
    ("rows_ranks", "if exchanged + 1 < exchanges:", "if True:"),
    ("samples_ranks", "due = under_way and products", "due = under_way and l > 0 and products"),
    ("samples_ranks", "first, last = depth, first", "first, last = first, first"),
    ("teams_ranks", ">= step * n.span + b.lo:", ">= step * n.span + b.lo - 1:"),
    ("teams_ranks", ">= step * n.span + n.top:", ">= step * n.span + n.top - 1:"),
    ("teams_ranks", "+ 2 + b.hi:", "+ 1 + b.hi:"),
    ("teams_ranks", "MOVED, now - span + l + 1, moved", "MOVED, now - span + l, moved"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "before", "after"), TWINS, ids=[f"{m}-{n}" for n, (m, *_) in enumerate(TWINS)])
def test_twin_with_another_condition_is_found(module, before, after):
    texts = replay.sources()
    assert before in texts[module]
    texts[module] = texts[module].replace(before, after)
    assert fault_of(module, replay.load(texts), 80)
