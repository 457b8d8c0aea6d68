"""What rows of MPI ranks are compared with, held against times that were put in; and how the report says it."""

import csv
from pathlib import Path

import pytest
import synthetic
from synthetic import of_ranks, row, samples

from pcsim import tables
from pcsim.cli import main
from pcsim.errors import InputError
from pcsim.report import promises, ranks, ratios
from pcsim.results.files import Results, read
from pcsim.results.gains import gains, steps
from pcsim.results.pairs import (
    RANKS,
    Cell,
    best_bp,
    cell_of,
    cells,
    failed,
    ladder,
    merged,
    pairs,
    representative,
    scaling,
)
from pcsim.results.ranks import delays, exchanges, rank_scaling, weak_scaling
from pcsim.results.verdicts import undecided


def made(*rows, **context):
    return Results(Path("made.jsonl"), {"cores": 8} | context, list(rows))


def run(algorithm, execution, ranks, median, threads=1, depth=8, **fields):
    """A row with MPI."""
    more = {"backend": "mpi", "workers": ranks * threads, "ranks": ranks}
    return row(algorithm, execution, median, depth, 64, 1, **more | fields)


def thread(algorithm, execution, workers, median, **fields):
    return row(algorithm, execution, median, 8, 64, 1, workers=workers, **fields)


def known(points, *names):
    """The points by the values of some fields."""
    found = {tuple(point[name] for name in names): point for point in points}
    assert len(found) == len(points)
    return found


SWEEP = (
    run("ipc", "serial", 1, 8.0, smm_workers=15),
    run("bp", "serial", 1, 10.0, smm_workers=15),
    run("ipc", "layer-parallel", 2, 4.0, smm_workers=8),
    run("bp", "intra-layer", 2, 8.0),
    run("ipc", "layer-parallel", 4, 2.5, smm_workers=4),
    run("bp", "intra-layer", 4, 12.5),
)


# --- strong scaling ---


def test_strong_scaling_is_each_algorithm_against_its_own_single_worker():
    found = known(rank_scaling(made(*SWEEP)), "algorithm", "execution", "ranks")
    assert list(found) == [
        ("ipc", "serial", 1),
        ("ipc", "layer-parallel", 2),
        ("ipc", "layer-parallel", 4),
        ("bp", "serial", 1),
        ("bp", "intra-layer", 2),
        ("bp", "intra-layer", 4),
    ]
    speedups = {who[1:]: point["speedup"] for who, point in found.items() if who[0] == "ipc"}
    assert speedups == pytest.approx({("serial", 1): 1, ("layer-parallel", 2): 2, ("layer-parallel", 4): 3.2})
    assert found["bp", "intra-layer", 2]["speedup"] == pytest.approx(1.25)  # against serial BP
    assert found["bp", "intra-layer", 4]["speedup"] == pytest.approx(0.8)
    for point in found.values():
        assert point["efficiency"] == pytest.approx(point["speedup"] / point["workers"])
        assert point["speedup_low"] <= point["speedup"] * 1.0001
        assert point["speedup_high"] >= point["speedup"] * 0.9999
        assert point["low"] <= point["median"] <= point["high"]
    counted = [found["ipc", "layer-parallel", ranks]["counted"] for ranks in (2, 4)]
    assert counted == [15 / 8, 15 / 4]
    assert found["bp", "intra-layer", 2]["counted"] is None


def test_the_ratio_is_that_of_as_many_workers_and_names_its_denominator():
    found = known(rank_scaling(made(*SWEEP)), "algorithm", "execution", "ranks")
    for who, ratio in {("serial", 1): 0.8, ("intra-layer", 2): 0.5, ("intra-layer", 4): 0.2}.items():
        point = found["bp", *who]
        assert point["ratio"] == pytest.approx(ratio)
        assert (point["denominator"], point["other_execution"], point["other_ranks"]) == (who[0], *who)
        assert point["verdict"] == "iPC faster"
    # On four ranks BP is slower than on two, so that two are the best of no more than four.
    best = {ranks: found["ipc", "layer-parallel", ranks] for ranks in (2, 4)}
    assert [best[ranks]["ratio"] for ranks in (2, 4)] == pytest.approx([0.5, 2.5 / 8])
    assert {(point["denominator"], point["other_ranks"]) for point in best.values()} == {("best-bp", 2)}
    # Nobody to be compared with: no ratio, but times.
    alone = rank_scaling(made(*(row for row in SWEEP if row["algorithm"] == "bp")))
    assert {point["ratio"] for point in alone} == {None} == {point["denominator"] for point in alone}
    assert [point["median"] for point in alone] == pytest.approx([10, 8, 12.5])


