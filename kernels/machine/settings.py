"""For which processor, and with which of Numba's settings, kernels are compiled: what makes one code another."""

import os
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
from numba import config

# Settings of Numba (from NUMBA_* variables or .numba_config.yaml) that change the code, with what they are unless set.
ORDINARY = {
    "OPT": 3,
    "LOOP_VECTORIZE": 1,
    "SLP_VECTORIZE": 0,
    "BOUNDSCHECK": None,
    "DEBUGINFO_DEFAULT": 0,
    "EXTEND_VARIABLE_LIFETIMES": 0,
    "ENABLE_PROFILING": 0,
    "DISABLE_INTEL_SVML": 0,
    "LLVM_REFPRUNE_PASS": 1,
    "LLVM_REFPRUNE_FLAGS": "all",
    "DEBUG_ARRAY_OPT_RUNTIME": 0,
    "DEBUG_NRT": 0,
    "NRT_STATS": 0,
    "USE_LLVMLITE_MEMORY_MANAGER": None,
    "JIT_COVERAGE": 0,
    "ENABLE_SYS_MONITORING": 0,
}

VARIABLES = {"DEBUGINFO_DEFAULT": "NUMBA_DEBUGINFO"}  # where a variable has another name than NUMBA_<setting>

# Variables that leave code as it is. What is in neither list may change it: the cache tells its values apart.
HARMLESS = (
    "NUMBA_CACHE_",
    "NUMBA_CAPTURED_ERRORS",
    "NUMBA_CHROME_TRACE",
    "NUMBA_COLOR_SCHEME",
    "NUMBA_CUDA_",
    "NUMBA_DEBUG_CACHE",
    "NUMBA_DEVELOPER_MODE",
    "NUMBA_DISABLE_",
    "NUMBA_DUMP_",
    "NUMBA_ENABLE_CUDASIM",
    "NUMBA_FULL_TRACEBACKS",
    "NUMBA_GDB_BINARY",
    "NUMBA_HIGHLIGHT_DUMPS",
    "NUMBA_NUM_THREADS",
    "NUMBA_PARALLEL_DIAGNOSTICS",
    "NUMBA_SHOW_HELP",
    "NUMBA_THREADING_",
    "NUMBA_TRACE",
    "NUMBA_WARNINGS",
)

# Parts of a processor that the kernels' speed rests on.
FEATURES = ("avx", "avx2", "fma", "avx512f")


def code_settings() -> dict[str, str]:
    """Every setting that may change code, as text; the processor's name and features aside."""
    found = {name: repr(getattr(config, name, None)) for name in ORDINARY}
    known = {_variable(name) for name in ORDINARY}
    for name, value in os.environ.items():
        if name.startswith("NUMBA_") and name not in known and not name.startswith(HARMLESS):
            found[name] = value
    return found


def changed_settings() -> dict[str, Any]:
    """The settings that make other code than usual, by the variable that sets them."""
    found = {_variable(name): getattr(config, name, usual) for name, usual in ORDINARY.items()}
    usual = {_variable(name): value for name, value in ORDINARY.items()}
    return {name: _plain(value) for name, value in found.items() if value != usual[name]}


def _variable(name: str) -> str:
    return VARIABLES.get(name, f"NUMBA_{name}")


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, int) else value


def target() -> tuple[str, str, str]:
    """Triple, processor and features that kernels are compiled for."""
    from numba.core.registry import cpu_target

    triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    return triple, name, features


@lru_cache
def host() -> tuple[str, str]:
    """This processor's name and its features, as LLVM has them."""
    try:
        return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot tell
        return llvm.get_host_cpu_name(), ""


def has(feature: str, features: str) -> bool:
    """Whether a list such as ``+avx,-fma`` holds a feature."""
    return f"+{feature}" in features.split(",")


def fuses(triple: str, features: str) -> bool:
    """Whether the processor can multiply and add in one instruction: all can that LLVM knows, but for some x86."""
    return not triple.startswith(("x86_64", "i386", "i486", "i586", "i686")) or has("fma", features)
