"""What every algorithm has: a learning rate, an optimiser, a calendar, and the checks of its arguments."""

import math
from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import Any, ClassVar

from ..checks import is_number, shown, whole_number
from ..errors import InputError
from ..net.network import Network
from ..schedule.builders import check_memory, task_graph
from ..schedule.calendar import Calendar
from ..schedule.orthogonal import orthogonalised
from ..schedule.tasks import TaskGraph
from .rates import Rate, checked_rate

# Numbers kept of each weight.
MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2, "nadamw": 2, "muon": 1}
OPTIMIZERS = tuple(MOMENTS)

# Fields that are numbers above 0, or of at least 0, of whichever algorithm has them; per step, those that may have a
# number for each step of a batch.
RATES, FROM_ZERO = ("alpha", "gamma", "precision"), ("momentum", "weight_decay", "value_momentum")
PER_STEP = ("gamma", "precision")


class Algorithm(ABC):
    """What every algorithm has: ``alpha``, the rate of weight updates, and an ``optimizer``. ``name`` is for files and
    commands, ``title`` for people.

    With g the step of steepest descent (CONTRACT's, without alpha), m and v 0 at first, the optimisers are

    - ``sgd``: ``W += alpha * g``;
    - ``momentum``: ``m = momentum * m + g; W += alpha * m`` (Sutskever et al. 2013, as ``torch.optim.SGD`` has it);
    - ``nesterov``: the same m, ``W += alpha * (g + momentum * m)``;
    - ``adam``: Kingma and Ba, arXiv:1412.6980, Algorithm 1, with beta_1 = ``momentum``, beta_2 = 0.999, epsilon = 1e-8;
    - ``adamw``: the same, and ``W -= alpha * weight_decay * W`` apart from it (Loshchilov and Hutter, arXiv:1711.05101,
      Algorithm 2);
    - ``nadamw``: AdamW with Nesterov's momentum (Dozat 2016, ICLR workshop, Algorithm 8, its momentum constant);
    - ``muon``: ``m = momentum * m + g``, and ``W += alpha * sqrt(max(1, rows / columns)) * X``, where X is
      ``g + momentum * m`` with its singular values brought near 1 by five Newton-Schulz iterations; decay as in AdamW
      (K. Jordan et al. 2024, kellerjordan.github.io/posts/muon). A bias is a matrix of one column. It needs whole
      matrices, so layers cannot be shared out by rows or samples.

    ``weight_decay`` of all others is the L2 penalty ``weight_decay / 2 * W**2``: ``g -= weight_decay * W`` before
    anything else, as in PyTorch; weights and biases alike. A class of another package need not have these two fields.
    ``backends``: which engines execute it.
    """

    backends: ClassVar[tuple[str, ...]] = ("numpy", "threads", "mpi")
    name: ClassVar[str]
    title: ClassVar[str]
    alpha: float
    optimizer: str
    momentum: float = 0.9
    weight_decay: float = 0.0
    __dataclass_fields__: ClassVar[dict[str, Any]]  # every algorithm is a frozen dataclass

    @abstractmethod
    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """When values and weights of a net of that depth change.

        ``steps_per_batch``: for how many weight updates an algorithm stays on a batch that would stay for ever, as
        iPC does; others leave it alone.
        """

    @property
    def chained(self) -> bool:
        """Whether within a step the layers wait for one another, as in backprop: there are no values that relax."""
        return self._given_calendar(1).chained

    @property
    def steps(self) -> int:
        """How many steps, or sweeps, for each weight update were chosen, where they can be: T of PC; else 1."""
        return int(getattr(self, "T", 1))

    @property
    def layered(self) -> bool:
        """Whether its layers can work side by side, each on a worker, and so need no other way to share the work: BP's
        cannot, and asynchronous BP counts as an execution of BP."""
        return not self.chained

    @property
    def orthogonal(self) -> bool:
        """Whether weight updates need a layer's whole gradient and products of their own: Muon's do."""
        return self.optimizer == "muon"

    def idle(self, field: str) -> str | None:
        """Why that field changes nothing beside the others as they are; None where it does."""
        return "the optimizer sgd has no momentum" if field == "momentum" and self.optimizer == "sgd" else None

    def prepared(self, network: Network) -> Network:
        """The net with all matrices beside its layers that the algorithm needs."""
        return network

    def checked_calendar(self, depth: int, steps_per_batch: int | None = None, start: str = "forward") -> Calendar:
        """The calendar, if it keeps all rules; InputError, in one line, if it breaks one. ``start``: where the values
        of a new batch come from, of whatever stays on a batch for ``steps_per_batch`` updates (others leave it alone).
        """
        depth = whole_number("depth", depth)
        check_memory(2 * depth, 1)  # of one update at least: a calendar of a depth beyond all bounds is never asked for
        self._check_fields()
        calendar = self.calendar_from(depth, steps_per_batch, start)
        try:
            calendar.check(depth)
        except InputError as error:
            raise InputError(f"calendar of {self.title} at depth {depth}: {error}") from None
        if calendar.swept:
            return calendar
        if calendar.chained == isinstance(self, PredictiveCoding):
            why = "values that move cannot be chained" if calendar.chained else "only a PredictiveCoding moves values"
            raise InputError(f"calendar of {self.title}: {why}")
        return calendar

    def calendar_from(self, depth: int, steps_per_batch: int | None = None, start: str = "forward") -> Calendar:
        """The same, unchecked."""
        calendar = self._given_calendar(depth, steps_per_batch)
        if start == "forward" or steps_per_batch is None or not self._given_calendar(depth).endless:
            return calendar
        return replace(calendar, start=start)

    def tasks(
        self, depth: int, steps: int = 8, steps_per_batch: int | None = None, start: str = "forward"
    ) -> TaskGraph:
        """The task graph of ``steps`` complete weight updates of a net of that depth, on one batch where the calendar
        says no end of it and ``steps_per_batch`` neither, each with such a ``start``. InputError for a graph too large
        for the memory at hand."""
        depth, steps = whole_number("depth", depth), whole_number("updates", steps)
        if steps_per_batch is not None:
            steps_per_batch = whole_number("steps_per_batch", steps_per_batch)
        check_memory(2 * depth * steps, steps)  # at least, as below
        graph = task_graph(self.name, self.checked_calendar(depth, steps_per_batch, start), depth, steps)
        return orthogonalised(graph) if self.orthogonal else graph

    def steady_tasks(self, depth: int, steps_per_batch: int | None = None, start: str = "forward") -> TaskGraph:
        """A task graph long enough for the counts of the steady state: one period in the middle, updates around it."""
        calendar = self.checked_calendar(depth, steps_per_batch, start)
        periods = -(-calendar.lead(depth) // calendar.period) or calendar.waits  # in which a start is under way
        return self.tasks(depth, 2 * periods * calendar.period_updates + 1, steps_per_batch, start)

    def _given_calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """What ``calendar``, perhaps somebody else's, gives; InputError unless that is a Calendar."""
        try:
            calendar = self.calendar(depth, steps_per_batch)
        except (InputError, MemoryError):
            raise
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "")
            raise InputError(f"calendar of {self.title} at depth {depth}: {type(error).__name__}: {reason}") from error
        if not isinstance(calendar, Calendar):
            raise InputError(f"{self.title} must give a pcsim.Calendar, not {calendar!r:.60}")
        return calendar

    def _check_fields(self) -> None:
        """InputError for a rate that is not positive, an unknown optimiser, and whatever could not stand in a file."""
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if name in RATES:
                checked_rate(name, value, name in PER_STEP)
            elif name in FROM_ZERO:
                _fraction(name, value)
            elif not (value is None or isinstance(value, bool | int | float | str)):
                raise InputError(
                    f"{self.title}: {name} must be a number, a text, a truth value or None, not {shown(value)}"
                )
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer {self.optimizer!r} is unknown: choose from {', '.join(OPTIMIZERS)}")
        if self.optimizer == "sgd" and self.momentum != Algorithm.momentum:
            raise InputError("optimizer 'sgd' has no momentum: choose momentum or nesterov")

    def __post_init__(self) -> None:
        for field in fields(self):  # NumPy's numbers become Python's
            name = field.name
            if name in RATES:
                object.__setattr__(self, name, checked_rate(name, getattr(self, name), name in PER_STEP))
            elif name in FROM_ZERO:
                object.__setattr__(self, name, _fraction(name, getattr(self, name)))
        self._check_fields()


