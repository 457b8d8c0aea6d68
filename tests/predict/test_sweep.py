"""Sweeps of predictions: every case once, against every BP, with the machine and its mark beside it."""

import json

import pytest

from pcsim import BP, IPC, PC, ZIL, InputError
from pcsim.predict import rows as rows_of
from pcsim.predict import sweep
from pcsim.predict.machine_files import load
from pcsim.predict.plans import Net
from pcsim.predict.rivals import compare
from pcsim.predict.simulate import simulate
from pcsim.report import predicted, words
from pcsim.results import pairs
from pcsim.results.files import Writer, read


@pytest.fixture(scope="module")
def server():
    return load("server-64")


@pytest.fixture(scope="module")
def cases(server):
    return list(sweep.sweep(server, [4, 8], [64, 256], [1, 16], [1, 4]))


def test_a_sweep_holds_every_combination_once(cases):
    found = {(one.batch, one.depth, one.width, one.workers) for one in cases}
    assert len(cases) == len(found) == 16
    assert all(one.bps[0].execution == "serial" for one in cases)


def test_a_case_is_what_the_simulator_compares(server, cases):
    one = next(c for c in cases if (c.batch, c.depth, c.width, c.workers) == (16, 8, 64, 4))
    theirs = compare(Net((64,) * 9, 16), server, 4)
    assert (one.ratio, one.paper_style) == (theirs.ratio, theirs.paper_style)
    assert one.best.seconds == theirs.bp.seconds
    assert one.mark == "not calibrated"


def test_who_does_better_with_fewer_workers_takes_fewer():
    """A second node may cost more than it brings; its workers need not be used, by either side."""
    cluster = load("cluster-ethernet")
    node = cluster.sockets * cluster.cores
    one, two = (sweep.case(cluster, Net((256,) * 33, 64), count) for count in (node, 2 * node))
    assert two.best.seconds <= one.best.seconds
    assert two.runs[0].seconds <= one.runs[0].seconds
    ratios = list(sweep.sweep(cluster, [8], [64], [1, 16], [1, 2, 4, 8, 16]))
    for alike in (ratios[:5], ratios[5:]):
        for side in ([c.best.seconds for c in alike], [c.runs[0].seconds for c in alike]):
            assert side == sorted(side, reverse=True)


def test_of_chosen_executions_alone_comes_the_best(server):
    net = Net((64,) * 9, 16)
    every = sweep.case(server, net, 4)
    for name in {bp.execution for bp in every.bps}:
        some = sweep.case(server, net, 4, sweep.How(executions=(name,)))
        assert some.best.execution == name
        assert some.paper_style == every.paper_style
        assert some.ratio <= every.ratio


def test_a_pipeline_takes_the_number_of_parts_and_the_order_that_it_is_told(server):
    net = Net((64,) * 9, 16)
    told = sweep.How(executions=("pipeline",), micro_batches=2, order="gpipe")
    one = sweep.case(server, net, 4, told)
    assert one.best.seconds == simulate(BP(), net, server, "pipeline", 4, micro_batches=2, order="gpipe").seconds
    assert one.best.micro_batches == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["memory bandwidth"], "say which figure"),
        (["memory bandwidth=0"], "say which figure"),
        (["memory bandwidth=nan"], "say which figure"),
        (["speed=2"], "choose from"),
    ],
)
def test_a_figure_that_cannot_be_changed_is_told(server, words, said):
    with pytest.raises(InputError, match=said):
        sweep.changed(server, words)


def test_a_changed_machine_says_so(server):
    other = sweep.changed(server, ["memory bandwidth=2", "barrier=10"])
    assert other.name == "server-64, memory bandwidth × 2, barrier × 10"
    assert other.barrier == (server.barrier[0] * 10, server.barrier[1] * 10)


def test_more_latency_never_makes_anything_faster(server):
    found = list(sweep.sweep(server, [8], [64], [1], [4], latencies=[0.1, 1, 10, 100]))
    times = [one.runs[0].seconds for one in found]
    assert times == sorted(times)
    assert times[-1] > times[0]
    assert [one.latency for one in found] == [0.1, 1, 10, 100]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": [65]}, "65 are more than the 64 of machine server-64"),
        ({"workers": [2], "how": sweep.How(ranks=3)}, "3 ranks for 2 workers"),
    ],
)
def test_more_than_the_machine_has_is_told_before_anything_is_predicted(server, options, said):
    with pytest.raises(InputError, match=said):
        list(sweep.sweep(server, [4], [64], on_progress=lambda *_: pytest.fail("too late"), **options))


@pytest.mark.parametrize("options", [{"executions": ("cuda",)}, {"order": "backwards"}, {"algorithms": ()}])
def test_a_sweep_of_nothing_known_is_told(options):
    with pytest.raises(InputError):
        sweep.How(**options)


