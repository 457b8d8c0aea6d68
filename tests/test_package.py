"""The package as a whole: what an import costs, which way imports go, what is installed, and examples that run."""

import ast
import configparser
import contextlib
import doctest
import importlib
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import pcsim
from pcsim import cli
from pcsim.peers import PEERS, available

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = configparser.ConfigParser()
SETUP.read_string((ROOT / "setup.cfg").read_text(encoding="utf-8"))

# Floors of the design: an import stays on its floor or goes down. A new room gets its floor here.
FLOORS = {
    "pcsim.cli": 7,
    "pcsim.__main__": 7,
    "pcsim.cli_machines": 7,
    "pcsim.cli_words": 7,
    "pcsim.claims": 6,
    "pcsim.display": 6,
    "pcsim.sweep": 5,
    "pcsim.learning": 5,
    "pcsim.launch": 5,
    "pcsim.contenders": 4,
    "pcsim.crew": 4,
    "pcsim.measure": 4,
    "pcsim.train": 4,
    "pcsim.report": 4,
    "pcsim.doctor": 4,
    "pcsim.engines": 3,
    "pcsim.peers": 3,
    "pcsim.simulate": 3,
    "pcsim.plans": 3,
    "pcsim.calibrate": 4,
    "pcsim.validate": 5,
    "pcsim.projection": 4,
    "pcsim.plot": 3,
    "pcsim.scaling_plot": 3,
    "pcsim.map_plot": 3,
    "pcsim.links": 3,
    "pcsim.ceilings": 3,
    "pcsim.algorithms": 2,
    "pcsim.comparison": 2,
    "pcsim.case": 2,
    "pcsim.machine": 2,
    "pcsim.timeline": 2,
    "pcsim.kernels": 1,
    "pcsim.tables": 1,
    "pcsim.network": 1,
    "pcsim.tasks": 1,
    "pcsim.results": 1,
    "pcsim.data": 1,
    "pcsim.errors": 1,
    "pcsim.memory": 1,
    "pcsim.mpi": 1,
    "pcsim.context": 1,
}


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

HEAVY = ("numba", "scipy", "matplotlib", "pandas")


@pytest.mark.parametrize(
    "code",
    [
        "import pcsim",
        "import pcsim.cli; pcsim.cli._parser()",
        "import pcsim; pcsim.Network.mlp([2, 3]).forward([[1, 2]])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code, tmp_path):
    answer = python(f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))", tmp_path)
    assert answer.returncode == 0, answer.stderr
    modules = json.loads(answer.stdout)
    assert {"pcsim", "numpy"} <= set(modules)
    assert [name for name in modules if name.split(".")[0] in HEAVY] == []


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
    assert pcsim.__version__ == SETUP["metadata"]["version"] == importlib.metadata.version("pcsim")


def test_the_package_itself_only_passes_names_on():
    tree = ast.parse(SOURCES["pcsim"].read_text(encoding="utf-8"))
    # The one condition finds the kernels of a source tree that is run uninstalled.
    assert [ast.unparse(node.body[0]) for node in tree.body if isinstance(node, ast.If)] == [
        "__path__.append(str(_root))"
    ]
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.If}


# Which way imports go


def room(module):
    """The room of a module, or None: ``pcsim.engines`` of ``pcsim.engines.loops``."""
    return next((name for name in FLOORS if module == name or module.startswith(f"{name}.")), None)


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
                elif (target, alias.name) != ("pcsim", "__version__"):
                    yield target


def climbs(module, source, is_package=False):
    """Imports of a module that go up, in words."""
    faults = []
    for target in imported(module, source, is_package):
        above = 8 if target == "pcsim" else FLOORS[room(target)]  # the package itself has everything under its roof
        if above > FLOORS[room(module)]:
            faults.append(f"{module} (floor {FLOORS[room(module)]}) imports {target} (floor {above})")
    return faults


def test_every_module_has_a_floor():
    assert [name for name in SOURCES if name != "pcsim" and room(name) is None] == []


@pytest.mark.parametrize("module", [name for name in SOURCES if name != "pcsim"])
def test_no_import_climbs(module):
    path = SOURCES[module]
    assert climbs(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pcsim.tasks", "from .train import train"),
        ("pcsim.tasks", "def late():\n    from .engines.numpy import NumpyEngine"),
        ("pcsim.network", "import pcsim.algorithms"),
        ("pcsim.network", "from pcsim import BP"),
        ("pcsim.data", "from . import measure"),
        ("pcsim.engines.loops", "from ..train import train"),
        ("pcsim.algorithms.common", "if TYPE_CHECKING:\n    from ..engines import Engine"),
        ("pcsim.kernels.dense", "from ..timeline import Event"),
    ],
)
def test_an_import_that_climbs_is_told(module, source):
    assert len(climbs(module, source)) == 1


