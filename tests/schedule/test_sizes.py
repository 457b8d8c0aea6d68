"""Counts by shapes: layers of any sizes, weighed product by product."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
from graphs import edge_list
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pcsim.kernels.graphs import paths

from pcsim import BP, DFA, IPC, PC, ZIL, AsyncBP, DualProp, InputError, Local
from pcsim.bench.case import Case
from pcsim.net.convolution import Convolution, Image
from pcsim.schedule.costs import costs, costs_of, span_on
from pcsim.schedule.counts import table4, table_of_nets
from pcsim.schedule.orthogonal import multiplications
from pcsim.schedule.scan import Scan
from pcsim.schedule.sizes import LayerSizes
from pcsim.schedule.steady import steady_chain
from pcsim.schedule.tasks import FULL_COSTS, PAPER_COSTS, Kind, Predecessors

WAYS = (BP(), PC(T=3), ZIL(), IPC(), AsyncBP(), Local(), DFA(), DualProp(sweeps=2), DualProp(incremental=True))
SMALL = (Kind.HEAD, Kind.FEEDBACK, Kind.HEAD_UPDATE)

some_examples = settings(deadline=None, max_examples=60, derandomize=True)

algorithms = st.sampled_from(WAYS)
units = st.lists(st.integers(1, 9), min_size=2, max_size=6)


def convolutions():
    """A net of two convolutions and a dense layer, and its forms."""
    first = Convolution(Image(9, 8, 2), channels=3, kernel=3, stride=2, padding=1)
    second = Convolution(first.out, channels=5, kernel=2, pool="max")
    shapes = (first.shape, second.shape, (4, second.out.units))
    sizes = (first.image.units, first.out.units, second.out.units, 4)
    return LayerSizes(sizes, shapes, (first.positions, second.positions, 1), 4), (first, second)


# --- Layers that are alike ---------------------------------------------------------------------------------------


@some_examples
@given(algorithms, st.integers(1, 9), st.integers(1, 40), st.integers(1, 12))
def test_where_layers_are_alike_the_endless_chain_is_what_the_graph_shows(algorithm, depth, width, classes):
    """Layer by layer, and with cycles in place of the graph's last updates: the same to the last digit."""
    graph = algorithm.steady_tasks(depth)
    sizes = LayerSizes.equal(depth, width, classes)
    chain = {kind: each for kind, each in sizes.of_products().items() if kind in PAPER_COSTS}
    assert steady_chain(graph, chain) == graph.growth({kind: each[0] for kind, each in chain.items()})
    full = {kind: each for kind, each in sizes.of_products().items() if kind in FULL_COSTS}
    assert graph.products(full) == graph.products({kind: each[0] for kind, each in full.items()})
    assert steady_chain(graph, PAPER_COSTS) == graph.smm and steady_chain(graph, FULL_COSTS) == graph.smm_full


@some_examples
@given(algorithms, st.integers(1, 9), st.integers(1, 40), st.integers(1, 12), st.integers(1, 5))
def test_sizes_that_are_alike_are_a_width(algorithm, depth, width, classes, batch):
    graph = algorithm.steady_tasks(depth)
    found = costs(graph, width, classes, batch)
    assert costs_of(graph, LayerSizes.equal(depth, width, classes), batch) == found
    small = dict.fromkeys(SMALL, width * classes)
    chain = dict.fromkeys(PAPER_COSTS, width**2) | {kind: small[kind] for kind in SMALL[:2]}
    assert found["span_flop"] == graph.growth(chain) / width**2
    assert found["span_flops"] == 2 * graph.growth(chain)
    assert found["flops"] == 2 * graph.products(dict.fromkeys(FULL_COSTS, width**2) | small)
    assert found["held_bytes"] == 4 * width * found["held"]
    pairs = max(depth - 1, 1)
    for way in ("up", "down"):
        assert found[f"{way}_bytes"] == pytest.approx(4 * width * pairs * found[f"messages_{way}"])


def test_a_net_by_name_whose_layers_are_alike_is_counted_as_by_depth():
    (row,) = table_of_nets({"8-8-8-8": LayerSizes.dense((8,) * 4)}, [IPC()], [1, 2], batch=3)
    (alike,) = table4([3], [IPC()], [1, 2], width=8, classes=8, batch=3)
    assert {name: row[name] for name in alike} == alike
    assert row["span_workers"][1] == row["mm"]


# --- The longest chain, one task after another ------------------------------------------------------------------


