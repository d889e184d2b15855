"""How the explorer's answers look: sentences, lists, notes and errors, all of it as text."""

from collections.abc import Sequence
from typing import Any

from dash import html

from vaetx_jax.explore.session import Chosen, Near


def problem(words: str) -> Any:
    """What went wrong, where an answer would stand."""
    return html.P(words, className="problem", role="alert")


def notes_of(notes: Sequence[str]) -> list[Any]:
    """What was done to an input."""
    return [html.P(note, className="soft") for note in notes]


def said(text: str) -> Any:
    """A sentence of the model, as text."""
    return html.P(text or "(nothing: the sentence ends at once)", className="said")


def listed(texts: Sequence[str], *, now: int | None = None) -> Any:
    """Sentences in order; one of them may be where one is now."""
    items = []
    for number, text in enumerate(texts):
        here: dict[str, Any] = (
            {"className": "now"} | {"aria-current": "step"} if number == now else {}
        )
        items.append(html.Li(text or "(nothing)", **(here if number == now else {})))
    return html.Ol(items)


def picks(near: Sequence[Near], place: str, *, scores: bool) -> Any:
    """Mapped sentences as buttons that choose them."""
    items = []
    for one in near:
        button = html.Button(
            one.text, id={"type": "pick", "place": place, "row": one.row}, className="pick"
        )
        score = [html.Span(f" {one.score:.3f}", className="score")] if scores else []
        items.append(html.Li([button, *score]))
    return html.Ul(items, className="list")


def sentence_result(chosen: Chosen, labels: dict[str, str]) -> list[Any]:
    """All there is to say of a sentence.

    Args:
      labels: field -> its class, of a mapped sentence.
    """
    told = ", ".join(f"{field}: {name}" for field, name in labels.items())
    result = [
        html.H3("Sentence"),
        html.P(chosen.text, className="said"),
        *([html.P(told, className="soft")] if told else []),
        *notes_of(chosen.notes),
        html.H3("Reconstructed"),
        said(chosen.reconstruction),
        html.H3("From draws of its posterior"),
        listed(chosen.variants),
    ]
    if chosen.neighbours:
        result += [html.H3("Neighbours"), picks(chosen.neighbours, "near", scores=True)]
    return result
