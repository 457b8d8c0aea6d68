"""count as a user meets it."""

import json
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"

ALL = ("bp", "pc", "zil", "ipc", "bp-async", "local", "dfa", "dual")


def lines(out):
    """The cells of all rows of BP, PC, Z-IL and iPC."""
    return [line.split() for line in out.splitlines() if line.startswith(("BP ", "PC ", "Z-IL ", "iPC "))]


def test_count_prints_table_4(pcsim):
    code, out, _ = pcsim("count", "--depths", 4, "--steps", 8, "--workers", 1, 2, "--show", "products")
    assert code == 0
    assert [row[:1] + row[-6:-2][:2] for row in lines(out)] == [
        ["BP", "7", "7"],
        ["PC", "56", "16"],
        ["Z-IL", "21", "6"],
        ["iPC", "7", "2"],
    ]
    code, out, _ = pcsim("count", "--depths", 4, "--algorithms", "ipc", "--json", "-")
    assert json.loads(out)[0]["smm"] == 2


def test_count_prints_what_products_in_a_row_leave_out(pcsim):
    code, out, _ = pcsim("count", "--depths", 4, "--algorithms", *ALL, "--show", "costs", "--hidden", 100)
    assert code == 0
    assert "Layers are 100 x 100, heads and feedback 10 x 100." in out
    assert max(map(len, out.splitlines())) <= 100
    found = {line[:16].strip(): line[16:].split() for line in out.splitlines()[out.splitlines().index("") + 1 :]}
    shown = ("BP", "PC", "Z-IL", "iPC", "async BP", "local losses", "DFA", "dual propagation")
    assert [found[name][-7:-1] for name in shown] == [
        ["7", "7", "0", "1", "1", "1"],
        ["16", "16", "0", "1", "8", "8"],
        ["6", "6", "0", "1", "3", "3"],
        ["2", "2", "0", "1", "1", "1"],
        ["2", "2", "6", "7", "1", "1"],
        ["3", "1.2", "0", "1", "1", "0"],
        ["1.5", "1.05", "3", "4", "1", "1"],
        ["8", "8", "0", "1", "5", "3.67"],
    ]
    assert found["BP"][-1] == "220,000"


def test_both_tables_are_shown_unless_one_is_chosen(pcsim):
    words = ["count", "--depths", 3, "--algorithms", "ipc", "local"]
    products, costs = (pcsim(*words, "--show", show)[1] for show in ("products", "costs"))
    assert pcsim(*words)[1] == f"{products}\n{costs}"


def test_json_holds_both(pcsim):
    words = ["count", "--depths", 4, "--algorithms", "local", "--workers", 1, "--json", "-"]
    (row,) = json.loads(pcsim(*words, "--hidden", 100, "--classes", 5)[1])
    assert row["smm_workers"] == {"1": 10}
    assert [row[name] for name in ("width", "classes", "span_flop", "delay", "held")] == [100, 5, 1.1, 0, 1]
    assert [row[name] for name in ("messages_up", "messages_down", "flops")] == [1, 0, 169_000]


def test_examples_stand_beside_algorithms(pcsim):
    words = ["count", "--depths", 8, "--algorithms", "bp", "--show", "costs"]
    out = pcsim(*words, "--examples")[1]
    assert [line.split()[-7:-4] for line in out.splitlines()[-2:]] == [["15", "15", "0"], ["11", "133", "0"]]
    assert out.splitlines()[-1].startswith("BP by a scan ")
    assert "scan" not in pcsim(*words)[1]
    changing = pcsim("count", "--depths", 4, "--algorithms", "ipc", "--examples", "--steps-per-batch", 8)
    assert changing[0] == 0


