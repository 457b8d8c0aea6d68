"""Layers on real ranks: the bits, the messages and the refusals of the engine, the command line, and how jobs end."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from programs.cases import ALL, LAYERED, SHARING, SUMMED, outcome
from ranks import PATIENCE, PROGRAMS, Job, on_ranks, pcsim, program, require_ranks

from pcsim import PC, AsyncBP
from pcsim.algorithms.predictive_coding import SHARED
from pcsim.engines import compiled
from pcsim.engines.numpy import NumpyEngine
from pcsim.engines.threads import ThreadsEngine
from pcsim.results.files import read
from pcsim.schedule.teams import one_team, teams_of_ranks
from pcsim.schedule.timeline import Event, Timeline
from pcsim.training.train import forward_loss

pytestmark = pytest.mark.slow

EXACT = 1e-12  # in float64 after a few updates, relative to the largest number of an array (at least 1e-3)
MAGNIFIED = 1e-9  # Adam and Muon divide by the gradient's size, so the rounding of what is nearly 0 shows magnified
RANKS = (1, 2, 3)


@pytest.fixture(scope="module", autouse=True)
def ranks_can_be_started():
    require_ranks()


def reference(case, engine_class, **options):
    """What another engine leaves, with the loss of its net."""
    arrays = outcome(case.build(engine_class, **options), case)
    weights, biases = ([arrays[key] for key in arrays if key.startswith(name)] for name in ("weights", "biases"))
    net, x, y = case.problem
    arrays["loss"] = np.array([forward_loss(net.replace(weights, biases or None), x, y)])
    return arrays


def has_oracle(case):
    return case.dtype == "float64" and sum(case.runs) <= 4


def references():
    """Of each case what threads leave, one worker and two, which must be alike; and the oracle."""
    threads, oracle = {}, {}
    for case in ALL.values():
        if case.way in LAYERED:
            one = reference(case, ThreadsEngine, workers=1, **case.execution())
            two = reference(case, ThreadsEngine, workers=min(2, case.depth), **case.execution())
            assert differing(one, two) == []
            threads[case.name] = one
        if has_oracle(case):
            oracle[case.name] = reference(case, NumpyEngine)
    return threads, oracle


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(threads, oracle, by number of ranks what they told and the folder with their arrays)."""
    folders = {count: tmp_path_factory.mktemp(f"ranks-{count}") for count in RANKS}
    with ThreadPoolExecutor() as pool:
        first = pool.submit(program, 1, "exact.py", folders[1])
        threads, oracle = references()
        answers = {1: first.result()}
    for count in RANKS[1:]:
        answers[count] = program(count, "exact.py", folders[count])
    for count, answer in answers.items():
        assert answer.returncode == 0, f"{count} ranks: {answer.stderr}"
    return threads, oracle, folders


def told_in(folder):
    return json.loads((folder / "told.json").read_text())


def arrays_in(folder, name):
    with np.load(folder / f"{name}.npz") as arrays:
        return dict(arrays)


def differing(mine, its):
    """Names of arrays that have not the same bits."""
    assert mine.keys() == its.keys()
    same = {name: mine[name].dtype == its[name].dtype and mine[name].tobytes() == its[name].tobytes() for name in its}
    return [name for name in its if not same[name]]


def distance(mine, its):
    """The largest relative difference of two outcomes, and where."""
    assert mine.keys() == its.keys()
    found = [
        (float(np.max(np.abs(mine[name] - its[name]))) / max(1e-3, float(np.max(np.abs(its[name])))), name)
        for name in its
    ]
    return max(found)


@pytest.mark.parametrize("count", RANKS)
def test_layers_on_ranks_have_the_bits_of_threads(made, count):
    threads, _, folders = made
    told = told_in(folders[count])
    checked = {name for name in told if ALL[name].way in LAYERED}
    assert {ALL[name].way for name in checked} == set(LAYERED)
    assert len(checked) >= 25
    faults = {name: found for name in checked if (found := differing(arrays_in(folders[count], name), threads[name]))}
    assert faults == {}


