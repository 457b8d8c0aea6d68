"""What the loops of ranks do with several requests at once, and how they pack what lies scattered."""

from ...kernels.machine.compiling import njit
from ...kernels.machine.messages import finish, send, start


@njit(nogil=True, cache=True)
def start_all(library, requests, first, count, sends):
    """Start the requests ``first … first + count - 1``; 0 stands for none."""
    for i in range(first, first + count):
        if requests[i] != 0:
            if sends:
                send(library, requests[i])
            else:
                start(library, requests[i])


@njit(nogil=True, cache=True)
def finish_all(library, requests, first, count, stop):
    """Wait for them; False if flag 0 of ``stop`` was raised meanwhile."""
    for i in range(first, first + count):  # noqa: SIM110 - compiled code has no generators
        if requests[i] != 0 and not finish(library, requests[i], stop):
            return False
    return True


@njit(nogil=True, cache=True)
def copy_rows(samples, count, source, i, step, target, k, stride):
    """``count`` elements of every sample, which lie ``step`` apart from i of ``source`` on, and go ``stride`` apart."""
    for sample in range(samples):
        for j in range(count):
            target[k + sample * stride + j] = source[i + sample * step + j]
