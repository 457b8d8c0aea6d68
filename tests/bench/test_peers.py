"""Peers: their process and its protocol by a made-up library, and each library that is installed."""

import gc
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pcsim.algorithms import BP, IPC, PC
from pcsim.bench import peers
from pcsim.bench.case import Case
from pcsim.bench.peers.process import PeerEngine

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ALGORITHMS = {"bp": BP(1e-7), "ipc": IPC(1e-7, 0.5)}
CASE = Case(3, 8, 2)

# A library that trains by the oracle. It makes three updates a call in its faster variant.
FAKE = """
import os, sys, time
import numpy as np
from pcsim.engines.numpy import NumpyEngine
from pcsim.bench.peers.process import Variant

print("printed at import")
os.write(1, b"written to the real standard output\\n")

class Peer:
    notes = ["a note"]
    versions = {"fake": "1"}
    wrong = 0.0

    def __init__(self, case, algorithm, workers):
        self.case = case
        assert os.environ["OMP_NUM_THREADS"] == str(workers)

    def load(self, weights, values, algorithm):
        net, x, y = self.case.problem()
        rows = np.arange(len(x))
        given = [v.copy() for v in values] if algorithm.name == "ipc" else None
        self.ipc = algorithm.name == "ipc"
        self.engine = NumpyEngine(net, algorithm, x, y, lambda: rows, values=given)

    def arrays(self):
        weights = [w + self.wrong for w in self.engine.network.weights]
        return weights, self.engine.values if self.ipc else []

    def variants(self, best):
        if best is not None:
            return {"slow": lambda: Variant(self.slow), "later": lambda: Variant(self.slow)} if best == "fast" else {}
        return {"slow": lambda: Variant(self.slow), "fast": lambda: Variant(self.fast, 3), "broken": self.broken}

    def slow(self, updates):
        time.sleep(2e-3 * updates)
        self.engine.run(updates)

    def fast(self, updates):
        print("printed by an update")
        assert updates % 3 == 0
        self.engine.run(updates)

    def broken(self):
        raise OSError("no compiler\\nmore lines")
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A maker of engines on the made-up library, with some lines added to it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = []

    def make(added="", algorithm="bp", case=CASE, **options):
        (tmp_path / "fake_peer.py").write_text(FAKE + textwrap.dedent(added))
        made.append(PeerEngine("jax", case, ALGORITHMS[algorithm], module="fake_peer", **options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def gone(pid):
    """Whether that process ends within ten seconds."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_names_import_nothing_heavy():
    assert peers.offers("torch") == ("bp",)
    assert peers.offers("jax") == ("bp", "ipc")
    assert peers.offers("pcx") == ("ipc",)
    assert not peers.available("numpy")  # installed, but no peer
    code = "import sys; from pcsim.bench import peers as p; [p.available(n) for n in p.PEERS]; "
    code += "print({'torch', 'jax'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


@pytest.mark.parametrize("algorithm", ["bp", "ipc"])
def test_the_fastest_variant_is_checked_and_run(fake, algorithm):
    with fake(algorithm=algorithm) as engine:
        engine.prepare()
        assert engine.variant == "fast"
        assert set(engine.variants) == {"slow", "fast", "later"}
        assert engine.variants["slow"] > engine.variants["fast"] > 0
        assert engine.notes == ["a note", "broken: OSError: no compiler"]
        assert engine.versions == {"fake": "1"}
        assert 0 <= engine.compile_seconds <= engine.prepare_seconds
        engine.check()
        seconds, energy = engine.run(4)
        assert seconds > 0
        assert math.isnan(energy)
    assert gone(engine._child.pid)


def test_seconds_are_those_of_the_updates_asked_for(fake):
    slow = """
    Peer.variants = lambda self, best: {} if best else {"only": lambda: Variant(self.wait, 4)}
    Peer.wait = lambda self, updates: time.sleep(0.02 * updates)
    """
    seconds, _ = fake(slow).run(2)  # one call of four
    assert 0.04 <= seconds < 0.06


