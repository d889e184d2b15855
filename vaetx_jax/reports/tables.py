"""Tables of results: printed, and written as NAME.json and NAME.md.

Cells of a table are short Markdown: `**best**`, `*second*`, a line break for a second line.
"""

import dataclasses
import datetime
import importlib.metadata
import json
import pathlib
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vaetx_jax.runtime.atomic import write_text

_PACKAGES = ("vaetx-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")


@dataclasses.dataclass(frozen=True)
class StudyTable:
    """A table of results.

    Attributes:
      title: its heading.
      columns: its head.
      rows: every metric by name, for programs.
      shown: the rows as they are printed, one text per column.
      notes: definitions and conditions, printed below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[dict[str, Any]]
    shown: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Renders a Markdown table; all columns but the first are right-aligned."""
    head = ["---", *("---:" for _ in columns[1:])]
    lines = [columns, head, *rows]
    return "\n".join(f"| {' | '.join(map(_escape_markdown, line))} |" for line in lines) + "\n"


def _escape_markdown(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", "<br>")


def print_table(table: StudyTable) -> None:
    """Prints a table and its notes."""
    # Titles and heads hold names of the user's, in which brackets and colons are no marks.
    screen = Table(title=escape(table.title), title_justify="left")
    for index, column in enumerate(table.columns):
        screen.add_column(escape(column), justify="left" if index == 0 else "right")
    for row in table.shown:
        screen.add_row(*map(_to_rich, row))
    console = Console(width=max(Console().width, _width(table)), emoji=False)
    console.print(screen)
    for note in table.notes:
        console.print(note, markup=False)


def _to_rich(cell: str) -> str:
    """Converts `**x**` and `*x*` to bold and italic letters."""
    text = re.sub(r"\*\*(.+?)\*\*", r"[bold]\1[/bold]", escape(cell))
    return re.sub(r"\*(.+?)\*", r"[italic]\1[/italic]", text)


def _width(table: StudyTable) -> int:
    """The width at which no cell is cut: a long line that wraps can be read, a cut name cannot."""
    lines = [table.columns, *table.shown]
    widest = [
        max(len(line) for cell in column for line in cell.replace("*", "").split("\n"))
        for column in zip(*lines, strict=True)
    ]
    return sum(widest) + 3 * len(widest) + 1


def provenance() -> dict[str, Any]:
    """The command, the versions and the date, as `made` of NAME.json."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from its sources
            continue
    return {
        "command": shlex.join(["python", "-m", "vaetx_jax.study", *sys.argv[1:]]),
        "versions": versions,
        "date": datetime.date.today().isoformat(),
    }


def write_tables(
    tables: Sequence[StudyTable],
    folder: pathlib.Path,
    name: str,
    figures: Sequence[pathlib.Path] = (),
) -> list[pathlib.Path]:
    """Writes `NAME.json` and `NAME.md`, and returns their paths.

    Args:
      tables: one or more; the first gives the title.
      folder: created where it is missing.
      name: of the files.
      figures: PNG files in the same folder, shown below the tables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = provenance()
    results = {
        "study": name,
        "title": tables[0].title,
        "rows": [row for table in tables for row in table.rows],
        "notes": [note for table in tables for note in table.notes],
        "made": made,
    }
    versions = ", ".join(f"{package} {version}" for package, version in made["versions"].items())
    blocks = [block for table in tables for block in _block(table)]
    blocks += [f"![{path.stem}]({path.name})" for path in figures]
    blocks += [f"Made on {made['date']} by `{made['command']}` ({versions})."]
    paths = [folder / f"{name}.json", folder / f"{name}.md"]
    texts = (json.dumps(results, indent=2) + "\n", "\n\n".join(blocks) + "\n")
    for path, content in zip(paths, texts, strict=True):
        write_text(path, content)
    return paths


def _block(table: StudyTable) -> list[str]:
    return [
        f"# {table.title}",
        markdown(table.columns, table.shown).rstrip(),
        *table.notes,
    ]
