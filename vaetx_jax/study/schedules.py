"""Figure 8: the KL weight alpha(t) under linear and under cyclic annealing."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from vaetx_jax.losses.annealing import ANNEALINGS, kl_weight
from vaetx_jax.reports.figures import new_figure, save_figure
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.report import HeadedFigure, StudyReport

STEPS = 1000  # of the whole run; the curves depend on the share of it alone
SHOWN = tuple(name for name in ANNEALINGS if name != "none")


def run(config: ConfigDict, folder: pathlib.Path) -> StudyReport:
    """Tabulates and draws alpha at every thousandth of a run."""
    study = config.study
    rows = alpha_rows(study.cycles, study.ratio)
    path = plot_schedules(rows, folder / f"{study.name}.png")
    twentieths = rows[:: STEPS // 20]
    table = StudyTable(
        title="α(t) under linear and cyclic annealing (Figure 8)",
        columns=("t / T", *SHOWN),
        rows=rows,
        shown=[[f"{row['t']:.2f}", *(f"{row[n]:.2f}" for n in SHOWN)] for row in twentieths],
        notes=[
            f"M = {study.cycles} cycles, R = {study.ratio}. The cyclic weight rises from 0 to 1 in "
            "the first R of each cycle and stays; the linear one does so once (its slope is our "
            "choice: the paper gives none). Eq. 9 of the paper leaves out the 1/R that makes the "
            "ramp reach 1 where it ends."
        ],
    )
    return StudyReport([table], [HeadedFigure("The schedules", path)])


def alpha_rows(cycles: int, ratio: float) -> list[dict[str, float]]:
    """A row per step of a run of `STEPS`: its time `t` as a share, and alpha by each annealing."""
    return [
        {
            "t": step / STEPS,
            **{
                annealing: float(
                    kl_weight(
                        step, annealing=annealing, total_steps=STEPS, cycles=cycles, ratio=ratio
                    )
                )
                for annealing in SHOWN
            },
        }
        for step in range(STEPS)
    ]


def plot_schedules(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> pathlib.Path:
    """Draws alpha against time, a panel per annealing."""
    times = np.array([row["t"] for row in rows])
    figure = new_figure(10, 3.2)
    for axes, annealing in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN, strict=True):
        axes.plot(times, [row[annealing] for row in rows])
        axes.set_title(f"{annealing} annealing", loc="left", fontsize=10)
        axes.set_xlabel("share of the run, t / T")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("KL weight α(t)")
    return save_figure(figure, path)
