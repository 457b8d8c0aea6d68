"""Do two installations of pcsim compute the same bits, at the same speed, and count and predict the same?

    python benchmarks/same.py bits   OLD_PYTHON NEW_PYTHON [--cases 60] [--seed 0] [--no-ranks] [--verbose]
    python benchmarks/same.py speed  OLD_PYTHON NEW_PYTHON [--turns 9] [--pairs 3] [--cells 1 …]
    python benchmarks/same.py counts OLD_PYTHON NEW_PYTHON

An installation is named by the Python interpreter of its environment, as in ``old/.venv/bin/python``; this file itself
needs NumPy alone. ``bits`` trains small random nets in every way there is (NumPy, threads, two MPI ranks) and compares
weights, biases, values, energies and losses to the last bit. ``speed`` times six nets in two processes that take turns,
in several fresh pairs of them; a median of new ÷ old outside 0.97 to 1.03 is a difference, and it wants a machine that
does nothing else. ``counts`` compares the rows of ``pcsim count`` and of ``pcsim simulate`` on every preset.

Results go to standard output, progress to standard error. Exit code 0: the same; 1: a difference, which is named; 2:
they could not be compared. Compiled code is kept in a temporary folder, or with ``--cache DIR`` there, apart for each
state of the sources, which makes the next comparison much faster.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

PATIENCE = 600  # seconds for one answer of a child, in which it may have to compile
LOW, HIGH = 0.97, 1.03  # medians of new ÷ old in between are no difference
SAMPLE = 0.07  # seconds that a sample is to last; some turn out shorter, but hardly less than 0.05
CELLS = ((4, 64, 1), (32, 64, 1), (8, 256, 1), (32, 1024, 1), (6, 64, 250), (32, 256, 64))  # depth, width, batch
# How many of 60 cases go which way: number, backend, algorithm, BP's execution. "engine" is threads with options that
# pcsim.train does not pass on.
WAYS = """
3 numpy BP, 3 numpy PC, 2 numpy ZIL, 4 numpy IPC, 6 threads IPC, 3 threads PC, 3 threads ZIL, 4 threads BP serial,
4 threads BP intra-layer, 3 threads BP blas, 4 threads BP pipeline, 4 threads BP data-parallel, 3 engine IPC,
1 engine PC, 1 engine BP pipeline, 4 mpi IPC, 2 mpi PC, 1 mpi ZIL, 2 mpi BP intra-layer, 2 mpi BP pipeline,
1 mpi BP data-parallel
"""
LAUNCHES = {"numpy": ("numpy",), "threads": ("threads", "engine"), "mpi": ("mpi",)}  # backends in one process
COUNT = "count --depths 2 4 8 16 32 --algorithms bp pc zil ipc --steps 1 4 8 --workers 1 2 4 16 --json -"
SWEEP = "--depths 2 5 16 --widths 64 300 1024 --batches 1 32 --algorithms bp ipc pc zil --steps 1 4"
PRESETS = ("ideal", "server-64", "cluster-infiniband", "cluster-ethernet", "analog-crossbar", "brain-like")
COMMANDS = (
    COUNT,
    *(f"simulate {preset} {SWEEP} --workers 1 2 16" for preset in PRESETS),
    f"simulate gpu-batched {SWEEP} --workers 1",  # it has no more
    f"simulate cluster-ethernet {SWEEP} --workers 4 16 --ranks 4 --dtype float64",
    f"simulate server-64 {SWEEP} --workers 8 --micro-batches 4 --order 1f1b --cores 128 --bandwidth scaled",
)
EXPECTED = "PCSIM_SAME_FOLDER"  # tells children which pcsim they are to find, as search paths are easily wrong
OF_A_RUN = ("time", "host", "versions", "version", "command", "commit")  # what two headers may differ in


class Failure(Exception):
    """Why two installations cannot be compared."""


def say(text):
    """Progress."""
    print(text, file=sys.stderr, flush=True)


class Child:
    """A process that runs this file and answers in lines of JSON; it ends with the ``with`` block."""

    def __init__(self, name, command, cwd, environment):
        self.name = name
        # A session of its own: Ctrl-C is for the parent, which then ends its children.
        options = {"text": True, "cwd": cwd, "env": environment, "start_new_session": True}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()

    def answer(self, **question):
        """The next answer, after a question if there is one."""
        watch = threading.Timer(PATIENCE, self.process.terminate)
        watch.daemon = True
        watch.start()
        with contextlib.suppress(BrokenPipeError):
            if question:
                print(json.dumps(question), file=self.process.stdin, flush=True)
            for line in self.process.stdout:
                if line.startswith("{"):
                    watch.cancel()
                    return json.loads(line)
                sys.stderr.write(line)
        late = "" if watch.is_alive() else f" in {PATIENCE} s"
        watch.cancel()
        raise Failure(f"{self.name}: no answer{late}; it ended with code {self.process.wait()}")


class Installation:
    """One of the two: an interpreter, and a folder outside any source tree in which its processes run."""

    def __init__(self, label, python, temporary, cache):
        found = shutil.which(python)
        if not found:
            raise Failure(f"{label}: {python} is not a program")
        # Not resolved: it is by the link that an interpreter knows its environment.
        self.label, self.python, self.folder = label, os.path.abspath(found), Path(temporary, label)
        self.folder.mkdir()
        self.environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "OPENBLAS_CORETYPE")}
        self.environment["NUMBA_CACHE_DIR"] = str(self.folder)
        with self.start("about") as child:
            self.about = child.answer()
        self.environment[EXPECTED] = self.about["pcsim"]
        # Numba does not see when a function of another file changes that a cached one calls: a cache for each state.
        state = hashlib.sha256(f"{self.python} {self.about.pop('sources')}".encode()).hexdigest()[:16]
        self.environment["NUMBA_CACHE_DIR"] = os.path.abspath(Path(cache or temporary, f"compiled-{state}"))
        say(f"{label}: {', '.join(f'{name} {value}' for name, value in self.about.items())}")

    def start(self, *words, ranks=0, **variables):
        """A child that does what ``words`` say."""
        # -P is not for mpi4py, which puts the script's folder in place of the first in sys.path, whatever that is.
        command = [self.python, *(["-m", "mpi4py"] if ranks else ["-P"]), os.path.abspath(__file__), "child"]
        if ranks:
            beside = Path(self.python).with_name("mpiexec")
            launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
            if not launcher:
                raise Failure(f"{self.label}: no mpiexec beside {self.python} or in PATH (--no-ranks does without)")
            command = [launcher, "-n", str(ranks), *command]
        command += map(str, words)
        return Child(f"{self.label}, {words[0]}", command, self.folder, self.environment | variables)

    def pcsim(self, words):
        """What ``pcsim`` prints."""
        command, place = (
            [self.python, "-P", "-m", "pcsim", *words.split()],
            {"cwd": self.folder, "env": self.environment},
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **place)
        if done.returncode:
            raise Failure(f"{self.label}: pcsim {words} ended with code {done.returncode}:\n{done.stderr.strip()}")
        return done.stdout


class Dealer:
    """Deals cards in random order, of each name all once before any comes again: so every card comes soon."""

    def __init__(self, rng):
        self.rng, self.decks = rng, {}

    def __call__(self, name, *cards):
        left = self.decks.setdefault(name, [])
        left[:] = left or self.rng.sample(cards, len(cards))
        return left.pop()


def draw_cases(count, seed):
    """``count`` random cases, as JSON: nets, data, an algorithm, and arguments of ``pcsim.train`` (or an engine)."""
    rng = random.Random(seed)
    deal = Dealer(rng)
    ways = [way for number, *way in map(str.split, WAYS.split(",")) for _ in range(int(number))]
    return [{"number": number} | draw_case(rng, deal, *deal("way", *ways)) for number in range(count)]


def draw_case(rng, deal, backend, algorithm, execution=None):
    """One of them."""
    predictive, ranks = algorithm != "BP", 2 if backend == "mpi" else 1
    alone = backend == "numpy" or execution == "serial" or (backend == "mpi" and not predictive)
    workers = 1 if alone else min(deal("workers", 1, 2, 3, 2), 4 // ranks)
    depth = rng.randint(max(workers * ranks if predictive or execution == "pipeline" else 1, rng.choice((1, 2, 2))), 7)
    sizes = [rng.randint(*rng.choice(((1, 20), (5, 75), (20, 75), (60, 150)))) for _ in range(depth + 1)]
    if execution == "intra-layer":
        sizes = [n + 30 for n in sizes]  # rows for every worker
    if deal("single", False, False, False, True):
        sizes[rng.randrange(depth + 1)] = 1
    skips = deal("skips", False, False, True)
    if skips:
        at = rng.randrange(depth)
        sizes[at + 1] = sizes[at]
    net = {"sizes": sizes, "dtype": deal("dtype", "float32", "float64"), "bias": deal("bias", False, True)}
    net["activation"] = deal("activation", "tanh", "relu", "gelu", "identity", "leaky_relu", "sigmoid", "tanh")
    net["scale"] = [round(rng.uniform(0.5, 1.5), 3) for _ in range(depth)] if deal("scaled", False, False, True) else []
    net["skip"] = [skips and a == b for a, b in itertools.pairwise(sizes)]
    rows = deal("rows", "one", "full", "part", "full", "part")
    least = {"pipeline": 2, "data-parallel": workers * ranks}.get(execution or "", 1)
    batch = least if rows == "one" else rng.randint(least, 40)
    optimizer = deal("optimizer", "sgd", "sgd", "adam")
    constants = {"alpha": 0.001 if optimizer == "adam" else 0.01, "optimizer": optimizer}
    if algorithm in ("IPC", "PC"):
        constants |= {"gamma": deal("gamma", 0.05, 0.1, 0.3), "precision": deal("precision", 1.0, 0.3, 2.5)}
    if algorithm == "PC":
        constants["T"] = rng.randint(1, 6)
    options = {"workers": workers} | ({"execution": execution} if execution else {})
    if backend == "engine":
        options |= {"wave": deal("wave", 2, 3, 4), "fused": deal("fused", True, False, True)}
        options["micro_batches"] = rng.randint(1, 9)
    else:
        options |= {"record_every": deal("record_every", 1, 2, 3, 0), "batch_size": batch}
    if algorithm == "IPC" and rows == "part":
        options["steps_per_batch"] = rng.randint(1, 4)
    case = {"backend": backend, "algorithm": algorithm, "constants": constants, "net": net, "batch": batch}
    case |= {"rows": batch + (rng.randint(1, 20) if rows == "part" else 0), "updates": rng.randint(4, 12)}
    return case | {"given": predictive and deal("given", False, True), "seed": rng.randrange(1000), "options": options}


def outcome(case):
    """What a case leaves, by the pcsim of this process: arrays by name, and the repr of its other numbers."""
    import pcsim

    seed, sizes, batch, options = case["seed"], case["net"]["sizes"], case["batch"], case["options"]
    net = pcsim.Network.mlp(**case["net"], seed=seed)
    algorithm = getattr(pcsim, case["algorithm"])(**case["constants"])
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=(case["rows"], n)) for n in (sizes[0], sizes[-1]))
    values = [rng.normal(size=(batch, n)) for n in sizes] if case["given"] else None
    if case["backend"] == "engine":
        from pcsim.engines.threads import ThreadsEngine

        left = ThreadsEngine(net, algorithm, x, y, lambda: rng.permutation(len(x))[:batch], values=values, **options)
        numbers = {"energy": [left.run(updates)[1] for updates in (case["updates"], 3)]}
    else:
        options = options | {"backend": case["backend"], "updates": case["updates"], "values": values, "seed": seed}
        left = pcsim.train(net, algorithm, x, y, **options)
        numbers = {name: getattr(left, name) for name in ("recorded", "energy", "loss", "final_loss", "diverged")}
    lists = {"weights": left.network.weights, "biases": left.network.biases or [], "values": left.values}
    arrays = {f"{name}[{l}]": np.ascontiguousarray(a) for name, some in lists.items() for l, a in enumerate(some)}
    return arrays, {name: repr(number) for name, number in numbers.items()}


def child_bits(file, folder, launch):
    """Make the cases of a launch; the arrays go into a folder."""
    for case in json.loads(Path(file).read_text()):
        if case["backend"] not in LAUNCHES[launch]:
            continue
        try:
            arrays, digests = outcome(case)
        except Exception as error:
            arrays, digests = {}, {"error": f"{type(error).__name__}: {error}"}
        if launch == "mpi":
            from mpi4py import MPI

            if MPI.COMM_WORLD.rank:
                continue
        np.savez(Path(folder, f"{case['number']}.npz"), **arrays)
        digests |= {n: f"{a.dtype}{a.shape} {hashlib.sha256(a.tobytes()).hexdigest()}" for n, a in arrays.items()}
        print(json.dumps({"case": case["number"], "outcome": digests}), flush=True)


def bits(old, new, arguments):
    """Compare bits."""
    cases = draw_cases(arguments.cases, arguments.seed)
    cases = [case for case in cases if not (arguments.no_ranks and case["backend"] == "mpi")]
    file, found = old.folder / "cases.json", {}
    file.write_text(json.dumps(cases))
    for launch, backends in LAUNCHES.items():
        count = sum(case["backend"] in backends for case in cases)
        options = {"ranks": 2} if launch == "mpi" else {}
        if launch == "numpy":  # its sums go with the number of BLAS's threads, which is that of the cores it finds
            options["OPENBLAS_NUM_THREADS"] = "1"
        with contextlib.ExitStack() as stack:  # both at once, as they compile most of the time
            children = {}
            for one in (old, new) if count else ():
                children[one.label] = stack.enter_context(one.start("bits", file, one.folder, launch, **options))
            for done in range(1, count + 1):
                for label, child in children.items():
                    answer = child.answer()
                    found[label, answer["case"]] = answer["outcome"]
                if done % 5 == 0 or done == count:
                    say(f"{launch}: {done} of {count} cases")
    same = 0
    for case in cases:
        was, now = found["old", case["number"]], found["new", case["number"]]
        equal = was == now and "error" not in was
        same += equal
        if arguments.verbose or not equal:
            print(f"case {case['number']} {'is identical' if equal else 'differs'}: {json.dumps(case)}")
        if not equal:
            explain(was, now, *(dict(np.load(one.folder / f"{case['number']}.npz")) for one in (old, new)))
    wild = sum(digests.get("diverged", "None") != "None" for (label, _), digests in found.items() if label == "old")
    print(f"{same} of {len(cases)} cases are identical" + (f" ({wild} of all diverge)" if wild else ""))
    return same == len(cases)


def explain(was, now, before, after):
    """Print what differs in a case, and by how much."""
    for name in {**was, **now}:
        if was.get(name) == now.get(name) and name != "error":
            continue
        if name in before and name in after and before[name].shape == after[name].shape:
            a, b = before[name].astype(float), after[name].astype(float)
            odd = ~((a == b) | (np.isnan(a) & np.isnan(b)))
            most = f"by at most {np.abs(a - b)[odd].max():.3g}" if odd.any() else "in dtype or signs of zero or NaN"
            print(f"    {name}: {odd.sum()} of {a.size} numbers differ, {most}")
        else:
            print(f"    {name}: old {was.get(name)}, new {now.get(name)}")


def child_speed():
    """Until the input ends, answer with the seconds of so many updates; of none, with how many take SAMPLE."""
    import pcsim

    cell = None
    for question in map(json.loads, sys.stdin):
        if question["cell"] != cell:
            depth, width, batch = cell = question["cell"]
            rng, net = np.random.default_rng(0), pcsim.Network.mlp([width] * (depth + 1), seed=0)
            x, y = rng.uniform(-1, 1, (2, batch, width))
        # Rates at which nothing diverges, however many updates there are.
        algorithm = pcsim.IPC(1e-7, 0.1) if question["algorithm"] == "iPC" else pcsim.BP(1e-7)
        options = {"workers": question["workers"], "execution": question["execution"], "record_every": 0}
        updates, known = question["updates"] or 1, question["updates"] > 0
        while True:
            seconds = pcsim.train(net, algorithm, x, y, updates=updates, **options).seconds
            if known or seconds >= SAMPLE:
                break
            updates = int(updates * min(100, max(1.2, 1.1 * SAMPLE / seconds))) + 1
        print(json.dumps({"updates": updates, "seconds": seconds}), flush=True)


def speed(old, new, arguments):
    """Compare speed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers, questions = min(2, cores), {}
    for cell in [CELLS[number - 1] for number in arguments.cells]:
        name, execution = "{} × {}, batch {}, ".format(*cell), "intra-layer" if cell[2] == 1 else "data-parallel"
        questions[f"{name}iPC"] = {"cell": cell, "algorithm": "iPC", "execution": None, "workers": workers}
        questions[f"{name}BP {execution}"] = questions[f"{name}iPC"] | {"algorithm": "BP", "execution": execution}
    samples = {name: [] for name in questions}  # for each pair: seconds of (old, new) in each turn
    for pair in range(arguments.pairs):
        with contextlib.ExitStack() as stack:  # who starts first, and who is timed first, alternates
            order = (old, new) if pair % 2 == 0 else (new, old)
            children = {one.label: stack.enter_context(one.start("speed")) for one in order}
            for name, question in questions.items():
                say(f"pair {pair + 1} of {arguments.pairs}: {name}")
                updates, turns = max(child.answer(**question, updates=0)["updates"] for child in children.values()), []
                for turn in range(arguments.turns):
                    labels = ("old", "new") if turn % 2 == 0 else ("new", "old")
                    took = {label: children[label].answer(**question, updates=updates)["seconds"] for label in labels}
                    turns.append((took["old"] / updates, took["new"] / updates))
                samples[name].append(turns)
    print(f"µs per update on {workers} workers, old and new, medians; new ÷ old, median, quartiles, and of each pair\n")
    outside = []
    for name, pairs in samples.items():
        was, now = (1e6 * median(turn[i] for turns in pairs for turn in turns) for i in (0, 1))
        ratios = [[after / before for before, after in turns] for turns in pairs]
        low, middle, high = np.percentile(np.concatenate(ratios), [25, 50, 75])
        outside += [] if LOW <= middle <= HIGH else [f"{name} ({middle:.3f})"]
        each = " ".join(f"{median(some):.3f}" for some in ratios)
        print(f"{name:37}{was:9.2f}{now:9.2f}{middle:8.3f}   {low:.3f} to {high:.3f}   {each}")
    print(f"\nmedians outside {LOW} to {HIGH}: {', '.join(outside) or 'none'}")
    return not outside


