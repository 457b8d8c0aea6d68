"""Options of algorithms: whoever is asked for takes them, and where nobody does it is one line."""

import argparse
import dataclasses

import pytest

from pcsim.algorithms import ALGORITHMS
from pcsim.cli.algorithms import OPTIONS, algorithms_of, check_dwelling
from pcsim.cli.main import _parser
from pcsim.cli.words import named
from pcsim.errors import InputError

VERBS = {"train": ["train"], "bench": ["bench"], "count": ["count"], "simulate": ["simulate", "server-64"],
         "validate": ["validate", "m.json", "--out", "c.json"]}  # fmt: skip

# What an option is given, and what the field then is; a flag without a value has none.
VALUES = {
    "alpha": ("0.25", 0.25), "gamma": ("0.25", 0.25), "optimizer": ("nesterov", "nesterov"), "momentum": ("0.75", 0.75),
    "weight_decay": ("0.25", 0.25), "precision": ("3", 3.0), "value_momentum": ("0.25", 0.25),
    "weights": ("stashed", "stashed"), "accumulate": ("3", 3), "weight_prediction": (None, True),
    "spike_compensation": (None, True), "delay_rates": ("3", 3), "loss": ("predsim", "predsim"),
    "head": ("cross-entropy", "cross-entropy"), "beta": ("0.25", 0.25), "a": ("0.25", 0.25), "sweeps": ("3", 3),
    "incremental": (None, True), "T": ("3", 3),
}  # fmt: skip
NEEDS = {"momentum": ["--optimizer", "momentum"], "spike_compensation": ["--optimizer", "momentum"]}


def parsed(words):
    found = _parser().parse_args(words)
    found.named = named(_parser(), words)
    return found


def flag_of(field):
    return f"--{OPTIONS[field].replace('_', '-')}"


def flags_of(verb):
    verbs = next(action for action in _parser()._actions if action.dest == "verb").choices
    return {flag for action in verbs[verb]._actions for flag in action.option_strings}


def words_of(verb, names, field, value):
    return [*VERBS[verb], "--algorithms", *names, *NEEDS.get(field, []), flag_of(field), *([value] if value else [])]


def test_every_option_is_here():
    assert VALUES.keys() == OPTIONS.keys()
    init = {field.name for cls in ALGORITHMS.values() for field in dataclasses.fields(cls) if field.init}
    assert init - OPTIONS.keys() == {"head_seed", "feedback_seed"}  # which have no flags


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("field", VALUES)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_option_changes_an_algorithm_or_is_told(verb, name, field):
    if flag_of(field) not in flags_of(verb):
        return
    value, expected = VALUES[field]
    cls = ALGORITHMS[name]
    arguments = parsed(words_of(verb, [name], field, value))
    arguments.steps = getattr(arguments, "steps", [8])
    if any(each.name == field for each in dataclasses.fields(cls)):
        (made,) = algorithms_of(arguments)
        assert getattr(made, field) == expected != getattr(cls(), field)
        return
    with pytest.raises(InputError, match=f"{flag_of(field)} does nothing for {name}: it is an option of "):
        algorithms_of(arguments)
    having = next(other.name for other in ALGORITHMS.values() if field in {f.name for f in dataclasses.fields(other)})
    both = parsed(words_of(verb, [name, having], field, value))
    both.steps = getattr(both, "steps", [8])
    assert [one.name for one in algorithms_of(both)] == [name, having]
    unsaid = argparse.Namespace(**vars(arguments) | {"named": frozenset()})  # twin: it is looked at what was named
    assert [one.name for one in algorithms_of(unsaid)] == [name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--algorithms", "bp", "--beta", "0.1"], "--beta does nothing for bp: it is an option of dual"),  # as usual
        (["--beta=0.1"], "--beta does nothing for bp, pc, ipc: it is an option of dual"),
        (["--algorithms", "dual", "--incremental", "--sweeps", "4"], "--sweeps does nothing: incremental dual"),
        (["--algorithms", "dual", "--incremental", "--sweeps", "3"], "incremental dual propagation sweeps once"),
        (["--algorithms", "bp", "--momentum", "0.9"], "--momentum does nothing: the optimizer sgd has no momentum"),
        (["--algorithms", "bp", "--bet", "0.1"], "--beta does nothing for bp"),
        (["--algorithms", "bp", "--steps", "4"], "--steps does nothing for bp: it is an option of pc"),
    ],
)
def test_what_has_no_effect_is_one_line(pcsim, words, said):
    code, out, err = pcsim("train", "--samples", 20, "--updates", 2, "--backend", "numpy", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_nobody_stays_on_a_batch():
    for words, refused in (
        (["bp", "dfa"], True),
        (["dual"], True),
        (["dual", "--incremental"], False),
        (["ipc"], False),
    ):
        arguments = parsed(["train", "--steps-per-batch", "3", "--algorithms", *words])
        made = algorithms_of(arguments)
        if refused:
            with pytest.raises(InputError, match=f"--steps-per-batch does nothing for {', '.join(words)}, with"):
                check_dwelling(arguments, made)
        else:
            check_dwelling(arguments, made)
