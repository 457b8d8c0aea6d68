"""The captured context: what it finds, what it does without, and what it must not tell."""

import json
import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pcsim.host import context


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def test_capture_is_json_and_whole():
    found = context.capture(["pcsim", "bench"])
    assert json.loads(json.dumps(found)) == found
    assert found["command"] == ["pcsim", "bench"]
    assert found["versions"]["numpy"]
    assert found["cores"] == len(found["affinity"]) >= 1
    assert found["memory"] > found["memory_available"] > 0
    assert found["blas"]


PRIVATE_COMMANDS = [
    ("--out=/home/annabel/runs/a.jsonl", "--out=a.jsonl"),
    ("/home/annabel", "~"),
    ("-o/home/annabel/a.jsonl", "-o~/a.jsonl"),
    ("/scratch/annabel smith/new run.jsonl", "new run.jsonl"),
    ("../annabel/a.jsonl", "../<user>/a.jsonl"),
    ("on-gaming-rig.example.org.jsonl", "on-<host>.jsonl"),
    ("gaming-rig_2.jsonl", "<host>_2.jsonl"),
    ("annabella", "annabella"),
    ("results/a.jsonl", "results/a.jsonl"),
    ("--widths", "--widths"),
    ("", ""),
]


@pytest.fixture
def annabel(monkeypatch):
    """A person with a name, a home and a machine that nobody else need know of."""
    monkeypatch.setenv("HOME", "/home/annabel")
    monkeypatch.setenv("USER", "annabel")
    monkeypatch.setattr(platform, "node", lambda: "gaming-rig.example.org")


@pytest.mark.parametrize(("typed", "published"), PRIVATE_COMMANDS)
def test_what_is_published_of_a_word(annabel, typed, published):
    assert context.publishable(typed) == published


def test_capture_names_nobody(annabel, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/home/annabel/lib/libfast.so:/opt/annabel/libmore.so")
    monkeypatch.setenv("XLA_FLAGS", "--dump=/home/annabel/x --threads=2")
    found = context.capture(
        ["/home/annabel/bin/pcsim", *(typed for typed, _ in PRIVATE_COMMANDS if typed != "annabella")]
    )
    text = json.dumps(found)
    for private in ("annabel", "gaming-rig", "/home"):
        assert private not in text
    assert found["environment"]["LD_PRELOAD"] == "libfast.so:libmore.so"
    assert "--threads=2" in found["environment"]["XLA_FLAGS"]


def test_a_process_without_user_home_or_host(monkeypatch):
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platform, "node", lambda: "")

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(context.pwd, "getpwuid", unknown)
    assert context.publishable("/a/b=~/c") == "b=c"


def test_a_system_that_answers_nothing_gives_nulls(monkeypatch, tmp_path):
    def refuses(*arguments, **options):
        raise OSError("not here")

    for where, name in [(psutil, "cpu_freq"), (psutil, "virtual_memory"), (psutil, "cpu_count"), (os, "getloadavg")]:
        monkeypatch.setattr(where, name, refuses)
    monkeypatch.setattr(context.subprocess, "run", refuses)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    found = context.capture(root=tmp_path, sample_seconds=0.001)
    for name in ("commit", "physical_cores", "memory", "frequency", "load", "siblings"):
        assert found[name] is None
    assert found["affinity"] == list(range(os.cpu_count()))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_unknown_frequencies_are_null(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=2600.0, min=0.0, max=0.0))
    assert context.capture()["frequency"] == {"current": 2600.0, "lowest": None, "highest": None}


def test_busy_processes_are_counted_only_when_asked(monkeypatch):
    class Process:
        def __init__(self, pid, name, percent):
            self.pid, self.info, self.percent = pid, {"name": name}, percent

        def cpu_percent(self, interval):
            if self.percent is None:
                raise psutil.AccessDenied(self.pid)
            return self.percent

    crowd = [Process(1, "a", 20.0), Process(2, "b", 99.0), Process(3, "idle", 1.0), Process(4, "closed", None)]
    crowd.append(Process(os.getpid(), "own", 100.0))
    monkeypatch.setattr(psutil, "process_iter", lambda wanted: iter(crowd))
    assert context.busy_processes(0.0) == [("b", 99.0), ("a", 20.0)]
    assert context.capture()["busy_processes"] is None
    assert context.capture(sample_seconds=0.001)["busy_processes"] == 2


def test_siblings_count_only_among_usable_cores(monkeypatch, tmp_path):
    base = "sys/devices/system/cpu"
    root = tree(tmp_path, {f"{base}/cpu{c}/topology/thread_siblings_list": f"{c % 2},{c % 2 + 2}\n" for c in range(4)})
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1, 2, 3])
    assert context.siblings(root) == [[0, 2], [1, 3]]
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 3])
    assert context.siblings(root) == [[0], [3]]


