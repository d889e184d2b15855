"""Tables 3 and 6: linear probes of z, our metrics above the published ones."""

from collections.abc import Sequence
from typing import Any

from vaetx_jax import paper
from vaetx_jax.config.study_rows import Row
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.results import (
    Grid,
    Result,
    missing_note,
    summary_over_seeds,
    training_note,
)

_OTHER_METRICS = ("macro_f1", "roc_auc")
_BASELINES = ("bag_of_ngrams", "lsa", "untrained_encoder")

Key = tuple[str, str, str, str, str]  # corpus, label field; model, annealing, name of the row


def probe_tables(study: Any, grid: Grid) -> list[StudyTable]:
    """The paper's table, and one of the metrics and baselines that put accuracy in perspective.

    Args:
      study: `config.study`.

    Returns:
      Two tables; none where no cell was probed.
    """
    groups: dict[Key, list[tuple[Result, dict[str, Any]]]] = {}
    for result in grid.results:
        for field, labels in (result.probe or {}).get("labels", {}).items():
            if "splits" in labels:
                key = (result.cell.corpus, field, *result.cell.key)
                groups.setdefault(key, []).append((result, labels))
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
        shown=[_score_cells(row, any(r["published"] for r in rows)) for row in rows],
        notes=_notes(grid, rows),
    )
    second = StudyTable(
        title=f"{study.title or study.name}: majority, macro-F1, ROC-AUC and baselines, test split",
        columns=("corpus, model, annealing", "majority", *_OTHER_METRICS, *_BASELINES),
        rows=(),
        shown=[_baseline_cells(row) for row in rows],
        notes=[
            "`majority`: accuracy of always predicting the most frequent class. The last three are "
            "accuracies of baselines on the same rows: logistic regression on 1- and 2-grams, on "
            "LSA with as many dimensions as z, and the same probe on an encoder that was never "
            "trained."
        ],
    )
    return [first, second]


def _row(key: Key, group: Sequence[tuple[Result, dict[str, Any]]]) -> dict[str, Any]:
    corpus, field, model, annealing, name = key
    cell = group[0][0].cell
    probes = [labels for _, labels in group]
    published = None
    if cell.latent_dim == 64 and not name:
        published = paper.PROBE_64.get((model, annealing), {}).get(corpus)
    loss = "bce" if "bce" in probes[0]["splits"]["test"] else "cross_entropy"
    metrics = (loss, "accuracy", "majority", *_OTHER_METRICS)
    return {
        "what": "probe",
        "corpus": corpus,
        "label": field,
        "model": model,
        "annealing": annealing,
        **({"name": name} if name else {}),
        "latent_dim": cell.latent_dim,
        "seeds": [result.cell.seed for result, _ in group],
        "epochs": None if cell.config.train.steps else cell.config.train.epochs,
        "protocol": (group[0][0].probe or {})["protocol"],
        "ours": {
            split: {
                metric: summary_over_seeds([p["splits"][split].get(metric) for p in probes])
                for metric in metrics
            }
            for split in SPLITS
        },
        "references": {
            baseline: summary_over_seeds(
                [p["references"][baseline]["test"]["accuracy"] for p in probes]
            )
            for baseline in _BASELINES
        },
        "few_labels": [labels["few_labels"] for labels in probes],
        "published": published and {s: scores._asdict() for s, scores in published.items()},
        "cells": [result.cell.name for result, _ in group],
    }


def _text(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "–"
    spread = "" if summary["std"] is None else f" ± {summary['std']:.3f}"
    return f"{summary['mean']:.3f}{spread}"


def _label(row: dict[str, Any]) -> str:
    title = Row(row["model"], row["annealing"], row.get("name", "")).title
    return f"{row['corpus']} ({row['label']}), {title}"


def _score_cells(row: dict[str, Any], with_published: bool) -> list[str]:
    """Loss and accuracy of each split, above the published ones if any row has some."""
    cells = [_label(row)]
    for split in SPLITS:
        ours = row["ours"][split]
        for mine, theirs in (
            (ours.get("bce") or ours.get("cross_entropy"), "bce"),
            (ours["accuracy"], "accuracy"),
        ):
            published = row["published"]
            below = "–" if published is None else f"{published[split][theirs]:.3f}"
            cells.append(f"{_text(mine)}\n{below}" if with_published else _text(mine))
    return cells


def _baseline_cells(row: dict[str, Any]) -> list[str]:
    test = row["ours"]["test"]
    return [
        _label(row),
        *(_text(test[name]) for name in ("majority", *_OTHER_METRICS)),
        *(_text(row["references"][name]) for name in _BASELINES),
    ]


def _notes(grid: Grid, rows: Sequence[dict[str, Any]]) -> list[str]:
    protocols = {f"z {r['protocol']['latent']}, {r['protocol']['fit']} fit" for r in rows}
    epochs = sorted({row["epochs"] for row in rows if row["epochs"] is not None})
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    trained = f"{', '.join(map(str, epochs))} epochs" if epochs else "a fixed number of steps"
    layout = ""
    if any(row["published"] for row in rows):
        layout = "Each cell shows our value above the published one (–: none). "
    notes = [
        f"{layout}BCE in nats (cross entropy where there are more than two classes). Protocol: "
        f"{'; '.join(sorted(protocols))}.",
        f"Ours: encoders of {trained} (the paper: {paper.EPOCHS} epochs), "
        f"seeds {', '.join(map(str, seeds))}; {training_note(grid.results)}.",
    ]
    if grid.missing:
        notes.append(missing_note(grid))
    return notes
