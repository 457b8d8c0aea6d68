"""Cells and contenders as JSON: for fresh processes, for ranks, and for peers."""

from dataclasses import asdict
from typing import Any

from ..algorithms.registry import algorithm_from_json, algorithm_to_json
from .case import Case
from .contenders import Contender


def case_to_json(case: Case) -> dict[str, Any]:
    """The fields of a cell."""
    return asdict(case)


def case_from_json(held: dict[str, Any]) -> Case:
    """The cell of ``case_to_json``."""
    return Case(**held)


def contender_to_json(contender: Contender) -> dict[str, Any]:
    """The fields of a contender."""
    return {**vars(contender), "algorithm": algorithm_to_json(contender.algorithm)}


def contender_from_json(held: dict[str, Any]) -> Contender:
    """The contender of ``contender_to_json``; InputError where its algorithm is not known here."""
    return Contender(**{**held, "algorithm": algorithm_from_json(held["algorithm"])})
