"""Compiled passes over graphs of tasks and jobs."""
