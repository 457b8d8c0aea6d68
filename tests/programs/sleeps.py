"""Run on ranks: start MPI, and sleep."""

import time

from pcsim import mpi

mpi.world()
time.sleep(600)
