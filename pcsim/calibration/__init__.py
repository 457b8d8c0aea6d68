"""Measures this machine into a machine file, and holds predictions against measurements."""
