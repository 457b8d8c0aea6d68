"""The number of BLAS threads, which is the process's: shared by calls at once, refused, put back."""

import itertools
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.linalg.blas  # noqa: F401 - loads SciPy's BLAS
from threadpoolctl import ThreadpoolController

from pcsim import BP, IPC, InputError, Network, train
from pcsim.engines.threads import ThreadsEngine
from pcsim.host.blas import _free, _set, blas_threads
from pcsim.training.train import forward_loss


def libraries():
    return ThreadpoolController().select(user_api="blas").lib_controllers


def numbers():
    return [library.num_threads for library in libraries()]


@pytest.fixture(autouse=True)
def two_threads():
    """Two BLAS threads before each test, on any machine, and what there was after it."""
    before = numbers()
    for library in libraries():
        _set(library, 2)
        _free(library)
    if set(numbers()) != {2}:
        pytest.skip("this BLAS has one thread")
    yield
    found = numbers()
    for library, count in zip(libraries(), before, strict=True):
        _set(library, count)
        _free(library)
    assert set(found) == {2}, "not put back"


@contextmanager
def elsewhere(count, **options):
    """Another thread within ``blas_threads(count)``; ``end()`` ends that."""
    entered, leave, ended = (threading.Event() for _ in range(3))

    def hold():
        with blas_threads(count, **options):
            entered.set()
            leave.wait()
        ended.set()

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(60)

    def end():
        leave.set()
        assert ended.wait(60)

    try:
        yield end
    finally:
        leave.set()
        thread.join()


def test_calls_at_once_share_a_number_until_the_last_of_them_ends():
    with elsewhere(1) as end:
        with blas_threads(1):
            end()
            assert set(numbers()) == {1}  # what the other's end must not lift
        assert set(numbers()) == {2}
    with blas_threads(1), elsewhere(1):
        pass
    assert set(numbers()) == {2}


def test_the_thread_that_began_may_be_gone():
    with elsewhere(1) as first, elsewhere(1) as second:
        first()
        assert set(numbers()) == {1}
        second()
    assert set(numbers()) == {2}


@pytest.mark.parametrize(("held", "wanted"), list(itertools.product(range(4), repeat=2)))
def test_what_cannot_be_at_once_is_refused(held, wanted):
    kinds = [(1, False), (2, False), (None, False), (1, True)]  # None: the two that there are
    (held, held_alone), (wanted, wanted_alone) = kinds[held], kinds[wanted]
    fits = not held_alone and not wanted_alone and (held or 2) == (wanted or 2)
    with elsewhere(held, alone=held_alone):
        before = numbers()
        if fits:
            with blas_threads(wanted, alone=wanted_alone):
                assert numbers() == before
        else:
            with pytest.raises(InputError, match="another thread of this process is training") as found:
                blas_threads(wanted, alone=wanted_alone).__enter__()
            assert "\n" not in str(found.value)
        assert numbers() == before


def test_one_thread_may_nest_what_it_likes_and_nobody_joins_it_there():
    with blas_threads(1, alone=True), blas_threads(2):
        assert set(numbers()) == {2}
        with blas_threads(1):
            assert set(numbers()) == {1}
        with ThreadPoolExecutor(1) as pool, pytest.raises(InputError):
            pool.submit(blas_threads(2).__enter__).result()
        assert set(numbers()) == {2}
    with blas_threads(1), pytest.raises(ZeroDivisionError), blas_threads(1):
        raise ZeroDivisionError
    assert set(numbers()) == {2}


def test_a_number_changed_from_outside_is_told_and_left():
    def disturbed():
        with blas_threads(1):
            for library in libraries():
                _set(library, 2)

    with pytest.warns(RuntimeWarning, match="something outside pcsim has changed that"):
        disturbed()
    assert set(numbers()) == {2}
    with warnings.catch_warnings():  # the twin: undisturbed, and with a limit of the caller's own around or within it
        warnings.simplefilter("error")
        for order in ((1, None, 2), (2, 1, None), (None, 1, 2)):
            outer, inner = (ThreadpoolController().limit for _ in range(2))
            with outer(limits=order[0]), blas_threads(order[1]), inner(limits=order[2]):
                pass
        assert set(numbers()) == {2}


