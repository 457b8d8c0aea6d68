"""A report as one JSON document (``pcsim-report/1``), for other programs; docs/reference/files.md has its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..results.files import Results
from ..results.modes import Modes
from ..results.pairs import HEADLINE, Cell, pairs
from ..results.statistics import Ledger
from ..results.verdicts import DIFFERENCE
from .promises import worst_and_median
from .ratios import summary
from .words import definition, machine

SCHEMA = "pcsim-report/1"

_SIDE = ("execution", "variant", "backend", "workers", "ranks", "chosen", "smm", "smm_workers", "roofline")


def document(
    results: Results, denominator: str = HEADLINE, difference: float = DIFFERENCE, ledger: Ledger | None = None
) -> str:
    """The document. Raises :class:`InputError` where no cell has a ratio."""
    found = pairs(results, denominator, difference, ledger.ratios if ledger else None)
    median, worst = worst_and_median(found) or (None, None)
    held = {
        "schema": SCHEMA,
        "source": results.path.name,
        "machine": machine(results),
        "time": results.context.get("time"),
        "definition": definition(denominator, results),
        "denominator": denominator,
        "difference": difference,
        "ledger": ledger and {"invocations": ledger.invocations, "sigma": ledger.ratios.variance**0.5},
        "resolves": {"median": median, "worst": worst},
        "summary": summary(results, denominator, difference, ledger)[1:],
        "pairs": [_pair(pair) for pair in found],
    }
    try:
        return json.dumps(held, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise InputError(f"{results.path}: has a ratio that is no finite number") from None


def _pair(pair: Mapping[str, Any]) -> dict[str, Any]:
    several = pair["processes"] > 1
    ends = None if pair["low"] is None else [pair["low"], pair["high"]]
    found = {name: pair[name] for name in (*Cell._fields, "algorithm", "ratio")}
    found |= {
        "rerun_interval": ends if several else None,
        "ratio_interval": [pair["mean_low"], pair["mean_high"]] if several else None,
        "within_one_run": None if several else ends,
        "processes": pair["processes"],
        "basis": pair["basis"],
        "verdict": pair["verdict"],
        "resolves": pair["resolves"],
        "p": pair["p"],
        "unsteady": pair["unsteady"],
        "smm_ratio": pair["smm_ratio"],
        "counted": pair["counted"],
    }
    return found | {"ours": _side(pair, ""), "other": _side(pair, "other_")}


def _side(pair: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    modes: Modes | None = pair[f"{prefix}modes"]
    found = {"seconds": pair[f"{prefix}median"]} | {name: pair[f"{prefix}{name}"] for name in _SIDE}
    return found | {"modes": modes and modes._asdict()}
