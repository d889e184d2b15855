"""The test sentences of the corpora under several tokenizers, counted and scored by n-grams."""

import collections
import dataclasses
import pathlib
import random
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vaetx_jax import paper
from vaetx_jax.data.corpora.corpus import SOURCES
from vaetx_jax.data.corpora.source import locate
from vaetx_jax.data.tokenizers.tokenizers import build_tokenizer
from vaetx_jax.metrics.ngrams import NgramModel

ORDER = 3  # of the n-gram model
VOCAB_SIZE = 30_522  # the cap of a trained tokenizer, as in the paper
# BERT's tokenizer spells a corpus's `<unk>` in four tokens; this one gives [UNK].
WORDPIECE_UNK = "wordpiece, <unk> as [UNK]"
_UNSPLIT = ("air",)  # published in one file
PUBLISHED, RANDOM_SPLIT = "published", "random split"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Texts = dict[str, list[str]]  # split -> sentences


@dataclasses.dataclass(frozen=True)
class Tokenized:
    """The N test sentences under one tokenizer.

    Attributes:
      tokens_N: tokens of each sentence after the cut, special ones not counted.
      cut_N: whether the sentence was longer than `max_len` with [CLS] and [SEP].
      nats_N: what the n-gram model, trained on the training split, needs for it and its [SEP].
      end_nats_N: the share of [SEP] in that.
      nats_by_order: mean nats per sentence of the unigram model, the bigram model and so on.
    """

    tokens_N: Ints
    cut_N: npt.NDArray[np.bool_]
    nats_N: Floats
    end_nats_N: Floats
    nats_by_order: tuple[float, ...]

    @property
    def tokens(self) -> float:
        """Mean tokens per sentence, [SEP] not counted."""
        return float(self.tokens_N.mean())

    @property
    def nats(self) -> float:
        """Mean nats per sentence."""
        return float(self.nats_N.mean())


class Corpus:
    """A corpus's sentences, tokenized and scored on demand.

    Args:
      name: one of the public corpora.
      max_len: the longest row, [CLS] and [SEP] counted.
      texts: the sentences of each split.
      vocab_dir: the folder of `bert/vocab.txt`.
      official_split: whether the corpus was published in splits.
    """

    def __init__(
        self,
        name: str,
        max_len: int,
        texts: Texts,
        vocab_dir: pathlib.Path,
        *,
        official_split: bool,
    ) -> None:
        self.name, self.max_len, self._official_split = name, max_len, official_split
        self._texts, self._vocab_dir = texts, vocab_dir
        self._measured: dict[tuple[str, str], Tokenized] = {}

    def measure(self, kind: str, variant: str = PUBLISHED) -> Tokenized:
        """The test split under a tokenizer.

        Args:
          kind: a kind of tokenizer, or `WORDPIECE_UNK`.
          variant: one of `VARIANTS`; a corpus with an official split keeps it.
        """
        if variant == RANDOM_SPLIT and self._official_split:
            variant = PUBLISHED
        key = kind, variant
        if key not in self._measured:
            texts = VARIANTS[variant](self._texts)
            self._measured[key] = tokenize(kind, texts, self.max_len, self._vocab_dir)
        return self._measured[key]


def open_public(name: str, folder: pathlib.Path, cache_dir: pathlib.Path) -> Corpus:
    """A public corpus from its files in `folder`, verified; converted ones go to `cache_dir`.

    Raises:
      UserError: a file is missing or damaged.
    """
    source = SOURCES[name]
    rows = source.read(locate(source, str(folder), cache_dir), collections.Counter())
    texts = {split: [str(row["text"]) for row in rows[split]] for split in rows}
    has_split = name not in _UNSPLIT
    return Corpus(name, paper.MAX_LEN[name], texts, folder, official_split=has_split)


def tokenize(kind: str, texts: Texts, max_len: int, vocab_dir: pathlib.Path) -> Tokenized:
    """Counts the test split's tokens and scores them by an n-gram model of the training split."""
    whole_words = kind == WORDPIECE_UNK
    tokenizer = build_tokenizer(
        "wordpiece" if whole_words else kind, VOCAB_SIZE, lambda: texts["train"], vocab_dir
    )
    encoded = {split: tokenizer.encode(texts[split]) for split in ("train", "test")}
    if whole_words:
        (spelled,) = tokenizer.encode(["<unk>"])
        encoded = {
            split: [replace(ids, spelled, tokenizer.unk_id) for ids in sentences]
            for split, sentences in encoded.items()
        }
    kept = {split: [ids[: max_len - 2] for ids in encoded[split]] for split in encoded}
    model = NgramModel(kept["train"], vocab_size=tokenizer.size, end=tokenizer.sep_id, order=ORDER)
    by_order = [model.nats(kept["test"], order) for order in range(1, ORDER + 1)]
    return Tokenized(
        tokens_N=np.array([len(ids) for ids in kept["test"]]),
        cut_N=np.array([len(ids) > max_len - 2 for ids in encoded["test"]]),
        nats_N=by_order[-1].total_N,
        end_nats_N=by_order[-1].end_N,
        nats_by_order=tuple(float(nats.total_N.mean()) for nats in by_order),
    )


def replace(ids: Sequence[int], pattern: Sequence[int], new: int) -> list[int]:
    """`ids` with each occurrence of `pattern` replaced by the one id `new`."""
    result, i, size = [], 0, len(pattern)
    while i < len(ids):
        found = list(ids[i : i + size]) == list(pattern)
        result.append(new if found else ids[i])
        i += size if found else 1
    return result


def _on_each(change: Callable[[str], str]) -> Callable[[Texts], Texts]:
    return lambda texts: {split: [change(t) for t in texts[split]] for split in texts}


def _plain_tweet(text: str) -> str:
    """Links and handles as one word each that BERT's vocabulary has."""
    return re.sub(r"@\w+", "user", re.sub(r"https?://\S+", "link", text))


def _without_repeats(texts: Texts) -> Texts:
    """Each text once, in the first split that has it."""
    seen: set[str] = set()
    kept: Texts = {}
    for split in texts:
        kept[split] = [text for text in dict.fromkeys(texts[split]) if text not in seen]
        seen.update(kept[split])
    return kept


def _random_split(texts: Texts) -> Texts:
    """All rows shuffled and split in the same sizes: a repeated text may be on both sides."""
    rows = [text for split in texts for text in texts[split]]
    random.Random(0).shuffle(rows)
    result: Texts = {}
    for split in texts:
        result[split], rows = rows[: len(texts[split])], rows[len(texts[split]) :]
    return result


VARIANTS: Mapping[str, Callable[[Texts], Texts]] = {
    PUBLISHED: lambda texts: texts,
    "lower case": _on_each(str.lower),
    "links and handles replaced": _on_each(_plain_tweet),
    "repeats removed": _without_repeats,
    RANDOM_SPLIT: _random_split,
}