def test_the_best_bp_of_a_rank_may_be_one_of_threads():
    points = rank_scaling(made(*SWEEP, thread("bp", "intra-layer", 2, 5.0), thread("bp", "jax", 8, 0.1)))
    assert {point["algorithm"] for point in points} == {"ipc", "bp"}
    assert not any(point["execution"] == "jax" for point in points)
    best = known([point for point in points if point["algorithm"] == "ipc"], "ranks")
    assert (best[2,]["ratio"], best[2,]["other_backend"]) == (pytest.approx(4 / 5), "threads")
    assert (best[4,]["ratio"], best[4,]["other_workers"]) == (pytest.approx(0.5), 2)  # eight workers are too many
    assert best[1,]["other_execution"] == "serial"


def test_ranks_of_several_threads_stand_beside_single_ones():
    rows = [*SWEEP, run("ipc", "layer-parallel", 1, 3.0, threads=2), run("ipc", "layer-parallel", 2, 2.0, threads=2)]
    found = known(rank_scaling(made(*rows)), "algorithm", "execution", "ranks", "workers")
    assert found["ipc", "layer-parallel", 1, 2]["speedup"] == pytest.approx(8 / 3)
    # BP on two ranks is held against iPC on two ranks, not on one rank of two threads, which is faster.
    assert found["bp", "intra-layer", 2, 2]["ratio"] == pytest.approx(0.5)
    mixed = [*SWEEP[:2], run("bp", "intra-layer", 2, 8.0), run("ipc", "layer-parallel", 1, 3.0, threads=2)]
    found = known(rank_scaling(made(*mixed)), "algorithm", "execution", "ranks", "workers")
    assert found["bp", "intra-layer", 2, 2]["ratio"] == pytest.approx(3 / 8)  # where there is no other
    assert "2 × 2" in ranks.ranks(made(*rows))


def test_oversubscribed_rows_are_known_as_such():
    rows = [*SWEEP[:5], SWEEP[5] | {"warnings": ["oversubscribed: 4 workers on 2 cores"]}]
    for points in (rank_scaling(made(*rows)), exchanges(made(*rows))):
        marked = [(point["execution"], point["ranks"]) for point in points if point["oversubscribed"]]
        assert marked == [("intra-layer", 4)]
    text = ranks.ranks(made(*rows))
    assert text.count("†4") == 2
    assert "\n† oversubscribed" in text
    assert "†" not in ranks.ranks(made(*SWEEP))
    # Of several launches one warning is enough.
    launches = [rows[5] | {"launch": 1}, SWEEP[5] | {"launch": 0}]
    assert rank_scaling(made(*SWEEP[:5], *launches))[-1]["oversubscribed"]


def test_there_is_no_speedup_without_a_single_worker_and_no_scaling_without_several():
    points = rank_scaling(made(*SWEEP[2:]))
    assert {point["speedup"] for point in points} == {None} == {point["efficiency"] for point in points}
    for rows in (SWEEP[2:4], [thread("ipc", "serial", 1, 1.0), thread("ipc", "layer-parallel", 2, 1.0)]):
        with pytest.raises(InputError, match="no cell was measured with MPI on several"):
            rank_scaling(made(*rows))


def test_a_draw_is_a_draw():
    rows = [*SWEEP[:3], run("bp", "intra-layer", 2, 4.0)]
    point = rank_scaling(made(*rows))[-1]
    assert undecided(point["verdict"])
    assert "~1.00" in ranks.ranks(made(*rows))


