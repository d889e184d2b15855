"""A sha256 manifest of a folder, written last: the digest of every file, and some facts.

It holds a digest of itself, too: a manifest with one changed bit counts as none.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from vaetx_jax.errors import DamagedError
from vaetx_jax.runtime.atomic import write_text

MANIFEST = "manifest.json"


def write_manifest(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Writes the manifest of all files in a folder, with facts (anything that JSON has)."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    content = {"facts": facts, "files": files}
    text = json.dumps({**content, "sha256": _seal(content)}, indent=2) + "\n"
    write_text(folder / MANIFEST, text)


def read_facts(folder: pathlib.Path) -> dict[str, Any]:
    """Reads the facts of a manifest; the files are not read.

    Raises:
      DamagedError: there is no manifest, or it is not as it was written.
    """
    return _read(folder)["facts"]


def check_files(folder: pathlib.Path) -> None:
    """Verifies every file that the manifest names.

    Raises:
      DamagedError: names the first that is missing or not as it was written.
    """
    verify(folder, _read(folder)["files"])


def verify(folder: pathlib.Path, digests: Mapping[str, str]) -> None:
    """Reads files and compares them with their digests.

    Args:
      digests: path below `folder` -> hex sha256.

    Raises:
      DamagedError: names the first that is missing or not as it was written.
    """
    for name, digest in digests.items():
        try:
            actual = sha256_of(folder / name)
        except OSError as error:
            raise DamagedError(f"{folder / name}: cannot be read ({error.strerror})") from None
        if actual != digest:
            raise DamagedError(
                f"{folder / name}: not as it was written (sha256 {actual[:16]}.., {MANIFEST} says "
                f"{digest[:16]}..)"
            )


def sha256_of(path: pathlib.Path) -> str:
    """Returns the hex sha256 of a file.

    Raises:
      OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rename_damaged(path: pathlib.Path, name: str) -> pathlib.Path:
    """Renames a damaged file or folder to NAME-1 or the next free number; returns the new path."""
    number = 1
    while (renamed := path.with_name(f"{name}-{number}")).exists():
        number += 1
    path.rename(renamed)
    return renamed


def _read(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        content = {"facts": dict(found["facts"]), "files": dict(found["files"])}
        seal = found["sha256"]
    except FileNotFoundError:
        raise DamagedError(f"{folder}: {MANIFEST} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path}: cannot be read ({type(error).__name__})") from error
    if seal != _seal(content):
        raise DamagedError(f"{path}: not as it was written")
    return content


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
