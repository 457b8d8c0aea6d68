"""Which core each worker is bound to: made-up machines under a folder, and this one."""

import itertools
import os
import threading

import pytest
from nets import refusal

from pcsim import IPC
from pcsim.bench import contenders, rows, sweep
from pcsim.bench.case import Case
from pcsim.bench.contenders import Contender
from pcsim.doctor import here
from pcsim.engines import limits
from pcsim.host import context, topology
from pcsim.host.threads import in_threads


def machine(root, siblings, package=lambda core: 0, node=lambda core: 0, files=None):
    """A machine whose physical cores have these threads; more files by name below a processor's folder."""
    for core, threads in enumerate(siblings):
        for cpu in threads:
            base = root / f"sys/devices/system/cpu/cpu{cpu}"
            (base / "topology").mkdir(parents=True)
            (base / f"node{node(core)}").mkdir()
            (base / "topology/thread_siblings_list").write_text(",".join(map(str, sorted(threads))) + "\n")
            (base / "topology/physical_package_id").write_text(f"{package(core)}\n")
            for name, value in (files or {}).items():
                (base / name).parent.mkdir(exist_ok=True)
                (base / name).write_text(f"{value(core)}\n")
    return root


SIDE_BY_SIDE = [(0, 1), (2, 3), (4, 5), (6, 7)]
APART = [(0, 4), (1, 5), (2, 6), (3, 7)]


def order(monkeypatch, root, usable=range(8)):
    monkeypatch.setattr(topology, "usable_cores", lambda: list(usable))
    return topology.placement(root)


@pytest.mark.parametrize(
    ("siblings", "usable", "expected"),
    [
        (SIDE_BY_SIDE, range(8), [0, 2, 4, 6, 1, 3, 5, 7]),
        (APART, range(8), [0, 1, 2, 3, 4, 5, 6, 7]),
        (SIDE_BY_SIDE, [0, 1, 2, 3], [0, 2, 1, 3]),  # two physical cores
        (SIDE_BY_SIDE, [1, 2, 3, 7], [1, 2, 7, 3]),  # half of a core is a core
        (APART, [0, 4, 5], [0, 5, 4]),
    ],
)
def test_one_worker_a_physical_core_first(monkeypatch, tmp_path, siblings, usable, expected):
    usable = sorted(usable)
    found = order(monkeypatch, machine(tmp_path, siblings), usable)
    assert found == expected
    groups = [next(core for core in siblings if cpu in core) for cpu in found]
    physical = len(set(groups))
    assert len(set(groups[:physical])) == physical == topology.physical_cores(tmp_path)


def test_packages_and_nodes_are_filled_one_after_the_other(monkeypatch, tmp_path):
    root = machine(tmp_path, SIDE_BY_SIDE, package=lambda core: core % 2)
    assert order(monkeypatch, root) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert [place.package for place in topology.places(root)] == [0, 0, 1, 1] * 2


def test_nodes_of_one_package(monkeypatch, tmp_path):
    assert order(monkeypatch, machine(tmp_path, APART, node=lambda core: core % 2)) == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("name", ["cpu_capacity", "cpufreq/cpuinfo_max_freq"])
def test_fast_cores_come_first(monkeypatch, tmp_path, name):
    rates = [400, 1000, 950, 600]  # the two fastest are of one kind
    root = machine(tmp_path, APART, files={name: lambda core: rates[core]})
    assert order(monkeypatch, root) == [1, 2, 3, 0, 5, 6, 7, 4]


def test_what_the_system_calls_atom_comes_last(monkeypatch, tmp_path):
    root = machine(tmp_path, SIDE_BY_SIDE)
    (root / "sys/devices/cpu_atom").mkdir(parents=True)
    (root / "sys/devices/cpu_atom/cpus").write_text("0-1\n")
    assert order(monkeypatch, root) == [2, 4, 6, 0, 3, 5, 7, 1]


