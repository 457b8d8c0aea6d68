"""Local losses and feedback alignment in a bench: layers on workers, by their own names, never a form of BP."""

import pytest

from pcsim import BP, DFA, IPC, DualProp, InputError, Local
from pcsim.bench.case import Case
from pcsim.bench.check import check
from pcsim.bench.contenders import Contender, candidates, candidates_on_ranks
from pcsim.bench.rows import Conditions, Entry, row_of
from pcsim.bench.work import work_per_update
from pcsim.results import pairs
from pcsim.results.files import Results

CASE = Case(3, 16)


def test_they_have_layers_on_workers_and_no_other_baseline():
    baselines = ["serial", "numpy", "blas", "shared", "unfused", "pipeline-async"]
    for algorithm in (Local(), DFA()):
        groups = candidates(CASE, [algorithm], [1, 2, 8], baselines)
        found = {(each.execution, each.workers) for group in groups for each in group}
        assert found == {("serial", 1), ("layer-parallel", 2), ("layer-parallel", 3)}


def test_on_ranks_is_who_can_be():
    class NoRanks(DualProp):
        backends = ("numpy", "threads")

    groups = candidates_on_ranks(CASE, [Local(), DFA(), DualProp(), IPC()], [1, 2], 1, ["serial"])
    found = {(each.algorithm.name, each.ranks) for group in groups for each in group}
    assert found == {(name, ranks) for name in ("ipc", "local", "dfa", "dual") for ranks in (1, 2)}
    with pytest.raises(InputError, match="nothing to measure"):
        candidates_on_ranks(CASE, [NoRanks()], [1, 2], 1, ["serial"])


def test_none_of_them_is_the_best_bp():
    rows = []
    for group in candidates(CASE, [IPC(1e-7), BP(1e-7), Local(1e-7), DFA(1e-7)], [2], ["serial"]):
        for contender in group:
            entry = Entry(contender)
            entry.seconds = [1.0 if contender.algorithm.name in ("local", "dfa") else 2.0] * 8
            rows.append(row_of(entry, CASE, Conditions()))
    assert {pair["ratio"] for pair in pairs.pairs(Results("file", {}, rows), "best-bp")} == {1.0}
    counts = {row["algorithm"]: (row["smm"], row["inference_steps"]) for row in rows}
    assert counts == {"ipc": (2, 1), "bp": (5, 1), "local": (3, 1), "dfa": (1.5, 1)}


@pytest.mark.parametrize("case", [Case(3, 16), Case(3, 16, 5)], ids=["one sample", "a batch"])
def test_what_they_do_by_count(case):
    """Heads and feedback of the square net are as large as its layers: of local losses each but the last layer has four
    products beside its two, three of which read the head, of DFA one."""
    W, B = 16 * 16 * 4, case.batch
    local, dfa = (work_per_update(Contender(algorithm, "serial", 1), case) for algorithm in (Local(), DFA()))
    assert local["flops"] == 2 * B * 16 * 16 * (3 * 2 + 2 * 3)
    assert dfa["flops"] == 2 * B * 16 * 16 * (3 * 2 + 2 * 1)
    if B == 1:
        assert local == {"flops": local["flops"], "read": 0, "read-write": (3 + 2) * 2 * W}
        assert dfa == {"flops": dfa["flops"], "read": 2 * W, "read-write": 3 * 2 * W}
    else:
        assert local["read"] == (3 + 2 * 2) * W
        assert dfa["read"] == (3 + 2) * W


@pytest.mark.parametrize("algorithm", [Local(), DFA()], ids=["local", "dfa"])
def test_they_are_checked_before_they_are_timed(algorithm, monkeypatch):
    known = {}
    check(CASE, Contender(algorithm, "layer-parallel", 2), known)
    assert len(known) == 2  # the oracle's, and one worker's
    for weights, _ in known.values():
        weights[0][0, 0] += 1  # twin
    with pytest.raises(ArithmeticError):
        check(CASE, Contender(algorithm, "layer-parallel", 2), known)