def _fraction(name: str, value: Any) -> float:
    """``value`` as Python's number if it is one of at least 0, momentum below 1; else InputError."""
    most, rule = (1.0, " and below 1") if name.endswith("momentum") else (math.inf, "")
    if not is_number(value) or not 0 <= float(value) < most:
        raise InputError(f"{name} must be a finite number of at least 0{rule}, not {shown(value)}")
    return value if isinstance(value, int) else float(value)


class PredictiveCoding(Algorithm):
    """PC in one of its calendars: ``gamma`` is the rate of value updates, ``precision`` weighs the output's error.

    Either may be a tuple: a number for each step of a batch, from its start on, the last for all further steps
    (``rates.at_step``). ``value_momentum`` keeps a share of each value update for the next on the same batch.
    """

    @property
    @abstractmethod
    def gamma(self) -> Rate:
        """Rate of the value updates."""

    @property
    @abstractmethod
    def precision(self) -> Rate:
        """Weight of the output layer's error; the hidden layers' is 1."""

    @property
    def value_momentum(self) -> float:
        """m in ``v[l] = m v[l] + (force on x[l])``, ``x[l] += gamma v[l]`` (Polyak 1964); v is 0 when a batch begins.
        The force is what gamma is multiplied with in Eq. 6. 0: the plain value update."""
        return 0.0
