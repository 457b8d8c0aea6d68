"""The command line of pcsim as if this host's caches were small: the rings of a calibration are soon gone round; and of
convolutions few shapes are looked at."""

import sys
from collections.abc import Callable

from pcsim.calibration import calibrate, images
from pcsim.cli import main

SIZES = {1: 8 << 10, 2: 64 << 10, 3: 512 << 10}  # bytes by level
SMALL = [{"level": level, "size": size, "shared_by": 1} for level, size in SIZES.items()]

FEW = {"KERNELS": (8, 32), "NUMBERS": (9, 72), "ROWS": (48,), "CHANNELS": (1, 8), "WIDTHS": (16, 32), "SECONDS": 2e-5}


def few_images(set_name: Callable[[object, str, object], None]) -> None:
    """Leave out most of what is measured of convolutions."""
    for name, value in FEW.items():
        set_name(images, name, value)


if __name__ == "__main__":
    calibrate.caches = lambda core: SMALL
    few_images(setattr)
    sys.exit(main.main())
