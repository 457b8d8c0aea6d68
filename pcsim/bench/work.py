"""What one weight update costs by count: flop, bytes, messages, memory. Nothing here is measured."""

import numpy as np

from ..algorithms import BP, PC, ZIL
from ..schedule.blocks import balanced_blocks
from ..schedule.tasks import TaskGraph
from .case import Case
from .contenders import Contender


def work_per_update(contender: Contender, case: Case) -> dict[str, float]:
    """Flop and bytes of one complete weight update, as the kernels do it; counted, not measured.

    A product of a layer is ``2 * batch * width**2`` flop. A batch of one reads (and writes) the weights once per
    pass: fused passes for PC, Z-IL and iPC; one for the predictions and one for the rest in BP. Larger batches, BLAS
    and unfused steps make one pass for each product, of which the weight update reads and writes. Vectors are left
    out. Of NumPy and the peers, which may do more, it is what they need to do at least.
    """
    algorithm = contender.algorithm
    graph = algorithm.tasks(case.depth, 3)
    matrix = case.width**2
    flops = 2.0 * case.batch * matrix * graph.mm_full
    size = matrix * np.dtype(case.dtype).itemsize
    L = case.depth
    one_pass = case.batch == 1 and contender.fused and contender.execution != "blas"
    if isinstance(algorithm, PC | ZIL):
        T = algorithm.T if isinstance(algorithm, PC) else L - 1
        # the forward start, and a pass for each step; each matrix is written in one of them
        # At t = 0 the input layer's matrix has nothing to do: the errors are known, and x[0] is clamped.
        reads, writes = (L + T * L - 1, L) if one_pass else (L + T * (2 * L - 1), L)
    elif isinstance(algorithm, BP):
        reads, writes = (L, L) if one_pass else (2 * L - 1, L)
    else:
        reads, writes = (0, L) if one_pass else (2 * L - 1, L)
    return {"flops": flops, "read": float(reads * size), "read-write": float(2 * writes * size)}


def memory_needed(case: Case, contenders: int) -> int:
    """Bytes for the weights and values of ``contenders`` engines and the oracle."""
    item = np.dtype(case.dtype).itemsize
    weights = case.depth * case.width**2 * item
    values = (case.depth + 1) * case.width * case.batch * item
    return (contenders + 3) * weights + (contenders * 8 + 6) * values


def messages_counted(contender: Contender, case: Case, graph: TaskGraph) -> int | None:
    """Messages per weight update that the task graph asks for, on so many ranks; None where ranks sum up gradients.

    Layers on ranks: what one rank's task makes and another's needs, for each micro-batch. Rows of layers on ranks:
    whatever one product hands to the next goes from every rank to every other.
    """
    ranks = contender.ranks or 1
    if contender.execution == "data-parallel":
        return None
    if contender.execution == "intra-layer":
        # A rank whose part of a narrow layer is empty has no rows to send, and wants none of its errors' shares.
        from ..kernels.machine.simd import VECTOR_BYTES

        vectors = -(-case.width * np.dtype(case.dtype).itemsize // VECTOR_BYTES)
        return int(graph.mm - 1) * min(ranks, vectors) * (ranks - 1)
    threads = contender.workers // ranks
    blocks = balanced_blocks([1] * case.depth, contender.workers)
    owner = [place // threads for place, (lo, hi) in enumerate(blocks) for _ in range(lo, hi)]
    return graph.messages(owner) * (contender.micro_batches or 1)
