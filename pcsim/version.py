"""The version, on the ground floor: files name it, and ranks compare it."""

__version__ = "0.2.0"