def rows_of(one, words):
    """What a command counts or predicts: rows, after what the header says of it."""
    if words == COUNT:
        return [{}, *json.loads(one.pcsim(words))]
    file = one.folder / "rows.jsonl"
    file.unlink(missing_ok=True)
    one.pcsim(f"{words} --out {file.name}")
    header, *rows = map(json.loads, file.read_text().splitlines())
    header |= header.pop("context", {})
    return [{name: value for name, value in header.items() if name not in OF_A_RUN}, *rows]


def counts(old, new, arguments):
    """Compare counts and predictions."""
    compared, differences, added = 0, [], set()
    for words in COMMANDS:
        say(f"pcsim {words}")
        with ThreadPoolExecutor() as pool:
            was, now = pool.map(rows_of, (old, new), (words, words))
        compared += len(was) - 1
        if len(was) != len(now):
            differences.append(f"pcsim {words}: {len(was) - 1} rows before, {len(now) - 1} now")
        for number, (before, after) in enumerate(zip(was, now, strict=False)):
            added |= after.keys() - before.keys()
            odd = [name for name in before if before[name] != after.get(name, "none")]
            names = ("algorithm", "execution", "depth", "width", "batch", "workers", "steps")
            row = " ".join(f"{name}={before[name]}" for name in names if name in before) or "header"
            changes = "; ".join(f"{name} was {before[name]}, is {after.get(name, 'missing')}" for name in odd)
            differences += [f"pcsim {words}\n    row {number}, {row}: {changes}"] if odd else []
    for difference in differences[:10]:
        print(difference)
    if added:
        print(f"fields of rows that the new one adds, not compared: {', '.join(sorted(added))}")
    print(f"{compared} rows of {len(COMMANDS)} commands compared, {len(differences)} differences")
    return not differences