@pytest.mark.parametrize("count", RANKS)
def test_every_execution_on_ranks_equals_the_oracle(made, count):
    _, oracle, folders = made
    checked = [name for name in told_in(folders[count]) if name in oracle]
    assert {ALL[name].way for name in checked} == {*LAYERED, *SUMMED, *SHARING}
    found = {name: distance(arrays_in(folders[count], name), oracle[name]) for name in checked}
    allowed = {name: MAGNIFIED if ALL[name].algorithm.optimizer in ("adam", "muon") else EXACT for name in checked}
    assert {name: far for name, far in found.items() if not far[0] < allowed[name]} == {}


@pytest.mark.parametrize("count", RANKS)
def test_ranks_that_share_layers_have_the_bits_of_as_many_threads(made, count, monkeypatch):
    """Rows, and teams that are cut alike. (Sums over samples have another order.)"""
    _, _, folders = made
    monkeypatch.setattr(
        compiled,
        "teams_for",
        lambda name, net, batch, workers, _: (
            teams_of_ranks(net.sizes, batch, count, workers // count)
            if name == "hybrid"
            else one_team(net.depth, workers)
        ),
    )
    checked = [name for name in told_in(folders[count]) if ALL[name].way in ("pc-intra-layer", "pc-hybrid")]
    assert {ALL[name].way for name in checked} == {"pc-intra-layer", "pc-hybrid"}
    faults = {}
    for case in (ALL[name] for name in checked):
        its = reference(case, ThreadsEngine, workers=count * case.threads, **case.execution())
        if found := differing(arrays_in(folders[count], case.name), its):
            faults[case.name] = found
    assert faults == {}


@pytest.mark.parametrize("count", RANKS)
def test_all_ranks_are_given_the_same(made, count):
    assert [name for name, facts in told_in(made[2][count]).items() if not facts["alike"]] == []


@pytest.mark.parametrize("count", RANKS)
def test_finite_weights_are_called_finite(made, count):
    """What was never written, between and beside a rank's layers, is nobody's weight."""
    assert [name for name, facts in told_in(made[2][count]).items() if not facts["finite"]] == []


def blocks(case, told):
    """The rank of each layer, as told; contiguous, and none without a layer."""
    owner = told["owner"]
    assert owner == sorted(owner)
    return owner


def shared_messages(case, count):
    """Of layers of 40 units: 13 kB of gradients, and 320 bytes of a sample's values; from 32 kB on they go alone."""
    if case.way == "pc-data-parallel":
        return {"messages": 0, "collectives": -(-case.depth // 3)}
    groups = -(-(case.depth - 1) // -(-(1 << 15) // (320 * case.batch)))
    steps = case.algorithm.calendar(case.depth).moves.sum()
    # Every batch has a start of L - 1 layers, one after the other.
    starts = case.depth - 1 if isinstance(case.algorithm, PC) else 0
    return {"messages": (2 * groups * steps + starts) * count * (count - 1), "collectives": 0}


def messages_faults(folder):
    """Cases whose messages are not those of the task graph, with what was counted and what was to be."""
    count = int(folder.name.split("-")[1][0])
    faults = {}
    for name, facts in told_in(folder).items():
        case, sent = ALL[name], facts["messages"]
        if case.way == "data-parallel":
            expected = {"messages": 0, "collectives": case.depth}
        elif case.way in SHARING[:2]:
            if not name.startswith("messages"):
                continue
            expected = shared_messages(case, count)
        elif case.way == "intra-layer":
            if not name.startswith("messages"):  # some ranks have no rows of a narrow layer
                continue
            expected = {"messages": 2 * (case.depth - 1) * count * (count - 1), "collectives": 0}
        elif case.start == "pipelined":
            graph = case.algorithm.steady_tasks(case.depth, case.steps_per_batch, "pipelined")
            expected = {"messages": round(float(graph.messages(blocks(case, facts))), 9), "collectives": 0}
            assert expected["messages"] == pytest.approx((2 + 1 / case.steps_per_batch) * (count - 1))
        elif case.way == "dual" and name.startswith("messages"):
            graph = case.algorithm.steady_tasks(case.depth, case.steps_per_batch)
            sent_each = float(graph.messages(blocks(case, facts)))
            size = case.batch * 40 * 8  # in either direction
            expected = {"messages": round(sent_each, 9), "message_bytes": round(sent_each * size, 9), "collectives": 0}
        elif case.steps_per_batch or case.runs[-1] % case.algorithm.calendar(case.depth).period_updates:
            continue  # a forward start now and then, or a part of a period: not a number for every update
        else:
            owner = blocks(case, facts)
            assert set(owner) == set(range(count))
            parts = min(case.micro_batches, case.batch) if case.way in ("pipeline", "zero-bubble") else 1
            sent_each = case.algorithm.steady_tasks(case.depth).messages(owner)
            expected = {"messages": sent_each * parts, "collectives": 0}
            if case.way == "ipc" or name.startswith("messages-teams"):
                assert expected["messages"] == 2 * (count - 1)
        if (
            case.way in ("ipc", "pc-hybrid", "pipeline-async") and len(case.runs) == 1 and not case.given
        ):  # its first run has a forward start
            continue
        found = {key: round(sent[key], 9) for key in expected}
        if found != expected:
            faults[name] = (found, expected)
    return faults


@pytest.mark.parametrize("count", RANKS)
def test_as_many_messages_as_the_task_graph_needs(made, count):
    folder = made[2][count]
    assert messages_faults(folder) == {}
    told = told_in(folder)
    for L in (4, 8, 16):  # whatever the depth, and with it, respectively
        assert told[f"messages-ipc-{L}"]["messages"]["messages"] == 2 * (count - 1)
        assert told[f"messages-intra-{L}"]["messages"]["messages"] == 2 * (L - 1) * count * (count - 1)
        assert told[f"messages-rows-{L}"]["messages"]["messages"] == 2 * count * (count - 1)


def trace_faults(folder):
    """Of each traced case what its timeline has against the task graph."""
    faults = {}
    for name, facts in told_in(folder).items():
        if ALL[name].trace:
            case = ALL[name]
            timeline = Timeline(Event(*event) for event in facts["events"])
            updates = case.runs[0]
            if isinstance(case.algorithm, AsyncBP):  # the lowest layer's last, when higher ones are ahead of it
                updates -= case.depth - 1
            graph = case.algorithm.tasks(case.depth, updates)
            if isinstance(case.algorithm, AsyncBP):
                timeline = timeline.until(int(graph.steps[-1]))
            if found := timeline.violations(graph):
                faults[name] = found
    return faults


@pytest.mark.parametrize("count", RANKS)
def test_the_timeline_of_all_ranks_is_an_order_of_the_task_graph(made, count):
    folder = made[2][count]
    assert trace_faults(folder) == {}
    told = told_in(folder)
    for name in (name for name in told if ALL[name].trace):
        workers = {event[0] for event in told[name]["events"]}
        assert workers == set(range(count * ALL[name].threads))


@pytest.mark.parametrize("count", [2, 3])
def test_another_launch_has_the_same_bits(made, tmp_path, count):
    _, _, folders = made
    answer = program(count, "exact.py", tmp_path, *SUMMED, SHARING[1])
    assert answer.returncode == 0, answer.stderr
    again, before = told_in(tmp_path), told_in(folders[count])
    assert len(again) >= 20
    assert {name for name in again if again[name]["digest"] != before[name]["digest"]} == set()


def test_twins_a_bit_a_message_and_an_event_are_told_apart(made, tmp_path):
    """The twin of all of the above: each comparison finds what was spoilt on purpose, in every case."""
    threads, _, folders = made
    folder = tmp_path / "ranks-2"
    folder.mkdir()
    names = ["ipc-float64-1", "pc-float64-1", "zil-float64-1", "pipeline-float64-1", "intra-layer-float64-1"]
    names += ["messages-ipc-4", "messages-pc-3", "messages-zil", "messages-pipeline-2", "messages-intra-4", "trace-"]
    names += ["pc-intra-layer-9", "pc-hybrid-8", "messages-rows-4", "messages-rows-long", "messages-samples-8"]
    names += ["messages-teams-4", "messages-dual-0", "messages-dual-new-3", "sweeps-1"]
    answer = program(2, "exact.py", folder, "--twin", *names)
    assert answer.returncode == 0, answer.stderr
    told, before = told_in(folder), told_in(folders[2])
    assert len(told) > 12
    for name in told:
        assert told[name]["digest"] != before[name]["digest"]
        if name in threads:
            assert any(key.startswith("weights") for key in differing(arrays_in(folder, name), threads[name]))
    counted = {name for name in told if name.startswith("messages")}
    assert counted <= messages_faults(folder).keys()
    assert trace_faults(folder).keys() == {name for name in told if name.startswith("trace")}


def test_twin_the_oracle_tells_a_larger_rate_apart(made):
    """One millionth more of alpha is beyond what is allowed to rounding."""
    _, oracle, _ = made
    for name in [name for name in oracle if ALL[name].algorithm.optimizer == "sgd"]:
        case = ALL[name]
        other = replace(case, algorithm=replace(case.algorithm, alpha=case.algorithm.alpha * (1 + 1e-5)))
        assert distance(reference(other, NumpyEngine), oracle[name])[0] > EXACT


# What an engine refuses, and what it takes


@pytest.fixture(scope="module")
def manners(made, tmp_path_factory):
    """What every rank of three was told."""
    folder = tmp_path_factory.mktemp("manners")
    answer = program(3, "manners.py", folder, patience=120)
    assert answer.returncode == 0, answer.stderr
    return json.loads((folder / "told.json").read_text()), folder


UNEQUAL = {
    "alpha": "algorithm",
    "gamma": "algorithm",
    "kind of algorithm": "algorithm",
    "seed of the net": "weights",
    "bias": "bias",
    "width": "sizes",
    "activation": "activation",
    "scale": "scale",
    "dtype": "dtype",
    "order of batches": "batches",
    "size of batches": "batches",
    "steps_per_batch": "steps_per_batch",
    "threads": "threads",
    "values": "values",
    "execution": "execution",
    "micro_batches": "execution",
    "wave": "execution",
    "fused": "execution",
}


@pytest.mark.parametrize("what", UNEQUAL)
def test_unequal_arguments_are_refused_on_every_rank(manners, what):
    answers = manners[0]["unequal"][what]
    assert len(answers) == 3
    for told in answers:
        assert told, "no InputError"
        assert "rank 1 differs from rank 0 in " in told
        assert UNEQUAL[what] in told.split(":")[0]
        assert "must be started alike" in told


def test_equal_arguments_are_not_refused(manners):
    """The twin: the same calls on all ranks."""
    assert {what: told for what, told in manners[0]["equal"].items() if any(told)} == {}
    assert manners[0]["equal"].keys() == UNEQUAL.keys()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("more ranks than layers", "3 ranks are more than the 2 layers of the net: use at most 2"),
        ("more threads than layers", "3 ranks of 2 threads are more than the 5 layers of the net: use at most 5"),
        ("BP without execution", "BP's execution 'serial' is one process"),
        ("BP on BLAS", "BP's execution 'blas' is one process"),
        ("BP on threads of ranks", "BP over ranks runs one thread on each"),
        ("rows on threads of ranks", "execution 'intra-layer' over ranks runs one thread on each"),
        ("teams without layers", "3 ranks are more than the 2 layers of the net: use at most 2"),
        ("iPC with samples for two", "3 ranks are more than the 2 samples of a batch: use at most 2"),
        ("a pipeline for one sample", "a pipeline needs a batch above 1"),
        ("more ranks than samples", "3 workers are more than the 2 samples"),
        ("NaN on rank 0", "x holds NaN or infinity"),
        ("rows on rank 0", "x has 6 rows, but y has 5"),
        ("width on rank 0", "y must be a table of numbers with 4 columns"),
        ("no data on rank 0", "x holds Python objects"),
        ("batch_size", "batch_size must be between 1 and the 6 rows"),
        ("what one rank lacks", "rank 1: [Errno 2] No such file or directory: 'not there'"),
    ],
)
def test_what_cannot_be_is_refused_on_every_rank(manners, what, expected):
    answers = manners[0]["refused"][what]
    assert len(answers) == 3
    assert all(told and expected in told for told in answers), answers


def test_what_no_rank_lacks_each_has(manners):
    assert manners[0]["each"] == [0, 1, 2]


def test_only_rank_0_needs_data(manners):
    assert manners[0]["None elsewhere"] == [True] * 3


def test_a_training_run_is_that_of_threads_on_every_rank(manners):
    """Net, values, energy and losses of ``pcsim.train`` (JSON keeps every bit of a float)."""
    from pcsim import IPC, PC, ZIL, Network, train

    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(9, 7)), rng.normal(size=(9, 4))
    for dtype in ("float32", "float64"):
        net = Network.mlp([7, 12, 5, 9, 4], seed=2, dtype=dtype, bias=True)
        for algorithm in (IPC(0.01, 0.2), PC(0.01, 0.2, 3), ZIL(0.01)):
            run = train(
                net, algorithm, x, y, updates=7, record_every=2, batch_size=4, steps_per_batch=3, seed=5, workers=2
            )
            arrays = [*run.network.weights, *run.network.biases, *run.values]
            expected = {
                "arrays": [array.tobytes().hex() for array in arrays],
                "energy": run.energy,
                "loss": run.loss,
                "final_loss": run.final_loss,
                "recorded": run.recorded,
                "diverged": None,
            }
            for its in manners[0]["train"][f"{algorithm.name} {dtype}"]:
                assert {key: its[key] for key in expected} == expected


@pytest.mark.parametrize("execution", SHARED)
def test_ranks_that_share_layers_go_on_from_a_checkpoint_with_the_same_bits(manners, execution):
    answers = manners[0]["shared"][execution]
    assert len(answers) == 3
    assert all(whole == resumed == answers[0][0] for whole, resumed in answers)


def test_what_suits_three_ranks_is_found_on_all_of_them(manners):
    """Rows, as the widest layer is more than a third of the net."""
    found = manners[0]["auto"]
    assert len(found) == 3
    assert all(auto == rows == found[0][0] for auto, rows in found)


def test_a_lazy_net_is_trained_and_saved_layer_by_layer(manners):
    from pcsim import IPC, Network, train

    told, folder = manners[0]["lazy"], manners[1]
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(6, 7)), rng.normal(size=(6, 4))
    net = Network.mlp([7, 12, 5, 9, 4, 4], seed=2, bias=True, skip=[False] * 4 + [True])
    run = train(net, IPC(0.01, 0.2), x, y, updates=5, workers=2)
    loaded = Network.load(folder / "net")
    for mine, its in ((loaded.weights, run.network.weights), (loaded.biases, run.network.biases)):
        assert [a.tobytes() for a in mine] == [b.tobytes() for b in its]
    assert (loaded.activation, loaded.skip, loaded.sizes) == (net.activation, net.skip, net.sizes)
    assert [layer for each in told for layer in each["owned"]] == list(range(5))
    for each in told:
        assert each["lazy"]
        assert each["loss"] == run.loss
        assert "is not held by this process" in each["another's layer"]
        assert each["values"] == [[6, n] if l in each["has values"] else [0, n] for l, n in enumerate(net.sizes)]
        assert set(each["drawn"]) <= {*each["owned"], *each["sampled"]}


