"""pcsim: when layers learn in parallel, how much faster is predictive coding than backprop?

>>> import pcsim
>>> pcsim.IPC().tasks(depth=32).smm, pcsim.BP().tasks(depth=32).smm
(2, 63)
"""

from pathlib import Path as _Path

# Run from a source tree, as ``python -m pcsim`` in a clone is, this package finds no kernels inside itself: they stand
# beside it and become ``pcsim.kernels`` only at installation.
_root = _Path(__file__).resolve().parents[1]
if not (_root / "pcsim" / "kernels").exists() and (_root / "kernels" / "layers" / "dense.py").exists():
    __path__.append(str(_root))

from .algorithms import BP, IPC, PC, ZIL, Algorithm, Calendar, PredictiveCoding, Stage, register
from .errors import InputError
from .net.network import Network
from .results.frames import load
from .schedule.tasks import TaskGraph
from .schedule.timeline import Event, Timeline
from .training.train import Interrupted, Run, train
from .version import __version__

__all__ = [
    "BP",
    "IPC",
    "PC",
    "ZIL",
    "Algorithm",
    "Calendar",
    "Event",
    "InputError",
    "Interrupted",
    "Network",
    "PredictiveCoding",
    "Run",
    "Stage",
    "TaskGraph",
    "Timeline",
    "__version__",
    "load",
    "register",
    "train",
]
