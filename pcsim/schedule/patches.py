"""How the patches of a batch's images are cut up: so many samples at a time that they stay in a cache."""

# Of patches that are multiplied at a time: fewer, and BLAS has too few rows; more, and they leave the caches (64 ms for
# an update of cnn-64-128-64 at 2 MB, 74 at 0.5, 67 at 4: one core with caches of 1 and 32 MB).
PATCH_BYTES = 2 << 20

VECTOR_BYTES = 64  # to which rows of values and of weights are padded


def padded(count: int, item: int) -> int:
    """``count`` elements of ``item`` bytes rounded up to whole vectors."""
    lanes = VECTOR_BYTES // item
    return -(-count // lanes) * lanes


def samples_at_once(positions: int, columns: int, above: int, pooled: bool, item: int, batch: int) -> int:
    """Samples of which all patches, ``positions`` rows of ``columns`` each, are multiplied at a time; one where padding
    lies between what is made of them, which is the ``above`` units unless they are ``pooled`` first.

    >>> samples_at_once(196, 25, 12544, False, 4, 64), samples_at_once(256, 1152, 16384, True, 4, 64)
    (64, 1)
    """
    if not pooled and padded(above, item) != above:
        return 1
    return min(batch, max(1, PATCH_BYTES // (positions * padded(columns, item) * item)))
