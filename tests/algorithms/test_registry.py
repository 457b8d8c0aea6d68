"""Algorithms by name: what may be registered, what packages offer, and that a broken package breaks nothing else."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest

import pcsim
from pcsim.algorithms import IPC, PC, ZIL, registry
from pcsim.errors import InputError


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


def make(base=IPC, frozen=True, **members):
    return dataclass(frozen=frozen)(type("Mine", (base,), {"name": "mine", "title": "Mine", **members}))


def refusal(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_what_is_registered_is_found_by_name():
    mine = pcsim.register(make())
    assert registry.find("mine") is mine
    assert registry.names() == ["bp", "pc", "zil", "ipc", "bp-async", "local", "dfa", "dual", "mine"]
    again = pcsim.register(make())  # a cell of a notebook that runs once more
    assert registry.find("mine") is again


def test_register_is_a_decorator():
    @pcsim.register
    @dataclass(frozen=True)
    class Decorated(pcsim.IPC):
        name: ClassVar[str] = "decorated"

    assert registry.find("decorated") is Decorated


class Open(pcsim.PredictiveCoding):
    name, title = "open", "Open"


class Frozen:
    pass


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (IPC(), "subclass of pcsim.Algorithm, not IPC"),
        (Frozen, "subclass of pcsim.Algorithm"),
        (Open, "Open lacks calendar, gamma, precision"),
        (type("Plain", (pcsim.Algorithm,), {"calendar": None, "name": "plain", "title": "P"}), "frozen dataclass"),
        (make(name="Mine"), "name must be lower-case letters"),
        (make(name="my own"), "name must be lower-case letters"),
        (make(name=None), "name must be lower-case letters"),
        (make(title=""), "title must be a text"),
        (make(title="two\nlines"), "title must be a text"),
        (make(name="ipc"), "the name 'ipc' of Mine is taken by IPC"),
        (dataclass(frozen=True)(type("Bare", (pcsim.Algorithm,), {"calendar": None, "name": "bare", "title": "B"})),
         "Bare has no field alpha"),
        (dataclass(frozen=True)(type("Half", (pcsim.Algorithm,),
         {"calendar": None, "name": "half", "title": "H", "alpha": 1.0, "__annotations__": {"alpha": float}})),
         "Half has no field optimizer"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_is_refused_in_one_line(cls, said):
    assert said in refusal(pcsim.register, cls)


def test_a_name_is_taken_once():
    pcsim.register(make())
    other = make()
    other.__qualname__ = "Other"
    assert "is taken by Mine" in refusal(pcsim.register, other)


def test_fields_need_defaults():
    @dataclass(frozen=True)
    class Needy(pcsim.Algorithm):
        name: ClassVar[str] = "needy"
        title: ClassVar[str] = "Needy"
        alpha: float
        optimizer: str = "sgd"

        def calendar(self, depth, steps_per_batch=None):
            raise AssertionError

    assert refusal(pcsim.register, Needy) == "Needy: field alpha needs a default"


# To JSON and back


@pytest.mark.parametrize("algorithm", [IPC(0.5, 0.25, "adam", 3.0), PC(T=3), ZIL(2e-3), pcsim.BP(optimizer="adam")])
def test_json_and_back(algorithm):
    held = registry.algorithm_to_json(algorithm)
    assert held["name"] == algorithm.name
    assert registry.algorithm_from_json(held) == algorithm
    assert registry.algorithm_from_json({**held, "alpha": 0.125}) != algorithm


def test_json_of_what_is_not_known():
    assert "'none' is unknown: choose from bp, pc, zil, ipc" in refusal(registry.algorithm_from_json, {"name": "none"})
    assert refusal(registry.algorithm_from_json, {"name": "zil", "gamma": 1}) == "Z-IL has no field gamma"


# Of installed packages

WORKS = """
from dataclasses import dataclass
from pcsim import IPC

@dataclass(frozen=True)
class Works(IPC):
    name, title = "works", "Works"
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay a package into the path as an installer does: its module and the entry points that it offers."""
    monkeypatch.syspath_prepend(tmp_path)

    def lay(module, source, **points):
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        offered = "".join(f"{name} = {module}:{target}\n" for name, target in points.items())
        (folder / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{offered}")
        (tmp_path / f"{module}.py").write_text(source)
        return tmp_path

    return lay


def test_an_installed_package_is_asked_when_its_name_is(install):
    install("mod_works", WORKS, works="Works")
    assert registry.names()[-1] == "works"
    assert "mod_works" not in sys.modules
    assert registry.find("works").title == "Works"
    assert registry.algorithm_from_json({"name": "works", "alpha": 0.5}).alpha == 0.5


def test_pcsim_s_own_names_are_not_for_others(install):
    install("mod_thief", WORKS, ipc="Works")
    assert registry.find("ipc") is IPC
    assert registry.names() == ["bp", "pc", "zil", "ipc", "bp-async", "local", "dfa", "dual"]


@pytest.mark.parametrize(
    ("module", "source", "target", "said"),
    [
        ("mod_raises", "raise ValueError('no\\nluck')", "Works", "cannot be loaded: ValueError: no"),
        ("mod_exits", "import not_there_at_all", "Works", "cannot be loaded: ModuleNotFoundError"),
        ("mod_empty", "", "Works", "cannot be loaded: AttributeError"),
        ("mod_number", "Works = 3", "Works", "subclass of pcsim.Algorithm, not 3"),
        ("mod_named", WORKS, "Works", "its name is 'works', not that of the entry point"),
    ],
)
def test_a_broken_package_is_named_in_one_line_and_breaks_no_other(install, module, source, target, said):
    install(module, source, broken=target)
    message = refusal(registry.find, "broken")
    assert message.startswith(f"algorithm 'broken' of {module} ({module}:{target})")
    assert said in message
    assert registry.find("zil") is ZIL


def test_importing_pcsim_loads_no_package(install):
    folder = install("mod_late", "raise SystemExit('loaded')", late="Works")
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import pcsim.cli.main; print('mod_late' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert answer.stdout == "False\n", answer.stderr
