"""README and documentation: code runs, commands are understood and print what is shown, numbers are those of the files.

``make docs`` checks the links of the pages under ``docs/``; those of the other Markdown files are checked here.
"""

import contextlib
import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import pcsim
from pcsim.algorithms import registry
from pcsim.cli import main
from pcsim.results import fields, pairs

ROOT = Path(__file__).parents[1]


def load(path):
    """A program of this repository as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tables = load(ROOT / "docs" / "tables.py")

PAGES = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in tables.pages()}
BESIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")  # what Sphinx does not read


def blocks(text, language):
    """The contents of fenced blocks in a language."""
    return re.findall(rf"^```{language}[^\S\n]*\n(.*?)^```[^\S\n]*$", text, re.MULTILINE | re.DOTALL)


def dialogues(text):
    """Each ``$ pcsim …``, also behind ``mpiexec``, of the console blocks: its words, without what a shell would take,
    and the output shown below it."""
    for block in blocks(text, "console"):
        for line, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.replace("\\\n", " "), re.MULTILINE):
            if re.match(r"(mpiexec -n \d+ )?pcsim\b", line):
                lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                words = []
                for word in lexer:
                    if set(word) <= set("|&;<>()"):
                        if words and word.startswith(("<", ">")) and words[-1] == "2":
                            words.pop()
                        break
                    words.append(word)
                yield words[words.index("pcsim") :], shown


ALL = [(page, words, shown) for page, text in PAGES.items() for words, shown in dialogues(text)]


def test_pages_blocks_and_commands_are_found():
    text = (
        "```python\na = 1\n```\ntext\n```sh\n$ pcsim no\n```\n```python\nb = 2\n\nc = 3\n```\n"
        "```console\n$ pcsim count --depths 2 \\\n    4 > out.txt  # a remark\n63\n\n64\n$ ls\nout.txt\n"
        "$ mpiexec -n 2 pcsim report 'a b' 2>&1 | less\n```\n"
    )
    assert blocks(text, "python") == ["a = 1\n", "b = 2\n\nc = 3\n"]
    assert list(dialogues(text)) == [
        (["pcsim", "count", "--depths", "2", "4"], "63\n\n64\n"),
        (["pcsim", "report", "a b"], ""),
    ]
    assert {"README.md", "docs/index.md", "docs/how-to/cluster.md", "docs/reference/files.md"} <= set(PAGES)
    assert len(ALL) > 50
    for page, text in PAGES.items():
        for language in ("python", "console"):
            assert len(blocks(text, language)) == len(re.findall(rf"^```{language}\b", text, re.MULTILINE)), page


# Code


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder in which somebody tries what the pages say: results and examples are where they are in a clone."""
    for name in ("benchmarks", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "python")])
def test_python_runs(page, clone):
    """The blocks of a page one after the other, as a reader would enter them."""
    names = {"__name__": "__main__"}
    for block in blocks(PAGES[page], "python"):
        exec(compile(block, page, "exec"), names)


def accepts(words):
    """Whether the parser takes a command line; --help and --version leave with 0."""
    try:
        main._parser().parse_args(words)
    except SystemExit as leaving:
        return leaving.code in (0, None)
    return True


def test_commands_are_understood():
    with contextlib.redirect_stdout(None):
        assert [(page, " ".join(words)) for page, words, _ in ALL if not accepts(words[1:])] == []


def test_a_command_that_is_not_understood_is_told():
    assert not accepts(["bench", "--no-such-option"])
    assert not accepts(["no-such-verb"])
    assert accepts(["count", "--depths", "2", "4"])


def prints(want, got):
    """Whether an output is what a page shows, where ``...`` stands for anything."""
    return doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)


