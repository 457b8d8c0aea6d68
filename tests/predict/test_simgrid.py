"""The event loop against SimGrid (Casanova et al. 2014), where it is installed (Debian: python3-simgrid).

Each worker of a plan is an actor on a host of its own and does its jobs in the plan's order. Each host has one link on
which all leaves that it sends; its port begins a message when the one before is through (LogGP's gap), so that what is
on a link never shares it. A meeting is everyone sending its share to everyone.
"""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.predict import simulate as simulate_module
from pcsim.predict.machine import Machine, MessageTimes, Segment
from pcsim.predict.plans import Net
from pcsim.predict.simulate import simulate

pytestmark = pytest.mark.skipif(importlib.util.find_spec("simgrid") is None, reason="SimGrid is not installed")

# Milliseconds and more: SimGrid's clock tells no times below 1 ns.
SPEED = 1e9
PROGRAM = r"""
import json, sys
from simgrid import Actor, Engine, LinkInRoute, Mailbox, NetZone, Semaphore, this_actor

given = json.load(sys.stdin)
engine = Engine(["simgrid", "--log=root.thres:warning", "--cfg=network/model:CM02", "--cfg=network/TCP-gamma:0",
                 "--cfg=network/latency-factor:1", "--cfg=network/bandwidth-factor:1", "--cfg=network/crosstraffic:0"])
zone = NetZone.create_full_zone("zone")
workers = len(given["queues"])
hosts = [zone.create_host(f"host {w}", given["speed"]).seal() for w in range(workers)]
links = [zone.create_link(f"port {w}", 1 / given["gap"]).set_latency(given["latency"]).seal() for w in range(workers)]
for a in range(workers):
    for b in range(workers):
        if a != b:
            zone.add_route(hosts[a].netpoint, hosts[b].netpoint, None, None,
                           [LinkInRoute(links[a])], False)
zone.seal()
outbox, more = [[] for _ in range(workers)], [Semaphore(0) for _ in range(workers)]
ends = [[0.0] * workers for _ in range(given["periods"])]


def port(w):
    open_ = []
    while True:
        more[w].acquire()
        name, size = outbox[w].pop(0)
        if name is None:
            break
        open_.append(Mailbox.by_name(name).put_async(name, round(size)))
        this_actor.sleep_for(size * given["gap"])
    for comm in open_:
        comm.wait()


def expect(names):
    return {name: Mailbox.by_name(name).get_async() for name in names}


def work(w):
    queue = given["queues"][w]
    # A receive is posted before anything is sent, so that no sender waits for its receiver.
    posted = expect(f"{name}@{p}->{w}" for p in range(given["periods"]) for name in given["expected"][w])
    got = set()
    for p in range(given["periods"]):
        for job in queue:
            for name, lag in job["needs"]:
                full = f"{name}@{p - lag}->{w}"
                if p - lag >= 0 and full not in got:
                    posted[full][0].wait()
                    got.add(full)
            if job["seconds"]:
                this_actor.execute(job["seconds"] * given["speed"])
            for name, to, size in job["sends"]:
                outbox[w].append((f"{name}@{p}->{to}", size))
                more[w].release()
        ends[p][w] = Engine.clock
    outbox[w].append((None, 0))
    more[w].release()


for w in range(workers):
    Actor.create(f"port {w}", hosts[w], port, w)
    Actor.create(f"worker {w}", hosts[w], work, w)
engine.run()
print(json.dumps(ends))
"""


def given_to_simgrid(timed, messages, periods):
    """A timed plan as queues of jobs with what each needs and sends."""
    plan = timed.plan
    count = timed.all
    queues, expected = [[] for _ in range(count)], [[] for _ in range(count)]
    alike = plan.workers == 1 and count > 1 and bool(np.any(plan.worker < 0))  # one worker stands for all
    of = (lambda w: range(count)) if alike else (lambda w: [int(w)])
    meetings = {int(v): [] for v in np.flatnonzero(plan.worker < 0)}  # what has to be there after a meeting
    sent = {}
    for v in range(len(plan)):
        for edge in range(plan.at[v], plan.at[v + 1]):
            if (m := int(timed.message[edge])) >= 0:
                sent[m] = int(plan.before[edge]), int(plan.worker[v]), float(plan.size[edge])
    for v in range(len(plan)):
        edges = [
            (int(plan.before[e]), int(timed.message[e]), int(plan.lag[e])) for e in range(plan.at[v], plan.at[v + 1])
        ]
        if v in meetings:
            size = float(plan.columns[v]) * float(plan.batch[v]) * timed.net.item / count
            for w in range(count):  # the job before it is the last that each has done
                others = [o for o in range(count) if o != w]
                queues[w][-1]["sends"] += [(f"meeting {v} of {w}", o, size) for o in others]
            continue
        for w in of(plan.worker[v]):
            needs = [(f"message {m}", lag) for _, m, lag in edges if m >= 0]
            for before, _, lag in edges:
                if before in meetings:
                    needs += [(f"meeting {before} of {o}", lag) for o in range(count) if o != w]
            sends = [(f"message {m}", sent[m][1], sent[m][2]) for m in range(timed.sent_by[v], timed.sent_by[v + 1])]
            queues[w].append({"seconds": float(timed.seconds[v]), "needs": needs, "sends": sends})
    for w, queue in enumerate(queues):
        expected[w] = sorted({name for job in queue for name, _ in job["needs"]})
    segment = messages.segments[0]
    return {
        "queues": queues, "expected": expected, "periods": periods, "speed": SPEED, "latency": segment.latency,
        "gap": segment.gap,
    }  # fmt: skip