def test_pc_and_z_il_scale_too_each_t_by_itself():
    rows = [run("pc", "serial", 1, 9.0 * T, steps=T) for T in (4, 8)]
    rows += [run("pc", "layer-parallel", 2, 5.0 * T, steps=T) for T in (4, 8)]
    points = rank_scaling(made(*rows, run("zil", "serial", 1, 8.0), run("zil", "layer-parallel", 2, 4.0)))
    assert [point["speedup"] for point in points if point["ranks"] == 2] == pytest.approx([1.8, 1.8, 2.0])
    assert "pc (T = 8)" in ranks.ranks(made(*rows))
    assert {point["ratio"] for point in points} == {None}


# --- weak scaling ---


def test_weak_scaling_follows_nets_that_grow_with_the_ranks():
    results = synthetic.weak(8, (64,), (1,), (1, 2, 4))
    points = weak_scaling(results)
    assert {(point["layers"], point["threads"]) for point in points} == {(8, 1)}
    assert all(point["depth"] == 8 * point["ranks"] for point in points)
    median = {(r["algorithm"], r["ranks"]): r["median"] for r in results.rows}
    for point in points:
        start, now = median[point["algorithm"], 1], median[point["algorithm"], point["ranks"]]
        assert point["growth"] == pytest.approx(now / start)
        assert point["efficiency"] == pytest.approx(start / now)
        assert point["growth_low"] <= point["growth"] * 1.0001
        if point["denominator"] == "intra-layer":
            assert point["ratio"] == pytest.approx(median["ipc", point["ranks"]] / now)
    with pytest.raises(InputError, match="several numbers of workers"):
        rank_scaling(results)


def test_depths_that_do_not_grow_with_the_ranks_are_no_weak_scaling():
    for results in (synthetic.strong((8,)), of_ranks([(8, 64, 1, 1), (24, 64, 1, 2)], "odd.jsonl"), made(*SWEEP)):
        with pytest.raises(InputError, match="no depth grows"):
            weak_scaling(results)
    # Nor do cells that differ in anything else make one.
    for other in ({"width": 128}, {"batch": 2}, {"dtype": "float64"}, {"kind": "predicted"}, {"delay": 1e-3}):
        grown = made(run("ipc", "serial", 1, 1.0), run("ipc", "layer-parallel", 2, 1.0, depth=16) | other)
        with pytest.raises(InputError, match="no depth grows"):
            weak_scaling(grown)
    # Depths of strong scaling that double hold one.
    points = weak_scaling(synthetic.strong((8, 16, 32), (64,), (1,)))
    assert {point["layers"]: point["ranks"] for point in points} == {8: 4, 16: 2}


def test_weak_scaling_with_threads_in_ranks_keeps_their_number():
    rows = [run("ipc", "serial", 1, 8.0), run("ipc", "layer-parallel", 1, 5.0, threads=2)]
    rows += [run("ipc", "layer-parallel", ranks, 5.5, threads=2, depth=8 * ranks) for ranks in (2, 4)]
    points = known(weak_scaling(made(*rows)), "workers")
    assert [points[workers,]["growth"] for workers in (2, 4, 8)] == pytest.approx([1, 1.1, 1.1])
    assert {point["threads"] for point in points.values()} == {2}


# --- latency ---


def test_delays_are_never_compared_with_one_another():
    results = synthetic.delayed()
    for call in (pairs, rank_scaling, delays):
        by_delay = {point["delay"]: [] for point in call(results)}
        assert list(by_delay) == [0.0, 2e-5, 1e-4, 5e-4]
        for point in call(results):
            by_delay[point["delay"]].append(point)
        for delay, points in by_delay.items():
            only = [row for row in results.rows if row["delay"] == delay]
            alone = call(Results(results.path, results.context, only)) if call is not delays else points
            assert alone == points
    # The twin: rows that do not say their delay fall into one cell, and the numbers are others.
    silent = [{name: value for name, value in row.items() if name != "delay"} for row in results.rows]
    assert len(pairs(Results(results.path, results.context, silent))) == 1
    assert Cell("measured", "float32", "tanh", 64, 32, 256) == cell_of(silent[0])


