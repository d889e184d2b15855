"""A published encoder's features of a split, [N, E], on disk: computed once, then memory-mapped.

The folder `CACHE/features/FINGERPRINT/SPLIT/` holds `features.npy` and `meta.json`, written last.
The fingerprint covers weights, pooling, tokenizer, corpus and length. What a killed process has
computed is kept in `SPLIT.partial` and gone on from. Memory stays constant in the size of the
corpus.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import time
from typing import Any

import filelock
import jax
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh

from vaetx_jax.data.batches import EvalBatches
from vaetx_jax.data.bucketing import make_buckets
from vaetx_jax.data.tokenized import FrameIds, TokenizedSplit
from vaetx_jax.data.tokenizers.tokenizers import Tokenizer
from vaetx_jax.errors import UserError
from vaetx_jax.models.bert import BertEncoder
from vaetx_jax.run.pretrained import PretrainedEncoder
from vaetx_jax.runtime.atomic import remove, write_text
from vaetx_jax.runtime.console import Progress
from vaetx_jax.runtime.mesh import data_mesh, put_batch, put_replicated, replicated, split_over_data

FORMAT = 1
BATCH, LENGTHS = 64, 12  # sentences at a time, and the static lengths they are padded to
_FEATURES, _META, _DONE = "features.npy", "meta.json", "done.json"
_KEEP_SECONDS = 20.0  # between two times that a killed process's work is kept

Features = npt.NDArray[np.float32]


class FeatureCache:
    """The features of the splits of one corpus.

    Args:
      cache_dir: the folder that holds `features/`.
      encoder: the published encoder.
      pooling: how its output becomes one vector.
      corpus: fingerprint of the sentences.
      tokenizer: of the ids.
      max_len: that they were cut to.
    """

    def __init__(
        self,
        cache_dir: pathlib.Path,
        encoder: PretrainedEncoder,
        *,
        pooling: str,
        corpus: str,
        tokenizer: Tokenizer,
        max_len: int,
    ) -> None:
        self._encoder, self._pooling = encoder, pooling
        self._tokenizer, self._max_len = tokenizer, max_len
        # Heads and epsilon change the features, and leave the weights as they are.
        size = dataclasses.asdict(dataclasses.replace(encoder.size, dropout=0.0))
        parts = [FORMAT, encoder.sha256, size, pooling, corpus, tokenizer.fingerprint, max_len]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        self._folder = cache_dir / "features" / digest

    def open(self, name: str, split: TokenizedSplit) -> Features | None:
        """The features of a split, read-only; computed first where they are not cached.

        None where they are not and the encoder's weights are not on this machine.

        Raises:
          UserError: the folder cannot be written or read, or the weights are damaged.
        """
        folder = self._folder / name
        found = self._read(folder, len(split))
        if found is not None or self._encoder.folder() is None:
            return found
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self._folder / f".{name}.lock"):
                found = self._read(folder, len(split))  # another process may have been faster
                if found is None:
                    self._compute(folder, split)
                    found = self._read(folder, len(split))
        except OSError as error:
            raise UserError(
                f"cannot keep the encoder's features in {folder}: {error.strerror or error}; "
                "free some space or change its permissions, or choose another data.cache_dir"
            ) from error
        return found

    def _read(self, folder: pathlib.Path, sentences: int) -> Features | None:
        """The features in a folder; None where they are missing or not as they were written."""
        try:
            meta = json.loads((folder / _META).read_text(encoding="utf-8"))
            path = folder / _FEATURES
            if path.stat().st_size != meta["bytes"]:
                return None
            array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        fits = array.dtype == np.float32 and array.shape == (sentences, self._encoder.size.dim)
        return array.view(np.ndarray) if fits else None

    def _compute(self, folder: pathlib.Path, split: TokenizedSplit) -> None:
        partial = folder.with_name(f"{folder.name}.partial")
        partial.mkdir(exist_ok=True)
        shape = (len(split), self._encoder.size.dim)
        out_NxE, first = _partial(partial, shape)
        batches = EvalBatches(
            make_buckets(
                split,
                frame=FrameIds.of(self._tokenizer),
                batch_size=_batch_size(),
                max_len=self._max_len,
                max_buckets=LENGTHS,
            )
        )
        mesh = data_mesh(jax.local_devices())  # the others need not take part
        encoder = BertEncoder(self._encoder.size, self._pooling, frozen=True)
        encode = _program(encoder, self._tokenizer.pad_id, mesh)
        params = put_replicated(self._encoder.load(), mesh)
        progress, kept = Progress(len(split)), time.monotonic()
        done = sum(int((batches[i]["index"] >= 0).sum()) for i in range(first))
        for i in range(first, len(batches)):
            batch = batches[i]
            features_BxE = encode(params, put_batch({"ids": batch["ids"]}, mesh)["ids"])
            rows = batch["index"][batch["index"] >= 0]
            out_NxE[rows] = np.asarray(features_BxE)[: len(rows)]
            done += len(rows)
            progress.tick(done, f"{folder.name}: sentences encoded")
            if time.monotonic() - kept > _KEEP_SECONDS:
                out_NxE.flush()
                note = {"batches": i + 1, "batch_size": _batch_size(), "shape": shape}
                write_text(partial / _DONE, json.dumps(note))
                kept = time.monotonic()
        progress.clear()
        out_NxE.flush()
        del out_NxE
        (partial / _DONE).unlink(missing_ok=True)
        facts = {"bytes": (partial / _FEATURES).stat().st_size, "weights": self._encoder.sha256}
        write_text(partial / _META, json.dumps(facts) + "\n")
        remove(folder)  # what is damaged gives way
        partial.rename(folder)


def _partial(folder: pathlib.Path, shape: tuple[int, int]) -> tuple["np.memmap[Any, Any]", int]:
    """The array that a killed process began, and its finished batches; or a fresh one, and 0."""
    path = folder / _FEATURES
    try:
        done = json.loads((folder / _DONE).read_text(encoding="utf-8"))
        array = np.lib.format.open_memmap(path, mode="r+")
        fits = done["shape"] == list(shape) == list(array.shape) and array.dtype == np.float32
        # With another number of devices the same number of batches are other sentences.
        if fits and done["batch_size"] == _batch_size():
            return array, int(done["batches"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    (folder / _DONE).unlink(missing_ok=True)  # it is of an array that is overwritten
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape), 0


def _batch_size() -> int:
    """`BATCH`, or the next number of sentences that this process's devices share evenly."""
    devices = len(jax.local_devices())
    return -(-BATCH // devices) * devices


@functools.lru_cache(maxsize=2)
def _program(encoder: BertEncoder, pad_id: int, mesh: Mesh) -> Any:
    """(parameters, ids [B, S]) -> features [B, E]."""

    def encode(params: Any, ids_BxS: jax.Array) -> jax.Array:
        features_BxE: jax.Array = encoder.apply(  # type: ignore[assignment]
            {"params": params}, ids_BxS, ids_BxS != pad_id, deterministic=True
        )
        return features_BxE

    return jax.jit(
        encode,
        in_shardings=(replicated(mesh), split_over_data(mesh)),
        out_shardings=replicated(mesh),
    )
