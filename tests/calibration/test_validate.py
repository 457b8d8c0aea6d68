"""The report card, computed by hand on rows made by hand; its file, and what is no such file."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsim.algorithms import BP, IPC
from pcsim.bench.case import Case
from pcsim.bench.contenders import Contender
from pcsim.calibration import validate
from pcsim.calibration.validate import Checked, card, contenders, predict, read, summary, table, write
from pcsim.errors import InputError
from pcsim.predict.machine_files import load

MACHINE = load("server-64")


def row(algorithm, execution, predicted, measured, workers=2, width=96, ranks=None, **fields):
    return Checked(
        algorithm, execution, workers, ranks, 6, width, 1, predicted, measured, (measured, measured), True, **fields
    )


# Three cells on two threads. iPC ÷ BP, predicted and measured: 0.5 and 0.5; 1.2 and 1.5; 0.9 and 0.75.
ROWS = [
    row("ipc", "layer-parallel", 1.0, 1.0),
    row("bp", "intra-layer", 2.0, 2.0),
    row("ipc", "layer-parallel", 1.2, 1.5, width=192),
    row("bp", "intra-layer", 1.0, 1.0, width=192),
    row("ipc", "layer-parallel", 0.9, 0.6, width=384),
    row("bp", "intra-layer", 1.0, 0.8, width=384),
]


def test_the_card_by_hand():
    found = card(ROWS)
    names = [score.name for score in found.times]
    assert names == ["bp intra-layer on 2 threads", "ipc layer-parallel on 2 threads", "all"]
    bp, ipc, every = found.times
    assert (bp.count, ipc.count, every.count) == (3, 3, 6)
    assert bp.mape == bp.bias == pytest.approx(0.25 / 3)
    assert (bp.worst, bp.cell) == (pytest.approx(0.25), "6 × 384, 2 threads")
    assert ipc.mape == pytest.approx((0.2 + 0.5) / 3)
    assert ipc.bias == pytest.approx((-0.2 + 0.5) / 3)
    assert (ipc.worst, ipc.cell) == (pytest.approx(0.5), "6 × 384, 2 threads")
    assert every is found.all_times
    assert every.mape == pytest.approx((0.2 + 0.5 + 0.25) / 6)
    # 0.5 / 0.5, 1.2 / 1.5 and 0.9 / 0.75.
    assert found.all_ratios.count == 3
    assert found.all_ratios.mape == pytest.approx((0.0 + 0.2 + 0.2) / 3)
    assert found.all_ratios.bias == pytest.approx(0.0)
    assert found.correlation == pytest.approx(1.0)
    assert found.winners == (3, 3)


def test_a_wrong_winner_and_a_close_call():
    wrong = dataclasses.replace(ROWS[2], predicted=0.8)  # measured 1.5: BP won
    found = card([*ROWS[:2], wrong, *ROWS[3:]])
    assert found.winners == (2, 3)
    assert found.correlation == pytest.approx(0.5)  # ranks 1, 2, 3 against 1, 3, 2
    close = dataclasses.replace(ROWS[2], predicted=0.8, measured=1.05)
    assert card([*ROWS[:2], close, *ROWS[3:]]).winners == (2, 2)


def test_twin_another_row_is_another_card():
    whole = card(ROWS)
    for number, one in enumerate(ROWS):
        twin = dataclasses.replace(one, predicted=one.predicted * 1.3)
        assert card([*ROWS[:number], twin, *ROWS[number + 1 :]]) != whole


def test_best_bp_is_the_fastest_of_each_kind_on_as_many_workers_or_fewer():
    rows = [
        row("ipc", "layer-parallel", 3.0, 3.0),
        row("bp", "serial", 4.0, 1.0, workers=1),
        row("bp", "intra-layer", 2.0, 2.0),
        row("bp", "intra-layer", 0.1, 0.1, workers=4),  # has more workers than iPC
        row("bp", "intra-layer", 0.1, 0.1, ranks=2),  # others' ranks are no threads' rivals
    ]
    found = {score.name: score for score in card(rows).ratios}
    assert set(found) == {"intra-layer", "best-bp", "all"}
    assert found["intra-layer"].bias == pytest.approx(0.0)
    assert found["best-bp"].bias == pytest.approx((3 / 2) / (3 / 1) - 1)
    assert found["all"].count == 1  # best-bp is none of its own
    assert card(rows).winners == (1, 1)
    assert card(rows).correlation is None


def test_best_bp_of_a_card_is_the_same_whichever_other_workers_were_checked():
    rows = [
        row("ipc", "layer-parallel", 3.0, 3.0, workers=4),
        row("bp", "serial", 4.0, 4.0, workers=1),
        row("bp", "intra-layer", 2.0, 2.5, workers=4),
    ]
    others = [row("bp", "intra-layer", 1.0, 1.0, workers=count) for count in (2, 3, 8)]
    assert list(validate._pairs([*rows, *others])) == list(validate._pairs(rows))


@pytest.mark.parametrize("ranks", [None, 4])
def test_bp_alone_is_checked_beside_any_number_of_workers(ranks):
    found = validate.contenders(Case(6, 96), 4, ranks)
    assert [(c.execution, c.workers, c.ranks) for c in found if c.execution == "serial"] == [("serial", 1, ranks and 1)]


def test_the_winner_is_of_the_fastest_on_both_sides():
    rows = [
        row("ipc", "layer-parallel", 3.0, 2.0),
        row("ipc", "intra-layer", 1.0, 3.0),
        row("bp", "intra-layer", 2.0, 4.0),
    ]
    assert [pair[1:3] for pair in validate._pairs(rows) if pair[0] == "best-bp"] == [(0.5, 0.5)]
    others = [dataclasses.replace(one, steps_per_batch=8, start="pipelined", net="9-9-8") for one in rows[:2]]
    assert list(validate._pairs([*rows, *others])) == list(validate._pairs(rows))  # cells of their own
    assert card(others).all_times.cell == "9-9-8, T 8, pipelined start, 2 threads"


def test_a_card_without_pairs_or_rows():
    alone = card(ROWS[:1])
    assert alone.ratios == [] and alone.correlation is None and alone.winners == (0, 0)
    assert "times off by 0%" in summary(alone) and "ratios" not in summary(alone)
    with pytest.raises(InputError, match="nothing was checked"):
        card([])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=1, max_size=12))
def test_scores_are_consistent(pairs):
    found = card([row("bp", "intra-layer", p, m, width=n + 1) for n, (p, m) in enumerate(pairs)]).all_times
    assert abs(found.bias) <= found.mape * (1 + 1e-9) <= abs(found.worst) * (1 + 2e-9)
    assert found.count == len(pairs)


def test_tables_and_summary_say_the_numbers():
    found = card(ROWS)
    for format in ("text", "markdown", "csv"):
        text = table(found, format)
        assert "bp intra-layer on 2 threads" in text and "15.8%" in text and "+50%" in text
    assert "rank correlation of the ratios (Spearman): 1.000" in table(found)
    assert "right in 3 of 3 cells" in table(found)
    assert summary(found) == "times off by 16% on average, +50% at worst (6 checked); ratios by 13%"


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "card.json"
    write(ROWS, MACHINE, path)
    assert read(path) == read(path, MACHINE) == ROWS
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]
    with pytest.raises(InputError, match="not of 'ideal'"):
        read(path, load("ideal"))
    with pytest.raises(InputError, match="cannot write"):
        write(ROWS, MACHINE, tmp_path / "none" / "card.json")


def test_cards_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "card.json"
    write(ROWS, MACHINE, path)
    content = json.loads(path.read_text())
    for one in content["rows"]:
        for name in ("net", "steps_per_batch", "start", "optimizer"):
            del one[name]
    path.write_text(json.dumps(content))
    assert read(path) == ROWS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("net", 3),
        ("steps_per_batch", 0),
        ("start", None),
        ("predicted", 0),
        ("predicted", -1.0),
        ("predicted", "1"),
        ("predicted", None),
        ("predicted", True),
        ("measured", float("nan")),
        ("measured", float("inf")),
        ("measured", ...),
        ("ci95", None),
        ("ci95", 3),
        ("ci95", [1]),
        ("ci95", ["a", "b"]),
        ("workers", "2"),
        ("workers", None),
        ("algorithm", 3),
        ("execution", None),
        ("ranks", "2"),
        ("depth", 1.5),
        ("batch", []),
        ("inside", "yes"),
        ("extra", 1),
    ],
)
def test_a_malformed_row_is_one_line_that_names_it(tmp_path, field, value):
    path = tmp_path / "card.json"
    write(ROWS, MACHINE, path)
    content = json.loads(path.read_text())
    if value is ...:
        del content["rows"][1][field]
    else:
        content["rows"][1][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read(path)
    assert "rows[1]" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_card_is_refused_in_one_line(tmp_path):
    path = tmp_path / "card.json"
    for content in (
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema": "pcsim-validation/2"}',
        b'{"schema": "pcsim-validation/1"}', b'{"schema": "pcsim-validation/1", "rows": {}}',
        b'{"schema": "pcsim-validation/1", "rows": [1]}', b'{"schema": "pcsim-validation/1", "rows": [{}]}',
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    for none in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError) as caught:
            read(none)
        assert "\n" not in str(caught.value)


# --- who is checked --------------------------------------------------------------------------------------------------


def test_contenders_of_a_cell_are_predicted_as_they_are_measured():
    one, many = Case(6, 96), Case(6, 96, batch=64)
    assert [(c.algorithm.name, c.execution) for c in contenders(one, 1, None)] == [("ipc", "serial"), ("bp", "serial")]
    shared = ["serial", "layer-parallel", "intra-layer"]  # BP alone, and iPC
    assert [c.execution for c in contenders(one, 2, None)] == [*shared, "intra-layer"]
    assert [c.execution for c in contenders(many, 2, None)] == [
        *shared, "data-parallel", "intra-layer", "pipeline", "data-parallel"
    ]  # fmt: skip
    assert "hybrid" in [c.execution for c in contenders(Case(8, 1024, batch=64), 64, None)]
    real = Case.of_net("784-64-64-10", 64, steps_per_batch=8, start="pipelined")
    found = contenders(real, 2, None, "adam")
    assert [c.execution for c in found if c.algorithm.name == "ipc"] == ["layer-parallel"]
    assert {c.algorithm.optimizer for c in found} == {"adam"}
    net = predict(MACHINE, real, found[1]).net
    assert (net.sizes, net.steps_per_batch, net.start) == ((784, 64, 64, 10), 8, "pipelined")
    for contender in contenders(many, 2, None):
        found = predict(MACHINE, many, contender)
        workers = 1 if contender.execution == "serial" else 2
        assert (found.execution, found.workers, found.seconds > 0) == (contender.execution, workers, True)
        assert found.net.sizes == (96,) * 7 and found.net.batch == 64
    on_ranks = contenders(one, 2, 2)
    assert [c.ranks for c in on_ranks] == [1, 2, 2, 2]
    for contender in (*on_ranks[1:], *contenders(many, 2, 2)[1:]):  # iPC by layers, rows and samples, and BP
        assert predict(load("cluster-ethernet"), many, contender).messages > 0
    assert [c.execution for c in contenders(many, 2, 2)] == [c.execution for c in contenders(many, 2, None)]
    assert predict(MACHINE, one, Contender(BP(), "serial", 1)) != predict(MACHINE, one, Contender(IPC(), "serial", 1))


def test_a_card_of_another_calibration_is_refused(tmp_path):
    path = tmp_path / "card.json"
    write(ROWS, MACHINE, path)
    content = json.loads(path.read_text())
    content["calibrated"] = {"time": "another day"}
    path.write_text(json.dumps(content))
    assert read(path)
    with pytest.raises(InputError, match="another calibration"):
        read(path, MACHINE)