@pytest.mark.parametrize("ranks", [64, 512])
def test_the_slurm_job_has_a_layer_for_each_rank(ranks, tmp_path):
    """Otherwise iPC is left out: what the script starts, with its commands replaced by one that prints them."""
    stubs = 'module() { :; }\nsource() { :; }\nsrun() { echo "$@"; }\n'
    job = (ROOT / "examples" / "cluster.sbatch").read_text(encoding="utf-8")
    environment = {**os.environ, "SLURM_NTASKS": str(ranks), "SLURM_NNODES": str(ranks // 32)}
    printed = subprocess.run(
        ["bash", "-c", stubs + job], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    started = [line.split("pcsim ", 1)[1].split() for line in printed.splitlines()]
    assert [words[0] for words in started] == ["doctor", "bench", "bench", "bench"]
    assert all(accepts(words) for words in started)
    strong = [main._parser().parse_args(words) for words in started if words[0] == "bench" and "weak" not in words]
    assert len(strong) == 2
    assert min(depth for arguments in strong for depth in arguments.depths) == ranks


SHOWN = [(page, words, shown) for page, words, shown in ALL if shown.strip()]


@pytest.mark.parametrize(("page", "words", "shown"), SHOWN, ids=[" ".join(words) for _, words, _ in SHOWN])
def test_what_a_command_prints_is_shown(page, words, shown, clone, pcsim):
    assert words[1] in ("count", "report", "simulate"), f"{page}: what {words[1]} prints differs from run to run"
    code, out, _ = pcsim(*words[1:])
    assert code == 0
    assert prints(shown, out), f"{page} shows\n{shown}\nbut this is printed\n{out}"
    assert not prints(shown.replace("7", "8"), out)


# Numbers


def told(text):
    """A text in one line."""
    return " ".join(text.split())


def test_the_page_of_claims_is_what_their_folder_says():
    assert tables.claims_page() == tables.CLAIMS.read_text(encoding="utf-8"), "python docs/tables.py writes it anew"


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if tables.MARKED.search(text)])
def test_tables_are_those_of_the_files(page):
    assert tables.with_tables(PAGES[page]) == PAGES[page], "python docs/tables.py writes them anew"


def test_every_table_stands_on_one_page():
    found = [name for text in PAGES.values() for name in tables.MARKED.findall(text)]
    assert sorted(found) == sorted(tables.TABLES)


def test_sentences_say_what_the_files_hold():
    for page, sentences in tables.sentences().items():
        for sentence in sentences:
            assert sentence in told(PAGES[page]), f"{page} must say: {sentence}"


def test_one_number_changed_is_told(monkeypatch):
    page = PAGES["docs/results/two-cores.md"]
    assert tables.with_tables(page.replace("| 0.494 |", "| 0.495 |")) == page
    row = tables.ratio()[1, 32, 1024]
    monkeypatch.setitem(row, "ratio", row["ratio"] + 0.01)
    assert not all(sentence in told(PAGES["README.md"]) for sentence in tables.sentences()["README.md"])


# Reference


def test_the_reference_has_every_public_name_and_field():
    named = set(re.findall(r"^\.\. auto\w+:: (\w+)$", PAGES["docs/reference/api.md"], re.MULTILINE))
    assert {name for name in pcsim.__all__ if name != "__version__"} == named
    described = set(re.findall(r"`(\w+)`", PAGES["docs/reference/files.md"]))
    known = {*fields._REQUIRED, *fields._OPTIONAL, *fields._CURVE} - {"label"}
    assert known - described == set()


def test_the_reference_and_the_glossary_have_every_denominator_and_baseline():
    for name in ("best-bp", "paper-style", "peer-ipc"):
        assert f"`{name}`" in PAGES["docs/reference/definitions.md"]
    for name in pairs.LADDER:
        assert f"`{name}`" in PAGES["docs/how-to/machine.md"]


# Links, length, pictures


def anchors(text):
    """The places of a page that a link may name."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page, text):
    """Relative links and pictures of a page that lead nowhere."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            yield target


@pytest.mark.parametrize("page", BESIDE)
def test_links_lead_somewhere(page):
    assert list(broken(page, (ROOT / page).read_text(encoding="utf-8"))) == []


def test_a_link_to_nowhere_is_told():
    text = "[a](docs/index.md) [b](docs/no.md) [c](README.md#try-it) [d](README.md#no) ![e](no.png) [f](https://x.org)"
    assert list(broken("README.md", text)) == ["docs/no.md", "README.md#no", "no.png"]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 6000


def test_pictures_are_drawn(tmp_path):
    draw = load(ROOT / "docs" / "draw.py")
    draw.draw(tmp_path)
    kept = {path.name for path in draw.IMAGES.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == kept
    for name in kept:
        assert re.findall(r">([^<>]*\d[^<>]*)</text>", (tmp_path / name).read_text(encoding="utf-8"))