def child_about():
    """Tell which pcsim this is."""
    import platform

    import numba

    import pcsim.engines.threads  # and with it all that is compiled

    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "pcsim"]
    folders = {Path(module.__file__).parent for module in modules if getattr(module, "__file__", None)}
    files = sorted({file for folder in folders for file in folder.rglob("*.py")})
    sources = hashlib.sha256(b"".join(str(file).encode() + file.read_bytes() for file in files)).hexdigest()
    about = {"pcsim": str(Path(pcsim.__file__).parent), "version": pcsim.__version__, "sources": sources}
    about |= {"Python": platform.python_version(), "NumPy": np.__version__, "Numba": numba.__version__}
    print(json.dumps(about), flush=True)


def main():
    """The command line."""
    if sys.argv[1:2] == ["child"]:
        import pcsim

        if os.environ.get(EXPECTED, folder := str(Path(pcsim.__file__).parent)) != folder:
            return f"found pcsim in {folder}, not in {os.environ[EXPECTED]}"
        {"about": child_about, "bits": child_bits, "speed": child_speed}[sys.argv[2]](*sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(required=True, metavar="bits|speed|counts")
    made = {mode: modes.add_parser(mode.__name__, help=mode.__doc__) for mode in (bits, speed, counts)}
    for mode, one in made.items():
        one.add_argument("old", metavar="OLD_PYTHON")
        one.add_argument("new", metavar="NEW_PYTHON")
        one.add_argument("--cache", metavar="DIR", help="keep compiled code there")
        one.set_defaults(mode=mode)
    made[bits].add_argument("--cases", type=int, default=60, help="default 60")
    made[bits].add_argument("--seed", type=int, default=0, help="of the cases (default 0)")
    made[bits].add_argument("--no-ranks", action="store_true", help="leave out the cases on MPI ranks")
    made[bits].add_argument("--verbose", action="store_true", help="print every case")
    made[speed].add_argument("--turns", type=int, default=9, help="of each pair of processes (default 9)")
    made[speed].add_argument("--pairs", type=int, default=3, help="of fresh processes (default 3)")
    numbers = range(1, len(CELLS) + 1)
    made[speed].add_argument("--cells", type=int, nargs="+", choices=numbers, default=numbers, help="which of the six")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # children are ended on the way out
    try:
        with tempfile.TemporaryDirectory(prefix="pcsim-same-") as temporary:
            old, new = (Installation(n, getattr(arguments, n), temporary, arguments.cache) for n in ("old", "new"))
            if any(old.about[name] != new.about[name] for name in ("Python", "NumPy", "Numba")):
                say("warning: versions of Python, NumPy or Numba differ, and with them perhaps bits and times")
            return 0 if arguments.mode(old, new, arguments) else 1
    except (Failure, subprocess.TimeoutExpired) as error:
        say(f"same.py: {error}")
        return 2
    except KeyboardInterrupt:
        say("same.py: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
