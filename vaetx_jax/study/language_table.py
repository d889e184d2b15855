"""Tables 2, 4 and 5: the models as language models, our metrics above the published ones."""

import math
from collections.abc import Sequence
from typing import Any

from vaetx_jax import paper
from vaetx_jax.config.study_rows import Row, rows_of
from vaetx_jax.metrics.summary import NEAR_LIMIT, near_limit, with_samples
from vaetx_jax.models.presets import has_latent
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.runtime.console import counted
from vaetx_jax.study.results import (
    Grid,
    Result,
    against_language_model,
    digits_of,
    metric_text,
    missing_note,
    summary_over_seeds,
    summary_text,
    training_note,
)

# Names of `evaluation.json`, and the paper's for the same.
_PAPER_METRICS = (("ppl_rec", "PPL"), ("kl", "KL"), ("mi_b32", "MI"))
_FURTHER_METRICS = ("ppl_elbo", "ppl_iw", "ppl_iw_word", "mi", "au")
METRICS = (
    *("ppl_rec", "kl", "mi_b32", "nll", "ppl_elbo", "ppl_iw"),
    *("ppl_rec_word", "ppl_elbo_word", "ppl_iw_word", "mi", "au"),
    *("use", "gain", "behind_lm", "marginal_kl"),
)
# Whether the latent is used; a table of their own, where cells have the first.
_USE_METRICS = ("use", "gain", "behind_lm", "kl", "mi", "marginal_kl", "au")

Key = tuple[str, str, str, str]  # corpus; model, annealing and name of the row


def language_tables(study: Any, grid: Grid) -> list[StudyTable]:
    """The paper's table, one of the metrics to compare models by, and one of the latent's use.

    The third is left out where no cell's evaluation has `use`: those of earlier versions.

    Args:
      study: `config.study`.
    """
    groups: dict[Key, list[Result]] = {}
    for result in grid.results:
        groups.setdefault((result.cell.corpus, *result.cell.key), []).append(result)
    published = {64: paper.LATENT_64, 32: paper.LATENT_32}.get(study.latent_dim, {})
    rows = {key: _row(key, group, published, grid) for key, group in groups.items()}
    every = [(row.model, row.annealing, row.name) for row in rows_of(study)]
    models = [row for row in every if any(key[1:] == row for key in rows)]
    corpora = [corpus for corpus in study.corpora if any(key[0] == corpus for key in rows)]
    notes = _notes(study, grid, rows)
    first = StudyTable(
        title=study.title or study.name,
        columns=("model, annealing", *_head(corpora, [short for _, short in _PAPER_METRICS], rows)),
        rows=list(rows.values()),
        shown=_text_rows(
            models,
            corpora,
            rows,
            [name for name, _ in _PAPER_METRICS],
            published if any(row["published"] for row in rows.values()) else None,
        ),
        notes=notes,
    )
    second = StudyTable(
        title=f"{study.title or study.name}: metrics to compare models by",
        columns=("model, annealing", *_head(corpora, _FURTHER_METRICS, rows)),
        rows=(),
        shown=_text_rows(models, corpora, rows, _FURTHER_METRICS, None),
        notes=[
            "`ppl_elbo` is an upper bound, `ppl_iw` a tighter one (importance weighted); `_word`: "
            "per word, ends of sentences included, comparable across tokenizers; `mi` is over the "
            "whole split, `au` counts active units. `ppl_rec` falls as KL rises and ranks nothing."
        ],
    )
    tables = [first, second]
    if any(row["ours"]["use"] for row in rows.values()):
        tables.append(_use_table(study, corpora, models, rows))
    return tables


def _use_table(
    study: Any, corpora: Sequence[str], models: Sequence[tuple[str, str, str]], rows: dict[Key, Any]
) -> StudyTable:
    """The figures that say whether the decoder uses z."""
    models = [model for model in models if has_latent(model[0])]
    names = [name for name in _USE_METRICS if any(row["ours"][name] for row in rows.values())]
    notes = [
        "`use`: nll with another sentence's z minus nll with its own; `marginal_kl`: kl - mi. In "
        "nats per sentence; KL, MI and `au` may be high in a model whose decoder ignores z."
    ]
    if "gain" in names:
        references = sorted({name for row in rows.values() for name in row["references"]})
        notes.append(
            "`gain`: nll of a language model minus nll with z; `behind_lm`: the bound behind that "
            f"language model. The language models: {'; '.join(references)}."
        )
    return StudyTable(
        title=f"{study.title or study.name}: is the latent used?",
        columns=("model, annealing", *_head(corpora, names, rows)),
        rows=(),
        shown=_text_rows(models, corpora, rows, names, None),
        notes=notes,
    )


def _row(key: Key, group: Sequence[Result], published: Any, grid: Grid) -> dict[str, Any]:
    corpus, model, annealing, name = key
    theirs = _published_metrics(published, key)
    first = group[0].metrics
    measured = [against_language_model(result, grid) for result in group]
    return {
        "corpus": corpus,
        "model": model,
        "annealing": annealing,
        **({"name": name, "settings": group[0].settings} if name else {}),
        "latent_dim": group[0].cell.latent_dim or None,
        "seeds": [result.cell.seed for result in group],
        "epochs": _epochs(group[0]),
        "ours": {
            name: summary_over_seeds([metrics.get(name) for metrics in measured])
            for name in METRICS
        },
        "published": None if theirs is None else theirs._asdict(),
        **{name: first[name] for name in ("tokenizer", "vocab_size", "parameters", "iw_samples")},
        "sentences": first["sentences"],
        "references": sorted({m["reference"] for m in measured if m.get("reference")}),
        "mi_near_limit": any(near_limit(metrics) for metrics in measured),
        "cells": [result.cell.name for result in group],
    }


