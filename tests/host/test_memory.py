"""Room in memory: what is needed is held against what is there."""

from types import SimpleNamespace

import psutil
from nets import refusal

from pcsim.host.memory import require


def test_require_says_what_is_needed_and_what_is_there(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 2**29))
    require(3 * 2**29, "all of it")
    assert refusal(lambda: require(2**32, "a thing")) == (
        "a thing needs 4.0 GiB, but only 1.5 GiB are available: make the net or the batch smaller"
    )
