"""Where batches, feedback and errors lie in an engine of direct feedback alignment, and what its loop is given."""

from collections.abc import Callable

import numpy as np

from ..algorithms import DFA
from ..errors import InputError
from ..kernels.layers.weights import PLAIN
from ..kernels.machine.memory import side_by_side
from ..net.network import Network
from .layout import APART, rule_of
from .loops.arguments import Arrays, Options
from .loops.feedback import Alignment
from .rings import Flights, RingLayout
from .streams import LONGEST_WAVE, HeadedLayout

Array = np.ndarray


class FeedbackLayout(HeadedLayout, RingLayout):
    """Layers on workers, beside each but the last its feedback, transposed, and of each layer's values a ring. All
    errors are in one array: a ring of the output's, and for each worker those of one layer."""

    lag = 1

    def __init__(self, network: Network, batch: int, workers: int, all_workers: int, place: int) -> None:
        self.longest = LONGEST_WAVE if batch == 1 else 1
        self.ahead = 2 * self.longest  # a worker may be a wave ahead of the one above it
        super().__init__(network, batch, workers, all_workers, place)
        self.errors_kept = self.depth  # when the last one is made, the first layer still needs those of depth - 2 more
        self.of_output = batch * self.classes
        self.own_errors_at = self._pages(self.errors_kept * self.of_output + self.gap)
        self.apart = self._pages(batch * int(self.wide.max()) + self.gap)

    def errors_of(self, flat: Array, l: int, worker: int = 0) -> Array:
        """The errors of the output, (B, n[L]), in the array of errors."""
        begin = self.turn % self.errors_kept * self.of_output
        return flat[begin : begin + self.of_output].reshape(self.batch, self.classes)[:, : self.sizes[-1]]

    def allocate(self, rule: int, drives: int, velocities: bool = False) -> list[Arrays]:
        """The arrays of this process, for each of its workers."""
        errors = side_by_side([self.own_errors_at + self.workers * self.apart], self.dtype)[0]
        return [mine._replace(errors=errors) for mine in super().allocate(rule, drives, velocities)]


class Aligned(Flights):
    """The batches under way, and the net's feedback."""

    layout: FeedbackLayout

    def __init__(
        self,
        layout: FeedbackLayout,
        algorithm: DFA,
        network: Network,
        rows: Callable[[], Array],
        options: Options,
        wave: int,
        fused: bool,
    ) -> None:
        super().__init__(layout, rows)
        if any(scale != 1 for scale in network.scale[1:]):
            raise InputError(f"{algorithm.title} on threads is for layers whose scale is 1")
        assert network.feedback is not None
        self.feedback, self.wave = list(network.feedback), min(wave, layout.longest)
        self.fused = fused and layout.batch == 1 and rule_of(algorithm) == PLAIN
        self.heads, self.options = layout.offsets_of_heads(), options._replace(has_bias=False, softmax=False)
        self.views = np.zeros((3 * layout.workers, 2 * layout.depth + APART // 8), np.int64)

    def fill(self, parameters: Array, worker: int) -> None:
        """The feedback of a worker's layers."""
        self.layout.fill_heads(parameters, [matrix.T for matrix in self.feedback], *self.layout.blocks[worker])

    def of_run(self, made: int, updates: int) -> Alignment:
        """What the loop is given for so many updates after those ``made``."""
        layout = self.layout
        layout.turn = made + updates - 1
        return Alignment(
            made if made else -self.lead, made + updates, self.heads, self.options, layout.places, layout.ahead,
            self.views, layout.errors_kept, layout.of_output, layout.own_errors_at, layout.apart, self.wave, self.fused,
        )  # fmt: skip

    def state(self, made: int, values: Array, assembled: Callable[..., Array | None]) -> dict[str, list[Array]]:
        """Also the feedback, which no training changes."""
        return {"feedback": self.feedback, **super().state(made, values, assembled)}
