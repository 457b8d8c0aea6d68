import os
def capture(command=None):
    return {"command": command, "cpu_model": "stub"}
def usable_cores():
    return sorted(os.sched_getaffinity(0))
