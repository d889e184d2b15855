"""A table for each corpus of the rows' text: what they sample, reconstruct and interpolate."""

from collections.abc import Sequence
from typing import Any

from vaetx_jax.config.study_rows import rows_of
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.reports.text_table import METRICS, TextMetric, is_full
from vaetx_jax.study.results import Grid, Result, summary_over_seeds, summary_text

_REAL, _CHANCE = "real text", "chance"
# Of these, the columns that a row has.
_SHOWN = (
    *("self_bleu", "grammatical", "copied", "run_share", "forward_ppl", "reverse_ppl"),
    *("exact_match", "bleu", "edit_rate", "straightness", "mig", "dci_disentanglement"),
)
_METRICS = tuple(metric for metric in METRICS if metric.name in _SHOWN)


def text_tables(study: Any, grid: Grid) -> list[StudyTable]:
    """One table for each corpus on which a cell's text was evaluated in full.

    Args:
      study: `config.study`.
    """
    titles, tables = [row.title for row in rows_of(study)], []
    evaluated = [result for result in grid.results if is_full(result.metrics.get("text"))]
    for corpus in study.corpora:
        results = [result for result in evaluated if result.cell.corpus == corpus]
        groups = [[one for one in results if one.cell.title == title] for title in titles]
        rows = [_row(group[0].cell.title, group, "") for group in groups if group]
        if not rows:
            continue
        beside = [_row(_REAL, results, "corpus_"), _row(_CHANCE, results, "random_")]
        columns = [m for m in _METRICS if any(row["ours"][m.name] for row in rows)]
        tables.append(
            StudyTable(
                title=f"{study.title or study.name}: text on {corpus}",
                columns=(corpus, *(metric.name for metric in columns)),
                rows=rows + beside,
                shown=[_line(row, columns) for row in rows + beside],
                notes=_notes(columns, results),
            )
        )
    return tables


def _row(name: str, group: Sequence[Result], prefix: str) -> dict[str, Any]:
    """A row's metrics as means over its cells; with a prefix, what stands beside them."""
    texts = [result.metrics["text"] for result in group]
    own = not prefix
    return {
        "what": "text",
        "corpus": group[0].cell.corpus,
        "name": name,
        "model": group[0].cell.model if own else None,
        "settings": group[0].settings if own else {},
        "seeds": [result.cell.seed for result in group] if own else [],
        "sentences": sorted({text["sentences"] for text in texts}),
        "ours": {m.name: _summary(texts, f"{prefix}{m.name}", own) for m in _METRICS},
        "cells": [result.cell.name for result in group] if own else [],
    }


def _summary(texts: Sequence[dict[str, Any]], name: str, own: bool) -> dict[str, Any] | None:
    """Over seeds; what stands beside them is of all cells that have it."""
    values = [text.get(name) for text in texts]
    return summary_over_seeds(values if own else [v for v in values if v is not None])


def _line(row: dict[str, Any], columns: Sequence[TextMetric]) -> list[str]:
    return [row["name"], *(summary_text(row["ours"][m.name], m.digits) for m in columns)]


def _notes(columns: Sequence[TextMetric], results: Sequence[Result]) -> list[str]:
    count = sorted({result.metrics["text"]["sentences"] for result in results})
    by = sorted(
        {text["forward_by"] for r in results if "forward_by" in (text := r.metrics["text"])}
    )
    meanings = "; ".join(f"`{m.name}`: {m.meaning}" for m in columns)
    notes = [
        f"{meanings}.",
        f"{', '.join(f'{n:,}' for n in count)} sentences evaluated. Real text: sentences of the "
        "split in the place of samples; chance: another sentence in the place of the own one.",
    ]
    return notes + [f"`forward_ppl` by {'; '.join(by)}."] * bool(by)
