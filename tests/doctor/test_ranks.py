"""What the doctor finds on several ranks: from plain data, and on real ranks."""

import json
import os

import pytest
from ranks import on_ranks

from pcsim.doctor import checks, here, ranks
from pcsim.host import context, mpi, topology

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (name for names in mpi.LAUNCHERS for name in names):
        monkeypatch.delenv(name, raising=False)


BRIEF = """
from pcsim.doctor import here
from pcsim.doctor.checks import report
here.PROBES = {}
print(report(here.examine()))
"""


# What ranks tell of each other, as plain data


@pytest.mark.parametrize(
    ("hosts", "usable", "status", "finding"),
    [
        ([0, 0], [[0, 1], [0, 1]], "ok", "host 0: 2 ranks on 2 cores"),
        ([0, 0, 0], [[0, 1]] * 3, "warn", "oversubscribed: host 0: 3 ranks on 2 cores"),
        ([0, 0], [[0], [1]], "ok", "host 0: 2 ranks on 2 cores"),  # two control groups
        ([0, 1], [[0], [0]], "ok", "hosts 0-1: 1 rank on 1 core each"),
        ([0, 1, 0], [[0], [0], [0]], "warn", "oversubscribed: host 0: 2 ranks on 1 core; host 1: 1 rank on 1 core"),
    ],
)
def test_more_ranks_than_cores_are_noticed(hosts, usable, status, finding):
    check = ranks._crowding(hosts, usable)
    assert (check.status, check.finding) == (status, finding)
    assert bool(check.advice) == (status == "warn")


FOUR = [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("hosts", "cores", "finding"),
    [
        ([0, 0], [[0], [0]], "host 0: ranks 0-1 are bound to core 0, and 3 cores of 4 stay unused"),
        ([0, 0, 0], [[0, 1], [2], [2]], "host 0: ranks 1-2 are bound to core 2, and 1 core of 4 stay unused"),
        ([0, 0, 0], [[0, 1]] * 3, "host 0: ranks 0-2 are bound to cores 0-1, and 2 cores of 4 stay unused"),
        ([0, 0, 0], [[0], [0], [1, 2, 3]], "host 0: ranks 0-1 are bound to core 0"),
        ([0, 0, 0], [[0, 1], [0], [1]], "host 0: ranks 0-2 are bound to cores 0-1, and 2 cores of 4 stay unused"),
        ([0, 0] * 3, [[0]] * 6, "host 0: ranks 0-5 are bound to core 0, and 3 cores of 4 stay unused"),
        (
            [0, 0, 1, 1, 2],
            [[0], [0], [1], [1], [0]],
            "host 0: ranks 0-1 are bound to core 0, and 3 cores of 4 stay unused (and alike on 1 other host)",
        ),
        ([0, 0], [[0], [1]], ""),
        ([0, 0], [FOUR, FOUR], ""),
        ([0, 0], [[0, 1], [0]], ""),  # one core each can be had
        ([0, 0, 0], [[0, 1], [1, 2], [0]], ""),
        ([0] * 6, [FOUR] * 6, ""),  # too many, but not badly placed
        ([0] * 5, [[0], [1], [2], [3], [0]], ""),
        ([0, 1], [[0], [0]], ""),
    ],
)
def test_ranks_bound_to_the_same_cores_are_noticed(hosts, cores, finding):
    check = ranks._binding(hosts, cores, [FOUR] * len(hosts))
    assert check.status == ("warn" if finding else "ok")
    if finding:
        assert check.finding == finding
        assert "mpiexec -bind-to core" in check.advice
        assert "srun --cpu-bind=cores" in check.advice
    else:
        assert ("not bound" in check.finding) == (cores[0] == FOUR)


def test_cores_beyond_the_binding_are_seen():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    before = os.sched_getaffinity(0)
    everywhere = topology.unbound_cores()
    assert set(everywhere) >= before
    os.sched_setaffinity(0, {min(before)})
    try:
        assert topology.unbound_cores() == everywhere
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)


