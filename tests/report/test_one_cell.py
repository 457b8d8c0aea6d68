"""The results of a single cell in one line."""

from rows import failure, made, row, some

from pcsim.report.one_cell import one_cell


def test_everything_of_one_cell_is_said_once():
    found = made(
        row("ipc", seconds=some(3, 31, 0.001)),
        row("ipc", "layer-parallel", 2, seconds=some(1, 31, 0.001)),
        row("bp", seconds=some(4, 31, 0.001)),
        row("bp", "intra-layer", 2, seconds=some(2, 31, 0.001)),
    )
    line = one_cell(found)
    assert "\n" not in line
    assert line.startswith("iPC ÷ best BP, measured seconds per weight update: 0.500 (")
    for words in (
        ", iPC faster; 1.00 s (layer-parallel on 2) against 2.00 s (intra-layer on 2) at depth 8 × width 64, batch 1",
        "; ÷ serial BP (paper-style): 0.250",
        "; this run can tell differences from 0.",
        " within one run), iPC faster; ",
        "; SMMs (counted): 0.133",
    ):
        assert line.count(words) == 1


def test_serial_bp_that_is_the_best_is_not_said_twice():
    assert "paper-style" not in one_cell(made(row("ipc"), row("bp")))


def test_a_time_without_samples_has_no_interval():
    bare = {"seconds": [], "ci95": None, "kind": "predicted"}
    line = one_cell(made(row("ipc") | bare | {"median": 1.0}, row("bp") | bare | {"median": 2.0}))
    assert line.startswith("iPC ÷ best BP, predicted seconds per weight update: 0.500, iPC faster; ")


def test_several_cells_or_no_ratio_are_for_tables():
    assert one_cell(made(row("ipc"), row("bp"), row("ipc", depth=9), row("bp", depth=9))) is None
    assert one_cell(made(row("ipc"), failure("bp"))) is None
    assert one_cell(made(row("bp"))) is None
    assert one_cell(made()) is None
