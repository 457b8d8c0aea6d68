"""Random machines and cases for the simulator."""

from hypothesis import strategies as st

from pcsim.algorithms import BP, IPC, PC, ZIL
from pcsim.predict import simulate as simulate_module
from pcsim.predict.machine import Level, Machine, MessageTimes, Segment
from pcsim.predict.machine_files import load
from pcsim.predict.plans import EXECUTIONS, Net
from pcsim.predict.simulate import simulate

ALGORITHMS = (BP(1e-4), PC(T=1), PC(T=3), ZIL(), IPC())
IDEAL = load("ideal")


def constant(**fields):
    """A machine of constants, with room for everyone."""
    costs = fields.pop("constants", {"start": 1.0, "predict": 1.0, "backproject": 1.0, "update": 1.0, "values": 0.0})
    return Machine("made up", "", "constant", 1, 1, None, constants=costs, **fields)


def square(depth, width=8, batch=1):
    return Net((width,) * (depth + 1), batch)


def timed_of(case, machine):
    """What ``simulate`` times: the plan with its seconds."""
    algorithm, net, execution, workers, options = case
    return simulate_module._timed(
        algorithm, net, machine, execution, workers, options.get("ranks"), options.get("micro_batches", 8),
        options.get("order", "split"), options.get("wave"),
    )  # fmt: skip


def seconds_of(case, machine):
    algorithm, net, execution, workers, options = case
    return simulate(algorithm, net, machine, execution, workers, **options).seconds


rates = st.floats(1e6, 1e12)
times = st.just(0.0) | st.floats(1e-9, 1e-3)


@st.composite
def message_costs(draw):
    begins = [0.0, *sorted(draw(st.sets(st.integers(1, 10**5), max_size=2)))]
    segments = tuple(Segment(float(b), draw(times), draw(st.just(0.0) | st.floats(1e-12, 1e-7))) for b in begins)
    return MessageTimes(draw(times), segments)


@st.composite
def memory_levels(draw):
    sizes = sorted(draw(st.sets(st.integers(64, 10**6), max_size=2)))
    found = []
    for number, size in enumerate([*sizes, None]):
        sharers = draw(st.none() | st.integers(1, 8))
        shared = draw(rates) if sharers else None
        found.append(Level(f"level {number}", size, draw(rates), shared, sharers))
    return tuple(found)


@st.composite
def rooflines(draw, nodes=None):
    """Roofline machines with every figure they can have, on one node or on many."""
    return Machine(
        "drawn", "", "roofline", nodes, 1, draw(st.integers(1, 3)) if nodes is None else 64,
        flop_rate=draw(rates), overhead=draw(times), element=draw(st.just(0.0) | st.floats(1e-12, 1e-6)),
        levels=draw(memory_levels()), handover_latency=draw(times), handover_bandwidth=draw(rates),
        barrier=(draw(times), draw(times)), within=draw(message_costs()), between=draw(message_costs()),
    )  # fmt: skip


@st.composite
def cases(draw, executions=EXECUTIONS[:-1], most_depth=6):
    """(algorithm, net, execution, workers, options) that ``simulate`` takes."""
    execution = draw(st.sampled_from(executions))
    if execution == "layer-parallel":
        algorithm = draw(st.sampled_from(ALGORITHMS[1:]))
    else:
        algorithm = draw(st.sampled_from(ALGORITHMS)) if execution == "serial" else ALGORITHMS[0]
    depth = draw(st.integers(2, most_depth))
    widths = draw(st.lists(st.integers(1, 200), min_size=depth + 1, max_size=depth + 1))
    net = Net(tuple(widths), draw(st.sampled_from([1, 2, 5, 16])), draw(st.sampled_from([4, 8])))
    most = {"serial": 1, "layer-parallel": depth, "pipeline": depth, "data-parallel": net.batch}.get(execution, 9)
    workers = draw(st.integers(min(2, most), most))
    options = {}
    if execution == "pipeline":
        options = {"micro_batches": draw(st.integers(1, 6)), "order": draw(st.sampled_from(["split", "gpipe", "1f1b"]))}
    if execution == "layer-parallel" and isinstance(algorithm, IPC):
        options["wave"] = draw(st.sampled_from([None, 1, 2, 3]))
    if workers > 1:
        options["ranks"] = draw(st.none() | st.integers(1, workers))
    return algorithm, net, execution, workers, options


@st.composite
def shared_cases(draw, most_depth=6):
    """The same of PC, Z-IL and iPC on ranks that share layers."""
    execution = draw(st.sampled_from(["intra-layer", "data-parallel", "hybrid"]))
    depth = draw(st.integers(2, most_depth))
    widths = draw(st.lists(st.integers(1, 200), min_size=depth + 1, max_size=depth + 1))
    net = Net(tuple(widths), draw(st.sampled_from([2, 5, 16])), draw(st.sampled_from([4, 8])))
    ranks = draw(st.integers(2, {"data-parallel": net.batch, "hybrid": depth}.get(execution, 9)))
    threads = draw(st.integers(1, 3)) if execution == "hybrid" else 1
    return draw(st.sampled_from(ALGORITHMS[1:])), net, execution, ranks * threads, {"ranks": ranks}
