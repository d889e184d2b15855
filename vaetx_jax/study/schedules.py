"""Figure 8: the KL weight alpha(t) under linear and under cyclic annealing."""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from vaetx_jax.losses.annealing import ANNEALINGS, kl_weight
from vaetx_jax.reports.figures import new_figure, save_figure
from vaetx_jax.reports.tables import StudyTable

STEPS = 1000  # of the whole run; the curves depend on the share of it alone
SHOWN = tuple(name for name in ANNEALINGS if name != "none")


def schedule_study(config: ConfigDict, folder: pathlib.Path) -> tuple[StudyTable, pathlib.Path]:
    """alpha at every thousandth of a run, as rows and as a picture."""
    study = config.study
    curves = {
        annealing: [
            float(
                kl_weight(
                    step,
                    annealing=annealing,
                    total_steps=STEPS,
                    cycles=study.cycles,
                    ratio=study.ratio,
                )
            )
            for step in range(STEPS)
        ]
        for annealing in SHOWN
    }
    times = np.arange(STEPS) / STEPS
    rows = [
        {"t": float(t), **{name: curves[name][i] for name in SHOWN}} for i, t in enumerate(times)
    ]
    figure = new_figure(10, 3.2)
    for axes, annealing in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN, strict=True):
        axes.plot(times, curves[annealing])
        axes.set_title(f"{annealing} annealing", loc="left", fontsize=10)
        axes.set_xlabel("share of the run, t / T")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("KL weight α(t)")
    tenths = [round(share * STEPS) for share in np.arange(0, 1, 0.05)]
    table = StudyTable(
        title="α(t) under linear and cyclic annealing (Figure 8)",
        columns=("t / T", *SHOWN),
        rows=rows,
        shown=[[f"{rows[i]['t']:.2f}", *(f"{rows[i][n]:.2f}" for n in SHOWN)] for i in tenths],
        notes=[
            f"M = {study.cycles} cycles, R = {study.ratio}. The cyclic weight rises from 0 to 1 in "
            "the first R of each cycle and stays; the linear one does so once (its slope is our "
            "choice: the paper gives none). Eq. 9 of the paper leaves out the 1/R that makes the "
            "ramp reach 1 where it ends."
        ],
    )
    return table, save_figure(figure, folder / f"{study.name}.png")
