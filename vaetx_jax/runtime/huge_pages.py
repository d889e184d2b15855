"""Huge pages for large arrays: page faults took a fifth of a training step on a CPU.

XLA allocates the intermediate arrays of a step again at each step (125 MB for the small model
with 30,522 tokens), and the kernel hands it out in pages of 4 kB, 32,000 faults per step. The C
library asks for pages of 2 MB if GLIBC_TUNABLES says so before the process starts.
"""

import os
import sys

_TUNABLE = "glibc.malloc.hugetlb"


def restart() -> None:
    """Replaces this process by the same command with huge pages, unless they were chosen already.

    For the top of a long-running command, before anything large is imported. Does nothing off
    glibc or where GLIBC_TUNABLES already says something of huge pages (`glibc.malloc.hugetlb=0`
    turns them off).
    """
    wanted = with_huge_pages(dict(os.environ))
    if wanted != dict(os.environ) and sys.executable and _has_glibc():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)


def with_huge_pages(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a process whose C library uses huge pages; a choice in it stands."""
    chosen = environment.get("GLIBC_TUNABLES", "")
    if _TUNABLE in chosen:
        return environment
    return {**environment, "GLIBC_TUNABLES": ":".join(filter(None, [chosen, f"{_TUNABLE}=1"]))}


def _has_glibc() -> bool:
    names = getattr(os, "confstr_names", {})
    return "CS_GNU_LIBC_VERSION" in names and bool(os.confstr("CS_GNU_LIBC_VERSION"))
