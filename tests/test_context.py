"""The captured context: what it finds, what it does without, and what it must not tell."""

import json
import os
import platform
from pathlib import Path

import pytest

from pcsim import context


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_capture_is_json_and_whole():
    found = context.capture(["pcsim", "bench"])
    assert json.loads(json.dumps(found)) == found
    assert found["command"] == ["pcsim", "bench"]
    assert found["versions"]["numpy"]
    assert found["cores"] == len(found["affinity"]) >= 1
    assert found["memory"] > found["memory_available"] > 0
    assert found["blas"]


def test_capture_names_nobody():
    text = json.dumps(context.capture())
    for private in (platform.node(), str(Path.home()), os.environ.get("USER", "no such user")):
        if len(private) > 3:
            assert private not in text


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
        f"{base}/cpufreq/scaling_governor": "ondemand\n",
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
        {"level": 1, "size": 48 << 10, "shared_by": 2},
        {"level": 3, "size": 32 << 20, "shared_by": 8},
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
    ],
)
def test_quotas_of_both_kinds_and_of_parents(tmp_path, files, cores):
    root = tree(tmp_path, files)
    assert context.cpu_quota(root) == cores
    expected = len(context.usable_cores()) if cores is None else min(cores, len(context.usable_cores()))
    assert context.effective_cores(root) == expected


def test_a_package_that_is_not_there_has_no_version():
    assert context.version("no-such-package-anywhere") is None
