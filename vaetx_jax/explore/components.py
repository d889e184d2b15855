"""The components of the explorer's answers: sentences, lists, notes and errors, as text."""

from collections.abc import Sequence
from typing import Any

from dash import html

from vaetx_jax.explore.session import Description, Neighbour


def render_problem(words: str) -> Any:
    """An error, in the place of an answer."""
    return html.P(words, className="problem", role="alert")


def render_notes(notes: Sequence[str]) -> list[Any]:
    """Notes on changes that were made to an input."""
    return [html.P(note, className="soft") for note in notes]


def render_sentence(text: str) -> Any:
    """A decoded sentence."""
    return html.P(text or "(nothing: the sentence ends at once)", className="said")


def render_list(texts: Sequence[str], *, current: int | None = None) -> Any:
    """Sentences in order; `current` marks one of them."""
    items = []
    for number, text in enumerate(texts):
        marks: dict[str, Any] = {}
        if number == current:
            marks = {"className": "now", "aria-current": "step"}
        items.append(html.Li(text or "(nothing)", **marks))
    return html.Ol(items)


def render_choices(near: Sequence[Neighbour], place: str, *, scores: bool) -> Any:
    """Mapped sentences as buttons that select them."""
    items = []
    for neighbour in near:
        button = html.Button(
            neighbour.text,
            id={"type": "pick", "place": place, "row": neighbour.row},
            className="pick",
        )
        score = [html.Span(f" {neighbour.score:.3f}", className="score")] if scores else []
        items.append(html.Li([button, *score]))
    return html.Ul(items, className="list")


def render_description(description: Description, labels: dict[str, str]) -> list[Any]:
    """A sentence with its reconstructions and neighbours.

    Args:
      labels: field -> its class, of a mapped sentence.
    """
    classes = ", ".join(f"{field}: {name}" for field, name in labels.items())
    result = [
        html.H3("Sentence"),
        html.P(description.text, className="said"),
        *([html.P(classes, className="soft")] if classes else []),
        *render_notes(description.notes),
        html.H3("Reconstructed"),
        render_sentence(description.reconstruction),
        html.H3("From draws of its posterior"),
        render_list(description.variants),
    ]
    if description.neighbours:
        result += [
            html.H3("Neighbours"),
            render_choices(description.neighbours, "near", scores=True),
        ]
    return result
