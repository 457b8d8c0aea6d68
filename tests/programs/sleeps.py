"""Run on ranks: start MPI, and sleep."""

import time

from pcsim.host import mpi

mpi.world()
time.sleep(600)
