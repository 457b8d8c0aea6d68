"""What trials draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsim.cli import race
from pcsim.errors import InputError
from pcsim.race.contenders import chosen, contenders
from pcsim.race.problems import PROBLEMS
from pcsim.race.spaces import Choice, Range, draws

SPACE = {"alpha": Range(1e-4, 1e-2), "T": Range(2, 9, whole=True), "kind": Choice(("a", "b", "c"))}


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 1000))
def test_more_trials_are_a_continuation(count, more, seed):
    assert draws(SPACE, count + more, seed)[:count] == draws(SPACE, count, seed)


def test_a_space_is_filled_evenly():
    """Of 64 points of a Sobol sequence each eighth of a knob has 8; of random ones that would be a wonder."""
    found = draws(SPACE, 64, 3)
    shares = np.log([one["alpha"] / 1e-4 for one in found]) / np.log(100)
    assert np.bincount((shares * 7.999).astype(int), minlength=8).tolist() == pytest.approx([8] * 8, abs=1)
    assert {one["T"] for one in found} == set(range(2, 10))
    assert [sum(one["kind"] == kind for one in found) for kind in "abc"] == pytest.approx([64 / 3] * 3, abs=2)


def test_other_contenders_draw_other_points():
    assert draws(SPACE, 4, 0) != draws(SPACE, 4, 1)


def test_nothing_to_tune_is_one_trial():
    assert draws({}, 20, 0) == [{}]


def test_a_range_goes_up():
    with pytest.raises(InputError, match="from a number to a larger one"):
        Range(1.0, 1.0)
    with pytest.raises(InputError, match="from a number to a larger one"):
        Range(0.0, 1.0)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_shipped_contender_can_be_made_of_every_draw(name):
    for one in contenders(PROBLEMS[name]).values():
        for settings in one.draws(16):
            one.made(settings).checked_calendar(PROBLEMS[name].depth, settings.get("steps_per_batch"))


def test_the_command_line_knows_every_problem():
    assert tuple(PROBLEMS) == race.PROBLEMS


def test_settings_depend_on_nobody_else():
    """Who else runs, and in which place, leaves a contender's trials as they are; two of one space have their own."""
    found = contenders(PROBLEMS["fashion-online"])
    alone = {one.name: one.draws(4) for one in chosen(PROBLEMS["fashion-online"], ["bp", "ipc"])}
    assert alone == {name: found[name].draws(4) for name in ("bp", "ipc")}
    assert found["ipc"].draws(8)[:4] == alone["ipc"]
    assert found["bp"].draws(4) != found["dfa"].draws(4)
