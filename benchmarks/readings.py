"""Readings of a published perplexity: which nats it may have been made of, and by what divided.

A reading is a function of an evaluated cell (mean nats per sentence) and its corpus (the sentences
of the test split under several tokenizers). Its basis says how far to trust it:

    exact      the cell's nats, divided by something else that is counted
    estimate   the cell's nats, scaled or spread as those of an n-gram model are under another
               tokenizer, on another text, or over the sentences
    assumed    the cell's nats and an assumption that the name states
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.tokenized_texts import (
    PUBLISHED,
    RANDOM_SPLIT,
    WORDPIECE_UNK,
    Corpus,
    Floats,
    Ints,
)

_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Cell:
    """An evaluated run.

    Attributes:
      corpus, model, annealing, epochs: which run.
      tokenizer: the kind of its tokenizer, as in `evaluation.json`.
      sentences: number of test sentences.
      nll, kl: mean nats per sentence; the KL of a language model is 0.
      tokens: per sentence, [SEP] counted.
      words: per sentence, one end counted.
      published: the paper's PPL of this row.
    """

    corpus: str
    model: str
    annealing: str
    epochs: int
    tokenizer: str
    sentences: int
    nll: float
    kl: float
    tokens: float
    words: float
    published: float


@dataclasses.dataclass(frozen=True)
class Reading:
    """One way to make a perplexity of an evaluated cell."""

    name: str
    basis: str  # exact, estimate or assumed
    perplexity: Callable[[Cell, Corpus], float]


def same_nats(kind: str | None, extra: float) -> Callable[[Cell, Corpus], float]:
    """The cell's nats over the tokens of a tokenizer (None: the cell's own) and `extra`."""

    def perplexity(cell: Cell, corpus: Corpus) -> float:
        tokens = cell.tokens - 1 if kind is None else corpus.measure(kind).tokens
        return math.exp(cell.nll / (tokens + extra))

    return perplexity


def padded(nats_per_padding: float) -> Callable[[Cell, Corpus], float]:
    """A mean over all positions of a row, each padding position at a given cost."""

    def perplexity(cell: Cell, corpus: Corpus) -> float:
        positions = corpus.max_len - 1
        padding = positions - cell.tokens
        return math.exp((cell.nll + nats_per_padding * padding) / positions)

    return perplexity


def trained_on(
    kind: str | None, variant: str = PUBLISHED, extra: float = 1
) -> Callable[[Cell, Corpus], float]:
    """Nats scaled by what an n-gram model needs for another tokenizer or text."""

    def perplexity(cell: Cell, corpus: Corpus) -> float:
        own = corpus.measure(cell.tokenizer)
        other = corpus.measure(kind or cell.tokenizer, variant)
        return math.exp(cell.nll * other.nats / own.nats / (other.tokens + extra))

    return perplexity


def _without_end(cell: Cell, corpus: Corpus) -> float:
    own = corpus.measure(cell.tokenizer)
    share = float(own.end_nats_N.mean()) / own.nats
    return math.exp(cell.nll * (1 - share) / (cell.tokens - 1))


def _without_long(cell: Cell, corpus: Corpus) -> float:
    own = corpus.measure(cell.tokenizer)
    kept_N = ~own.cut_N
    nats = cell.nll * float(own.nats_N[kept_N].mean()) / own.nats
    return math.exp(nats / (float(own.tokens_N[kept_N].mean()) + 1))


def _scaled(cell: Cell, corpus: Corpus) -> tuple[Floats, Ints]:
    """Nats and tokens of each sentence; the spread of the nats is that of the n-gram model."""
    own = corpus.measure(cell.tokenizer)
    return cell.nll * own.nats_N / own.nats, own.tokens_N + 1


def _mean_of_sentences(cell: Cell, corpus: Corpus) -> float:
    nats_N, tokens_N = _scaled(cell, corpus)
    return math.exp(float((nats_N / tokens_N).mean()))


def mean_of_batches(size: int) -> Callable[[Cell, Corpus], float]:
    """The mean of the perplexities of batches of `size` sentences in the corpus's order."""

    def perplexity(cell: Cell, corpus: Corpus) -> float:
        nats_N, tokens_N = _scaled(cell, corpus)
        starts = np.arange(0, len(nats_N), size)
        each = np.add.reduceat(nats_N, starts) / np.add.reduceat(tokens_N, starts)
        return float(np.exp(each).mean())

    return perplexity


def _words(extra: int) -> Callable[[Cell, Corpus], float]:
    return lambda cell, _: math.exp(cell.nll / (cell.words - 1 + extra))


def _elbo(cell: Cell, _: Corpus) -> float:
    return math.exp((cell.nll + cell.kl) / cell.tokens)