# The command line

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
BENCH = ["bench", "--backend", "mpi", "--widths", "8", "--batches", "4", "--dtype", "float64"]
BENCH += ["--seconds", "0.02", "--no-pin", "--oversubscribe"]
IPC_ALONE = ["--algorithms", "ipc", "--baselines", "threads"]
ENDS = 10  # seconds within which a job is gone when a rank is


@pytest.fixture(scope="module")
def bench(made, tmp_path_factory):
    """A sweep on two ranks, and its results file."""
    out = tmp_path_factory.mktemp("bench") / "results.jsonl"
    answer = pcsim(2, *BENCH, "--depths", 2, "--out", out)
    assert answer.returncode == 0, answer.stderr
    return answer, out


def test_bench_on_ranks_writes_rows_for_each_number_of_them(bench):
    _, out = bench
    results = read(out)
    assert not results.warnings
    assert all(row["error"] is None and row["median"] > 0 for row in results.rows)
    of_ranks = {(row["algorithm"], row["execution"], row["ranks"]) for row in results.rows if row["backend"] == "mpi"}
    shared = {("bp", execution, 2) for execution in ("intra-layer", "pipeline", "data-parallel")}
    shared |= {("ipc", execution, 2) for execution in ("intra-layer", "data-parallel")}
    assert of_ranks == {("ipc", "serial", 1), ("ipc", "layer-parallel", 2), ("bp", "serial", 1)} | shared
    by_rank = {row["execution"]: row for row in results.rows if row["algorithm"] == "bp" and row["workers"] == 2}
    on_ranks = [
        row for row in results.rows if row["backend"] == "mpi" and row["ranks"] == 2 and row["algorithm"] == "ipc"
    ]
    of_ipc = {row["execution"]: row for row in on_ranks}
    assert of_ipc["layer-parallel"]["messages"] == of_ipc["layer-parallel"]["counted_messages"] == 2
    # Each has the rows of one matrix, a single vector of them: values go one way, drives the other.
    assert of_ipc["intra-layer"]["messages"] == of_ipc["intra-layer"]["counted_messages"] == 2
    assert of_ipc["data-parallel"]["collectives"] == 1
    assert all(row["handover_seconds"] is not None for row in on_ranks)
    assert by_rank["pipeline"]["messages"] == by_rank["pipeline"]["counted_messages"]
    assert by_rank["data-parallel"]["collectives"] == 2
    assert results.context["mpi"]["ranks"] == 2


