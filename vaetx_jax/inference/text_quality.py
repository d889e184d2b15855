"""Metrics of the text that a model samples, reconstructs and interpolates.

Each figure stands beside what real text, or chance, gives in its place: `corpus_NAME` for real
sentences, `random_NAME` for a sentence that has nothing to do with the one it is compared with.
"""

from typing import Any

import numpy as np

from vaetx_jax.data.grammar import grammar
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.inference.batching import truncated_tokens, windows
from vaetx_jax.inference.interpolation import PATHS
from vaetx_jax.inference.reference import open_reference
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.metrics import disentanglement
from vaetx_jax.metrics.bleu import bleu, self_bleu
from vaetx_jax.metrics.copying import longest_runs, whole_copies
from vaetx_jax.metrics.edit_distance import edit_rate, smoothness
from vaetx_jax.metrics.ngrams import NgramModel
from vaetx_jax.metrics.summary import perplexity
from vaetx_jax.metrics.text import text_metrics
from vaetx_jax.metrics.usage import other_rows

CORPUS_SENTENCES = 10_000  # at most so many stand for a split beside samples
ORDER = 3  # of the n-gram language models
TRAINING_SENTENCES = 100_000  # at most so many is the language model of the corpus counted in
PATHS_DRAWN, STEPS = 50, 10  # interpolations, and the steps of each


def sampled_text(model: TextModel, split_name: str, count: int) -> dict[str, Any]:
    """The figures of `text_metrics`, of sentences drawn as `config.samples` says."""
    return text_metrics(_samples(model, count), _real_text(model, split_name, count))


def text_quality(
    model: TextModel, split_name: str, mu_NxZ: np.ndarray, *, training: bool = True
) -> dict[str, Any]:
    """All figures of text: those of `sampled_text`, and what takes minutes.

    Args:
      split_name: the split to compare with and to reconstruct.
      mu_NxZ: the posterior means of its sentences; of width 0 for a language model.
      training: whether the corpus has the sentences that the model was trained on. Without them
        there is no copying and no language model of the corpus.

    Returns:
      The fields of `text` in `evaluation.json`; docs/concepts.md defines each.
    """
    run = model.run
    split = run.split(split_name)
    count = min(run.config.evaluation.text_sentences, len(split))
    rows_B = _order(model, len(split))[:count]
    samples = _samples(model, max(count, run.config.evaluation.text_samples))
    real = _real_text(model, split_name, len(samples))
    figures = text_metrics(samples, real)
    samples = samples[:count]  # beside as many sentences of the corpus, those of `rows_B`
    figures |= {"sentences": count, "self_bleu": self_bleu(samples)}
    figures["corpus_self_bleu"] = self_bleu(real[:count])
    if run.config.data.corpus == "grammar":
        figures |= {"grammatical": _grammatical(samples), "corpus_grammatical": 1.0}
    own = _ids(split, rows_B)
    if training:
        figures |= _against_training(model, samples, own)
    if model.latent_dim:
        figures |= _reconstructed(model, mu_NxZ[rows_B], own)
        figures |= _interpolated(model, mu_NxZ[rows_B])
        figures |= _disentangled(split, mu_NxZ)
    return figures


def _samples(model: TextModel, count: int) -> list[str]:
    """Sentences drawn as `config.samples` says; spaces at the ends are no part of a sentence."""
    settings = model.run.config.samples
    drawn = model.sample(count, temperature=settings.temperature, seed=settings.seed)
    return [text.strip() for text in drawn]


def _order(model: TextModel, count: int) -> np.ndarray:
    """An order of a split's sentences that says nothing, the same for every model."""
    return np.random.default_rng(model.run.config.samples.seed).permutation(count)


def _real_text(model: TextModel, split_name: str, count: int) -> list[str]:
    """The first sentences of a split in that order."""
    rows = model.run.corpus.split(split_name)
    return [rows[int(i)].text for i in _order(model, len(rows))[: max(count, CORPUS_SENTENCES)]]


def _grammatical(samples: list[str]) -> float:
    return float(np.mean(np.isfinite(grammar.log_probs(samples))))


def _ids(split: TokenizedSplit, rows_B: np.ndarray) -> list[list[int]]:
    """The tokens of some sentences of a split, as the model gets them."""
    bounds = ((split.offsets[i], split.offsets[i + 1]) for i in rows_B)
    return [split.tokens[start:stop].tolist() for start, stop in bounds]


def _encode(model: TextModel, sentences: list[str]) -> list[list[int]]:
    """The tokens of sentences that a model has written, as those of a split are."""
    return truncated_tokens(model.run.tokenizer, sentences, model.run.config.data.max_len)


def _against_training(
    model: TextModel, samples: list[str], real: list[list[int]]
) -> dict[str, Any]:
    """Copying, and perplexities in both directions; `real` are tokens of the split."""
    train, mine = model.run.split("train"), _encode(model, samples)
    figures: dict[str, Any] = {}
    for prefix, ids in (("", mine), ("corpus_", real)):
        copied_B = whole_copies(ids, train.tokens, train.offsets)
        runs_B = longest_runs(ids, train.tokens, train.offsets)
        figures[f"{prefix}copied"] = float(np.mean(copied_B))
        figures[f"{prefix}longest_run"] = float(np.mean(runs_B))
        figures[f"{prefix}run_share"] = float(np.sum(runs_B) / max(sum(map(len, ids)), 1))
    corpus_ids = _ids(train, _order(model, len(train))[:TRAINING_SENTENCES])
    figures |= _forward(model, samples, mine, real, corpus_ids)
    return figures | {
        "reverse_ppl": _ngram_perplexity(model, mine, real),
        "corpus_reverse_ppl": _ngram_perplexity(model, corpus_ids[: len(mine)], real),
    }


