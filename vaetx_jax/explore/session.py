"""The explorer's computations: neighbours, paths, directions, samples. It knows no page."""

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
from vaetx_jax.inference.neighbour_map import nearest_rows, neighbour_map
from vaetx_jax.inference.neighbours import NearestRows
from vaetx_jax.inference.sampling import draw_latents
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.metrics.latent import active_units
from vaetx_jax.runtime.console import Progress, counted

NEIGHBOURS = 8
VARIANTS = 3  # reconstructions from draws of the posterior, besides the one from its mean
STEPS = 11  # sentences of a path, both ends included
DIRECTIONS = 6
SAMPLES = 4
MAX_CHARACTERS = 2_000
MAX_FOUND = 12
AXES, NEIGHBOURS_VIEW = VIEWS = ("principal axes", "nearest neighbours (t-SNE)")
_ENCODED_AT_ONCE = 512  # sentences between two updates of the progress line


class Neighbour(NamedTuple):
    """A neighbour: its row among the mapped sentences, how near it is, its text."""

    row: int
    score: float
    text: str


class Found(NamedTuple):
    """The rows of the first MAX_FOUND sentences that were found, and how many there are in all."""

    rows: list[int]
    total: int


class Description(NamedTuple):
    """One sentence: its reconstructions, its neighbours, its point on the map.

    Attributes:
      text: without the spaces at its ends and without what is beyond MAX_CHARACTERS.
      notes: what of it the model does not read, in words.
      row: its row among the mapped sentences; None for a typed sentence.
      mean_Z: its posterior mean.
      point_2: its point on the map of the principal axes.
      reconstruction: from the posterior's mean, greedily.
      variants: the same from draws of the posterior.
      neighbours: the nearest mapped sentences, nearest first, without itself.
    """

    text: str
    notes: list[str]
    row: int | None
    mean_Z: np.ndarray
    point_2: np.ndarray
    reconstruction: str
    variants: list[str]
    neighbours: list[Neighbour]


class SupersededError(Exception):
    """A later request of the same control is waiting, so this one needs no answer."""


