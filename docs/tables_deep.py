"""The table of nets of 128 layers: what they took to an accuracy, and what that would take with 64 workers."""

from pathlib import Path
from statistics import median
from typing import Any

from pcsim import BP, IPC, PC, Algorithm
from pcsim.net.named import outline
from pcsim.predict.machine_files import load
from pcsim.predict.nets import named_net
from pcsim.predict.rivals import Rivals
from pcsim.race.costs import cost_of_update
from pcsim.race.problems import problem
from pcsim.results.fields import CURVES
from pcsim.results.files import read
from pcsim.tables import layout, scaled

FILE = Path(__file__).parents[1] / "benchmarks" / "results" / "residual-128.jsonl"

MADE: dict[str, Any] = {
    "bp": lambda row: BP(row["alpha"], row["optimizer"]),
    "ipc": lambda row: IPC(row["alpha"], row["gamma"], row["optimizer"], row["precision"]),
    "pc": lambda row: PC(row["alpha"], row["gamma"], row["T"], row["optimizer"], row["precision"]),
}


def of_server(algorithm: Algorithm, row: dict[str, Any]) -> float:
    """Seconds of an update on the preset of 64 cores."""
    changing = row["steps_per_batch"] or 1
    start = row.get("start", "forward") if algorithm.name == "ipc" else "forward"
    net = named_net(row["net"], outline(row["net"]), row["batch_size"], 4, changing, start)
    rivals = Rivals(net, load("server-64"), optimizer=row["optimizer"])
    if algorithm.name == "bp":
        return min(found.seconds for found in rivals.backprops(64))
    return rivals.layers_on_workers(algorithm, 64).seconds


def deep_table() -> str:
    """Medians over the seeds; of who did not get there, how far it came."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in read(FILE, CURVES).rows:
        groups.setdefault((row.get("parameterisation", "sp"), row["algorithm"], row["alpha"]), []).append(row)
    residual, body = problem("residual"), []
    for (how, name, alpha), rows in groups.items():
        first, algorithm = rows[0], MADE[name](rows[0])
        settings = {key: first[key] for key in ("batch_size", "steps_per_batch") if first[key]}
        cost = cost_of_update(algorithm, residual, settings | {"start": first.get("start", "forward")})
        updates = median(row["whole"]["updates"] for row in rows)
        there = sum(row["stopped_early"] for row in rows)
        seen = [row["evaluations"]["test_accuracy"] for row in rows]
        best = median([scores[-1] if scores and scores[-1] is not None else 0.1 for scores in seen])
        seconds = median(row["whole"]["seconds"] for row in rows)
        costs = ["–"] * 6
        if 2 * there > len(rows):
            counts = (cost["samples"], cost["smm"], cost["span"])
            costs = [f"{updates:,.0f}", *(f"{updates * each:,.0f}" for each in counts), scaled(seconds)]
            costs.append(scaled(updates * of_server(algorithm, first)))
        of = f"{there} of {len(rows)}"
        body.append([{"mupc": "muPC", "sp": "standard"}[how], algorithm.title, f"{alpha:g}", of, *costs, f"{best:.1%}"])
    header = ["", "", "rate", "reached 80 %", "updates", "samples", "SMMs", "span", "on one core", "`server-64`"]
    return layout([*header, "test accuracy"], body, "markdown")
