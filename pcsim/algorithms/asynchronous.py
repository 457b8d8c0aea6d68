"""Backprop in a pipeline that never waits: every layer works on a batch of its own, with gradients that come late."""

from dataclasses import KW_ONLY, dataclass, fields
from typing import ClassVar

from ..checks import is_whole, shown
from ..errors import InputError
from ..schedule.calendar import Calendar, Stage
from .backprop import BP
from .common import Algorithm

PIPELINE_ASYNC = "pipeline-async"  # its execution: it changes what is learnt, so it is none of those of exact BP

WEIGHTS = ("current", "stashed", "two-versions")


@dataclass(frozen=True)
class AsyncBP(BP):
    """Asynchronous BP (PipeDream, Narayanan et al. 2019; Kosson et al. 2020): one batch per layer is under way.

    In slot s layer l predicts for batch s - l, and back-projects and updates for batch s - (2(L-1) - l), so its
    gradients are ``2(L-1-l)`` batches late. With one layer it is BP. In files it is ``bp`` with the execution
    ``pipeline-async``; ``pcsim.BP`` with that execution stands for this class with its defaults.

    - ``weights``: with which weights the back-projection is made: ``"current"``, those of the slot; ``"stashed"``,
      those with which the batch was predicted (PipeDream), which are kept for each batch under way; or
      ``"two-versions"`` (PipeDream-2BW, Narayanan et al. 2021): all of a batch with the weights before the last update,
      so that the delay is 1 update in every layer, for which ``accumulate`` must be at least ``2(L-1)``
    - ``accumulate``: batches whose gradients make one weight update, their sum
    - ``weight_prediction``: predict with ``W + D (W - W')``, W' being the weights before the last update and D the
      delay in updates (linear weight prediction, Kosson et al. 2020, in its form of weights)
    - ``spike_compensation``: with the optimiser ``"momentum"`` m, ``v = m v + g`` and
      ``W += alpha (m**D v + (1 - m**D) / (1 - m) g)``: a gradient that comes D updates late does at once what momentum
      would have made of it in the meantime (Kosson et al. 2020)
    - ``delay_rates``: K of PipeMare (Yang et al. 2021, Eq. 5): update k has the rate ``alpha / D**(1 - min(k/K, 1))``,
      k from 0 on, where D is above 1; 0 for one rate at every depth
    """

    name: ClassVar[str] = "bp-async"
    title: ClassVar[str] = "async BP"
    _: KW_ONLY
    weights: str = "current"
    accumulate: int = 1
    weight_prediction: bool = False
    delay_rates: int = 0
    spike_compensation: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights not in WEIGHTS:
            raise InputError(f"weights must be one of {', '.join(WEIGHTS)}, not {shown(self.weights)}")
        for name, least in (("accumulate", 1), ("delay_rates", 0)):
            if not is_whole(getattr(self, name), least):
                value = shown(getattr(self, name))
                raise InputError(f"{name} must be a whole number of at least {least}, not {value}")
        for name in ("weight_prediction", "spike_compensation"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be True or False, not {shown(getattr(self, name))}")
        if self.spike_compensation and self.optimizer != "momentum":
            raise InputError(f"spike_compensation is for the optimizer momentum, not {self.optimizer}")
        if self.weight_prediction and self.weights == "two-versions":
            raise InputError(
                "weight_prediction is for weights current or stashed: two versions predict with the older one"
            )

    @property
    def keeps_before(self) -> bool:
        """Whether the weights before the last update are used again."""
        return self.weight_prediction or self.weights == "two-versions"

    @property
    def label(self) -> str:
        """Its title with the options that are not as usual, for learning curves."""
        parts = [] if self.weights == "current" else [self.weights]
        parts += [f"{self.accumulate} batches"] if self.accumulate > 1 else []
        parts += ["prediction"] * self.weight_prediction + ["compensation"] * self.spike_compensation
        parts += [f"K={self.delay_rates}"] if self.delay_rates else []
        return f"{self.title} ({', '.join(parts)})" if parts else self.title

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth; InputError where two versions of the weights are too few for it."""
        if self.weights == "two-versions" and self.accumulate < 2 * (depth - 1):
            raise InputError(
                f"two versions of the weights need accumulate of at least 2(L-1) = {2 * (depth - 1)} batches per update"
                f" at depth {depth}, not {self.accumulate}"
            )
        all_layers = tuple(range(depth))
        waiting = Stage(move=False)
        last = Stage(move=False, update=all_layers, completes=True)
        return Calendar((*[waiting] * (self.accumulate - 1), last), chained=True, overlapped=True)

    def lag(self, l: int, depth: int) -> int:
        """Batches between a prediction of layer l and the update from it."""
        return 2 * (depth - 1 - l)

    def delay(self, l: int, depth: int) -> float:
        """The same in weight updates."""
        return 1.0 if self.weights == "two-versions" else self.lag(l, depth) / self.accumulate

    def rate(self, l: int, depth: int, update: int) -> float:
        """By what ``alpha`` is multiplied in layer l at that weight update, counted from 0."""
        delay = self.delay(l, depth)
        if not self.delay_rates or delay <= 1:
            return 1.0
        return float(delay ** -(1 - min(update / self.delay_rates, 1)))


def asynchronous(algorithm: Algorithm, execution: str | None) -> tuple[Algorithm, str | None]:
    """Algorithm and execution, and if either says that BP is asynchronous, both do. InputError where they differ."""
    if isinstance(algorithm, AsyncBP):
        if execution not in (None, PIPELINE_ASYNC):
            raise InputError(f"{algorithm.title} has one execution, {PIPELINE_ASYNC}, not {shown(execution)}")
        return algorithm, PIPELINE_ASYNC
    if execution == PIPELINE_ASYNC:
        if type(algorithm) is not BP:
            raise InputError(f"{PIPELINE_ASYNC} is an execution of BP, not of {algorithm.title}")
        return AsyncBP(**{f.name: getattr(algorithm, f.name) for f in fields(algorithm) if f.init}), PIPELINE_ASYNC
    return algorithm, execution