def test_different_versions_fail():
    ours = {"python": "3.11.7", "pcsim": "0.1.0", "numpy": "2.4.6", "numba": "0.68.1", "MPI library": "MPICH 5.0.2"}
    assert ranks._versions([ours, {**ours}]).status == "ok"
    check = ranks._versions([ours, ours, {**ours, "numpy": "2.3.0"}])
    assert (check.status, check.finding) == ("fail", "rank 2 runs numpy 2.3.0, rank 0 2.4.6")
    assert check.advice
    assert ranks._versions([ours, {**ours, "numba": None}]).status == "fail"


def test_different_processors_are_noticed():
    assert ranks._processors([0, 1], ["A", "A"]).status == "ok"
    check = ranks._processors([0, 0, 1, 2], ["A", "A", "B", "A"])
    assert (check.status, check.finding) == ("warn", "not alike: hosts 0, 2: A each; host 1: B")


def test_a_library_without_threads_fails():
    versions = {"MPI library": "MPICH 5.0.2", "mpi4py": "4.1.2"}
    check = ranks._ranks(versions, "funneled", [0, 0, 1])
    told = "MPICH 5.0.2, mpi4py 4.1.2, thread level funneled; 3 ranks; host 0: 2 ranks; host 1: 1 rank"
    assert (check.status, check.finding) == ("ok", told)
    assert ranks._ranks(versions, "single", [0, 0]).status == "fail"


@pytest.mark.parametrize(
    ("hosts", "pairs"),
    [
        ([0, 0], [(0, 1)]),
        ([0, 1], [(0, 1)]),
        ([0, 0, 0, 1, 1], [(0, 1), (2, 3)]),
        ([0, 1, 1], [(0, 1), (1, 2)]),
        ([0, 1, 2, 0, 1, 2], [(0, 1), (0, 3)]),
        ([0, 1, 2], [(0, 1)]),
    ],
)
def test_pairs_within_and_between_hosts(hosts, pairs):
    assert ranks._pairs(hosts) == pairs


NEAR, FAR = {"ranks": [0, 1], "hosts": [0, 0]}, {"ranks": [1, 2], "hosts": [0, 1]}


def test_slow_messages_are_noticed():
    check = ranks._messages(NEAR, [(8, 2e-7), (1 << 22, 4e-4)])
    assert (check.name, check.status) == ("messages, one host", "ok")
    assert check.finding == "rank 0 to 1: 8 B 200 ns, 4 MiB 400 µs (10.5 GB/s)"
    assert check.data["ranks"] == [0, 1]
    assert check.data["one_way"][0] == {"bytes": 8, "seconds": 2e-7, "bytes_per_second": 8 / 2e-7}
    assert "share a core" in ranks._messages(NEAR, [(8, 5e-6)]).advice
    check = ranks._messages(FAR, [(8, 5e-6)])
    assert (check.name, check.status) == ("messages, two hosts", "ok")
    check = ranks._messages(FAR, [(8, 40e-6)])
    assert check.status == "warn"
    assert "TCP" in check.advice
    assert json.loads(checks.to_json([check]))["checks"][0]["data"]["hosts"] == [0, 1]


def test_the_overlap_is_told_with_both_figures():
    hidden = [{"bytes": 1 << 16, "unpolled": 0.1, "polled": 0.85, "seconds": 1e-5}]
    check = ranks._overlap(FAR, hidden)
    assert check.finding.endswith("hides: 64 KiB 10% without polling, 85% with")
    assert check.data == {**FAR, "hidden": hidden}


# Real ranks

ON_RANK_1 = "import sys; from pcsim.host import context, mpi\nif mpi.launched()[0] == 1"