def test_muon_has_products_of_its_own(pcsim):
    words = ["count", "--depths", 8, "--algorithms", "bp", "ipc", "--workers", 1, "--optimizer", "muon", "--batch", 32]
    bp, ipc = json.loads(pcsim(*words, "--json", "-")[1])
    assert [(row["optimizer"], row["batch"], row["mm"]) for row in (bp, ipc)] == [("muon", 32, 15)] * 2
    assert [(row["smm"], row["mm_full"], row["smm_full"]) for row in (bp, ipc)] == [(15, 143, 31), (2, 143, 17)]
    assert [row["span_flop"] for row in (bp, ipc)] == [16 + 30, 2 + 30]  # 15 products of 64 columns for 32 samples
    code, out, _ = pcsim(*words)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    assert out.count("Muon") == 2 > pcsim(*words[:-4])[1].count("Muon")
    code, _, err = pcsim(*words, "--micro-batches", 4)
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("other", [["--json", "-"], ["--micro-batches", 4]])
def test_a_table_is_not_chosen_where_there_is_none(pcsim, other):
    code, out, err = pcsim("count", "--show", "costs", *other)
    assert (code, out) == (2, "")
    assert "leave it out" in err


def test_what_is_given_twice_is_shown_once(pcsim):
    twice = pcsim("count", "--depths", 2, 2, "--workers", 1, 1, "--steps", 3, 3, "--algorithms", "pc", "pc")
    assert twice == pcsim("count", "--depths", 2, "--workers", 1, "--steps", 3, "--algorithms", "pc")
    assert twice[0] == 0


# Depth and batch

BATCHES = ["count", "--depths", 2, 8, "--batches", 1, 64]


