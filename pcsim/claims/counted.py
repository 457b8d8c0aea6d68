"""Claims that task graphs decide: nothing is timed, and no chance enters."""

import math
from typing import Any

from ..algorithms import BP, IPC, PC, ZIL, AsyncBP
from ..schedule.counts import figure_5, table4
from ..schedule.in_flight import products_in_flight
from ..schedule.scan import Scan
from .claim import FAILS, HOLDS, ONLY_IF, Claim, Finding, Work

IPC_PAPER = "Salvatori et al. 2022, arXiv:2212.00720"

DEPTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


def _depths(work: Work) -> tuple[int, ...]:
    return DEPTHS[:6] if work.quick else DEPTHS


def table_4(work: Work) -> Finding:
    """Counts against the formulas."""
    T, body, right = 8, [], True
    for row in table4(_depths(work), [BP(), PC(T=T), ZIL(), IPC()]):
        L, name = row["depth"], row["algorithm"]
        said = {"bp": (2 * L - 1, 2 * L - 1), "pc": ((2 * L - 1) * T, 2 * T)}
        said |= {"zil": ((2 * L - 1) * (L - 1), 2 * (L - 1)), "ipc": (2 * L - 1, 2)}
        found = row["mm"], row["smm"]
        right = right and found == said[name]
        body.append((name, L, *found, *said[name]))
    header = ("algorithm", "depth", "MM", "SMM", "MM as published", "SMM as published")
    sentence = f"All {len(body)} counts of task graphs at depths {DEPTHS[0]} to {max(_depths(work))} are as published"
    if not right:
        sentence = "Some counts of task graphs are not as published"
    return Finding(HOLDS if right else FAILS, sentence, table=(header, *body))


def theorem_3_1(work: Work) -> Finding:
    """SMMs, and products weighed by their samples, where BP may split the batch: into single samples on a worker for
    each layer, or over P workers in any way. There BP needs at least (2L − 1) max(B ÷ P, 1) products of a sample in a
    row, which it has by samples on workers, and iPC no fewer than max((2L − 1) B ÷ P, 2)."""
    batches, many, body = (1, 16, 250), (1, 4, 16), []
    for L in _depths(work):
        smm = BP().steady_tasks(L).smm / IPC().steady_tasks(L).smm
        spans = [products_in_flight(L, B, min(L, B)) / (2 * B) for B in batches]
        most = [(2 * L - 1) * max(1 / k, 1) / max((2 * L - 1) / k, 2) for k in many]
        body.append((L, f"{smm:g}", *(f"{span:.3g}" for span in spans), *(f"{found:.3g}" for found in most)))
    L = max(_depths(work))
    at_250 = products_in_flight(L, 250, L) / 500
    return Finding(
        ONLY_IF,
        "iPC takes 2 SMMs at every depth and BP 2L − 1. Weighed by samples, BP ÷ iPC is about 1 + (L − 1) ÷ B "
        f"on a worker for each layer ({at_250:.3g} at {L} layers and a batch of 250), and 1 on as many workers as "
        "samples or fewer, over which BP splits its batch; it grows to (2L − 1) ÷ 2 with a worker for each layer of "
        "each sample",
        "a product counts as one, however many samples it has, or there are more workers than samples",
        (
            (
                "depth", "BP ÷ iPC in SMMs", *(f"in span, B = {B}" for B in batches),
                *(f"at most, {k} B workers" if k > 1 else "at most, B workers" for k in many),
            ),
            *body,
        ),
    )  # fmt: skip


def figure_5_claim(work: Work) -> Finding:
    """Updates within six backward SMMs of a net of three layers."""
    ipc, bp = figure_5(IPC().tasks(3, 12)), figure_5(BP().tasks(3, 6))
    right = (ipc, bp) == ((5, 2), (3, 0))
    return Finding(
        HOLDS if right else FAILS,
        f"iPC makes {ipc[0]} full and {ipc[1]} partial updates, BP {bp[0]} full ones",
        table=(("", "full", "partial"), ("iPC", *ipc), ("BP", *bp)),
    )


