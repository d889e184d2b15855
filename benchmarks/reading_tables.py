"""The tables of `perplexity_readings`: their rows for programs, and as Markdown."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.readings import READINGS, Cell, log_ratios, score, score_over_cells
from benchmarks.tokenized_texts import ORDER, WORDPIECE_UNK, Corpus
from vaetx_jax import paper
from vaetx_jax.reports.tables import markdown

KINDS = ("bpe", "wordpiece", WORDPIECE_UNK)
PUBLISHED = {64: paper.LATENT_64, 32: paper.LATENT_32}
# The row that is printed of each corpus, where there is a cell of it.
_SHOWN = ("vae_transformer", "cyclic")

Row = dict[str, Any]


def reading_rows(cells: Sequence[Cell], corpora: Mapping[str, Corpus]) -> list[Row]:
    """A row per reading, the best first: the perplexity of each cell, and the scores."""
    rows = []
    for reading in READINGS:
        ratios = log_ratios(reading, cells, corpora)
        row = {
            "reading": reading.name,
            "basis": reading.basis,
            "perplexities": [reading.perplexity(c, corpora[c.corpus]) for c in cells],
            "mean_log_ratio": {name: float(np.mean(r)) for name, r in ratios.items()},
            "score": score(ratios),
            "score_over_cells": score_over_cells(ratios),
        }
        rows.append(row)
    return sorted(rows, key=lambda row: row["score"])


def tokenizer_rows(corpora: Mapping[str, Corpus]) -> list[Row]:
    """A row per corpus and tokenizer: its tokens, and the nats that n-gram models need."""
    rows = []
    for (name, corpus), kind in itertools.product(corpora.items(), KINDS):
        measured, bpe = corpus.measure(kind), corpus.measure("bpe")
        pairs = zip(measured.nats_by_order, bpe.nats_by_order, strict=True)
        row = {
            "corpus": name,
            "tokenizer": kind,
            "tokens": measured.tokens + 1,
            "cut": int(measured.cut_N.sum()),
            "nats": list(measured.nats_by_order),
            "nats_over_bpe": [nats / of_bpe for nats, of_bpe in pairs],
            "perplexities": [
                math.exp(nats / (measured.tokens + 1)) for nats in measured.nats_by_order
            ],
        }
        rows.append(row)
    return rows


def implied_rows(corpora: Mapping[str, Corpus]) -> list[Row]:
    """The nats that the published perplexities stand for, over those of the n-gram model.

    A row per table (by its latent) and tokenizer. Models of one kind should lie at about the same
    distance from an n-gram model on every corpus; `spread` is the standard deviation, over
    corpora, of the logarithm. VAE-GPT2, which has tokens of its own, is left out.
    """
    rows = []
    for (latent, table), kind in itertools.product(PUBLISHED.items(), KINDS):
        models = [row for row in table if row[0] != "vae_gpt2"]
        logs = {}
        for name, corpus in corpora.items():
            measured = corpus.measure(kind)
            positions = measured.tokens + 1
            implied = [positions * math.log(table[row][name].ppl) for row in models]
            logs[name] = float(np.mean(np.log(np.array(implied) / measured.nats)))
        ratios = {name: math.exp(value) for name, value in logs.items()}
        spread = float(np.std(list(logs.values())))
        rows.append({"latent_dim": latent, "tokenizer": kind, "ratios": ratios, "spread": spread})
    return rows


def published_noise(corpora: Sequence[str]) -> dict[str, float]:
    """Corpus -> mean |log ratio| of the language models without a latent, Table 2 over Table 4."""
    models = [row for row in paper.LATENT_64 if row[1] is None]

    def apart(row: paper.Row, corpus: str) -> float:
        return abs(math.log(paper.LATENT_64[row][corpus].ppl / paper.LATENT_32[row][corpus].ppl))

    return {name: float(np.mean([apart(row, name) for row in models])) for name in corpora}


def report(results: Mapping[str, Any], cells: Sequence[Cell]) -> str:
    """All results as Markdown."""
    made = results["made"]
    blocks = [
        "# Readings of the published perplexity",
        *_readings(results["readings"], cells),
        *_notes(results),
        "# What the tokenizers need, by n-gram models",
        *_tokenizers(results["tokenizers"]),
        "# What the published perplexities stand for",
        *_implied(results["implied"]),
        f"Made on {made['date']} by `{made['command']}`.",
    ]
    return "\n\n".join(blocks) + "\n"


def _readings(rows: Sequence[Row], cells: Sequence[Cell]) -> Iterator[str]:
    first = {cell.corpus: i for i, cell in reversed(list(enumerate(cells)))}
    usual = {c.corpus: i for i, c in enumerate(cells) if (c.model, c.annealing) == _SHOWN}
    places = dict(sorted((first | usual).items(), key=lambda item: item[1]))
    ratios = [f"{name}: ln ratio" for name in places]
    head = ("reading", "basis", *places, *ratios, "score")
    published = [f"{cells[i].published:.2f}" for i in places.values()]
    lines = [["**published**", "", *published, *[""] * len(ratios), ""]]
    for row in rows:
        shown = [f"{row['perplexities'][i]:,.2f}" for i in places.values()]
        logs = [f"{row['mean_log_ratio'][name]:+.2f}" for name in places]
        lines.append([row["reading"], row["basis"], *shown, *logs, f"{row['score']:.3f}"])
    yield markdown(head, lines).rstrip()
    models = ", ".join(f"{n} {cells[i].model} ({cells[i].annealing})" for n, i in places.items())
    counts = []
    for name in places:
        own = [cell for cell in cells if cell.corpus == name]
        epochs = " and ".join(str(number) for number in sorted({cell.epochs for cell in own}))
        counts.append(f"{len(own)} of {name} ({epochs} epochs)")
    yield (
        f"Perplexities: {models}. Logarithms: the mean of ln(reading / published) over a corpus's "
        f"cells, which are {', '.join(counts)}. The score is the mean of |ln(reading / "
        "published)|, each corpus counting the same; lower is better. `exact`: the same nats, "
        f"divided by something else. `estimate`: the nats scaled as those of a {ORDER}-gram model "
        "are by another tokenizer or text. `assumed`: the name states the assumption."
    )


def _notes(results: Mapping[str, Any]) -> Iterator[str]:
    noise = ", ".join(f"{value:.2f} ({name})" for name, value in results["noise"].items())
    yield (
        "The published figures differ among themselves: the language models without a latent are "
        "in both Table 2 and Table 4, with perplexities whose mean |ln ratio| is "
        f"{noise}. No reading can be confirmed more closely than that."
    )
    needed = ", ".join(f"{value:.1f} ({name})" for name, value in results["padding_nats"].items())
    yield (
        "Padding: for a mean over all positions to give the published figure, each padding "
        f"position would have to cost, in nats, {needed}. The readings assume at most 0.1, because "
        "nothing but [PAD] follows [SEP]."
    )


def _tokenizers(rows: Sequence[Row]) -> Iterator[str]:
    nats = [f"{n}-gram nats" for n in range(1, ORDER + 1)]
    ratios = [f"{n}-gram: / bpe" for n in range(1, ORDER + 1)]
    head = (
        "corpus",
        "tokenizer",
        "tokens",
        "cut",
        *nats,
        *ratios,
        f"{ORDER}-gram PPL",
        "published",
    )
    lines = [
        [
            row["corpus"],
            _escaped(row["tokenizer"]),
            f"{row['tokens']:.2f}",
            f"{row['cut']}",
            *(f"{value:.1f}" for value in row["nats"]),
            *(f"{value:.3f}" for value in row["nats_over_bpe"]),
            f"{row['perplexities'][-1]:.1f}",
            f"{paper.LATENT_64[_SHOWN][row['corpus']].ppl:.2f}",
        ]
        for row in rows
    ]
    yield markdown(head, lines).rstrip()
    yield (
        "Test split, means per sentence, [SEP] counted; cut: sentences longer than the model's "
        "rows. The n-gram models are interpolated (Witten-Bell) and trained on the training split. "
        f"Published: PPL of {_SHOWN[0]}, {_SHOWN[1]}, latent 64."
    )


def _implied(rows: Sequence[Row]) -> Iterator[str]:
    corpora = list(rows[0]["ratios"])
    lines = [
        [
            f"latent {row['latent_dim']}, {_escaped(row['tokenizer'])}",
            *(f"{row['ratios'][name]:.3f}" for name in corpora),
            f"{row['spread']:.3f}",
        ]
        for row in rows
    ]
    yield markdown(("table, tokenizer", *corpora, "spread"), lines).rstrip()
    yield (
        f"tokens · ln(published PPL) over the nats of the {ORDER}-gram model, geometric mean over "
        "the published models (VAE-GPT2 left out); spread: the standard deviation of its logarithm "
        "over corpora."
    )


def _escaped(kind: str) -> str:
    return kind.replace("<unk>", "`<unk>`")
