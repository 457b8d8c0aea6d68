"""The one exception that means "your input cannot be used": its message is one line saying what and how to mend it.

The command line turns it into that line on stderr and exit code 2.
"""


class InputError(ValueError):
    """Bad arguments, files or data. ``str(error)`` is a single line fit for a terminal."""
