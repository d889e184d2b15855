"""The explorer's page: its sections from top to bottom, every control with its label."""

import secrets
from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from vaetx_jax.explore.figures import CURVES_GRAPH, GRAPH, PANELS, Panel, curve_figure, map_figure
from vaetx_jax.explore.session import AXES, MAX_CHARACTERS, SAMPLES, STEPS, VIEWS, Session
from vaetx_jax.inference.interpolation import PATHS
from vaetx_jax.inference.neighbours import METRICS

SECTIONS = (
    ("map-section", "Map"),
    ("sentence-section", "Sentence"),
    ("between-section", "Between two"),
    ("directions-section", "Directions"),
    ("sampling-section", "Sampling"),
    ("curves-section", "Curves"),
)
LIVE: dict[str, Any] = {"aria-live": "polite"}  # a screen reader reads out what has changed
MAP_SIZE, CURVE_SIZE = {"height": "min(66vh, 32rem)"}, {"height": "15rem"}
# Characters that a field holds: the server says what it cuts, but takes no request of any length.
_MOST_TYPED = 5 * MAX_CHARACTERS
_NORMAL = "N(0,\u00a0I)"  # on one line
FARTHEST = 3  # standard deviations that a direction's slider reaches


def page(session: Session, metrics: Sequence[dict[str, Any]]) -> Any:
    """The whole page, with a number of its own: each load of it is another page.

    Args:
      metrics: the rows of the run's `metrics.jsonl`; empty where there are none.
    """
    texts = session.sentences.texts
    return html.Div(
        id="explorer",
        children=[
            dcc.Store(id="page", data=secrets.token_hex(8)),
            dcc.Store(id="chosen"),
            dcc.Store(id="path"),
            html.Div(id="unanswered", className="problem", role="alert", hidden=True),
            html.Header([html.H1(title(session)), *_facts(session)]),
            html.Nav(
                html.Ul([html.Li(html.A(heading, href=f"#{name}")) for name, heading in SECTIONS]),
                **_aria(label="Sections"),
            ),
            html.Main(
                [
                    html.Div([_map(session), _sentence(session)], className="pair"),
                    _between([*texts[:2], "", ""]),
                    _directions(session),
                    _sampling(session),
                    _curves(metrics),
                ]
            ),
        ],
    )


def title(session: Session) -> str:
    """The page's title."""
    config = session.model.run.config
    return f"{config.model.name} on {config.data.corpus}"


def _facts(session: Session) -> list[Any]:
    model = session.model
    facts = [
        f"Step {model.step:,} ({model.source}), {model.run.tokenizer.size:,} tokens, "
        f"latent of {model.latent_dim} dimensions."
    ]
    warning: list[Any] = []
    if session.has_map:
        facts.append(f"Active on the sentences below: {session.active}.")
        if not session.active:
            warning = [
                html.P(
                    "The latent is hardly used: no dimension of it is active on these sentences, "
                    "so most of them decode to the same.",
                    className="warning",
                )
            ]
    return [html.P(" ".join(facts), className="soft"), *warning]


def _section(index: int, *children: Any) -> Any:
    name, heading = SECTIONS[index]
    number = f"{name}-heading"
    return html.Section(
        [html.H2(heading, id=number), *children], id=name, **_aria(labelledby=number)
    )


def _map(session: Session) -> Any:
    sentences = session.sentences
    choices = [{"label": "nothing", "value": ""}]
    choices += [{"label": field, "value": field} for field in sentences.labels]
    views = [{"label": view, "value": view} for view in VIEWS]
    field = next(iter(sentences.labels), "")
    graph = dcc.Graph(id="map", figure=map_figure(session, field), config=GRAPH, style=MAP_SIZE)
    shown = html.Div(
        [
            _choice("colour", "Colour by", choices, field, hidden=not sentences.labels),
            _choice("view", "Laid out by", views, AXES),
            html.Div(
                graph,
                role="group",
                **_aria(label="Map of the sentences; the field below finds them by words"),
            ),
            html.P("Click a point to choose its sentence, or find it by its words:"),
            field_of("find", "Find on the map", ""),
            html.Div(id="found", **LIVE),
            html.P(id="chosen-line", className="soft"),
        ],
        hidden=not sentences.texts,
    )
    return _section(0, html.P(sentences.origin, className="soft"), shown)


def _sentence(session: Session) -> Any:
    metrics = [{"label": name, "value": name} for name in METRICS]
    return _section(
        1,
        field_of(
            "text", "A sentence of your own", "", hint=f"At most {MAX_CHARACTERS:,} characters."
        ),
        html.Div(html.Button("Show", id="show", className="act"), className="acts"),
        _choice("metric", "Near by", metrics, "cosine", hidden=not session.sentences.texts),
        html.Div(id="sentence-result", **LIVE),
        html.Div(
            [
                html.Button("Use as first", id="use-a", className="act plain"),
                html.Button("Use as second", id="use-b", className="act plain"),
            ],
            className="acts",
            role="group",
            **_aria(label="Take this sentence to Between two"),
        ),
    )


