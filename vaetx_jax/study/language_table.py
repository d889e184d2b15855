"""Tables 2, 4 and 5: the models as language models, ours over the published figures."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from vaetx_jax import paper
from vaetx_jax.models.presets import has_latent
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.grid import Grid, Result, trained_in

# As in `evaluation.json`; in brackets what the paper calls it.
_PAPERS = (("ppl_rec", "PPL"), ("kl", "KL"), ("mi_b32", "MI"))
_OURS = ("ppl_elbo", "ppl_iw", "ppl_iw_word", "mi", "au")
FIGURES = (
    *("ppl_rec", "kl", "mi_b32", "nll", "ppl_elbo", "ppl_iw"),
    *("ppl_rec_word", "ppl_elbo_word", "ppl_iw_word", "mi", "au"),
)

Key = tuple[str, str, str]  # corpus, model, annealing


def language_tables(study: Any, grid: Grid) -> list[StudyTable]:
    """The paper's table, and one of the figures by which models should be compared."""
    groups: dict[Key, list[Result]] = {}
    for result in grid.results:
        cell = result.cell
        groups.setdefault((cell.corpus, cell.model, cell.annealing), []).append(result)
    published = {64: paper.LATENT_64, 32: paper.LATENT_32}.get(study.latent_dim, {})
    rows = {key: _row(key, group, published) for key, group in groups.items()}
    models = [row for row in map(tuple, study.rows) if any(key[1:] == row for key in rows)]
    corpora = [corpus for corpus in study.corpora if any(key[0] == corpus for key in rows)]
    notes = _notes(study, grid, rows)
    first = StudyTable(
        title=study.title or study.name,
        columns=("model, annealing", *_head(corpora, [short for _, short in _PAPERS], rows)),
        rows=list(rows.values()),
        shown=_shown(
            models,
            corpora,
            rows,
            [name for name, _ in _PAPERS],
            published if any(row["published"] for row in rows.values()) else None,
        ),
        notes=notes,
    )
    second = StudyTable(
        title=f"{study.title or study.name}: figures to compare models by",
        columns=("model, annealing", *_head(corpora, _OURS, rows)),
        rows=(),
        shown=_shown(models, corpora, rows, _OURS, None),
        notes=[
            "`ppl_elbo` is an upper bound, `ppl_iw` a tighter one (importance weighted); `_word` "
            "is a word and its end-of-sentence, comparable across tokenizers; `mi` is over the "
            "whole split, `au` counts active units. `ppl_rec` falls as KL rises and ranks nothing."
        ],
    )
    return [first, second]


def _row(key: Key, group: Sequence[Result], published: Any) -> dict[str, Any]:
    corpus, model, annealing = key
    theirs = _theirs(published, key)
    facts = group[0].figures
    return {
        "corpus": corpus,
        "model": model,
        "annealing": annealing,
        "latent_dim": group[0].cell.latent_dim or None,
        "seeds": [result.cell.seed for result in group],
        "epochs": _epochs(group[0]),
        "ours": {
            name: summary_over_seeds([r.figures.get(name) for r in group]) for name in FIGURES
        },
        "published": None if theirs is None else theirs._asdict(),
        **{name: facts[name] for name in ("tokenizer", "vocab_size", "parameters", "iw_samples")},
        "sentences": facts["sentences"],
        "cells": [result.cell.name for result in group],
    }


def _epochs(result: Result) -> float | None:
    train = result.cell.config.train
    return None if train.steps else train.epochs


