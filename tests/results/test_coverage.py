"""Intervals hold what they promise: synthetic times of known variance at three levels (hours, processes, samples),
without a clock. Twins that leave a level out, or choose on what they report, fail the same test.
"""

import numpy as np
import pytest
from rows import made, row

from pcsim.results.changes import FASTER, SLOWER, changes
from pcsim.results.comparison import opposed
from pcsim.results.ledger import INVOCATIONS, ledger, pooled
from pcsim.results.pairs import merged
from pcsim.results.statistics import change_interval, logs_of, mean_interval, ratio_interval, rerun_interval

DRAWS, PROCESSES, SAMPLES = 1000, 5, 20
PROMISED = 0.93, 0.97


def plain(random, seconds, processes):
    """Nothing but noise of 2 % at the level of processes and of samples."""
    return seconds


def two_modes(random, seconds, processes):
    """Every process is fast or 6 % slower."""
    return seconds + np.log(1.06) * random.integers(2, size=processes)[..., None]


def outliers(random, seconds, processes):
    """One sample in twenty takes twice as long."""
    return seconds + np.log(2) * (random.uniform(size=seconds.shape) < 0.05)


SCENARIOS = [plain, two_modes, outliers]


def medians(random, hours, scenario=plain, draws=DRAWS, processes=PROCESSES, drift=0.0):
    """ln(median A ÷ median B) of every process, shape (draws, processes), and its samples. The hour, the process and
    the sample move A, the sample B; ``drift`` is what slows both, round by round, and so cancels."""
    a = random.normal(0, hours, (draws, 1, 1)) + random.normal(0, 0.02, (draws, processes, 1))
    a = scenario(random, a + random.normal(0, 0.02, (draws, processes, SAMPLES)), (draws, processes))
    b = scenario(random, random.normal(0, 0.02, a.shape), a.shape[:2]) if scenario is outliers else 0 * a
    both = np.linspace(0, drift, processes * SAMPLES).reshape(processes, SAMPLES)
    return np.median(a + both, axis=2) - np.median(b + both, axis=2), a


def share(values, intervals):
    """How often an interval holds its value."""
    return np.mean([low <= np.exp(value) <= high for value, (low, high) in zip(values, intervals, strict=True)])


def kept(part):
    low, high = PROMISED
    return low <= part <= high


@pytest.mark.parametrize("drift", [0.0, 0.3])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_interval_of_the_ratio_holds_the_truth(scenario, drift):
    random = np.random.default_rng(1)
    y, _ = medians(random, 0, scenario, drift=drift)
    truth = medians(random, 0, scenario, draws=20 * DRAWS)[0].mean()
    assert kept(share([truth] * DRAWS, [mean_interval(logs_of(values)) for values in y]))


def test_a_bootstrap_over_pooled_samples_does_not():
    random = np.random.default_rng(1)
    _, samples = medians(random, 0, draws=200)
    pooled_samples = np.exp(samples.reshape(200, -1))
    ends = [ratio_interval(values, np.ones(values.size), resamples=200)[1:] for values in pooled_samples]
    assert share([0.0] * 200, ends) < 0.7


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_re_run_within_the_hour_falls_into_the_interval(scenario):
    random = np.random.default_rng(2)
    (first, _), (again, _) = medians(random, 0, scenario), medians(random, 0, scenario)
    assert kept(share(again.mean(axis=1), [rerun_interval(logs_of(values)) for values in first]))
    # The interval of the ratio is for the truth, which a re-run does not know either.
    assert not kept(share(again.mean(axis=1), [mean_interval(logs_of(values)) for values in first]))


def test_a_re_run_with_more_processes_varies_less():
    random = np.random.default_rng(3)
    (first, _), (again, _) = medians(random, 0), medians(random, 0, processes=20)
    ends = [rerun_interval(logs_of(values), again=20) for values in first]
    assert kept(share(again.mean(axis=1), ends))


def spreads(random, hours, scenario=plain, cells=4):
    """What a ledger of five invocations of so many cells, which an hour moves together, says for each draw."""
    y = medians(random, 0, scenario, DRAWS * INVOCATIONS * cells)[0].reshape(DRAWS, INVOCATIONS, cells, PROCESSES)
    y += random.normal(0, hours, (DRAWS, INVOCATIONS, 1, 1))
    return [pooled([dict(enumerate(map(logs_of, one))) for one in files]) for files in y]


@pytest.mark.parametrize("hours", [0.02, 0.04])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_re_run_of_another_hour_falls_into_the_interval_that_a_ledger_gives(scenario, hours):
    random = np.random.default_rng(4)
    (first, _), (again, _) = medians(random, hours, scenario), medians(random, hours, scenario)
    known = spreads(random, hours, scenario)
    logs = [logs_of(values) for values in first]
    values = again.mean(axis=1)
    assert kept(share(values, [rerun_interval(one, spread) for one, spread in zip(logs, known, strict=True)]))
    # The twin that leaves the upper level out.
    assert not kept(share(values, [rerun_interval(one) for one in logs]))


