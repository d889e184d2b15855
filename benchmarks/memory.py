"""The peak memory of a process."""

import pathlib


def peak_memory_mb() -> float:
    """Of this process, in MiB (`ru_maxrss` would begin with that of the parent)."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