def test_asynchronous_bp_has_a_row_where_it_is_asked_for(made, tmp_path):
    out = tmp_path / "late.jsonl"
    words = ["--depths", 2, "--algorithms", "bp", "--baselines", "serial", "pipeline-async", "--out", out]
    answer = pcsim(2, *BENCH, *words)
    assert answer.returncode == 0, answer.stderr
    rows = {row["execution"]: row for row in read(out).rows}
    assert set(rows) == {"serial", "pipeline-async"}
    assert rows["pipeline-async"]["error"] is None
    assert (rows["pipeline-async"]["ranks"], rows["pipeline-async"]["workers"]) == (2, 2)
    assert rows["pipeline-async"]["median"] > 0


def test_what_has_layers_on_workers_alone_has_rows_beside_ipc(made, tmp_path):
    out = tmp_path / "rivals.jsonl"
    answer = pcsim(2, *BENCH, "--depths", 3, "--algorithms", "ipc", "local", "dual", "--out", out)
    assert answer.returncode == 0, answer.stderr
    rows = [row for row in read(out).rows if row["algorithm"] != "ipc" and row["backend"] == "mpi"]
    assert all(row["error"] is None and row["median"] > 0 for row in rows)
    assert [(row["algorithm"], row["ranks"]) for row in rows] == [("local", 1), ("local", 2), ("dual", 1), ("dual", 2)]
    counted = {row["algorithm"]: row["counted_messages"] for row in rows if row["ranks"] == 2}
    assert counted == {row["algorithm"]: row["messages"] for row in rows if row["ranks"] == 2}
    assert counted["local"] == 1 and counted["dual"] >= 8  # of four sweeps, and a start