def test_the_effect_of_added_latency_is_a_ratio_for_each():
    points = known(delays(synthetic.delayed()), "delay", "execution")
    ratios = {name: [points[t, name]["ratio"] for t in (0.0, 2e-5, 1e-4, 5e-4)] for name in ("intra-layer", "pipeline")}
    assert ratios["intra-layer"] == sorted(ratios["intra-layer"], reverse=True)
    assert ratios["intra-layer"][-1] < ratios["pipeline"][-1] < 0.6
    assert all(point["ranks"] == 2 for point in points.values())
    assert points[1e-4, "pipeline"]["latency"] > 1e-4
    with pytest.raises(InputError, match="several added latencies"):
        delays(synthetic.strong((8,), (64,), (1,)))


def test_no_delay_is_not_a_delay_of_nothing():
    """Rows of a network without added latency and rows of shared memory are different cells."""
    plain = [run("ipc", "layer-parallel", 2, 1.0), run("bp", "intra-layer", 2, 2.0)]
    network = [row | {"delay": 0.0, "median": row["median"] * 3} for row in plain]
    slow = [row | {"delay": 1e-3} for row in plain]
    assert [cell.delay for cell in cells(made(*slow, *network, *plain))] == [None, 0.0, 1e-3]
    assert {point["delay"] for point in delays(made(*plain, *network, *slow))} == {0.0, 1e-3}
    assert {point["delay"] for point in delays(made(*plain, *slow))} == {None, 1e-3}


def test_tables_keep_delays_apart_and_name_them():
    results = synthetic.delayed()
    text = ratios.table(results)
    assert text.count("latency added\n") == 4
    assert "batch 64, float32, tanh, 20.0 µs latency added" in text
    first, *lines = ratios.table(results, format="csv").splitlines()
    assert first.startswith("#")
    stored = list(csv.DictReader(lines))
    assert [float(line["delay"]) for line in stored] == [0.0, 2e-5, 1e-4, 5e-4]
    assert {line["depth"] for line in stored} == {"32"}
    assert "delay" not in ratios.table(synthetic.strong((8,), (64,)), format="csv")
    for shown in (
        ratios.verdicts(results),
        ratios.details(results),
        ratios.ladder_table(results),
        ratios.speedups(results),
    ):
        assert shown.count("100 µs latency added") >= 1
    assert "500 µs latency added: " in "\n".join(ratios.summary(results))


# --- exchanges ---


def test_exchanges_say_what_passes_and_what_it_costs():
    steps = {"messages": 2, "message_bytes": 512, "counted_messages": 2, "collectives": 0, "latency": 2e-6}
    rows = [
        *SWEEP[:2],
        run("ipc", "layer-parallel", 2, 1e-3, handover_seconds=1e-6, **steps),
        run("pc", "layer-parallel", 2, 9e-3, steps=8, handover_seconds=1e-6, **steps | {"messages": 18}),
        run("zil", "layer-parallel", 2, 8e-3, handover_seconds=1e-6),
        run("bp", "intra-layer", 2, 1e-3, messages=30, collectives=15, counted_messages=None),
    ]
    found = known(exchanges(made(*rows)), "algorithm")
    assert list(found) == [("ipc",), ("bp",), ("pc",), ("zil",)]
    ipc, bp, pc, zil = found.values()
    assert (ipc["handover_latencies"], ipc["handover_share"], ipc["differs"]) == (0.5, pytest.approx(1e-3), False)
    assert pc["handover_share"] == pytest.approx(9 * 1e-6 / 9e-3)  # T + 1 steps
    assert zil["handover_share"] == pytest.approx(8 * 1e-6 / 8e-3)  # L steps
    assert (pc["differs"], zil["differs"], bp["differs"]) == (True, False, False)
    assert (bp["messages"], bp["collectives"], bp["handover_share"], bp["latency"]) == (30, 15, None, None)
    text = ranks.ranks(made(*rows))
    assert "18 ≠" in text
    assert text.count("≠") == 2
    with pytest.raises(InputError, match="more than one worker"):
        exchanges(made(*SWEEP[:2]))


