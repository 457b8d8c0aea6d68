"""Results files: reading and writing them, pairing their rows, intervals and verdicts."""
