"""What the kernels are compiled with: for the header of results files, for marks on rows, and for the doctor."""

from typing import Any

LOWEST_SHARE = 0.15  # of the rate of matrix products: the fused pass reached 0.34 to 0.73 of it (widths 32 to 1024)

NARROW = 64  # below this width rows are too short for that


def description() -> dict[str, Any]:
    """The processor that kernels are compiled for, and this one's own name; which of the features that matter it has,
    and which of this processor's are not used; every setting of Numba that makes other code than usual."""
    from ..kernels.machine import settings

    triple, name, features = settings.target()
    own_name, own_features = settings.host()
    used = [feature for feature in settings.FEATURES if settings.has(feature, features)]
    return {
        "cpu": name,
        "host_cpu": own_name,
        "features": used,
        "unused": [each for each in settings.FEATURES if settings.has(each, own_features) and each not in used],
        "fused_multiply_add": settings.fuses(triple, features),
        "settings": settings.changed_settings(),
    }


def doubts(found: dict[str, Any] | None = None) -> list[str]:
    """Why compiled code is not what it would be on this processor without any setting, in words; none if it is."""
    found = found or description()
    texts = []
    if found["settings"]:
        changed = " ".join(f"{name}={value}" for name, value in found["settings"].items())
        texts.append(f"kernels compiled with {changed}: not the code of an ordinary run")
    if found["cpu"] != found["host_cpu"] or found["unused"]:
        without = f" without {', '.join(found['unused'])}" if found["unused"] else ""
        texts.append(f"kernels compiled for {found['cpu']}{without}, but this processor is {found['host_cpu']}")
    return texts


def too_slow(kernels: float | None, products: float | None, width: int = NARROW) -> str | None:
    """A warning where the fused pass, on weights that stay in the first-level cache, does far fewer operations per
    second (``kernels``) than matrix products of as many workers (``products``)."""
    if not kernels or not products or width < NARROW or kernels >= LOWEST_SHARE * products:
        return None
    return (
        f"slow kernels: {kernels / products:.1%} of the rate of matrix products, where 34 to 73 % are usual; "
        "pcsim doctor says what they were compiled with"
    )