@pytest.mark.parametrize("siblings", ["", "x-y\n", None])
def test_a_system_that_says_nothing_leaves_the_numbers(monkeypatch, tmp_path, siblings):
    if siblings is not None:
        for cpu in range(8):
            (tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology").mkdir(parents=True)
            (tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").write_text(siblings)
    assert order(monkeypatch, tmp_path) == list(range(8))
    assert topology.physical_cores(tmp_path) == 8


@pytest.fixture
def hyperthreads(monkeypatch, tmp_path):
    """This process on two physical cores with hyperthreads side by side."""
    root = machine(tmp_path, SIDE_BY_SIDE[:2])
    found, taken = topology.places, [0, 1, 2, 3]
    for module in (topology, context, contenders, sweep, rows):
        monkeypatch.setattr(module, "usable_cores", lambda: taken)
    monkeypatch.setattr(topology, "places", lambda _=None: found(root))
    return root


def test_workers_are_bound_in_that_order(hyperthreads, monkeypatch):
    bound = {}
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda pid, cores: bound.setdefault(threading.current_thread().name, cores)
    )
    in_threads(4, lambda worker: None, pin=True)
    assert [bound[f"pcsim-worker-{worker}"] for worker in range(4)] == [{0}, {2}, {1}, {3}]
    bound.clear()
    in_threads(2, lambda worker: None, pin=True, first_core=1)  # the second of two ranks
    assert [bound[f"pcsim-worker-{worker}"] for worker in range(2)] == [{2}, {1}]


def test_auto_and_the_doctor_know_physical_cores(hyperthreads, monkeypatch):
    assert topology.advised_workers() == 2
    assert limits.resolve_workers("auto", IPC(), 9, "threads") == 2
    assert contenders.counts_to_try(["auto"], 9) == [1, 2, 4]
    whole = context.capture()
    monkeypatch.setattr(context, "capture", lambda *rest: {**whole, "siblings": [[0, 1], [2, 3]]})
    assert "--workers 2 at most" in here._cores()[2]


def test_the_map_stands_in_the_header(hyperthreads):
    found = context.capture()["placement"]
    assert [place["cpu"] for place in found] == [0, 2, 1, 3]
    assert found[1] == {"cpu": 2, "package": 0, "node": 0, "core": 2, "thread": 0, "kind": 0}


def quota(monkeypatch, worth):
    for module in (context, topology, rows, sweep):
        monkeypatch.setattr(module, "effective_cores", lambda *root: worth)
    monkeypatch.setattr(topology, "cpu_quota", lambda *root: worth)


def test_a_quota_is_known_to_auto_rows_and_sweeps(hyperthreads, monkeypatch):
    quota(monkeypatch, 1.5)
    assert topology.advised_workers() == 1
    assert limits.resolve_workers("auto", IPC(), 9, "threads") == 1
    assert contenders.counts_to_try(["auto"], 9) == [1]
    assert rows._crowding(Contender(IPC(), "serial", 1)) == []
    assert rows._crowding(Contender(IPC(), "layer-parallel", 2)) == [
        "quota: 2 workers with 1.5 cores' worth of time: halted in every period"
    ]
    plan = sweep.Sweep([Case(2, 8)], [IPC()], (1, 2))
    assert refusal(plan.check) == (
        "--workers: 2 are more than the 1 core this process may use (a quota allows 1.5 of 4); "
        "add --oversubscribe if that is meant"
    )
    plan.check(oversubscribe=True)
    quota(monkeypatch, 0.5)
    assert rows._crowding(Contender(IPC(), "serial", 1)) == [
        "quota: 1 worker with 0.5 cores' worth of time: halted in every period"
    ]


def test_without_a_quota_crowding_is_oversubscription_alone(hyperthreads, monkeypatch):
    monkeypatch.setattr(rows, "effective_cores", lambda: 4.0)
    assert rows._crowding(Contender(IPC(), "layer-parallel", 4)) == []
    assert rows._crowding(Contender(IPC(), "layer-parallel", 5)) == ["oversubscribed: 5 workers on 4 cores"]


def test_chosen_cores_are_used_in_their_order_and_given_back():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    before = context.usable_cores()
    wanted = list(reversed(before))
    asleep, ready, seen = threading.Event(), threading.Event(), []

    def other():
        ready.set()
        asleep.wait(60)
        seen.append(context.usable_cores())

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait(60)
    with topology.chosen(wanted):
        assert topology.placement() == wanted
        in_threads(1, lambda worker: seen.append(context.usable_cores()), pin=True)
    with topology.chosen(wanted[:1]):
        assert topology.placement() == context.usable_cores() == wanted[:1]
        asleep.set()
        thread.join()
    assert seen == [wanted[:1], wanted[:1]]  # also of a thread that was there
    assert topology.CHOSEN not in os.environ
    assert context.usable_cores() == before


@pytest.mark.parametrize("verb", ["bench", "train", "calibrate", "validate"])
@pytest.mark.parametrize("words", ["99999", "0,0", "", "1-", "a", "3-1", "0-9999999999"])
def test_cores_that_are_not_there_are_one_line(pcsim, tmp_path, verb, words):
    out = ["--out", tmp_path / "new.json"]
    more = {"calibrate": out, "validate": ["m.json", *out]}.get(verb, [])
    code, out, err = pcsim(verb, *more, "--cores", words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "--cores" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("told", "said"), [("8", True), ("4", False), ("", False), ("x", False)])
def test_slurm_speaks_of_more_cores_than_there_are(hyperthreads, monkeypatch, told, said):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", told)
    text = topology.told_too_many()
    assert (text is not None) == said
    if said:
        assert text.startswith("SLURM_CPUS_PER_TASK is 8, but this process may use 4 cores")
        assert here._cores()[0] == "warn"
        assert "--cpus-per-task=8" in here._cores()[2]


def test_every_machine_has_each_core_once(monkeypatch, tmp_path):
    for number, (threads, swap) in enumerate(itertools.product((1, 2, 4), (False, True))):
        cpus = [tuple(range(core * threads, (core + 1) * threads)) for core in range(3)]
        cpus = [tuple(core + 3 * thread for thread in range(threads)) for core in range(3)] if swap else cpus
        root = machine(tmp_path / str(number), cpus)
        assert sorted(order(monkeypatch, root, range(3 * threads))) == list(range(3 * threads))
