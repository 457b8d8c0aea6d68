"""What results files of other hours say: how far hours lie apart, and which files do not tell."""

from pathlib import Path

import numpy as np
import pytest
from rows import made, row

from pcsim.errors import InputError
from pcsim.results.files import Results
from pcsim.results.ledger import INVOCATIONS, ledger
from pcsim.results.statistics import Spread


def invocation(number, offset=0.0, launches=3, spread=0.0, cells=1, **context):
    """A file of iPC and BP; ``offset`` moves iPC in all cells, ``spread`` its processes."""
    rows = []
    for width in range(1, cells + 1):
        for launch in range(launches):
            ipc = np.exp(offset + spread * (launch - (launches - 1) / 2))
            rows += [row("ipc", seconds=[ipc], launch=launch, width=width), row("bp", seconds=[2.0], launch=launch)]
            rows[-1]["width"] = width
    return Results(Path(f"{number}.jsonl"), {"cpu_model": "A"} | context, rows)


HERE = invocation("here")

OFFSETS = 0.0, 0.1, 0.05, -0.05, -0.1


def test_the_spread_of_hours_is_what_their_means_vary_by():
    found = ledger([invocation(*pair) for pair in enumerate(OFFSETS)], HERE)
    assert found.invocations == 5
    assert found.ratios.variance == pytest.approx(np.var(OFFSETS, ddof=1))
    assert found.ratios.freedom == 4
    # Of times there are those of BP, too, which are always the same.
    assert (found.times.variance, found.times.freedom) == (pytest.approx(np.var(OFFSETS, ddof=1) / 2), 4)


def test_what_processes_explain_is_not_the_hours():
    files = [invocation(number, offset, spread=0.1) for number, offset in enumerate(OFFSETS)]
    expected = np.var(OFFSETS, ddof=1) - 0.1**2 / 3
    assert ledger(files, HERE).ratios.variance == pytest.approx(expected)
    # Hours that differ less than their processes let expect do not differ.
    assert ledger([invocation(number, spread=0.1) for number in range(5)], HERE).ratios == Spread(0.0, 4)


def test_cells_are_pooled_and_only_then_cut_off_at_nothing():
    files = [invocation(number, offset) for number, offset in enumerate(OFFSETS)]
    steady = [invocation(number, spread=0.1) for number in range(5)]
    for one, other in zip(files, steady, strict=True):
        one.rows.extend(row | {"width": 999} for row in other.rows)
    found = ledger(files, HERE).ratios
    assert found.variance == pytest.approx((np.var(OFFSETS, ddof=1) - 0.1**2 / 3) / 2)
    assert found.freedom == 4  # an hour moves all cells together


def test_a_cell_must_be_in_five_files_and_of_several_processes():
    files = [invocation(number, offset, cells=2) for number, offset in enumerate(OFFSETS)]
    files[0].rows[:] = [row for row in files[0].rows if row["width"] == 1]
    assert ledger(files, HERE).ratios.freedom == 4
    single = [invocation(number, offset, launches=1) for number, offset in enumerate(OFFSETS)]
    with pytest.raises(InputError, match="no cell that several processes measured in 5 of its files"):
        ledger(single, HERE)


def test_files_that_tell_nothing_are_refused_in_one_line():
    files = [invocation(number) for number in range(INVOCATIONS)]
    for wrong, said in (
        (files[1:], "at least 5 hours, and 4 were given"),
        ([*files, files[2]], "2.jsonl: stands in the ledger twice"),
        ([*files[1:], invocation("other", cpu_model="B")], "other.jsonl: is of another machine than here.jsonl: CPU"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            ledger(wrong, HERE)
        assert "\n" not in str(caught.value)


def test_times_alone_bound_the_ratio():
    files = [invocation(number, offset) for number, offset in enumerate(OFFSETS)]
    for one in files:
        one.rows[:] = [row for row in one.rows if row["algorithm"] == "ipc"]
    found = ledger(files, made(row("ipc"), cpu_model="A"))
    assert found.ratios == Spread(2 * found.times.variance, found.times.freedom)
