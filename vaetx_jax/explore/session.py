"""What the explorer computes: neighbours, paths, directions, samples. It knows no page."""

import contextlib
import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vaetx_jax.errors import UserError
from vaetx_jax.explore.sentences import Sentences
from vaetx_jax.inference.interpolation import PATHS, PrincipalAxes, principal_axes
from vaetx_jax.inference.neighbours import NearestRows
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.metrics.latent import active_units
from vaetx_jax.runtime.console import Progress

NEIGHBOURS = 8
VARIANTS = 3  # reconstructions from draws of the posterior, beside that from its mean
STEPS = 11  # sentences of a path, both ends included
DIRECTIONS = 6
DRAWN = 4
MAX_CHARACTERS = 2_000
FOUND = 12
_ALONE = 2  # rows for one latent: on a CPU a program of one row takes twice as long as of two
_ENCODED = 512  # sentences encoded between two words of progress


class Near(NamedTuple):
    """A neighbour: its row among the mapped sentences, how near it is, its text."""

    row: int
    score: float
    text: str


class Chosen(NamedTuple):
    """What there is to say of one sentence.

    Attributes:
      text: as the model was given it.
      notes: what was done to it, in words.
      row: among the mapped sentences; None for one's own.
      place_2: on the map.
      reconstruction: from the posterior's mean, greedily.
      variants: the same from draws of the posterior.
      neighbours: the nearest mapped sentences, nearest first, without itself.
    """

    text: str
    notes: list[str]
    row: int | None
    place_2: np.ndarray
    reconstruction: str
    variants: list[str]
    neighbours: list[Near]


class OvertakenError(Exception):
    """A later question of the same control waits: this one need not be answered."""


class Turns:
    """The device answers one question at a time, and of a control's only the newest.

    A slider asks several times a second; without this its last question would wait for the answers
    to all before it, which nobody sees.
    """

    _KEPT = 1_000  # controls remembered

    def __init__(self) -> None:
        self._device, self._counting = threading.Lock(), threading.Lock()
        self._newest: dict[str, int] = {}
        self._asked = 0

    @contextlib.contextmanager
    def turn(self, control: str | None) -> Iterator[None]:
        """Waits for the device.

        Args:
          control: whose question it is; None is never overtaken.

        Raises:
          OvertakenError: the same control has asked again in the meantime.
        """
        number = self._count(control)
        with self._device:
            if control is not None and self._newest.get(control) != number:
                raise OvertakenError
            yield

    def _count(self, control: str | None) -> int:
        with self._counting:
            self._asked += 1
            if control is not None:
                self._newest[control] = self._asked
                if len(self._newest) > self._KEPT:
                    del self._newest[next(iter(self._newest))]
            return self._asked


