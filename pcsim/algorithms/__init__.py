"""What is executed: backprop and the calendars of predictive coding, pcsim's own and others'."""

from ..schedule.calendar import Calendar, Stage
from .asynchronous import PIPELINE_ASYNC, AsyncBP, asynchronous
from .backprop import BP
from .common import OPTIMIZERS, Algorithm, PredictiveCoding
from .dual import DualProp
from .local import DFA, Local
from .predictive_coding import IPC, PC, ZIL
from .registry import ALGORITHMS, algorithm_from_json, algorithm_to_json, register

__all__ = [
    "ALGORITHMS",
    "BP",
    "DFA",
    "IPC",
    "OPTIMIZERS",
    "PC",
    "PIPELINE_ASYNC",
    "ZIL",
    "Algorithm",
    "AsyncBP",
    "Calendar",
    "DualProp",
    "Local",
    "PredictiveCoding",
    "Stage",
    "algorithm_from_json",
    "algorithm_to_json",
    "asynchronous",
    "register",
]
