"""PC, Z-IL and iPC whose workers share layers (``intra-layer``, ``data-parallel``, ``hybrid``) against the oracle."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, distance, nets

from pcsim import IPC, PC, ZIL, InputError, Network
from pcsim.engines import compiled
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.threads import ThreadsEngine
from pcsim.schedule.teams import balanced_rows, balanced_teams

SHARED = ("intra-layer", "data-parallel", "hybrid")


@st.composite
def cases(draw):
    """A random float64 net with twice as much data as a batch takes, an algorithm, an execution and its workers."""
    net, _ = draw(nets(max_depth=7, max_width=40))
    batch = draw(st.sampled_from([1, 2, 3, 5, 9]))
    rates = {"alpha": 0.003, "optimizer": draw(st.sampled_from(["sgd", "adam", "momentum"]))}
    algorithm = draw(
        st.sampled_from(
            [
                ZIL(**rates),
                PC(gamma=0.2, T=3, **rates),
                IPC(gamma=(0.3, 0.1), precision=2.5, **rates),
                IPC(gamma=0.1, value_momentum=0.5, **rates),
            ]
        )
    )
    execution = draw(st.sampled_from(SHARED))
    workers = draw(st.integers(1, 5))
    return net, batch, algorithm, execution, min(workers, batch) if execution == "data-parallel" else workers


def left_by(engine_class, case, steps_per_batch=3, values=False, **options):
    """Weights, biases, values and energies after two runs over changing batches."""
    net, batch, algorithm, *_ = case
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2 * batch, net.sizes[0])), rng.normal(size=(2 * batch, net.sizes[-1]))
    rows = itertools.cycle([np.arange(batch), np.arange(batch, 2 * batch)])
    given = [rng.normal(size=(batch, n)) for n in net.sizes] if values else None
    engine = engine_class(
        net, algorithm, x, y, lambda: next(rows), steps_per_batch=steps_per_batch, values=given, **options
    )
    with np.errstate(all="ignore"):
        energies = [engine.run(4)[1], engine.run(3)[1]]
    found = engine.network
    return [*found.weights, *(found.biases or []), *engine.values, np.array(energies)]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(cases(), st.booleans())
def test_every_execution_equals_the_oracle(case, values):
    *_, execution, workers = case
    oracle = left_by(NumpyEngine, case, values=values)
    mine = left_by(ThreadsEngine, case, values=values, execution=execution, workers=workers)
    assert distance(mine, oracle) < EXACT


def problem(sizes=(30, 24, 40, 24, 24, 12, 3), batch=4, **fields):
    net = Network.mlp(sizes, "tanh", seed=1, dtype=np.float64, bias=True)
    return net, batch, IPC(0.003, 0.2, **fields)


@pytest.mark.parametrize("execution", SHARED)
def test_twin_that_leaves_out_a_worker_s_part_is_found(execution, monkeypatch):
    """The last sample of the first worker."""
    case, right = problem(), compiled.team_of

    def less(layout, teams, worker):
        found = right(layout, teams, worker)
        return found._replace(samples=found.samples - (worker == 0))

    oracle = left_by(NumpyEngine, case)
    assert distance(left_by(ThreadsEngine, case, execution=execution, workers=3), oracle) < EXACT
    monkeypatch.setattr(compiled, "team_of", less)
    assert distance(left_by(ThreadsEngine, case, execution=execution, workers=3), oracle) > 1e-6


@pytest.mark.parametrize("execution", SHARED)
def test_the_same_run_has_the_same_bits(execution):
    case = problem(batch=6)
    runs = [left_by(ThreadsEngine, case, execution=execution, workers=4) for _ in range(3)]
    assert all(np.array_equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other, strict=True))


def test_where_nobody_has_a_part_of_a_sum_the_bits_are_those_of_one_worker():
    """Teams of one, as equal layers have, one for each worker; and one worker in any execution."""
    case = problem((24,) * 5, batch=5)
    alone = left_by(ThreadsEngine, case, workers=1)[:-1]  # but for the energy, which is summed up worker by worker
    for execution, workers in (("hybrid", 4), ("data-parallel", 1), ("intra-layer", 1)):
        mine = left_by(ThreadsEngine, case, execution=execution, workers=workers)[:-1]
        assert all(np.array_equal(a, b) for a, b in zip(mine, alone, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("execution", SHARED)
def test_training_goes_on_from_another_execution_s_state(execution, optimizer):
    net, batch, algorithm = problem(optimizer=optimizer, value_momentum=0.3)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(batch, net.sizes[0])), rng.normal(size=(batch, net.sizes[-1]))

    def engine(**options):
        return ThreadsEngine(net, algorithm, x, y, lambda: np.arange(batch), **options)

    whole, first, second = engine(), engine(execution=execution, workers=3), engine(workers=2)
    whole.run(12)
    first.run(8)  # errors have reached all layers: Adam would blow up what rounding leaves of one that is 0
    second.restore(first.state())
    second.run(2)
    third = engine(execution=execution, workers=4)
    third.restore(second.state())
    third.run(2)
    assert distance([*third.network.weights, *third.values], [*whole.network.weights, *whole.values]) < EXACT


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"execution": "data-parallel", "workers": 5}, "5 workers are more than the 4 samples of a batch"),
        ({"execution": "pipeline", "workers": 2}, "iPC's execution 'pipeline' is unknown: choose from layer-parallel"),
        ({"execution": "layer-parallel", "workers": 7}, "7 workers are more than the 6 layers of the net"),
    ],
)
def test_what_cannot_be_shared_is_refused(options, words):
    net, batch, algorithm = problem()
    x, y = np.zeros((batch, net.sizes[0])), np.zeros((batch, net.sizes[-1]))
    with pytest.raises(InputError, match=words):
        ThreadsEngine(net, algorithm, x, y, lambda: np.arange(batch), **options)


# Who shares what


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 900), min_size=2, max_size=12), st.integers(1, 200), st.integers(1, 24))
def test_teams_have_all_layers_and_all_workers_once(sizes, batch, workers):
    teams = balanced_teams(tuple(sizes), batch, workers)
    assert [l for team in teams for l in range(team.lo, team.hi)] == list(range(len(sizes) - 1))
    assert [w for team in teams for w in range(team.first, team.first + team.members)] == list(range(workers))


def test_most_workers_go_where_the_work_is():
    shapes = lambda *options: [(team.hi - team.lo, team.members) for team in balanced_teams(*options)]  # noqa: E731
    assert shapes((256,) * 17, 1, 4) == [(4, 1)] * 4
    assert shapes((1024,) * 9, 64, 64) == [(1, 8)] * 8
    assert shapes((784, 64, 64, 10), 64, 4) == [(3, 4)]  # three workers cannot share four vectors of rows evenly


def test_rows_are_even_over_all_layers():
    runs = balanced_rows([5, 1, 1], [3.0, 3.0, 2.0], 2)
    load = [sum(c * runs[l][m][1] for l, c in enumerate([3.0, 3.0, 2.0])) for m in range(2)]
    assert sorted(load) == [9.0, 11.0]
    assert [[first for first, _ in rows] for rows in runs] == [
        [0, runs[0][0][1]],
        [0, runs[1][0][1]],
        [0, runs[2][0][1]],
    ]
