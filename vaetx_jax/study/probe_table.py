"""Tables 3 and 6: what a linear classifier reads off z, ours over the published figures."""

from collections.abc import Sequence
from typing import Any

from vaetx_jax import paper
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.grid import Grid, Result, trained_in
from vaetx_jax.study.language_table import missing_words, summary_over_seeds

_BESIDE = ("macro_f1", "roc_auc")
_REFERENCES = ("bag_of_ngrams", "lsa", "untrained_encoder")

Key = tuple[str, str, str, str]  # corpus, label field, model, annealing


def probe_tables(study: Any, grid: Grid) -> list[StudyTable]:
    """The paper's table, and one of what accuracy alone hides."""
    groups: dict[Key, list[tuple[Result, dict[str, Any]]]] = {}
    for result in grid.results:
        for field, found in (result.probe or {}).get("labels", {}).items():
            if "splits" in found:
                key = (result.cell.corpus, field, result.cell.model, result.cell.annealing)
                groups.setdefault(key, []).append((result, found))
    if not groups:
        return []
    rows = [_row(key, group) for key, group in groups.items()]
    first = StudyTable(
        title=f"{study.title or study.name}: linear probe of z",
        columns=(
            "corpus, model, annealing",
            *(f"{split} {name}" for split in SPLITS for name in ("BCE", "accuracy")),
        ),
        rows=rows,
        shown=[_shown(row, any(r["published"] for r in rows)) for row in rows],
        notes=_notes(grid, rows),
    )
    second = StudyTable(
        title=f"{study.title or study.name}: what accuracy alone hides, test split",
        columns=("corpus, model, annealing", "majority", *_BESIDE, *_REFERENCES),
        rows=(),
        shown=[_beside(row) for row in rows],
        notes=[
            "`majority`: accuracy of always saying the commonest class. The last three are "
            "accuracies of references on the same rows: logistic regression on 1- and 2-grams, on "
            "LSA with as many dimensions as z, and the same probe on an encoder that was never "
            "trained."
        ],
    )
    return [first, second]


def _row(key: Key, group: Sequence[tuple[Result, dict[str, Any]]]) -> dict[str, Any]:
    corpus, field, model, annealing = key
    cell = group[0][0].cell
    found = [labels for _, labels in group]
    published = None
    if cell.latent_dim == 64:
        published = paper.PROBE_64.get((model, annealing), {}).get(corpus)
    loss = "bce" if "bce" in found[0]["splits"]["test"] else "cross_entropy"
    names = (loss, "accuracy", "majority", *_BESIDE)
    return {
        "what": "probe",
        "corpus": corpus,
        "label": field,
        "model": model,
        "annealing": annealing,
        "latent_dim": cell.latent_dim,
        "seeds": [result.cell.seed for result, _ in group],
        "epochs": None if cell.config.train.steps else cell.config.train.epochs,
        "protocol": (group[0][0].probe or {})["protocol"],
        "ours": {
            split: {
                name: summary_over_seeds([f["splits"][split].get(name) for f in found])
                for name in names
            }
            for split in SPLITS
        },
        "references": {
            name: summary_over_seeds([f["references"][name]["test"]["accuracy"] for f in found])
            for name in _REFERENCES
        },
        "few_labels": [labels["few_labels"] for labels in found],
        "published": published and {s: figures._asdict() for s, figures in published.items()},
        "cells": [result.cell.name for result, _ in group],
    }


def _text(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "–"
    beside = "" if summary["std"] is None else f" ± {summary['std']:.3f}"
    return f"{summary['mean']:.3f}{beside}"


def _label(row: dict[str, Any]) -> str:
    return f"{row['corpus']} ({row['label']}), {row['model']}, {row['annealing']}"


def _shown(row: dict[str, Any], paper_too: bool) -> list[str]:
    cells = [_label(row)]
    for split in SPLITS:
        ours = row["ours"][split]
        for mine, theirs in (
            (ours.get("bce") or ours.get("cross_entropy"), "bce"),
            (ours["accuracy"], "accuracy"),
        ):
            published = row["published"]
            beside = "–" if published is None else f"{published[split][theirs]:.3f}"
            cells.append(f"{_text(mine)}\n{beside}" if paper_too else _text(mine))
    return cells


def _beside(row: dict[str, Any]) -> list[str]:
    test = row["ours"]["test"]
    return [
        _label(row),
        *(_text(test[name]) for name in ("majority", *_BESIDE)),
        *(_text(row["references"][name]) for name in _REFERENCES),
    ]


def _notes(grid: Grid, rows: Sequence[dict[str, Any]]) -> list[str]:
    protocols = {f"z {r['protocol']['latent']}, {r['protocol']['fit']} fit" for r in rows}
    epochs = sorted({row["epochs"] for row in rows if row["epochs"] is not None})
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    trained = f"{', '.join(map(str, epochs))} epochs" if epochs else "a fixed number of steps"
    over = ""
    if any(row["published"] for row in rows):
        over = "In each cell ours stands over the published figure (–: none). "
    notes = [
        f"{over}BCE in nats (cross entropy where there are more than two classes). Protocol: "
        f"{'; '.join(sorted(protocols))}.",
        f"Ours: encoders of {trained} (the paper: {paper.EPOCHS}), seeds "
        f"{', '.join(map(str, seeds))}; {trained_in(grid.results)}.",
    ]
    if grid.missing:
        notes.append(missing_words(grid))
    return notes
