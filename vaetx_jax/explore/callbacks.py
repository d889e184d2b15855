"""What the explorer's controls do: from their values to what stands on the page."""

import functools
import json
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import dash
from dash import ALL, Input, Output, Patch, State, ctx, html, no_update
from dash.exceptions import PreventUpdate

from vaetx_jax.errors import UserError
from vaetx_jax.explore.components import listed, notes_of, picks, problem, said, sentence_result
from vaetx_jax.explore.figures import map_traces, rings
from vaetx_jax.explore.page import entered
from vaetx_jax.explore.session import STEPS, Chosen, Near, OvertakenError, Session

_PAGE = State("page", "data")
# Runs in the browser: the words of a field, where they are not what it last sent.
_ENTERED = "(_enters, _leaves, words, sent) => words === sent ? dash_clientside.no_update : words"


def connect(app: dash.Dash, session: Session) -> None:
    """Connects every control of the page."""
    _connect_map(app, session)
    _connect_sentence(app, session)
    _connect_between(app, session)
    _connect_directions(app, session)
    _connect_sampling(app, session)


def _guarded(answer: Callable[..., Any], others: int = 0) -> Callable[..., Any]:
    """An answer whose error is a sentence on the page, in its first output.

    Args:
      others: outputs beside the first, which stay as they are.
    """

    @functools.wraps(answer)
    def guarded(*values: Any) -> Any:
        try:
            return answer(*values)
        except OvertakenError:
            raise PreventUpdate from None
        except PreventUpdate:
            raise
        except UserError as error:
            words = str(error)
        except Exception:
            traceback.print_exc()
            words = "This went wrong here; the terminal says what."
        return (problem(words), *([no_update] * others)) if others else problem(words)

    return guarded


def _connect_map(app: dash.Dash, session: Session) -> None:
    def coloured(field: str | None) -> Patch:
        figure = Patch()
        figure["data"] = map_traces(session, field or "")
        return figure

    def found(words: str | None) -> Any:
        rows = session.found(words or "")
        if rows:
            texts = session.sentences.texts
            return picks([Near(row, 0.0, texts[row]) for row in rows], "found", scores=False)
        return html.P("No sentence on the map has these words.") if (words or "").strip() else []

    app.callback(Output("map", "figure"), Input("colour", "value"), prevent_initial_call=True)(
        coloured
    )
    app.callback(Output("found", "children"), Input("find", "value"), prevent_initial_call=True)(
        _guarded(found)
    )


def _connect_sentence(app: dash.Dash, session: Session) -> None:
    def chosen(*values: Any) -> Any:
        _, _, _, _, metric, text, kept, page = values
        row, words = _asked(text, kept or {}, bool(session.sentences.texts))
        control = f"{page} sentence"
        if row is None:
            found = session.of_text(words, metric=metric, control=control)
        else:
            found = session.of_row(row, metric=metric, control=control)
        figure = Patch()
        figure["layout"]["shapes"] = rings(found, session)
        result = sentence_result(found, _labels(session, found))
        kept = {"row": found.row, "text": found.text}
        line = ["Chosen: ", html.A(found.text, href="#sentence-section")]
        return result, found.text, kept, figure, line

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
        State("text", "value"),
        State("chosen", "data"),
        _PAGE,
        prevent_initial_call="initial_duplicate",
    )(_guarded(chosen, others=4))
    for letter in "ab":
        app.callback(
            Output(f"between-{letter}", "value"),
            Output(entered(f"between-{letter}"), "data", allow_duplicate=True),
            Input(f"use-{letter}", "n_clicks"),
            State("chosen", "data"),
            State("text", "value"),
            prevent_initial_call=True,
        )(_used)


