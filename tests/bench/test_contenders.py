"""Who runs a cell: workers, auto, and the executions of BP."""

import pytest
from contenders import contenders

from pcsim import BP, IPC, InputError
from pcsim.bench import contenders as who
from pcsim.bench import measure
from pcsim.bench.build import build
from pcsim.bench.case import Case
from pcsim.bench.contenders import Contender
from pcsim.engines.threads import ThreadsEngine


def test_workers_are_at_most_the_depth_and_auto_is_marked(monkeypatch):
    monkeypatch.setattr(who, "usable_cores", lambda: [0, 1])
    found = contenders(Case(2, 8), [1, 2, 5, "auto"], ["serial"], [IPC(), BP()])
    assert [(c.algorithm.name, c.workers, c.auto) for c in found] == [
        ("ipc", 1, False),
        ("ipc", 2, True),
        ("bp", 1, False),
    ]
    with pytest.raises(InputError, match="nothing to measure"):
        contenders(Case(2, 8), [1], [], [BP()])


def test_what_leaves_nothing_to_measure_is_named():
    with pytest.raises(InputError, match="intra-layer, but not on 1 workers at most"):
        who.candidates(Case(2, 32), [BP()], [1], ["intra-layer", "unfused"])


def test_auto_picks_the_faster(monkeypatch):
    def seconds(self, updates, trace=False):
        return updates * (1e-3 if self.transport.workers == 1 else 4e-4), 0.0

    monkeypatch.setattr(ThreadsEngine, "run", seconds)
    candidates = [Contender(IPC(), "serial", 1), Contender(IPC(), "layer-parallel", 2)]
    assert measure.fastest(Case(2, 8), candidates, False) is candidates[1]


def test_the_ladder_of_bp_has_every_rung_that_fits():
    ladder = ["serial", "intra-layer", "blas", "pipeline", "data-parallel", "numpy", "unfused"]

    def rungs(case, workers=(1, 2, 3)):
        found = contenders(case, workers, ladder, [BP(), IPC()])
        return [(c.algorithm.name, c.execution, c.workers, c.micro_batches) for c in found]

    single = [("bp", "serial", 1, None), ("bp", "intra-layer", 3, None), ("bp", "blas", 3, None)]
    mine = [("ipc", "serial", 1, None), ("ipc", "layer-parallel", 2, None)]
    unfused = [("ipc", "serial-unfused", 1, None), ("ipc", "layer-parallel-unfused", 2, None)]
    assert rungs(Case(2, 8)) == [*single, ("bp", "numpy", 3, None), *mine, *unfused]
    both = [("bp", "pipeline", 2, 5), ("bp", "data-parallel", 3, None), ("bp", "numpy", 3, None)]
    assert rungs(Case(2, 8, 5)) == [*single, *both, *mine]
    assert rungs(Case(2, 8, 5), [1]) == [*single[:1], ("bp", "numpy", 1, None), mine[0]]  # the same workers for both
    with pytest.raises(InputError, match="baseline 'torhc' is unknown"):
        who.check_baselines(["torhc"])


def test_a_peer_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(who, "available", lambda name: False)
    with pytest.raises(InputError, match="torch is not installed"):
        who.check_baselines(["serial", "torch"])


@pytest.mark.parametrize("batch", [1, 16])
def test_who_competes_for_bp_depends_on_the_most_workers_alone(batch):
    ladder = ["serial", "intra-layer", "blas", "pipeline", "data-parallel", "numpy"]

    def groups(workers):
        return who.candidates(Case(32, 8, batch), [BP()], workers, ladder)

    alone = groups([64])
    assert groups([4, 64]) == groups([1, 6, 33, 64]) == alone
    assert groups([4]) != alone
    tried = {c.workers for group in alone for c in group if c.execution == "intra-layer"}
    assert tried == {2, 4, 8, 16, 32, 64}
    assert {c.workers for group in groups([6]) for c in group if c.execution == "intra-layer"} == {2, 4, 6}


def test_workers_share_layers_as_many_as_suit_them():
    def shared(case, workers=(1, 3)):
        groups = who.candidates(case, [IPC()], workers, ["shared"])
        return [[(c.execution, c.workers) for c in group] for group in groups][len(workers) :]

    assert shared(Case(2, 8)) == [[("intra-layer", 2), ("intra-layer", 3)]]  # a batch of one is one worker's
    rows, samples = [("intra-layer", 2), ("intra-layer", 3)], [("data-parallel", 2), ("data-parallel", 3)]
    assert shared(Case(2, 8, 5)) == [rows, samples]
    teams = shared(Case(4, 1024, 64), (64,))
    assert [("hybrid", 64)] in teams or ("hybrid", 64) in teams[-1]
    assert shared(Case(2, 8), (1,)) == []


def test_the_zero_bubble_order_is_tried_where_stages_wait():
    def tried(case, workers):
        groups = who.candidates(case, [BP()], workers, ["serial", "pipeline"])
        return {(c.workers, c.micro_batches): c for group in groups for c in group if c.order == "zero-bubble"}

    assert tried(Case.of_net("784-512-512-10", 128), [2]).keys() == {(2, 2), (2, 4)}
    found = tried(Case(8, 16, 64), [2])
    assert found.keys() == {(2, 2), (2, 4)}
    assert found[2, 2].variant == "2 micro-batches, zero-bubble"
    assert build(Case(8, 16, 64), found[2, 2]).turns.pipeline.order == "zero-bubble"
    assert tried(Case(8, 16, 1), [2]) == {}
    assert tried(Case.of_net("512-512-4-4-4", 64), [2]) == {}  # the twin: one layer has all the work, and nobody waits


def test_on_ranks_only_who_relaxes_shares_layers():
    groups = who.candidates_on_ranks(Case(2, 8, 4), [IPC(), BP()], [1, 2], 1, ["serial", "shared"])
    found = {(c.algorithm.name, c.execution, c.ranks) for group in groups for c in group}
    shared = {("ipc", name, 2) for name in ("layer-parallel", "intra-layer", "data-parallel")}
    assert found == {("ipc", "serial", 1), ("bp", "serial", 1)} | shared


def test_muon_runs_where_layers_are_whole():
    everyone = ["serial", "intra-layer", "pipeline", "data-parallel", "shared"]
    algorithms = [IPC(optimizer="muon"), BP(optimizer="muon")]
    found = contenders(Case(4, 8, 4), [2], everyone, algorithms)
    assert {c.execution for c in found} == {"serial", "layer-parallel", "pipeline"}
    groups = who.candidates_on_ranks(Case(4, 8, 4), algorithms, [2], 1, everyone)
    assert {c.execution for group in groups for c in group} == {"serial", "layer-parallel", "pipeline"}
