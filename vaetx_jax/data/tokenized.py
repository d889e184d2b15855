"""A split of a corpus as token ids on disk: tokenized once, then memory-mapped.

The folder `CACHE/ids/FINGERPRINT/SPLIT/` holds one `.npy` file per array and `meta.json`, written
last. The fingerprint covers the corpus, the tokenizer and the length, so that an existing folder is
the right one; its sizes are checked before it is trusted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from absl import logging

from vaetx_jax.data.array_file import ArrayFile
from vaetx_jax.data.tokenizers.kept_words import words_kept
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.atomic import remove, rename_folder

if TYPE_CHECKING:
    from vaetx_jax.data.corpora.base import Corpus
    from vaetx_jax.data.corpora.rows import Row
    from vaetx_jax.data.tokenizers.tokenizers import Tokenizer

FORMAT_VERSION = 1
CHUNK = 4096  # sentences held in memory at once while tokenizing
ABANDONED_SECONDS = 3600  # a temporary folder untouched for so long belongs to a killed process


class FrameIds(NamedTuple):
    """The ids around a sentence: [PAD], [CLS] and [SEP]."""

    pad: int
    cls: int
    sep: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> FrameIds:
        """The ids of a tokenizer."""
        return cls(tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id)


class ReadTokens(NamedTuple):
    """The same sentences in the tokens of an encoder that does not read the decoder's."""

    split: TokenizedSplit
    frame: FrameIds


@dataclasses.dataclass(frozen=True)
class TokenizedSplit:
    """N sentences as ids. The arrays are memory-mapped and read-only; tests may pass plain ones.

    Attributes:
      tokens: x1..xn of all sentences, one after the other, without special ids; uint16 where the
        vocabulary allows it, else int32.
      offsets: int64 [N+1]; sentence i is `tokens[offsets[i]:offsets[i + 1]]`.
      words: int32 [N], whitespace words of which every token was kept.
      cut: bool [N], True where the sentence had more than max_len - 2 tokens.
      labels: field -> class indices [N], -1 where a sentence has none; the corpus's order.
      label_fields: field -> the names of its classes.
      log_prob: float64 [N], exact log-probabilities in nats where the corpus knows them.
      read: the sentences as an encoder with a tokenizer of its own reads them; None: as here.
      features: float32 [N, E], what a frozen encoder makes of each sentence, where that is known
        (`run.features`), or a vector given for it; its rows are read when they are asked for.
    """

    tokens: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    words: npt.NDArray[np.int32]
    cut: npt.NDArray[np.bool_]
    labels: dict[str, npt.NDArray[Any]] = dataclasses.field(default_factory=dict)
    label_fields: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    log_prob: npt.NDArray[np.float64] | None = None
    features: Any = None
    read: ReadTokens | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """int32 [N], tokens + 2; computed at each call, so that it takes no lasting room."""
        lengths_N = np.empty(len(self), np.int32)
        np.subtract(self.offsets[1:], self.offsets[:-1], out=lengths_N, casting="unsafe")
        lengths_N += 2
        return lengths_N

    @property
    def truncated(self) -> int:
        """The number of sentences that were cut."""
        return int(np.count_nonzero(self.cut))

    def fill(
        self, rows_B: npt.NDArray[np.integer], ids_BxS: npt.NDArray[np.int32], frame: FrameIds
    ) -> None:
        """Writes `[CLS] x1 .. xn [SEP] [PAD]..` of each row into `ids_BxS`; -1 is no sentence.

        Raises:
          ValueError: a sentence is longer than S.
        """
        real_B = rows_B >= 0
        starts_B = np.where(real_B, self.offsets[rows_B], 0)
        sizes_B = np.where(real_B, self.offsets[rows_B + 1] - starts_B, 0)
        width = ids_BxS.shape[1]
        if sizes_B.max(initial=0) + 2 > width:
            raise ValueError(f"a row of {sizes_B.max() + 2} ids does not fit in {width}")
        # The k-th of all n tokens to copy is token k, shifted by where its sentence starts.
        shifts_B = starts_B - (np.cumsum(sizes_B) - sizes_B)
        sources_n = np.arange(sizes_B.sum()) + np.repeat(shifts_B, sizes_B)
        columns_S = np.arange(-1, width - 1)
        ids_BxS.fill(frame.pad)
        ids_BxS[:, 0] = frame.cls
        ids_BxS[(columns_S >= 0) & (columns_S < sizes_B[:, None])] = self.tokens[sources_n]
        ids_BxS[np.arange(len(rows_B)), sizes_B + 1] = frame.sep