def test_maps_hold_every_case_where_it_belongs(cases):
    found = sweep.maps(cases)
    assert [one.title for one in found] == [f"batch {b}, {w} workers" for b in (1, 16) for w in (1, 4)]
    for one in found:
        assert (one.rows, one.columns) == ((4, 8), (64, 256))
        assert all((case.depth, case.width) == place for place, case in one.at.items())
        assert len(one.at) == 4


def test_a_map_says_where_the_ratio_goes_through_1(cases):
    class Fixed:
        def __init__(self, ratio):
            self.ratio = ratio

    ratios = {(1, 1): 0.5, (1, 2): 0.9, (1, 4): 1.1, (2, 1): 0.5, (2, 2): 0.6, (2, 4): 0.7}
    found = sweep.Map("", ("depth", "width"), (1, 2), (1, 2, 4), {at: Fixed(r) for at, r in ratios.items()})
    assert found.crossings() == [(1, 2, 4)]


@pytest.mark.parametrize("format", ["text", "markdown", "csv"])
def test_every_table_names_the_machine_and_its_mark(server, cases, format):
    text = predicted.table(cases, server, format, "report card: good")
    first = text.splitlines()[0]
    assert "machine server-64 (not calibrated), predicted; report card: good" in first
    assert "below 1, iPC is faster" in text.splitlines()[1]
    assert len([line for line in text.splitlines() if "serial on 1" in line]) >= 8


def test_a_map_as_a_table_has_ratio_and_best_bp(cases):
    (one, *_) = sweep.maps(cases)
    text = predicted.map_table(one)
    assert text.startswith("batch 1, 1 workers\n\n")
    assert text.count("serial") == 4


def test_rows_can_be_read_reported_and_told_from_measured_ones(server, cases, tmp_path):
    path = tmp_path / "predicted.jsonl"
    four = [one for one in cases if one.workers == 4]
    with Writer(path, rows_of.context(server, "report card: good")) as writer:
        written = [writer.write(row) for row in rows_of.rows(four)]
    results = read(path)
    assert {row["kind"] for row in results.rows} == {"predicted"}
    assert all(row["warnings"] == ["not calibrated"] for row in written)
    assert results.context["machine"] == "server-64"
    assert results.context["calibrated"] is None
    by_cell = {(p["batch"], p["depth"], p["width"]): p["ratio"] for p in pairs.pairs(results)}
    assert by_cell == pytest.approx({(one.batch, one.depth, one.width): one.ratio for one in four})
    assert "machine server-64, predicted, not calibrated" in words.machine(results)


def test_rows_of_changed_machines_are_no_one_file(server):
    found = list(sweep.sweep(server, [4], [64], [1], [2], latencies=[1, 2]))
    with pytest.raises(InputError, match="one machine"):
        list(rows_of.rows(found))


def test_several_algorithms_have_rows_and_lines_of_their_own(server):
    how = sweep.How((IPC(), PC(T=4), PC(T=8), ZIL()))
    one = sweep.case(server, Net((64,) * 5), 2, how)
    rows = list(rows_of.rows([one]))
    assert [(row["algorithm"], row["steps"]) for row in rows][:4] == [("ipc", 1), ("pc", 4), ("pc", 8), ("zil", 1)]
    assert rows[1]["median"] < rows[2]["median"]
    text = predicted.table([one], server)
    assert [word for word in ("iPC", "PC, T = 4", "PC, T = 8", "Z-IL") if word not in text] == []


def test_the_batched_machine_stands_where_others_are_serial():
    one = sweep.case(load("gpu-batched"), Net((1024,) * 9), 1)
    rows = list(rows_of.rows([one]))
    assert [(row["algorithm"], row["execution"]) for row in rows] == [("ipc", "serial"), ("bp", "serial")]


def test_a_trace_is_a_valid_order_and_says_what_it_is_of(server):
    one = sweep.case(server, Net((64,) * 5), 2)
    found, title = sweep.timeline_of(one, server, updates=3)
    assert found.violations(IPC().tasks(4, 3)) == []
    assert title == "iPC layer-parallel on 2, 4 × 64, batch 1: predicted for server-64, not calibrated"
    told = sweep.trace(found, title, rows_of.source(server))
    assert json.loads(json.dumps(told))["otherData"]["source"] == "machine server-64 (not calibrated), predicted"
    assert told["traceEvents"][0]["args"]["name"] == title


@pytest.mark.parametrize(("joules", "text"), [(None, "-"), (2.5, "2.50 J"), (3.1e-3, "3.10 mJ"), (4e-9, "4.00 nJ")])
def test_joules_have_a_fitting_unit(joules, text):
    assert predicted.joules(joules) == text
