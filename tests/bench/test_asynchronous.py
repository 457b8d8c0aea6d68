"""Asynchronous BP in a bench: measured where it is named, a rung and a denominator, never the best BP."""

import pytest

from pcsim import BP, IPC, AsyncBP, InputError
from pcsim.bench.case import Case
from pcsim.bench.contenders import candidates, candidates_on_ranks
from pcsim.bench.rows import Conditions, Entry, row_of
from pcsim.results import pairs
from pcsim.results.files import Results

CASE = Case(3, 16)


@pytest.fixture(scope="module")
def rows():
    """As if every contender had taken two seconds, and asynchronous BP one."""
    groups = candidates(CASE, [IPC(1e-7), BP(1e-7)], [2], ["serial", "pipeline-async"])
    found = []
    for contender in [contender for group in groups for contender in group]:
        entry = Entry(contender)
        entry.seconds = [1.0 if contender.execution == "pipeline-async" else 2.0] * 8
        found.append(row_of(entry, CASE, Conditions()))
    return found


def test_it_is_an_execution_of_bp_with_its_own_counts(rows):
    mine = next(row for row in rows if row["execution"] == "pipeline-async")
    assert (mine["algorithm"], mine["workers"], mine["smm"], mine["smm_workers"]) == ("bp", 2, 2, 2.5)
    assert mine["bytes"] == 3 * 2 * 16 * 16 * 4  # one read and one write of the weights


def test_it_is_named_and_never_the_best(rows):
    results = Results("file", {}, rows)
    assert {pair["ratio"] for pair in pairs.pairs(results, "best-bp")} == {1.0}
    assert {pair["ratio"] for pair in pairs.pairs(results, "pipeline-async")} == {2.0}
    best = {rung["execution"]: rung["best"] for rung in pairs.ladder(results)}
    assert best == {"serial": True, "pipeline-async": False}


def test_on_ranks_it_has_as_many_as_there_are_layers_for():
    with pytest.raises(InputError, match="nothing to measure"):
        candidates_on_ranks(CASE, [AsyncBP()], [2], 1, ["serial"])
    for algorithm, others in ((AsyncBP(), set()), (BP(), {("serial", 1), ("pipeline-async", 1)})):
        groups = candidates_on_ranks(CASE, [algorithm], [1, 2, 4], 1, ["serial", "pipeline-async"])
        found = {(each.execution, each.ranks) for group in groups for each in group}
        assert found == {("pipeline-async", 1), ("pipeline-async", 2)} | others


def test_it_is_not_predicted(pcsim):
    code, out, err = pcsim("simulate", "--algorithms", "ipc", "bp-async", "--depths", "4", "--widths", "64")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_the_class_runs_as_nothing_else():
    groups = candidates(CASE, [AsyncBP()], [2], ["serial", "blas", "numpy", "pipeline-async"])
    assert {contender.execution for group in groups for contender in group} == {"pipeline-async"}