def tokenize_split(
    corpus: Corpus,
    split: str,
    tokenizer: Tokenizer,
    max_len: int,
    cache_dir: str | os.PathLike[str],
) -> TokenizedSplit:
    """Opens a split's ids, tokenizing it first if they are not cached.

    Memory stays constant in the size of the corpus. Processes may race: the first to finish wins
    and the others use its files.

    Args:
      corpus: has the sentences.
      split: "train", "valid" or "test".
      tokenizer: must not yield special ids for text.
      max_len: the longest row, [CLS] and [SEP] counted, at least 3; longer sentences are cut.
      cache_dir: the folder that holds `ids/`.

    Raises:
      UserError: the folder cannot be written or read.
    """
    fingerprint = _fingerprint(corpus, tokenizer, max_len)
    folder = pathlib.Path(cache_dir) / "ids" / fingerprint / split
    with _disk(folder):
        if folder.exists():
            try:
                return _open(folder)
            except _DamagedError as damage:
                logging.warning("%s is damaged (%s): tokenizing it again", folder, damage)
    return _build(folder, corpus, split, tokenizer, max_len)


def _fingerprint(corpus: Corpus, tokenizer: Tokenizer, max_len: int) -> str:
    parts = json.dumps([FORMAT_VERSION, corpus.fingerprint, tokenizer.fingerprint, max_len])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _disk(folder: pathlib.Path) -> Iterator[None]:
    """Reports a full disk or missing rights in one message instead of a traceback."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot keep the tokenized sentences in {folder}: {error.strerror or error}; "
            "free some space or change its permissions, or choose another data.cache_dir"
        ) from error


class _DamagedError(Exception):
    """A cache folder is not as it was written."""


def _open(folder: pathlib.Path) -> TokenizedSplit:
    try:
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        for name, size in meta["bytes"].items():
            found = (folder / name).stat().st_size
            if found != size:
                raise _DamagedError(f"{name} has {found} bytes, not {size}")
        fields = {field: tuple(classes) for field, classes in meta["label_fields"].items()}
        split = TokenizedSplit(
            tokens=_map(folder / "tokens.npy"),
            offsets=_map(folder / "offsets.npy"),
            words=_map(folder / "words.npy"),
            cut=_map(folder / "cut.npy"),
            labels={field: _map(folder / f"label-{i}.npy") for i, field in enumerate(fields)},
            label_fields=fields,
            log_prob=_map(folder / "log_prob.npy") if meta["has_log_prob"] else None,
        )
        if len(split) != meta["sentences"] or split.offsets[-1] != len(split.tokens):
            raise _DamagedError("its counts disagree")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _DamagedError(f"{pathlib.Path(error.filename).name} is missing") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _DamagedError(f"unreadable: {error}") from error
    return split


def _map(path: pathlib.Path) -> npt.NDArray[Any]:
    # The base class: np.memmap itself costs microseconds on every indexing.
    array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.view(np.ndarray)


def _build(
    folder: pathlib.Path, corpus: Corpus, split: str, tokenizer: Tokenizer, max_len: int
) -> TokenizedSplit:
    rows = corpus.split(split)  # may take long and write elsewhere, so before our folder exists
    temporary = folder.parent / f".{split}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with _disk(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep(folder.parent)
            temporary.mkdir()
        _write(temporary, folder, corpus, rows, tokenizer, max_len)
        with _disk(folder):
            encoded = _install(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    logging.info(
        "tokenized %s: %d sentences, %d tokens, %d words, %d sentences cut at %d",
        folder,
        len(encoded),
        len(encoded.tokens),
        encoded.words.sum(dtype=np.int64),
        encoded.truncated,
        max_len,
    )
    return encoded


def _sweep(parent: pathlib.Path) -> None:
    """Removes the folders of killed processes; a running one keeps writing into its files."""
    for folder in parent.glob(".*-*-*"):
        with contextlib.suppress(OSError):  # its owner has finished, or it is another user's
            newest = max(path.stat().st_mtime for path in [folder, *folder.iterdir()])
            if newest < time.time() - ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _write(
    temporary: pathlib.Path,
    folder: pathlib.Path,
    corpus: Corpus,
    rows: Sequence[Row],
    tokenizer: Tokenizer,
    max_len: int,
) -> None:
    fields = corpus.label_fields
    dtypes: dict[str, type[np.generic]] = {
        "tokens": np.uint16 if tokenizer.size <= 2**16 else np.int32,
        "offsets": np.int64,
        "words": np.int32,
        "cut": np.bool_,
    }
    for i, classes in enumerate(fields.values()):
        dtypes[f"label-{i}"] = np.int16 if len(classes) < 2**15 else np.int32
    if corpus.has_log_prob:
        dtypes["log_prob"] = np.float64
    counts = {"sentences": 0, "pieces": 0, "words": 0, "cut_sentences": 0}  # names of meta.json
    with contextlib.ExitStack() as stack:
        files = {}
        with _disk(folder):
            for name, dtype in dtypes.items():
                file = ArrayFile(temporary / f"{name}.npy", np.dtype(dtype))
                files[name] = stack.enter_context(contextlib.closing(file))
            files["offsets"].append([0])
        for chunk in _chunks(rows):
            columns = _encode([row.text for row in chunk], tokenizer, max_len, counts)
            for i, field in enumerate(fields):
                columns[f"label-{i}"] = [row.labels.get(field, -1) for row in chunk]
            if corpus.has_log_prob:
                columns["log_prob"] = [row.log_prob for row in chunk]
            with _disk(folder):
                for name, column in columns.items():
                    files[name].append(column)
        with _disk(folder):
            sizes = {f"{name}.npy": file.finish() for name, file in files.items()}
    meta = {
        "version": FORMAT_VERSION,
        "corpus": corpus.fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "max_len": max_len,
        **counts,
        "has_log_prob": corpus.has_log_prob,
        "label_fields": fields,
        "bytes": sizes,
    }
    with _disk(folder), open(temporary / "meta.json", "w", encoding="utf-8") as stream:
        json.dump(meta, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield chunk


def _encode(
    texts: list[str], tokenizer: Tokenizer, max_len: int, counts: dict[str, int]
) -> dict[str, Any]:
    """The columns of one chunk; adds to `counts`."""
    limit = max_len - 2
    ids_of_text = tokenizer.encode(texts)
    cut = [len(ids) > limit for ids in ids_of_text]
    kept = [ids[:limit] for ids in ids_of_text]
    words = np.array([len(text.split()) for text in texts], int)
    cut_rows = np.flatnonzero(cut)
    words[cut_rows] = words_kept(
        [texts[i] for i in cut_rows], [kept[i] for i in cut_rows], tokenizer
    )
    ends = np.cumsum([len(ids) for ids in kept]) + counts["pieces"]
    counts["sentences"] += len(texts)
    counts["pieces"] = int(ends[-1])
    counts["words"] += int(words.sum())
    counts["cut_sentences"] += len(cut_rows)
    tokens = list(itertools.chain.from_iterable(kept))
    return {"tokens": tokens, "offsets": ends, "words": words, "cut": cut}


def _install(temporary: pathlib.Path, folder: pathlib.Path) -> TokenizedSplit:
    """Gives the finished folder its name, unless another process was faster."""
    encoded = _open(temporary)  # before the renaming: the maps outlive it, whoever comes next
    while not rename_folder(temporary, folder):
        try:
            return _open(folder)
        except _DamagedError:
            remove(folder)
    _sync(folder.parent)
    return encoded


def _sync(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
