"""The package as a whole: what an import costs, which way imports go, what is installed, docstring examples."""

import ast
import configparser
import doctest
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pcsim
from pcsim.bench.peers import PEERS, available

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read_string((ROOT / "setup.cfg").read_text(encoding="utf-8"))

# Floors of the house, as CONTRIBUTING.md shows them: an import never climbs, nor goes to a neighbour on its floor.
FLOORS = [
    ["pcsim.__main__"],
    ["pcsim.cli"],
    ["pcsim.claims"],
    ["pcsim.calibration", "pcsim.doctor", "pcsim.race"],
    ["pcsim.bench", "pcsim.training", "pcsim.report", "pcsim.theory", "pcsim.testing"],
    ["pcsim.predict", "pcsim.engines"],
    ["pcsim.figures", "pcsim.algorithms"],
    ["pcsim.results", "pcsim.schedule", "pcsim.net"],
    ["pcsim.host", "pcsim.tables", "pcsim.checks", "pcsim.streams"],
    ["pcsim.errors", "pcsim.version", "pcsim.kernels"],
]
FLOOR = {room: len(FLOORS) - place for place, rooms in enumerate(FLOORS) for room in rooms}


def sources():
    """The name under which each module is installed, and its file."""
    found = {}
    for package, folder in (("pcsim", ROOT / "pcsim"), ("pcsim.kernels", ROOT / "kernels")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


SOURCES = sources()


def python(code_or_arguments, folder):
    """A fresh interpreter, away from the repository."""
    arguments = ["-c", code_or_arguments] if isinstance(code_or_arguments, str) else code_or_arguments
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


# What an import costs

HEAVY = ("numba", "scipy", "matplotlib", "pandas", "rich", "sklearn")


@pytest.mark.parametrize(
    "code",
    [
        "import pcsim",
        "import pcsim.cli.main; pcsim.cli.main._parser().format_help()",
        "import pcsim.schedule.tasks, pcsim.training.data",
        "import pcsim; pcsim.Network.mlp([2, 3]).forward([[1, 2]])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code, tmp_path):
    answer = python(f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))", tmp_path)
    assert answer.returncode == 0, answer.stderr
    modules = json.loads(answer.stdout)
    assert "pcsim" in modules
    assert [name for name in modules if name.split(".")[0] in HEAVY] == []
    assert code != "import pcsim" or "numpy" not in modules  # names are looked up when they are asked for


def test_every_public_name_is_there_and_no_other():
    assert dir(pcsim) == sorted(pcsim.__all__)
    assert all(getattr(pcsim, name) is not None for name in pcsim.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        pcsim.trian  # noqa: B018


def test_an_interrupt_while_the_program_is_loaded_is_one_line(tmp_path):
    code = """
import sys
class Interrupts:
    def find_spec(self, name, *_):
        if name == "pcsim.cli.words":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from pcsim.__main__ import main
sys.exit(main())
"""
    answer = python(code, tmp_path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (130, "", "pcsim: interrupted\n")


def test_the_package_runs_as_a_module(tmp_path):
    answer = python(["-m", "pcsim", "--help"], tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("usage: pcsim ")
    for verb in ("bench", "count", "train", "calibrate", "simulate", "validate", "report", "plot", "doctor"):
        assert re.search(rf"^ +{verb}( |$)", answer.stdout, re.MULTILINE), verb
    assert list(tmp_path.iterdir()) == []


def test_what_the_package_offers():
    offered = {"BP", "PC", "ZIL", "IPC", "Network", "train", "Run", "InputError", "TaskGraph", "Timeline", "Event"}
    assert offered <= set(pcsim.__all__)
    assert all(hasattr(pcsim, name) for name in pcsim.__all__)
    assert SETUP["metadata"]["version"] == "attr: pcsim.version.__version__"
    assert pcsim.__version__ == importlib.metadata.version("pcsim")


def test_the_package_itself_only_passes_names_on():
    tree = ast.parse(SOURCES["pcsim"].read_text(encoding="utf-8"))
    # One condition finds the kernels of a source tree that is run uninstalled, the other tells type checkers the names.
    assert [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)][1:] == ["TYPE_CHECKING"]
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == ["__getattr__", "__dir__"]
    kinds = {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.If, ast.FunctionDef}
    assert {type(node) for node in tree.body} <= kinds


# Which way imports go


def room(module):
    """The room of a module: ``pcsim.engines`` of ``pcsim.engines.loops.edges``."""
    return ".".join(module.split(".")[:2])


def imported(module, source, is_package=False):
    """All modules of pcsim that a source imports, at whatever place in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "pcsim")
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            if node.level:
                base = base[: len(base) - node.level + is_package]
                target = ".".join([*base, *([node.module] if node.module else [])])
            else:
                target = node.module or ""
            if target.split(".")[0] != "pcsim":
                continue
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                if inner in SOURCES:
                    yield inner
                else:
                    yield target


def climbs(module, source, is_package=False):
    """Imports of a module that go up, or to another room on the same floor, in words."""
    faults = []
    for target in imported(module, source, is_package):
        here, there = room(module), room(target)
        above = len(FLOORS) + 1 if target == "pcsim" else FLOOR[there]  # the package itself has everything under it
        if here != there and above >= FLOOR[here]:
            faults.append(f"{module} (floor {FLOOR[here]}) imports {target} (floor {above})")
    return faults


def circles(imports):
    """Names that import one another in a loop: those left when what imports nothing is taken away again and again."""
    left = dict(imports)
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def text_of(module):
    return SOURCES[module].read_text(encoding="utf-8")


MODULES = [name for name in SOURCES if name != "pcsim"]
PACKAGES = {name for name, path in SOURCES.items() if path.name == "__init__.py"}


def test_every_module_has_a_floor():
    assert [name for name in MODULES if room(name) not in FLOOR] == []
    assert len(FLOORS) <= 10


def test_the_floors_stand_in_contributing():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [re.findall(r"`(\w+)/?`", line) for line in table.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [{f"pcsim.{name}" for name in row} for row in rows] == [set(rooms) for rooms in FLOORS]


def test_no_import_climbs():
    faults = [climbs(module, text_of(module), module in PACKAGES) for module in MODULES]
    assert [fault for found in faults for fault in found] == []


def test_no_module_imports_itself_by_way_of_others():
    imports = {name: set(imported(name, text_of(name), name in PACKAGES)) - {name} for name in MODULES}
    assert circles(imports) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def private(module, source, is_package=False):
    """Names with an underscore in front that a module takes from another one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("pcsim")):
            yield from (alias.name for alias in node.names if re.match(r"_(?!_)", alias.name))


def test_no_private_name_is_imported():
    assert {name: list(private(name, text_of(name))) for name in MODULES if list(private(name, text_of(name)))} == {}
    assert list(private("a", "from .b import _c, d\nfrom x import _y")) == ["_c"]


def test_few_files_are_long():
    assert len([name for name in MODULES if text_of(name).count("\n") > 400]) <= 2


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pcsim.schedule.tasks", "from ..training.train import train"),
        ("pcsim.schedule.tasks", "def late():\n    from ..engines.numpy import NumpyEngine"),
        ("pcsim.net.network", "import pcsim.algorithms"),
        ("pcsim.net.network", "from pcsim import BP"),
        ("pcsim.training.data", "from ..bench import measure"),
        ("pcsim.engines.threads", "from ..predict import plans"),
        ("pcsim.engines.loops.steps", "from ...training.train import train"),
        ("pcsim.algorithms.common", "if TYPE_CHECKING:\n    from ..engines import Engine"),
        ("pcsim.kernels.layers.dense", "from ...schedule.timeline import Event"),
    ],
)
def test_an_import_that_climbs_is_told(module, source):
    assert len(climbs(module, source)) == 1


def test_imports_that_stay_or_go_down_are_fine():
    assert climbs("pcsim.engines", "from ..algorithms import BP\nfrom .numpy import NumpyEngine", True) == []
    down = "from ..kernels.graphs import paths\nfrom ..errors import InputError\nimport numpy.random"
    assert climbs("pcsim.schedule.tasks", down) == []
    assert (
        climbs("pcsim.cli.main", "from ..version import __version__\nfrom . import show\nfrom numpy import train") == []
    )


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("pcsim.kernels")])
def test_kernels_know_nothing_but_kernels(module):
    assert {room(name) for name in imported(module, text_of(module), module in PACKAGES)} <= {"pcsim.kernels"}


