"""A race: its numbers against a plain loop, its phases, and what would rig it."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest

from pcsim import BP, IPC, AsyncBP
from pcsim.errors import InputError
from pcsim.race.contenders import Contender, chosen, contenders
from pcsim.race.costs import cost_of_update
from pcsim.race.problems import problem
from pcsim.race.race import Plan
from pcsim.race.spaces import Range
from pcsim.race.trials import run_trial
from pcsim.results.races import Race, cost_to
from pcsim.training.batches import Batches

DIGITS = replace(problem("digits"), passes=2.0)


def adam(alpha, state, steps, gradients):
    """Kingma and Ba's Algorithm 1, on each array."""
    found = []
    for (m, v), g in zip(state, gradients, strict=True):
        m[:] = 0.9 * m + 0.1 * g
        v[:] = 0.999 * v + 0.001 * g * g
        found.append(alpha * (m / (1 - 0.9**steps)) / (np.sqrt(v / (1 - 0.999**steps)) + 1e-8))
    return found


def plain_loop(algorithm, settings, seed, updates, look):
    """(updates, accuracy on rows held out) by a loop without anything of pcsim but the net's start and the batches."""
    rows = DIGITS.rows
    W = [w.astype(np.float64) for w in DIGITS.net(seed).weights]
    state = [(np.zeros_like(w), np.zeros_like(w)) for w in W]
    batches, made, seen = Batches(len(rows.x), settings["batch_size"], seed), 0, []

    def predicted(x, l):
        return (x if l == 0 else np.tanh(x)) @ W[l].T

    def look_at():
        x = rows.validation[0]
        for l in range(len(W)):
            x = predicted(x, l)
        seen.append((made, float(np.mean(x.argmax(1) == rows.validation[1].argmax(1)))))

    def learn(gradients):
        nonlocal made
        made += 1
        for w, step in zip(W, adam(algorithm.alpha, state, made, gradients), strict=True):
            w += step
        if made % look == 0 or made == updates:
            look_at()

    while made < updates:
        chosen_rows = batches()
        values = [rows.x[chosen_rows].astype(np.float64)]
        for l in range(len(W)):
            values.append(predicted(values[-1], l))
        target = rows.y[chosen_rows]
        if isinstance(algorithm, BP):
            error, gradients = target - values[-1], []
            for l in reversed(range(len(W))):
                below = values[l] if l == 0 else np.tanh(values[l])
                gradients.insert(0, error.T @ below)
                error = (error @ W[l]) * (1 - np.tanh(values[l]) ** 2)
            learn(gradients)
            continue
        values[-1] = target
        for _ in range(settings["steps_per_batch"]):
            errors = [None, *(values[l + 1] - predicted(values[l], l) for l in range(len(W)))]
            errors[-1] = algorithm.precision * errors[-1]
            gradients = [errors[l + 1].T @ (values[l] if l == 0 else np.tanh(values[l])) for l in range(len(W))]
            for l in range(1, len(W)):
                values[l] = values[l] + algorithm.gamma * (
                    -errors[l] + (1 - np.tanh(values[l]) ** 2) * (errors[l + 1] @ W[l])
                )
            learn(gradients)
            if made == updates:
                break
    return seen