def test_one_rank_alone_is_said():
    answer = on_ranks(1, BRIEF.replace("PROBES = {}", "PROBES = {'MPI': here._mpi}"))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("ok    MPI  ")
    assert "; launched with one rank (" in answer.stdout


def test_two_ranks_are_examined():
    answer = on_ranks(
        2,
        """
from pcsim.doctor.checks import to_json
from pcsim.doctor.here import examine
checks = examine()
print(to_json(checks) if checks else "nothing", flush=True)
""",
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("nothing") == 1
    checks = json.loads(answer.stdout.replace("nothing\n", ""))["checks"]
    names = [check["name"] for check in checks]
    local = [name for name in here.PROBES if name != "MPI"]
    assert names[: len(local)] == local
    together = ["MPI", "versions", "cores of ranks", "binding", "messages, one host", "overlap, one host"]
    assert names[len(local) :] == together
    assert not [check for check in checks if "could not be examined" in check["finding"]]
    told = {check["name"]: check for check in checks}
    assert told["MPI"]["status"] == "ok"
    assert "2 ranks; host 0: 2 ranks" in told["MPI"]["finding"]
    assert told["versions"]["status"] == "ok"
    steps = told["messages, one host"]["data"]["one_way"]
    assert steps[0]["bytes"] == 8
    assert all(step["seconds"] > 0 for step in steps)


def test_four_ranks_are_examined_and_none_left_behind():
    answer = on_ranks(4, BRIEF)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("4 ranks; host 0: 4 ranks") == 1
    assert answer.stdout.count("messages, one host") == 1


def test_ranks_bound_to_one_core_are_told():
    if len(context.usable_cores()) < 2 or not hasattr(os, "sched_setaffinity"):
        pytest.skip("ranks cannot be bound to one core of several here")
    answer = on_ranks(2, f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})\n{BRIEF}")
    assert answer.returncode == 0, answer.stderr
    assert "warn  binding" in answer.stdout
    assert "ranks 0-1 are bound to core" in answer.stdout


def test_ranks_of_different_versions_are_told():
    answer = on_ranks(2, f"{ON_RANK_1}: context.version = lambda name: '0'\n{BRIEF}")
    assert answer.returncode == 0, answer.stderr
    assert "fail  versions" in answer.stdout
    assert "rank 1 runs pcsim 0, rank 0 " in answer.stdout


def test_waiting_ranks_leave_the_cores_alone():
    answer = on_ranks(
        2,
        """
import time
from pcsim.host import mpi
comm = mpi.world().COMM_WORLD
comm.Barrier()
if comm.rank == 0:
    time.sleep(2)
begin, busy = time.perf_counter(), time.process_time()
mpi.asleep(comm)
if comm.rank == 1:
    print(time.perf_counter() - begin, time.process_time() - busy)
""",
    )
    assert answer.returncode == 0, answer.stderr
    waited, busy = map(float, answer.stdout.split())
    assert waited > 1
    assert busy < waited / 5  # a spinning wait takes all of it


@pytest.mark.parametrize(("rank", "place"), [(0, "ranks._facts"), (1, "ranks._facts"), (1, "links.overlap")])
def test_a_rank_that_fails_ends_the_job(rank, place):
    answer = on_ranks(
        2,
        f"""
from pcsim.doctor import ranks
from pcsim.host import links, mpi
def breaks(*arguments):
    raise OSError("no such device")
if mpi.world().COMM_WORLD.rank == {rank}:
    {place} = breaks
"""
        + BRIEF,
    )
    assert answer.returncode != 0
    assert f"[rank {rank}] OSError: no such device" in answer.stderr
    assert "messages" not in answer.stdout


def test_a_rank_without_kernels_is_told():
    answer = on_ranks(2, f"{ON_RANK_1}: sys.modules['pcsim.host.links'] = None\n{BRIEF}")
    assert answer.returncode == 0, answer.stderr
    assert "not measured: rank 1 cannot load compiled kernels" in answer.stdout