class Session:
    """A model and the sentences of its map, encoded once.

    Methods that ask the model take `control`, as `Turns` has it, and may raise `OvertakenError`;
    a `UserError` of theirs is a sentence for the page.

    Attributes:
      model: the model, which has a latent.
      sentences: the mapped ones.
      mean_NxZ: their posterior means.
      axes: their principal directions; those of the prior where there are fewer than two sentences.
      place_Nx2: where they lie on the map.
      active: dimensions that their means use (`active_units`).
    """

    def __init__(self, model: TextModel, sentences: Sentences):
        model.needs_latent("explore")
        self.model, self.sentences = model, sentences
        self.mean_NxZ = _encoded(model, sentences.texts)
        self.axes = _axes(self.mean_NxZ, model.latent_dim)
        self.place_Nx2 = self.places(self.mean_NxZ)
        self.active = active_units(self.mean_NxZ) if len(self.mean_NxZ) else 0
        self._turns = Turns()

    @property
    def has_map(self) -> bool:
        """Whether the sentences have directions of their own."""
        return len(self.mean_NxZ) > 1

    @property
    def directions(self) -> int:
        """How many directions there are to go along."""
        return int(np.count_nonzero(self.axes.spread_K))

    def places(self, mean_NxZ: np.ndarray) -> np.ndarray:
        """Where latents lie on the map: [N, 2]."""
        place_NxK = self.axes.places(mean_NxZ)
        return np.pad(place_NxK, ((0, 0), (0, 2)))[:, :2]

    def found(self, words: str) -> list[int]:
        """Rows of mapped sentences that hold all the words, whatever their case; the first few."""
        wanted = words.casefold().split()
        if not wanted:
            return []
        folded = enumerate(self._folded)
        rows = (row for row, text in folded if all(word in text for word in wanted))
        return list(itertools.islice(rows, FOUND))

    def of_row(self, row: int, *, metric: str, control: str | None = None) -> Chosen:
        """A mapped sentence.

        Raises:
          UserError: there is no such row.
        """
        if not 0 <= row < len(self.sentences.texts):
            raise UserError("There is no such sentence on the map; choose another.")
        return self._chosen(self.sentences.texts[row], row, metric, control)

    def of_text(self, text: str | None, *, metric: str, control: str | None = None) -> Chosen:
        """One's own sentence.

        Raises:
          UserError: it is empty, or no text.
        """
        return self._chosen(text, None, metric, control)

    def _chosen(
        self, given: str | None, row: int | None, metric: str, control: str | None
    ) -> Chosen:
        text, notes = self.clean(given, "a sentence")
        with self._turns.turn(control):
            mean, std = self.model.encode([text])
            noise = np.random.default_rng(0).standard_normal((VARIANTS, mean.shape[1]))
            z = np.concatenate([mean, mean + std * noise.astype(np.float32)])
            first, *variants = self.model.decode(z, batch=len(z))
        near = self._nearest(mean, row, metric)
        return Chosen(text, notes, row, self.places(mean)[0], first, variants, near)

    def path(
        self, a: str | None, b: str | None, *, kind: str, control: str | None = None
    ) -> tuple[list[str], list[str]]:
        """(STEPS sentences from a to b, notes), both ends reconstructed.

        Raises:
          UserError: one of them is empty, or no text.
        """
        a, notes_a = self.clean(a, "the first sentence")
        b, notes_b = self.clean(b, "the second sentence")
        with self._turns.turn(control):
            (a_Z, b_Z), _ = self.model.encode([a, b])
            steps = self.model.decode(PATHS[kind](a_Z, b_Z, STEPS), batch=STEPS)
        return steps, notes_a + notes_b

    def moved(
        self, start: str | None, amounts: Sequence[float], *, control: str | None = None
    ) -> tuple[str, list[str]]:
        """(the sentence at a place, notes).

        Args:
          start: a sentence to start from; empty: the middle of the mapped sentences.
          amounts: how far along each direction, in standard deviations of the mapped sentences.
        """
        axes, count = self.axes, len(amounts)
        steps_K = np.clip(np.asarray(amounts, np.float64), -10, 10) * axes.spread_K[:count]
        notes: list[str] = []
        text = (start or "").strip()
        if text:
            text, notes = self.clean(start, "a sentence")
        with self._turns.turn(control):
            from_Z = self.model.encode([text])[0][0] if text else axes.centre_Z
            z = from_Z + steps_K @ axes.axes_KxZ[:count]
            return self.model.decode(z[None].astype(np.float32), batch=_ALONE)[0], notes

    def drawn(self, *, temperature: float, seed: int, control: str | None = None) -> list[str]:
        """DRAWN sentences from the prior."""
        noise = np.random.default_rng(seed).standard_normal((DRAWN, self.model.latent_dim))
        with self._turns.turn(control):
            return self.model.decode(
                noise.astype(np.float32), seed=seed, temperature=temperature, batch=DRAWN
            )

    def warm_up(self) -> None:
        """Compiles all that is asked later, so that no answer waits for it."""
        max_len = self.model.run.config.data.max_len
        # of each length that rows may have, as a word said n times is about n pieces
        self.model.encode(["a " * n for n in range(1, max_len)])
        self.of_text("a", metric="cosine")
        self.path("a", "a", kind="linear")
        self.moved("", [0.0])
        for temperature in (1.0, 0.0):
            self.drawn(temperature=temperature, seed=0)
        self.found("a")

    def clean(self, text: str | None, name: str) -> tuple[str, list[str]]:
        """A text as the model takes it, and notes on what it lost.

        Raises:
          UserError: there is nothing in it.
        """
        text = (text or "").strip()
        if not text:
            raise UserError(f"Type {name} first.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(f"Type {name} anew: half of a character is missing.") from None
        notes = []
        if len(text) > MAX_CHARACTERS:
            text = text[:MAX_CHARACTERS]
            notes.append(f"Longer than {MAX_CHARACTERS:,} characters: the rest was left out.")
        pieces = len(self.model.run.tokenizer.encode([text])[0])
        limit = self.model.run.config.data.max_len - 2
        if pieces > limit:
            notes.append(f"{pieces:,} pieces, and the model reads {limit}: the rest was cut.")
        return text, notes

    @functools.cached_property
    def _folded(self) -> list[str]:
        return [text.casefold() for text in self.sentences.texts]

    def _nearest(self, mean_1xZ: np.ndarray, row: int | None, metric: str) -> list[Near]:
        if not len(self.mean_NxZ):
            return []
        nearest = NearestRows(mean_1xZ, NEIGHBOURS + 1, metric=metric)
        nearest.add(self.mean_NxZ)
        rows_QxK, scores_QxK = nearest.found()
        near = [
            Near(int(other), float(score), self.sentences.texts[int(other)])
            for other, score in zip(rows_QxK[0], scores_QxK[0], strict=True)
            if other != row
        ]
        return near[:NEIGHBOURS]


def _encoded(model: TextModel, texts: Sequence[str]) -> np.ndarray:
    """The posterior means [N, Z], with a word of how far it is."""
    mean_NxZ = np.zeros((len(texts), model.latent_dim), np.float32)
    progress = Progress(len(texts))
    for start in range(0, len(texts), _ENCODED):
        part = texts[start : start + _ENCODED]
        mean_NxZ[start : start + len(part)] = model.encode(part)[0]
        progress.tick(start + len(part), "encoded")
    progress.clear()
    return mean_NxZ


def _axes(mean_NxZ: np.ndarray, latent_dim: int) -> PrincipalAxes:
    if len(mean_NxZ) > 1:
        return principal_axes(mean_NxZ, DIRECTIONS)
    count = min(DIRECTIONS, latent_dim)
    centre_Z, axes_KxZ = np.zeros(latent_dim), np.eye(latent_dim)[:count]
    return PrincipalAxes(centre_Z, axes_KxZ, np.ones(count), np.full(count, 1 / latent_dim))
