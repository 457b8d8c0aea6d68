"""The checks of a release: what each must notice, by made-up distributions, changelogs and citations."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import release_check
from release_check import ROOT, Failed, apart, differing, main, outside, version

import pcsim

CHANGELOG = "# Changelog\n\n## 1.2.0 - 2026-01-31\n\n- news\n\n## 1.1.0 - 2025-12-01\n"
CITATION = 'cff-version: 1.2.0\nversion: 1.2.0\ndate-released: "2026-01-31"\n'


def test_the_version_is_the_packages():
    assert version() == pcsim.__version__


def test_this_version_stands_everywhere():
    read = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff")}
    assert differing(version(), *read.values()) == []


@pytest.mark.parametrize(
    ("version", "changelog", "citation", "wrong"),
    [
        ("1.2.0", CHANGELOG, CITATION, []),
        ("1.2.0", CHANGELOG.replace("## 1.2.0", "## [1.2.0]"), CITATION, []),
        ("1.3.0", CHANGELOG, CITATION, ["CHANGELOG.md", "CITATION.cff"]),
        ("1.2.0", CHANGELOG.replace("1.2.0", "1.3.0"), CITATION, ["CHANGELOG.md"]),
        ("1.2.0", CHANGELOG.replace("2026-01-31", "unreleased"), CITATION, ["CHANGELOG.md"]),
        ("1.2.0", "# Changelog\n", CITATION, ["CHANGELOG.md"]),
        ("1.2.0", CHANGELOG, CITATION.replace("\nversion: 1.2.0", "\nversion: 1.1.0"), ["CITATION.cff"]),
        ("1.2.0", CHANGELOG, CITATION.replace("-31", "-30"), ["CHANGELOG.md"]),
    ],
)
def test_another_version_or_day_is_told(version, changelog, citation, wrong):
    assert [line.split()[0] for line in differing(version, changelog, citation)] == wrong


def test_a_file_too_many_and_one_too_few_are_told():
    made = ["PKG-INFO", "pcsim.egg-info/SOURCES.txt"]
    assert apart(["a.py", "b/c.py", *made], ["a.py", "b/c.py"]) == []
    assert apart(["a.py", "notes.txt", *made], ["a.py", "b/c.py"]) == ["notes.txt is not git's", "b/c.py is missing"]


def complete():
    """The names in a wheel as it should be."""
    found = [name.removesuffix(" is missing") for name in outside([], version())]
    return [*found, f"pcsim-{version()}.dist-info/RECORD"]


def test_a_wheel_is_the_package_and_nothing_beside_it():
    names = complete()
    assert {"pcsim/version.py", "pcsim/kernels/layers/dense.py", "pcsim/measured/machine-2-cores.json"} <= set(names)
    assert outside(names, version()) == []
    assert outside([*names, "kernels/__init__.py"], version()) == ["kernels/__init__.py is outside the package"]
    names.remove("pcsim/measured/machine-2-cores.json")
    assert outside(names, version()) == ["pcsim/measured/machine-2-cores.json is missing"]


@pytest.fixture
def made(tmp_path):
    """A folder with distributions that hold what they should, made without building any."""
    with zipfile.ZipFile(tmp_path / "pcsim-0-py3-none-any.whl", "w") as wheel:
        for name in complete():
            wheel.writestr(name, "")
    with tarfile.open(tmp_path / "pcsim-0.tar.gz", "w:gz") as sdist:
        sdist.addfile(tarfile.TarInfo("pcsim-0/README.md"), io.BytesIO())
    return tmp_path


def test_steps_answer_in_a_line_each(made, capsys, monkeypatch):
    monkeypatch.setattr(release_check, "ROOT", made)  # where there is no git
    monkeypatch.setattr(release_check, "version", lambda: pcsim.__version__)
    monkeypatch.setattr(release_check, "outside", lambda names, version: [])
    assert main(["--out", str(made), "contents", "site"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in shown] == ["ok    contents", "skip  site"]
    monkeypatch.setattr(release_check, "outside", lambda names, version: ["kernels is outside the package"])
    assert main(["--out", str(made), "contents"]) == 1
    assert capsys.readouterr().out == "FAIL  contents: kernels is outside the package\n"
    with pytest.raises(SystemExit) as ending:
        main(["no-such-step"])
    assert ending.value.code == 2


def test_a_folder_without_distributions_fails(tmp_path):
    with pytest.raises(Failed, match="the step build makes one"):
        release_check.contents(tmp_path)


def test_a_command_that_fails_says_what_it_said():
    with pytest.raises(Failed, match=r"(?s)sh -c: exit code 3.*no disk"):
        release_check.run("sh", "-c", "echo no disk >&2; exit 3", cwd=Path("/"))
