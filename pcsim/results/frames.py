"""Files of rows as pandas data frames, where pandas is installed."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from ..errors import InputError
from .fields import CURVES, SCHEMA
from .files import read

if TYPE_CHECKING:
    from pandas import DataFrame


def load(path: str | os.PathLike[str]) -> DataFrame:
    """A results or curves file as a pandas ``DataFrame``: a line for each row of the file, in its order, a column for
    each field.

    ``median`` is in seconds per complete weight update and ``seconds`` holds the list of samples; the other fields are
    those of the file format. A field that a row lacks is NaN or None. Every row is there, also those that a later one
    replaces and those that failed (``error`` says why). ``frame.attrs`` holds ``schema``, ``context`` (machine,
    versions, settings, command), ``resumed`` (the context of each later run that carried the file on) and ``warnings``.

    Raises :class:`InputError`, in one line, for a file that is neither, and where pandas is not installed.

    The best BP of each net::

        frame = pcsim.load("results.jsonl")
        exact = frame.execution != "pipeline-async"
        frame[(frame.algorithm == "bp") & exact].groupby(["depth", "width"])["median"].min()
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise InputError("pcsim.load needs pandas, which is not installed here: pip install pandas") from None
    results = read(path, SCHEMA, CURVES)
    frame: DataFrame = pandas.DataFrame(results.rows)
    frame.attrs |= {
        "schema": results.schema,
        "context": results.context,
        "resumed": results.resumed,
        "warnings": results.warnings,
    }
    return frame
