"""Rows of results files for tests, by hand."""

from pathlib import Path

import numpy as np

from pcsim.results.files import Results


def row(algorithm, execution="serial", workers=1, seconds=(1.0, 1.01, 1.02), **fields):
    """A good row; its samples are spread so little that any difference of medians shows."""
    seconds = list(seconds)
    depth = fields.get("depth", 8)
    return {
        "algorithm": algorithm,
        "execution": execution,
        "backend": "threads",
        "workers": workers,
        "depth": depth,
        "width": 64,
        "batch": 1,
        "steps": 1,
        "dtype": "float32",
        "activation": "tanh",
        "kind": "measured",
        "seconds": seconds,
        "median": float(np.median(seconds)) if seconds else None,
        "ci95": [min(seconds), max(seconds)] if seconds else None,
        "smm": 2 if algorithm == "ipc" else 2 * depth - 1,
        "warnings": [],
        "error": None,
    } | fields


def failure(*args, **fields):
    return row(*args, **fields) | {"seconds": [], "median": None, "ci95": None, "error": "MemoryError: no room"}


def some(median, count=9, spread=0.01, seed=0):
    """Samples around a median."""
    return median * (1 + spread * np.random.default_rng(seed).uniform(-1, 1, count))


def made(*rows, **context):
    return Results(Path("made.jsonl"), context, list(rows))
