"""What is executed: backprop and the three calendars of predictive coding."""

from ..schedule.calendar import Calendar
from .backprop import BP
from .common import OPTIMIZERS, Algorithm, PredictiveCoding, whole
from .predictive_coding import IPC, PC, ZIL

ALGORITHMS: dict[str, type[Algorithm]] = {algorithm.name: algorithm for algorithm in (BP, PC, ZIL, IPC)}

__all__ = ["ALGORITHMS", "BP", "IPC", "OPTIMIZERS", "PC", "ZIL", "Algorithm", "Calendar", "PredictiveCoding", "whole"]
