"""Plans of PC, Z-IL and iPC on MPI ranks that share layers: against the plans of threads, closed forms and counts."""

import dataclasses

import pytest
from hypothesis import given, settings
from simulated import rooflines, shared_cases, timed_of

from pcsim import IPC, PC, ZIL, InputError
from pcsim.bench.case import Case
from pcsim.bench.contenders import Contender
from pcsim.bench.work import messages_counted
from pcsim.predict.machine import Machine, MessageTimes, Segment
from pcsim.predict.machine_files import load
from pcsim.predict.plans import LOAD, Net
from pcsim.predict.simulate import make_plan, simulate

ALGORITHMS = [IPC(), PC(T=3), ZIL()]
RATE = 1e9  # flop per second
WIDE = Net((1024,) * 5, 64)  # which 64 workers share evenly in every execution, in teams of 16
SHARED = {"intra-layer": 64, "data-parallel": 64, "hybrid": 4}  # and on how many ranks


def machine(latency=0.0, gap=0.0, overhead=0.0, **fields):
    """Arithmetic, and messages; what else there is costs nothing."""
    messages = MessageTimes(overhead, (Segment(0.0, latency, gap),))
    fields = {
        "nodes": 1,
        "sockets": 1,
        "cores": 64,
        "flop_rate": RATE,
        "within": messages,
        "between": messages,
    } | fields
    return Machine("arithmetic", "", "roofline", **fields)


@pytest.mark.parametrize("execution", SHARED)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("steps_per_batch", [None, 4])
def test_where_links_are_free_ranks_are_threads_that_meet_for_nothing(execution, algorithm, steps_per_batch):
    net = dataclasses.replace(WIDE, steps_per_batch=steps_per_batch)
    threads = simulate(algorithm, net, machine(), execution, 64)
    ranks = simulate(algorithm, net, machine(), execution, 64, ranks=SHARED[execution])
    assert ranks.seconds == pytest.approx(threads.seconds, rel=1e-12)
    assert ranks.flops == pytest.approx(threads.flops)
    assert threads.messages == 0 < ranks.messages
    # The twin: what a message or a byte costs is seen.
    for dear in (machine(latency=1.0), machine(gap=1e-3), machine(overhead=1.0)):
        slower = simulate(algorithm, net, dear, execution, 64, ranks=SHARED[execution])
        assert slower.seconds > 1.5 * ranks.seconds


def test_every_rank_activates_the_values_of_all_others():
    net, ranks, element, how = Net((64,) * 5, 8), 4, 1e-6, "intra-layer"
    threads, apart = (
        simulate(IPC(), net, machine(element=element), how, ranks, ranks=count).seconds for count in (1, ranks)
    )
    assert apart - threads == pytest.approx(3 * (64 - 64 / ranks) * 8 * element)


def product(net, workers):
    """Seconds of one product of a layer, shared evenly."""
    return 2.0 * net.sizes[0] * net.sizes[1] * net.batch / workers / RATE


@pytest.mark.parametrize("latency", [0.0, 0.5, 1.0, 3.0, 40.0])
def test_rows_hide_shares_behind_the_lowest_layer_and_values_behind_its_update(latency):
    """Of one group of layers, in units of a product: the layers above wait for both exchanges. At a batch of one the
    lowest layer is one pass, and hides nothing behind its update."""
    for batch in (1, 8):
        net, ranks = Net((64,) * 5, batch), 4
        one = product(net, ranks)
        way = latency * one
        found = simulate(IPC(), net, machine(way), "intra-layer", ranks, ranks=ranks).seconds
        beside = (2 * one, 0.0) if batch == 1 else (one, one)
        assert found == pytest.approx(9 * one + max(beside[0], way) + max(beside[1], way), rel=1e-12)


@pytest.mark.parametrize("latency", [0.0, 0.1, 1.0, 40.0])
def test_sums_are_under_way_until_the_next_product_or_on_one_host_the_cores_own(latency):
    """Two layers of 16 kB share a sum, so two sums in a step, each of which takes two latencies."""
    net, ranks = Net((64,) * 5, 8), 4
    work, way = 11 * product(net, ranks), latency * product(net, ranks)
    here = simulate(IPC(), net, machine(way), "data-parallel", ranks, ranks=ranks)
    assert here.seconds == pytest.approx(work + 2 * 2 * way, rel=1e-12)
    assert here.messages == 2 * 2 * ranks * (ranks - 1)
    nodes = machine(way, nodes=ranks, cores=1)
    apart = simulate(IPC(), net, nodes, "data-parallel", ranks, ranks=ranks).seconds
    assert apart == pytest.approx(max(work, 2 * 2 * way), rel=1e-12)


