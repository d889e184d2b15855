"""The explorer's figures as Plotly's dictionaries: the map and the learning curves."""

import html
import math
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vaetx_jax.explore.sentences import NO_LABEL
from vaetx_jax.explore.session import AXES, NEIGHBOURS_VIEW, Description, Session

Figure = dict[str, Any]

# Okabe and Ito's palette for the colour-blind, without its yellow, which is too light on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
# So ordered that two classes of one colour have symbols that look least alike.
SYMBOLS = ("circle", "x", "square", "triangle-up", "diamond", "cross")
MOST_CLASSES = 20
CLASS_WIDTH, TEXT_WIDTH = 24, 40  # columns of a class's name, and of a line beside a point
MOST_SHOWN = 300  # characters of a text beside a point
MOST_TICKS = 8  # of a logarithmic scale
INK, GRID = "#1d2733", "#e3e7eb"
MOST_POINTS = 1_000  # of a curve

# No part of Plotly's own services: no logo, no link, nothing that is sent anywhere.
GRAPH: Any = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "showEditInChartStudio": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "toImage", "autoScale2d"],
}
CURVES_GRAPH: Any = GRAPH | {"displayModeBar": False}


class Panel(NamedTuple):
    """One panel of the curves.

    Attributes:
      title: above it.
      lines: (metric, name) of each.
      log: whether values of several orders of magnitude have a logarithmic scale.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    log: bool = False


PANELS = (
    Panel(
        "Reconstruction, nats per sentence",
        (("train/nll", "training"), ("valid/nll", "validation")),
    ),
    Panel("KL, nats per sentence", (("train/kl", "training"), ("valid/kl", "validation"))),
    Panel(
        "Perplexity per token, by the ELBO",
        (("train/ppl_elbo", "training"), ("valid/ppl_elbo", "validation")),
        log=True,
    ),
    Panel("KL weight", (("train/kl_weight", "KL weight"),)),
    Panel("Learning rate", (("train/learning_rate", "learning rate"),)),
)


def map_figure(session: Session, field: str) -> Figure:
    """The mapped sentences on their two principal axes; a point's `customdata` is its row.

    Args:
      field: the label to colour by; empty: one colour.
    """
    names = axis_names(session, AXES)
    layout = _layout() | {
        "hovermode": "closest",
        "dragmode": False,  # a finger on it scrolls the page; the buttons above it zoom
        "uirevision": AXES,
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": INK, "size": 13}},
        "xaxis": _axis(names[0]),
        "yaxis": _axis(names[1]),
        "modebar": {"orientation": "h", "bgcolor": "white", "color": "#5a6672"},
    }
    return {"data": map_traces(session, field, AXES), "layout": layout}


def axis_names(session: Session, view: str | None) -> tuple[str, str]:
    """The titles of the map's axes; t-SNE's mean nothing."""
    if view == NEIGHBOURS_VIEW:
        return "t-SNE: who lies together matters, not where", ""
    if not session.has_map:
        return "axis 1", "axis 2"
    first, second = _shares(session)
    return f"axis 1 ({first:.0%} of the variance)", f"axis 2 ({second:.0%} of the variance)"


def map_traces(session: Session, field: str, view: str | None = AXES) -> list[Figure]:
    """The map's points in a view, a trace for each class of the label field."""
    label = session.sentences.labels.get(field)
    points_Nx2 = session.points(view)

    def trace(rows: np.ndarray, name: str, index: int) -> Figure:
        return _points(session, points_Nx2, rows, name, index)

    if label is None:
        return [trace(np.arange(len(session.mean_NxZ)), "sentences", 0)]
    numbers, counts = np.unique(label.classes_N, return_counts=True)
    frequent = numbers[np.argsort(-counts, kind="stable")][:MOST_CLASSES]
    shown = sorted((int(n) for n in frequent), key=lambda n: (n < 0, n))
    traces = []
    for index, number in enumerate(shown):
        name = label.names[number] if number >= 0 else NO_LABEL
        traces.append(trace(np.flatnonzero(label.classes_N == number), name, index))
    rest = np.flatnonzero(~np.isin(label.classes_N, shown))
    if len(rest):
        traces.append(trace(rest, f"{len(numbers) - len(shown)} others", len(shown)))
    return traces


