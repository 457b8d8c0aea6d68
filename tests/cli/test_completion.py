"""Completion of words in a shell."""

import shutil
import subprocess
import sys

import pytest

pytest.importorskip("shtab")
if shutil.which("bash") is None:
    pytest.skip("bash is not installed", allow_module_level=True)

ASKED = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_pcsim pcsim "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(pcsim, tmp_path):
    """What bash offers for the last of some words, in a folder that holds a file."""
    code, out, err = pcsim("--print-completion", "bash")
    assert (code, err) == (0, "")
    (tmp_path / "script").write_text(out)
    (tmp_path / "results.jsonl").touch()

    def ask(*words):
        command = ["bash", "-c", ASKED, "-", tmp_path / "script", "pcsim", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
        assert "complete: " in done.stderr or not done.stderr  # no line is edited here
        return set(done.stdout.split())

    return ask


def test_verbs_flags_and_choices(complete):
    assert complete("be") == {"bench"}
    assert {"report", "compare", "plot", "doctor"} <= complete("")
    assert complete("compare", "--fa") == {"--fail-above"}
    assert complete("report", "--format", "") == {"text", "markdown", "csv"}
    assert complete("report", "--format", "c") == {"csv"}


@pytest.mark.parametrize("words", [["report", "resu"], ["compare", "x", "resu"], ["bench", "--out", "resu"]])
def test_files(complete, words):
    assert complete(*words) == {"results.jsonl"}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_can_read_its_script(pcsim, tmp_path):
    (tmp_path / "_pcsim").write_text(pcsim("--print-completion", "zsh")[1])
    assert subprocess.run(["zsh", "-n", tmp_path / "_pcsim"], check=False, timeout=60).returncode == 0


def test_zsh_has_every_verb(pcsim):
    code, out, _ = pcsim("--print-completion", "zsh")
    assert code == 0
    assert out.startswith("#compdef pcsim")
    assert all(f"_shtab_pcsim_{verb}_options" in out for verb in ("bench", "compare", "report"))


def test_another_shell_and_no_shtab_are_one_line(pcsim, monkeypatch):
    code, out, err = pcsim("--print-completion", "fish")
    assert (code, out, err.count("\n")) == (2, "", 1)
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, out, err = pcsim("--print-completion", "bash")
    assert (code, out, err) == (
        2,
        "",
        "pcsim: --print-completion needs shtab, which is not installed here: pip install shtab\n",
    )
