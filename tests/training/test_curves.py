"""Learning curves: axes from the task graph, resumed and interrupted runs, and the table in words."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from pcsim import BP, IPC, PC, ZIL, AsyncBP, InputError, Network, train
from pcsim.results.fields import CURVES
from pcsim.results.files import Writer, read
from pcsim.training import curves as learning
from pcsim.training.curves import Study, curves, table
from pcsim.training.data import Dataset, load

SIZES = (4, 5, 6, 3)
ALL = [BP(0.01), PC(0.01, 0.2, T=4), ZIL(0.01), IPC(0.01, 0.2)]


def dataset(name="by hand", rows=8, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    return Dataset(name, rng.normal(size=(rows, 4)).astype(np.float32), np.eye(3, dtype=np.float32)[labels], labels, 3)


DATA = dataset()


def made(plans, data=DATA, **options):
    return list(curves(plans, data, **{"updates": 6, "backend": "numpy", **options}))


def without_clock(row):
    whole = {name: value for name, value in row["whole"].items() if name != "seconds"}
    return {name: value for name, value in row.items() if name != "seconds"} | {"whole": whole}


def through_a_file(path, rows):
    """The rows as a curves file gives them back."""
    writer = Writer(path, {"versions": {}}, False, CURVES)
    for row in rows:
        writer.write(row)
    writer.close()
    return read(path, CURVES).rows


class Interrupting:
    """An ``on_record`` in which Ctrl-C is pressed at a record."""

    def __init__(self, record):
        self.record, self.count = record, 0

    def __call__(self, run):
        self.count += 1
        if self.count == self.record:
            raise KeyboardInterrupt


def interrupted(plans, record, **options):
    """The rows yielded before the interrupt, which comes out after them."""
    rows = []
    try:
        for row in curves(
            plans, DATA, **{"updates": 6, "backend": "numpy", "on_record": Interrupting(record), **options}
        ):
            rows.append(row)
    except KeyboardInterrupt:
        return rows
    pytest.fail("the interrupt did not come out")


# Curves


@pytest.mark.parametrize("algorithm", ALL, ids=lambda a: a.name)
@pytest.mark.parametrize("sizes", [(4, 3), SIZES, (4, 2, 2, 2, 2, 3)], ids=lambda sizes: f"depth {len(sizes) - 1}")
def test_a_curve_is_a_training_run(algorithm, sizes):
    (row,) = made([Study(algorithm, sizes, "sigmoid", seed=3)], record_every=2)
    run = train(
        Network.mlp(sizes, "sigmoid", seed=3), algorithm, DATA.x, DATA.y, updates=6, backend="numpy", record_every=2
    )
    assert row["updates"] == run.recorded == [0, 2, 4]
    assert row["loss"] == run.loss
    assert row["energy"] == run.energy
    assert len(row["seconds"]) == 3
    assert row["seconds"][0] == 0
    assert (row["algorithm"], row["depth"], row["sizes"]) == (algorithm.name, len(sizes) - 1, list(sizes))
    assert (row["activation"], row["seed"], row["alpha"], row["optimizer"]) == ("sigmoid", 3, 0.01, "sgd")
    assert (row["data"], row["samples"], row["until_updates"]) == ("by hand", 8, 6)
    assert (row["kind"], row["diverged"], row["interrupted"]) == ("measured", None, False)
    for knob in ("gamma", "T", "precision"):
        assert (knob in row) == (knob in algorithm.__dataclass_fields__)


@pytest.mark.parametrize("depth", [2, 3, 7])
def test_smm_and_mm_axes_follow_the_task_graph(depth):
    sizes = (4, *[3] * (depth - 1), 3)
    rows = made([Study(algorithm, sizes) for algorithm in ALL], record_every=2)
    one = 2 * depth - 1
    costs = [(one, one), (8, 4 * one), (2 * (depth - 1), one * (depth - 1)), (2, one)]  # SMMs and MMs of an update
    for row, algorithm, (smm, mm) in zip(rows, ALL, costs, strict=True):
        assert row["smm"] == [0, 2 * smm, 4 * smm]
        assert row["mm"] == [0, 2 * mm, 4 * mm]
        graph = algorithm.tasks(depth, 2)
        assert (graph.smm, graph.mm) == (smm, mm)


def test_labels_tell_pcs_with_several_steps_apart():
    labels = [Study(algorithm, SIZES).label for algorithm in (*ALL, PC(T=8))]
    assert labels == ["BP", "PC T=4", "Z-IL", "iPC", "PC T=8"]


def test_the_same_plans_give_the_same_curves_and_a_seed_another():
    plans = [Study(algorithm, SIZES, seed=seed) for algorithm in ALL for seed in (0, 1)]
    one, two = made(plans), made(plans)
    assert [without_clock(row) for row in one] == [without_clock(row) for row in two]
    for first, second in zip(one[::2], one[1::2], strict=True):
        assert first["loss"] != second["loss"]


def test_settings_go_to_training_and_into_the_row():
    settings = {"batch_size": 4, "steps_per_batch": 2, "record_every": 3, "until_loss": 0.0}
    (row,) = made([Study(IPC(0.01), SIZES)], **settings)
    run = train(Network.mlp(SIZES), IPC(0.01), DATA.x, DATA.y, updates=6, backend="numpy", **settings)
    assert row["loss"] == run.loss
    assert {name: row[name] for name in (*settings, "backend")} == {**settings, "backend": "numpy"}


def test_until_loss_ends_a_curve():
    (whole,) = made([Study(IPC(0.05), SIZES)], updates=30)
    (row,) = made([Study(IPC(0.05), SIZES)], updates=30, until_loss=whole["loss"][10])
    assert row["loss"] == whole["loss"][:11]


def test_starts_and_records_are_told():
    plans = [Study(BP(0.01), SIZES), Study(IPC(0.01), SIZES)]
    starts, records = [], []
    made(plans, on_start=lambda *told: starts.append(told), on_record=lambda run: records.append(run.recorded[-1]))
    assert starts == [(1, plans[0], False), (2, plans[1], False)]
    assert records == [*range(6), *range(6)]


@pytest.mark.parametrize(
    ("workers", "backend", "expected"),
    [
        ("auto", "threads", [1, 2, 2, 2]),
        (1, "threads", [1] * 4),
        (2, "threads", [1, 2, 2, 2]),
        (64, "threads", [1, 3, 3, 3]),
        (64, "numpy", [1] * 4),
    ],
)
def test_workers_are_no_more_than_an_algorithm_can_use(monkeypatch, workers, backend, expected):
    taken = []

    def noted(*arguments, workers, **options):
        taken.append(workers)
        return train(*arguments, **{**options, "backend": "numpy"})

    monkeypatch.setattr("pcsim.training.seeds.train", noted)
    monkeypatch.setattr("pcsim.engines.limits.advised_workers", lambda: 2)
    rows = made([Study(algorithm, SIZES) for algorithm in ALL], workers=workers, updates=1, backend=backend)
    assert taken == [row["workers"] for row in rows] == expected


@pytest.mark.parametrize(
    ("algorithm", "options", "workers", "expected"),
    [
        (AsyncBP(), {}, 4, 3),  # as many as there are layers
        (BP(), {"execution": "pipeline-async"}, 3, 3),
        (BP(), {"execution": "data-parallel"}, 4, 4),
    ],
)
def test_bp_has_workers_where_its_execution_shares_the_work(algorithm, options, workers, expected):
    (row,) = made([Study(algorithm, SIZES)], workers=workers, updates=1, backend="threads", **options)
    assert row["workers"] == expected


@pytest.mark.parametrize(
    ("plan", "options", "words"),
    [
        (Study(IPC(), (5, 4, 3)), {}, r"sizes \[5, 4, 3\] do not fit by hand: 4 inputs, 3 outputs"),
        (Study(IPC(), (4, 4, 2)), {}, r"sizes \[4, 4, 2\] do not fit by hand: 4 inputs, 3 outputs"),
        (Study(IPC(), SIZES), {"batch_size": 2}, "needs steps_per_batch"),
        (Study(BP(), SIZES), {"batch_size": 9}, "batch_size must be between 1 and the 8 rows"),
        (Study(BP(), (4, 10**9, 10**9, 3)), {}, "a net of 1,000,000,007,000,000,000 weights needs"),
    ],
)
def test_no_run_begins_where_a_later_plan_cannot(plan, options, words):
    started = []
    with pytest.raises(InputError, match=words) as caught:
        made([Study(BP(0.01), SIZES), plan], on_start=lambda *told: started.append(told), **options)
    assert len(str(caught.value).splitlines()) == 1
    assert started == []


# Going on


def test_finished_curves_are_skipped(tmp_path):
    plans = [Study(algorithm, SIZES) for algorithm in ALL]
    done = through_a_file(tmp_path / "curves.jsonl", made(plans[:2], record_every=2, batch_size=4, steps_per_batch=3))
    starts = []
    rows = made(
        plans,
        record_every=2,
        batch_size=4,
        steps_per_batch=3,
        done=done,
        on_start=lambda number, plan, skipped: starts.append((number, plan.label, skipped)),
    )
    assert starts == [(1, "BP", True), (2, "PC T=4", True), (3, "Z-IL", False), (4, "iPC", False)]
    assert [row["label"] for row in rows] == ["Z-IL", "iPC"]


def other_numbers(array):
    changed = array.copy()
    changed[-1, -1] += 1
    return changed


SAME = Study(IPC(0.01, 0.2), SIZES)
BATCHES = {"batch_size": 4, "steps_per_batch": 3}
# Every field of an algorithm, of a plan and of the data, and every setting, changed in turn.
CHANGES = [
    *({"plan": dataclasses.replace(SAME, algorithm=dataclasses.replace(SAME.algorithm, **{name: value}))}
      for name, value in {"alpha": 0.02, "gamma": 0.3, "optimizer": "adam", "precision": 2.0}.items()),
    *({"plan": dataclasses.replace(SAME, **{name: value})}
      for name, value in {"algorithm": PC(0.01, 0.2), "sizes": (4, 5, 3), "activation": "relu", "seed": 1,
                          "loss": "cross-entropy"}.items()),
    *({"data": dataclasses.replace(DATA, **{name: value})}
      for name, value in {"name": "another", "x": other_numbers(DATA.x), "y": other_numbers(DATA.y)}.items()),
    {"data": dataset(rows=7)},
    *({name: value} for name, value in {"updates": 7, "record_every": 2, "until_loss": 0.5, "backend": "threads",
                                        "batch_size": 8, "steps_per_batch": 3, "seed": 1, "workers": 2,
                                        "schedule": "cosine", "warmup": 2, "repeat": 2, "start": "pipelined",
                                        "execution": "intra-layer", "augment": ["flip"]}.items()),
    *({"validation": 0.25, name: value} for name, value in {"validation": 0.25, "evaluate_every": 2, "patience": 9,
                                                            "until_accuracy": 0.999}.items()),
    {"test": DATA},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: ", ".join(change))
def test_a_curve_that_differs_in_one_thing_is_not_skipped(monkeypatch, change):
    plain = {"plan": SAME, "data": DATA, "backend": "threads", "workers": 1, "batch_size": 4, "steps_per_batch": 2}
    monkeypatch.setattr(
        "pcsim.training.seeds.train",
        lambda *_, workers, on_record, execution=None, augment=None, **o: train(*_, **{**o, "backend": "numpy"}),
    )

    def again(done, plan, **options):
        return made([plan], done=done, **options)

    if change.get("backend"):
        change, plain = {"backend": "numpy"}, plain
    done = again([], **plain)
    assert again(done, **plain) == []
    changed = again(done, **{**plain, **change})
    assert len(changed) == 1
    assert len(again(changed, **plain)) == 1  # what is left out of a row where it is as usual has a meaning too


def test_every_field_of_a_curve_is_looked_at():
    (row,) = made([SAME], **BATCHES)
    made_of = row.keys() - learning.OUTCOME - {"label", "depth", "kind"}  # which follow from the rest
    assert {field.name for field in dataclasses.fields(SAME.algorithm)} < made_of
    assert {"algorithm", "sizes", "activation", "seed", "data", "data_digest", "samples", "workers"} < made_of
    for name in made_of:
        other = {**row, name: "another"}
        assert len(made([SAME], done=[other], **BATCHES)) == 1, name
        assert len(learning.latest([row, other])) == 2, name
        old = {field: value for field, value in row.items() if field != name}  # a file of an older version
        assert len(made([SAME], done=[old], **BATCHES)) == 1, name
    assert made([SAME], done=[row], **BATCHES) == []


def test_files_of_one_name_are_told_apart_by_what_is_in_them(tmp_path):
    found = []
    for folder, seed in (("a", 0), ("b", 1), ("c", 0)):
        drawn = dataset(rows=8, seed=seed)
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "data.npz", x=drawn.x, y=drawn.y)
        found.append(load(tmp_path / folder / "data.npz"))
    one, other, again = found
    assert one.name == other.name == "data.npz"
    assert one.digest == again.digest != other.digest
    done = made([SAME], one)
    assert len(made([SAME], other, done=done)) == 1
    assert made([SAME], again, done=done) == []


def test_the_seed_of_the_net_and_that_of_the_batches_are_two():
    settings = {"batch_size": 4, "steps_per_batch": 2}
    plan, other = (Study(IPC(0.01), SIZES, seed=seed) for seed in (0, 1))
    done = made([plan], seed=5, **settings)
    run = train(Network.mlp(SIZES), IPC(0.01), DATA.x, DATA.y, updates=6, backend="numpy", seed=5, **settings)
    assert done[0]["loss"] == run.loss
    assert done[0]["seed"] == 0
    assert made([plan], seed=5, done=done, **settings) == []
    assert len(made([other], seed=5, done=done, **settings)) == 1
    assert len(made([plan], seed=6, done=done, **settings)) == 1


def test_an_interrupted_curve_is_kept_and_marked():
    plans = [Study(BP(0.01), SIZES), Study(IPC(0.01), SIZES)]
    rows = interrupted(plans, 9)  # the third record of the second run
    whole = made(plans)
    assert [row["interrupted"] for row in rows] == [False, True]
    assert without_clock(rows[0]) == without_clock(whole[0])
    assert rows[1]["loss"] == whole[1]["loss"][:3]
    for axis in ("updates", "smm", "mm", "seconds", "energy"):
        assert len(rows[1][axis]) == 3
    assert rows[1]["smm"] == [0, 2, 4]


def test_an_interrupted_curve_is_made_again(tmp_path):
    plans = [Study(BP(0.01), SIZES), Study(IPC(0.01), SIZES)]
    done = through_a_file(tmp_path / "curves.jsonl", interrupted(plans, 9))
    starts = []
    rows = made(plans, done=done, on_start=lambda number, plan, skipped: starts.append(skipped))
    assert starts == [True, False]
    assert [without_clock(row) for row in rows] == [without_clock(made(plans)[1])]
    later = through_a_file(tmp_path / "all.jsonl", [*done, *rows])
    assert made(plans, done=later) == []
    shown = learning.latest(later)
    assert [(row["label"], row["interrupted"]) for row in shown] == [("BP", False), ("iPC", False)]


def test_an_interrupt_before_the_first_record_leaves_no_curve(monkeypatch):
    def press(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("pcsim.training.seeds.train", press)
    assert interrupted([Study(BP(0.01), SIZES)], None) == []


# In words


def lines_of(text):
    """The rows of a table as dictionaries, by the places of the heads."""
    head, *body = text.split("\n\n")[0].splitlines()
    heads = list(re.finditer(r"\S+", head))
    ends = [*(match.start() for match in heads[1:]), None]
    return [
        {match[0]: line[match.start() : end].strip() for match, end in zip(heads, ends, strict=True)} for line in body
    ]


def test_the_table_says_where_each_curve_began_and_ended():
    rows = made([Study(algorithm, SIZES) for algorithm in ALL], record_every=2)
    text = table(rows)
    lines = lines_of(text)
    assert [line["algorithm"] for line in lines] == ["BP", "PC T=4", "Z-IL", "iPC"]
    assert [line["SMMs"] for line in lines] == ["30", "48", "24", "12"]
    assert [line["MMs"] for line in lines] == ["30", "120", "60", "30"]
    for line, row in zip(lines, rows, strict=True):
        assert (line["depth"], line["optimizer"], line["alpha"], line["updates"]) == ("3", "sgd", "0.01", "6")
        assert line["loss"] == f"{row['loss'][0] / 8:.4g}"
        assert line["lowest"] == f"{min(*row['loss'], row['whole']['loss']) / 8:.4g}"
        assert line["ending"] == "all updates made"
    assert "per sample" in text.splitlines()[-1]
    assert not any(line != line.rstrip() for line in text.splitlines())


def diverging():
    """Plain descent at a rate far too large, with an activation that does not saturate."""
    return Study(BP(50.0), SIZES, "identity")


@pytest.mark.parametrize("written", [False, True], ids=["from memory", "from a file"])
def test_a_diverged_curve_is_named_in_the_table(tmp_path, written):
    rows = made([diverging(), Study(IPC(0.01), SIZES)], updates=200)
    (at,) = [row["diverged"] for row in rows if row["diverged"] is not None]
    assert 0 < at < 200
    assert at == rows[0]["updates"][-1]
    assert not math.isfinite(rows[0]["loss"][-1] * rows[0]["energy"][-1])
    if written:
        rows = through_a_file(tmp_path / "curves.jsonl", rows)
        assert None in [*rows[0]["loss"], *rows[0]["energy"]]
    lost, fine = lines_of(table(rows))
    assert lost["ending"] == f"diverged at update {at}: try a smaller alpha, or adam"
    assert float(lost["lowest"]) == pytest.approx(rows[0]["loss"][0] / 8, rel=1e-3)  # it only went up
    assert fine["ending"] == "all updates made"
    assert made([diverging()], updates=200, done=rows) == []  # diverging is an end: it is not tried again


def test_other_endings_are_named_too():
    plan = Study(IPC(0.05), SIZES)
    (whole,) = made([plan], updates=30)
    aim = whole["loss"][10]
    (reached,) = made([plan], updates=30, until_loss=aim)
    (missed,) = made([plan], updates=5, until_loss=aim)
    (cut,) = interrupted([plan], 3, until_loss=aim)
    assert whole["loss"][-1] < aim < missed["loss"][-1]
    endings = [line["ending"] for line in lines_of(table([reached, missed, cut, whole], until_loss=aim / 8))]
    assert endings == [
        f"loss {aim / 8:g} reached",
        f"loss {aim / 8:g} not reached",
        "interrupted",
        f"loss {aim / 8:g} reached",  # on the way
    ]
    assert [line["ending"] for line in lines_of(table([whole]))] == ["all updates made"]


def test_the_table_leaves_out_curves_without_records():
    rows = made([Study(BP(0.01), SIZES)], record_every=0)
    assert rows[0]["loss"] == []
    assert lines_of(table(rows)) == []


def test_curves_are_plain_json():
    for row in made([Study(algorithm, SIZES) for algorithm in ALL]):
        assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_a_figure_shows_loss_per_sample_and_tells_depths_apart():
    rows = made([Study(BP(0.01), SIZES), Study(IPC(0.01), (4, 5, 3))])
    shown = learning.for_figure(rows)
    assert [row["label"] for row in shown] == ["BP, depth 3", "iPC, depth 2"]
    for one, row in zip(shown, rows, strict=True):  # and the loss after the last update
        assert one["loss"] == [loss / 8 for loss in (*row["loss"], row["whole"]["loss"])]
        for axis in ("updates", "smm", "mm", "seconds"):
            assert one[axis] == [*row[axis], row["whole"][axis]]
            assert one[axis] == sorted(set(one[axis]))
    assert learning.for_figure(rows[:1])[0]["label"] == "BP"
    (lost,) = learning.for_figure(made([diverging()], updates=200))
    assert lost["updates"][-1] == lost["diverged"]  # of a diverged run there is no loss after it
    assert learning.for_figure([{**rows[0], "loss": [4.0, None], "whole": None}])[0]["loss"] == [0.5, None]


def test_strokes_and_conditions_tell_settings_apart():
    studies = [Study(BP(0.01), SIZES), Study(IPC(0.01), SIZES), Study(BP(0.02), SIZES), Study(IPC(0.02), SIZES)]
    rows = made(studies)
    assert [row["stroke"] for row in learning.for_figure(rows)] == [0, 0, 1, 1]
    assert [row["label"] for row in learning.for_figure(rows)][:2] == ["BP, alpha 0.01", "iPC, alpha 0.01"]
    several = made([Study(PC(0.01, T=T), SIZES) for T in (2, 4)])
    assert [row["stroke"] for row in learning.for_figure(several)] == [0, 1]
    words = learning.conditions(rows)
    assert "alpha" not in words  # it differs, and stands in the labels
    assert "alpha 0.01" in learning.conditions(rows[:2])
    for known in ("8 samples", "full batch", "4 inputs", "tanh", "optimiser sgd", "gamma 0.5"):
        assert known in words
    assert "batch 4" in learning.conditions([row | {"batch_size": 4} for row in rows])


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: ", ".join(change))
def test_whatever_differs_stands_in_the_label_and_in_the_line(monkeypatch, change):
    plain = {"plan": SAME, "data": DATA, "backend": "threads", "workers": 1, "batch_size": 4, "steps_per_batch": 2}
    monkeypatch.setattr(
        "pcsim.training.seeds.train",
        lambda *_, workers, on_record, execution=None, augment=None, **o: train(*_, **{**o, "backend": "numpy"}),
    )
    change = {"backend": "numpy"} if change.get("backend") else change
    rows = []
    for options in (plain, {**plain, **change}):
        plan = options.pop("plan")
        rows += made([plan], **options)
    shown = learning.for_figure(learning.latest(rows))
    assert len({row["label"] for row in shown}) == 2
    assert len({row["stroke"] for row in shown}) == 2 or shown[0]["algorithm"] != shown[1]["algorithm"]
    apart = ("algorithm", "depth", "optimizer", "alpha")
    assert len({tuple(line[name] for name in apart) for line in lines_of(table(rows))}) == 2


def test_many_runs_of_one_algorithm_are_told_apart():
    settings = [{}, {"hidden": 6}, {"activation": "relu"}, {"seed": 1}, {"batch": 4}, {"data": dataset(seed=3)}]
    rows = []
    for setting in settings:
        plan = Study(
            BP(0.01), (4, setting.get("hidden", 5), 3), setting.get("activation", "tanh"), setting.get("seed", 0)
        )
        rows += made([plan], setting.get("data", DATA), batch_size=setting.get("batch"))
    shown = learning.for_figure(rows)
    assert len({row["label"] for row in shown}) == len({row["stroke"] for row in shown}) == len(rows)
    assert shown[0]["label"] == f"BP, hidden 5, tanh, data {DATA.digest[:6]}, full batch, seed 0"
    assert len({line["algorithm"] for line in lines_of(table(rows))}) == len(rows)
    assert [row["label"] for row in learning.for_figure([{**rows[0], "momentum": m} for m in (0, 0.5)])] == [
        "BP, momentum 0",
        "BP, momentum 0.5",
    ]
    assert [row["label"] for row in learning.for_figure([rows[0], rows[0], rows[0]])] == [
        "BP",
        "BP, run 2",
        "BP, run 3",
    ]


def test_what_has_a_column_of_its_own_is_not_said_twice():
    rows = made([Study(BP(alpha, optimizer), sizes) for alpha in (0.01, 0.02) for optimizer in ("sgd", "adam")
                 for sizes in (SIZES, (4, 5, 3))], updates=2)  # fmt: skip
    assert [line["algorithm"] for line in lines_of(table(rows))] == ["BP"] * 8


def test_what_differs_with_the_algorithm_alone_is_not_said():
    rows = made([Study(algorithm, SIZES) for algorithm in ALL], workers=2, backend="numpy")
    rows = [{**row, "workers": 1 if row["algorithm"] == "bp" else 2} for row in rows]
    assert [row["label"] for row in learning.for_figure(rows)] == ["BP", "PC T=4", "Z-IL", "iPC"]


def test_the_last_update_counts():
    plan = Study(IPC(0.05), SIZES)
    (whole,) = made([plan], updates=30)
    aim = whole["loss"][10]
    (row,) = made([plan], updates=10, until_loss=aim)
    assert min(row["loss"]) > aim >= row["whole"]["loss"]
    (line,) = lines_of(table([row], until_loss=aim / 8))
    assert (line["ending"], line["updates"]) == (f"loss {aim / 8:g} reached", "10")
    assert line["lowest"] == f"{row['whole']['loss'] / 8:.4g}"
    (line,) = lines_of(table([row], until_loss=0.999 * row["whole"]["loss"] / 8))  # twin: one that it has not reached
    assert line["ending"].endswith("not reached")


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam", "adamw", "nadamw"])
def test_nothing_is_advised_that_is_so_already(optimizer):
    rows = made([Study(BP(1e20, optimizer), SIZES, "identity")], updates=200)
    (line,) = lines_of(table(rows))
    assert line["ending"].startswith("diverged at update ")
    assert line["ending"].endswith("try a smaller alpha" if "adam" in optimizer else "try a smaller alpha, or adam")