# What is installed


def test_setup_names_every_package_and_no_other():
    listed = set(SETUP["options"]["packages"].split())
    assert listed == {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    places = dict(line.split(" = ") for line in SETUP["options"]["package_dir"].strip().splitlines())
    assert places == {"pcsim": "pcsim", "pcsim.kernels": "kernels"}


def test_what_the_notebooks_show_is_installed():
    """Each of these files stands once in git, among the results; the package has them by name."""
    installed = Path(pcsim.__file__).parent / "measured"
    files = sorted(path.name for path in (ROOT / "pcsim" / "measured").iterdir())
    assert sorted(path.name for path in installed.iterdir()) == files
    for name in files:
        assert (installed / name).read_bytes() == (ROOT / "benchmarks" / "results" / name).read_bytes()
    shown = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(set(re.findall(r'MEASURED / \\"([\w.-]+)', shown))) == files


def test_hooks_before_a_commit_are_those_of_make_check():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    checks = [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe.splitlines()]
    entries = re.findall(r"entry: (.*)", hooks)
    assert [entry.replace(" --force-exclude", "") for entry in entries] == [
        check.replace(" --check", "") for check in checks
    ]
    assert set(re.findall(r"repo: (.*)", hooks)) == {"local"}
    assert set(re.findall(r"language: (.*)", hooks)) == {"system"}


def test_kernels_are_installed_inside_the_package_alone(tmp_path):
    """PyPI's ``kernels`` is another package, which ours must not stand in front of."""
    code = """
import importlib.metadata, importlib.util, json, pcsim.kernels
distribution = importlib.metadata.distribution("pcsim")
spec = importlib.util.find_spec("kernels")
print(json.dumps({
    "top": (distribution.read_text("top_level.txt") or "").split(),
    "first": sorted({file.parts[0] for file in distribution.files or []}),
    "where": pcsim.kernels.__file__,
    "other": spec and spec.origin,
    "names": [name for name, of in importlib.metadata.packages_distributions().items() if "pcsim" in of],
}))
"""
    answer = python(code, tmp_path)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["top"] == ["pcsim"]
    assert "kernels" not in found["first"]
    assert "kernels" not in found["names"]
    assert found["other"] != found["where"]
    assert found["other"] is None or not Path(found["other"]).is_relative_to(ROOT / "kernels")
    importlib.import_module("pcsim.kernels.layers.dense")
    assert "kernels" not in sys.modules or sys.modules["kernels"] is not sys.modules["pcsim.kernels"]


def test_the_command_is_the_parsers():
    (script,) = [entry for entry in importlib.metadata.entry_points(group="console_scripts") if entry.name == "pcsim"]
    assert script.value == "pcsim.__main__:main"
    assert callable(script.load())


# Examples


@pytest.mark.parametrize("module", list(SOURCES))
def test_docstring_examples(module):
    library = module.removeprefix("pcsim.bench.peers.").removesuffix("_layers")
    if library in PEERS and not available(library):
        pytest.skip(f"{library} is not installed")
    results = doctest.testmod(importlib.import_module(module))
    assert results.failed == 0
    assert (results.attempted > 0) == (">>> " in SOURCES[module].read_text(encoding="utf-8"))
