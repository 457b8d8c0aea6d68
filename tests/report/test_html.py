"""A results file as one page: what stands on it, that nothing in a file can run, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic
from rows import failure, made, row

from pcsim.errors import InputError
from pcsim.report.html import page
from pcsim.results.files import Results, latest, read
from pcsim.results.pairs import pairs
from pcsim.tables import short

FIXTURE = Path(__file__).parents[1] / "fixtures" / "results-small.jsonl"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "\"'><script>document.title='taken'</script><img src=http://evil.invalid/x onerror=document.title='taken'>\\"
ATTRIBUTES = {"class", "scope", "title", "alt", "src", "lang", "charset", "http-equiv", "content", "name"}


class Page(HTMLParser):
    """Every tag, every attribute, and the text of every cell of each table, by caption."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.tables, self.texts = [], [], {}, []
        self.rows, self.caption, self.inside = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.inside = tag
        if tag == "table":
            self.rows, self.caption = [], ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.inside in ("td", "th", "code", "button") and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data
        elif self.inside == "caption":
            self.caption += data

    def handle_endtag(self, tag):
        if tag == "table":
            self.tables.setdefault(self.caption, self.rows)
            self.inside = ""


@pytest.fixture(scope="module")
def results():
    found = read(FIXTURE)
    return Results(found.path, found.context, latest(found.rows), found.warnings)


