"""What kernels are compiled with is told, and marked where it is not what this processor would get by itself."""

import pytest
from pcsim.kernels.machine import settings

from pcsim.host import compiled, context

HOST = ("skylake-avx512", "+avx,+avx2,+fma,+avx512f")


@pytest.fixture
def machine(monkeypatch):
    """A processor, and settings of one's choice."""

    def made(cpu="skylake-avx512", features=HOST[1], **changed):
        monkeypatch.setattr(settings, "host", lambda: HOST)
        monkeypatch.setattr(settings, "target", lambda: ("x86_64-unknown-linux-gnu", cpu, features))
        for name, value in changed.items():
            monkeypatch.setattr(settings.config, name, value)
        return compiled.description()

    return made


def test_an_ordinary_run_has_no_doubts(machine):
    found = machine()
    assert found == {
        "cpu": "skylake-avx512",
        "host_cpu": "skylake-avx512",
        "features": ["avx", "avx2", "fma", "avx512f"],
        "unused": [],
        "fused_multiply_add": True,
        "settings": {},
    }
    assert compiled.doubts(found) == []


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"OPT": 0}, "kernels compiled with NUMBA_OPT=0: not the code of an ordinary run"),
        ({"LOOP_VECTORIZE": 0}, "kernels compiled with NUMBA_LOOP_VECTORIZE=0: not the code of an ordinary run"),
        ({"DEBUGINFO_DEFAULT": 1}, "kernels compiled with NUMBA_DEBUGINFO=1: not the code of an ordinary run"),
        ({"BOUNDSCHECK": 1}, "kernels compiled with NUMBA_BOUNDSCHECK=1: not the code of an ordinary run"),
        (
            {"cpu": "generic", "features": ""},
            "kernels compiled for generic without avx, avx2, fma, avx512f, but this processor is skylake-avx512",
        ),
        (
            {"features": "+avx,+avx2,-fma,+avx512f"},
            "kernels compiled for skylake-avx512 without fma, but this processor is skylake-avx512",
        ),
    ],
)
def test_whatever_changes_code_is_said(machine, changed, text):
    found = machine(**changed)
    assert compiled.doubts(found) == [text]
    assert found["fused_multiply_add"] == ("+fma" in changed.get("features", "+fma"))


def test_the_header_says_what_was_compiled(machine):
    machine(OPT=0)
    assert context.capture()["kernels"]["settings"] == {"NUMBA_OPT": 0}


def test_every_variable_of_numba_stands_in_the_header_but_its_folders(monkeypatch):
    for name, value in {"NUMBA_OPT": "1", "NUMBA_LOOP_VECTORIZE": "0", "NUMBA_CACHE_DIR": "/home/x"}.items():
        monkeypatch.setenv(name, value)
    told = context.capture()["environment"]
    assert (told["NUMBA_OPT"], told["NUMBA_LOOP_VECTORIZE"]) == ("1", "0")
    assert "NUMBA_CACHE_DIR" not in told


@pytest.mark.parametrize(
    ("kernels", "products", "width", "slow"),
    [
        (8e10, 2e11, 256, False),
        (4e9, 2e11, 256, True),
        (4e9, 2e11, 16, False),
        (None, 2e11, 256, False),
        (4e9, None, 256, False),
    ],
)
def test_kernels_far_below_products_are_said_to_be_so(kernels, products, width, slow):
    said = compiled.too_slow(kernels, products, width)
    assert (said is not None) == slow
    if said:
        assert said.startswith("slow kernels: 2.0% of the rate of matrix products")
