"""Paths as people type them: `~` is the home folder, and a URL is no path."""

import os
import pathlib
import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def expand(path: str) -> str:
    """The path with `~` and `~NAME` expanded, which a shell leaves alone behind a `=`."""
    return os.path.expanduser(path)


def cache_root(chosen: str = "") -> pathlib.Path:
    """The folder of all that can be made again: `chosen`, $VAETX_CACHE or ~/.cache/vaetx_jax.

    An empty variable, as a container's settings often have, counts as none.
    """
    given = chosen or os.environ.get("VAETX_CACHE") or "~/.cache/vaetx_jax"
    return pathlib.Path(given).expanduser().resolve()


def scheme_of(path: str) -> str:
    """The scheme of a URL (`gs`, `s3`, `https`); empty for a path."""
    found = _SCHEME.match(path)
    return found[1] if found else ""
