"""The length of waves follows the caches."""

from pcsim.schedule.waves import Caches, read_caches, wave_length


def test_waves_are_for_weights_beyond_a_cores_cache():
    machine = Caches(own=2**20, last=2**25, sharing=8)
    assert wave_length(2**20, 2**16, 1, machine) == 1
    assert wave_length(2**22, 2**18, 1, machine) > 1
    assert wave_length(2**22, 2**18, 4, machine) == 1
    assert wave_length(2**40, 2**30, 2, machine) == 1  # not even two layers fit
    # A wave of k steps comes back to a layer when k more have been touched: two workers' four layers fit each.
    assert wave_length(2**27, 2**22, 2, machine) == 3
    assert wave_length(2**27, 2**22, 4, machine) == 1
    caches = read_caches()
    assert caches.own > 0
    assert caches.last > 0
    assert caches.sharing >= 1
