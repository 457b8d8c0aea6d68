"""How the patches of a batch's images are cut up: so many samples at a time that they stay in a cache."""

# Of patches that are multiplied at a time: fewer, and BLAS has too few rows; more, and they leave the caches (64 ms for
# an update of cnn-64-128-64 at 2 MB, 74 at 0.5, 67 at 4: one core with caches of 1 and 32 MB).
PATCH_BYTES = 2 << 20

VECTOR_BYTES = 64  # to which rows of values and of weights are padded


def padded(count: int, item: int) -> int:
    """``count`` elements of ``item`` bytes rounded up to whole vectors."""
    lanes = VECTOR_BYTES // item
    return -(-count // lanes) * lanes


def samples_at_once(positions: int, columns: int, item: int, batch: int, apart: bool) -> int:
    """Samples of which all patches, ``positions`` rows of ``columns`` each (with padding), are multiplied at a time;
    one where padding lies between what is made of them (``apart``).

    >>> samples_at_once(196, 32, 4, 64, False), samples_at_once(256, 1152, 4, 64, False)
    (64, 1)
    """
    return min(batch, max(1, PATCH_BYTES // (positions * columns * item))) if not apart else 1
