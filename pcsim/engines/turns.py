"""The turns of the stages of a pipeline in zero-bubble order, and the memory that it needs beside the split one's."""

from ..kernels.machine.memory import side_by_side
from ..schedule.pipelines import make_pipeline
from .layout import Layout
from .loops.zero_bubble import Turning


class Turns:
    """What each worker of a layout does with each of its parts, in turn; ``sums`` of gradients are as large as the
    weights, and used by stages that wait."""

    def __init__(self, layout: Layout) -> None:
        lengths = layout.wide[1:] * (layout.wide[:-1] + 1)  # by these the layout cuts its blocks
        self.layout, self.parts = layout, len(layout.shares.first)
        self.pipeline = make_pipeline("zero-bubble", tuple(lengths.tolist()), layout.all_workers, self.parts)
        (self.sums,) = side_by_side([layout.parameter_count], layout.dtype)

    def of_worker(self, worker: int) -> Turning:
        """For the compiled loop of a worker of this process."""
        shares, stage = self.layout.shares, self.pipeline.stages[self.layout.place + worker]
        return Turning(shares.first, shares.samples, shares.at, stage.what, stage.part, self.sums)

    def touch(self, worker: int) -> None:
        """Give a worker its pages, if it will need them."""
        if self.pipeline.stages[self.layout.place + worker].alone:
            for l in range(*self.layout.blocks[worker]):
                for part in self.layout.rows_of(self.sums, worker, l, padding=True):
                    part[:: self.layout.page] = 0
