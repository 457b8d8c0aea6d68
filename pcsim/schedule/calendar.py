"""When, within a cycle, values and weights change."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Calendar:
    """When, within a cycle that begins with a forward pass, values and weights change.

    steps: length of the cycle, None for one that never ends; value_steps: values are updated at t < value_steps
    (None: always); update_at: for each W[l] the step of its update, None for every step; updates: complete weight
    updates in a cycle, None for no end.
    """

    steps: int | None
    value_steps: int | None
    update_at: tuple[int | None, ...]
    updates: int | None
