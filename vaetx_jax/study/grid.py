"""A grid study: trains a grid of runs and compares them in tables and figures."""

import pathlib

from ml_collections import ConfigDict

from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.figures import plot_learning_curves, plot_rate_distortion
from vaetx_jax.study.language_table import language_tables
from vaetx_jax.study.probe_table import probe_tables
from vaetx_jax.study.remedy_table import remedy_tables
from vaetx_jax.study.report import HeadedFigure, StudyReport
from vaetx_jax.study.results import Grid
from vaetx_jax.study.scheduler import Scheduler
from vaetx_jax.study.sharing import SharedCells
from vaetx_jax.study.text_table import text_tables


def run(
    config: ConfigDict,
    folder: pathlib.Path,
    *,
    shared: SharedCells | None = None,
    wait: bool = False,
) -> StudyReport:
    """Trains every missing cell of the grid; the report covers all finished ones.

    Args:
      folder: the study's folder on this machine.
      shared: its cells, where they are in an object store.
      wait: stay until the cells that other hosts hold are done, too.

    Raises:
      StoppedError: a signal asked to stop; the same call resumes the study.
    """
    grid = Scheduler(config, shared or SharedCells(folder), wait=wait).run()
    if not grid.results:
        return StudyReport([], [], grid)
    study = config.study
    tables: list[StudyTable] = []
    if {"language", "curves"} & set(study.show):
        tables += language_tables(study, grid)
    if "remedies" in study.show:
        tables += remedy_tables(study, grid)
    if "probe" in study.show:
        tables += probe_tables(study, grid)
    tables += text_tables(study, grid)
    return StudyReport(tables, _plot(study, grid, folder), grid)


def _plot(study: ConfigDict, grid: Grid, folder: pathlib.Path) -> list[HeadedFigure]:
    """Draws the learning curves of each corpus, and rate against distortion."""
    figures = []
    for corpus in study.corpora:
        path = folder / f"{study.name}-{corpus}-curves.png"
        if plot_learning_curves(grid.results, path, corpus):
            figures.append(HeadedFigure(f"Learning curves, {corpus}", path))
    path = folder / f"{study.name}-rate.png"
    if plot_rate_distortion(grid.results, path):
        figures.append(HeadedFigure("Rate against distortion, test split", path))
    return figures