@pytest.mark.parametrize("hours", [0, 0.01, 0.03])
def test_a_comparison_of_the_same_code_does_not_cry_wolf(hours):
    random = np.random.default_rng(5)
    old, new = ([logs_of(values) for values in medians(random, hours, processes=processes)[0]] for processes in (5, 7))
    known = spreads(random, hours)
    ends = [change_interval(b, a, spread)[1:] for a, b, spread in zip(old, new, known, strict=True)]
    assert 1 - share([0.0] * DRAWS, ends) <= 0.07
    if hours:
        assert 1 - share([0.0] * DRAWS, [change_interval(b, a)[1:] for a, b in zip(old, new, strict=True)]) > 0.07


# --- the choice of the fastest ---


def contenders(logs):
    """Merged rows: a line of medians for each contender."""
    rows = [
        row("ipc", workers=number + 1, seconds=[np.exp(value)], launch=launch)
        for number, line in enumerate(logs)
        for launch, value in enumerate(line)
    ]
    return merged(rows, "ipc")


@pytest.fixture(scope="module", params=[0.0, 0.01], ids=["alike", "1 % apart"])
def chosen(request):
    """Each draw has four contenders, and 3 % between processes: what was found, and each draw's medians."""
    random = np.random.default_rng(6)
    logs = random.normal(0, 0.03, (DRAWS, 4, PROCESSES)) + request.param * np.arange(4)[:, None]
    one = contenders(np.zeros((1, PROCESSES)))
    return [opposed(contenders(values), one) for values in logs], logs, request.param


def test_the_cross_fitted_choice_is_not_too_fast(chosen):
    """Nobody is faster than 0, the fastest contender's true logarithm; choosing on what is reported claims it."""
    found, logs, apart = chosen
    error = 0.03 / np.sqrt(PROCESSES * DRAWS)
    mean = np.mean([np.log(one.ratio) for one, *_ in found])
    assert -4 * error < mean < apart + 4 * error
    assert logs.mean(axis=2).min(axis=1).mean() < min(-0.004, -4 * error)


def test_its_interval_holds_re_runs_although_the_choice_varies(chosen):
    found, logs, _ = chosen
    ratios = np.log([one.ratio for one, *_ in found])
    ends = [(one.low, one.high) for one, *_ in found]
    assert 0.93 <= share(np.roll(ratios, 1), ends) <= 0.98
    assert min(ours.chosen for _, ours, _ in found) < PROCESSES
    # The twin takes the cross-fitted values for independent ones.
    alone = []
    for values, (one, *_) in zip(logs, found, strict=True):
        others = values.sum(axis=1, keepdims=True) - values
        y = values[others.argmin(axis=0), range(PROCESSES)]
        assert y.mean() == pytest.approx(np.log(one.ratio))
        alone.append(rerun_interval(logs_of(y)))
    assert share(np.roll(ratios, 1), alone) < 0.9


# --- whole files ---


def run(random, cells, hours=0.02, change=0.0, slower=()):
    """A results file of an hour: cells of one contender, which differ in width."""
    rows = []
    for width in range(1, cells + 1):
        base = random.normal(0, hours) + change * (width in slower)
        for launch in range(PROCESSES):
            seconds = np.exp(base + random.normal(0, 0.02) + random.normal(0, 0.02, 9))
            rows.append(row("ipc", width=width, seconds=seconds, launch=launch))
    results = made(*rows, cpu_model="A")
    return type(results)(results.path.with_name(f"{random.integers(10**9)}.jsonl"), results.context, rows)


def test_whole_files_of_the_same_code_are_rarely_called_different():
    random = np.random.default_rng(7)
    old, new = run(random, 400), run(random, 400, change=np.log(1.3), slower=range(1, 41))
    hours = ledger([run(random, 80) for _ in range(INVOCATIONS)], new)
    assert hours.times.variance == pytest.approx(0.02**2, rel=0.5)

    def called(found):
        calls = [row["verdict"] in (FASTER, SLOWER) for row in found.contenders]
        return np.mean(calls[:40]), np.mean(calls[40:])

    there, alarms = called(changes(old, new, difference=1e-6, ledger=hours))
    assert there >= 0.9  # a change that is there is found
    assert alarms <= 0.07
    assert called(changes(old, new, difference=1e-6))[1] > 0.15  # hours left out
    single = [type(one)(one.path, one.context, one.rows[::PROCESSES]) for one in (old, new)]
    assert called(changes(*single, difference=1e-6))[1] > 0.5  # processes left out, too
