"""The graphs that are built: edges of each algorithm in words, sizes, and what is refused."""

import numpy as np
import pytest
from graphs import backprop, build, incremental, predictive_coding, zero_divergence

from pcsim.errors import InputError
from pcsim.schedule.counts import figure_5
from pcsim.schedule.tasks import Kind

START, PREDICT, BACKPROJECT, VALUE, UPDATE, *_ = Kind


class Recorder:
    """Runs an algorithm in words: every array remembers who wrote it, every task waits for what it reads."""

    def __init__(self, depth):
        self.depth = depth
        self.edges = {}
        self.writer = {}

    def run(self, task, reads, writes, book=None):
        self.edges[task] = {self.writer[name] for name in reads if name in self.writer}
        (self.writer if book is None else book).update(dict.fromkeys(writes, task))

    def step(self, s, opening, relaxing, updating):
        L = self.depth
        if opening:
            self.writer = {name: task for name, task in self.writer.items() if name[0] == "W"}
        for l in range(L):
            if opening:
                made = [("x", l + 1)] if l + 1 < L else []
                self.run((START, s, l), [("x", l), ("W", l)], [("e", l + 1), *made])
            else:
                self.run((PREDICT, s, l), [("x", l), ("x", l + 1), ("W", l)], [("e", l + 1)])
        after = {}
        for l in range(1, L) if relaxing else ():
            self.run((BACKPROJECT, s, l), [("e", l + 1), ("W", l)], [("d", l)])
            self.run((VALUE, s, l), [("e", l), ("d", l), ("x", l)], [("x", l)], after)
        for l in updating:
            self.run((UPDATE, s, l), [("e", l + 1), ("x", l), ("W", l)], [("W", l)], after)
        self.writer.update(after)

    def backprop(self, s):
        L = self.depth
        self.writer = {name: task for name, task in self.writer.items() if name[0] == "W"}
        for l in range(L):
            self.run((PREDICT, s, l), [("x", l), ("W", l)], [("x", l + 1)])
        self.writer["e", L] = self.writer.pop(("x", L))
        for l in range(L - 1, 0, -1):
            self.run((BACKPROJECT, s, l), [("e", l + 1), ("W", l), ("x", l)], [("e", l)])
        for l in range(L):
            self.run((UPDATE, s, l), [("e", l + 1), ("x", l), ("W", l)], [("W", l)])


def naive_edges(algorithm, depth, updates, steps):
    recorder = Recorder(depth)
    layers = range(depth)
    if algorithm == "bp":
        for s in range(updates):
            recorder.backprop(s)
    elif algorithm == "ipc":
        for s in range(updates):
            recorder.step(s, s == 0 or (steps is not None and s % steps == 0), True, layers)
    else:
        T = depth - 1 if algorithm == "zil" else steps
        for s in range(updates * (T + 1)):
            t = s % (T + 1)
            updating = [depth - 1 - t] if algorithm == "zil" else layers if t == T else []
            recorder.step(s, t == 0, t < T, updating)
    return recorder.edges


@pytest.mark.parametrize(
    ("algorithm", "steps"),
    [("bp", None), ("zil", None), ("ipc", None), *(("ipc", T) for T in (1, 2, 4)), *(("pc", T) for T in (1, 2, 5))],
)
@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_the_edges_are_those_of_the_algorithm_in_words(algorithm, steps, depth):
    graph = build(algorithm, depth, 5, steps)
    names = [(Kind(k), s, l) for k, s, l in zip(graph.kinds, graph.steps, graph.layers, strict=True)]
    indptr, indices = graph.predecessors
    found = {name: [names[u] for u in indices[indptr[v] : indptr[v + 1]]] for v, name in enumerate(names)}
    expected = naive_edges(algorithm, depth, 5, steps)
    assert {name: set(before) for name, before in found.items()} == expected
    assert all(len(before) == len(set(before)) for before in found.values())
    assert len(names) == len(set(names)) == len(graph)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "4", None, True, np.nan])
def test_counts_must_be_whole_and_positive(bad):
    graph = incremental(2, 2)
    for attempt in (
        lambda: backprop(bad, 2),
        lambda: zero_divergence(2, bad),
        lambda: predictive_coding(2, 2, bad),
        lambda: incremental(2, 2, False if bad is None else bad),
        lambda: graph.makespan(bad),
        lambda: graph.schedule(bad),
        lambda: figure_5(graph, bad),
    ):
        with pytest.raises(InputError, match="whole number of at least 1") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("builder", [backprop, incremental, zero_divergence, lambda L, n: predictive_coding(L, n, 4)])
@pytest.mark.parametrize(("depth", "updates"), [(10**6, 10**6), (10**12, 2), (2, 10**12)])
def test_a_graph_larger_than_memory_is_refused(builder, depth, updates):
    with pytest.raises(InputError, match="fewer updates"):
        builder(depth, updates)