def longest(graph, sizes, owner=None):
    """Products in a row per update, from a long graph: the ends of all tasks, by hand."""
    of_kind = sizes.of_products()
    indptr, before = graph.predecessors
    ends, free = [], {}
    last = [0] * graph.updates
    for task in range(len(graph)):
        kind, layer = Kind(graph.kinds[task]), int(graph.layers[task])
        cost = of_kind[kind][layer] if kind in PAPER_COSTS else 0
        maker = (kind, layer) if owner is None else owner[layer] if cost else None
        begin = max((ends[earlier] for earlier in before[indptr[task] : indptr[task + 1]].tolist()), default=0)
        if cost and (owner or graph.depth > 1):
            begin = max(begin, free.get(maker, 0))
            free[maker] = begin + cost
        ends.append(begin + cost)
        if kind == Kind.UPDATE:
            last[graph.update_of[task]] = max(last[graph.update_of[task]], ends[-1])
    return (last[-1] - last[-61]) / 60  # all cycles of up to six updates are whole in sixty


@some_examples
@given(algorithms, units)
@example(IPC(), [784, 64, 64, 10])
@example(AsyncBP(), [784, 64, 64, 10])
@example(Local(), [3, 9, 1, 9, 2])
def test_the_span_is_the_longest_chain_of_a_long_graph(algorithm, units):
    sizes = LayerSizes.dense(units)
    long = algorithm.tasks(sizes.depth, 400)
    found = costs_of(algorithm.steady_tasks(sizes.depth), sizes)
    assert found["span_flops"] / 2 == pytest.approx(longest(long, sizes), rel=1e-12)
    assert found["span_flop"] == pytest.approx(longest(long, sizes) / float(sizes.mean), rel=1e-12)


@some_examples
@given(algorithms, units, st.integers(1, 4))
def test_the_span_on_workers_is_that_of_blocks_in_turn(algorithm, units, workers):
    sizes, graph = LayerSizes.dense(units), algorithm.steady_tasks(len(units) - 1)
    found = span_on(graph, sizes, workers) * float(sizes.mean)
    # Of all ways to cut the layers, those whose largest block is as small as can be are the ones that may be meant.
    ways = {}
    load = np.zeros(sizes.depth + 1)
    np.add.at(load, graph.layers, np.where(graph.in_period(), graph.costs_of(chain_of(sizes)), 0))
    for cuts in itertools.combinations(range(1, sizes.depth), min(workers, sizes.depth) - 1):
        edges = (0, *cuts, sizes.depth)
        owner = [worker for worker, (a, b) in enumerate(itertools.pairwise(edges)) for _ in range(a, b)]
        ways[tuple(owner)] = max(load[a:b].sum() for a, b in itertools.pairwise(edges))
    least = min(ways.values())
    long = algorithm.tasks(sizes.depth, 400)
    best = [owner for owner, most in ways.items() if most == least]
    assert any(found == pytest.approx(longest(long, sizes, owner), rel=1e-9) for owner in best)
    assert found >= least / graph.period_updates - 1e-9


def chain_of(sizes):
    return {kind: each for kind, each in sizes.of_products().items() if kind in PAPER_COSTS}


@some_examples
@given(algorithms, units)
def test_one_worker_makes_all_products_in_a_row_and_no_number_does_better_than_the_span(algorithm, units):
    sizes, graph = LayerSizes.dense(units), algorithm.steady_tasks(len(units) - 1)
    chain = chain_of(sizes)
    alone = span_on(graph, sizes, 1) * float(sizes.mean)
    assert alone == pytest.approx(graph.products(chain))
    assert span_on(graph, sizes, 100) == span_on(graph, sizes, graph.depth)
    spans = [span_on(graph, sizes, P) for P in range(1, sizes.depth + 1)]
    assert min(spans) >= costs_of(graph, sizes)["span_flop"] * (1 - 1e-12)


@pytest.mark.parametrize("algorithm", [BP(), IPC(), PC(T=3), Local()], ids=lambda algorithm: algorithm.title)
def test_twin_products_that_all_take_alike_are_not_the_span_of_unequal_layers(algorithm):
    sizes = LayerSizes.dense((784, 64, 32, 10))
    found = costs_of(algorithm.steady_tasks(3), sizes)["span_flop"]
    long = algorithm.tasks(3, 400)
    assert found == pytest.approx(longest(long, sizes) / float(sizes.mean))
    assert found != pytest.approx(longest(long, LayerSizes.equal(3, 10, 10)) / 100)