@pytest.mark.parametrize("algorithm", ["bp", "ipc"])
def test_a_wrong_result_is_caught(fake, algorithm):
    with (
        fake("Peer.wrong = 1e-4", algorithm) as engine,
        pytest.raises(ArithmeticError, match="jax: weights of layer 0"),
    ):
        engine.check()


def test_wrong_values_are_caught(fake):
    added = """
    right = Peer.arrays
    Peer.arrays = lambda self: (right(self)[0], [v + 0.01 for v in right(self)[1]])
    """
    with fake(added, "ipc") as engine, pytest.raises(ArithmeticError, match="values of layer 0"):
        engine.check()


def test_weights_and_values_go_on_from_run_to_run(fake):
    added = """
    Peer.load_once = Peer.load
    Peer.load = lambda self, *a: (self.load_once(*a), sys.stderr.write("loaded\\n"))
    """
    engine = fake(added)
    engine.check()
    loads = lambda: (engine._errors.seek(0), engine._errors.read().count(b"loaded"))[1]  # noqa: E731
    before = loads()
    engine.run(3)
    engine.run(3)
    assert loads() == before


def test_an_exception_is_one_line(fake):
    with pytest.raises(RuntimeError, match=r"^jax: ValueError: so it is$"):
        fake("raise ValueError('so it is\\nand more')")


def test_no_variant_that_works(fake):
    engine = fake("Peer.variants = lambda self, best: {} if best else {'broken': self.broken}")
    with pytest.raises(RuntimeError, match=r"^jax: RuntimeError: no variant runs: broken: OSError: no compiler$"):
        engine.prepare()
    with pytest.raises(RuntimeError, match="closed"):
        engine.prepare()


def test_a_library_that_is_not_there(fake):
    with pytest.raises(RuntimeError, match="jax: ModuleNotFoundError: No module named 'nowhere_to_be_found'"):
        fake("import nowhere_to_be_found")


def test_a_child_that_dies_says_its_last_words(fake):
    engine = fake(
        "Peer.variants = lambda self, best: (sys.stderr.write('so long\\n'), sys.stderr.flush(), os._exit(3))"
    )
    with pytest.raises(RuntimeError, match="jax: its process ended with exit code 3: so long"):
        engine.prepare()


def test_a_child_that_is_killed(fake):
    engine = fake()
    engine.prepare()
    os.kill(engine._child.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="jax: its process ended by SIGKILL"):
        engine.run(1)


def test_a_child_that_hangs(fake):
    with pytest.raises(RuntimeError, match="jax: no answer for 1 s"):
        fake("time.sleep(100)", timeout=1)


def test_garbage_is_no_answer(fake):
    # The descriptor of the answers is the lowest one free when the child starts.
    with pytest.raises(RuntimeError, match="jax: its answer is not a line of JSON: 'garbage'"):
        fake(
            "import gc, io\n[f.write('garbage\\n') for f in gc.get_objects() if isinstance(f, io.TextIOWrapper) and "
            "f.name not in (0, 1, 2) and f.writable() and isinstance(f.name, int)]"
        )


def test_what_is_not_offered_is_refused():
    with pytest.raises(ValueError, match="torch runs bp here"):
        PeerEngine("torch", CASE, IPC())
    with pytest.raises(ValueError, match="the optimizer sgd or adam"):
        PeerEngine("jax", CASE, BP(optimizer="nesterov"))
    with pytest.raises(ValueError, match="plain gradient descent"):
        PeerEngine("pcx", CASE, IPC(optimizer="adam"))
    with pytest.raises(ValueError, match="jax runs bp, ipc here"):
        PeerEngine("jax", CASE, PC())
    with pytest.raises(ValueError, match="precision"):
        PeerEngine("jax", CASE, IPC(precision=2.0))


def test_cores_and_threads(fake):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no affinity here")
    core = max(os.sched_getaffinity(0))
    bound = "assert os.sched_getaffinity(0) == {" + str(core) + "}"
    fake(bound, workers=1, cores=[core, min(os.sched_getaffinity(0))])