def test_what_no_rank_can_build_is_refused_and_the_others_go_on():
    answer = program(2, "crew.py", patience=60)
    assert answer.returncode == 0, answer.stderr
    refused, energy = answer.stdout.splitlines()
    assert refused.startswith("refused BP's execution 'nobody' is unknown")
    assert float(energy.split()[1]) > 0


def test_one_rank_alone_prints(bench):
    answer, _ = bench
    assert answer.stdout.count("results file: ") == 1
    assert answer.stdout.count("scaling") >= 1
    titles = [line for line in answer.stdout.splitlines() if line.startswith("batch ")]
    assert len(titles) > 1
    assert answer.stderr.count("measuring the ceilings") == 1


def test_resume_on_ranks_skips_what_is_measured(bench):
    _, out = bench
    before = read(out).rows
    answer = pcsim(2, *BENCH, "--depths", 2, "--out", out, "--resume")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.count("(already measured)") == 1
    assert read(out).rows == before


def test_weak_scaling_of_ranks_with_threads(made, tmp_path):
    out = tmp_path / "weak.jsonl"
    words = ["--depths", 3, "--scaling", "weak", "--threads", 2, *IPC_ALONE]
    answer = pcsim(2, *BENCH, *words, "--out", out)
    assert answer.returncode == 0, answer.stderr
    rows = [row for row in read(out).rows if row["backend"] == "mpi"]
    assert all(row["error"] is None for row in rows)
    assert {(row["ranks"], row["depth"], row["workers"]) for row in rows} == {(1, 3, 2), (2, 6, 4)}