@pytest.mark.parametrize("latency", [0.0, 0.4, 0.5, 0.6, 40.0])
def test_two_teams_wait_for_a_message_up_and_one_down(latency):
    """In units of a product the upper one makes three, the lower one two; from the upper one's products over the lower
    one's to the upper one's after the next, two messages and two steps go by."""
    net = Net((64,) * 3, 8)
    one = product(net, 2)
    found = simulate(IPC(), net, machine(latency * one), "hybrid", 4, ranks=2)
    assert found.seconds == pytest.approx(max(3.0, 2.5 + latency) * one, rel=1e-12)
    assert found.messages == 2 and found.message_bytes == 2 * 64 * 8 * 4


@pytest.mark.parametrize("execution", ["intra-layer", "hybrid"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("steps_per_batch", [None, 4])
def test_messages_are_those_that_bench_counts(execution, algorithm, steps_per_batch):
    for depth, ranks in ((1, 4), (2, 2), (24, 4)):
        if execution == "hybrid" and ranks > depth:
            continue
        case = Case(depth, 64, batch=32, steps_per_batch=steps_per_batch)
        workers = 2 * ranks if execution == "hybrid" else ranks
        net = Net(case.sizes, case.batch, 4, steps_per_batch)
        found = simulate(algorithm, net, machine(), execution, workers, ranks=ranks)
        graph = algorithm.steady_tasks(depth, steps_per_batch)
        counted = messages_counted(Contender(algorithm, execution, workers, ranks=ranks), case, graph)
        assert found.messages == pytest.approx(counted)


def test_every_rank_copies_a_new_batch_and_a_team_shares_it():
    net = Net((64,) * 5, 8, 4, 4)
    for execution, workers, ranks, times in (("intra-layer", 4, 4, 4), ("data-parallel", 4, 4, 1), ("hybrid", 4, 2, 1)):
        plan = make_plan(IPC(), net, execution, workers, ranks, 1, "split", 1)
        copied = plan.work == LOAD
        everyone = plan.alike[plan.worker[copied]]
        assert sum(plan.columns[copied] * plan.batch[copied] * everyone) == times * 8 * (64 + 64)


@settings(deadline=None, max_examples=60)
@given(shared_cases(), rooflines())
def test_ranks_that_stand_for_several_are_those_that_they_stand_for(case, machine):
    """Every message between two teams goes from one rank to its neighbour."""
    timed = timed_of(case, machine)
    plan, ranks = timed.plan, case[4]["ranks"]
    crossing = timed.message >= 0
    assert crossing.any() == (case[2] == "hybrid")
    after = plan.at.searchsorted(crossing.nonzero()[0], side="right") - 1
    source, target = (timed.rank[plan.worker[jobs]] for jobs in (plan.before[crossing], after))
    assert (abs(source - target) == 1).all()
    assert len(set(source)) == ranks * crossing.any()


@pytest.mark.parametrize(
    ("execution", "workers", "ranks", "says"),
    [
        ("intra-layer", 4, 2, "needs? 4 ranks, or hybrid"),
        ("data-parallel", 4, 2, "needs? 4 ranks, or hybrid"),
        ("data-parallel", 9, 9, "more than the 8 samples"),
        ("hybrid", 5, 2, "5 workers on 2 ranks are not"),
        ("hybrid", 18, 9, "18 workers on 9 ranks are not"),
    ],
)
def test_what_the_engine_does_not_share_is_refused(execution, workers, ranks, says):
    with pytest.raises(InputError, match=says):
        simulate(IPC(), Net((64,) * 9, 8), machine(), execution, workers, ranks=ranks)


def test_several_nodes_need_full_teams():
    cluster, net = load("cluster-ethernet"), Net((1024,) * 9, 64)
    two = simulate(IPC(), net, cluster, "hybrid", 128)  # a rank on each of two nodes
    assert two.ranks == 2 and two.messages == 2
    assert two == simulate(IPC(), net, cluster, "hybrid", 128, ranks=2)
    with pytest.raises(InputError, match="64 workers on each"):
        simulate(IPC(), net, cluster, "hybrid", 100)
