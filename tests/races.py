"""Races that were never run: contenders, what they cost, and when they reached the goal."""

from pcsim.results.races import Race

BPS = ("bp", "bp-dwelling")

FEW, MANY = (10, 11, 9, 10, 10), (20, 22, 19, 20, 21)


def lucky(confirmed=3):
    """A race in which three of ipc's trials reach the goal, the fastest of which does so from no other seed."""
    race = race_of({"bp": (MANY, 1.0), "ipc": (FEW, 2.0)})
    race.declared["confirm"] = {"trials": confirmed, "seeds": [50, 51]}
    (one,) = [row for row in race.trials if row["contender"] == "ipc" and row["seed"] == 0]
    race.trials = [row for row in race.trials if row["contender"] != "ipc"][:1]

    def run(trial, seed, reached):
        score = [0.1, 0.9 if reached else 0.2]
        return one | {"trial": trial, "seed": seed, "updates": [1, reached or 10**6], "score": score}

    race.declared["trials"] = 4
    race.trials += [run(0, 1000, 5), run(1, 1001, 8), run(2, 1002, 9), run(3, 1003, None)]
    confirming = [run(0, 50, None), run(0, 51, None), run(1, 50, 30), run(1, 51, 10), run(2, 50, 9), run(2, 51, 9)]
    race.finals = [run(trial, seed, 9) | {"phase": "final"} for trial in range(3) for seed in range(5)]
    return race, [row | {"phase": "confirm"} for row in confirming]


def race_of(costs, goals=(0.8,), missed=()):
    """A race to an accuracy of 0.8: of each contender the updates after which it was reached from each seed (None: not
    at all), and the span of an update. An update takes one sample in; BP alone follows the gradient."""
    told = [
        {"name": name, "algorithm": "bp" if name in BPS else name, "exact": name in BPS, "loss": "squared",
         "fixed": {}, "space": {"alpha": "1 to 2"}}
        for name in costs
    ]  # fmt: skip
    problem = {"name": "x", "goal": "accuracy", "loss": "squared", "activation": "tanh", "sizes": [4, 3, 2]}
    problem |= {"rows": 100, "most": 1000}
    seeds = list(range(len(next(iter(costs.values()))[0])))
    rows = [{"phase": "race", "problem": problem, "contenders": told, "trials": 1, "seeds": seeds}]
    rows.append({"phase": "goals", "goals": list(goals), "missed": list(missed)})
    for phase in ("trial", "final"):
        for name, (updates, span) in costs.items():
            cost = {"samples": 1.0, "mm": 3.0, "smm": 2.0, "span": span, "held": 1.0, "spans": {"1": None, "2": span}}
            rows += [
                {"phase": phase, "contender": name, "trial": 0, "seed": seed, "settings": {"alpha": 1.5}, "cost": cost,
                 "updates": [1, reached or 10**6], "score": [0.1, 0.9 if reached else 0.2]}
                for seed, reached in enumerate(updates)
            ]  # fmt: skip
    return Race.of(rows)
