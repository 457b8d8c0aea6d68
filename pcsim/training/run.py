"""What a training leaves, and how far it has come."""

import time
from dataclasses import dataclass, field

import numpy as np

from ..net.network import Network
from ..schedule.timeline import Timeline
from .evaluation import Evaluations

Array = np.ndarray


@dataclass
class Run:
    """What a training run leaves, and, as it stands then, what ``on_record`` sees.

    - ``network``: a trained copy; ``values``: x[l] at the end, L + 1 arrays (B, n[l]); both after ``updates`` updates
    - ``recorded``: how many updates had been made at each record; ``energy``: F before the update that followed;
      ``loss``: that of a forward pass over all data (squared: ``1/2 sum (mu[L] - y)**2``); ``recorded_seconds``:
      training seconds until then
    - ``updates``, ``seconds``: totals, without compilation, records, evaluations and checkpoints
    - ``final_loss``: after all ``updates``, where losses are recorded
    - ``evaluations``: loss and accuracy on rows that are not trained on; ``best``: the net of the lowest validation
      loss, where there is a ``patience``; ``stopped_early``: whether that had run out, or
      ``until_accuracy`` was reached
    - ``diverged``: the first weight update in which numbers were not finite, or None
    - ``timeline``: of the last updates, if traced
    """

    network: Network
    values: list[Array]
    updates: int = 0
    seconds: float = 0.0
    recorded: list[int] = field(default_factory=list)
    energy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    recorded_seconds: list[float] = field(default_factory=list)
    final_loss: float | None = None
    evaluations: Evaluations = field(default_factory=Evaluations)
    best: Network | None = None
    stopped_early: bool = False
    diverged: int | None = None
    timeline: Timeline | None = None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while ``train`` was training: ``run`` is the run as it stood when it was last recorded."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


@dataclass
class Progress:
    """How far a training has come: ``updates`` made of ``total``; ``loss``, the last recorded one, and ``evaluations``
    as they stand."""

    updates: int
    total: int
    loss: float | None
    evaluations: Evaluations
    began: float = field(default_factory=time.monotonic)
    first: int = 0

    @property
    def seconds_left(self) -> float | None:
        """At the pace since the first updates, records and evaluations included; None until then."""
        made = self.updates - self.first
        return (time.monotonic() - self.began) / made * (self.total - self.updates) if made else None