def _asked(
    text: str | None, kept: dict[str, Any], has_sentences: bool
) -> tuple[int | None, str | None]:
    """(row, None) of a mapped sentence or (None, text), by what was touched last.

    New buttons count as touched, alone or together with what the user did at the same time: a
    button that was pressed has a number of clicks.
    """
    touched = {str(one["prop_id"]): one["value"] for one in ctx.triggered or ()}
    for name, value in touched.items():
        if name.startswith("{") and value:
            return int(json.loads(name.rpartition(".")[0])["row"]), None
    if click := touched.get("map.clickData"):
        row = click["points"][0].get("customdata")
        if row is None:
            raise PreventUpdate
        return int(row), None
    if {"show.n_clicks", "text.n_submit"} & touched.keys():
        return None, text
    if "metric.value" in touched and kept:
        return kept["row"], kept["text"]
    if ctx.triggered or not has_sentences:
        raise PreventUpdate
    return 0, None  # the page has just been loaded


def _labels(session: Session, chosen: Chosen) -> dict[str, str]:
    if chosen.row is None:
        return {}
    return {name: label.name_of(chosen.row) for name, label in session.sentences.labels.items()}


def _used(clicks: int | None, kept: dict[str, Any] | None, typed: str | None) -> tuple[str, str]:
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
    def way(a: str | None, b: str | None, kind: str, page: str) -> Any:
        if not (a or b):
            raise PreventUpdate
        steps, notes = session.path(a, b, kind=kind, control=f"{page} between")
        return [], {"steps": steps, "notes": notes}

    def shown(path: dict[str, Any] | None, step: Any) -> Any:
        if not path:
            raise PreventUpdate
        steps: Sequence[str] = path["steps"]
        now = min(max(int(float(step or 1)), 1), len(steps))
        told = html.P(f"Step {now} of {STEPS}", className="soft")
        return [told, said(steps[now - 1]), *notes_of(path["notes"])], listed(steps, now=now - 1)

    for name in ("between-a", "between-b"):
        _connect_entry(app, name)
    app.callback(
        Output("between-problem", "children"),
        Output("path", "data"),
        Input(entered("between-a"), "data"),
        Input(entered("between-b"), "data"),
        Input("between-kind", "value"),
        _PAGE,
    )(_guarded(way, others=1))
    app.callback(
        Output("between-now", "children"),
        Output("between-all", "children"),
        Input("path", "data"),
        Input("between-step", "value"),
        prevent_initial_call=True,
    )(_guarded(shown, others=1))


def _connect_directions(app: dash.Dash, session: Session) -> None:
    sliders = [f"direction-{number}" for number in range(session.directions)]

    def moved(page: str, start: str | None, *amounts: Any) -> Any:
        numbers = [float(amount or 0) for amount in amounts]
        text, notes = session.moved(start, numbers, control=f"{page} directions")
        where = ", ".join(f"{amount:+.2f}" if amount else "0" for amount in numbers)
        told = [html.P(f"At {where}", className="soft")] if where else []
        return [said(text), *told, *notes_of(notes)]

    _connect_entry(app, "start")
    app.callback(
        Output("moved", "children"),
        _PAGE,
        Input(entered("start"), "data"),
        *[Input(name, "value") for name in sliders],
    )(_guarded(moved))
    if sliders:
        app.callback(
            *[Output(name, "value") for name in sliders],
            Input("back", "n_clicks"),
            prevent_initial_call=True,
        )(lambda _: [0] * len(sliders) if len(sliders) > 1 else 0)


def _connect_sampling(app: dash.Dash, session: Session) -> None:
    def drawn(clicks: int | None, temperature: Any, page: str) -> Any:
        texts = session.drawn(
            temperature=float(temperature or 0), seed=clicks or 0, control=f"{page} sampling"
        )
        told = f"Temperature {float(temperature or 0):.1f}, seed {clicks or 0}"
        return [html.P(told, className="soft"), listed(texts)]

    app.callback(
        Output("drawn", "children"),
        Input("draw", "n_clicks"),
        Input("temperature", "value"),
        _PAGE,
    )(_guarded(drawn))
