"""Nets by name on the command line of ``train``: what is made of them, and what tells their curves apart."""

import json

import numpy as np
import pytest

from pcsim import BP, IPC, Network, conv, train
from pcsim.cli.main import main
from pcsim.net.named import named
from pcsim.training.checkpoints import facts_of_net
from pcsim.training.curve_words import made_of
from pcsim.training.curves import Study


def run(*words):
    return main(["train", "--backend", "numpy", "--samples", "40", "--updates", "2", *words])


def rows_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()[1:]]


def test_a_named_net_is_trained(tmp_path):
    file = tmp_path / "curves.jsonl"
    names = ["cnn-8-16-8", "residual-mlp-4-16"]
    assert run("--nets", *names, "--parameterisation", "mupc", "--algorithms", "bp", "--out", str(file)) == 0
    rows = rows_of(file)
    assert [row["net"] for row in rows] == names and {row["parameterisation"] for row in rows} == {"mupc"}
    assert [row["depth"] for row in rows] == [5, 4] and len({made_of(row)["net"] for row in rows}) == 2


def test_the_run_is_that_of_python(tmp_path):
    from pcsim.training.data import load

    file = tmp_path / "curves.jsonl"
    assert run("--nets", "cnn-8-16-8", "--algorithms", "bp", "--alpha", "1e-4", "--out", str(file)) == 0
    data = load("fashion-mnist", samples=40)
    alone = train(named("cnn-8-16-8"), BP(1e-4), data.x, data.y, updates=2, backend="numpy")
    assert rows_of(file)[0]["whole"]["loss"] == pytest.approx(alone.final_loss, rel=1e-12)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--nets", "cnn-8-16-8", "--sizes", "3"], "give either --nets or the sizes of layers, not both"),
        (["--nets", "vgg9"], "a net 'vgg9' is unknown"),
        (["--nets", "vgg5@32x32x3"], "do not fit fashion-mnist"),
        (["--nets", "cnn-8-16-8", "--algorithms", "dual"], "is for dense layers, not for convolutions"),
    ],
)
def test_what_does_not_go_together_is_one_line(capsys, words, told):
    assert run(*words) == 2
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said


def test_what_threads_cannot_do_is_said_before_a_run(capsys):
    assert main(["train", "--nets", "cnn-8-16-8", "--algorithms", "local", "--samples", "40"]) == 2
    assert "local losses with convolutions so far on backend numpy alone" in capsys.readouterr().err


def test_usual_studies_say_what_they_always_did():
    """So that older curves are found again."""
    assert "net" not in Study(IPC(), (3, 2)).knobs and "parameterisation" not in Study(IPC(), (3, 2)).knobs


def test_checkpoints_tell_pools_apart():
    nets = [Network.cnn((4, 4, 1), [conv(2, 3, padding=1, pool=pool), 2]) for pool in ("max", "average")]
    assert np.array_equal(nets[0].weights[0], nets[1].weights[0])
    assert facts_of_net(nets[0]) != facts_of_net(nets[1])
