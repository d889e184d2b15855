"""The results of a grid: its finished cells and the reasons why others are missing."""

import dataclasses
import json
import math
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from vaetx_jax.inference.reference import OWN
from vaetx_jax.run.workdir import EVALUATION, SEAL
from vaetx_jax.runtime.console import counted, duration
from vaetx_jax.study.cells import Cell
from vaetx_jax.study.seal import PROBE

NOT_RUN = "not run"


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished cell.

    Attributes:
      cell: the cell.
      folder: the folder of its run.
      metrics: the fields of its `evaluation-test.json`.
      probe: those of its `probe.json`; None: it was not probed.
      training: how it was trained: device, seconds, versions.
    """

    cell: Cell
    folder: pathlib.Path
    metrics: dict[str, Any]
    probe: dict[str, Any] | None
    training: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of the run's config that its row sets."""
        return dict(self.cell.row.settings) if self.cell.row else {}


@dataclasses.dataclass(frozen=True)
class Grid:
    """The cells of a grid after a study.

    Attributes:
      results: the finished cells, in the grid's order.
      missing: label -> the reason; it starts with `NOT_RUN` unless the cell failed.
      failed: how many cells failed.
      held: label -> which other host works on the cell.
    """

    results: list[Result]
    missing: dict[str, str]
    failed: int
    held: dict[str, str] = dataclasses.field(default_factory=dict)


def read_result(cell: Cell, folder: pathlib.Path) -> Result:
    """Reads a finished cell from its folder."""

    def read(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    probe = read(PROBE) if (folder / PROBE).exists() else None
    training = read(SEAL)
    del training["sha256"]
    return Result(cell, folder, read(EVALUATION), probe, training)


def summary_over_seeds(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean and sample standard deviation over seeds; None where a seed lacks the metric."""
    known = [float(value) for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "std": deviation, "values": known}


def metric_text(value: float | None, digits: int = 2) -> str:
    """A metric as tables show it, a dash where there is none.

    A count has 0 digits, and two where it is a mean over seeds and no whole number. An estimate of
    something near 0 may be below it, and is no -0.00.
    """
    if value is None:
        return "–"
    return f"{value:z.{digits}f}" if digits or value == int(value) else f"{value:z.2f}"


def summary_text(summary: dict[str, Any] | None, digits: int = 2) -> str:
    """`summary_over_seeds` as tables show it: the mean ± the deviation, if there is one."""
    if summary is None:
        return "–"
    spread = summary["std"]
    deviation = "" if spread is None else f" ± {metric_text(spread, digits)}"
    return metric_text(summary["mean"], digits) + deviation


def digits_of(name: str) -> int:
    """The digits of a metric of `evaluation.json` in tables."""
    return 0 if name == "au" else 2


def against_language_model(result: Result, grid: Grid) -> dict[str, Any]:
    """A cell's metrics with `gain` and `behind_lm`, where there is a language model for them.

    That is the reference that its config names, else the grid's language model of the same family,
    corpus and seed, if it has scored the same tokens, else the run's own from its warm-up.
    """
    metrics, cell = result.metrics, result.cell
    if not cell.latent_dim or metrics.get("reference") not in (None, OWN):
        return metrics
    family = f"{cell.model.removeprefix('vae_')}_lm"
    same = ("sentences", "tokens", "tokenizer", "vocab_size", "split")
    for other in grid.results:
        lm = other.metrics
        if (other.cell.model, other.cell.corpus, other.cell.seed) != (
            family,
            cell.corpus,
            cell.seed,
        ) or any(lm.get(name) != metrics.get(name) for name in same):
            continue
        bound = metrics.get("ppl_iw") or metrics.get("ppl_elbo")
        if bound is None or None in (lm["nll"], metrics["nll"]):  # a sum was not finite
            return metrics
        behind = math.log(bound) * metrics["tokens"] / metrics["sentences"] - lm["nll"]
        found = {"gain": lm["nll"] - metrics["nll"], "behind_lm": behind}
        return metrics | found | {"reference": f"the grid's {family} of the same seed"}
    return metrics


def training_note(results: Sequence[Result]) -> str:
    """A note on where the cells were trained, and for how long."""
    seconds = sum(result.training.get("seconds", 0.0) for result in results)
    devices = sorted({f"{r.training.get('devices')} {r.training.get('device')}" for r in results})
    return (
        f"{counted(len(results), 'cell')}, trained in {duration(seconds)} on {', '.join(devices)}"
    )


def missing_note(grid: Grid) -> str:
    """A note on the cells that a table lacks, and why."""
    failed = {k: why for k, why in grid.missing.items() if not why.startswith(NOT_RUN)}
    note = f"Missing: {counted(len(grid.missing), 'cell')} of the grid"
    if failed:
        note += "; failed: " + "; ".join(f"{label} ({why})" for label, why in failed.items())
    return note + "."
