"""Compiled access to the machine: vectors, atomic flags, clocks, BLAS, MPI, memory."""
