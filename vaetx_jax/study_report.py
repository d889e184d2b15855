"""What a study writes: NAME.json with every figure, NAME.md with the table that people read."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from vaetx_jax.writer import write_text


@dataclasses.dataclass(frozen=True)
class StudyTable:
    """A study's results.

    Attributes:
      title: what the table shows.
      columns: its head.
      rows: every figure by name, for programs.
      shown: the same rows as they are printed, one text a column.
      notes: what must be known to read them.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[dict[str, Any]]
    shown: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set to the right."""
    head = ["---", *("---:" for _ in columns[1:])]
    lines = [columns, head, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def print_table(table: StudyTable) -> None:
    """The table on the screen, its notes below."""
    screen = Table(title=table.title, title_justify="left")
    for place, column in enumerate(table.columns):
        screen.add_column(column, justify="left" if place == 0 else "right")
    for row in table.shown:
        screen.add_row(*row)
    console = Console(width=max(Console().width, _width(table)))
    console.print(screen)
    for note in table.notes:
        console.print(note)


def _width(table: StudyTable) -> int:
    """What the table needs: a name that is cut tells nothing, a line that wraps does."""
    lines = [table.columns, *table.shown]
    widest = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return sum(widest) + 3 * len(widest) + 1


def write_table(table: StudyTable, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Writes `NAME.json` and `NAME.md`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {"study": name, "title": table.title, "rows": table.rows, "notes": table.notes}
    text = "\n".join(
        [f"# {table.title}", "", markdown(table.columns, table.shown), *table.notes, ""]
    )
    paths = [folder / f"{name}.json", folder / f"{name}.md"]
    for path, content in zip(paths, (json.dumps(results, indent=2) + "\n", text), strict=True):
        write_text(path, content)
    return paths