def test_unlike_cores_show_all_their_caches_and_governors(monkeypatch, tmp_path):
    files = {}
    for core, (own, governor) in enumerate([("1M", "performance"), ("2M", "powersave")]):
        base = f"sys/devices/system/cpu/cpu{core}"
        files[f"{base}/cpufreq/scaling_governor"] = governor
        for index, values in enumerate([("2", "Unified", own, str(core)), ("3", "Unified", "8M", "0-1")]):
            for name, value in zip(("level", "type", "size", "shared_cpu_list"), values, strict=True):
                files[f"{base}/cache/index{index}/{name}"] = value
    monkeypatch.setattr(context, "usable_cores", lambda: [0, 1])
    found = context.capture(root=tree(tmp_path, files))
    assert found["governor"] == "performance/powersave"
    assert [(c["level"], c["size"] >> 20, c["members"]) for c in found["caches"]] == [
        (2, 1, [0]),
        (2, 2, [1]),
        (3, 8, [0, 1]),
    ]


def test_garbage_gives_nulls(tmp_path):
    base = f"sys/devices/system/cpu/cpu{context.usable_cores()[0]}"
    files = dict.fromkeys(("level", "type", "size", "shared_cpu_list"), "?")
    files = {f"{base}/cache/index0/{name}": text for name, text in files.items()}
    files |= {f"{base}/topology/thread_siblings_list": "x-y", "sys/kernel/mm/transparent_hugepage/enabled": "always"}
    found = context.capture(root=tree(tmp_path, files))
    assert found["caches"] == []
    for name in ("siblings", "threads_per_core", "huge_pages"):
        assert found[name] is None


def test_containers_are_seen(monkeypatch, tmp_path):
    for name in ("KUBERNETES_SERVICE_HOST", "APPTAINER_NAME", "SINGULARITY_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert context.capture(root=tmp_path)["container"] is None
    assert context.capture(root=tree(tmp_path, {".dockerenv": ""}))["container"] == "docker"
    monkeypatch.setenv("APPTAINER_NAME", "image.sif")
    assert context.capture(root=tmp_path)["container"] == "apptainer"


def test_an_empty_system_gives_nulls(tmp_path):
    found = context.capture(root=tmp_path)
    for name in ("governor", "turbo", "quota", "huge_pages", "virtual", "threads_per_core"):
        assert found[name] is None
    assert found["caches"] == []
    assert found["cpu_model"]
    assert context.effective_cores(tmp_path) == len(context.usable_cores())


def test_a_described_machine_is_read(tmp_path):
    core = context.usable_cores()[0]
    base = f"sys/devices/system/cpu/cpu{core}"
    files = {
        "proc/cpuinfo": "model name\t: Some Chip 9000\nflags\t: fpu hypervisor\n",
        **{f"sys/devices/system/cpu/cpu{c}/cpufreq/scaling_governor": "ondemand\n" for c in context.usable_cores()},
    }
    files |= {f"{base}/topology/thread_siblings_list": "0,4\n", "sys/devices/system/cpu/cpufreq/boost": "1\n"}
    caches = {0: ("1", "Data", "48K", "0,4"), 1: ("1", "Instruction", "32K", "0,4"), 2: ("3", "Unified", "32M", "0-7")}
    for index, values in caches.items():
        for name, value in zip(("level", "type", "size", "shared_cpu_list"), values, strict=True):
            files[f"{base}/cache/index{index}/{name}"] = value + "\n"
    found = context.capture(root=tree(tmp_path, files))
    assert (found["cpu_model"], found["governor"], found["turbo"], found["virtual"]) == (
        "Some Chip 9000",
        "ondemand",
        True,
        True,
    )
    assert found["threads_per_core"] == 2
    assert found["caches"] == [
        {"level": 1, "size": 48 << 10, "shared_by": 2, "members": [0, 4]},
        {"level": 3, "size": 32 << 20, "shared_by": 8, "members": list(range(8))},
    ]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "garbage\n"}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "no colons\n\n7\n"}, None),
        ({"proc/self/cgroup": b"\xff\xfe\x00"}, None),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "nan 100000\n"}, None),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "100000 0\n"}, None),
        # a container with a cgroup namespace of its own
        ({"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        # a container that sees its host's path, which is not mounted in it
        ({"proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/cpu.max": "70000 100000\n"}, 0.7),
        # both versions at once, the second without the cpu controller
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "25000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            0.25,
        ),
    ],
)
def test_quotas_of_both_kinds_and_of_parents(tmp_path, files, cores):
    root = tree(tmp_path, files)
    assert context.cpu_quota(root) == cores
    expected = len(context.usable_cores()) if cores is None else min(cores, len(context.usable_cores()))
    assert context.effective_cores(root) == expected


def test_a_package_that_is_not_there_has_no_version():
    assert context.version("no-such-package-anywhere") is None
