"""Cells and contenders as JSON and back."""

import json
from dataclasses import replace

import pytest

from pcsim import BP, IPC, PC, ZIL, InputError
from pcsim.bench.case import Case
from pcsim.bench.contenders import Contender
from pcsim.bench.wire import case_from_json, case_to_json, contender_from_json, contender_to_json


@pytest.mark.parametrize(
    "case", [Case(3, 8), Case(2, 16, 4, "float64", "relu", 7), Case.of_net("7-5-2", 3, steps_per_batch=4)]
)
def test_a_cell_comes_back_as_it_was(case):
    assert case_from_json(json.loads(json.dumps(case_to_json(case)))) == case
    assert case_from_json(case_to_json(replace(case, seed=99))) != case


@pytest.mark.parametrize(
    "contender",
    [
        Contender(IPC(1e-3, 0.25, "adam", 2.0), "layer-parallel", 2, auto=True),
        Contender(PC(T=5), "serial-unfused", 1),
        Contender(ZIL(), "layer-parallel", 4, ranks=2),
        Contender(BP(1e-3), "pipeline", 2, micro_batches=8),
    ],
)
def test_a_contender_comes_back_as_it_was(contender):
    assert contender_from_json(json.loads(json.dumps(contender_to_json(contender)))) == contender


def test_an_algorithm_that_is_not_known_here_is_refused():
    held = contender_to_json(Contender(IPC(), "serial", 1))
    with pytest.raises(InputError, match="algorithm 'nobody' is unknown"):
        contender_from_json({**held, "algorithm": {**held["algorithm"], "name": "nobody"}})
