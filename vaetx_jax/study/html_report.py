"""`report.html`: the report of a study as one file without links, for a browser or a mail."""

import base64
import html
import pathlib
import re
from collections.abc import Sequence

from vaetx_jax.reports.tables import StudyTable, provenance
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.study.results import Result, metric_text

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
@media (max-width: 40rem) {
  th:first-child, td:first-child { white-space: normal; min-width: 7rem; padding-left: 0; }
}
img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
.wide img { min-width: 34rem; }
p.note { font-size: .85rem; opacity: .8; margin: .4rem 0; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; font-size: .85rem; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
"""


def write_html(
    path: pathlib.Path,
    title: str,
    tables: Sequence[StudyTable],
    figures: Sequence[tuple[str, pathlib.Path]],
    results: Sequence[Result] = (),
) -> pathlib.Path:
    """Writes the page and returns its path.

    Args:
      path: the file to write.
      title: of the page.
      tables: shown with their notes, in order.
      figures: (heading, PNG file); the page embeds them.
      results: finished cells; their figures and samples are folded.
    """
    made = provenance()
    body = [f"<h1>{html.escape(title)}</h1>"]
    for table in tables:
        if table.title != title:
            body.append(f"<h2>{html.escape(table.title)}</h2>")
        body += _table(table)
    for heading, figure in figures:
        body += [f"<h2>{html.escape(heading)}</h2>", _image(figure, heading)]
    if results:
        body.append("<h2>Every run</h2>")
        body += [_cell(result) for result in results]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    body.append(
        f'<p class="note">Made on {made["date"]} by <code>{html.escape(made["command"])}</code> '
        f"({html.escape(versions)}).</p>"
    )
    write_text(
        path,
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n",
    )
    return path


def _table(table: StudyTable) -> list[str]:
    head = "".join(f"<th>{_to_html(column)}</th>" for column in table.columns)
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{_to_html(cell)}</td>' for cell in row)}</tr>" for row in table.shown
    )
    return [
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>',
        f"<tbody>{rows}</tbody></table></div>",
        *(f'<p class="note">{_to_html(note)}</p>' for note in table.notes),
    ]


def _to_html(text: str) -> str:
    """Converts the short Markdown of a table's cell."""
    text = html.escape(text).replace("\n", "<br>")
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"\*(.+?)\*", r"<i>\1</i>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _image(path: pathlib.Path, text: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    image = f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'
    return f'<div class="wide">{image}</div>'


def _cell(result: Result) -> str:
    metrics = result.metrics
    shown = [f"{name} {metric_text(metrics[name])}" for name in ("ppl_rec", "ppl_elbo")]
    if result.cell.latent_dim:
        shown += [f"{name.upper()} {metric_text(metrics[name])}" for name in ("kl", "mi")]
        shown.append(f"{metrics['au']} active units")
        if metrics.get("use") is not None:
            shown.append(f"use {metrics['use']:.2f}")
    line = ", ".join(shown)
    parts = [f"<summary>{html.escape(result.cell.label)}: {line}</summary>"]
    figures = (
        ("latent.png", "posterior means of the test split"),
        ("learning-curves.png", "learning curves"),
    )
    for name, text in figures:
        if (result.folder / name).exists():
            parts.append(_image(result.folder / name, text))
    for sample in sorted((result.folder / "samples").glob("*.md")):
        text = html.escape(sample.read_text(encoding="utf-8"))
        parts.append(f"<pre>{text}</pre>")
    return f"<details>{''.join(parts)}</details>"
