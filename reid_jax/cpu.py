"""The CPU cores that a process may use."""

import os


def cores() -> int:
    """The number of cores: what the process is bound to, not what the machine has."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