def rings(description: Description, session: Session, view: str | None) -> list[Figure]:
    """Rings on the map: a thick one round the sentence, thin ones round its neighbours."""
    points_Nx2 = session.points(view)
    around = [_ring(points_Nx2[near.row], 6, 1.5) for near in description.neighbours]
    return [*around, _ring(session.point(description, view), 9, 3.0)]


def curve_figure(panel: Panel, rows: Sequence[dict[str, Any]]) -> Figure | None:
    """A panel's lines against the step; None where the run has logged nothing of it."""
    traces = []
    for number, (metric, name) in enumerate(panel.lines):
        points = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
        if not points:
            continue
        few = points[:: -(-len(points) // MOST_POINTS)]
        steps, values = zip(*few, strict=True)
        sparse = metric.startswith("valid/")
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if sparse else "lines",
                "name": name,
                "x": list(steps),
                "y": list(values),
                "line": {"color": COLOURS[number], "width": 2},
                "marker": {"size": 5},
            }
        )
    if not traces:
        return None
    layout = _layout() | {
        "xaxis": _axis(""),
        "yaxis": _axis("") | _scale(panel, traces),
        "margin": {"l": 48, "r": 12, "t": 8, "b": 28},
        "showlegend": len(panel.lines) > 1,
        "dragmode": False,
    }
    return {"data": traces, "layout": layout}


def as_text(text: str, width: int, most: int) -> str:
    """A text that Plotly shows as it is: Plotly takes tags in its labels for HTML.

    Args:
      width: of a line, in columns; Chinese characters and their like take two.
      most: characters; the rest is left out.
    """
    if any(unicodedata.east_asian_width(character) in "WF" for character in text):
        width, most = width // 2, most // 2
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    return "<br>".join(html.escape(line, quote=False) for line in textwrap.wrap(shown, width))


def _scale(panel: Panel, traces: Sequence[Figure]) -> Figure:
    """The vertical scale of a panel: logarithmic from a factor of 10 on, with ticks of its own.

    Plotly's would lie on each other.
    """
    values = [value for trace in traces for value in trace["y"]]
    low, high = min(values), max(values)
    if not (panel.log and 0 < 10 * low <= high):
        return {"nticks": 6, "tickformat": "~g"}
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(ticks) > MOST_TICKS:
        ticks = [10.0**e for e in exponents if low <= 10.0**e <= high]
        ticks = ticks[:: -(-len(ticks) // MOST_TICKS)]
    return {"type": "log", "tickvals": ticks, "tickformat": "~g"}


def _points(
    session: Session, points_Nx2: np.ndarray, rows: np.ndarray, name: str, index: int
) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": as_text(name, CLASS_WIDTH, CLASS_WIDTH),
        "x": points_Nx2[rows, 0].tolist(),
        "y": points_Nx2[rows, 1].tolist(),
        "customdata": rows.tolist(),
        "hovertext": [
            as_text(session.sentences.texts[row], TEXT_WIDTH, MOST_SHOWN) for row in rows
        ],
        "hoverinfo": "text",
        "marker": {
            "size": 7,
            "opacity": 0.75,
            "color": COLOURS[index % len(COLOURS)],
            "symbol": SYMBOLS[index % len(SYMBOLS)],
        },
    }


def _shares(session: Session) -> list[float]:
    return [*session.axes.shares_K[:2].tolist(), 0.0][:2]


def _ring(point_2: np.ndarray, radius: float, width: float) -> Figure:
    x, y = (float(value) for value in point_2)
    return {
        "type": "circle",
        "xsizemode": "pixel",
        "ysizemode": "pixel",
        "xanchor": x,
        "yanchor": y,
        "x0": -radius,
        "x1": radius,
        "y0": -radius,
        "y1": radius,
        "line": {"color": INK, "width": width},
    }


def _layout() -> Figure:
    return {
        "autosize": True,
        "margin": {"l": 48, "r": 12, "t": 32, "b": 44},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 0,
            "yref": "container",  # below the axis's title, however high it is
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
    }


def _axis(title: str) -> Figure:
    return {
        "title": {"text": title, "font": {"size": 12}},
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
    }
