"""Compiled loops: what one worker does from the first step of a run to the last."""