def test_launches_are_put_together():
    rows = [run("ipc", "layer-parallel", 2, 1.0, launch=n, latency=t, handover_seconds=t) for n, t in enumerate((1, 3))]
    (point,) = exchanges(made(*rows))
    assert (point["latency"], point["handover_seconds"]) == (2, 2)


# --- threads and ranks in one cell ---

BOTH = (
    *SWEEP,
    thread("ipc", "serial", 1, 7.0),
    thread("ipc", "layer-parallel", 2, 3.5, auto=True),
    thread("bp", "serial", 1, 9.0),
    thread("bp", "intra-layer", 2, 6.0),
)


def test_rows_that_share_the_key_are_not_put_together():
    rows = [run("ipc", "layer-parallel", 2, 4.0), run("ipc", "layer-parallel", 1, 3.0, threads=2)]
    assert [whole["median"] for whole in merged(rows, "ipc")] == pytest.approx([4, 3])
    assert all(whole["launches"] == 1 for whole in merged(rows, "ipc"))
    broken = rows[0] | {"seconds": [], "median": None, "ci95": None, "error": "it broke"}
    assert failed(made(broken, rows[1])) == [broken]
    assert failed(made(broken, rows[0])) == []


def test_the_headline_takes_either_backend():
    # Two threads are the fastest iPC, though it is ranks that auto marks.
    threads = [row | {"auto": row["backend"] == "mpi"} for row in BOTH if row.get("ranks") != 4]
    (pair,) = pairs(made(*threads))
    assert (pair["backend"], pair["workers"], pair["ranks"]) == ("threads", 2, None)
    assert (pair["other_backend"], pair["ratio"]) == ("threads", pytest.approx(3.5 / 6))
    plain = [*BOTH]
    (pair,) = pairs(made(*plain, run("bp", "pipeline", 2, 5.0)))
    assert (pair["backend"], pair["ranks"], pair["other_backend"]) == ("mpi", 4, "mpi")
    assert pair["ratio"] == pytest.approx(0.5)
    assert representative(plain)["backend"] == "mpi"
    assert best_bp(made(*BOTH), "measured", BOTH)["median"] == pytest.approx(6)
    text = ratios.verdicts(made(*plain, run("bp", "pipeline", 2, 5.0)))
    assert "layer-parallel on 4 ranks" in text
    assert "pipeline on 2 ranks" in text
    assert "pipeline 2 ranks" in ratios.table(made(*plain, run("bp", "pipeline", 2, 5.0)))


def test_a_speedup_stays_within_its_backend():
    found = known(scaling(made(*BOTH)), "backend", "workers")
    assert {who: gain["speedup"] for who, gain in found.items()} == pytest.approx(
        {("mpi", 2): 2, ("mpi", 4): 3.2, ("threads", 2): 2}
    )
    lines = ratios.speedups(made(*BOTH))
    assert "4 (mpi)" in lines
    assert "(" not in ratios.speedups(made(*SWEEP))
    # Each has its own single worker or none.
    assert {gain["backend"] for gain in scaling(made(*BOTH[1:]))} == {"threads"}


def test_every_rung_says_whose_it_is():
    found = known(ladder(made(*BOTH)), "execution")
    assert (found["serial",]["backend"], found["serial",]["median"]) == ("threads", pytest.approx(9))
    assert (found["intra-layer",]["backend"], found["intra-layer",]["best"]) == ("threads", True)
    found = known(ladder(made(*SWEEP)), "execution")
    assert (found["intra-layer",]["backend"], found["intra-layer",]["workers"]) == ("mpi", 2)