def test_twin_a_wait_that_is_left_out_shows():
    sizes, graph = LayerSizes.dense((9, 7, 8, 3)), IPC().steady_tasks(3)
    before, after = edge_list(graph)
    gone = (graph.kinds[before] == Kind.PREDICT) & (graph.kinds[after] == Kind.BACKPROJECT)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(after[~gone], minlength=len(graph)))])
    twin = dataclasses.replace(graph, predecessors=Predecessors(indptr, before[~gone].astype(np.int32)))
    assert costs_of(twin, sizes)["span_flop"] < costs_of(graph, sizes)["span_flop"]


def test_a_layer_that_holds_everybody_up_is_found_however_late():
    """Within the few updates of its graph the longest chain has not come to the fifth layer, whose head is large."""
    sizes, graph = LayerSizes.dense((18, 8, 12, 8, 8, 15, 10)), Local().steady_tasks(6)
    assert steady_chain(graph, chain_of(sizes)) == 8 * 15 + 2 * 15 * 10
    assert graph.growth(chain_of(sizes)) != 8 * 15 + 2 * 15 * 10


@pytest.mark.parametrize(
    ("units", "spans"), [((784, 64, 64, 10), (784 * 64, 784 * 64)), ((8, 90, 90, 2), (16200, 8100))]
)
def test_ipc_and_asynchronous_bp_go_at_the_pace_of_the_largest_layer(units, spans):
    """iPC makes a layer's prediction and its error one after the other. Late gradients let a layer make them for two
    batches at once, but the last one, whose error follows from its prediction."""
    sizes = LayerSizes.dense(units)
    found = [costs_of(one.steady_tasks(3), sizes)["span_flops"] / 2 for one in (IPC(), AsyncBP())]
    assert tuple(found) == spans
    both = [span_on(one.steady_tasks(3), sizes, 3) for one in (IPC(), AsyncBP())]
    assert both[0] == pytest.approx(both[1]) == pytest.approx(spans[0] / float(sizes.mean))


# --- Cycles ------------------------------------------------------------------------------------------------------


@st.composite
def endless_graphs(draw):
    """Costs of a period's tasks, and edges (earlier, later, whether from the period before)."""
    tasks = draw(st.integers(1, 6))
    cost = draw(st.lists(st.integers(0, 9), min_size=tasks, max_size=tasks))
    pairs = st.tuples(st.integers(0, tasks - 1), st.integers(0, tasks - 1), st.booleans())
    edges = draw(st.lists(pairs, max_size=14, unique=True))
    return cost, [(a, b, lag or a >= b) for a, b, lag in edges]


def best_cycle(cost, edges):
    """The largest costs ÷ periods of all ways round that come to no task twice."""
    best = Fraction(0)

    def go_on(start, at, seen, total, periods):
        nonlocal best
        for a, b, lag in edges:
            if a == at and b == start:
                best = max(best, Fraction(total + cost[b], periods + lag))
            elif a == at and b not in seen and b > start:
                go_on(start, b, seen | {b}, total + cost[b], periods + lag)

    for start in range(len(cost)):
        go_on(start, start, {start}, 0, 0)
    return best


def ratio_of(cost, edges):
    edges = sorted(edges, key=lambda edge: edge[1])
    indptr = np.searchsorted([b for _, b, _ in edges], np.arange(len(cost) + 1))
    indices, lag = np.array([a for a, _, _ in edges], np.int32), np.array([lag for _, _, lag in edges], np.bool_)
    ratio = np.zeros(2, np.int64)
    paths.cycle_ratio(indptr.astype(np.int64), indices, lag, np.array(cost, np.int64), ratio)
    return Fraction(*ratio.tolist())


@settings(deadline=None, max_examples=300, derandomize=True)
@given(endless_graphs())
def test_the_largest_cycle_is_found(graph):
    assert ratio_of(*graph) == best_cycle(*graph)


def test_twin_a_cycle_that_is_cut_is_not():
    cost, edges = [3, 4, 5], [(0, 1, False), (1, 2, False), (2, 0, True), (1, 1, True)]
    assert ratio_of(cost, edges) == best_cycle(cost, edges) == 12
    assert ratio_of(cost, edges[1:]) == best_cycle(cost, edges[1:]) == 4
    assert ratio_of(cost, edges[:2]) == 0


# --- Convolutions ------------------------------------------------------------------------------------------------


def counted(form):
    """Multiplications and additions of a convolution, one by one."""
    done = 0
    for _, _, _ in itertools.product(range(form.filtered.height), range(form.filtered.width), range(form.channels)):
        for _, _, _ in itertools.product(range(form.kernel), range(form.kernel), range(form.image.channels)):
            done += 1
    return done


