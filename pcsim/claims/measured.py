"""Claims about seconds, which a measurement on this machine decides, with a prediction of a larger one beside it."""

from typing import Any

from ..algorithms import BP, IPC, PC, Algorithm
from ..bench.case import Case
from ..bench.contenders import OWN_BASELINES
from ..bench.measure import ALPHA, GAMMA
from ..bench.sweep import Sweep
from ..host.context import capture
from ..host.topology import usable_cores
from ..predict import machine_files
from ..predict.nets import Net
from ..predict.rivals import compare
from ..results.fields import Row
from ..results.files import Results, Writer
from ..results.pairs import pairs
from ..tables import scaled
from .claim import FAILS, HOLDS, ONLY_IF, UNRESOLVED, Claim, Finding, Work
from .counted import IPC_PAPER

ELSEWHERE = "server-64"


def timed(work: Work, case: Case, algorithm: Algorithm, name: str) -> tuple[dict[str, Row], str]:
    """The ratio of one cell, to serial and to the best BP, from several processes; and the file of that name."""
    name = f"bench-{name}{'-quick' if work.quick else ''}.jsonl.gz"
    launches = 3 if work.quick else 8
    sweep = Sweep([case], [algorithm, BP(ALPHA)], [1, "auto"], OWN_BASELINES, 1.5 * launches, launches=launches)
    sweep.check()
    file = work.folder / name
    work.on_progress(f"timing {case.name}: leave this machine alone", 0, 1)
    ceilings = sweep.ceilings()
    context = {**capture(["pcsim", "claims", "run"]), "offered": sweep.offered, "ceilings": ceilings.to_json()}
    with Writer(file, context, file.exists()) as writer:
        for row in sweep.run(ceilings, list(writer.rows)):
            writer.write(row)
        results = Results(file, context, list(writer.rows))
    return {one: pairs(results, one)[0] for one in ("best-bp", "paper-style")}, name


def _evidence(work: Work, depth: int, width: int) -> tuple[dict[str, Row], dict[str, Any], str]:
    """Ratios, evidence for a finding, and what is predicted elsewhere in words."""
    found, name = timed(work, Case(depth, width), IPC(ALPHA, GAMMA), f"{depth}-{width}")
    machine = machine_files.load(ELSEWHERE)
    there = compare(Net((width,) * (depth + 1)), machine, machine.workers or 1)
    body: list[tuple[Any, ...]] = [
        (
            "measured here", len(usable_cores()), one, f"{pair['ratio']:.3g}",
            f"{pair['low']:.3g} to {pair['high']:.3g}",
            f"{pair['execution']} {pair['workers']}, {scaled(pair['median'])}",
            f"{pair['other_execution']} {pair['other_workers']}, {scaled(pair['other_median'])}",
        )
        for one, pair in found.items()
    ]  # fmt: skip
    serial = next(one for one in there.bps if one.execution == "serial")
    for one, ratio, bp in (("best-bp", there.ratio, there.bp), ("paper-style", there.paper_style, serial)):
        body.append(
            (
                f"predicted, {ELSEWHERE}", machine.workers, one, f"{ratio:.3g}", "-",
                f"{there.ipc.execution} {there.ipc.workers}, {scaled(there.ipc.seconds)}",
                f"{bp.execution} {bp.workers}, {scaled(bp.seconds)}",
            )
        )  # fmt: skip
    header = ("", "cores", "denominator", "iPC ÷ BP", "95 %", "iPC by", "BP by")
    elsewhere = (
        f"predicted on {ELSEWHERE}, {machine.workers} cores: {there.paper_style:.2g} of BP on one core, "
        f"{there.ratio:.2g} of the fastest BP"
    )
    processes = int(found["best-bp"]["processes"])
    return found, {"table": (header, *body), "seeds": processes, "files": (name,)}, elsewhere


def _said(pair: Row) -> str:
    return f"{pair['ratio']:.2g} ({pair['low']:.2g} to {pair['high']:.2g})"


