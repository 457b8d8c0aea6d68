"""Claims, their experiments without chance, the folder that keeps findings, and what its reports say."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from races import FEW, MANY, race_of

from pcsim.algorithms import IPC
from pcsim.bench.case import Case
from pcsim.bench.ceilings import Ceilings
from pcsim.claims import counted, folder, measured, trained
from pcsim.claims.claim import FAILS, HOLDS, ONLY_IF, UNRESOLVED, UNTESTED, Claim, Finding, Work
from pcsim.errors import InputError
from pcsim.results.files import read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"

EXACT = [claim for claim in folder.CLAIMS.values() if claim.kind in ("counted", "computed")]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    place = tmp_path_factory.mktemp("claims")
    assert folder.run(EXACT, place, quick=True) == []
    return place


def test_every_claim_says_where_it_stands_and_what_would_refute_it():
    for name, claim in folder.CLAIMS.items():
        assert re.fullmatch(r"[a-z0-9-]+", name) and claim.source and claim.refuted_by
        assert claim.statement.endswith(".") and not claim.refuted_by.endswith(".")


def test_verdicts_of_what_needs_no_chance(found):
    verdicts = {claim.id: held["verdict"] for claim, held in folder.findings(found) if held}
    assert verdicts == {
        "table-4": HOLDS, "theorem-3-1": ONLY_IF, "figure-5": HOLDS, "lower-bounded": ONLY_IF, "pc-products": HOLDS,
        "cyclic-reduction": HOLDS, "asynchronous-smm": HOLDS, "zil-is-bp": HOLDS, "changing-batches": ONLY_IF,
        "pc-5l-steps": HOLDS, "signal-decay": ONLY_IF, "signal-decay-residual": ONLY_IF,
    }  # fmt: skip


def test_a_count_that_differs_fails(monkeypatch, tmp_path):
    right = counted.table4

    def wrong(*arguments, **options):
        rows = right(*arguments, **options)
        rows[3]["smm"] += 1
        return rows

    monkeypatch.setattr(counted, "table4", wrong)
    assert counted.table_4(Work(tmp_path, quick=True)).verdict == FAILS


def test_a_folder_is_carried_on(found):
    heard = []
    before = {path.name: path.read_bytes() for path in found.iterdir()}
    folder.run(EXACT, found, quick=True, on_claim=lambda claim, known: heard.append(known))
    assert heard == [True] * len(EXACT)
    assert {path.name: path.read_bytes() for path in found.iterdir()} == before


def test_a_first_look_does_not_stand_for_the_whole(found):
    heard = []
    folder.run([folder.CLAIMS["figure-5"]], found, quick=False, on_claim=lambda claim, known: heard.append(known))
    assert heard == [False]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links, self.ids = [], set(), set()

    def handle_starttag(self, tag, attributes):
        held = dict(attributes)
        if tag != "meta":
            self.open.append(tag)
        self.links |= {held["href"]} if "href" in held else set()
        self.ids |= {f"#{held['id']}"} if "id" in held else set()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_reports_have_every_claim_and_lead_to_its_rows(found):
    text, page = folder.markdown(found), folder.page(found)
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and tags.links == tags.ids
    assert "<script" not in page and "http" not in re.sub(r"https?://(doi|arxiv)\S+", "", page)
    for name, claim in folder.CLAIMS.items():
        assert f"## {name}\n" in text
        assert claim.statement in text
    assert text.count(f"**{UNTESTED}**") == 5
    assert "Not run yet: `pcsim claims run figure-2-right`." in text
    assert "**Holds only if one worker makes all products.**" in text


# Verdicts where chance enters


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"verdict": "true"}, "a verdict is one of holds here"),
        ({"verdict": HOLDS, "condition": "always"}, "a condition belongs to the verdict 'holds only if'"),
        ({"verdict": ONLY_IF}, "a condition belongs to the verdict 'holds only if'"),
        ({"verdict": HOLDS, "seeds": 2}, "2 seeds are too few for a verdict"),
    ],
)
def test_findings_that_cannot_be(wrong, message):
    with pytest.raises(InputError, match=message):
        Finding(sentence="", **wrong)


@pytest.mark.parametrize(
    ("ipc", "verdict"),
    [
        ((FEW, 1.0), HOLDS),
        ((FEW, 5.0), ONLY_IF),
        (((40, 41, 43, 39, 44), 1.0), FAILS),
        (((10, 40, 20, 15, 30), 1.0), UNRESOLVED),
        (((10, None, None, None, 9), 1.0), FAILS),
        (((10, 11, None, 9, 9), 1.0), UNRESOLVED),
    ],
)
def test_a_race_decides(monkeypatch, tmp_path, ipc, verdict):
    monkeypatch.setattr(trained, "raced", lambda *_: race_of({"bp": (MANY, 1.0), "ipc": ipc}))
    work = Work(tmp_path)
    found = trained.fewer(work, "x", 2, ("bp", "ipc"), "ipc", "samples", but="span")
    assert found.verdict == verdict
    assert found.seeds == 5 and found.files == ("race-x-2.jsonl.gz",)


@pytest.mark.parametrize(
    ("ipc", "verdict"), [(FEW, HOLDS), ((40, 41, 43, 39, 44), FAILS), ((10, 40, 20, 15, 30), UNRESOLVED)]
)
def test_one_of_two_beats_the_other(monkeypatch, tmp_path, ipc, verdict):
    monkeypatch.setattr(trained, "raced", lambda *_: race_of({"bp": (MANY, 1.0), "ipc": (ipc, 1.0)}))
    assert trained.beats(Work(tmp_path), "x", 2, (), "ipc", "bp", "samples").verdict == verdict


@pytest.mark.parametrize(
    ("late", "verdict"), [(FEW, HOLDS), ((45, 44, 46, 43, 47), FAILS), ((20, 60, 25, 30, 18), UNRESOLVED)]
)
def test_what_suffices(monkeypatch, tmp_path, late, verdict):
    monkeypatch.setattr(trained, "raced", lambda *_: race_of({"bp": (MANY, 1.0), "bp-async": (late, 1.0)}))
    assert trained.suffices(Work(tmp_path), "x", 2, (), "bp-async").verdict == verdict


# Folders that are none


def test_a_folder_without_findings_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no findings"):
        folder.markdown(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON: remove it"),
        ("[]", "is no finding of a claim"),
        ('{"schema": "pcsim-results/1"}', "is no finding of a claim"),
        ('{"schema": "pcsim-claim/1", "id": "table-4", "verdict": "true"}', "verdict must be one of holds here"),
    ],
)
def test_a_finding_that_is_none_is_refused(tmp_path, content, message):
    (tmp_path / "table-4.json").write_text(content)
    with pytest.raises(InputError, match=message):
        folder.markdown(tmp_path)


def test_the_command_line(pcsim, tmp_path):
    code, out, _ = pcsim("claims", "list")
    assert code == 0 and all(name in out for name in folder.CLAIMS)
    code, out, err = pcsim("claims", "run", "figure-5", "zil-is-bp", "--quick", "--out", tmp_path / "f")
    assert code == 0 and "figure-5: holds here. iPC makes 5 full" in out
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["figure-5.json", "zil-is-bp.json"]
    assert json.loads((tmp_path / "f" / "figure-5.json").read_text())["quick"] is True
    code, out, _ = pcsim("claims", "report", tmp_path / "f", "--html", tmp_path / "p.html")
    assert code == 0 and "<h1>Published claims" in (tmp_path / "p.html").read_text()
    assert "# Published claims" in pcsim("claims", "report", tmp_path / "f")[1]
    for words, message in (
        (["run", "figure-9", "--out", tmp_path / "g"], "claim 'figure-9' is unknown"),
        (["report", tmp_path / "nowhere"], "is no folder"),
        (["run", "figure-5", "--out", tmp_path / "p.html"], "is there and no folder"),
    ):
        code, out, err = pcsim("claims", *words)
        assert (code, out, err.count("\n")) == (2, "", 1) and message in err
    assert not (tmp_path / "g").exists()


def test_data_that_are_not_here_leave_the_other_claims(monkeypatch, tmp_path):
    def nothing(work):
        raise InputError("fashion-mnist: only 3,000 come with pcsim")

    lacking = Claim("needs-data", "x", "x.", "x", nothing, "trained")
    monkeypatch.setitem(folder.CLAIMS, "needs-data", lacking)
    left = folder.run([lacking, folder.CLAIMS["figure-5"]], tmp_path, quick=True)
    assert [claim.id for claim in left] == ["needs-data"]
    assert (tmp_path / "figure-5.json").exists()


# What is timed


def pair_of(ratio, low, high):
    return {"ratio": ratio, "low": low, "high": high, "median": 1e-3, "other_median": 2e-3, "execution": "serial",
            "other_execution": "serial", "workers": 1, "other_workers": 1, "processes": 8}  # fmt: skip


@pytest.mark.parametrize(
    ("best", "serial", "verdict"),
    [
        ((0.08, 0.07, 0.09), (0.05, 0.04, 0.06), HOLDS),
        ((0.5, 0.4, 0.6), (0.05, 0.04, 0.06), ONLY_IF),
        ((0.5, 0.4, 0.6), (0.4, 0.3, 0.5), FAILS),
        ((0.5, 0.4, 0.6), (0.1, 0.08, 0.12), UNRESOLVED),
    ],
)
def test_a_measurement_decides(monkeypatch, tmp_path, best, serial, verdict):
    found = {"best-bp": pair_of(*best), "paper-style": pair_of(*serial)}
    monkeypatch.setattr(measured, "timed", lambda *_: (found, "bench.jsonl"))
    told = measured.tenfold(Work(tmp_path, quick=True))
    assert told.verdict == verdict and told.files == ("bench.jsonl",) and told.seeds == 8
    assert "predicted on server-64, 64 cores" in told.sentence
    small = {HOLDS: (1.2, 1.1, 1.3), FAILS: (0.8, 0.7, 0.9), UNRESOLVED: (1.0, 0.9, 1.1)}
    for expected, ratio in small.items():
        found["paper-style"] = pair_of(*ratio)
        assert measured.small_nets(Work(tmp_path, quick=True)).verdict == expected


def test_a_cell_is_timed_into_a_results_file(monkeypatch, tmp_path):
    """And is not timed again when the file holds it."""
    kept = [row for row in read(FIXTURE).rows if row["error"] is None]
    made = []

    def run(self, ceilings, done):
        made.append(len(done))
        return iter(kept if not done else [])

    monkeypatch.setattr(measured.Sweep, "ceilings", lambda self: Ceilings([]))
    monkeypatch.setattr(measured.Sweep, "run", run)
    found, name = measured.timed(Work(tmp_path, quick=True), Case(2, 8), IPC(), "2-8")
    assert set(found) == {"best-bp", "paper-style"}
    assert len(read(tmp_path / name).rows) == len(kept)
    again, _ = measured.timed(Work(tmp_path, quick=True), Case(2, 8), IPC(), "2-8")
    assert made == [0, len(kept)] and again["best-bp"]["ratio"] == found["best-bp"]["ratio"]