@pytest.fixture(scope="module")
def whole(results):
    return page(results)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A file whose every text is hostile, as it is read."""
    rows = [
        row("ipc", activation=EVIL, variant=EVIL, warnings=[EVIL]),
        row("ipc", "layer-parallel", 2, activation=EVIL, dtype="$\\frac{\x00\ud800"),
        row("bp", EVIL, activation=EVIL, backend=EVIL, variant=EVIL),
        row("bp", "serial-unfused", activation=EVIL, dtype="$\\frac{\x00\ud800"),
        failure("bp", activation=EVIL) | {"error": EVIL},
    ]
    context = {EVIL: EVIL, "command": ["pcsim", EVIL], "cpu_model": EVIL, "note": EVIL, "versions": {"pcsim": EVIL}}
    path = tmp_path_factory.mktemp("hostile") / f"{EVIL.replace('/', '')}.jsonl"
    lines = [{"schema": "pcsim-results/1", "context": context}, *rows, {"resumed": {"command": EVIL, EVIL: [EVIL]}}]
    path.write_text("\n".join(map(json.dumps, lines)))
    found = read(path)
    found.warnings.append(EVIL)
    return found


def test_what_stands_on_the_page(results, whole):
    found = Page(whole)
    assert "pcsim report: results-small.jsonl" in found.texts
    assert any(text.startswith("ratio = seconds per complete weight update of iPC") for text in found.texts)
    assert any("made-up fixture" in text for text in found.texts)
    assert "pcsim bench --workers 1 auto" in found.texts
    every = found.tables["Seconds per complete weight update: medians of the samples in the file"]
    assert len(every) == len(results.rows) + 1
    assert any("error: " in line[-1] for line in every)
    grid = found.tables["measured, batch 1, float32, tanh"]
    alike = [pair for pair in pairs(results) if (pair["kind"], pair["batch"]) == ("measured", 1)]
    ratio = {(pair["depth"], pair["width"]): pair["ratio"] for pair in alike if pair["dtype"] == "float32"}
    assert grid[0][:2] == ["depth", "width 64"]
    assert grid[1][1].strip("~!") == short(ratio[2, 64])
    assert [name for name, _ in found.tables["The run that began the file"][1:]] == list(results.context)


def test_the_page_needs_nothing_else(whole):
    found = Page(whole)
    sources = [value for name, value in found.attributes if name in ("src", "href")]
    assert len(sources) >= 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"https?:|url\(|@import", whole)
    assert "default-src 'none'" in whole


def test_figures_are_of_what_the_file_holds():
    assert page(synthetic.everything()).count("<img") == 3
    assert page(made(row("ipc"), row("bp"))).count("<img") == 2


def test_a_file_without_a_ratio_still_has_its_rows():
    found = Page(page(made(row("ipc"), failure("bp"))))
    assert "No cell has times of both iPC and BP, so there is no ratio." in found.texts
    assert any("MemoryError: no room" in text for text in found.texts)


def test_the_denominator_is_the_one_asked_for(results):
    assert "execution serial: paper-style" in page(results, "paper-style")
    for wrong in ("cuda", EVIL):
        with pytest.raises(InputError):
            page(results, wrong)
    with pytest.raises(InputError, match="holds no rows"):
        page(made())


def test_a_hostile_file_is_text_and_nothing_else(hostile):
    text = page(hostile)
    text.encode()
    found = Page(text)
    assert found.tags.count("script") == 1
    assert set(found.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "script", "h1", "h2", "p", "pre", "ul", "li"),
        *("figure", "img", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "code"),
    }
    assert {name for name, _ in found.attributes} <= ATTRIBUTES
    assert all(value.startswith("data:") for name, value in found.attributes if name == "src")
    assert any("error: " + EVIL in text for text in found.texts)
    assert sum(EVIL in text for text in found.texts) > 10


def test_a_page_that_did_not_escape_would_be_noticed(hostile, monkeypatch):
    monkeypatch.setattr("pcsim.report.html.escape", lambda text: text)
    found = Page(page(hostile))
    assert found.tags.count("script") > 1


# --- in a browser ---


def opened(text, folder, *, log=False):
    """The page's document after its script has run, and what the browser says on its console and fetches."""
    (folder / "page.html").write_text(text)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"]
    flags += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [BROWSER, *flags, (folder / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


browser = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")


@browser
@pytest.mark.slow
def test_it_opens_in_a_browser(whole, tmp_path):
    document, console = opened(whole, tmp_path)
    assert console == []
    shown, written = Page(document), Page(whole)
    assert shown.tables.keys() == written.tables.keys()
    sorting = sum(len(lines[0]) for caption, lines in shown.tables.items() if "weight update" in caption)
    assert document.count("<button>") > sorting > 10


def clicked(text, caption, head, times):
    """The page with a script that clicks the head of a column."""
    script = f"""
    const table = [...document.querySelectorAll("table.sorts")].find(t => t.caption.textContent.includes({caption!r}));
    const button = [...table.tHead.querySelectorAll("button")].find(b => b.textContent === {head!r});
    for (let i = 0; i < {times}; i++) button.click();
    """
    text = re.sub(r"<meta http-equiv.*?>", "", text, count=1)  # which lets no other script run
    return text.replace("</body>", f"<script>{script}</script></body>")


@browser
@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_a_click_sorts_a_table_by_seconds_whatever_their_unit(whole, results, tmp_path, times):
    document, console = opened(clicked(whole, "medians of the samples", "seconds", times), tmp_path)
    assert console == []
    lines = next(lines for caption, lines in Page(document).tables.items() if "medians of the samples" in caption)
    units = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
    column = [line[lines[0].index("seconds")].split() for line in lines[1:]]
    known = [float(cell[0]) * units[cell[1]] for cell in column if len(cell) == 2]
    assert known == sorted(known, reverse=times == 2)
    assert len({cell[1] for cell in column if len(cell) == 2}) > 1
    assert len(known) == sum(row["median"] is not None for row in results.rows)
    assert [len(cell) for cell in column] == sorted((len(cell) for cell in column), reverse=True)  # no time: last
    assert f'aria-sort="{"ascending" if times == 1 else "descending"}"' in document


@browser
@pytest.mark.slow
def test_nothing_of_a_hostile_file_runs_or_fetches(hostile, tmp_path):
    text = page(hostile)
    document, console = opened(text, tmp_path)
    assert console == []
    assert "<title>taken" not in document
    assert Page(document).tags.count("script") == 1
    requests = [
        event["params"]["url"]
        for event in json.loads((tmp_path / "net.json").read_text())["events"]
        if "url" in event.get("params", {})
    ]
    assert not [url for url in requests if "evil" in url]


@browser
@pytest.mark.slow
def test_the_policy_holds_where_escaping_fails(hostile, monkeypatch, tmp_path):
    """The second wall: with nothing escaped, the browser still refuses to run or fetch anything."""
    monkeypatch.setattr("pcsim.report.html.escape", lambda text: text)
    document, console = opened(page(hostile), tmp_path)
    assert any("Content Security Policy" in line for line in console)
    assert "<title>taken" not in document
