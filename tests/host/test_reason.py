"""What a loader of libraries says, in a line."""

import pytest

from pcsim.host.mpi import reason


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            RuntimeError("cannot load MPI library\nlibmpi.so.40: invalid ELF header"),
            "cannot load MPI library; libmpi.so.40: invalid ELF header",
        ),
        (RuntimeError("cannot load MPI library\n  a: no\n\n  a: no\nb: no\n"), "cannot load MPI library; a: no; b: no"),
        (ImportError("No module named 'mpi4py'"), "No module named 'mpi4py'"),
        (RuntimeError(), "RuntimeError"),
        ("one\ntwo", "one; two"),
    ],
)
def test_no_line_is_lost(error, text):
    assert reason(error) == text
