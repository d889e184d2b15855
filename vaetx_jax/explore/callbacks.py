"""The callbacks of the explorer's controls: from their values to the page's contents."""

import functools
import json
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import dash
from dash import ALL, Input, Output, Patch, State, ctx, html, no_update
from dash.exceptions import PreventUpdate

from vaetx_jax.errors import UserError
from vaetx_jax.explore.components import (
    render_choices,
    render_description,
    render_list,
    render_notes,
    render_problem,
    render_sentence,
)
from vaetx_jax.explore.figures import axis_names, map_traces, rings
from vaetx_jax.explore.page import entered
from vaetx_jax.explore.session import STEPS, Description, Neighbour, Session, SupersededError

_PAGE = State("page", "data")
# These run in the browser. The words of a field, where they are not what it last sent:
_ENTERED = "(_enters, _leaves, words, sent) => words === sent ? dash_clientside.no_update : words"
# Shows a notice where the server does not answer, until it does: Dash itself says nothing.
_WATCH = """(_page) => {
  const ask = window.fetch;
  const say = words => dash_clientside.set_props("unanswered", {children: words, hidden: !words});
  window.fetch = (...given) => ask(...given).then(
    answer => {
      say(answer.ok ? "" : FAULT + " (HTTP " + answer.status + ")");
      return answer;
    },
    error => { say(GONE); throw error; });
  return dash_clientside.no_update;
}"""
_GONE = "The explorer does not answer. If it was stopped, start it again and reload this page."
_FAULT = "Something went wrong; the terminal may have the details."


def connect(app: dash.Dash, session: Session) -> None:
    """Connects every control of the page."""
    watch = _WATCH.replace("GONE", json.dumps(_GONE)).replace("FAULT", json.dumps(_FAULT))
    app.clientside_callback(watch, Output("unanswered", "children"), Input("page", "data"))
    _connect_map(app, session)
    _connect_sentence(app, session)
    _connect_between(app, session)
    _connect_directions(app, session)
    _connect_sampling(app, session)


def _guarded(callback: Callable[..., Any], others: Sequence[Any] = ()) -> Callable[..., Any]:
    """A callback that shows its error on the page, in its first output.

    Args:
      others: what its other outputs then get.
    """

    @functools.wraps(callback)
    def guarded(*values: Any) -> Any:
        try:
            return callback(*values)
        except SupersededError:
            raise PreventUpdate from None
        except PreventUpdate:
            raise
        except UserError as error:
            message = str(error)
        except Exception:
            traceback.print_exc()
            message = "Something went wrong; the terminal has the details."
        problem = render_problem(message)
        return (problem, *others) if others else problem

    return guarded


def _connect_map(app: dash.Dash, session: Session) -> None:
    def draw_map(field: str | None, view: str | None) -> Patch:
        figure, names = Patch(), axis_names(session, view)
        figure["data"] = map_traces(session, field or "", view)
        for axis, name in zip(("xaxis", "yaxis"), names, strict=True):
            figure["layout"][axis]["title"]["text"] = name
            if ctx.triggered_id == "view":  # another view is not zoomed as the last one was
                figure["layout"][axis]["autorange"] = True
        figure["layout"]["uirevision"] = view
        return figure

    def find(words: str | None) -> Any:
        if not (words or "").strip():
            return []
        texts, (rows, total) = session.sentences.texts, session.search(words or "")
        if not rows:
            return html.P("No sentence on the map has these words.")
        near = [Neighbour(row, 0.0, texts[row]) for row in rows]
        choices = render_choices(near, "found", scores=False)
        if total == len(rows):
            return choices
        first = f"The first {len(rows)} of {total:,}; more words find fewer."
        return [html.P(first, className="soft"), choices]

    app.callback(
        Output("map", "figure"),
        Input("colour", "value"),
        Input("view", "value"),
        prevent_initial_call=True,
    )(draw_map)
    app.callback(Output("found", "children"), Input("find", "value"), prevent_initial_call=True)(
        _guarded(find)
    )


def _connect_sentence(app: dash.Dash, session: Session) -> None:
    def select(*values: Any) -> Any:
        _, _, _, _, metric, view, text, kept, page = values
        row, typed, shown_again = _requested(text, kept or {}, bool(session.sentences.texts))
        control = f"{page} sentence"
        if row is None:
            description = session.describe_text(typed, metric=metric, control=control)
        else:
            description = session.describe_row(row, metric=metric, control=control)
        figure = Patch()
        figure["layout"]["shapes"] = rings(description, session, view)
        result = render_description(description, _labels(session, description))
        # What is being typed stays: while the answer came, or where another metric was asked for.
        words = no_update if shown_again or description.text == text else description.text
        kept = {"row": description.row, "text": description.text}
        line = ["Chosen: ", html.A(description.text, href="#sentence-section")]
        return result, words, kept, figure, line

    app.callback(
        Output("sentence-result", "children"),
        Output("text", "value"),
        Output("chosen", "data"),
        Output("map", "figure", allow_duplicate=True),
        Output("chosen-line", "children"),
        Input("map", "clickData"),
        Input({"type": "pick", "place": ALL, "row": ALL}, "n_clicks"),
        Input("show", "n_clicks"),
        Input("text", "n_submit"),
        Input("metric", "value"),
        Input("view", "value"),
        State("text", "value"),
        State("chosen", "data"),
        _PAGE,
        prevent_initial_call="initial_duplicate",
    )(_guarded(select, others=[no_update] * 4))
    for letter in "ab":
        app.callback(
            Output(f"between-{letter}", "value"),
            Output(entered(f"between-{letter}"), "data", allow_duplicate=True),
            Input(f"use-{letter}", "n_clicks"),
            State("chosen", "data"),
            State("text", "value"),
            prevent_initial_call=True,
        )(_selected_text)


