"""Published claims: what they say, what would refute them, and what an experiment here finds."""
