"""Learning without errors from above: a loss of its own for every layer, or the output's error by fixed matrices."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from ..checks import is_whole, shown
from ..errors import InputError
from ..net.extras import FEEDBACK, HEADS
from ..net.losses import LOSSES
from ..net.network import Network
from ..schedule.calendar import FROM_HEADS, FROM_OUTPUT, Calendar, Stage
from .common import Algorithm

LOCAL_LOSSES = ("pred", "predsim")


@dataclass(frozen=True)
class Local(Algorithm):
    """Local losses (Nøkland and Eidnes, arXiv:1901.06656): nothing comes down from the layer above.

    Layer l < L - 1 has a linear head ``V[l]``, (n[L], n[l+1]); ``W[l]`` and ``V[l]`` descend on the loss of
    ``f(x[l+1]) @ V[l].T`` against the targets. The last layer has the net's own loss. A layer passes values on as soon
    as it has predicted them, so in slot s layer l works on batch s - l, with weights that have learnt from every batch
    before: no gradient is late.

    - ``loss``: ``"pred"``, the head's loss alone, or ``"predsim"``, for batches of at least 2: 1 % of it, and 99 % of
      the squared differences between the cosine similarities of samples' activations and of their targets
    - ``head``: the loss of the heads, ``"squared"`` or ``"cross-entropy"``; None for that of the net
    - ``head_seed``: heads that the net does not bring are drawn from it
    """

    backends: ClassVar[tuple[str, ...]] = ("numpy", "threads", "mpi")
    layered: ClassVar[bool] = True
    name: ClassVar[str] = "local"
    title: ClassVar[str] = "local losses"
    alpha: float = 1e-4
    optimizer: str = "sgd"
    _: KW_ONLY
    loss: str = "pred"
    head: str | None = None
    head_seed: int = 0
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in LOCAL_LOSSES:
            raise InputError(f"loss must be one of {', '.join(LOCAL_LOSSES)}, not {shown(self.loss)}")
        if self.head is not None and self.head not in LOSSES:
            raise InputError(f"head must be one of {', '.join(LOSSES)}, or None, not {shown(self.head)}")
        _check_seed("head_seed", self.head_seed)

    @property
    def label(self) -> str:
        """Its title with the options that are not as usual, for learning curves."""
        parts = [] if self.loss == "pred" else [self.loss]
        parts += [f"{self.head} heads"] if self.head else []
        return f"{self.title} ({', '.join(parts)})" if parts else self.title

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth."""
        stage = Stage(move=False, update=tuple(range(depth)), completes=True)
        return Calendar((stage,), chained=True, overlapped=True, errors=FROM_HEADS)

    def prepared(self, network: Network) -> Network:
        """The net with its heads, or with drawn ones."""
        return network.with_extras(HEADS, self.head_seed)


@dataclass(frozen=True)
class DFA(Algorithm):
    """Direct feedback alignment (Nøkland, arXiv:1609.01596): every layer hears of the output's error at once.

    ``delta[l+1] = (B[l] e) * f'(x[l+1])`` with e the error of the output and ``B[l]``, (n[l+1], n[L]), fixed. In slot s
    layer l predicts for batch s - l, and all layers update for batch s - (L-1): layer l's gradient is L - 1 - l
    updates late.

    - ``feedback_seed``: matrices that the net does not bring are drawn from it
    """

    backends: ClassVar[tuple[str, ...]] = ("numpy", "threads", "mpi")
    layered: ClassVar[bool] = True
    name: ClassVar[str] = "dfa"
    title: ClassVar[str] = "DFA"
    alpha: float = 1e-4
    optimizer: str = "sgd"
    _: KW_ONLY
    feedback_seed: int = 0
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_seed("feedback_seed", self.feedback_seed)

    def calendar(self, depth: int, steps_per_batch: int | None = None) -> Calendar:
        """The calendar of a net of that depth."""
        stage = Stage(move=False, update=tuple(range(depth)), completes=True)
        return Calendar((stage,), chained=True, overlapped=True, errors=FROM_OUTPUT)

    def prepared(self, network: Network) -> Network:
        """The net with its feedback, or with a drawn one."""
        return network.with_extras(FEEDBACK, self.feedback_seed)


def _check_seed(name: str, seed: object) -> None:
    if not is_whole(seed, 0):
        raise InputError(f"{name} must be a whole number of at least 0, not {shown(seed)}")