class Turns:
    """Gives the device to one request at a time, and of each control only to the newest.

    A slider sends several requests per second; without this the last one would wait for the answers
    to all the others, which nobody sees.
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
          control: the control that sent the request; None is never superseded.

        Raises:
          SupersededError: the same control has sent a newer request.
        """
        number = self._count(control)
        with self._device:
            if control is not None and self._newest.get(control) != number:
                raise SupersededError
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

    Methods that run the model take `control`, as `Turns` has it, and may raise `SupersededError`;
    the message of a `UserError` is shown on the page.

    Attributes:
      model: the model, which has a latent.
      sentences: the mapped ones.
      mean_NxZ: their posterior means.
      axes: their principal directions; those of the prior where there are fewer than two sentences.
      points_Nx2: their points on the map.
      active: the number of dimensions that their means use (`active_units`).
    """

    def __init__(self, model: TextModel, sentences: Sentences):
        model.check_has_latent("explore")
        self.model, self.sentences = model, sentences
        self.mean_NxZ = _encode(model, sentences.texts)
        self.axes = _axes(self.mean_NxZ, model.latent_dim)
        self.points_Nx2 = self.project(self.mean_NxZ)
        self.active = active_units(self.mean_NxZ) if len(self.mean_NxZ) else 0
        self._turns, self._laying_out = Turns(), threading.Lock()

    def points(self, view: str | None) -> np.ndarray:
        """The sentences' points [N, 2] in one of `VIEWS`; t-SNE takes seconds the first time."""
        if view != NEIGHBOURS_VIEW:
            return self.points_Nx2
        with self._laying_out:
            return self._neighbour_points_Nx2

    @functools.cached_property
    def _neighbour_points_Nx2(self) -> np.ndarray:
        return neighbour_map(self.mean_NxZ)

    def point(self, description: "Description", view: str | None) -> np.ndarray:
        """The point of a described sentence in a view: of a mapped one, that of its row.

        t-SNE has no place for a typed sentence: it lies where the nearest mapped one lies.
        """
        row = description.row
        if row is None and view != NEIGHBOURS_VIEW:
            return description.point_2
        if row is None:
            row = int(nearest_rows(description.mean_Z[None], self.mean_NxZ)[0])
        point_2: np.ndarray = self.points(view)[row]
        return point_2

    @property
    def has_map(self) -> bool:
        """Whether the sentences are enough to have principal directions."""
        return len(self.mean_NxZ) > 1

    @property
    def directions(self) -> int:
        """The number of directions with a spread above 0."""
        return int(np.count_nonzero(self.axes.spread_K))

    def project(self, mean_NxZ: np.ndarray) -> np.ndarray:
        """The points of latents [N, Z] on the map: [N, 2]."""
        points_NxK = self.axes.project(mean_NxZ)
        return np.pad(points_NxK, ((0, 0), (0, 2)))[:, :2]

    def search(self, words: str) -> Found:
        """The mapped sentences that hold all the words, or parts of words, in any case."""
        wanted = words.casefold().split()
        folded = enumerate(self._folded if wanted else ())
        rows = (row for row, text in folded if all(word in text for word in wanted))
        first = list(itertools.islice(rows, MAX_FOUND))
        return Found(first, len(first) + sum(1 for _ in rows))

    def describe_row(self, row: int, *, metric: str, control: str | None = None) -> Description:
        """Describes a mapped sentence.

        Raises:
          UserError: no such row.
        """
        if not 0 <= row < len(self.sentences.texts):
            raise UserError("There is no such sentence on the map; choose another.")
        return self._describe(self.sentences.texts[row], row, metric, control)

    def describe_text(
        self, text: str | None, *, metric: str, control: str | None = None
    ) -> Description:
        """Describes a typed sentence.

        Raises:
          UserError: it is empty, or no text.
        """
        return self._describe(text, None, metric, control)

    def _describe(
        self, given: str | None, row: int | None, metric: str, control: str | None
    ) -> Description:
        text, notes = self.clean(given, "a sentence")
        with self._turns.turn(control):
            mean, std = self.model.encode([text])
            noise = np.random.default_rng(0).standard_normal((VARIANTS, mean.shape[1]))
            z = np.concatenate([mean, mean + std * noise.astype(np.float32)])
            first, *variants = self.model.decode(z, batch=len(z))
        near = self._nearest(mean, row, metric)
        point_2 = self.project(mean)[0]
        return Description(text, notes, row, mean[0], point_2, first, variants, near)

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

    def move_along(
        self, start: str | None, amounts: Sequence[float], *, control: str | None = None
    ) -> tuple[str, list[str]]:
        """(the sentence at a point of the latent space, notes).

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
            return self.model.decode(z[None].astype(np.float32))[0], notes

    def sample(self, *, temperature: float, seed: int, control: str | None = None) -> list[str]:
        """SAMPLES sentences from the model's prior, as its `sample` draws them."""
        model, noise = self.model, np.random.default_rng(seed)
        z = draw_latents(model.run, model.prior, noise, SAMPLES)
        with self._turns.turn(control):
            return model.decode(z, seed=seed, temperature=temperature, batch=SAMPLES)

    def warm_up(self) -> None:
        """Compiles all programs that requests need, so that no answer waits for that."""
        max_len = self.model.run.config.data.max_len
        # of each length that rows may have, as a word said n times is about n tokens
        self.model.encode(["a " * n for n in range(1, max_len)])
        self.describe_text("a", metric="cosine")
        self.path("a", "a", kind="linear")
        self.move_along("", [0.0])
        for temperature in (1.0, 0.0):
            self.sample(temperature=temperature, seed=0)
        self.search("a")

    def clean(self, text: str | None, name: str) -> tuple[str, list[str]]:
        """(a text without what is too long, notes on what of it the model does not read).

        Raises:
          UserError: it is empty, or not a text.
        """
        text = (text or "").strip()
        if not text:
            raise UserError(f"Type {name} first.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(f"Type {name} again: half of a character is missing.") from None
        notes = []
        if len(text) > MAX_CHARACTERS:
            text = text[:MAX_CHARACTERS]
            notes.append(f"Longer than {MAX_CHARACTERS:,} characters: the rest was left out.")
        tokenizer = self.model.run.encoder_tokenizer
        tokens = tokenizer.encode([text])[0]
        limit = self.model.run.config.data.max_len - 2
        if len(tokens) > limit:
            notes.append(f"{len(tokens):,} tokens, and the model reads {limit}: the rest was cut.")
        read = tokens[:limit]
        if unknown := read.count(tokenizer.unk_id):
            count = counted(len(read), "token")
            notes.append(f"Not in the vocabulary, and read as [UNK]: {unknown:,} of {count}.")
        return text, notes

    @functools.cached_property
    def _folded(self) -> list[str]:
        return [text.casefold() for text in self.sentences.texts]

    def _nearest(self, mean_1xZ: np.ndarray, row: int | None, metric: str) -> list[Neighbour]:
        if not len(self.mean_NxZ):
            return []
        nearest = NearestRows(mean_1xZ, NEIGHBOURS + 1, metric=metric)
        nearest.add(self.mean_NxZ)
        rows_QxK, scores_QxK = nearest.result()
        near = [
            Neighbour(int(other), float(score), self.sentences.texts[int(other)])
            for other, score in zip(rows_QxK[0], scores_QxK[0], strict=True)
            if other != row
        ]
        return near[:NEIGHBOURS]


def _encode(model: TextModel, texts: Sequence[str]) -> np.ndarray:
    """The posterior means [N, Z], with a progress line."""
    mean_NxZ = np.zeros((len(texts), model.latent_dim), np.float32)
    progress = Progress(len(texts))
    for start in range(0, len(texts), _ENCODED_AT_ONCE):
        part = texts[start : start + _ENCODED_AT_ONCE]
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
