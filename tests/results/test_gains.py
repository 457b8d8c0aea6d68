"""Gains of iPC whose workers share layers: factors, columns of the table, lines of the figure."""

import pytest
import synthetic
from rows import made

from pcsim.errors import InputError
from pcsim.figures.ratios import gains_figure
from pcsim.report.ratios import gains_table
from pcsim.results.gains import gains


def cell(batch, **seconds):
    shared = {name.replace("_", "-"): value for name, value in seconds.items()}
    rows = [synthetic.row("bp", "serial", 4.0, 8, 64, batch), synthetic.row("ipc", "serial", 2.0, 8, 64, batch)]
    return rows + [synthetic.row("ipc", name, value, 8, 64, batch) for name, value in shared.items()]


def test_shared_layers_have_a_factor_of_their_own():
    one, many = gains(made(*cell(1, serial_unfused=3.0, intra_layer=1.5), *cell(64, data_parallel=1.0, hybrid=0.8)))
    assert (one["intra_layer"], one["intra_layer_workers"], one["hybrid"]) == (1.5, 2, None)
    assert one["intra_layer_gain"] == pytest.approx(2.0)
    assert one["fusion"] == pytest.approx(1.5)
    # Of a batch nothing is fused: one worker is what several are held against.
    assert (many["serial_unfused"], many["fusion"]) == (None, None)
    assert (many["data_parallel_gain"], many["hybrid_gain"]) == (pytest.approx(2.0), pytest.approx(2.5))


def test_tables_and_figures_show_them_where_there_are_any():
    results = made(*cell(64, data_parallel=1.0, hybrid=0.8, layer_parallel=1.25))
    table = gains_table(results)
    assert "data-parallel" in table
    assert "intra-layer" not in table
    assert table.splitlines()[-1].split()[-4:] == ["2.50", "2.50", "to", "2.50"]
    labels = [text.get_text() for text in gains_figure(results).legends[0].get_texts()]
    assert {"iPC, samples", "iPC, teams"} <= set(labels)
    assert "iPC, rows of layers" not in labels
    with pytest.raises(InputError, match="no cell has iPC serial-unfused"):  # the twin: nobody shares layers
        gains(made(*cell(64, layer_parallel=1.25)))
