"""Large arrays on huge pages: a fifth of a training step on a CPU was spent on page faults.

XLA takes the memory of a step's intermediate arrays anew at each step (125 MB for the small model
over 30,522 pieces), and the kernel hands it out in pages of 4 kB, 32,000 faults a step. The C
library asks for pages of 2 MB if it is told to before the process starts.
"""

import os
import sys

_TUNABLE = "glibc.malloc.hugetlb"


def restart() -> None:
    """Starts this command again with huge pages, in its own place, if it was not told about them.

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
