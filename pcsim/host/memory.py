"""One question: is there room? Asked before memory is taken, as the operating system's answer afterwards is a kill."""

from ..errors import InputError


def require(size: int, what: str) -> None:
    """Raise InputError if ``size`` bytes for ``what`` are more than this machine has available."""
    import psutil

    available = psutil.virtual_memory().available
    if size > available:
        raise InputError(
            f"{what} needs {size / 2**30:,.1f} GiB, but only {available / 2**30:,.1f} GiB are available: "
            "make the net or the batch smaller"
        )
