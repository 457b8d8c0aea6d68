"""What an update costs in nets of unequal layers, against schedules made by hand."""

from dataclasses import replace

import pytest

import pcsim
from pcsim.race.costs import cost_of_update
from pcsim.race.problems import problem


def lengths(name):
    from pcsim.net.named import outline

    found = outline(name).multiplications
    return [each * len(found) / sum(found) for each in found]  # in products of the average layer


def passed_on(times, samples):
    """When the last of so many samples is through all workers, if each takes them in turn: forwards, and then errors
    down to the second layer, as if these had workers of their own."""
    ready = [0.0] * samples
    for time in [*times, *times[:0:-1]]:
        free = 0.0
        for sample in range(samples):
            free = max(free, ready[sample]) + time
            ready[sample] = free
    return ready[-1]


def test_one_sample_is_a_chain_in_bp():
    cnn, times = replace(problem("digits"), depth=5, of_net="cnn-64-128-64"), lengths("cnn-64-128-64")
    span = cost_of_update(pcsim.BP(), cnn, {"batch_size": 1})["span"]
    assert span == pytest.approx(sum(times) + sum(times[1:]))


@pytest.mark.parametrize("batch", [2, 16])
def test_bp_is_held_up_by_its_slowest_layer(batch):
    cnn, times = replace(problem("digits"), depth=5, of_net="cnn-64-128-64"), lengths("cnn-64-128-64")
    found = cost_of_update(pcsim.BP(), cnn, {"batch_size": batch})
    slowest = max([times[0], *(2 * time for time in times[1:])])
    assert max(batch * slowest, passed_on(times, batch)) <= found["span"] * (1 + 1e-9)
    assert found["span"] < batch * slowest + sum(times) + sum(times[1:])
    assert found["spans"]["1"] == pytest.approx(batch * (sum(times) + sum(times[1:])))


def test_ipc_waits_for_its_slowest_layer_in_every_step():
    residual, times = problem("residual", depth=6, hidden=128), lengths("residual-mlp-6-128")
    found = cost_of_update(pcsim.IPC(), residual, {"batch_size": 64, "steps_per_batch": 8})
    slowest = max([times[0], *(2 * time for time in times[1:])])
    assert 64 * slowest <= found["span"] * (1 + 1e-9) and found["span"] < 64 * (slowest + sum(times) / 8)


def test_a_chain_of_equal_layers_counts_as_it_did():
    plain = problem("digits")
    assert cost_of_update(pcsim.BP(), plain, {"batch_size": 16})["span"] == 2 * (16 + 3) - 3
    assert cost_of_update(pcsim.IPC(), plain, {"batch_size": 16, "steps_per_batch": 4})["span"] == 16 * 2.25