def _two_to_the_nats(cell: Cell, _: Corpus) -> float:
    return 2 ** (cell.nll / cell.tokens)


def _e_to_the_bits(cell: Cell, _: Corpus) -> float:
    return math.exp(cell.nll / math.log(2) / cell.tokens)


_PLAIN = "links and handles replaced"
_ONE_UNK = "trained on WordPiece, `<unk>` one token"

READINGS = (
    Reading("tokens and [SEP]: `ppl_rec`", "exact", same_nats(None, 1)),
    Reading("tokens, nats of [SEP] kept", "exact", same_nats(None, 0)),
    Reading("tokens, nats of [SEP] left out", "estimate", _without_end),
    Reading("[CLS], tokens and [SEP]", "exact", same_nats(None, 2)),
    Reading("words", "exact", _words(0)),
    Reading("words and one end", "exact", _words(1)),
    Reading("our nats over WordPiece tokens", "exact", same_nats("wordpiece", 0)),
    Reading("our nats over WordPiece tokens and [SEP]", "exact", same_nats("wordpiece", 1)),
    Reading("our nats over [CLS], WordPiece tokens and [SEP]", "exact", same_nats("wordpiece", 2)),
    Reading(
        "our nats over WordPiece tokens, `<unk>` one token, and [SEP]",
        "exact",
        same_nats(WORDPIECE_UNK, 1),
    ),
    Reading("all positions, padding masked in the sum alone", "exact", padded(0.0)),
    Reading("all positions, padding predicted at 0.01 nats", "assumed", padded(0.01)),
    Reading("all positions, padding predicted at 0.1 nats", "assumed", padded(0.1)),
    Reading("ELBO instead of nll", "exact", _elbo),
    Reading("nats taken for bits: 2^(nats / token)", "exact", _two_to_the_nats),
    Reading("bits taken for nats: e^(bits / token)", "exact", _e_to_the_bits),
    Reading("mean over sentences of nats per token", "estimate", _mean_of_sentences),
    Reading(f"mean of perplexities of batches of {_BATCH}", "estimate", mean_of_batches(_BATCH)),
    Reading("mean of perplexities of sentences", "estimate", mean_of_batches(1)),
    Reading("long sentences dropped instead of cut", "estimate", _without_long),
    Reading("lower case", "estimate", trained_on(None, "lower case")),
    Reading(_PLAIN, "estimate", trained_on(None, _PLAIN)),
    Reading("repeats removed", "estimate", trained_on(None, "repeats removed")),
    Reading("random split of AIR", "estimate", trained_on(None, RANDOM_SPLIT)),
    Reading("trained on WordPiece", "estimate", trained_on("wordpiece")),
    Reading(
        "trained on WordPiece, [SEP] not counted", "estimate", trained_on("wordpiece", extra=0)
    ),
    Reading("trained on WordPiece, [CLS] counted", "estimate", trained_on("wordpiece", extra=2)),
    Reading(_ONE_UNK, "estimate", trained_on(WORDPIECE_UNK)),
    Reading(f"{_ONE_UNK}, {_PLAIN}", "estimate", trained_on(WORDPIECE_UNK, _PLAIN)),
    Reading(
        f"{_ONE_UNK}, repeats removed", "estimate", trained_on(WORDPIECE_UNK, "repeats removed")
    ),
    Reading(
        f"{_ONE_UNK}, random split of AIR", "estimate", trained_on(WORDPIECE_UNK, RANDOM_SPLIT)
    ),
)


def log_ratios(
    reading: Reading, cells: Sequence[Cell], corpora: Mapping[str, Corpus]
) -> dict[str, list[float]]:
    """Corpus -> ln(perplexity / published) of each of its cells."""
    ratios: dict[str, list[float]] = {}
    for cell in cells:
        perplexity = reading.perplexity(cell, corpora[cell.corpus])
        ratios.setdefault(cell.corpus, []).append(math.log(perplexity / cell.published))
    return ratios


def score(ratios: Mapping[str, Sequence[float]]) -> float:
    """Mean |log ratio| of each corpus's cells, then over corpora, so that each counts the same."""
    return float(np.mean([np.mean(np.abs(values)) for values in ratios.values()]))


def score_over_cells(ratios: Mapping[str, Sequence[float]]) -> float:
    """Mean |log ratio| over all cells."""
    return float(np.mean(np.abs(list(itertools.chain(*ratios.values())))))


def needed_padding_nats(cell: Cell, corpus: Corpus) -> float:
    """What each padding position must cost for the mean over all positions to be as published."""
    positions = corpus.max_len - 1
    return (positions * math.log(cell.published) - cell.nll) / (positions - cell.tokens)
