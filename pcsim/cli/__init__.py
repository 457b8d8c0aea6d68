"""The command line: one file per family of verbs; arguments and exit codes, no logic."""