def test_imports_that_stay_or_go_down_are_fine():
    assert climbs("pcsim.engines", "from ..algorithms import BP\nfrom .numpy import NumpyEngine", True) == []
    assert (
        climbs("pcsim.tasks", "from .kernels import graph\nfrom .errors import InputError\nimport numpy.random") == []
    )
    assert climbs("pcsim.cli", "from . import __version__, sweep\nfrom numpy import train") == []


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("pcsim.kernels")])
def test_kernels_know_nothing_but_kernels(module):
    path = SOURCES[module]
    known = set(imported(module, path.read_text(encoding="utf-8"), path.name == "__init__.py"))
    assert {room(name) for name in known} <= {"pcsim.kernels"}


# What is installed


def test_setup_names_every_package_and_no_other():
    listed = set(SETUP["options"]["packages"].split())
    assert listed == {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    places = dict(line.split(" = ") for line in SETUP["options"]["package_dir"].strip().splitlines())
    assert places == {"pcsim": "pcsim", "pcsim.kernels": "kernels"}


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
    importlib.import_module("pcsim.kernels.dense")
    assert "kernels" not in sys.modules or sys.modules["kernels"] is not sys.modules["pcsim.kernels"]


def test_the_command_is_the_parsers():
    (script,) = [entry for entry in importlib.metadata.entry_points(group="console_scripts") if entry.name == "pcsim"]
    assert script.value == "pcsim.cli:main"
    assert script.load() is cli.main


# Examples


@pytest.mark.parametrize("module", list(SOURCES))
def test_docstring_examples(module):
    library = module.removeprefix("pcsim.peers.")
    if library in PEERS and not available(library):
        pytest.skip(f"{library} is not installed")
    results = doctest.testmod(importlib.import_module(module))
    assert results.failed == 0
    assert (results.attempted > 0) == (">>> " in SOURCES[module].read_text(encoding="utf-8"))


def blocks(text, language):
    """The contents of fenced blocks in a language."""
    return re.findall(rf"^```{language}[^\S\n]*\n(.*?)^```[^\S\n]*$", text, re.MULTILINE | re.DOTALL)


def commands(text):
    """The words of each ``$ pcsim …``, also behind ``mpiexec``, in console blocks, without what a shell would take."""
    for block in blocks(text, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\$ (mpiexec -n \d+ )?pcsim\b", line):
                lexer = shlex.shlex(line[2:], posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                words = []
                for word in lexer:
                    if set(word) <= set("|&;<>()"):
                        if words and word.startswith(("<", ">")) and words[-1] == "2":
                            words.pop()
                        break
                    words.append(word)
                yield words[words.index("pcsim") :]


def test_blocks_and_commands_are_found():
    text = (
        "```python\na = 1\n```\ntext\n```sh\n$ pcsim no\n```\n```python\nb = 2\n\nc = 3\n```\n"
        "```console\n$ pcsim count --depths 2 \\\n    4 > out.txt  # a remark\n63\n$ ls\n"
        "$ pcsim report 'a b' 2>&1 | less\n```\n"
    )
    assert blocks(text, "python") == ["a = 1\n", "b = 2\n\nc = 3\n"]
    assert list(commands(text)) == [["pcsim", "count", "--depths", "2", "4"], ["pcsim", "report", "a b"]]
    for language in ("python", "console"):
        assert len(blocks(README, language)) == len(re.findall(rf"^```{language}\b", README, re.MULTILINE))


@pytest.mark.parametrize("block", blocks(README, "python"), ids=lambda block: block.splitlines()[0])
def test_readme_examples_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def accepts(words):
    """Whether the parser takes a command line; --help and --version leave with 0."""
    try:
        cli._parser().parse_args(words)
    except SystemExit as leaving:
        return leaving.code in (0, None)
    return True


@pytest.mark.parametrize("words", list(commands(README)), ids=" ".join)
def test_readme_commands_are_understood(words):
    assert words[0] == "pcsim"
    with contextlib.redirect_stdout(None):
        assert accepts(words[1:])


def test_a_command_that_is_not_understood_is_told():
    assert not accepts(["bench", "--no-such-option"])
    assert not accepts(["no-such-verb"])
    assert accepts(["count", "--depths", "2", "4"])
