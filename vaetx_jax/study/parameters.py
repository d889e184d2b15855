"""Table 8: the parameter count of every model and the published one."""

import pathlib
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax import paper
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.study import select
from vaetx_jax.config.validation import model_settings
from vaetx_jax.models.build import build_model
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.report import StudyReport
from vaetx_jax.training.state import count_parameters


def count(model: str, dim: int, vocab_size: int) -> int:
    """Counts the parameters of a model of the `paper` preset with latent 64, allocating none."""
    config = default_config(model)
    config.model.dim = dim
    settings = model_settings(config)
    return count_parameters(build_model(settings, vocab_size=vocab_size, pad_id=0))


def run(config: ConfigDict, folder: pathlib.Path) -> StudyReport:
    """Counts the parameters of every size of the study."""
    return StudyReport([count_table(config)])


def count_table(config: ConfigDict) -> StudyTable:
    """The table of the study's sizes that `study.only` selects."""
    sizes = {f"{model}-{dim}": (model, dim, vocab) for model, dim, vocab in config.study.sizes}
    rows = []
    for name in select(list(sizes), config.study.only):
        model, dim, vocab_size = sizes[name]
        ours, published = count(model, dim, vocab_size), paper.PARAMETERS[model].get(dim)
        rows.append(
            {
                "model": model,
                "dim": dim,
                "vocab_size": vocab_size,
                "ours": ours,
                "published": published,
                "equal": None if published is None else ours == published,
            }
        )
    return StudyTable(
        title="Parameters of the models (Table 8; VAE-GPT2: Table 1)",
        columns=("model", "dim", "vocab_size", "ours", "published", "difference"),
        rows=rows,
        shown=[_cells(row) for row in rows],
        notes=_notes(rows),
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    counts = [f"{row[key]:,}" for key in ("vocab_size", "ours")]
    if row["published"] is None:
        return (row["model"], str(row["dim"]), *counts, "", "not published")
    difference = row["ours"] - row["published"]
    verdict = f"{difference:+,}" if difference else "equal"
    return (row["model"], str(row["dim"]), *counts, f"{row['published']:,}", verdict)


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    published = [row for row in rows if row["published"] is not None]
    equal = sum(row["equal"] for row in published)
    notes = [f"{equal} of {len(published)} counts equal the published ones."]
    swapped = paper.SWAPPED_IN_TABLE_1
    if any(row["model"] in swapped and row["dim"] == 128 for row in rows):
        lstm, gru = swapped["vae_lstm"], swapped["vae_gru"]
        notes.append(
            f"The paper's Table 1 swaps two: it gives {lstm:,} for the VAE-LSTM and {gru:,} for "
            "the VAE-GRU; its Table 8, used here, has them the right way round."
        )
    return notes
