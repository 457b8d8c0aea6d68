"""Run on ranks: make the cases whose names begin so, and write what came out: ``exact.py FOLDER [--twin] NAME…``.

FOLDER gets ``told.json`` and an ``.npz`` for each case. ``--twin``: after the runs a rank's weight is changed by the
least that can be, one message more is counted, and an event of the timeline is lost.
"""

import hashlib
import json
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
from cases import ALL, left
from pcsim.kernels.machine.messages import COUNT

from pcsim.engines.mpi import MpiEngine
from pcsim.host import mpi


def spoil(engine, case):
    """What ``--twin`` does on the last rank that has weights of its own."""
    rank = 0 if case.way.endswith("data-parallel") else comm.size - 1
    if comm.rank == rank:
        l = case.depth - 1
        weights, _ = engine.layout.rows_of(engine.arrays[0].parameters, 0, l)
        while not weights.size:  # a narrow layer has no rows for this rank
            l -= 1
            weights, _ = engine.layout.rows_of(engine.arrays[0].parameters, 0, l)
        weights[0, 0] = np.nextafter(weights[0, 0], weights.dtype.type(np.inf))
        engine.transport.messages.memory[COUNT] += 1


folder, *names = sys.argv[1:]
twin = "--twin" in names
names = tuple(name for name in names if name != "--twin")
comm = mpi.world().COMM_WORLD
told = {}
cases = [case for case in ALL.values() if case.fits(comm.size) and (not names or case.name.startswith(names))]
# One rank alone is started first, and compiles from the end, while the test does from the beginning.
for case in reversed(cases) if comm.size == 1 else cases:
    options = {"workers": case.threads, "wave": case.wave, "fused": case.fused, **case.execution()}
    engine = case.build(MpiEngine, **options)
    with np.errstate(all="ignore"):
        energy = []
        for number, updates in enumerate(case.runs):
            if number and case.resumed:
                state = engine.state()
                engine.close()
                engine = case.build(MpiEngine, **options)
                engine.restore(state)
                if case.way == "dual":  # of a layer at an edge each side has a part
                    again = engine.state()
                    pairs = [pair for name in ("values", "dual") for pair in zip(state[name], again[name], strict=True)]
                    assert all(np.array_equal(mine, its) for mine, its in pairs), f"{case.name}: another state"
            energy.append(engine.run(updates, trace=case.trace)[1])
        if twin:
            spoil(engine, case)
        arrays = {**left(engine, energy), "loss": np.array([engine.loss()])}
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
    events = [astuple(event) for event in engine.timeline.events] if case.trace else []
    facts = {
        "alike": len(set(mpi.all_to_all(comm, digest))) == 1,
        "digest": digest,
        "finite": engine.finite(),
        "messages": engine.messages,
        "owner": [engine.owner(l) for l in range(case.depth)]
        if case.way not in ("intra-layer", "data-parallel", "pc-intra-layer", "pc-data-parallel")
        else [],
        "events": events[1 if twin else 0 :],
    }
    engine.close()
    if comm.rank == 0:
        told[case.name] = facts
        np.savez(Path(folder, case.name), **arrays)
if comm.rank == 0:
    Path(folder, "told.json").write_text(json.dumps(told))
    print(len(told), "cases", flush=True)
