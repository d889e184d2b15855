"""Bounds on the log-probability of sentences."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vaetx_jax.data.bucketing import Batch
from vaetx_jax.data.tokenizers.tokenizers import Tokenizer
from vaetx_jax.inference.batching import WINDOW, batches_of, count_words, truncated_tokens
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.models.language_model import Variables
from vaetx_jax.run.run import Run


class Scores(NamedTuple):
    """Bounds on the log-probability of each sentence, nats, in the order given.

    Attributes:
      elbo_N: the evidence lower bound: reconstruction at one draw of z, the KL exact; log p(x)
        itself for a language model.
      kl_N: the KL of the posterior to the prior; 0 for a language model.
      iw_N: the importance-weighted bound, tighter; NaN where it was left out.
      pieces_N: scored tokens, the end counted.
      words_N: words (by whitespace) wholly among them.
      cut_N: whether the sentence was longer than `data.max_len`; only its beginning is scored.
    """

    elbo_N: np.ndarray
    kl_N: np.ndarray
    iw_N: np.ndarray
    pieces_N: np.ndarray
    words_N: np.ndarray
    cut_N: np.ndarray


def score_sentences(
    run: Run,
    variables: Variables,
    estimator: Estimator,
    sentences: Sequence[str],
    *,
    iw_samples: int,
    seed: int,
) -> Scores:
    """Scores sentences; the noise of each depends on the seed and its tokens alone.

    Args:
      iw_samples: draws of the importance-weighted bound; 0 leaves it out.
    """
    n, tokenizer, max_len = len(sentences), run.tokenizer, run.config.data.max_len
    out = Scores(
        elbo_N=np.zeros(n),
        kl_N=np.zeros(n),
        iw_N=np.full(n, np.nan),
        pieces_N=np.zeros(n, np.int64),
        words_N=np.zeros(n, np.int64),
        cut_N=np.zeros(n, bool),
    )
    for start in range(0, n, WINDOW):
        texts = [text.strip() for text in sentences[start : start + WINDOW]]
        tokens = truncated_tokens(tokenizer, texts, max_len)
        window = slice(start, start + len(texts))
        out.pieces_N[window] = [len(ids) + 1 for ids in tokens]
        out.words_N[window], out.cut_N[window] = count_words(tokenizer, texts, tokens, max_len)
    devices = run.mesh.size
    for rows in batches_of(sentences, tokenizer, max_len, done="scored", multiple=devices):
        batch = _noise_by_content(rows.ids_BxS)
        if run.tokenizers.read is not None:
            texts = [sentences[number] for number in rows.numbers]
            batch["encoder_ids"] = _as_read(texts, run.tokenizers.read, max_len, len(rows.ids_BxS))
        metrics = estimator.of_batch(variables, batch, seed=seed, iw_samples=iw_samples)
        kept = {k: np.asarray(v, np.float64)[: len(rows.numbers)] for k, v in metrics.items()}
        out.elbo_N[rows.numbers] = -(kept["nll"] + kept["kl"])
        out.kl_N[rows.numbers] = kept["kl"]
        if iw_samples:
            out.iw_N[rows.numbers] = kept["iw"]
    return out


def _as_read(texts: Sequence[str], tokenizer: Tokenizer, max_len: int, rows: int) -> np.ndarray:
    """[rows, max_len], the texts in the tokens that the encoder reads; the last one is repeated."""
    ids_BxR = np.full((rows, max_len), tokenizer.pad_id, np.int32)
    for row, tokens in enumerate(truncated_tokens(tokenizer, texts, max_len)):
        line = [tokenizer.cls_id, *tokens, tokenizer.sep_id]
        ids_BxR[row, : len(line)] = line
    ids_BxR[len(texts) :] = ids_BxR[len(texts) - 1]
    return ids_BxR


def _noise_by_content(ids_BxS: np.ndarray) -> Batch:
    """A batch in which the noise of a row is numbered by a checksum of its ids."""
    numbers = [zlib.crc32(row.tobytes()) & 0x7FFFFFFF for row in ids_BxS]
    return {
        "ids": ids_BxS,
        "label": np.full(len(ids_BxS), -1, np.int32),
        "weight": np.ones(len(ids_BxS), np.float32),
        "index": np.asarray(numbers, np.int64),
    }
