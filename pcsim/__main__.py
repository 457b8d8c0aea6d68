"""The command ``pcsim``, also as ``python -m pcsim``: an interrupt is one line while it is being loaded, too."""

import sys


def main() -> int:
    """Run the command line; returns its exit code."""
    try:
        from .cli.main import main as run
    except KeyboardInterrupt:
        print("pcsim: interrupted", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