def _between(texts: Sequence[str]) -> Any:
    kinds = [{"label": kind, "value": kind} for kind in PATHS]
    return _section(
        2,
        entry_of("between-a", "First sentence", texts[0]),
        entry_of("between-b", "Second sentence", texts[1], hint="Enter shows the way between."),
        _choice("between-kind", "Way", kinds, "linear"),
        _slider("between-step", f"Step, 1 to {STEPS}", 1, STEPS, 1, (STEPS + 1) // 2),
        html.Div(id="between-problem", **LIVE),
        html.Div(id="between-now", **LIVE),
        html.Div(id="between-all"),
    )


def _directions(session: Session) -> Any:
    if session.has_map:
        unit = "standard deviations of the sentences on the map"
        start, of = "the middle of the sentences on the map", "of their variance"
    else:
        unit, start, of = f"standard deviations of {_NORMAL}", f"the middle of {_NORMAL}", ""
    sliders = []
    for number in range(session.directions):
        share = f", {session.axes.shares_K[number]:.0%} {of}" if of else ""
        label = f"Direction {number + 1}{share}"
        sliders.append(_slider(f"direction-{number}", label, -FARTHEST, FARTHEST, 0.25, 0))
    reach = f"Sliders go {FARTHEST} {unit} each way."
    if not sliders:
        reach = "All sentences on the map have the same latent."
    return _section(
        3,
        html.P(reach, className="soft"),
        entry_of("start", "Start from", "", hint=f"A sentence; empty: {start}."),
        html.Div(id="moved", **LIVE),
        html.Div(sliders, className="sliders"),
        html.Div(
            html.Button("Back to the start", id="back", className="act plain"),
            className="acts",
            hidden=not sliders,
        ),
    )


def _sampling(session: Session) -> Any:
    prior = f"the prior, {_NORMAL}" if session.model.prior is None else "the prior that was fitted"
    return _section(
        4,
        html.P(f"{SAMPLES} sentences at a time, from {prior}.", className="soft"),
        _slider("temperature", "Temperature, 0 to 1.5", 0, 1.5, 0.1, 1),
        html.Div(html.Button("Draw", id="draw", className="act"), className="acts"),
        html.Div(id="drawn", **LIVE),
    )


def _curves(metrics: Sequence[dict[str, Any]]) -> Any:
    figures = [(panel, figure) for panel in PANELS if (figure := curve_figure(panel, metrics))]
    if not figures:
        return _section(5, html.P("This folder holds no metrics of a run.", className="soft"))
    graphs = [
        html.Div(
            [
                html.H3(panel.title),
                html.Div(
                    dcc.Graph(figure=figure, config=CURVES_GRAPH, style=CURVE_SIZE),
                    role="img",
                    **_aria(label=f"{panel.title}, against the step"),
                ),
            ]
        )
        for panel, figure in figures
    ]
    return _section(
        5,
        html.P("Against the step.", className="soft"),
        html.Div(graphs, className="curves"),
        _last([panel for panel, _ in figures], metrics),
    )


def _last(panels: Sequence[Panel], metrics: Sequence[dict[str, Any]]) -> Any:
    """The curves' ends as a table, for those who cannot see the curves."""
    rows = []
    for panel in panels:
        for metric, name in panel.lines:
            values = [(row["step"], row[metric]) for row in metrics if row.get(metric) is not None]
            if values:
                step, value = values[-1]
                cells = (panel.title, name, f"{value:.4g}", f"{step:,}")
                rows.append(html.Tr([html.Td(cell) for cell in cells]))
    head = html.Tr([html.Th(name, scope="col") for name in ("figure", "of", "value", "step")])
    table = html.Table([html.Caption("Last values"), html.Thead(head), html.Tbody(rows)])
    return html.Details([html.Summary("The last values as a table"), table])


def field_of(name: str, label: str, value: str, *, hint: str = "") -> Any:
    """A field for words, whose value changes with each key.

    Not `debounce`: Dash then puts the caret back to its place a moment after each key, so that keys
    in quick succession end up in the wrong order.
    """
    words = dcc.Input(
        id=name,
        type="text",
        value=value,
        className="words",
        autoComplete="off",
        maxLength=_MOST_TYPED,
    )
    parts = [html.Label(label, htmlFor=name), words]
    if hint:
        parts.append(html.Div(hint, className="soft"))
    return html.Div(parts, className="field")


def entry_of(name: str, label: str, value: str, *, hint: str = "") -> Any:
    """A field for words and a store of what was last entered: by Enter or by leaving the field."""
    return html.Div([field_of(name, label, value, hint=hint), dcc.Store(entered(name), data=value)])


def entered(name: str) -> str:
    """The store of what was last entered in the field of this name."""
    return f"{name}-entered"


def _slider(name: str, label: str, low: float, high: float, step: float, value: float) -> Any:
    knob = dcc.Input(id=name, type="range", min=low, max=high, step=step, value=value)
    return html.Div([html.Label(label, htmlFor=name), knob], className="field")


def _choice(
    name: str, legend: str, options: list[dict[str, str]], value: str, *, hidden: bool = False
) -> Any:
    radios = dcc.RadioItems(id=name, options=options, value=value, className="choices")
    return html.Fieldset([html.Legend(legend), radios], hidden=hidden)


def _aria(**values: str) -> dict[str, Any]:
    """Attributes for those who do not see the page, which no Python name can have."""
    return {f"aria-{name}": value for name, value in values.items()}
