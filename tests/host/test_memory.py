"""Room in memory: what is needed is held against what this process can get."""

import resource
from types import SimpleNamespace

import psutil
import pytest
from nets import refusal

from pcsim.cli import main  # noqa: F401 - all that looks for room is imported
from pcsim.doctor import here
from pcsim.host import context, memory
from pcsim.host.groups import memory_room
from pcsim.schedule.builders import check_memory

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine with 24 GiB of which 23 are free."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=23 * GIB, total=24 * GIB))


def tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(text))
    return root


GROUP = "sys/fs/cgroup"
SECOND = {
    "proc/self/cgroup": "0::/a/b\n",
    f"{GROUP}/a/b/memory.max": 700 << 20,
    f"{GROUP}/a/b/memory.current": 200 << 20,
}
FIRST = {
    "proc/self/cgroup": "4:memory:/x\n0::/\n",
    f"{GROUP}/memory/x/memory.limit_in_bytes": 700 << 20,
    f"{GROUP}/memory/x/memory.usage_in_bytes": 200 << 20,
}


@pytest.mark.parametrize(
    ("files", "limit", "available"),
    [
        (SECOND, 700, 500),
        (FIRST, 700, 500),
        # files in memory can be dropped
        ({**SECOND, f"{GROUP}/a/b/memory.stat": "anon 1\ninactive_file 104857600\nactive_file 0\nbroken\n"}, 700, 600),
        ({**FIRST, f"{GROUP}/memory/x/memory.stat": "total_inactive_file 104857600\ninactive_file 7\n"}, 700, 600),
        # a parent's limit holds, and what its other children use counts
        ({**SECOND, f"{GROUP}/a/memory.max": 600 << 20, f"{GROUP}/a/memory.current": 550 << 20}, 600, 50),
        ({**FIRST, f"{GROUP}/memory/memory.limit_in_bytes": 300 << 20}, 300, 300),
        # the limit above which a process is slowed down until it stands
        ({**SECOND, f"{GROUP}/a/b/memory.max": "max", f"{GROUP}/a/b/memory.high": 400 << 20}, 400, 200),
        # a container that sees its own group at the mount
        ({"proc/self/cgroup": "0::/../../x\n", f"{GROUP}/memory.max": 512 << 20}, 512, 512),
        ({"proc/self/cgroup": "5:cpu,memory:/x\n", f"{GROUP}/cpu,memory/x/memory.limit_in_bytes": 512 << 20}, 512, 512),
        # used up, and more than that
        ({**SECOND, f"{GROUP}/a/b/memory.current": 900 << 20}, 700, 0),
    ],
)
def test_limits_of_both_kinds_and_of_parents(tmp_path, files, limit, available):
    root = tree(tmp_path, files)
    assert memory.limit(root) == limit << 20
    assert memory.available(root) == available << 20
    assert memory.shortage((available << 20) + 1, root)
    assert memory.shortage(available << 20, root) is None


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "0::/\n"},
        {"proc/self/cgroup": "0::/a\n", f"{GROUP}/a/memory.max": "max\n"},
        {"proc/self/cgroup": "0::/a\n", f"{GROUP}/a/memory.max": "garbage\n"},
        {"proc/self/cgroup": "4:memory:/x\n", f"{GROUP}/memory/x/memory.limit_in_bytes": 9223372036854771712},
        {"proc/self/cgroup": "4:cpu:/x\n", f"{GROUP}/cpu/x/memory.limit_in_bytes": 1},
        {"proc/self/cgroup": "0::/a\n", f"{GROUP}/a/memory.max": 48 * GIB},  # more than there is
    ],
)
def test_no_limit_leaves_the_machine_s_memory(tmp_path, files):
    root = tree(tmp_path, files)
    assert memory.limit(root) is None
    assert memory.available(root) == 23 * GIB


def test_a_limit_of_the_process_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2 * GIB, 4 * GIB))
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(vms=GIB)))
    assert (memory.limit(tmp_path), memory.available(tmp_path)) == (2 * GIB, GIB)


def test_require_says_what_is_needed_and_what_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 2**29, total=24 * GIB))
    memory.require(3 * 2**29, "all of it", tmp_path)
    assert refusal(lambda: memory.require(2**32, "a thing", tmp_path)) == (
        "a thing needs 4.0 GiB, but only 1.5 GiB are available: make the net or the batch smaller"
    )
    assert refusal(lambda: memory.require(2**32, "a thing", tree(tmp_path, SECOND))) == (
        "a thing needs 4.0 GiB, but only 0.5 GiB are available (a limit allows this process 0.7 GiB): "
        "make the net or the batch smaller"
    )


@pytest.fixture
def limited(monkeypatch, tmp_path):
    """This process in a group with 700 MiB."""
    room = memory_room(tree(tmp_path, SECOND))
    monkeypatch.setattr(memory, "memory_room", lambda root: room)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--hidden", "16000", "--updates", "1"),
        ("bench", "--depths", "2", "--widths", "10000", "--workers", "1"),
    ],
)
def test_verbs_refuse_what_a_limit_would_kill(limited, pcsim, words):
    code, out, err = pcsim(*words)
    assert (code, out) == (2, "")
    assert "(a limit allows this process 0.7 GiB)" in err
    assert len(err.splitlines()) == 1


def test_graphs_doctor_and_header_know_the_limit(limited):
    assert refusal(lambda: check_memory(10**7, 1)).endswith(
        "where 0.5 GB are free: ask for less depth, fewer updates or fewer steps"
    )
    assert "0.5 GiB available: a limit allows this process 0.7 of 24.0 GiB" in here._memory()[1]
    found = context.capture()
    assert (found["memory"], found["memory_limit"], found["memory_available"]) == (24 * GIB, 700 << 20, 500 << 20)