def test_a_convolution_takes_a_multiplication_for_each_position_channel_and_weight():
    sizes, forms = convolutions()
    assert sizes.multiplications[:2] == tuple(map(counted, forms))
    assert sizes.multiplications[2] == 4 * sizes.units[2]
    graph = BP().steady_tasks(3)
    once, dense = sum(sizes.multiplications), costs_of(graph, LayerSizes.dense(sizes.units))
    assert costs_of(graph, sizes)["flops"] == 2 * (3 * once - sizes.multiplications[0])
    assert costs_of(graph, sizes)["flops"] != dense["flops"]  # twin: what dense layers of these units take
    assert costs_of(graph, sizes)["span_flop"] == pytest.approx((2 * once - sizes.multiplications[0]) / (once / 3))


@pytest.mark.parametrize("name", ["cnn-64-128-64", "cnn-8-16-8@8x8x1", "residual-mlp-4-16", "30-20-10"])
def test_flop_are_those_of_a_measured_row(name):
    from pcsim.bench.contenders import Contender
    from pcsim.bench.work import work_per_update

    case = Case.of_net(name)
    sizes = case.layer_sizes
    assert sizes.multiplications == case.multiplications
    for algorithm in (BP(), IPC(), PC(T=3), ZIL()):
        work = work_per_update(Contender(algorithm, "serial", 1), case)
        assert costs_of(algorithm.steady_tasks(case.depth), sizes)["flops"] == work["flops"]


def test_muon_takes_the_matrix_of_kernels():
    sizes, forms = convolutions()
    B = 6
    plain, muon = (IPC(optimizer=name).steady_tasks(3) for name in ("sgd", "muon"))
    more = costs_of(muon, sizes, B)["flops"] - costs_of(plain, sizes)["flops"]
    assert more == pytest.approx(2 * sum(multiplications(*shape) for shape in sizes.shapes) / B)
    assert sizes.shapes[1] == (5, 2 * 2 * 3) == forms[1].shape


# --- Messages, weights, and what is kept -------------------------------------------------------------------------


def test_messages_are_as_long_as_the_layers_between():
    sizes, _ = convolutions()
    between = sum(sizes.units[1:-1])
    for algorithm, up, down in ((BP(), 1, 1), (IPC(), 1, 1), (PC(T=3), 3, 3), (AsyncBP(), 1, 1), (Local(), 1, 0)):
        found = costs_of(algorithm.steady_tasks(3), sizes)
        assert (found["up_bytes"], found["down_bytes"]) == (4 * up * between, 4 * down * between)
    # The output's error goes to every layer below.
    assert costs_of(DFA().steady_tasks(3), sizes)["down_bytes"] == 4 * 2 * sizes.units[-1]


def test_weights_are_read_once_by_each_product():
    sizes, _ = convolutions()
    W = sum(sizes.weights)
    assert costs_of(BP().steady_tasks(3), sizes)["weight_bytes"] == 4 * (3 * W - sizes.weights[0])
    heads = sum(sizes.heads[:-1])
    assert costs_of(Local().steady_tasks(3), sizes)["weight_bytes"] == 4 * (2 * W + 3 * heads)


def test_the_fullest_layer_keeps_its_values_for_as_many_batches_as_its_error_takes():
    late = costs_of(AsyncBP().steady_tasks(3), LayerSizes.dense((10, 30, 50, 2)))
    assert late["held"] == 5 and late["held_bytes"] == 4 * max(5 * 10, 3 * 30, 1 * 50)
    assert costs_of(IPC().steady_tasks(3), LayerSizes.dense((10, 30, 50, 2)))["held_bytes"] == 4 * 50


# --- What is none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (((4, 3), ((3, 4),), (1, 1), 2), "a net of 1 layers needs as many shapes and positions"),
        (((4,), (), (), 2), "a net of 0 layers"),
        (((4, 0), ((0, 4),), (1,), 2), "a size of a layer"),
        (((4, 3), ((3, 4),), (1.5,), 2), "a size of a layer"),
        (((4, 3), ((3, 4),), (1,), 0), "classes"),
    ],
)
def test_sizes_that_are_none(sizes, words):
    with pytest.raises(InputError, match=words):
        LayerSizes(*sizes)


def test_sizes_of_another_net_are_told():
    with pytest.raises(InputError, match="sizes of 2 layers, and the graph has 3"):
        costs_of(IPC().steady_tasks(3), LayerSizes.dense((4, 3, 2)))
    with pytest.raises(InputError, match="layers that are all alike"):
        costs_of(Scan().steady_tasks(4), LayerSizes.dense((4, 3, 2, 2, 2)))
