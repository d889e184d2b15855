"""A table for each corpus of whether a row's latent is used, and what that costs.

KL, mutual information and active units are figures of the encoder. Whether the decoder uses z shows
beside the language model of the same grid: `gain`, by which z makes its sentence likelier than the
language model does, and `behind_lm`, by which the model of text as a whole is worse.
"""

from collections.abc import Sequence
from typing import Any

from vaetx_jax.config.study_rows import Row, rows_of
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.results import (
    Grid,
    Result,
    against_language_model,
    digits_of,
    missing_note,
    summary_over_seeds,
    summary_text,
    training_note,
)

# The order of the columns; those that no row has are left out.
COLUMNS = ("kl", "mi", "au", "use", "gain", "nll", "ppl_iw", "behind_lm")
_NOTES = {
    "kl": "`kl`: rate, nats per sentence",
    "mi": "`mi`: mutual information over the whole split, nats",
    "au": "`au`: active units",
    "use": "`use`: nll with another sentence's z minus nll with its own",
    "gain": "`gain`: the language model's nll minus nll with its own z",
    "nll": "`nll`: reconstruction with its own z, nats per sentence",
    "ppl_iw": "`ppl_iw`: the importance-weighted bound, per token",
    "behind_lm": "`behind_lm`: nats per sentence by which that bound is behind the language model",
}


def remedy_tables(study: Any, grid: Grid) -> list[StudyTable]:
    """One table for each corpus that has a finished cell.

    Args:
      study: `config.study`.
    """
    titles = [row.title for row in rows_of(study)]
    tables = []
    for corpus in study.corpora:
        results = [result for result in grid.results if result.cell.corpus == corpus]
        if not results:
            continue
        rows = [
            row_of(group, grid)
            for title in titles
            if (group := [result for result in results if result.cell.title == title])
        ]
        columns = [name for name in COLUMNS if any(row["ours"][name] for row in rows)]
        tables.append(
            StudyTable(
                title=f"{study.title or study.name}: the latent on {corpus}",
                columns=(f"{corpus}", *columns),
                rows=rows,
                shown=[
                    [row["name"], *(summary_text(row["ours"][c], digits_of(c)) for c in columns)]
                    for row in rows
                ],
                notes=_notes(columns, rows, results, grid),
            )
        )
    return tables


def row_of(group: Sequence[Result], grid: Grid) -> dict[str, Any]:
    """A row's metrics as means over its seeds.

    Args:
      group: its cells.
      grid: has the language models that they are compared with.
    """
    cell, first = group[0].cell, group[0].metrics
    metrics = [against_language_model(result, grid) for result in group]
    return {
        "what": "remedy",
        "corpus": cell.corpus,
        "name": Row(*cell.key).title,
        "model": cell.model,
        "annealing": cell.annealing,
        "settings": group[0].settings,
        "latent_dim": cell.latent_dim or None,
        "seeds": [result.cell.seed for result in group],
        "ours": {name: summary_over_seeds([one.get(name) for one in metrics]) for name in COLUMNS},
        "iw_samples": first["iw_samples"],
        "mi_limit": first["mi_limit"],
        "seconds": sum(result.training.get("seconds", 0.0) for result in group),
        "cells": [result.cell.name for result in group],
    }


def _notes(
    columns: Sequence[str], rows: Sequence[dict[str, Any]], results: Sequence[Result], grid: Grid
) -> list[str]:
    samples = ", ".join(sorted({str(row["iw_samples"]) for row in rows}))
    limits = sorted({row["mi_limit"] for row in rows if row["mi_limit"] is not None})
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    limit = f", which cannot exceed {limits[0]:.2f}" if limits else ""
    notes = [
        "; ".join(_NOTES[name] + limit * (name == "mi") for name in columns) + ".",
        f"Test split, checkpoint `best`, seeds {', '.join(map(str, seeds))}; bounds of {samples} "
        f"samples; {training_note(results)}.",
    ]
    named = [row for row in rows if row["settings"]]
    if named:
        notes.append("; ".join(f"{row['name']}: {_settings(row)}" for row in named) + ".")
    if grid.missing:
        notes.append(missing_note(grid))
    return notes


def _settings(row: dict[str, Any]) -> str:
    return ", ".join(f"`{key}={value}`" for key, value in row["settings"].items())
