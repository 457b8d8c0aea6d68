"""Exact BP in micro-batches of which no more than so many are under way: what a bound on kept activations costs."""

from functools import lru_cache
from heapq import heappop, heappush

from ..checks import whole_number


@lru_cache(maxsize=256)
def products_in_flight(depth: int, micro_batches: int, in_flight: int, lengths: tuple[int, ...] = ()) -> int:
    """Products of a micro-batch in a row until a batch of so many is through, on a worker for each layer; where layers
    are unequal, ``lengths`` says how long a product of each takes, and what is given is time in that unit.

    A micro-batch is under way from its first prediction until its last error; while ``in_flight`` of them are, no other
    begins, so that no worker keeps values of more. A worker makes one product at a time, errors before predictions
    (1F1B, Narayanan et al. 2019). Weight products count as in CONTRACT's ``smm``, not at all. Of one micro-batch, or of
    one at a time, it is the chain of 2L - 1; of as many as there are layers and more, 2 (M + L) - 3.

    >>> [products_in_flight(4, 8, k) for k in (1, 2, 4, 8)]
    [56, 33, 21, 21]
    >>> products_in_flight(4, 8, 8, (1, 3, 1, 1))
    51
    """
    L, M = whole_number("depth", depth), whole_number("micro_batches", micro_batches)
    bound = whole_number("in_flight", in_flight)
    length = lengths or (1,) * L
    errors: list[list[int]] = [[] for _ in range(L)]  # of each worker the micro-batches that wait for it
    predictions: list[list[int]] = [[] for _ in range(L)]
    ending: list[tuple[int, int, bool, int]] = []  # (time, worker, whether an error, micro-batch)
    busy, started, time = [False] * L, 0, 0

    def ready(worker: int, error: bool, part: int) -> None:
        heappush((errors if error else predictions)[worker], part)

    for started in range(min(bound, M)):
        ready(0, False, started)
    started += 1
    while True:
        for worker in range(L):
            waiting = errors[worker] or predictions[worker]
            if waiting and not busy[worker]:
                error = bool(errors[worker])
                heappush(ending, (time + length[worker], worker, error, heappop(waiting)))
                busy[worker] = True
        if not ending:
            return time
        time = ending[0][0]
        while ending and ending[0][0] == time:
            _, worker, error, part = heappop(ending)
            busy[worker] = False
            above, below = worker + 1, worker - 1
            if not error and above < L:
                ready(above, False, part)
            elif not error and L > 1:  # the top layer knows the output's error
                ready(worker, True, part)
            elif error and below > 0:  # nobody needs the error of the input
                ready(below, True, part)
            elif started < M:
                ready(0, False, started)
                started += 1