def _requested(
    text: str | None, kept: dict[str, Any], has_sentences: bool
) -> tuple[int | None, str | None, bool]:
    """(row of a mapped sentence, None, ..) or (None, text, ..), by the input that triggered this.

    The third is whether the last choice is only shown again, by another metric or in another view.
    Dash counts new buttons as triggered, too; one that was pressed has a number of clicks.
    """
    triggered = {str(one["prop_id"]): one["value"] for one in ctx.triggered or ()}
    for name, value in triggered.items():
        if name.startswith("{") and value:
            return int(json.loads(name.rpartition(".")[0])["row"]), None, False
    if click := triggered.get("map.clickData"):
        row = click["points"][0].get("customdata")
        if row is None:
            raise PreventUpdate
        return int(row), None, False
    if {"show.n_clicks", "text.n_submit"} & triggered.keys():
        return None, text, False
    if {"metric.value", "view.value"} & triggered.keys() and kept:
        return kept["row"], kept["text"], True
    if ctx.triggered or not has_sentences:
        raise PreventUpdate
    return 0, None, False  # the page has just been loaded


def _labels(session: Session, description: Description) -> dict[str, str]:
    if description.row is None:
        return {}
    return {
        name: label.name_of(description.row) for name, label in session.sentences.labels.items()
    }


def _selected_text(
    clicks: int | None, kept: dict[str, Any] | None, typed: str | None
) -> tuple[str, str]:
    text = kept["text"] if kept else typed
    if not clicks or not text:
        raise PreventUpdate
    return text, text  # in the field, and entered


def _connect_entry(app: dash.Dash, name: str) -> None:
    app.clientside_callback(
        _ENTERED,
        Output(entered(name), "data"),
        Input(name, "n_submit"),
        Input(name, "n_blur"),
        State(name, "value"),
        State(entered(name), "data"),
        prevent_initial_call=True,
    )


def _connect_between(app: dash.Dash, session: Session) -> None:
    def find_path(a: str | None, b: str | None, kind: str, page: str) -> Any:
        if not (ctx.triggered or (a and b)):  # the page has just been loaded
            raise PreventUpdate
        steps, notes = session.path(a, b, kind=kind, control=f"{page} between")
        return [], {"steps": steps, "notes": notes}

    def show_step(path: dict[str, Any] | None, step: Any) -> Any:
        if not path:
            return [], []
        steps: Sequence[str] = path["steps"]
        now = min(max(int(float(step or 1)), 1), len(steps))
        caption = html.P(f"Step {now} of {STEPS}", className="soft")
        current = [caption, render_sentence(steps[now - 1]), *render_notes(path["notes"])]
        return current, render_list(steps, current=now - 1)

    for name in ("between-a", "between-b"):
        _connect_entry(app, name)
    app.callback(
        Output("between-problem", "children"),
        Output("path", "data"),
        Input(entered("between-a"), "data"),
        Input(entered("between-b"), "data"),
        Input("between-kind", "value"),
        _PAGE,
    )(_guarded(find_path, others=[None]))
    app.callback(
        Output("between-now", "children"),
        Output("between-all", "children"),
        Input("path", "data"),
        Input("between-step", "value"),
        prevent_initial_call=True,
    )(_guarded(show_step, others=[no_update]))


def _connect_directions(app: dash.Dash, session: Session) -> None:
    sliders = [f"direction-{number}" for number in range(session.directions)]

    def move(page: str, start: str | None, *amounts: Any) -> Any:
        numbers = [float(amount or 0) for amount in amounts]
        text, notes = session.move_along(start, numbers, control=f"{page} directions")
        where = ", ".join(f"{amount:+.2f}" if amount else "0" for amount in numbers)
        caption = [html.P(f"At {where}", className="soft")] if where else []
        return [render_sentence(text), *caption, *render_notes(notes)]

    _connect_entry(app, "start")
    app.callback(
        Output("moved", "children"),
        _PAGE,
        Input(entered("start"), "data"),
        *[Input(name, "value") for name in sliders],
    )(_guarded(move))
    if sliders:
        app.callback(
            *[Output(name, "value") for name in sliders],
            Input("back", "n_clicks"),
            prevent_initial_call=True,
        )(lambda _: [0] * len(sliders) if len(sliders) > 1 else 0)


def _connect_sampling(app: dash.Dash, session: Session) -> None:
    def sample(clicks: int | None, temperature: Any, page: str) -> Any:
        texts = session.sample(
            temperature=float(temperature or 0), seed=clicks or 0, control=f"{page} sampling"
        )
        caption = f"Temperature {float(temperature or 0):.1f}, seed {clicks or 0}"
        return [html.P(caption, className="soft"), render_list(texts)]

    app.callback(
        Output("drawn", "children"),
        Input("draw", "n_clicks"),
        Input("temperature", "value"),
        _PAGE,
    )(_guarded(sample))