def _forward(
    model: TextModel,
    samples: list[str],
    mine: list[list[int]],
    real: list[list[int]],
    corpus_ids: list[list[int]],
) -> dict[str, Any]:
    """Samples and real sentences under a language model of the corpus: a reference, or n-grams."""
    reference = open_reference(model.run)
    if reference is None:
        return {
            "forward_ppl": _ngram_perplexity(model, corpus_ids, mine),
            "corpus_forward_ppl": _ngram_perplexity(model, corpus_ids, real),
            "forward_by": f"trigrams of {len(corpus_ids):,} training sentences",
        }
    texts = [model.run.tokenizer.decode(ids) for ids in real]
    figures: dict[str, Any] = {}
    for name, sentences in (("forward_ppl", samples), ("corpus_forward_ppl", texts)):
        scores = reference.score(sentences, iw_samples=0)
        figures[name] = perplexity(-float(scores.elbo_N.sum()), int(scores.pieces_N.sum()))
    return figures | {"forward_by": reference.run.config.model.name}


def _ngram_perplexity(
    model: TextModel, trained_on: list[list[int]], heldout: list[list[int]]
) -> float:
    """The perplexity per token of sentences under an n-gram model of others."""
    tokenizer = model.run.tokenizer
    ngrams = NgramModel(trained_on, vocab_size=tokenizer.size, end=tokenizer.sep_id, order=ORDER)
    nats = float(ngrams.nats(heldout).total_N.sum())
    return perplexity(nats, sum(len(ids) + 1 for ids in heldout))


def _reconstructed(model: TextModel, mu_BxZ: np.ndarray, own: list[list[int]]) -> dict[str, Any]:
    """Sentences decoded greedily from their posterior means, against themselves and others.

    A sentence is what the tokenizer makes of it: one that was cut is compared as it was cut.
    """
    decoded = model.decode(mu_BxZ)
    ids = _encode(model, decoded)
    figures: dict[str, Any] = {}
    for prefix, picked in (("", np.arange(len(own))), ("random_", _others(model, len(own)))):
        theirs = [own[i] for i in picked]
        texts = [model.run.tokenizer.decode(line) for line in theirs]
        same_B = [a.split() == b.split() for a, b in zip(decoded, texts, strict=True)]
        figures[f"{prefix}exact_match"] = float(np.mean(same_B))
        figures[f"{prefix}bleu"] = bleu(decoded, texts)
        figures[f"{prefix}edit_rate"] = edit_rate(ids, theirs)
    return figures


def _others(model: TextModel, count: int) -> np.ndarray:
    """For each sentence the number of another one; its own where there is no other."""
    if count < 2:
        return np.arange(count)
    return other_rows(count, seed=model.run.config.evaluation.seed)


def _interpolated(model: TextModel, mu_BxZ: np.ndarray) -> dict[str, Any]:
    """Smoothness of straight paths between the posterior means of two sentences."""
    pairs = min(PATHS_DRAWN, len(mu_BxZ) // 2)
    ends = [(mu_BxZ[2 * i], mu_BxZ[2 * i + 1]) for i in range(pairs)]
    if not ends:
        return {}
    z_NxZ = np.concatenate([PATHS["linear"](a_Z, b_Z, STEPS + 1) for a_Z, b_Z in ends])
    ids = _encode(model, model.decode(z_NxZ))
    found = smoothness(list(windows(ids, STEPS + 1)))
    # As many sentences in a row that have nothing to do with each other.
    shuffled = [ids[i] for i in np.random.default_rng(0).permutation(len(ids))]
    chance = smoothness(list(windows(shuffled, STEPS + 1)))
    return {
        "paths": pairs,
        "steps": STEPS,
        "moving_paths": found.moving,
        "straightness": found.straightness,
        "random_straightness": chance.straightness,
        "largest_step": found.largest_step,
        "random_largest_step": chance.largest_step,
    }


def _disentangled(split: TokenizedSplit, mu_NxZ: np.ndarray) -> dict[str, Any]:
    """MIG and DCI against the known causes; nothing unless the corpus is `grammar`."""
    if split.log_prob is None or set(split.labels) != set(grammar.CAUSES):
        return {}
    causes_NxK = np.stack([np.asarray(split.labels[c], np.int64) for c in grammar.CAUSES], axis=1)
    scores = disentanglement.dci(mu_NxZ, causes_NxK)
    shuffled_NxZ = mu_NxZ[np.random.default_rng(0).permutation(len(mu_NxZ))]
    chance = disentanglement.dci(shuffled_NxZ, causes_NxK)
    figures = {
        "mig": disentanglement.mig(mu_NxZ, causes_NxK),
        "random_mig": disentanglement.mig(shuffled_NxZ, causes_NxK),
    }
    for name in scores._fields:
        figures[f"dci_{name}"] = getattr(scores, name)
        figures[f"random_dci_{name}"] = getattr(chance, name)
    return figures