def tenfold(work: Work) -> Finding:
    """The paper's extreme case: whether iPC takes a tenth of BP's time."""
    depth, width = (8, 256) if work.quick else (32, 1024)
    found, evidence, elsewhere = _evidence(work, depth, width)
    best, serial = found["best-bp"], found["paper-style"]
    said = (
        f"At {depth} × {width} on these {len(usable_cores())} cores iPC takes {_said(serial)} of the time of BP on one "
        f"core, and {_said(best)} of that of the fastest BP; {elsewhere}"
    )
    if best["high"] <= 0.1:
        return Finding(HOLDS, said, **evidence)
    if serial["high"] <= 0.1:
        return Finding(ONLY_IF, said, "BP has one core, and iPC all", **evidence)
    return Finding(FAILS if serial["low"] > 0.1 else UNRESOLVED, said, **evidence)


def small_nets(work: Work) -> Finding:
    """Whether iPC is slower than BP at 64 units."""
    depth, width = (4, 64) if work.quick else (8, 64)
    found, evidence, elsewhere = _evidence(work, depth, width)
    pair = found["paper-style"]
    said = f"At {depth} × {width} iPC takes {_said(pair)} of the time of BP on one core; {elsewhere}"
    verdict = HOLDS if pair["low"] > 1 else FAILS if pair["high"] < 1 else UNRESOLVED
    return Finding(verdict, said, **evidence)


PC_NET, PC_BATCH = "784-256-10", 64  # the net of FabricPC's first example


def pc_time(work: Work) -> Finding:
    """PC's time against the fastest BP's on the same cores, for T of 8 and of 20, the T of FabricPC's first example."""
    body: list[tuple[Any, ...]] = []
    found: dict[int, Row] = {}
    files, processes = [], 0
    for T in (8, 20):
        case = Case.of_net(PC_NET, PC_BATCH)
        ratios, name = timed(work, case, PC(ALPHA, GAMMA, T), f"pc-{T}-{PC_NET}")
        found[T], processes = ratios["best-bp"], int(ratios["best-bp"]["processes"])
        files.append(name)
        for one, pair in ratios.items():
            body.append(
                (T, one, f"{pair['ratio']:.3g}", f"{pair['low']:.3g} to {pair['high']:.3g}", f"{(2 * T + 1) / 3:.3g}",
                 f"{pair['execution']} {pair['workers']}, {scaled(pair['median'])}",
                 f"{pair['other_execution']} {pair['other_workers']}, {scaled(pair['other_median'])}")
            )  # fmt: skip
    evidence: dict[str, Any] = {
        "table": (("T", "denominator", "PC ÷ BP", "95 %", "(2T + 1) ÷ 3", "PC by", "BP by"), *body),
        "seeds": processes, "files": tuple(files),
    }  # fmt: skip
    said = f"At {PC_NET}, batches of {PC_BATCH}, PC takes " + " and ".join(
        f"{_said(pair)} of the time of the fastest BP with T = {T} (products: {(2 * T + 1) / 3:.3g})"
        for T, pair in found.items()
    )
    fits = [T for T, pair in found.items() if pair["low"] <= 6 and pair["high"] >= 5]
    if len(fits) == len(found):
        return Finding(HOLDS, said, **evidence)
    if fits:
        return Finding(ONLY_IF, said, f"T is about {fits[0]}", **evidence)
    return Finding(FAILS, said, **evidence)


CLAIMS = (
    Claim(
        "figure-6", f"{IPC_PAPER}, Fig. 6",
        "On a CPU, one weight update of a net of 32 hidden layers of 1024 units is 10 times as fast with iPC as with "
        "BP.",
        "a ratio to BP on one core above a tenth (of one to the fastest BP on the same cores it is a condition)",
        tenfold, "measured",
    ),
    Claim(
        "figure-6-small", f"{IPC_PAPER}, Appendix C.4",
        "Communication between threads makes iPC slower than BP on small architectures (64 units and fewer).",
        "a ratio below 1 at 64 units", small_nets, "measured",
    ),
    Claim(
        "pc-time", "FabricPC, its documentation",
        "PC takes five to six times BP's time.",
        "a ratio whose interval does not reach 5 to 6", pc_time, "measured",
    ),
)  # fmt: skip
