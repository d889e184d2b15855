"""The report of a study: its tables and figures, on the screen and in its folder."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from vaetx_jax.reports.tables import StudyTable, print_table, write_tables
from vaetx_jax.study.html_report import write_html
from vaetx_jax.study.results import Grid


class HeadedFigure(NamedTuple):
    """A figure in a PNG file, and its heading."""

    heading: str
    path: pathlib.Path


@dataclasses.dataclass(frozen=True)
class StudyReport:
    """The tables and figures of a study.

    Attributes:
      tables: the first one's title is the report's; none: there is nothing to report yet.
      figures: drawn already.
      grid: the runs of a grid; None: the study trains nothing.
    """

    tables: Sequence[StudyTable]
    figures: Sequence[HeadedFigure] = ()
    grid: Grid | None = None

    def print_tables(self) -> None:
        """Prints the tables."""
        for table in self.tables:
            print_table(table)

    def write(self, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
        """Writes `NAME.json`, `NAME.md`, `NAME.html` and, the same page, `report.html`.

        Returns:
          The paths of all files of the report, its figures among them.
        """
        figures = [figure.path for figure in self.figures]
        paths = [*write_tables(self.tables, folder, name, figures), *figures]
        results = self.grid.results if self.grid else ()
        # As with evaluations: one file per study, and the latest under a name that all share.
        for page in (folder / f"{name}.html", folder / "report.html"):
            title = self.tables[0].title
            paths.append(write_html(page, title, self.tables, self.figures, results))
        return paths
