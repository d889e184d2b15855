"""Published corpora: their files, where these come from, and their checksums.

Nothing here knows tensorflow-datasets: `Source` describes, `locate` finds or downloads.
"""

import collections
import dataclasses
import hashlib
import http.client
import pathlib
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from absl import logging

from vaetx_jax.errors import UserError
from vaetx_jax.runtime.atomic import open_atomic
from vaetx_jax.runtime.manifest import sha256_of

# One row on its way into a data set: "text", and a class number for each label field.
Example = dict[str, Any]

_TIMEOUT_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of a corpus.

    Attributes:
        path: below `data.manual_dir`, as `ptb/train.txt`.
        lines: number of line ends, to distinguish a truncated file from a changed one.
        sha256: of the file at `path`, hex.
        url: where it is published.
        url_sha256: of the file at `url`, where that differs.
        convert: makes the file at `path` of the one at `url`, where they differ.
    """

    path: str
    lines: int
    sha256: str
    url: str
    url_sha256: str = ""
    convert: Callable[[bytes], bytes] | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """A public corpus: its description, its files, and a function that reads its rows.

    Attributes:
        name, version, release_notes: as tensorflow-datasets wants them; a change of any row needs
            a new version.
        description, licence, citation, homepage: for people.
        files: all files.
        rows: split -> number of rows, verified after building.
        read: takes the files (by `SourceFile.path`) and a counter for the rows it leaves out,
            and returns the rows of each split.
        classes: names of the classes of the field `label`; empty where there is none.
    """

    name: str
    version: str
    release_notes: dict[str, str]
    description: str
    licence: str
    citation: str
    homepage: str
    files: tuple[SourceFile, ...]
    rows: dict[str, int]
    read: Callable[
        [Mapping[str, pathlib.Path], collections.Counter[str]], dict[str, Iterable[Example]]
    ]
    classes: tuple[str, ...] = ()


def locate(source: Source, manual_dir: str, cache_dir: pathlib.Path) -> dict[str, pathlib.Path]:
    """Finds the files of a corpus in `manual_dir`, or downloads them if it is empty; verifies them.

    Downloads are kept in `cache_dir/downloads`, laid out as `manual_dir` is.

    Raises:
        UserError: a file is missing, damaged, or cannot be downloaded.
    """
    downloads = cache_dir / "downloads"
    found = {}
    for file in source.files:
        if manual_dir:
            found[file.path] = _manual(file, pathlib.Path(manual_dir).expanduser(), downloads)
        else:
            found[file.path] = _downloaded(file, downloads)
    return found


def _manual(file: SourceFile, folder: pathlib.Path, downloads: pathlib.Path) -> pathlib.Path:
    path = folder / file.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}. Put the file from {file.url} there, correct "
            "data.manual_dir, or leave data.manual_dir empty to download."
        ) from error
    actual = hashlib.sha256(content).hexdigest()
    if actual == file.sha256:
        return path
    if actual == file.url_sha256 and file.convert is not None:
        return _keep(file, file.convert(content), downloads)
    lines = content.count(b"\n")
    if not content:
        problem = "it is empty"
    elif lines < file.lines:
        problem = f"it has {lines:,} lines instead of {file.lines:,}: it looks truncated"
    elif b"\r\n" in content:
        problem = "it has Windows line ends: something converted it"
    else:
        problem = f"it has {lines:,} lines ({file.lines:,} expected)"
    raise UserError(
        f"wrong checksum of {path}: sha256 is {actual}, expected {file.sha256}; {problem}. "
        f"Get the file again from {file.url} or leave data.manual_dir empty to download it."
    )


def _downloaded(file: SourceFile, folder: pathlib.Path) -> pathlib.Path:
    """Returns the file below `folder`, downloaded unless a sound copy exists."""
    path = folder / file.path
    if path.is_file() and sha256_of(path) == file.sha256:
        return path
    logging.info("downloading %s from %s", file.path, file.url)
    content = _fetch(file)
    _expect(file, content, file.url_sha256 or file.sha256)
    return _keep(file, file.convert(content) if file.convert else content, folder)


def _keep(file: SourceFile, content: bytes, folder: pathlib.Path) -> pathlib.Path:
    """Writes the verified file below `folder`, whole or not at all."""
    _expect(file, content, file.sha256)
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(path) as stream:
        stream.write(content)
    return path


def _fetch(file: SourceFile) -> bytes:
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT_SECONDS) as response:
            return response.read()
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise UserError(f"cannot download {file.url}: {reason}. {_by_hand(file)}") from error


def _expect(file: SourceFile, content: bytes, expected: str) -> None:
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise UserError(
            f"wrong checksum of {file.url} ({len(content):,} bytes): sha256 is {actual}, expected "
            f"{expected}. Try again, the download may have been cut. {_by_hand(file)}"
        )


def _by_hand(file: SourceFile) -> str:
    return (
        f"Without network: put the file (sha256 {file.url_sha256 or file.sha256}) into a folder "
        f"of your own as {file.path} and set data.manual_dir to that folder."
    )
