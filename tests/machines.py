"""Machine files for tests: presets, one with measured points, and changes to them."""

import copy
import json

from pcsim.predict.machine import COLUMNS
from pcsim.predict.machine_files import PRESETS, figure
from pcsim.predict.prices import PARTS, SPLIT, Task

SERVER = json.loads((PRESETS / "server-64.json").read_text())
CLUSTER = json.loads((PRESETS / "cluster-ethernet.json").read_text())
IDEAL = json.loads((PRESETS / "ideal.json").read_text())
MEASURED = {
    "schema": "pcsim-machine/1",
    "name": "by hand",
    "title": "",
    "calibrated": {"time": "today", "widths": [16, 64], "batches": [1, 8], "workers": [1, 2], "dtype": "float32"},
    "topology": {part: figure(count, part, "by hand") for part, count in (("nodes", 1), ("sockets", 1), ("cores", 2))},
    "products": {
        "model": "measured",
        "unit": "s",
        "source": "by hand",
        "overhead": figure(1e-7, "s", "by hand"),
        "columns": list(COLUMNS),
        "points": [
            [work, workers, batch, rows, columns, distance, 1e-9 * rows * columns * batch * workers * slow]
            for work in (*PARTS, *SPLIT)
            for workers in (1, 2)
            for batch in (1, 8)
            for columns in (16, 64)
            for rows in ((1,) if work == "values" else (columns // 2, columns))
            for distance, slow in ((1000.0, 1.0), (100_000.0, 3.0))
        ],
    },
    "memory": [
        {
            "level": "memory",
            "size": figure(None, "byte", "by hand"),
            "bandwidth": figure(1e10, "byte/s", "by hand"),
        }
    ],
}
FILES = {"server": SERVER, "cluster": CLUSTER, "ideal": IDEAL, "measured": MEASURED}


def put(content, path, value):
    """A copy with another value at a path such as ``products.start.unit`` or ``memory.0``; of ``...`` without it."""
    content = copy.deepcopy(content)
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inner = content
    for part in way:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


def task(work="predict", rows=8, columns=4, batch=1, distance=100.0, workers=1, **fields):
    return Task(work, rows, columns, batch, 4, distance, workers, **fields)
