"""Run on ranks: the command line with one list of words after another: ``refuses.py WORDS.json``.

Rank 0 prints what each rank left of each: exit code, standard output and standard error.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

from pcsim.cli import main
from pcsim.host import mpi

comm = mpi.world().COMM_WORLD
told = {}
for what, words in json.loads(Path(sys.argv[1]).read_text()).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main.main(words)
        except SystemExit as ending:
            code = ending.code
    told[what] = mpi.all_to_all(comm, [code, out.getvalue(), err.getvalue()])
if comm.rank == 0:
    print(json.dumps(told))