def lower_bound(work: Work) -> Finding:
    """Makespans of PC and its kin against BP's, on one worker and on as many as layers."""
    body, one, many = [], [], []
    for L in _depths(work):
        graphs = {"PC, T = 8": PC(T=8), "Z-IL": ZIL(), "iPC": IPC()}
        bp = BP().steady_tasks(L)
        for name, algorithm in graphs.items():
            graph = algorithm.steady_tasks(L)
            alone, shared = graph.makespan(1) / bp.makespan(1), graph.makespan(L) / bp.makespan(L)
            one.append(alone)
            many.append((name, L, shared))
            body.append((name, L, f"{alone:.3g}", f"{shared:.3g}"))
    least = min(many, key=lambda found: found[2])
    return Finding(
        ONLY_IF if least[2] < 1 <= min(one) else HOLDS if min(one) >= 1 else FAILS,
        f"On one worker none makes fewer products than BP (at least {min(one):.3g} times as many); with a worker for "
        f"each layer {least[0]} takes {least[2]:.3g} of BP's products in a row at depth {least[1]}",
        "one worker makes all products" if least[2] < 1 <= min(one) else "",
        (("algorithm", "depth", "÷ BP, one worker", "÷ BP, a worker a layer"), *body),
    )


def pc_products(work: Work) -> Finding:
    """Products of PC ÷ BP with weight gradients and forward start counted."""
    body: list[tuple[Any, ...]] = []
    worst = 0.0
    for L in _depths(work):
        for T in (4, 8, 20):
            ratio = PC(T=T).steady_tasks(L).mm_full / BP().steady_tasks(L).mm_full
            said = (2 * T + 1) / 3
            worst = max(worst, abs(ratio / said - 1))
            body.append((L, T, f"{ratio:.3g}", f"{said:.3g}"))
    return Finding(
        HOLDS if worst < 0.25 else FAILS,
        f"From the graphs it is within {worst:.0%} of that at all depths, and nearer the deeper the net",
        table=(("depth", "T", "PC ÷ BP, counted", "(2T + 1) ÷ 3"), *body),
    )


def scan(work: Work) -> Finding:
    """BP by cyclic reduction: products in a row, and flop."""
    width, body = 64, []
    rows = table4(_depths(work), [BP(), Scan()], width=width)
    by_depth: dict[int, dict[str, Any]] = {}
    for row in rows:
        by_depth.setdefault(row["depth"], {})[row["algorithm"]] = row
    for L, pair in by_depth.items():
        bp, other = pair["bp"], pair["bp-scan"]
        body.append((L, other["smm"], L + math.ceil(math.log2(L)), bp["smm"], f"{other['flops'] / bp['flops']:.3g}"))
    right = all(row[1] <= row[2] for row in body)
    return Finding(
        HOLDS if right else FAILS,
        f"At depth {body[-1][0]} it is {body[-1][1]} products in a row in place of {body[-1][3]}, and "
        f"{body[-1][4]} times BP's flop for one sample and {width} units: SMMs say nothing of sizes",
        table=(("depth", "SMM", "L + log₂ L", "SMM of BP", "flop ÷ BP's"), *body),
    )


def pipelines(work: Work) -> Finding:
    """Asynchronous BP's products in a row, delay and what it keeps."""
    rows = table4(_depths(work), [AsyncBP(), IPC()])
    body = [(r["algorithm"], r["depth"], r["smm"], r["delay"], r["held"]) for r in rows]
    right = all(row[2] == 2 for row in body)
    deepest = next(row for row in reversed(body) if row[0] == "bp-async")
    return Finding(
        HOLDS if right else FAILS,
        f"Both take 2 SMMs at every depth; asynchronous BP's first layer learns {deepest[3]:g} updates late and keeps "
        f"{deepest[4]:g} batches at depth {deepest[1]}, iPC's none and one",
        table=(("algorithm", "depth", "SMM", "delay", "held"), *body),
    )