def _epochs(result: Result) -> float | None:
    train = result.cell.config.train
    return None if train.steps else train.epochs


def _head(corpora: Sequence[str], names: Sequence[str], rows: dict[Key, Any]) -> list[str]:
    head = []
    for corpus in corpora:
        epochs = {row["epochs"] for key, row in rows.items() if key[0] == corpus}
        numbers = sorted(n for n in epochs if n is not None)
        words = ", ".join(counted(n, "epoch") for n in numbers)
        samples = sorted({row["iw_samples"] for key, row in rows.items() if key[0] == corpus})
        k = " or ".join(map(str, samples))
        head += [f"{corpus} {with_samples(name, k)}" for name in names]
        head[-len(names)] += f"\n({words or 'fixed steps'})"
    return head


def _text_rows(
    models: Sequence[tuple[str, str, str]],
    corpora: Sequence[str],
    rows: dict[Key, Any],
    names: Sequence[str],
    published: Any,
) -> list[list[str]]:
    """The printed rows; the best perplexity of each corpus is bold, the second best italic.

    Our value is above the published one, which is shown for cells that were not run, too; without
    `published` it is alone.
    """
    shown = [[Row(*model).title] for model in models]
    for corpus in corpora:
        keys = [(corpus, *model) for model in models]
        for name in names:
            ours = [rows[key]["ours"][name] if key in rows else None for key in keys]
            cells = _mark(
                [o and o["mean"] for o in ours],
                name,
                [summary_text(o, digits_of(name)) for o in ours],
            )
            if published is not None:
                theirs = [_published_metric(published, key, name) for key in keys]
                below = _mark(theirs, name, [metric_text(v) for v in theirs])
                cells = [f"{a}\n{b}" for a, b in zip(cells, below, strict=True)]
            for line, cell in zip(shown, cells, strict=True):
                line.append(cell)
    return shown


def _published_metrics(published: Any, key: Key) -> Any:
    """The paper's metrics of a row on a corpus; None where it has none."""
    corpus, model, annealing, name = key
    if name:  # no settings of the paper
        return None
    return published.get((model, annealing if has_latent(model) else None), {}).get(corpus)


def _published_metric(published: Any, key: Key, name: str) -> float | None:
    metrics = _published_metrics(published, key)
    return None if metrics is None else getattr(metrics, dict(_PAPER_METRICS)[name].lower())


def _mark(values: Sequence[float | None], name: str, texts: Sequence[str]) -> list[str]:
    """Marks the lowest perplexity bold and the next italic; leaves other metrics plain."""
    if not name.startswith("ppl"):
        return list(texts)
    known = sorted(value for value in values if value is not None and math.isfinite(value))
    marks: dict[float | None, str] = {}
    if len(known) > 2:
        marks[known[1]] = "*"
    if len(known) > 1:
        marks[known[0]] = "**"
    return [
        f"{marks.get(value, '')}{text}{marks.get(value, '')}"
        for value, text in zip(values, texts, strict=True)
    ]


def _notes(study: Any, grid: Grid, rows: dict[Key, Any]) -> list[str]:
    seeds = sorted({seed for row in rows.values() for seed in row["seeds"]})
    samples = sorted({row["iw_samples"] for row in rows.values()})
    spread = f"one seed, {seeds[0]}"
    if len(seeds) > 1:
        spread = f"mean ± standard deviation over the seeds {', '.join(map(str, seeds))}"
    layout = ""
    if any(row["published"] for row in rows.values()):
        layout = "Each cell shows our value above the published one (–: none). "
    notes = [
        f"{layout}PPL is `ppl_rec`, the paper's PPL; MI is `mi_b32`; KL in nats per sentence. Test "
        "split, checkpoint `best`.",
        f"Ours: {spread}; {training_note(grid.results)}; the paper trains {paper.EPOCHS} epochs. "
        f"Importance-weighted bounds take {', '.join(map(str, samples))} samples.",
    ]
    for corpus in dict.fromkeys(key[0] for key in rows):
        of_corpus = [row for key, row in rows.items() if key[0] == corpus]
        kinds = sorted({f"{r['tokenizer']}, V = {r['vocab_size']:,}" for r in of_corpus})
        counts = ", ".join(f"{r['model']} {r['parameters']:,}" for r in _first_of_each(of_corpus))
        notes.append(f"{corpus}: {'; '.join(kinds)}; parameters: {counts}.")
    near = [f"{key[0]} {Row(*key[1:]).title}" for key, row in rows.items() if row["mi_near_limit"]]
    if near:
        notes.append(
            f"`mi` within {NEAR_LIMIT:g} nats of its limit, ln N of the split, so that it says "
            f"'at least this much': {'; '.join(near)}."
        )
    fewer = [
        f"{key[0]} {Row(*key[1:]).title} (seeds {', '.join(map(str, row['seeds']))})"
        for key, row in rows.items()
        if len(row["seeds"]) < len(seeds)
    ]
    if fewer:
        notes.append(f"Over fewer seeds: {'; '.join(fewer)}.")
    if grid.missing:
        notes.append(missing_note(grid))
    return notes


def _first_of_each(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({row["model"]: row for row in reversed(rows)}.values())[::-1]
