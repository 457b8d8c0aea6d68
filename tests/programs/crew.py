"""Run on ranks: rank 0 asks for an engine that no rank can build, then for one that all can."""

import sys

from pcsim import BP
from pcsim.bench.case import Case
from pcsim.bench.crew import sign_on
from pcsim.errors import InputError

crew = sign_on(["crew"])
if crew.rank > 0:
    sys.exit(crew.serve())
case = Case(2, 8, 4, "float64")
try:
    crew.engine(case, BP(1e-6), crew.size, 1, values=None, execution="nobody")
except InputError as error:
    print("refused", error, flush=True)
engine = crew.engine(case, BP(1e-6), crew.size, 1, values=None, execution="intra-layer")
print("energy", engine.run(2)[1], flush=True)
engine.close()
crew.end(0)
