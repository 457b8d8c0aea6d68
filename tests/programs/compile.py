"""Compile what the tests run most, before they share the cores: ``compile.py`` makes a process for each dtype.

Tests compile whatever is missing, and so find the same without this; but then each of them that starts ranks or a
process waits for its own.
"""

import contextlib
import dataclasses
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401  (names the folder of the cache, before anything imports Numba)
import numpy as np
from programs.cases import ALL

from pcsim.bench.ceilings import measure_ceilings
from pcsim.engines.mpi import MpiEngine
from pcsim.engines.threads import ThreadsEngine

DTYPES = ("float32", "float64")


def compile_for(dtype):
    """Run cases of every way to train, on threads and, where there is MPI, as one rank; and measure the ceilings."""
    engines = [ThreadsEngine]
    with contextlib.suppress(ImportError, RuntimeError):
        import mpi4py.MPI  # noqa: F401

        engines.append(MpiEngine)
    # One process begins where the other ends: what does not depend on the dtype is compiled once.
    for case in list(ALL.values())[:: 1 if dtype == DTYPES[0] else -1]:
        case = dataclasses.replace(case, dtype=dtype)
        for engine_class in engines:
            engine = case.build(engine_class, wave=case.wave, fused=case.fused, **case.execution())
            with np.errstate(all="ignore"):
                engine.run(2, trace=case.trace)
            if engine_class is MpiEngine:
                engine.close()
    measure_ceilings([1], np.dtype(dtype), pin=False)


if __name__ == "__main__":
    if sys.argv[1:]:
        compile_for(sys.argv[1])
    else:
        children = [subprocess.Popen([sys.executable, __file__, dtype]) for dtype in DTYPES]
        sys.exit(max(child.wait() for child in children))