PLAIN = {"optimizer": "adam", "batch_size": 16}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("bp", PLAIN | {"alpha": 5e-3}),
        ("ipc", PLAIN | {"alpha": 2e-3, "gamma": 0.3, "precision": 20.0, "steps_per_batch": 3, "start": "forward"}),
    ],
)
def test_a_trial_equals_a_plain_loop(name, settings):
    contender = contenders(DIGITS)[name]
    row = run_trial(DIGITS, contender, settings, 7, (), backend="numpy")
    steps = settings.get("steps_per_batch", 1)
    expected = plain_loop(contender.made(settings), settings, 7, 2 * (1200 // 16) * steps, 15 * steps)
    assert row["updates"] == [updates for updates, _ in expected]
    assert row["score"] == pytest.approx(
        [score for _, score in expected], abs=2.5 / 237
    )  # float32: two rows may differ
    goal = 0.75
    assert cost_to(row, goal, "samples", True) == next(u for u, score in expected if score >= goal) * 16 / steps
    other = plain_loop(contender.made(settings | {"alpha": 3e-3}), settings, 7, 2 * (1200 // 16) * steps, 15 * steps)
    assert row["score"] != pytest.approx([score for _, score in other], abs=2.5 / 237)


# What an update costs


def test_costs_of_splitting_a_batch():
    """BP in single samples: 2 (B + L) - 3 products of one, which keep L samples; iPC 2 B, which keep B."""
    mlp = replace(DIGITS, depth=3)
    bp, ipc = BP(1e-3), IPC(1e-3, 0.3)
    of_bp = cost_of_update(bp, mlp, {"batch_size": 64})
    assert (of_bp["smm"], of_bp["span"], of_bp["held"], of_bp["samples"]) == (5, 2 * (64 + 3) - 3, 3, 64)
    assert of_bp["spans"]["1"] == 64 * 5
    pipelined = {"batch_size": 64, "steps_per_batch": 4, "start": "pipelined"}
    of_ipc = cost_of_update(ipc, mlp, pipelined)
    assert (of_ipc["smm"], of_ipc["span"], of_ipc["samples"]) == (1.75, 112, 16)
    assert of_ipc["held"] >= 64 and set(of_ipc["spans"].values()) == {None}
    late = cost_of_update(AsyncBP(1e-3), mlp, {"batch_size": 1})
    assert (late["span"], late["held"]) == (2, 5)
    assert late["spans"]["4"] is None  # 2 L - 1 samples are under way


def test_batches_that_accumulate_are_counted():
    one = cost_of_update(AsyncBP(1e-3), DIGITS, {"batch_size": 4})
    four = cost_of_update(AsyncBP(1e-3, weights="two-versions", accumulate=4), DIGITS, {"batch_size": 4})
    assert four["samples"] == 4 * one["samples"] == 16
    assert four["smm"] == 4 * one["smm"] and four["span"] == 4 * one["span"]


def test_whoever_dwells_sees_fewer_samples():
    cost = cost_of_update(BP(1e-3), DIGITS, {"batch_size": 64, "repeat": 4})
    assert cost["samples"] == 16


# The full batch

FULL = replace(problem("fashion-250"), depth=3, hidden=8, passes=30.0)


def test_lbfgs_costs_an_update_of_bp_for_each_evaluation():
    one = contenders(FULL)["bp-lbfgs"]
    (settings,) = one.draws(20)
    row = run_trial(FULL, one, settings, 4, ())
    assert row["cost"] == cost_of_update(BP(1e-3), FULL, {"batch_size": None})
    assert row["cost"]["smm"] == 2 * FULL.depth - 1 and row["cost"]["samples"] == 250
    assert row["updates"] == list(range(31)) and row["score"][-1] < row["score"][0] / 2
    first = run_trial(FULL, contenders(FULL)["bp-fixed"], {"optimizer": "adam", "alpha": 1e-3}, 4, (), backend="numpy")
    assert row["score"][0] == pytest.approx(first["score"][0], rel=1e-5)  # the same net, the same loss
    goal = 0.5 * row["score"][0]
    ended = run_trial(FULL, one, settings, 4, (goal,))
    assert ended["score"][-1] <= goal < min(ended["score"][:-1])
    assert cost_to(row, goal, "smm", False) == cost_to(ended, goal, "smm", False) == ended["updates"][-1] * 5


def test_lbfgs_runs_where_the_batch_never_changes():
    assert "bp-lbfgs" not in contenders(DIGITS)
    assert [one.name for one in chosen(FULL, None)] == ["bp", "bp-lbfgs", "ipc"]


# Phases

FEW = [
    Contender("bp", "bp", PLAIN, {"alpha": Range(1e-3, 1e-2)}, exact=True),
    Contender("local", "local", PLAIN, {"alpha": Range(1e-3, 1e-2)}),
]


@pytest.fixture(scope="module")
def rows():
    plan = Plan(replace(DIGITS, goals=(0.7, 0.75, 0.999)), FEW, trials=2, seeds=3, backend="numpy")
    return plan, list(plan.run())


def test_phases_come_in_their_order(rows):
    _, found = rows
    phases = [(row["phase"], row.get("contender")) for row in found]
    assert phases[:4] == [("race", None), ("trial", "bp"), ("trial", "bp"), ("goals", None)]
    assert phases[4:6] == [("trial", "local")] * 2
    again = [phase for phase, _ in phases[6:]]
    assert "confirm" in again and again == sorted(again) and set(again) == {"confirm", "final"}
    assert found[3]["goals"] == [0.7, 0.75] and found[3]["missed"] == [0.999]
    chosen_by = {row["seed"] for row in found if row["phase"] in ("trial", "confirm")}
    assert not chosen_by & {row["seed"] for row in found if row["phase"] == "final"}


def test_test_rows_are_looked_at_in_finals_alone(rows):
    for row in rows[1]:
        assert ("test" in row) == (row["phase"] == "final")


def test_nobody_runs_on_when_the_last_goal_is_reached(rows):
    _, found = rows
    for row in found:
        if row["phase"] == "final" and max(row["score"]) >= 0.75:
            assert [score >= 0.75 for score in row["score"]].index(True) == len(row["score"]) - 1


@pytest.mark.parametrize("cut", [1, 3, 5, 7, 12])
def test_a_race_goes_on_where_it_stopped(rows, cut):
    plan, found = rows
    more = list(plan.run(found[:cut]))

    def known(rows):
        return sorted(repr({name: row[name] for name in row if name != "training_seconds"}) for row in rows)

    assert known(found[:cut] + more) == known(found)


def test_another_race_is_not_carried_on(rows):
    plan, found = rows
    with pytest.raises(InputError, match="holds another race: its trials are 2, not 3;"):
        list(replace(plan, trials=3).run(found))
    longer = replace(plan, problem=replace(plan.problem, passes=3.0))
    with pytest.raises(InputError, match="its most is 2400, not 3600;"):
        list(longer.run(found))
    wider = replace(plan, contenders=[FEW[0], replace(FEW[1], space={"alpha": Range(1e-3, 1.0)})])
    with pytest.raises(InputError, match="its contenders have other search spaces;"):
        list(wider.run(found))
    with pytest.raises(InputError, match=r"its contenders are \['bp', 'local'\], not \['bp'\];"):
        list(replace(plan, contenders=FEW[:1]).run(found))


def test_an_outcome_is_that_of_the_trial_that_tuning_chose(rows):
    race = Race.of(rows[1])
    best = race.best_trial("bp", 0.75, "samples")
    costs = {
        trial: np.median(
            [
                cost_to(row, 0.75, "samples", True)
                for row in (*race.trials, *race.confirms)
                if (row["contender"], row["trial"]) == ("bp", trial)
            ]
        )
        for trial in (0, 1)
    }
    assert costs[best] == min(costs.values())
    assert race.outcome("bp", 0.75, "samples").trial == best


# Rigged races


def test_a_race_without_bp_is_refused():
    with pytest.raises(InputError, match="nobody in this race follows BP's gradient"):
        Plan(DIGITS, FEW[1:])
    with pytest.raises(InputError, match="nobody in this race follows BP's gradient"):
        chosen(DIGITS, ["ipc"])


def test_a_contender_with_another_loss_is_refused():
    with pytest.raises(InputError, match="local has another loss than digits: cross-entropy, not squared"):
        Plan(DIGITS, [FEW[0], replace(FEW[1], loss="cross-entropy")])


def test_a_goal_that_no_bp_reached_ends_the_race():
    with pytest.raises(InputError, match=r"no BP reached any of the goals 0\.999"):
        list(Plan(replace(DIGITS, goals=(0.999,)), FEW, trials=1, seeds=3, backend="numpy").run())


def test_unknown_contenders_and_settings_are_refused():
    with pytest.raises(InputError, match="contender 'adam' does not run in digits: choose from bp, ipc"):
        chosen(DIGITS, ["adam"])
    with pytest.raises(InputError, match="contender bp: BP has no gamma"):
        Contender("bp", "bp", {"gamma": 0.5}).made({"gamma": 0.5})
    with pytest.raises(InputError, match="problem 'mnist' is unknown"):
        problem("mnist")
    with pytest.raises(InputError, match="a goal of digits is a share of the rows held out"):
        problem("digits", goals=[80.0])


def test_what_makes_a_race_unfair_is_named(rows):
    fair = [row for row in rows[1] if row["phase"] != "goals"] + [
        {"phase": "goals", "goals": [0.7, 0.75], "missed": []}
    ]
    assert Race.of(fair).faults() == []

    def faults(change):
        rigged = copy.deepcopy(fair)
        change(rigged)
        return Race.of(rigged).faults()

    def loses_a_trial(rows):
        rows.remove(next(row for row in rows if row["phase"] == "trial"))

    assert faults(loses_a_trial) == ["unequal trials: bp 1, local 2"]
    assert faults(lambda rows: rows[0]["contenders"][1].update(loss="cross-entropy")) == [
        "contenders with different losses: cross-entropy, squared"
    ]
    assert faults(lambda rows: rows[0].update(seeds=[0, 1])) == ["2 seeds, fewer than 3: no verdict"]
    assert faults(lambda rows: rows[0]["problem"].update(decided_by="test")) == [
        "test rows decided: they may only be reported"
    ]
    assert faults(lambda rows: rows[-1].update(missed=[0.9])) == ["no BP reached 0.9: nothing is compared there"]


def test_a_miss_is_infinite_and_stays_in_the_median(rows):
    race = Race.of(copy.deepcopy(rows[1]))
    for row in race.finals:
        if row["contender"] == "local" and row["seed"] < 2:
            row["score"] = [0.1 for _ in row["score"]]
    found = next(one for one in race.outcomes(0.75, "samples") if one.contender == "local")
    assert found.median == math.inf and found.reached == 1
    assert found.interval is None and found.verdict == ""
