"""Breaks one line at a time, and looks whether the tests notice: ``python scripts/mutants.py [NUMBER …]``.

Each mutant changes a sign, an index, an order, a bound or a wait in ``kernels/``, ``engines/``, ``schedule/`` or
``predict/``. It is applied to a copy of the repository, in which the tests that stand beside the changed room are run
until the first fails; whatever these catch, ``make test`` catches. First the same tests must pass without a mutant. One
that survives should be run against all tests (``--all``). The installed pcsim must be this source tree's (``make test``
makes such an environment); the copy goes in front of it by PYTHONPATH.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 900  # seconds for the tests of one mutant; one that hangs is caught, too


class Mutant(NamedTuple):
    """``before`` stands once in ``file``; ``tests`` are those that are run."""

    file: str
    before: str
    after: str
    tests: str


ENGINES = "tests/engines"
THREADS = "tests/engines/test_engines.py tests/engines/test_state.py"
RANKS = "tests/engines/test_mpi.py"
SCHEDULE = "tests/schedule"
PREDICT = "tests/predict"
KERNELS = "tests/kernels " + THREADS

MUTANTS = [
    # kernels/layers
    Mutant(
        "kernels/layers/dense.py",
        "W, r + block, columns, a, i, x, b + row + 8, e,",
        "W, r + block, columns, a, i, x, b + row, e,",
        KERNELS,
    ),
    Mutant(
        "kernels/layers/dense.py",
        "            store(W, r3 + j, multiply_add(u3, v, w3))\n            store(W, r4 + j",
        "            store(W, r4 + j",
        KERNELS,
    ),
    Mutant(
        "kernels/layers/values.py",
        "plus, minus = splat(gamma), splat(-gamma)",
        "plus, minus = splat(gamma), splat(gamma)",
        KERNELS,
    ),
    Mutant("kernels/layers/step.py", "    count = min(rows, s.sizes[l] - first)\n", "    count = rows\n", KERNELS),
    Mutant(
        "kernels/layers/step.py",
        "h[g + j] += precision * e[slot + above + j]",
        "h[g + j] += e[slot + above + j]",
        KERNELS,
    ),
    Mutant("kernels/layers/step.py", "    rate = alpha * precision\n", "    rate = alpha\n", KERNELS),
    Mutant("kernels/layers/weights.py", "1.0 - BETA_2**number", "1.0 - BETA_1**number", KERNELS),
    Mutant(
        "kernels/layers/vectors.py",
        "        begin = s.value_at[l] + row * s.padded[l] + first\n        for j in range(begin, begin + rows, lanes(e)):\n            total = load(p, j)\n            for share in range(1, count):",
        "        begin = s.value_at[l] + row * s.padded[l] + first\n        for j in range(begin, begin + rows, lanes(e)):\n            total = load(p, j)\n            for share in range(1, count - 1):",
        KERNELS,
    ),
    Mutant(
        "kernels/machine/sync.py",
        "    while load_acquire(flags, worker * FLAG_STRIDE) < value:\n",
        "    while load_acquire(flags, worker * FLAG_STRIDE) < value - 1:\n",
        KERNELS,
    ),
    # kernels/graphs
    Mutant(
        "kernels/graphs/paths.py",
        "            ready = max(ready, finish[indices[edge]])\n        finish[v] = ready + cost[v]\n\n\n@njit(cache=True, nogil=True)\ndef critical_chain",
        "            ready = finish[indices[edge]]\n        finish[v] = ready + cost[v]\n\n\n@njit(cache=True, nogil=True)\ndef critical_chain",
        SCHEDULE,
    ),
    Mutant(
        "kernels/graphs/paths.py",
        "            if busy[ready] == workers:\n                next_free[ready] = ready + 1\n        start[v] = ready",
        "            if busy[ready] > workers:\n                next_free[ready] = ready + 1\n        start[v] = ready",
        SCHEDULE,
    ),
    Mutant(
        "kernels/graphs/paths.py",
        "                done = before[indices[edge]] if lag[edge] else finish[indices[edge]]",
        "                done = finish[indices[edge]]",
        SCHEDULE,
    ),
    Mutant(
        "kernels/graphs/plans.py", "port[w] = max(port[w], time) + occupied[m]", "port[w] = time + occupied[m]", PREDICT
    ),
    Mutant("kernels/graphs/plans.py", "if other != l and latest[w, other] > latest[w, l]:", "if other != l:", PREDICT),
    Mutant("kernels/graphs/plans.py", "        time = free[w] if w >= 0 else 0.0\n", "        time = 0.0\n", PREDICT),
    # engines/loops
    Mutant(
        "pcsim/engines/loops/predictive_coding.py",
        "    if b.below < 0 or not _await(b, b.progress, 2 * b.below + 1, step + 1, step) or not moving:",
        "    if not moving or b.below < 0 or not _await(b, b.progress, 2 * b.below + 1, step + 1, step):",
        ENGINES,
    ),
    Mutant(
        "pcsim/engines/loops/predictive_coding.py",
        "    if b.above < 0 or not _await(b, b.progress, 2 * b.above, step + 1, step) or not moving:",
        "    if b.above < 0 or not moving:",
        THREADS,
    ),
    Mutant(
        "pcsim/engines/loops/predictive_coding.py",
        "            turn = number + _updates_until(b, stage, k)\n",
        "            turn = number\n",
        THREADS,
    ),
    Mutant(
        "pcsim/engines/loops/predictive_coding.py",
        "                inner = l if upwards else l + 1 ",
        "                inner = l + 1 if upwards else l ",
        THREADS,
    ),
    Mutant(
        "pcsim/engines/loops/predictive_coding.py",
        "            together = min(together, calendar.cycle - t)\n",
        "            pass\n",
        THREADS,
    ),
    Mutant(
        "pcsim/engines/loops/backprop.py",
        "            if l > 0 or depth == 1:  # errors",
        "            if l > 0:  # errors",
        THREADS,
    ),
    Mutant(
        "pcsim/engines/loops/backprop.py",
        "            publish(progress, 2 * worker + 1, done + m + 1)\n",
        "            publish(progress, 2 * worker + 1, done + m + 2)\n",
        THREADS,
    ),
    Mutant(
        "pcsim/engines/loops/edges.py",
        "    if edges.state[state + POSTED] <= step:\n",
        "    if edges.state[state + POSTED] < step:\n",
        RANKS,
    ),
    Mutant(
        "pcsim/engines/loops/edges.py",
        "    return exchanges(edges, step) and (side == BELOW or not _errors_known(edges, step))",
        "    return exchanges(edges, step)",
        RANKS,
    ),
    Mutant(
        "pcsim/engines/loops/backprop_ranks.py",
        "                if requests[i] != 0:\n                    start(library, requests[i])\n        if lo == 0:",
        "                if requests[i] != 0 and m > 0:\n                    start(library, requests[i])\n        if lo == 0:",
        RANKS,
    ),
    # engines
    Mutant(
        "pcsim/engines/layout.py", "weights[worker, l] = end - first * wide[l]", "weights[worker, l] = end", THREADS
    ),
    Mutant("pcsim/engines/layout.py", "begins[:, None] * self.wide", "begins[:, None] * self.sizes", THREADS),
    Mutant(
        "pcsim/engines/compiled.py", "            layout.values_of(arrays.top, hi)[...] = values[hi]\n", "", THREADS
    ),
    Mutant(
        "pcsim/engines/compiled.py",
        "        products[:, 0] -= BACKPROJECT * moves  # the input is clamped\n",
        "",
        ENGINES,
    ),
    Mutant(
        "pcsim/engines/numpy.py",
        "        self.values = new\n",
        "        self.values = new[:]\n        self.values[1:-1] = x[1:-1]\n",
        THREADS,
    ),
    # schedule
    Mutant(
        "pcsim/schedule/blocks.py",
        "            first, load = l, 0.0\n",
        "            first, load = l, cost\n",
        SCHEDULE + " " + THREADS,
    ),
    Mutant(
        "pcsim/schedule/calendar.py",
        "        return round_ * len(self.stages) + int(np.searchsorted(self.completed, rest + 1)) - position",
        "        return round_ * len(self.stages) + int(np.searchsorted(self.completed, rest + 1))",
        SCHEDULE + " " + THREADS,
    ),
    Mutant(
        "pcsim/schedule/waves.py",
        "machine.last // (together * layer) - 1",
        "machine.last // (together * layer)",
        SCHEDULE,
    ),
    Mutant("pcsim/schedule/timeline.py", "(ends[earlier] > starts[later])", "(ends[earlier] > ends[later])", SCHEDULE),
    Mutant(
        "pcsim/schedule/tasks.py",
        "        span = period * max(1, (self.updates - 1) // (2 * period))\n",
        "        span = max(1, (self.updates - 1) // 2)\n",
        SCHEDULE,
    ),
    # predict
    Mutant(
        "pcsim/predict/timing.py",
        "delay[edges[same]] = machine.handover_latency + sizes[same] / machine.handover_bandwidth",
        "delay[edges[same]] = machine.handover_latency",
        PREDICT,
    ),
    Mutant("pcsim/predict/timing.py", "(2 if kind == ALLREDUCE else 1) * (parties - 1)", "(parties - 1)", PREDICT),
    Mutant(
        "pcsim/predict/timing.py",
        "    direct = 2 * messages.overhead * (ranks - 1)",
        "    direct = messages.overhead * (ranks - 1)",
        PREDICT,
    ),
    Mutant("pcsim/predict/plans.py", "        lag = before < 0\n", "        lag = before <= 0\n", PREDICT),
    Mutant(
        "pcsim/predict/plans.py",
        "    upwards = (worker + number) % 2 == 0\n",
        "    upwards = worker % 2 == 0\n",
        PREDICT,
    ),
]


def run(tests: str, compiled: str, mutant: Mutant | None = None) -> str:
    """What a copy of the repository, with the mutant if there is one, does with these tests (with none, all of them).

    ``passed``; or ``failed: …`` with the first test that did, which leaves out those after it.
    """
    with tempfile.TemporaryDirectory(prefix="pcsim-mutant-") as folder:
        copy = Path(folder, "pcsim")
        left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=left_out)
        if mutant is not None:
            file = copy / mutant.file
            text = file.read_text(encoding="utf-8")
            if text.count(mutant.before) != 1:
                sys.exit(f"mutants.py: stands {text.count(mutant.before)} times in {mutant.file}: {mutant.before}")
            file.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PCSIM_TEST_CACHE": compiled}
        try:
            answer = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return f"failed: no end within {PATIENCE} s"
    failed = [line for line in answer.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "passed" if answer.returncode == 0 else f"failed: {failed[0] if failed else answer.stdout[-200:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=int, nargs="*", help="which mutants (default: all)")
    parser.add_argument("--all", action="store_true", help="run all tests on each")
    arguments = parser.parse_args()
    sound: set[str] = set()  # tests that the sources pass as they are: what fails them would say nothing of a mutant
    survivors = []
    with tempfile.TemporaryDirectory(prefix="pcsim-compiled-") as compiled:
        for number in arguments.numbers or range(len(MUTANTS)):
            mutant = MUTANTS[number]
            tests = "" if arguments.all else mutant.tests
            if tests not in sound and (verdict := run(tests, compiled)) != "passed":
                sys.exit(f"mutants.py: without any mutant, {tests or 'tests'} {verdict}")
            sound.add(tests)
            began = time.monotonic()
            verdict = run(tests, compiled, mutant)
            print(f"{number:2} {mutant.file}: {verdict[:150]} ({time.monotonic() - began:.0f} s)", flush=True)
            survivors += [number] if verdict == "passed" else []
    print(f"{len(survivors)} not caught: {survivors or 'none'}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