BAD = {
    "unknown flag": ["--nonsense"],
    "more ranks than started": ["--workers", "9"],
    "depth 0": ["--depths", "0"],
    "existing results": ["--out", str(FIXTURE)],
    "auto": ["--workers", "auto"],
    "unknown baseline": ["--baselines", "torch"],
    "launches": ["--launches", "2"],
    "peers": ["--peer-python", "pcx=python"],
    "no such folder": ["--out", "missing/results.jsonl"],
}


@pytest.fixture(scope="module")
def refusals(made, tmp_path_factory):
    """What two ranks leave of each list of bad arguments: exit code, standard output and standard error of each."""
    words, folder = tmp_path_factory.mktemp("words") / "words.json", tmp_path_factory.mktemp("refused")
    words.write_text(json.dumps({what: [*BENCH, *bad] for what, bad in BAD.items()}))
    stored = FIXTURE.read_bytes()
    answer = program(2, "refuses.py", words, cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert list(folder.iterdir()) == []
    assert FIXTURE.read_bytes() == stored
    return json.loads(answer.stdout)


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_one_line_whatever_the_number_of_ranks(refusals, what):
    first, second = refusals[what]
    assert (first[:2], second) == ([2, ""], [2, "", ""])
    assert len(first[2].splitlines()) == 1, first[2]
    assert first[2].startswith("pcsim")


@pytest.mark.parametrize(("what", "count"), [("unknown flag", 3), ("more ranks than started", 2)])
def test_a_launch_with_bad_arguments_ends_with_exit_code_2(made, tmp_path, what, count):
    answer = pcsim(count, *BENCH, *BAD[what], cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, ""), answer.stderr
    assert len(answer.told) == 1, answer.stderr
    assert answer.told[0].startswith("pcsim")
    assert list(tmp_path.iterdir()) == []


def test_more_ranks_than_cores_are_refused_unless_that_is_meant(made, tmp_path):
    words = [word for word in BENCH if word != "--oversubscribe"]
    threads = os.cpu_count() or 1  # on each of two ranks: twice as many workers as there can be cores
    answer = pcsim(2, *words, "--threads", threads, "--depths", 2 * threads, "--out", tmp_path / "x.jsonl")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert len(answer.told) == 1
    assert "--oversubscribe" in answer.told[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["count", "--depths", "4"], ["report", str(FIXTURE)]])
