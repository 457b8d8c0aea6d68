"""Predicts times on machines described by a file: plans, their timing, sweeps."""
