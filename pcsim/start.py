"""The command ``pcsim``: an interrupt is one line also while the program itself is being loaded."""

import sys


def main() -> int:
    """Run the command line; returns its exit code."""
    try:
        from .cli.main import main as run
    except KeyboardInterrupt:
        print("pcsim: interrupted", file=sys.stderr)
        return 130
    return run()
