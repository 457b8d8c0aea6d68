"""``pcsim.testing``: algorithms that keep what they promise, and twins that do not."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import pcsim
from pcsim import testing
from pcsim.engines.threads import ThreadsEngine
from pcsim.schedule.calendar import Calendar, Stage
from pcsim.testing import check_algorithm


@dataclass(frozen=True)
class Half(pcsim.IPC):
    """iPC whose weights update at every second step."""

    name, title = "half", "Half"

    def calendar(self, depth, steps_per_batch=None):
        return Calendar((Stage(), Stage(update=tuple(range(depth)), completes=True)), steps_per_batch)


@dataclass(frozen=True)
class Uneven(pcsim.IPC):
    """Two updates in six steps, the odd layers also in between, and one step after the last update."""

    name, title = "uneven", "Uneven"

    def calendar(self, depth, steps_per_batch=None):
        every, odd = tuple(range(depth)), tuple(range(1, depth, 2))
        both = Stage(update=every, completes=True)
        some = Stage(update=odd)
        return Calendar((some, both, Stage(), some, both, Stage()), steps_per_batch)


@dataclass(frozen=True)
class LateZil(pcsim.ZIL):
    """Z-IL that waits a step before the lowest layer updates: a calendar that ends."""

    name, title = "late", "Late"

    def calendar(self, depth, steps_per_batch=None):
        *early, last = super().calendar(depth).stages
        return Calendar((*early, Stage(), last) if depth > 1 else (last,))


@pytest.mark.parametrize(
    "algorithm",
    [pcsim.BP(0.01), pcsim.PC(0.01, T=2), pcsim.ZIL(0.01), pcsim.IPC(0.01), Half(0.01), Uneven(0.01, 0.3),
     LateZil(0.01), Half(1e-3, optimizer="adam", precision=2.0)],
    ids=lambda a: f"{a.name}-{a.optimizer}",
)  # fmt: skip
def test_what_keeps_its_promises_passes(algorithm):
    check_algorithm(algorithm)


def failure(algorithm):
    with pytest.raises(AssertionError) as caught:
        check_algorithm(algorithm, depth=3)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_twin_a_calendar_that_breaks_a_rule_fails():
    @dataclass(frozen=True)
    class Early(pcsim.PC):
        name, title = "early", "Early"

        def calendar(self, depth, steps_per_batch=None):
            stages = [Stage(update=tuple(range(depth - 1))), Stage(), Stage(update=(depth - 1,), completes=True)]
            return Calendar(tuple(stages))

    assert "W[0] updates for the last time at step 0 of a batch" in failure(Early())


def test_twin_a_class_that_cannot_be_registered_fails():
    class Nameless(pcsim.IPC):
        name = "No Name"

    assert "name must be" in failure(Nameless())


def test_twin_staying_on_a_batch_for_ever_fails():
    @dataclass(frozen=True)
    class Stays(pcsim.IPC):
        name, title = "stays", "Stays"

        def calendar(self, depth, steps_per_batch=None):
            return super().calendar(depth)

    assert "stays on its first batch for ever" in failure(Stays())


def test_twin_threads_with_another_calendar_fail(monkeypatch):
    class Other(ThreadsEngine):
        def __init__(self, network, algorithm, *rest, **options):
            super().__init__(network, replace(algorithm, gamma=algorithm.gamma * (1 + 1e-6)), *rest, **options)

    monkeypatch.setattr("pcsim.engines.threads.ThreadsEngine", Other)
    assert "threads and the NumPy oracle differ in " in failure(Half(0.01))


def test_twin_a_bit_that_depends_on_the_workers_fails(monkeypatch):
    class Loose(ThreadsEngine):
        def __init__(self, *arguments, workers=1, **options):
            super().__init__(*arguments, workers=workers, **options)
            self.loose = workers > 1

        @property
        def values(self):
            return [np.nextafter(x, np.inf) for x in super().values] if self.loose else super().values

    monkeypatch.setattr("pcsim.engines.threads.ThreadsEngine", Loose)
    assert "2 workers leave other bits than 1" in failure(Half(0.01))


def test_twin_a_bit_that_is_lost_after_many_updates_fails(monkeypatch):
    class Late(ThreadsEngine):
        @property
        def values(self):
            late = self.number >= testing.LONG and self.layout.workers > 1
            return [np.nextafter(x, np.inf) for x in super().values] if late else super().values

    monkeypatch.setattr("pcsim.engines.threads.ThreadsEngine", Late)
    assert "9 layers of 64 units, after 100 weight updates: 2 workers leave other bits than 1" in failure(Half(0.01))


def test_twin_what_is_no_algorithm_or_number_of_workers_fails():
    assert failure(Half) == "give an algorithm, such as Half(), not its class"
    with pytest.raises(AssertionError, match="workers must be a whole number of at least 1, not 0"):
        check_algorithm(Half(0.01), workers=(0,))


def test_twin_a_graph_of_another_calendar_fails():
    @dataclass(frozen=True)
    class Tells(Half):
        name, title = "tells", "Tells"

        def tasks(self, depth, steps=8, steps_per_batch=None):
            return pcsim.IPC().tasks(depth, 2 * steps)

    assert "against the task graph" in failure(Tells(0.01))


def test_workers_above_the_depth_are_left_out(monkeypatch):
    asked = []
    whole = testing.make_engine
    monkeypatch.setattr(
        testing,
        "make_engine",
        lambda *given, **options: asked.append(options.get("workers")) or whole(*given, **options),
    )
    check_algorithm(pcsim.IPC(0.01), depth=2, workers=(1, 2, 40))
    assert {1, 2} <= set(asked)
    assert 40 not in asked
