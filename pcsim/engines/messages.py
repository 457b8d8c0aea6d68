"""The persistent MPI requests of a rank: what it sends to and receives from other ranks."""

# Of the messages: errors go up, drives (of BP: errors) down; two places each, for odd and even steps.
UP, DOWN, FIRST = 0, 2, 4

LARGE = 1 << 13  # bytes of a message above which libraries begin to ask the receiver first

OFTEN = 1 << 15  # weights × batch of a layer above which a poll after it costs nothing to speak of (some 0.2 µs)
