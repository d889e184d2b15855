"""A run's metrics as two runs of the same settings must have them."""

import pathlib

from vaetx_jax.run.metric_log import METRICS, read_metrics


def steady_rows(folder: pathlib.Path) -> list[dict]:
    """The rows of `metrics.jsonl` without what a clock measures."""
    rows = read_metrics(folder / METRICS)
    return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in rows]
