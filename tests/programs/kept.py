"""Run a kernel, and tell what Numba loaded, what it compiled, and what was said: one line of JSON."""

import json
import warnings

import numpy as np
from pcsim.kernels.layers import activations
from pcsim.kernels.machine import cache, settings

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    x = np.linspace(-3, 3, 101)
    a, d = np.empty_like(x), np.empty_like(x)
    activations.activate(activations.TANH, x, 0, len(x), 1.0, a, d)
assert np.allclose(a, np.tanh(x))
stats = activations.activate.stats
print(
    json.dumps(
        {
            "loaded": sum(stats.cache_hits.values()),
            "compiled": sum(stats.cache_misses.values()),
            "said": [str(each.message) for each in said if each.category is cache.KernelCacheWarning],
            "settings": settings.changed_settings(),
            "broken": cache.broken_files(),
            "why": cache.why_not_kept(),
            "folder": stats.cache_path,
        }
    )
)
