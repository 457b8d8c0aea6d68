"""Compiled kernels: arrays in, arrays filled, nothing returned; they know no nets, no algorithms, no files."""
