"""The archives of `tests/fixtures`."""

import pathlib
import tarfile

from tests.helpers.paths import FIXTURES


def unpack(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Unpacks an archive into an empty folder; returns the one folder that it holds."""
    with tarfile.open(FIXTURES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found
