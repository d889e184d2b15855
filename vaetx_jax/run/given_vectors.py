"""`data.vectors`: vectors that are given for a corpus's sentences, in the place of an encoder.

A `.npy` file has a row for each sentence of `data.train`, in the order of its lines, blank ones
left out; sentences that are held out of that file take their rows along. With `{split}` in its name
there is a file for each split instead: `vectors-{split}.npy` for `vectors-train.npy` and so on.
"""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
from ml_collections import ConfigDict

from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.corpora.corpus import TextCorpus
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.parquet_vectors import parquet_vectors
from vaetx_jax.errors import UserError
from vaetx_jax.models.presets import encoder_of
from vaetx_jax.run.workdir import ENCODER
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.manifest import sha256_of

SPLIT_MARK = "{split}"
CHUNK = 4096  # rows looked at together
LARGEST = np.float64(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of an array on disk, read when they are asked for, as an array of their own.

    Attributes:
      array: [M, E], memory-mapped.
      index_N: the row of each sentence.
    """

    array: npt.NDArray[Any]
    index_N: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """(N, E)."""
        return len(self.index_N), self.array.shape[1]

    def __getitem__(self, rows: Any) -> npt.NDArray[np.float32]:
        return np.asarray(self.array[self.index_N[rows]], np.float32)


@dataclasses.dataclass(frozen=True)
class GivenVectors:
    """The vectors of a corpus's sentences.

    Attributes:
      path: `config.data.vectors`.
      dim: E, their width.
    """

    path: str
    dim: int

    def split(self, name: str, corpus: Corpus) -> Rows:
        """The vectors of a split, in the corpus's order.

        Raises:
          UserError: the file is missing or of another kind, or has another number of rows than
            there are sentences.
        """
        array = self._open(name)
        if SPLIT_MARK in self.path:
            sentences, index_N = len(corpus.split(name)), np.arange(len(array))
        else:
            numbers = _line_numbers(corpus, self.path)
            every = np.sort(np.concatenate([numbers[split] for split in SPLITS]))
            sentences, index_N = len(every), np.searchsorted(every, numbers[name])
        if len(array) != sentences:
            raise UserError(
                f"config.data.vectors = {self.path!r}: {len(array):,} rows for {sentences:,} "
                "sentences; there must be one per sentence, in the same order"
            )
        return Rows(array, index_N)

    def file(self, name: str) -> pathlib.Path:
        """The file with the vectors of a split."""
        return pathlib.Path(self.path.replace(SPLIT_MARK, name)).expanduser()

    def _open(self, name: str) -> npt.NDArray[Any]:
        array = open_vectors(self.file(name))
        if array.shape[1] != self.dim:
            raise UserError(
                f"config.data.vectors = {self.path!r}: {array.shape[1]:,} numbers a row, and the "
                f"model reads {self.dim:,}"
            )
        return array


def find_vectors(config: ConfigDict, folder: pathlib.Path) -> GivenVectors | None:
    """The vectors of a run, by its folder's note or else by the file; None: it has none.

    Raises:
      UserError: the file cannot be read.
    """
    if encoder_of(config.model.name, config.model.encoder) != "vectors":
        return None
    path = config.data.vectors
    try:
        return GivenVectors(path, int(json.loads((folder / ENCODER).read_text("utf-8"))["dim"]))
    except FileNotFoundError:
        first = pathlib.Path(path.replace(SPLIT_MARK, "train")).expanduser()
        return GivenVectors(path, open_vectors(first).shape[1])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / ENCODER}: cannot be read ({error})") from error


def keep_vectors(folder: pathlib.Path, vectors: GivenVectors) -> None:
    """Writes their width and a digest into the folder of a run that begins.

    It can then be opened without them, and resumed with the same vectors alone.

    Raises:
      UserError: the run began with others, or the file cannot be read.
    """
    note, file = folder / ENCODER, vectors.file("train")
    try:
        digest = sha256_of(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from error
    if not note.exists():
        write_text(note, json.dumps({"dim": vectors.dim, "sha256": digest}) + "\n")
        return
    before = json.loads(note.read_text("utf-8")).get("sha256", digest)  # older notes have none
    if before != digest:
        raise UserError(
            f"config.data.vectors = {vectors.path!r}: {file.name} is not what this run began with; "
            "give the old vectors again, or another folder for a new run"
        )


def open_vectors(path: pathlib.Path) -> npt.NDArray[Any]:
    """The numbers [N, E] of a `.npy` or a `.parquet` file, memory-mapped.

    Raises:
      UserError: it is missing or no such file, has another shape, or holds a NaN or an infinity.
    """
    try:
        return _checked(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


@functools.lru_cache(maxsize=8)
def _checked(path: pathlib.Path, changed: int) -> npt.NDArray[Any]:
    del changed  # a file that is written again is read again
    array = parquet_vectors(path) if path.suffix == ".parquet" else _open_npy(path)
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise UserError(
            f"{path}: {array.dtype} of the shape {list(array.shape)}; it must be floating-point "
            "numbers [sentences, width]"
        )
    for start in range(0, len(array), CHUNK):
        # Of NaN this is false, too.
        finite_n = (np.abs(array[start : start + CHUNK]) <= LARGEST).all(axis=1)
        if not finite_n.all():
            row = start + int(np.argmin(finite_n))
            raise UserError(
                f"{path}: row {row} (counted from 0) holds a NaN, an infinity or a number that is "
                "too large for float32"
            )
    return array


def _open_npy(path: pathlib.Path) -> npt.NDArray[Any]:
    try:
        # Not `np.load`, which takes an archive (.npz), too.
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise UserError(f"{path}: not a .npy file of numbers ({error})") from error
    return array


def _line_numbers(corpus: Corpus, path: str) -> dict[str, npt.NDArray[np.int64]]:
    if not isinstance(corpus, TextCorpus) or not corpus.is_one_file:
        raise UserError(
            f"config.data.vectors = {path!r}: a corpus whose splits have files of their own needs "
            f"a file of vectors for each: give a name with {SPLIT_MARK} in it"
        )
    return {name: np.asarray(corpus.line_numbers(name), np.int64) for name in SPLITS}
