"""What every test of training gets."""

import pytest

from pcsim.training import data


@pytest.fixture(autouse=True)
def nothing_but_tmp_path(tmp_path, monkeypatch):
    """No data sets of this machine, no environment of its user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PCSIM_DATA", raising=False)
    monkeypatch.setattr(data, "SYSTEM_FASHION_MNIST", tmp_path / "system")
