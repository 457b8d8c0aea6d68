"""Where results come from, in words."""

from pcsim.results.origin import machine, machine_and_versions


def test_what_a_context_says_is_said():
    context = {
        "cpu_model": "A CPU",
        "cores": 2,
        "versions": {"pcsim": "0.1", "numpy": "2.4", "torch": None},
        "note": "n",
    }
    assert machine(context) == "A CPU, 2 usable cores, pcsim 0.1, n"
    assert machine({**context, "effective_cores": 0.5}).startswith("A CPU, 2 usable cores with a quota of 0.5, pcsim")
    assert (
        machine({**context, "effective_cores": 2.0})
        == machine({**context, "effective_cores": None})
        == machine(context)
    )
    kernels = {"cpu": "zen", "host_cpu": "zen", "unused": [], "settings": {}}
    assert machine({**context, "kernels": kernels}) == machine({**context, "kernels": None}) == machine(context)
    slow = {"cpu": "generic", "host_cpu": "zen", "unused": ["avx2", "fma"], "settings": {"NUMBA_OPT": 0}}
    assert machine({"kernels": slow}) == "unknown CPU, kernels compiled for generic without avx2, fma, with NUMBA_OPT=0"
    assert (
        machine({"kernels": kernels | {"settings": {"NUMBA_OPT": 0}}})
        == "unknown CPU, kernels compiled with NUMBA_OPT=0"
    )
    assert machine({"cores": 1}) == "unknown CPU, 1 usable core"
    assert machine({}) == machine({"versions": None}) == "unknown CPU"
    assert machine_and_versions(context) == "A CPU, 2 usable cores, pcsim 0.1, n, numpy 2.4"