def summary_over_seeds(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean and sample standard deviation over seeds; None where a figure is not defined."""
    known = [float(value) for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "std": deviation, "values": known}


def _head(corpora: Sequence[str], names: Sequence[str], rows: dict[Key, Any]) -> list[str]:
    head = []
    for corpus in corpora:
        epochs = {row["epochs"] for key, row in rows.items() if key[0] == corpus}
        words = ", ".join(f"{n} epochs" for n in sorted(n for n in epochs if n is not None))
        head += [f"{corpus} {name}" for name in names]
        head[-len(names)] += f"\n({words or 'fixed steps'})"
    return head


def _shown(
    models: Sequence[tuple[str, str]],
    corpora: Sequence[str],
    rows: dict[Key, Any],
    names: Sequence[str],
    published: Any,
) -> list[list[str]]:
    """The printed rows; the best perplexity of each corpus is bold, the second best italic.

    Below ours stands what was published, where `published` is not None; of cells not run, too.
    """
    shown = [[_name(*model)] for model in models]
    for corpus in corpora:
        here = [rows.get((corpus, *model)) for model in models]
        for name in names:
            ours = [None if row is None else row["ours"][name] for row in here]
            cells = _marked([o and o["mean"] for o in ours], name, [_ours(o, name) for o in ours])
            if published is not None:
                theirs = [_figure(_theirs(published, (corpus, *model)), name) for model in models]
                beside = _marked(theirs, name, [_number(v, name) for v in theirs])
                cells = [f"{a}\n{b}" for a, b in zip(cells, beside, strict=True)]
            for line, cell in zip(shown, cells, strict=True):
                line.append(cell)
    return shown


def _name(model: str, annealing: str) -> str:
    return f"{model}, {annealing}" if has_latent(model) else model


def _theirs(published: Any, key: Key) -> Any:
    """The paper's figures of a row on a corpus; None where it has none."""
    corpus, model, annealing = key
    return published.get((model, annealing if has_latent(model) else None), {}).get(corpus)


def _figure(theirs: Any, name: str) -> float | None:
    short = {"ppl_rec": "ppl", "kl": "kl", "mi_b32": "mi"}[name]
    return None if theirs is None else getattr(theirs, short)


def _ours(summary: dict[str, Any] | None, name: str) -> str:
    if summary is None:
        return "–"
    spread = summary["std"]
    beside = "" if spread is None else f" ± {_number(spread, name)}"
    return _number(summary["mean"], name) + beside


def _number(value: float | None, name: str) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if name == "au" and value == int(value) else f"{value:.2f}"


def _marked(values: Sequence[float | None], name: str, texts: Sequence[str]) -> list[str]:
    """The lowest perplexity bold, the next italic, among what was run; other figures plain."""
    if not name.startswith("ppl"):
        return list(texts)
    known = sorted(value for value in values if value is not None and math.isfinite(value))
    marks: Callable[[float | None], str] = lambda v: (  # noqa: E731
        "**"
        if v is not None and len(known) > 1 and v == known[0]
        else "*"
        if v is not None and len(known) > 2 and v == known[1]
        else ""
    )
    return [f"{marks(v)}{text}{marks(v)}" for v, text in zip(values, texts, strict=True)]


def _notes(study: Any, grid: Grid, rows: dict[Key, Any]) -> list[str]:
    seeds = sorted({seed for row in rows.values() for seed in row["seeds"]})
    samples = sorted({row["iw_samples"] for row in rows.values()})
    spread = f"one seed, {seeds[0]}"
    if len(seeds) > 1:
        spread = f"mean ± standard deviation over the seeds {', '.join(map(str, seeds))}"
    over = ""
    if any(row["published"] for row in rows.values()):
        over = "In each cell ours stands over the published figure (–: none). "
    notes = [
        f"{over}PPL is `ppl_rec`, what the paper calls PPL; MI is `mi_b32`; KL in nats a sentence. "
        "Test split, checkpoint `best`.",
        f"Ours: {spread}; {trained_in(grid.results)}; the paper trains {paper.EPOCHS} epochs. "
        f"Importance-weighted bounds take {', '.join(map(str, samples))} samples.",
    ]
    for corpus in dict.fromkeys(key[0] for key in rows):
        of = [row for key, row in rows.items() if key[0] == corpus]
        kinds = sorted({f"{r['tokenizer']}, V = {r['vocab_size']:,}" for r in of})
        counts = ", ".join(f"{r['model']} {r['parameters']:,}" for r in _first_of_each(of))
        notes.append(f"{corpus}: {'; '.join(kinds)}; parameters: {counts}.")
    fewer = [
        f"{corpus} {_name(model, annealing)} (seeds {', '.join(map(str, row['seeds']))})"
        for (corpus, model, annealing), row in rows.items()
        if len(row["seeds"]) < len(seeds)
    ]
    if fewer:
        notes.append(f"Over fewer seeds: {'; '.join(fewer)}.")
    if grid.missing:
        notes.append(missing_words(grid))
    return notes


def _first_of_each(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({row["model"]: row for row in reversed(rows)}.values())[::-1]


def missing_words(grid: Grid) -> str:
    """What is not in a table, and why."""
    failed = {k: why for k, why in grid.missing.items() if not why.startswith("not run")}
    words = f"Missing: {len(grid.missing)} cells of the grid"
    if failed:
        words += "; failed: " + "; ".join(f"{label} ({why})" for label, why in failed.items())
    return words + "."
