"""Messages between two ranks: the arithmetic against a made-up clock, the protocol on real ranks, and how it ends."""

import json
from types import SimpleNamespace

import pytest
from ranks import PATIENCE, on_ranks

from pcsim.host import links, mpi


def test_nonsense_is_refused():
    comm = SimpleNamespace(rank=0)
    for measure in (links.one_way, links.overlap):
        for arguments in ((0, 1, 0), (1, 1, 8)):
            with pytest.raises(ValueError, match="bytes from rank"):
                measure(comm, *arguments)


def test_ranks_outside_the_pair_do_nothing():
    comm = SimpleNamespace(rank=2)
    assert links.one_way(comm, 0, 1, 8) is None
    assert links.overlap(comm, 0, 1, 8) is None
    assert links.ladder(comm, 0, 1) == []


def test_a_slow_network_ends_the_ladder(monkeypatch):
    monkeypatch.setattr(links, "one_way", lambda comm, first, second, size, budget: size * 1e-7)
    steps = links.ladder(None, 0, 1)
    assert [size for size, _ in steps] == [8, 256, 1024, 4096, 16384, 65536, 262144]
    monkeypatch.setattr(links, "one_way", lambda comm, first, second, size, budget: size * 1e-9)
    assert [size for size, _ in links.ladder(None, 0, 1)] == list(links.SIZES)


def test_the_hidden_share():
    assert links.hidden(2.0, 3.0, 5.0) == 0
    assert links.hidden(2.0, 3.0, 3.0) == 1
    assert links.hidden(3.0, 2.0, 4.0) == 0.5
    assert links.hidden(2.0, 2.0, 9.0) == 0
    assert links.hidden(2.0, 2.0, 1.9) == 1


class Network:
    """A network in made-up time, with the calls that ``overlap`` makes as rank 0.

    An exchange takes ``LONG`` seconds: of the network alone ("network"), of the network once somebody has tested after
    the start ("handshake"), or of the core, in tests ("core").
    """

    LONG = 0.01
    rank = 0

    def __init__(self, kind):
        self.kind, self.now, self.ready = kind, 0.0, None

    def clock(self):
        self.now += 1e-6
        return self.now

    def spin(self, turns):
        self.now += turns * 1e-9

    def request(self, buffer, rank, tag):
        return SimpleNamespace(long=len(buffer) > 8, Free=lambda: None)

    Send_init = Recv_init = request

    def Send(self, buffer, rank, tag):
        pass

    def Recv(self, buffer, rank, tag):
        buffer[0] = self.now

    def start(self, requests):
        if requests[0].long:
            self.ready = self.now + self.LONG if self.kind == "network" else None

    def test(self, requests):
        self.now += 1e-6
        if not requests[0].long:
            return True
        if self.ready is None:
            if self.kind == "core":
                self.now += self.LONG
            self.ready = self.now + (self.LONG if self.kind == "handshake" else 0)
        return self.now >= self.ready


@pytest.mark.parametrize(
    ("kind", "unpolled", "polled"),
    [("network", 1.0, 1.0), ("handshake", 0.0, 1 - 1 / links.PIECES), ("core", 0.0, 0.0)],
)
def test_the_overlap_of_a_network_that_is_known(monkeypatch, kind, unpolled, polled):
    network = Network(kind)
    library = SimpleNamespace(
        Prequest=SimpleNamespace(Startall=network.start), Request=SimpleNamespace(Testall=network.test)
    )
    monkeypatch.setattr(mpi, "world", lambda: library)
    monkeypatch.setattr(links, "spin", network.spin)
    monkeypatch.setattr(links, "time", SimpleNamespace(perf_counter=network.clock))
    monkeypatch.setattr(links, "os", SimpleNamespace(sched_yield=lambda: None))
    found = links.overlap(network, 0, 1, 1 << 16)
    assert found["seconds"] == pytest.approx(network.LONG, rel=0.01)
    assert found["unpolled"] == pytest.approx(unpolled, abs=0.02)
    assert found["polled"] == pytest.approx(polled, abs=0.02)


def test_a_pair_measures_while_a_third_rank_sleeps():
    answer = on_ranks(
        3,
        """
import json
from pcsim.host import links, mpi
comm = mpi.world().COMM_WORLD
mine = [links.ladder(comm, 2, 0), links.one_way(comm, 2, 0, 4096), links.overlap(comm, 2, 0, 1 << 16)]
mpi.asleep(comm)
told = mpi.all_to_all(comm, mine)
if comm.rank == 0:
    print(json.dumps(told))
""",
    )
    assert answer.returncode == 0, answer.stderr
    low, outside, high = json.loads(answer.stdout)
    assert outside == [[], None, None]
    assert low == high
    steps, seconds, overlap = low
    assert [size for size, _ in steps] == list(links.SIZES)[: len(steps)]
    assert 0 < steps[0][1] < steps[-1][1]
    assert 0 < seconds < 1
    assert 0 <= overlap["unpolled"] <= 1
    assert 0 <= overlap["polled"] <= 1
    assert overlap["seconds"] > 0


def test_one_measurement_follows_another():
    """Both ranks end each at the same message, whatever its size and however many there were."""
    answer = on_ranks(
        2,
        """
from pcsim.host import links, mpi
comm = mpi.world().COMM_WORLD
for size in (1, 2, 7, 8, 9, 65537):
    for budget in (0.0, 0.001, 10.0 if size == 8 else 0.0):
        assert links.one_way(comm, 0, 1, size, budget) > 0
print("done")
""",
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("done") == 2


def test_a_message_that_does_not_fit_ends_the_job():
    answer = on_ranks(
        2,
        """
from pcsim.host import links, mpi
comm = mpi.world().COMM_WORLD
links.one_way(comm, 0, 1, 64 if comm.rank == 0 else 8)
print("unharmed")
""",
    )
    assert answer.returncode != 0
    assert "[rank 1] MPI failed: Message truncated" in answer.stderr
    assert "unharmed" not in answer.stdout


def test_an_interrupt_ends_a_rank_that_waits_for_a_message():
    answer = on_ranks(
        2,
        f"""
import os, signal, threading, time
from pcsim.host import links, mpi
comm = mpi.world().COMM_WORLD
links.one_way(comm, 0, 1, 8)  # compiles
if comm.rank == 0:
    time.sleep({PATIENCE})
threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
links.one_way(comm, 0, 1, 8)
""",
    )
    assert answer.returncode != 0
    assert "[rank 1] KeyboardInterrupt" in answer.stderr
