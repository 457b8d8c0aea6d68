"""Ctrl-C and SIGTERM end a verb within seconds, whatever the process is doing.

Python acts on a signal when the main thread comes back from C, which may take long: LLVM optimises a loop for seconds.
A thread that hears of the signal at once ends the process if the verb has not ended by itself. And where C calls
Python, as LLVM does with what it has compiled, Python drops a KeyboardInterrupt: it is raised again soon after.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator

LONGEST = 4.0  # seconds that a verb has to say what is kept, and to end
AGAIN = 0.02  # seconds until a dropped interrupt is raised again


@contextlib.contextmanager
def ended_in_time(verb: str, code: int) -> Iterator[None]:
    """Within this block SIGINT and SIGTERM raise KeyboardInterrupt in the main thread, and end the process with this
    exit code if the block is not left soon after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ears, mouth = os.pipe()
    os.set_blocking(mouth, False)
    # Ended by a scheduler or by hand, a run keeps what it has measured just as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(ears, verb, code), name="pcsim-watch", daemon=True)
    watch.start()
    hook, sys.unraisablehook = sys.unraisablehook, _dropped
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.set_wakeup_fd(before)
        os.close(mouth)
        watch.join()
        os.close(ears)


def _watch(ears: int, verb: str, code: int) -> None:
    while heard := os.read(ears, 1):
        if heard[0] not in (signal.SIGINT, signal.SIGTERM):
            continue
        end = time.monotonic() + LONGEST
        while (left := end - time.monotonic()) > 0:
            if select.select([ears], [], [], left)[0] and not os.read(ears, 64):
                return  # the block has been left
        _end_now(f"pcsim {verb}: interrupted; files hold what was finished", code)


def _dropped(dropped: "sys.UnraisableHookArgs") -> None:
    """Python cannot raise an exception where it is: one that is an interrupt comes again."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
    elif threading.current_thread() is threading.main_thread():
        timer = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))  # which also ends a sleep
        timer.daemon = True
        timer.start()


def _end_now(words: str, code: int) -> None:
    """End this process and its children, whatever its threads are doing."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    with contextlib.suppress(OSError):
        os.write(2, f"{words}\n".encode())  # past Python's buffers, which another thread may hold
    os._exit(code)


def end_with_threads(code: int) -> None:
    """End this process if a worker is still in LLVM, which does not bear to be taken apart meanwhile."""
    if any(thread.name.startswith("pcsim-worker") for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