def test_afterwards_any_thread_may_set_it_again():
    """threadpoolctl 3.8 lets the first thread that sets a number keep it from others."""
    with blas_threads(1):
        pass

    def other():
        with ThreadpoolController().limit(limits=1):
            return numbers()

    with ThreadPoolExecutor(1) as pool:
        assert set(pool.submit(other).result()) == {1}


def test_a_number_that_another_thread_holds_is_taken_and_given_back():
    def hold(entered, leave):
        with ThreadpoolController().limit(limits=2):
            entered.set()
            leave.wait()

    entered, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=(entered, leave))
    thread.start()
    entered.wait()
    with blas_threads(1):
        assert set(numbers()) == {1}
    assert set(numbers()) == {2}
    leave.set()
    thread.join()


# Trainings


def problem(width=96):
    """A batch whose products BLAS shares among its threads: their sums have another order then."""
    rng = np.random.default_rng(0)
    net = Network.mlp([784, width, width, 10], seed=0)
    return net, rng.normal(size=(50, 784)).astype(np.float32), rng.normal(size=(50, 10)).astype(np.float32)


def trained(updates=6, **options):
    net, x, y = problem()
    run = train(net, IPC(alpha=1e-3, gamma=0.05, optimizer="adam"), x, y, updates=updates, **options)
    return [w.tobytes() for w in run.network.weights], run.loss, run.energy


@pytest.mark.parametrize("workers", [1, 2])
def test_trainings_at_once_have_the_bits_of_one_alone(workers):
    alone = trained(workers=workers)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda n: trained(workers=workers, updates=6 + n % 2), range(24)):
            assert found[1][:6] == alone[1]
            assert found[2][:6] == alone[2]
    assert set(numbers()) == {2}


def test_twin_a_limit_that_is_lifted_in_the_middle_makes_adam_take_another_way():
    """The cause of half a percent: an error that is to be 0 is the difference of two orders of a sum."""

    def loss(counts):
        net, x, y = problem()
        rows = np.arange(len(x))
        engine = ThreadsEngine(net, IPC(alpha=1e-3, gamma=0.05, optimizer="adam"), x, y, lambda: rows)
        for count in counts:
            engine.blas_threads = count
            engine.run(1)
        with blas_threads(1):
            return forward_loss(engine.network, x, y)

    one, two, lifted = loss([1] * 5), loss([2] * 5), loss([1, 2, 2, 2, 2])
    if one == two:
        pytest.skip("this BLAS has the same bits for any number of threads")
    assert abs(two - one) < 1e-5 * one
    assert abs(lifted - one) > 1e-4 * one


def test_a_training_within_another_s_callback():
    alone, found = trained(), []
    trained(updates=1, on_record=lambda run: found.append(trained()))
    assert found == [alone]


def test_blas_with_threads_of_its_own_is_refused_beside_a_training_and_changes_nothing():
    net, x, y = problem(16)
    blas = {"execution": "blas", "workers": 2, "updates": 2}
    with elsewhere(1):
        with pytest.raises(InputError, match="wait for it, or use another process"):
            train(net, BP(0.001), x, y, **blas)
        with pytest.raises(InputError, match="another thread"):
            train(net, BP(0.001), x, y, backend="numpy", updates=2)
    engine = ThreadsEngine(net, BP(0.001), x, y, lambda: np.arange(50), execution="blas", workers=2)
    with elsewhere(1), pytest.raises(InputError):
        engine.run(1)
    assert (engine.number, engine.begun) == (0, 0)
    engine.run(1)
    train(net, BP(0.001), x, y, **blas)  # alone it may
    assert set(numbers()) == {2}


def test_what_a_call_changes_it_puts_back_however_it_ends():
    net, x, y = problem(16)

    def stop(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(net, IPC(), x, y, updates=3, workers=2, on_record=stop)
    assert set(numbers()) == {2}
    with pytest.raises(InputError):
        train(net, IPC(), x, y, updates=3, workers=9)
    errors = np.geterr()
    train(net, IPC(alpha=1e9), x, y, updates=9)
    assert np.geterr() == errors


def test_a_caller_s_own_products_in_another_thread_do_no_harm():
    alone, stop = trained(), threading.Event()
    a = np.random.default_rng(1).normal(size=(200, 200))

    def products():
        while not stop.is_set():
            a @ a

    thread = threading.Thread(target=products)
    thread.start()
    try:
        for _ in range(3):
            assert trained() == alone
    finally:
        stop.set()
        thread.join()
