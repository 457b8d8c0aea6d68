"""pcsim: when layers learn in parallel, how much faster is predictive coding than backprop?

>>> import pcsim
>>> pcsim.IPC().tasks(depth=32).smm, pcsim.BP().tasks(depth=32).smm
(2, 63)
"""

from importlib import import_module as _import
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

# Run from a source tree, as ``python -m pcsim`` in a clone is, this package finds no kernels inside itself: they stand
# beside it and become ``pcsim.kernels`` only at installation.
_root = _Path(__file__).resolve().parents[1]
if not (_root / "pcsim" / "kernels").exists() and (_root / "kernels" / "layers" / "dense.py").exists():
    __path__.append(str(_root))

from .version import __version__

if TYPE_CHECKING:
    from .algorithms import (
        BP,
        DFA,
        IPC,
        PC,
        ZIL,
        Algorithm,
        AsyncBP,
        Calendar,
        DualProp,
        Local,
        PredictiveCoding,
        Stage,
        register,
    )
    from .algorithms.rates import Schedule, for_batch, rising
    from .errors import InputError
    from .net.convolution import Convolution, conv
    from .net.network import Network
    from .results.frames import load
    from .schedule.tasks import TaskGraph
    from .schedule.timeline import Event, Timeline
    from .training.run import Interrupted, Progress, Run
    from .training.seeds import train_seeds
    from .training.train import train

__all__ = [
    "BP",
    "DFA",
    "IPC",
    "PC",
    "ZIL",
    "Algorithm",
    "AsyncBP",
    "Calendar",
    "Convolution",
    "DualProp",
    "Event",
    "InputError",
    "Interrupted",
    "Local",
    "Network",
    "PredictiveCoding",
    "Progress",
    "Run",
    "Schedule",
    "Stage",
    "TaskGraph",
    "Timeline",
    "__version__",
    "conv",
    "for_batch",
    "load",
    "register",
    "rising",
    "train",
    "train_seeds",
]

# Looked up when they are asked for, so that Ctrl-C at start-up need not wait for NumPy and Numba.
_HOMES = {
    "algorithms": (
        "BP",
        "DFA",
        "IPC",
        "PC",
        "ZIL",
        "Algorithm",
        "AsyncBP",
        "Calendar",
        "DualProp",
        "Local",
        "PredictiveCoding",
        "Stage",
        "register",
    ),
    "algorithms.rates": ("Schedule", "for_batch", "rising"),
    "errors": ("InputError",),
    "net.convolution": ("Convolution", "conv"),
    "net.network": ("Network",),
    "results.frames": ("load",),
    "schedule.tasks": ("TaskGraph",),
    "schedule.timeline": ("Event", "Timeline"),
    "training.run": ("Interrupted", "Progress", "Run"),
    "training.seeds": ("train_seeds",),
    "training.train": ("train",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = found = getattr(_import(f"{__name__}.{home}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
