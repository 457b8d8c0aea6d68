"""The commands that would steady this machine, as a script to read first: printed, never run.

It sees facts alone, those of ``host.context.capture`` and :func:`settings`, and what the checks found.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .checks import Check

# Variables that make compiled code or products slower than the machine is, or take threads and binding out of pcsim's
# hands: pcsim sets threads for each contender and binds its own.
SLOWER = ("NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_DISABLE_JIT", "NUMBA_ENABLE_AVX", "OPENBLAS_CORETYPE")
THREADS = (
    "BLIS_NUM_THREADS",
    "GOMP_CPU_AFFINITY",
    "GOTO_NUM_THREADS",
    "KMP_AFFINITY",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# Kernel settings whose interrupts fall into measurements: what each should be, and why.
QUIET = {
    "kernel.nmi_watchdog": (0, "the NMI watchdog interrupts every core now and then"),
    "kernel.perf_event_max_sample_rate": (1, "perf may interrupt a core {} times a second, should somebody use it"),
}

CPU = "/sys/devices/system/cpu"
CLOCK = "/sys/devices/system/clocksource/clocksource0"


@dataclasses.dataclass(frozen=True)
class Fix:
    """A line for a shell, why it is wanted here, and the line that takes it back (empty: it ends with the shell)."""

    command: str
    why: str
    undo: str = ""


def settings(root: Path = Path("/")) -> dict[str, Any]:
    """What :func:`fixes` asks of a Linux system beside the context; what a system does not tell is left out."""
    found: dict[str, Any] = {}
    for name in QUIET:
        if (text := _read(root / "proc/sys" / name.replace(".", "/"))).lstrip("-").isdigit():
            found[name] = int(text)
    found["clock_sources"] = _read(root / CLOCK.lstrip("/") / "available_clocksource").split()
    found["intel"] = (root / CPU.lstrip("/") / "intel_pstate/no_turbo").exists()
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def fixes(checks: Sequence[Check], facts: Mapping[str, Any]) -> list[Fix]:
    """Those that apply, by ``facts`` (of ``context.capture`` and :func:`settings`) and what the checks found."""
    return [*_of_this_shell(checks, facts), *_of_the_system(facts)]


def _of_this_shell(checks: Sequence[Check], facts: Mapping[str, Any]) -> list[Fix]:
    found = []
    variables = facts["environment"]
    changed = (facts.get("kernels") or {}).get("settings", {})
    if slower := [name for name in sorted({*SLOWER, *changed}) if name in variables]:
        found.append(Fix(f"unset {' '.join(slower)}", "compiled code and products run below the machine's speed"))
    if threads := [name for name in THREADS if name in variables]:
        found.append(Fix(f"unset {' '.join(threads)}", "pcsim sets threads for each contender and binds its own"))
    if any(check.name == "kernel cache" and check.status != "ok" for check in checks):
        folder = 'NUMBA_CACHE_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/numba"'
        found.append(Fix(f"export {folder}", "compiled kernels cannot be kept: every run compiles again"))
    groups = [group for group in facts["siblings"] or [] if group]
    whole = min(int(facts["effective_cores"]), len(groups) or facts["cores"]) or 1
    if len(groups) < facts["cores"] and groups:
        cores = ",".join(str(group[0]) for group in groups[:whole])
        why = f"{facts['cores']} logical cores are {len(groups)} physical ones: one thread on each"
        found.append(Fix(f"taskset -c {cores} pcsim bench --out FILE.jsonl", why))
    elif facts["effective_cores"] < facts["cores"]:
        why = f"a quota allows {facts['effective_cores']:g} cores' worth of time on {facts['cores']} cores"
        cores = ",".join(map(str, facts["affinity"][:whole]))
        found.append(Fix(f"taskset -c {cores} pcsim bench --out FILE.jsonl", why))
    return found


def _of_the_system(facts: Mapping[str, Any]) -> list[Fix]:
    found = []
    governor = facts["governor"]
    if governor and governor != "performance":
        every = f"{CPU}/cpu*/cpufreq/scaling_governor"
        undo = _tee(governor, every) if "/" not in governor else ""
        found.append(Fix(_tee("performance", every), f"frequency governor is {governor}", undo))
    if facts["turbo"]:
        path, off = (f"{CPU}/intel_pstate/no_turbo", 1) if facts["intel"] else (f"{CPU}/cpufreq/boost", 0)
        why = "turbo: one busy core is clocked higher than several, and a warm one lower than a cold one"
        found.append(Fix(_tee(off, path), why, _tee(1 - off, path)))
    if facts["clock_source"] not in (None, "tsc") and "tsc" in facts["clock_sources"]:
        path = f"{CLOCK}/current_clocksource"
        why = f"clock source is {facts['clock_source']}: a reading is a system call"
        found.append(Fix(_tee("tsc", path), why, _tee(facts["clock_source"], path)))
    for name, (quiet, why) in QUIET.items():
        if (now := facts.get(name, quiet)) > quiet:
            found.append(Fix(f"sudo sysctl {name}={quiet}", why.format(now), f"sudo sysctl {name}={now}"))
    return found


def _tee(value: object, path: str) -> str:
    return f"echo {value} | sudo tee {path}"


def script(found: Sequence[Fix], facts: Mapping[str, Any]) -> str:
    """The commands with their reasons, and below those that take them back."""
    if not found:
        return "# Nothing to change: no setting was found that would unsteady measurements here."
    lines = ["# What would steady this machine. Nothing was run: read it, and run what you agree with."]
    system = [fix for fix in found if "sudo " in fix.command]
    if system:
        lines.append("# What needs sudo changes the system for everybody, until it restarts.")
    if system and facts["container"]:
        lines.append(f"# This is a container ({facts['container']}): run what needs sudo on its host.")
    for fix in found:
        lines += ["", f"# {fix.why}", fix.command]
    if undos := [fix.undo for fix in found if fix.undo]:
        lines += ["", "# Afterwards, to take it back:", *(f"# {undo}" for undo in undos)]
    return "\n".join(lines)
