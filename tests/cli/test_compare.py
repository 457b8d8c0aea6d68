"""compare as a user and as CI meets it."""

import csv
from pathlib import Path

import pytest
from rows import failure, row, some

from pcsim.results.files import Writer

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"


@pytest.fixture
def written(tmp_path):
    def write(name, *rows, **context):
        with Writer(tmp_path / name, {"cpu_model": "A", "cores": 2} | context) as writer:
            for one in rows:
                writer.write(one)
        return tmp_path / name

    return write


def timed(factor, **fields):
    return row("ipc", seconds=list(some(factor, 31, 0.001, int(factor * 100))), **fields)


def test_a_file_does_not_differ_from_itself(pcsim):
    code, out, err = pcsim("compare", FIXTURE, FIXTURE, "--fail-above", 1)
    assert (code, err) == (0, "")
    assert " 0 faster, 0 slower" in out


@pytest.mark.parametrize(("factor", "code"), [(1.2, 1), (1.04, 0), (0.8, 0)])
def test_the_exit_code_serves_in_ci(pcsim, written, factor, code):
    files = written("old.jsonl", timed(1.0)), written("new.jsonl", timed(factor))
    ended, out, err = pcsim("compare", *files, "--fail-above", 1.05)
    assert ended == code
    assert ("slower than 1.05 or failed: ipc serial on 1, 8 × 64, batch 1 (1.20)" in err) == bool(code)
    assert "Of 1 contender" in out
    assert pcsim("compare", *files)[0] == 0


def test_a_contender_that_fails_now_counts(pcsim, written):
    files = written("old.jsonl", timed(1.0), row("bp")), written("new.jsonl", timed(1.0), failure("bp"))
    assert pcsim("compare", *files, "--fail-above", 1.05)[0] == 1
    assert pcsim("compare", *reversed(files), "--fail-above", 1.05)[0] == 0


def test_other_machines_are_refused_in_one_line(pcsim, written):
    files = written("old.jsonl", timed(1.0)), written("new.jsonl", timed(1.0), cpu_model="B", cores=8)
    code, out, err = pcsim("compare", *files)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "different machines: CPU model (A → B), usable cores (2 → 8); add --across-machines" in err
    code, out, err = pcsim("compare", *files, "--across-machines")
    assert (code, err) == (0, "")
    assert "machines differ in CPU model (A → B), usable cores (2 → 8)" in out


def test_formats_and_flags(pcsim, written):
    files = written("old.jsonl", timed(1.0), row("bp")), written("new.jsonl", timed(1.02), row("bp"))
    out = pcsim("compare", *files, "--format", "csv", "--difference", 0.1, "--denominator", "serial")[1]
    lines = list(csv.DictReader(out.splitlines()))
    assert [line["denominator"] for line in lines] == ["", "", "serial"]
    assert {line["verdict"] for line in lines} == {"no difference larger than 10 %"}
    assert "| --: |" in pcsim("compare", *files, "--format", "markdown")[1]


@pytest.mark.parametrize(
    "words",
    [
        ["--fail-above", "0.9"],
        ["--fail-above", "nan"],
        ["--difference", "0"],
        ["--denominator", "cuda"],
        ["--format", "html"],
    ],
)
def test_bad_flags_are_one_line(pcsim, written, words):
    file = written("old.jsonl", timed(1.0), row("bp"))
    code, out, err = pcsim("compare", file, file, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_files_without_a_common_contender(pcsim, written):
    code, out, err = pcsim("compare", written("old.jsonl", timed(1.0)), written("new.jsonl", row("bp")))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no contender in common" in err
