"""The commands that the doctor prints: each with made-up facts to which it applies, and none where nothing is wrong."""

import subprocess

import pytest

from pcsim.doctor.checks import Check
from pcsim.doctor.fixes import CLOCK, CPU, Fix, fixes, script, settings
from pcsim.host.context import recorded

# A machine on which nothing needs to be changed.
STEADY = {
    "environment": {},
    "siblings": [[0], [1], [2], [3]],
    "cores": 4,
    "affinity": [0, 1, 2, 3],
    "effective_cores": 4.0,
    "governor": "performance",
    "turbo": False,
    "clock_source": "tsc",
    "container": None,
    "clock_sources": ["tsc", "hpet"],
    "intel": False,
    "kernel.nmi_watchdog": 0,
    "kernel.perf_event_max_sample_rate": 1,
}
UNKNOWN = {**STEADY, "siblings": None, "governor": None, "turbo": None, "clock_source": None, "clock_sources": []}


def commands(checks=(), **changes):
    return [fix.command for fix in fixes(checks, {**STEADY, **changes})]


def test_a_steady_machine_needs_nothing():
    assert fixes([Check("kernel cache", "ok", "kept")], STEADY) == []
    assert script([], STEADY).startswith("# Nothing to change")


def test_what_a_system_does_not_tell_is_not_changed():
    unknown = {name: value for name, value in UNKNOWN.items() if not name.startswith("kernel.")}
    assert fixes([], unknown) == []


@pytest.mark.parametrize(
    ("changes", "command", "undo"),
    [
        (
            {"governor": "powersave"},
            f"echo performance | sudo tee {CPU}/cpu*/cpufreq/scaling_governor",
            f"echo powersave | sudo tee {CPU}/cpu*/cpufreq/scaling_governor",
        ),
        ({"governor": "performance/powersave"}, f"echo performance | sudo tee {CPU}/cpu*/cpufreq/scaling_governor", ""),
        (
            {"turbo": True, "intel": True},
            f"echo 1 | sudo tee {CPU}/intel_pstate/no_turbo",
            f"echo 0 | sudo tee {CPU}/intel_pstate/no_turbo",
        ),
        ({"turbo": True}, f"echo 0 | sudo tee {CPU}/cpufreq/boost", f"echo 1 | sudo tee {CPU}/cpufreq/boost"),
        (
            {"clock_source": "hpet"},
            f"echo tsc | sudo tee {CLOCK}/current_clocksource",
            f"echo hpet | sudo tee {CLOCK}/current_clocksource",
        ),
        (
            {"kernel.perf_event_max_sample_rate": 100000},
            "sudo sysctl kernel.perf_event_max_sample_rate=1",
            "sudo sysctl kernel.perf_event_max_sample_rate=100000",
        ),
        ({"kernel.nmi_watchdog": 1}, "sudo sysctl kernel.nmi_watchdog=0", "sudo sysctl kernel.nmi_watchdog=1"),
        (
            {"siblings": [[0, 2], [1, 3]]},
            "taskset -c 0,1 pcsim bench --out FILE.jsonl",
            "",
        ),
        (
            {"siblings": [[0, 4], [1, 5], [2, 6], [3, 7]], "cores": 8, "effective_cores": 2.5},
            "taskset -c 0,1 pcsim bench --out FILE.jsonl",
            "",
        ),
        ({"effective_cores": 1.5}, "taskset -c 0 pcsim bench --out FILE.jsonl", ""),
        (
            {"effective_cores": 0.5, "affinity": [3, 5, 7, 9]},
            "taskset -c 3 pcsim bench --out FILE.jsonl",
            "",
        ),
        ({"environment": {"OPENBLAS_CORETYPE": "Haswell", "LD_PRELOAD": "x"}}, "unset OPENBLAS_CORETYPE", ""),
        (
            {"environment": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}},
            "unset OMP_NUM_THREADS OPENBLAS_NUM_THREADS",
            "",
        ),
    ],
)
def test_what_is_wrong_has_its_command_and_no_other(changes, command, undo):
    (fix,) = fixes([], {**STEADY, **changes})
    assert (fix.command, fix.undo) == (command, undo)
    assert fix.why


def test_a_clock_that_cannot_be_had_is_not_asked_for():
    assert commands(clock_source="hpet", clock_sources=["hpet", "acpi_pm"]) == []


def test_a_cache_that_cannot_be_written_gets_a_folder():
    (command,) = commands([Check("kernel cache", "warn", "cannot be kept")])
    assert command.startswith("export NUMBA_CACHE_DIR=")


def test_every_variable_is_one_that_the_context_records():
    from pcsim.doctor.fixes import SLOWER, THREADS

    assert all(map(recorded, (*SLOWER, *THREADS)))


def test_the_script_is_one_for_a_shell():
    """Reasons and undoing are comments: what is not one is a command of the list, and the shell can read it all."""
    facts = {**STEADY, "governor": "powersave", "turbo": True, "environment": {"OMP_NUM_THREADS": "1"}}
    found = fixes([Check("kernel cache", "warn", "")], facts)
    text = script(found, facts)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines == [fix.command for fix in found]
    assert [f"# {fix.undo}" in text.splitlines() for fix in found if fix.undo] == [True, True]
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    assert "container" not in text
    assert "run what needs sudo on its host" in script(found, {**facts, "container": "docker"})
    assert "host" not in script([Fix("unset A", "b")], {**facts, "container": "docker"})


def test_settings_are_read_where_there_are_any(tmp_path):
    assert settings(tmp_path) == {"clock_sources": [], "intel": False}
    for path, text in {
        "proc/sys/kernel/nmi_watchdog": "1\n",
        "proc/sys/kernel/perf_event_max_sample_rate": "broken\n",
        f"{CPU[1:]}/intel_pstate/no_turbo": "0\n",
        f"{CLOCK[1:]}/available_clocksource": "tsc hpet acpi_pm \n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert settings(tmp_path) == {
        "kernel.nmi_watchdog": 1,
        "clock_sources": ["tsc", "hpet", "acpi_pm"],
        "intel": True,
    }
