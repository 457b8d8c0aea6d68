"""Bytes that counts say neighbours send, against those of real ranks: a layer for each, with and without a skip."""

import json

import pytest
from ranks import on_ranks

from pcsim import PC, ZIL
from pcsim.bench.case import Case
from pcsim.schedule.costs import costs_of

pytestmark = pytest.mark.slow

NETS = ("16-32-16-48", "residual-mlp-3-16@4x4x1")  # layers that fill whole vectors, as engines send
WAYS = {"PC(T=3)": PC(T=3), "ZIL()": ZIL()}

CODE = f"""
import json
from pcsim import PC, ZIL
from pcsim.bench.case import Case
from pcsim.engines import make_engine
for name in {NETS}:
    for way in {tuple(WAYS)}:
        case = Case.of_net(name, 4)
        net, x, y = case.problem()
        engine = make_engine("mpi", net, eval(way), x, y, case.batches(), pin=False)
        engine.run(2)
        found = engine.messages
        if engine.rank == 0:
            print(json.dumps([name, way, found["messages"], found["message_bytes"]]))
        engine.close()
"""


def test_messages_of_unequal_layers_and_of_skips_are_as_long_as_counted():
    answer = on_ranks(3, CODE)
    assert answer.returncode == 0, answer.stderr
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [(net, way) for net, way, *_ in lines] == [(net, way) for net in NETS for way in WAYS]
    for net, way, messages, sent in lines:
        graph = WAYS[way].steady_tasks(3)
        told = costs_of(graph, Case.of_net(net).layer_sizes)
        assert messages == graph.messages(range(3))
        assert sent == 4 * (told["up_bytes"] + told["down_bytes"]), (net, way)
