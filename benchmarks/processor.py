"""The processor that a benchmark runs on, and how busy others keep it."""

import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

VECTORS = ("avx512f", "avx2", "avx", "asimd", "sse4_2")  # widest first
_TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """Its model, the cores that this process may use, its vector instructions, its L3 cache."""
    text = pathlib.Path("/proc/cpuinfo").read_text()

    def field(*names: str) -> str:
        found = re.search(rf"^(?:{'|'.join(names)})\s*:\s*(.*)$", text, re.MULTILINE)
        return found.group(1).strip() if found else ""

    flags = set(field("flags", "Features").split())
    family, number = field("cpu family"), field("model")
    return {
        "processor": field("model name", "Hardware", "CPU part"),
        "family": f"{family}/{number}" if family else "",
        "cores": len(os.sched_getaffinity(0)),
        "vectors": next((name for name in VECTORS if name in flags), ""),
        "l3_mb": _cache_mb(3),
    }


def slug(processor: dict[str, Any]) -> str:
    """A name for the files of a processor."""
    named = f"{processor['processor']} {processor['family']} {processor['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-")


class OthersLoad:
    """The share of all processors that was busy for others, or taken by the host, since made.

    Args:
      ours: the numbers of the processes that are not others.
    """

    def __init__(self, ours: Iterable[int]):
        self._ours = [os.getpid(), *ours]
        self._before = self._seconds()

    def share(self) -> float:
        """From 0 to 1."""
        total, busy, own = (
            now - then for now, then in zip(self._seconds(), self._before, strict=True)
        )
        return max(0.0, busy - own) / total if total else 0.0

    def _seconds(self) -> tuple[float, float, float]:
        line = pathlib.Path("/proc/stat").read_text().splitlines()[0]
        ticks = [int(word) for word in line.split()[1:9]]  # .. idle, waiting for a disk, ..
        idle = ticks[3] + ticks[4]
        own = 0
        for process in self._ours:
            stat = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            own += int(stat[11]) + int(stat[12])
        return sum(ticks) / _TICKS, (sum(ticks) - idle) / _TICKS, own / _TICKS


def _cache_mb(level: int) -> float:
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if int((index / "level").read_text()) == level:
                return int((index / "size").read_text().strip().removesuffix("K")) / 1024
        except (OSError, ValueError):
            continue
    return 0.0
