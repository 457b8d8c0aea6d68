"""What a claim is, and what an experiment finds of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError

HOLDS, FAILS, ONLY_IF, UNRESOLVED, UNTESTED = (
    "holds here",
    "fails here",
    "holds only if",
    "not resolved",
    "not tested here",
)

VERDICTS = (HOLDS, FAILS, ONLY_IF, UNRESOLVED, UNTESTED)


@dataclass(frozen=True)
class Finding:
    """A verdict; the ``sentence`` that gives its numbers; of ``holds only if`` the ``condition``; a ``table`` (header,
    then rows) as evidence; the ``seeds`` where chance enters (0 where it does not); ``files`` beside the finding that
    hold what was measured."""

    verdict: str
    sentence: str
    condition: str = ""
    table: tuple[tuple[Any, ...], ...] = ()
    seeds: int = 0
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InputError(f"a verdict is one of {', '.join(VERDICTS)}, not {self.verdict!r}")
        if bool(self.condition) != (self.verdict == ONLY_IF):
            raise InputError(f"a condition belongs to the verdict {ONLY_IF!r}, and to no other")
        if 0 < self.seeds < 3 and self.verdict not in (UNRESOLVED, UNTESTED):
            raise InputError(f"{self.seeds} seeds are too few for a verdict where chance enters: at least 3")


@dataclass(frozen=True)
class Work:
    """Where an experiment runs: the ``folder`` of its files; ``quick``, whether a first look will do; whom to tell how
    far it is."""

    folder: Path
    quick: bool = False
    on_progress: Callable[[str, int, int], None] = field(default=lambda text, done, total: None)


@dataclass(frozen=True)
class Claim:
    """``id`` in lower case; where it stands (``source``: paper, figure, table, theorem); what it says in one sentence;
    what would refute it; the ``experiment``, None where there is none here."""

    id: str
    source: str
    statement: str
    refuted_by: str
    experiment: Callable[[Work], Finding] | None = None
    kind: str = "counted"  # or computed, measured, trained

    def tried(self, work: Work) -> Finding:
        """What the experiment finds."""
        if self.experiment is None:
            return Finding(UNTESTED, self.refuted_by)
        return self.experiment(work)
