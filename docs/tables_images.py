"""The table of convolutions and nets of a hundred layers."""

from pathlib import Path
from statistics import median
from typing import Any

from pcsim.results.files import read
from pcsim.tables import layout, scaled

IMAGES = Path(__file__).parents[1] / "benchmarks" / "results" / "images-2-cores.jsonl"

LIBRARIES = ("torch", "jax", "pcx")


def images_table() -> str:
    """Medians over the processes: iPC and BP in the fastest execution of each, and PyTorch."""
    times: dict[tuple[str, int], dict[tuple[str, str, int], list[tuple[float, float]]]] = {}
    for row in read(IMAGES).rows:
        if row["error"] is None and row["median"]:
            cell = times.setdefault((row["net"], row["batch"]), {})
            of = cell.setdefault((row["algorithm"], row["execution"], row["workers"]), [])
            of.append((row["median"], row["roofline"] or 0.0))
    body = []
    for (net, batch), cell in times.items():
        found = {at: (median(t for t, _ in of), median(share for _, share in of)) for at, of in cell.items()}

        def best(name: str, workers: int, library: bool = False, found: Any = found) -> tuple[float, float, str]:
            mine = [
                (*value, at[1])
                for at, value in found.items()
                if at[0] == name and at[2] == workers and (at[1] in LIBRARIES) == library
            ]
            return min(mine, default=(float("nan"), 0.0, ""))

        one, two, bp = best("ipc", 1), best("ipc", 2), min(best("bp", 1), best("bp", 2))
        torch = best("bp", 2, True)
        cells = [scaled(one[0]), f"{scaled(two[0])} ({two[2]})", f"{one[0] / two[0]:.2f}", f"{one[1]:.0%}"]
        cells += [f"{scaled(bp[0])} ({bp[2]})", f"{two[0] / bp[0]:.2f}"]
        cells += [f"{scaled(torch[0])}", f"{bp[0] / torch[0]:.2f}"] if torch[2] else ["–", "–"]
        body.append([f"{net}, batch {batch}", *cells])
    header = ["net", "iPC, 1 worker", "iPC, 2 workers", "1 ÷ 2", "share of products' rate", "best BP", "iPC ÷ BP"]
    return layout([*header, "PyTorch", "BP ÷ PyTorch"], body, "markdown")
