"""Figures: one style, one file per family."""