def changing_batches(work: Work) -> Finding:
    """iPC that leaves each batch after T updates, with starts counted, against BP, per update and per batch. The
    output's error is at the first layer after L steps, so that in fewer a batch says nothing to some layers."""
    body: list[tuple[Any, ...]] = []
    per_batch, per_update = [], []
    for L in _depths(work):
        bp = BP().steady_tasks(L).smm_starts
        for T in sorted({1, -(-L // 2), L, 2 * L}):
            for start in ("forward", "pipelined"):
                smm = IPC().steady_tasks(L, T, start).smm_starts
                per_update.append(smm / bp)
                if T >= L:
                    per_batch.append((smm * T / bp, L, T, start))
                body.append((L, T, start, min(T, L), f"{smm:.3g}", f"{smm / bp:.3g}", f"{smm * T / bp:.3g}"))
    lost, kept = min(per_batch)[0] >= 1, max(per_update) < 1
    L = max(_depths(work))
    forward, pipelined = (next(x for x, *at in per_batch if at == [L, L, start]) for start in ("forward", "pipelined"))
    return Finding(
        ONLY_IF if lost and kept else HOLDS if lost else FAILS,
        f"At depth {L} and T = L a batch takes iPC {forward:.3g} times BP's products in a row with a forward start, "
        f"and {pipelined:.3g} with a pipelined one. Each of its T updates takes {forward / L:.2g} and "
        f"{pipelined / L:.2g} times as many as BP's only one",
        "products are counted by batch, each kept until the output's error has reached every layer, and not by update"
        if lost and kept
        else "",
        (
            ("depth", "T", "start", "layers reached", "SMM with starts", "÷ BP, per update", "÷ BP, per batch"),
            *body,
        ),
    )


def pc_5l_steps(work: Work) -> Finding:
    """PC with T = 5 L against BP."""
    body, right = [], True
    for L in _depths(work):
        pc, bp, ipc = (one.steady_tasks(L).smm for one in (PC(T=5 * L), BP(), IPC()))
        right = right and pc == 10 * L
        body.append((L, 5 * L, pc, bp, f"{pc / bp:.3g}", f"{pc / ipc:g}"))
    return Finding(
        HOLDS if right else FAILS,
        f"{body[-1][2]} products in a row at depth {body[-1][0]}: {body[-1][4]} times BP's on one worker for each "
        f"layer, {body[0][4]} times at depth {body[0][0]}, so PC waits longer than BP at every depth",
        table=(("depth", "T", "SMM of PC", "SMM of BP", "PC ÷ BP", "PC ÷ iPC"), *body),
    )


CLAIMS = (
    Claim(
        "table-4", f"{IPC_PAPER}, Table 4",
        "A weight update takes 2L − 1 MMs and SMMs in BP, (2L − 1) T and 2T in PC, (2L − 1)(L − 1) and 2(L − 1) in "
        "Z-IL, and 2L − 1 and 2 in iPC.",
        "a count of a task graph that differs", table_4,
    ),
    Claim(
        "theorem-3-1", f"{IPC_PAPER}, Theorem 3.1",
        "With the full batch, a weight update is O(1) for iPC and O(L) for BP, measured by SMMs.",
        "a span of BP, which may split its batch, that does not grow with L", theorem_3_1,
    ),
    Claim(
        "figure-5", f"{IPC_PAPER}, Fig. 5",
        "In a net of three layers iPC makes 5 full and 2 partial updates within 6 backward SMMs, BP 3 full ones.",
        "other numbers from the task graphs", figure_5_claim,
    ),
    Claim(
        "lower-bounded", "Zahid, Guo and Fountas 2023, Neural Computation 35(12)",
        "The time of predictive coding and its variants is lower bounded by that of backpropagation.",
        "a variant that takes fewer products in a row than BP", lower_bound,
    ),
    Claim(
        "pc-products", "FabricPC, its documentation",
        "PC costs (2T + 1) ÷ 3 of BP's products.",
        "a count that differs by more than a quarter", pc_products,
    ),
    Claim(
        "cyclic-reduction", "Danieli et al. 2023, DeepPCR",
        "Exact BP needs L + log₂ L products in a row when its backward pass is a cyclic reduction.",
        "a longer chain in the task graph", scan,
    ),
    Claim(
        "asynchronous-smm", "Kosson et al. 2020, arXiv:2003.11666; Narayanan et al. 2019 (PipeDream)",
        "BP in a pipeline that never flushes keeps every layer busy: 2 products in a row for each update, as iPC.",
        "a longer chain in the task graph", pipelines,
    ),
    Claim(
        "changing-batches", f"{IPC_PAPER}, Sec. 4",
        "With batches that change iPC loses its advantage in efficiency over BP, as errors are computed anew for each.",
        "fewer products in a row than BP's for a batch whose error reaches every layer", changing_batches,
    ),
    Claim(
        "pc-5l-steps", "arXiv:2601.20895",
        "PC takes 2T products in a row for a weight update, with T about 5L.",
        "a count of a task graph other than 10L", pc_5l_steps,
    ),
)  # fmt: skip
