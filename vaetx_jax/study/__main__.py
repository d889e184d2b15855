"""`python -m vaetx_jax.study --config=configs/study/NAME.py`: the paper's tables.

The study goes to `studies/NAME`, or to --workdir=DIR; the same command resumes it.
"""

from vaetx_jax.runtime import huge_pages, signals

if __name__ == "__main__":
    huge_pages.restart()
    signals.exit_immediately()

# isort: split
import dataclasses
import pathlib
import time
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from vaetx_jax import command_line
from vaetx_jax.config.study import validate_study
from vaetx_jax.errors import UserError
from vaetx_jax.reports.tables import StudyTable, print_table, write_tables
from vaetx_jax.runtime.console import duration
from vaetx_jax.study.figures import learning_curves_of, rate_distortion
from vaetx_jax.study.grid import Grid, GridStudy
from vaetx_jax.study.html_report import write_report
from vaetx_jax.study.language_table import language_tables
from vaetx_jax.study.parameters import parameter_study
from vaetx_jax.study.probe_table import probe_tables
from vaetx_jax.study.schedules import schedule_study
from vaetx_jax.study.timing import timing_study
from vaetx_jax.training.trainer import StoppedError


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a study came to: its tables, its pictures with their headings, its runs."""

    tables: Sequence[StudyTable]
    pictures: Sequence[tuple[str, pathlib.Path]] = ()
    grid: Grid | None = None


def define_flags() -> None:
    """The command's flags."""
    config_flags.DEFINE_config_file("config", None, "The study: configs/study/NAME.py.")
    flags.DEFINE_string(
        "workdir", None, "The study's folder, studies/NAME by default; the same command resumes it."
    )


def main() -> int:
    """The command."""
    command_line.require("config")
    folder = command_line.default_workdir("studies")
    print(f"folder     {folder}", flush=True)
    return run(flags.FLAGS.config, folder)


def run(config: ConfigDict, folder: pathlib.Path) -> int:
    """Does a study, prints its tables and writes them into the folder.

    Returns:
      The exit status: 0; 1 when cells failed; 75 when it was stopped and the same call goes on.
    """
    validate_study(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"--workdir={folder}: this is a file; give a folder") from None
    began = time.monotonic()
    try:
        outcome = _do(config, folder)
    except StoppedError as stopped:
        print(f"{stopped}. Start the same command again to go on.")
        return signals.STOPPED
    for table in outcome.tables:
        print_table(table)
    grid, name = outcome.grid, config.study.name
    if outcome.tables:
        pictures = [path for _, path in outcome.pictures]
        paths = [*write_tables(outcome.tables, folder, name, pictures), *pictures]
        results = () if grid is None else grid.results
        title = outcome.tables[0].title
        # As with evaluations: each study's own, and the latest under the name that all know.
        for page in (folder / f"{name}.html", folder / "report.html"):
            paths.append(write_report(page, title, outcome.tables, outcome.pictures, results))
        print(f"done in {duration(time.monotonic() - began)}; written:")
        for path in paths:
            print(f"  {path}")
    elif grid is not None:
        print("none of the finished cells is of a table, so there is none yet")
    if grid is not None and grid.failed:
        return command_line.fail(f"{grid.failed} cells failed; see above", 1)
    return 0


def _do(config: ConfigDict, folder: pathlib.Path) -> Outcome:
    study = config.study
    if study.kind == "timing":
        table, picture = timing_study(config, folder)
        return Outcome([table], [("Time against dimension", picture)])
    if study.kind == "parameters":
        return Outcome([parameter_study(config)])
    if study.kind == "schedules":
        table, picture = schedule_study(config, folder)
        return Outcome([table], [("The schedules", picture)])
    return _grid(config, folder)


def _grid(config: ConfigDict, folder: pathlib.Path) -> Outcome:
    study, grid = config.study, GridStudy(config, folder).run()
    if not grid.results:
        return Outcome([], [], grid)
    tables: list[StudyTable] = []
    if {"language", "curves"} & set(study.show):
        tables += language_tables(study, grid)
    if "probe" in study.show:
        tables += probe_tables(study, grid)
    pictures: list[tuple[str, pathlib.Path | None]] = [
        (
            f"Learning curves, {corpus}",
            learning_curves_of(grid.results, folder / f"{study.name}-{corpus}-curves.png", corpus),
        )
        for corpus in study.corpora
    ]
    heading = "Rate against distortion, test split"
    pictures.append((heading, rate_distortion(grid.results, folder / f"{study.name}-rate.png")))
    return Outcome(tables, [(words, path) for words, path in pictures if path], grid)


if __name__ == "__main__":
    command_line.run(main, define_flags)