def test_forgotten_engines_end(fake):
    fake()  # writes the module
    engine = PeerEngine("jax", CASE, ALGORITHMS["bp"], module="fake_peer")
    pid = engine._child.pid
    engine.prepare()
    del engine
    gc.collect()
    assert gone(pid)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_its_parent(fake, how):
    fake("Peer.fast = Peer.slow = lambda self, updates: time.sleep(100 if updates > 99 else 0.01)").prepare()
    code = """
from pcsim.algorithms import BP
from pcsim.bench.case import Case
from pcsim.bench.peers.process import PeerEngine
engine = PeerEngine("jax", Case(3, 8, 2), BP(), module="fake_peer")
engine.prepare()
print(engine._child.pid, flush=True)
engine.run(3000)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.send_signal(how)
        assert parent.wait(10) != 0
    assert gone(pid)


LIBRARIES = [(name, algorithm) for name in peers.PEERS for algorithm in peers.offers(name)]


@pytest.mark.parametrize(("name", "algorithm"), LIBRARIES)
@pytest.mark.parametrize(
    "case",
    [
        Case(1, 5, 2, "float64"),
        Case(2, 7, 1),
        Case(3, 9, 4, "float64", "gelu"),
        Case(3, 6, 1, "float64", "sigmoid"),
        Case(3, 6, 3, "float32", "relu"),
        Case(3, 6, 3, "float64", "leaky_relu"),
        Case(3, 6, 3, "float32", "identity"),
    ],
    ids=lambda case: f"{case.depth}x{case.width}-{case.activation}-{case.batch}-{case.dtype}",
)
def test_library_agrees_with_the_oracle(name, algorithm, case):
    if not peers.available(name):
        pytest.skip(f"{name} is not installed")
    with PeerEngine(name, case, ALGORITHMS[algorithm], 1) as engine:
        engine.check(every=True)
        assert engine.variant in engine.variants
        assert engine.run(10)[0] > 0
        assert engine.versions[name]


@pytest.mark.parametrize(("name", "algorithm"), LIBRARIES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("steps_per_batch", [None, 3])
def test_unequal_nets_changing_batches_and_adam_agree_with_the_oracle(name, algorithm, optimizer, steps_per_batch):
    case = Case.of_net("20-16-6", 4, dtype="float64", steps_per_batch=steps_per_batch)
    chosen = replace(ALGORITHMS[algorithm], optimizer=optimizer)
    if not peers.takes(name, optimizer, steps_per_batch is not None):
        with pytest.raises(ValueError, match="plain gradient descent and one batch"):
            PeerEngine(name, case, chosen, 1)
        return
    if not peers.available(name):
        pytest.skip(f"{name} is not installed")
    with PeerEngine(name, case, chosen, 1) as engine:
        engine.check(every=True)
        assert not any("Error" in note for note in engine.notes)
        assert engine.run(12)[0] > 0


@pytest.mark.parametrize(("name", "algorithm"), [pair for pair in LIBRARIES if pair[0] != "pcx"])
@pytest.mark.parametrize(
    ("net", "activation"),
    [("cnn-8-16-8@9x10x2", "relu"), ("cnn-64-128-64@5x6x3", "tanh"), ("residual-mlp-4-9@2x2x3", "gelu")],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_convolutions_and_skips_agree_with_the_oracle(name, algorithm, net, activation, optimizer):
    if not peers.available(name):
        pytest.skip(f"{name} is not installed")
    case = Case.of_net(net, 3, dtype="float64", activation=activation, steps_per_batch=2)
    with PeerEngine(name, case, replace(ALGORITHMS[algorithm], optimizer=optimizer), 1) as engine:
        engine.check(every=True)
        assert not any("Error" in note for note in engine.notes)


@pytest.mark.skipif(not peers.available("torch"), reason="torch is not installed")
def test_torch_without_a_compiler_is_eager(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with PeerEngine("torch", CASE, ALGORITHMS["bp"], 1) as engine:
        engine.check(every=True)
        assert set(engine.variants) == {"eager, autograd", "eager, by hand"}
        assert engine.notes == ["compiled: no C++ compiler was found"]