def test_bp_over_ipc_at_several_batches(pcsim, tmp_path):
    code, out, err = pcsim(*BATCHES)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()[-4:]]
    assert [line[:4] for line in lines] == [
        ["2", "1", "1.50", "1.50"],
        ["2", "64", "1.50", "1.01"],
        ["8", "1", "7.50", "7.50"],
        ["8", "64", "7.50", "1.10"],
    ]
    assert max(map(len, out.splitlines())) <= 120
    words = ["--machines", "ideal-linear", "--results", FIXTURES / "results-small.jsonl"]
    rows = {(row["depth"], row["batch"]): row for row in json.loads(pcsim(*BATCHES, *words, "--json", "-")[1])}
    assert [rows[depth, 1]["predicted"]["ideal-linear"]["ratio"] for depth in (2, 8)] == [1.5, 7.5]
    assert rows[8, 250]["measured"] > 0 and rows[8, 64]["measured"] is None and rows[8, 250]["predicted"] == {}
    code, out, _ = pcsim(*BATCHES, *words, "--figure", tmp_path / "map.svg")
    assert code == 0 and out.endswith(f"figure: {tmp_path / 'map.svg'}\n")
    drawn = (tmp_path / "map.svg").read_text()
    assert "ideal-linear, a worker for each layer (predicted)" in drawn and "seconds (measured)" in drawn


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["count", "--figure", "x.png"], "--figure is about batches of several sizes"),
        (["count", "--machines", "ideal"], "--machines is about batches of several sizes"),
        ([*BATCHES, "--show", "costs"], "leave other choices of what is counted out"),
        ([*BATCHES, "--micro-batches", 2], "leave other choices of what is counted out"),
        ([*BATCHES, "--title", "mine"], "add --figure"),
        ([*BATCHES, "--results", FIXTURES / "results-small.jsonl", "--hidden", 3], "holds no net of 3 units"),
    ],
)
def test_maps_that_cannot_be_made(pcsim, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = pcsim(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


# Nets by name

NETS = ["count", "--nets", "784-64-64-10", "cnn-8-16-8@8x8x1", "residual-mlp-5-16", "--workers", 1, 2]


def rows_of(out, head):
    """The rows of the table whose first line begins so, by algorithm and net."""
    lines = out.split(head)[1].split("\n\n")
    table = next(part for part in lines[1:] if part.startswith(("algorithm", " ")) and "net" in part.splitlines()[0])
    found = {}
    for line in table.splitlines()[1:]:
        name, *cells = line.replace("local losses", "local").replace("async BP", "async").split()
        found[name, cells[0]] = cells[1:]
    return found


def test_nets_by_name_are_counted_by_their_shapes(pcsim):
    code, out, err = pcsim(*NETS, "--algorithms", "bp", "ipc", "bp-async")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 120
    first = 784 * 64
    mean = (first + 64 * 64 + 64 * 10) / 3
    found = rows_of(out, "What else a weight update costs")
    bp, ipc, late = (found[name, "784-64-64-10"] for name in ("BP", "iPC", "async"))
    # BP goes through all layers forwards and through all but the first back; the others wait for the largest one.
    assert bp[:4] == ["5", *[f"{6 - first / mean:.2f}"] * 3]
    assert ipc[:4] == ["2", f"{first / mean:.2f}", f"{6 - first / mean:.2f}", f"{first / mean:.2f}"]
    assert late[1] == ipc[1] and (late[4], late[5]) == ("4", "5")
    sizes = out.split("The nets")[1].split("\n\n")[1].splitlines()[1:]
    assert [line.split()[0] for line in sizes] == [str(name) for name in NETS[2:5]]
    assert sizes[2].split()[-1] == "3"  # skips
    assert rows_of(out, "Bytes of float32")["iPC", "784-64-64-10"] == [
        f"{4 * (3 * (64 * 64 + 640) + 2 * first) / 1000:.0f}", "0.5", "0.5", "3.1",
    ]  # fmt: skip


def test_rows_of_nets_hold_their_names_and_shapes(pcsim):
    rows = json.loads(pcsim(*NETS, "--algorithms", "ipc", "--json", "-")[1])
    assert [row["net"] for row in rows] == NETS[2:5]
    assert rows[0]["shapes"] == [[64, 784], [64, 64], [10, 64]] and rows[0]["sizes"] == [784, 64, 64, 10]
    assert rows[1]["positions"] == [64, 16, 4, 1, 1] and rows[1]["shapes"][1] == [16, 72]
    assert [sum(row["skips"]) for row in rows] == [0, 0, 3]
    assert rows[0]["span_workers"]["1"] == pytest.approx(6 - 784 * 64 * 3 / (784 * 64 + 4736))
    alike = json.loads(pcsim("count", "--nets", "8-8-8", "--algorithms", "ipc", "--json", "-")[1])[0]
    (other,) = json.loads(
        pcsim("count", "--depths", 2, "--hidden", 8, "--classes", 8, "--algorithms", "ipc", "--json", "-")[1]
    )
    assert {name: alike[name] for name in other} == other


def test_muon_and_changing_batches_of_nets(pcsim):
    words = [*NETS, "--algorithms", "ipc", "--json", "-"]
    plain, muon = (json.loads(pcsim(*words, *more)[1]) for more in ([], ["--optimizer", "muon", "--batch", 4]))
    assert all(a["flops"] < b["flops"] and a["span_flop"] < b["span_flop"] for a, b in zip(plain, muon, strict=True))
    rows = json.loads(pcsim(*words, "--steps-per-batch", 2, 4, "--start", "forward", "pipelined")[1])
    assert len(rows) == 3 * 4 and {row["start"] for row in rows} == {"forward", "pipelined"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--depths", 4], "--nets say depths and sizes: leave --depths out"),
        (["--hidden", 64, "--classes", 10], "leave --hidden, --classes out"),
        (["--examples"], "--examples is counted for layers that are alike"),
        (["--batches", 4], "--batches is counted for layers that are alike"),
        (["--micro-batches", 4], "--micro-batches is counted for layers that are alike"),
        (["--algorithms", "dual"], "for dense layers, not for convolutions"),
        (["--nets", "residual-mlp-4-8", "--algorithms", "dual"], "is for layers without skip connections"),
        (["--nets", "vgg9"], "a net is named by the units of its layers"),
        (["--nets", "vgg5@8x8x3"], "a pool of 2 × 2 is larger"),
    ],
)
def test_nets_that_cannot_be_counted(pcsim, words, message):
    code, out, err = pcsim(*NETS, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