def run_in_simgrid(given):
    """Seconds per period of the second half."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(given), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[:2000]
    ends = np.array(json.loads(done.stdout.splitlines()[-1])).max(1)
    half = len(ends) // 2
    return (ends[-1] - ends[half - 1]) / (len(ends) - half)


def machine_of(latency, gap, overhead=0.0):
    messages = MessageTimes(overhead, (Segment(0.0, latency, gap),))
    costs = {"start": 0.5, "predict": 1.0, "backproject": 0.75, "update": 1.25, "values": 0.125}
    return Machine("made up", "", "constant", 1, 1, 64, constants=costs, within=messages)


# Widths differ so that no two ranks or messages are alike; a byte takes milliseconds.
UNEVEN = Net((4, 9, 3, 12, 5, 8), 4)
EVEN = Net((8, 8, 8, 8, 8), 4)
CASES = {
    "iPC over ranks": (IPC(), UNEVEN, "layer-parallel", 5, {"wave": 1}),
    "iPC over fewer ranks": (IPC(), UNEVEN, "layer-parallel", 2, {"wave": 1}),
    "iPC in waves": (IPC(), UNEVEN, "layer-parallel", 2, {"wave": 2}),
    "PC over ranks": (PC(T=3), UNEVEN, "layer-parallel", 3, {}),
    "Z-IL over ranks": (ZIL(), UNEVEN, "layer-parallel", 4, {}),
    "pipeline": (BP(1e-4), UNEVEN, "pipeline", 4, {"order": "gpipe", "micro_batches": 4}),
    "pipeline in turns": (BP(1e-4), UNEVEN, "pipeline", 3, {"order": "1f1b", "micro_batches": 4}),
    "pipeline with errors first": (BP(1e-4), UNEVEN, "pipeline", 4, {"order": "split", "micro_batches": 2}),
    "a gather for each layer": (BP(1e-4), EVEN, "intra-layer", 4, {}),
}


def timed_of(case, machine):
    algorithm, net, execution, workers, options = case
    return simulate_module._timed(
        algorithm, net, machine, execution, workers, workers, options.get("micro_batches", 8),
        options.get("order", "split"), options.get("wave"),
    )  # fmt: skip


def both(case, machine, twin=None):
    """Seconds per update, simulated here and there (there with the messages of ``twin``)."""
    algorithm, net, execution, workers, options = case
    timed = timed_of(case, machine)
    mine = simulate(algorithm, net, machine, execution, workers, ranks=workers, **options).seconds
    theirs = run_in_simgrid(given_to_simgrid(timed, (twin or machine).within, 48)) / timed.plan.updates
    return mine, theirs


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize(("latency", "gap"), [(0.25, 1e-3), (0.01, 2e-2), (2.0, 1e-3)])
def test_the_event_loop_agrees_with_simgrid(case, latency, gap):
    mine, theirs = both(case, machine_of(latency, gap))
    assert mine == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("case", ["iPC over ranks", "pipeline"])
def test_what_cores_spend_on_messages_agrees_too(case):
    mine, theirs = both(CASES[case], machine_of(0.25, 1e-3, overhead=0.5))
    assert mine == pytest.approx(theirs, rel=0.01)


def test_twin_another_network_does_not_agree():
    mine, theirs = both(CASES["iPC over ranks"], machine_of(0.25, 1e-3), twin=machine_of(0.5, 1e-3))
    assert mine != pytest.approx(theirs, rel=0.01)
