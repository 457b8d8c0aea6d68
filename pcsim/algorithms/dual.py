"""Dual propagation: two values for each layer, whose difference is the error that comes down."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from ..checks import is_number, is_whole, shown
from ..errors import InputError
from ..schedule.calendar import Calendar, Stage
from .common import Algorithm

MOST_SWEEPS = 500_000

ONCE = "incremental dual propagation sweeps once for each weight update"


@dataclass(frozen=True)
class DualProp(Algorithm):
    """Dual propagation (Høier, Staudt and Zach, arXiv:2302.01228), in odd-even half sweeps.

    Layer l has two values, ``x⁺ = ff + (1-a) fb`` and ``x⁻ = ff - a fb``; ff is what the layer below predicts from its
    mean activation ``a f(x⁺) + (1-a) f(x⁻)``, fb what the layer above sends back, ``d[l+1] @ W[l]``, of the difference
    ``d = f(x⁺) - f(x⁻)``. The output has ``d[L] = beta e``, and fb = d[L]. ``W[l]`` ascends along
    ``d[l+1].T @ mean[l] / beta``, BP's gradient as beta → 0. In a half sweep the layers of one parity take new values
    from neighbours of the other, which rest; the output's parity begins.

    - ``beta``: how far the output is pulled towards its target; at least 1e-4 in a net of float32, as differences of
      values drown in their rounding
    - ``a``: share of the value that is raised in the mean, 0 … 1
    - ``sweeps``: whole sweeps for each weight update, from a forward start; not to be given where it is incremental
    - ``incremental``: one sweep for each weight update, on values that are kept while the batch is the same; each layer
      updates in the half sweep in which the values above it move. The twin of iPC
    """

    name: ClassVar[str] = "dual"
    title: ClassVar[str] = "dual propagation"
    alpha: float = 1e-4
    optimizer: str = "sgd"
    _: KW_ONLY
    beta: float = 0.1
    a: float = 0.5
    sweeps: int = 4
    incremental: bool = False
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.beta) or self.beta <= 0:
            raise InputError(f"beta must be a finite number above 0, not {shown(self.beta)}")
        if not is_number(self.a) or not 0 <= self.a <= 1:
            raise InputError(f"a must be a number from 0 to 1, not {shown(self.a)}")
        if not is_whole(self.sweeps) or self.sweeps > MOST_SWEEPS:
            raise InputError(f"sweeps must be a whole number from 1 to {MOST_SWEEPS:,}, not {shown(self.sweeps)}")
        if not isinstance(self.incremental, bool):
            raise InputError(f"incremental must be True or False, not {shown(self.incremental)}")
        if self.incremental and self.sweeps != DualProp.sweeps:
            raise InputError(f"{ONCE}: leave sweeps out")
        for name in ("beta", "a"):  # NumPy's numbers become Python's
            object.__setattr__(self, name, float(getattr(self, name)))

    def idle(self, field: str) -> str | None:
        """Sweeps are not counted where there is one."""
        return ONCE if field == "sweeps" and self.incremental else super().idle(field)

    @property
    def steps(self) -> int:
        """Sweeps for each weight update."""
        return 1 if self.incremental else self.sweeps

    @property
    def label(self) -> str:
        """Its title with how often it sweeps, for learning curves."""
        return f"{self.title} ({'incremental' if self.incremental else f'{self.sweeps} sweeps'})"

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth: a stage is a half sweep."""
        odd, even = depth % 2, (depth + 1) % 2  # the output's parity first
        if self.incremental:
            stages = tuple(
                Stage(parity=parity, update=tuple(l for l in range(depth) if (l + 1) % 2 == parity), completes=last)
                for parity, last in ((odd, False), (even, True))
            )
            return Calendar(stages, repeats=steps_per_batch)
        half = Stage(parity=odd), Stage(parity=even)
        last = Stage(parity=even, update=tuple(range(depth)), completes=True)
        return Calendar((*half * (self.sweeps - 1), half[0], last))
