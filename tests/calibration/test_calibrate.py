"""A calibration of a tiny grid: it loads, it predicts, and it says what it does not know."""

import itertools
import json
import math

import pytest
from programs.small_caches import SMALL, few_images

from pcsim.algorithms import BP, IPC
from pcsim.calibration import calibrate as calibrate_module
from pcsim.calibration.calibrate import BATCHES, WIDTHS, calibrate, machine_of, rings, with_convolutions, write
from pcsim.errors import InputError
from pcsim.net.named import outline
from pcsim.predict.images import MULTIPLY
from pcsim.predict.machine import COLUMNS
from pcsim.predict.machine_files import load
from pcsim.predict.nets import named_net
from pcsim.predict.plans import Net
from pcsim.predict.prices import PASSES, SKIPS
from pcsim.predict.rivals import compare
from pcsim.predict.simulate import simulate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def content():
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("SECONDS", 2e-4),
            ("SAMPLE", 5e-5),
            ("WARM", (1e-4, 1e-4)),
            ("caches", lambda core: SMALL),
        ):
            patch.setattr(calibrate_module, name, value)
        few_images(patch.setattr)
        found = calibrate(
            widths=(16, 32), batches=(1, 8), workers=[1], pin=False, on_progress=lambda n, of: seen.append((n, of))
        )
    assert seen[-1][0] == seen[-1][1] and seen[0][0] == 0
    return found


def test_what_was_calibrated_loads_as_it_was_written(content, tmp_path):
    path = tmp_path / "host.json"
    write(content, path)
    assert [p.name for p in tmp_path.iterdir()] == ["host.json"]
    machine = load(path)
    assert machine.model == "measured" and machine.calibrated["widths"] == [16, 32]
    assert machine.calibrated["batches"] == [1, 8] and machine.calibrated["workers"] == [1]
    assert machine == machine_of(json.loads(json.dumps(content)))
    assert content["products"]["columns"] == list(COLUMNS)
    assert all(point[-1] > 0 and math.isfinite(point[-1]) for point in machine.points)
    with pytest.raises(InputError, match="cannot write"):
        write(content, tmp_path / "none" / "host.json")


def test_predictions_know_the_calibrated_range(content):
    machine = machine_of(content)
    for batch in (1, 8):
        inside = simulate(IPC(), Net((32,) * 4, batch), machine)
        assert inside.seconds > 0 and inside.calibrated and inside.mark == ""
    for net in (Net((256,) * 4), Net((8,) * 4), Net((32,) * 4, 64)):
        assert simulate(IPC(), net, machine).mark == "outside the calibrated range"
    assert simulate(BP(1e-4), Net((32,) * 4, 8), machine).mark == ""
    assert simulate(IPC(), Net((32,) * 4), load("server-64")).mark == "not calibrated"
    assert compare(Net((32,) * 4), machine, 1).mark == ""
    # Wider layers take longer, whatever was measured.
    small, large = (simulate(BP(1e-4), Net((width,) * 4), machine).seconds for width in (16, 512))
    assert small < large


def test_rings_go_from_the_nearest_cache_to_memory():
    own, last = 1 << 20, 32 << 20
    found = list(rings((256,), (1,), (1, 2), 4, own, last))
    assert {w.workers for w in found} == {1, 2} and {w.columns for w in found} == {256}
    for workers in (1, 2):
        sizes = [w.rows * w.columns * 4 * w.depth for w in found if w.workers == workers and w.rows == 256]
        assert min(sizes) < own and max(sizes) > last / workers
    assert all(w.depth >= 2 for w in rings((16, 64), (8,), (1,), 4, own, last))
    # Nets that fit well into the last cache are told apart from those that half fill it, at every batch.
    for batch in (1, 16):
        sizes = [w.rows * w.columns * 4 * w.depth for w in rings((208,), (batch,), (1,), 4, own, last)]
        assert any(2 * own <= size <= last / 4 for size in sizes)


def test_every_batch_has_widths_from_end_to_end():
    found = [(w.batch, w.columns) for w in rings(WIDTHS, BATCHES, (1,), 4, 512 << 10, 32 << 20)]
    assert {width for batch, width in found if batch == 1} == set(WIDTHS)
    for batch in BATCHES[1:]:
        widths = sorted({width for its, width in found if its == batch})
        assert widths[0] == WIDTHS[0]
        assert widths[-1] >= 0.8 * WIDTHS[-1]
        assert max(b / a for a, b in itertools.pairwise(widths)) <= 4


@pytest.mark.parametrize("wrong", [{"widths": (0,)}, {"widths": ()}, {"batches": (-1,)}, {"workers": [0]}])
def test_numbers_below_one_are_refused(wrong):
    with pytest.raises(InputError, match=r"at least (1|one)"):
        calibrate(**wrong)


def test_more_workers_than_cores_are_refused():
    with pytest.raises(InputError, match="are more than the"):
        calibrate(widths=(16,), batches=(1,), workers=[10**6])


def test_convolutions_are_predicted_from_their_points(content):
    machine = machine_of(content)
    assert {point[0] for point in machine.images} == {*MULTIPLY, *PASSES, *SKIPS.values(), "values", "load"}
    assert all(point[-1] > 0 and math.isfinite(point[-1]) for point in machine.images)
    found = simulate(IPC(), named_net("cnn-8-16-8@12x12x1", outline("cnn-8-16-8@12x12x1"), 8), machine)
    assert found.seconds > 0 and found.calibrated


@pytest.fixture
def here(content, monkeypatch):
    """The file of a host that is measured again, in next to no time."""
    monkeypatch.setattr(calibrate_module, "caches", lambda core: SMALL)
    few_images(monkeypatch.setattr)
    return json.loads(json.dumps(content))


def test_a_file_without_convolutions_gets_them_and_nothing_else_changes(here):
    old = {name: part for name, part in here.items() if name != "convolutions"}
    new = with_convolutions(old, False)
    assert {name: part for name, part in new.items() if name != "convolutions"} == old
    assert len(new["convolutions"]["points"]) == len(here["convolutions"]["points"])
    machine_of(new)


def test_files_of_other_hosts_are_not_added_to(here):
    here["calibrated"]["host"]["cores"] += 1
    with pytest.raises(InputError, match="is of another host \\(cores: "):
        with_convolutions(here, False)
    with pytest.raises(InputError, match="was not calibrated: there is nothing to add to"):
        with_convolutions(dict(load("server-64").source), False)