def test_what_needs_no_ranks_is_done_by_every_process(words, tmp_path):
    alone = subprocess.run([sys.executable, "-m", "pcsim", *words], capture_output=True, text=True, timeout=PATIENCE)
    # Each process prints into a file of its own: a launcher may put the words of one into a line of another.
    answer = on_ranks(
        3,
        "import os, runpy, sys\n"
        f"sys.stdout = open(os.path.join({str(tmp_path)!r}, str(os.getpid())), 'w', encoding='utf-8')\n"
        f"sys.argv = ['pcsim', *{words!r}]\n"
        "runpy.run_module('pcsim', run_name='__main__')",
    )
    assert answer.returncode == alone.returncode == 0
    assert [path.read_text("utf-8") for path in tmp_path.iterdir()] == 3 * [alone.stdout]
    assert alone.stdout


def test_a_sweep_over_threads_is_not_started_on_ranks(tmp_path):
    answer = pcsim(2, "bench", "--depths", 2, "--widths", 8, "--out", tmp_path / "x.jsonl")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert len(set(answer.told)) == 1
    assert "--backend mpi" in answer.told[0]
    assert list(tmp_path.iterdir()) == []


def test_ranks_started_with_different_arguments_are_refused(made, tmp_path):
    parts = [["-m", "pcsim", *BENCH, "--depths", L, "--out", tmp_path / "x.jsonl"] for L in (2, 3)]
    with Job(2, parts=parts) as job:
        answer = job.finish(60)
    assert answer.returncode != 0
    assert answer.stdout == ""
    assert len(answer.told) == 1, answer.stderr
    assert "rank 1 differs from rank 0 in arguments" in answer.told[0]
    assert list(tmp_path.iterdir()) == []


# How jobs end


