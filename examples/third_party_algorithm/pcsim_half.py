"""An algorithm from outside pcsim: iPC whose weights update at every second step.

After pip install . pcsim knows it by name: pcsim bench --algorithms half bp. Its own test calls
pcsim.testing.check_algorithm(HalfIPC()).
"""

from dataclasses import dataclass
from typing import ClassVar

import pcsim


@dataclass(frozen=True)
class HalfIPC(pcsim.PredictiveCoding):
    """alpha, gamma: rates of the weight and of the value updates; precision: weight of the output layer's error."""

    name: ClassVar[str] = "half"
    title: ClassVar[str] = "half iPC"
    alpha: float = 1e-4
    gamma: float = 0.5
    optimizer: str = "sgd"
    precision: float = 1.0

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> pcsim.Calendar:
        """Two steps in which values move; in the second all weights are updated too."""
        both = pcsim.Stage(update=tuple(range(depth)), completes=True)
        return pcsim.Calendar((pcsim.Stage(), both), repeats=steps_per_batch)
