"""What a release must pass, a line for each step: ``make release-check``.

    python scripts/release_check.py [--out FOLDER] [STEP ...]

Steps: versions, build, contents, metadata, wheel, documents, site, notebooks. The distributions are left in ``--out``
(``dist``). What a step needs and does not find is said and passed over; a step that fails makes the exit code 1. It
knows nothing of pcsim, and needs no more than Python and ``build`` until the last three steps.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("tests/test_docs.py", "tests/test_package.py")  # numbers, links, commands and examples of README and docs


class Failed(Exception):
    """A step that did not pass; the message says why."""


class Skipped(Exception):
    """A step that cannot be done here."""


def run(*words, cwd=ROOT, **options):
    """The standard output of a command; its last lines are the complaint where it fails."""
    answer = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, **options)
    if answer.returncode:
        said = (answer.stdout + answer.stderr).strip().splitlines()[-12:]
        raise Failed("\n      ".join([f"{Path(str(words[0])).name} {words[1]}: exit code {answer.returncode}", *said]))
    return answer.stdout


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def version():
    (found,) = re.findall(r'^__version__ = "(.+)"$', text("pcsim/version.py"), re.MULTILINE)
    return found


def differing(version, changelog, citation):
    """Where changelog and citation name another version than the package, or another day than each other."""
    latest = re.search(r"^## \[?(\d[^\]\s]*)\]? - (.+)$", changelog, re.MULTILINE)
    cited = dict(re.findall(r"^(version|date-released): \"?(.+?)\"?$", citation, re.MULTILINE))
    wanted = {"CHANGELOG.md": (version, cited.get("date-released")), "CITATION.cff": (version, cited["date-released"])}
    given = {"CHANGELOG.md": latest and latest.groups(), "CITATION.cff": (cited.get("version"), cited["date-released"])}
    return [f"{name} has {given[name]}, not {wanted[name]}" for name in wanted if given[name] != wanted[name]]


def versions(out):
    if wrong := differing(version(), text("CHANGELOG.md"), text("CITATION.cff")):
        raise Failed("; ".join(wrong))
    return f"{version()} in package, changelog and citation, of one day"


def build(out):
    """Both distributions; the wheel is made from the unpacked source distribution."""
    for old in out.glob("pcsim-*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return ", ".join(f"{path.name} ({path.stat().st_size / 1e6:.1f} MB)" for path in sorted(out.glob("pcsim-*")))


def distribution(out, ending):
    found = [path for path in out.glob("pcsim-*") if path.name.endswith(ending)]
    if len(found) != 1:
        raise Failed(f"{len(found)} files pcsim-*{ending} in {out.name}: the step build makes one")
    return found[0]


def apart(packed, tracked):
    """Files of a source distribution that git does not hold, and the reverse; what setuptools adds is neither."""
    packed = {name for name in packed if name != "PKG-INFO" and not name.startswith("pcsim.egg-info/")}
    tracked = set(tracked)
    strays = [f"{name} is not git's" for name in sorted(packed - tracked)]
    return strays + [f"{name} is missing" for name in sorted(tracked - packed)]


def outside(names, version):
    """Files that a wheel would install beside the package, and files of the package that it lacks."""
    tops = ("pcsim/", f"pcsim-{version}.dist-info/")
    needed = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pcsim").rglob("*.py")}
    needed |= {f"pcsim/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "kernels").rglob("*.py")}
    needed |= {f"pcsim/measured/{path.name}" for path in (ROOT / "pcsim" / "measured").iterdir()}
    found = [f"{name} is outside the package" for name in names if not name.startswith(tops)]
    return found + [f"{name} is missing" for name in sorted(needed - set(names))]


def contents(out):
    with zipfile.ZipFile(distribution(out, ".whl")) as wheel:
        wrong = outside(wheel.namelist(), version())
    with tarfile.open(distribution(out, ".tar.gz")) as sdist:
        packed = [member.name.split("/", 1)[1] for member in sdist.getmembers() if not member.isdir()]
    if (ROOT / ".git").exists():
        wrong += apart(packed, run("git", "ls-files").splitlines())
    if wrong:
        raise Failed("; ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""))
    whose = "those of git" if (ROOT / ".git").exists() else "no git here to hold them against"
    return f"the wheel holds the package alone; {len(packed)} files in the source distribution, {whose}"


def metadata(out):
    """Both distributions as PyPI will look at them, and the citation."""
    said = []
    if shutil.which("cffconvert"):
        run("cffconvert", "--validate", "-i", ROOT / "CITATION.cff")
        said.append("cffconvert takes the citation")
    if subprocess.run([sys.executable, "-c", "import twine"], capture_output=True).returncode == 0:
        run(sys.executable, "-m", "twine", "check", "--strict", *sorted(out.glob("pcsim-*")))
        said.append("twine takes both distributions")
    if not said:
        raise Skipped("neither twine nor cffconvert is installed")
    return ", ".join(said)


def wheel(out):
    """In an environment of its own, beside PyPI's package of the name that our kernels have in the repository."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "venv", folder)
        python = Path(folder) / "bin" / "python"
        install = (
            ["uv", "pip", "install", "--python", python] if shutil.which("uv") else [python, "-m", "pip", "install"]
        )
        run(*install, distribution(out, ".whl"))
        run(*install, "kernels")
        where = (
            "import pcsim.kernels, importlib.util as u; print(u.find_spec('kernels').origin != pcsim.kernels.__file__)"
        )
        if run(python, "-c", where, cwd=folder).strip() != "True":
            raise Failed("pcsim's kernels stand in front of PyPI's package of that name")
        run(Path(folder) / "bin" / "pcsim", "count", "--depths", 32, cwd=folder)
        run(Path(folder) / "bin" / "pcsim", "doctor", cwd=folder)
    return "installed beside PyPI's kernels; count and doctor answer"


def tests(*words):
    return run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words).strip().splitlines()[-1]


def documents(out):
    return f"numbers, links, commands and examples: {tests(*(name for name in DOCUMENTS if (ROOT / name).exists()))}"


def site(out):
    if not (ROOT / "docs").is_dir():
        raise Skipped("there is no docs/")
    if subprocess.run([sys.executable, "-c", "import sphinx"], capture_output=True).returncode:
        raise Skipped("Sphinx is not installed: EXTRAS=…,docs")
    run("sphinx-build", "-W", "--keep-going", "--quiet", "docs", out / "site")
    return "built without a warning; every internal link leads somewhere"


def notebooks(out):
    return f"stored with outputs: {tests('tests/test_notebooks.py', '-k', 'stored')}"


STEPS = {step.__name__: step for step in (versions, build, contents, metadata, wheel, documents, site, notebooks)}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all of them by default")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the distributions (dist)")
    parsed = parser.parse_args(arguments)
    if unknown := set(parsed.steps) - set(STEPS):
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    parsed.out = parsed.out.resolve()
    parsed.out.mkdir(parents=True, exist_ok=True)
    code = 0
    for name in parsed.steps or STEPS:
        try:
            print(f"ok    {name}: {STEPS[name](parsed.out)}", flush=True)
        except Skipped as reason:
            print(f"skip  {name}: {reason}", flush=True)
        except Failed as reason:
            print(f"FAIL  {name}: {reason}", flush=True)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
