"""The base of all tokenizers: fingerprint, folder on disk, and the ids that are content.

A saved tokenizer is a folder with `tokenizer.json` (kind and sha256 of each model file) and the
model files themselves. Nothing in it is executable, and nothing is loaded that was not verified.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence

from vaetx_jax.errors import UserError
from vaetx_jax.runtime.atomic import atomic_folder

KINDS = ("bpe", "unigram", "wordpiece", "gpt2")
MANIFEST = "tokenizer.json"
# Part of every fingerprint: raise it when the same files begin to give other ids.
FORMAT = 1


class FileTokenizer:
    """A tokenizer defined by its kind and the bytes of its model files.

    Subclasses set the ids and implement `encode` and `_decode_content`.

    Attributes:
        kind: one of `KINDS`.
        size: number of ids V; every id is in [0, V).
        pad_id, cls_id, sep_id: ids that no text ever yields.
        unk_id: the id of a character the vocabulary lacks; -1 where every text can be spelled.
        fingerprint: hex sha256 of kind and files, which define the ids.
    """

    size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int

    def __init__(self, kind: str, files: dict[str, bytes]) -> None:
        self.kind = kind
        self._files = dict(files)
        digest = hashlib.sha256(f"{FORMAT} {kind}".encode())
        for name in sorted(files):
            digest.update(f" {name} {_sha256(files[name])}".encode())
        self.fingerprint = digest.hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text's tokens, without special ids; perhaps an empty list."""
        raise NotImplementedError

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` up to the first `sep_id`; `pad_id` and `cls_id` are left out."""
        content = []
        for number in ids:
            number = int(number)
            if number == self.sep_id:
                break
            if number not in (self.pad_id, self.cls_id):
                content.append(number)
        return self._decode_content(content)

    def _decode_content(self, ids: list[int]) -> str:
        raise NotImplementedError

    def save(self, folder: str | os.PathLike[str], *, replace: bool = True) -> None:
        """Writes the tokenizer to `folder`, whole or not at all.

        Args:
            replace: an older one gives way; else it stays, and nothing is written.
        """
        write_folder(pathlib.Path(folder), self.kind, self._files, replace=replace)


def write_folder(
    folder: pathlib.Path, kind: str, files: dict[str, bytes], *, replace: bool = True
) -> None:
    """Writes model files and their manifest, whole or not at all.

    Args:
        replace: an older folder gives way; else it stays, and nothing is written.
    """
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "sha256": {name: _sha256(content) for name, content in sorted(files.items())},
    }
    try:
        with atomic_folder(folder, replace=replace) as fresh:
            for name, content in files.items():
                (fresh / name).write_bytes(content)
            (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        if not replace and folder.is_dir():
            return
        raise UserError(
            f"cannot save the tokenizer to {folder}: {error.strerror or error}. "
            "Give a folder that can be written to, on a disk with room."
        ) from error


def read_folder(folder: pathlib.Path) -> tuple[str, dict[str, bytes]]:
    """Reads the kind and the verified model files of a saved tokenizer.

    Raises:
        UserError: the folder or a file is missing, damaged or of another format.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        kind, wanted, written = manifest["kind"], manifest["sha256"], manifest["format"]
        wanted = {str(name): str(digest) for name, digest in wanted.items()}
    except OSError as error:
        raise UserError(
            f"no tokenizer in {folder}: cannot read {MANIFEST} ({error.strerror}). "
            "Give the folder of a run that has one."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder / MANIFEST} is damaged ({type(error).__name__}: {error}). "
            "Copy the tokenizer's folder again from its source."
        ) from error
    if written != FORMAT:
        raise UserError(
            f"{folder / MANIFEST} has format {written}, this version reads format {FORMAT}. "
            "Use the version of vaetx_jax that wrote it."
        )
    return str(kind), {name: _read_verified(folder / name, wanted[name]) for name in wanted}


def _read_verified(path: pathlib.Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"the tokenizer's file {path} cannot be read ({error.strerror}). "
            "Copy the tokenizer's folder again from its source."
        ) from error
    actual = _sha256(content)
    if actual != expected:
        raise UserError(
            f"the tokenizer's file {path} is damaged: sha256 is {actual}, expected {expected}. "
            "Copy the tokenizer's folder again from its source."
        )
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