def test_gains_and_steps_stay_within_their_backend():
    unfused = thread("ipc", "serial-unfused", 1, 14.0)
    quick = [run("ipc", "serial", 1, 1.0), run("ipc", "layer-parallel", 2, 0.5), run("bp", "serial", 1, 0.4)]
    (gain,) = gains(made(*BOTH[6:], *quick, unfused))
    assert (gain["fusion"], gain["both"]) == (pytest.approx(2), pytest.approx(4))
    assert (gain["bp_serial"], gain["best_bp"]) == (pytest.approx(9), pytest.approx(0.4))
    pc = run("pc", "layer-parallel", 2, 36.0, steps=8)
    (step,) = steps(made(*BOTH, pc))
    assert (step["backend"], step["ratio"]) == ("mpi", pytest.approx(1))
    with pytest.raises(InputError):
        steps(made(*BOTH[6:], pc))


# --- the report ---


def test_the_report_of_ranks_in_every_format(tmp_path, capsys):
    everything = synthetic.strong((8, 16), (64,), (64,), (1, 2)).rows + synthetic.delayed((16,), (64,)).rows
    everything += synthetic.weak(5, (64,), (64,)).rows
    path = tmp_path / "ranks.jsonl"
    synthetic.store(Results(path, {"cpu_model": "Made-up CPU 2000"}, everything), path)
    stored = read(path)
    for format in tables.FORMATS:
        assert main.main(["report", str(path), "--show", "ranks", "--format", format]) == 0
        last = [] if format == "csv" else ["", *promises.last_line(stored)]
        assert capsys.readouterr().out == "\n".join([ranks.ranks(stored, format), *last, ""])
    sources = {"strong": rank_scaling, "weak": weak_scaling, "latency": delays, "exchange": exchanges}
    lines = list(csv.DictReader(ranks.ranks(stored, "csv").splitlines()))
    for name, source in sources.items():
        inside, points = [line for line in lines if line["table"] == name], source(stored)
        assert len(inside) == len(points)
        for line, point in zip(inside, points, strict=True):
            assert {name: line[name] for name in point} == {n: "" if v is None else str(v) for n, v in point.items()}
            assert {value for name, value in line.items() if name not in point} <= {name, ""}
    text = ranks.ranks(stored)
    for words in (
        "strong scaling, the same net",
        "weak scaling, as many layers",
        "latency added to every",
        "exchange: ",
    ):
        assert text.count(words) == 1
        assert words in ranks.ranks(stored, "markdown")
    assert text.startswith("ratio = seconds per complete weight update of iPC ÷ that of BP; below 1, iPC is faster")
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_report_shows_what_the_file_supports():
    alone = ranks.ranks(made(run("ipc", "layer-parallel", 2, 1.0)))
    assert alone.startswith("exchange: ")
    assert "scaling" not in alone
    assert "weak" not in ranks.ranks(made(*SWEEP))
    assert "strong" not in ranks.ranks(synthetic.weak())
    assert "(best-bp)" in ranks.ranks(made(*SWEEP))
    for rows in ([], [thread("ipc", "serial", 1, 1.0)], SWEEP[:2]):
        with pytest.raises(InputError, match="nothing measured with MPI"):
            ranks.ranks(made(*rows))


def test_predictions_without_samples_have_points_without_intervals():
    bare = [row | {"seconds": [], "ci95": None, "kind": "predicted"} for row in SWEEP]
    points = rank_scaling(made(*bare, *SWEEP))
    for kind, there in (("predicted", False), ("measured", True)):
        inside = [point for point in points if point["kind"] == kind]
        assert len(inside) == len(SWEEP)
        assert all((point["ratio_low"] is not None) == there for point in inside)
        assert all((point["low"] is not None) == there for point in inside)
    assert "predicted" in ranks.ranks(made(*bare, *SWEEP))


def test_nothing_is_changed_by_looking():
    results = synthetic.delayed()
    before = [dict(row) for row in results.rows]
    for call in (rank_scaling, delays, exchanges, ranks.ranks):
        assert call(results) == call(results)
    assert results.rows == before


def test_the_made_up_samples_have_the_median_that_is_asked_for():
    assert sorted(samples(2.0))[4] == 2.0
    assert RANKS == "mpi"