@pytest.mark.parametrize("engine", ["ipc", "pipeline"])
def test_an_exception_on_a_rank_ends_the_job(made, engine):
    answer = program(3, "fails.py", engine, patience=60)
    assert answer.returncode != 0
    assert "[rank 1] RuntimeError: rank one has had enough" in answer.stderr
    assert "unharmed" not in answer.stdout
    raised = [float(line.split()[1]) for line in answer.stdout.splitlines() if line.startswith("raised")]
    assert len(raised) == 1
    assert time.time() - raised[0] < ENDS


def sweep(out, *words):
    return ["-m", "pcsim", *BENCH, *IPC_ALONE, "--seconds", "0.1", "--depths", *range(2, 12), "--out", out, *words]


def rows_in(out):
    return out.read_text().count("\n") - 1 if out.exists() else 0


def test_a_killed_rank_ends_the_job_and_results_are_kept(made, tmp_path):
    out = tmp_path / "x.jsonl"
    with Job(2, *sweep(out)) as job:
        job.wait_for(lambda: rows_in(out) > 1)
        job.rank(1).send_signal(signal.SIGKILL)
        answer = job.finish(ENDS)
        assert job.gone(ENDS)
    assert answer.returncode != 0
    kept = read(out)
    assert len(kept.rows) > 1
    depths = sorted({str(row["depth"]) for row in kept.rows}, key=int)
    words = sweep(out, "--resume")
    words[words.index("--depths") + 1 : words.index("--out")] = [*depths, int(depths[-1]) + 1]
    with Job(2, *words) as job:
        again = job.finish()
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("(already measured)") >= len(depths) - 1  # the last one may be incomplete
    rows = read(out).rows
    assert rows[: len(kept.rows)] == kept.rows
    assert {row["depth"] for row in rows} == {*map(int, depths), int(depths[-1]) + 1}


def test_a_terminated_rank_ends_the_job_with_its_message(made, tmp_path):
    out = tmp_path / "x.jsonl"
    with Job(2, *sweep(out)) as job:
        job.wait_for(lambda: rows_in(out) > 1)
        job.rank(1).send_signal(signal.SIGTERM)
        answer = job.finish(ENDS)
        assert job.gone(ENDS)
    assert answer.returncode != 0
    assert "rank 1: interrupted by a signal" in answer.stderr
    assert len(read(out).rows) > 1


def test_ctrl_c_says_what_is_kept(made, tmp_path):
    out = tmp_path / "x.jsonl"
    with Job(2, *sweep(out)) as job:
        job.wait_for(lambda: rows_in(out) > 1)
        job.process.send_signal(signal.SIGINT)
        answer = job.finish(ENDS)
        assert job.gone(ENDS)
    assert answer.returncode != 0
    assert answer.stderr.count(f"what was finished is kept in {out}; continue with --resume") == 1
    assert len(read(out).rows) > 1


def test_twin_a_job_that_is_let_alone_is_found_alive(made, tmp_path):
    """The twin: as long as nobody ends it, processes of a job are found, and none when it is ended."""
    with Job(2, PROGRAMS / "sleeps.py") as job:
        ranks = {job.rank(number).pid for number in (0, 1)}
        assert not job.gone(0.5)
        assert ranks <= {process.pid for process in job.processes()}
        with pytest.raises(TimeoutError, match="was killed"):
            job.finish(0.5)
        assert job.gone(0)


def test_without_mpi4py_one_line_says_what_to_install(tmp_path):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('no module named mpi4py here')\n")

    def alone(*words):
        command = [sys.executable, "-m", "pcsim", *words]
        variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=variables)

    answer = alone(*BENCH, "--depths", "2")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert "pip install 'pcsim[mpi]'" in answer.stderr
    assert alone("count", "--depths", "4").returncode == 0
    assert alone("report", str(FIXTURE)).returncode == 0


@pytest.mark.parametrize("count", RANKS)
def test_convolutions_leave_the_bits_of_threads(count):
    answer = program(count, "images.py", patience=PATIENCE)
    assert answer.returncode == 0, answer.stderr
    names = ("ipc", "pipelined", "pc", "bp", "changed")
    assert answer.stdout.split() == [word for name in names for word in (name, "True")]
