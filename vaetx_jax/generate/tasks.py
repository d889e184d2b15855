"""What `generate` can do, a function each: from lines of sentences to records, a part at a time."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from vaetx_jax.data.line_reader import Line
from vaetx_jax.inference.batching import WINDOW
from vaetx_jax.inference.interpolation import PATHS
from vaetx_jax.inference.neighbours import NearestRows
from vaetx_jax.inference.text_model import TextModel


class Record(NamedTuple):
    """One result: as a line (or a few) of text, and as JSON."""

    text: str
    json: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """What a verb is asked for.

    Attributes:
      lines: the input, read as it is needed.
      corpus: opens the corpus of `neighbours`.
      count, steps, path, k, metric, iw_samples, seed: as `TextModel`'s methods have them.
      how: the ways to decode.
    """

    lines: Iterable[Line]
    corpus: Callable[[], Iterable[Line]]
    count: int
    steps: int
    path: str
    k: int
    metric: str
    iw_samples: int
    seed: int
    how: dict[str, Any]


def sample(model: TextModel, request: Request) -> Iterator[Record]:
    """Sentences from the prior."""
    parts = model.sample_in_parts(request.count, seed=request.seed, **request.how)
    for number, text in enumerate(itertools.chain.from_iterable(parts), start=1):
        yield Record(one_line(text), {"number": number, "text": text})


def reconstruct(model: TextModel, request: Request) -> Iterator[Record]:
    """Each sentence through its latent and back."""
    done = 0
    for part in in_parts(request.lines, WINDOW):
        mean, _ = model.encode([line.text for line in part])
        backs = model.decode(mean, seed=request.seed, first_row=done, **request.how)
        done += len(part)
        for line, back in zip(part, backs, strict=True):
            fields = {"line": line.number, "text": line.text, "reconstruction": back}
            yield Record(one_line(back), fields)


def interpolate(model: TextModel, request: Request) -> Iterator[Record]:
    """Sentences between the two of a line."""
    path, first = PATHS[request.path], True
    for part in in_parts(request.lines, max(1, WINDOW // request.steps)):
        mean, _ = model.encode([text for line in part for text in line.texts])
        points = [path(a, b, request.steps) for a, b in zip(mean[::2], mean[1::2], strict=True)]
        decoded = iter(model.decode(np.concatenate(points), seed=request.seed, **request.how))
        for line in part:
            between = list(itertools.islice(decoded, request.steps))
            a, b = line.texts
            text = "\n".join(["", *map(one_line, between)][first:])
            yield Record(text, {"line": line.number, "a": a, "b": b, "path": between})
            first = False


def analogy(model: TextModel, request: Request) -> Iterator[Record]:
    """What is to c as b is to a, of the three of a line."""
    done = 0
    for part in in_parts(request.lines, WINDOW):
        mean, _ = model.encode([text for line in part for text in line.texts])
        a, b, c = mean[::3], mean[1::3], mean[2::3]
        decoded = model.decode(c + (b - a), seed=request.seed, first_row=done, **request.how)
        done += len(part)
        for line, text in zip(part, decoded, strict=True):
            fields = dict(zip("abc", line.texts, strict=True))
            yield Record(one_line(text), {"line": line.number, **fields, "d": text})


def neighbours(model: TextModel, request: Request) -> Iterator[Record]:
    """The corpus's sentences nearest to each; the corpus is read once, a part at a time."""
    queries = list(request.lines)
    mean, _ = model.encode([line.text for line in queries])
    nearest = NearestRows(mean, request.k, metric=request.metric)
    known: dict[int, Line] = {}  # the sentences that are among the nearest so far
    seen = 0
    for part in in_parts(request.corpus(), WINDOW):
        nearest.add(model.encode([line.text for line in part])[0])
        known |= dict(enumerate(part, start=seen))
        seen += len(part)
        known = {int(row): known[int(row)] for row in np.unique(nearest.found().rows_QxK)}
    found = nearest.found()
    for query, rows, scores in zip(queries, found.rows_QxK, found.scores_QxK, strict=True):
        near: list[dict[str, Any]] = [
            {
                "line": known[int(row)].number,
                "score": float(score),
                "text": known[int(row)].text,
            }
            for row, score in zip(rows, scores, strict=True)
        ]
        lines = [f"  {n['score']:7.4f}  {n['line']:>6}  {one_line(n['text'])}" for n in near]
        fields = {"line": query.number, "text": query.text, "neighbours": near}
        yield Record("\n".join([one_line(query.text), *lines]), fields)


def score(model: TextModel, request: Request) -> Iterator[Record]:
    """Bounds on each sentence's log-probability, nats."""
    for part in in_parts(request.lines, WINDOW):
        texts = [line.text for line in part]
        scores = model.score(texts, iw_samples=request.iw_samples, seed=request.seed)
        for line, elbo, kl, iw, pieces, words, cut in zip(part, *scores, strict=True):
            bound = None if np.isnan(iw) else float(iw)
            fields = {
                "line": line.number,
                "text": line.text,
                "elbo": float(elbo),
                "iw": bound,
                "iw_samples": request.iw_samples,
                "kl": float(kl),
                "pieces": int(pieces),
                "words": int(words),
                "cut": bool(cut),
            }
            shown = "-" if bound is None else f"{bound:.3f}"
            figures = [f"{elbo:.3f}", shown, f"{kl:.3f}", f"{pieces}", f"{words}"]
            yield Record("\t".join([*figures, one_line(line.text)]), fields)


SCORE_HEADING = "elbo\tiw\tkl\tpieces\twords\tsentence"


def encode(model: TextModel, request: Request) -> Iterator[Record]:
    """The posterior's mean and standard deviation of each sentence."""
    for numbers, texts, mean, std in encoded_parts(model, request):
        for number, text, mean_Z, std_Z in zip(numbers, texts, mean, std, strict=True):
            fields = {"line": int(number), "text": text}
            # float32's own shortest digits, which read back as the same number
            vectors = {
                "mean": [float(str(x)) for x in mean_Z],
                "std": [float(str(x)) for x in std_Z],
            }
            yield Record("\t".join(map(str, mean_Z)), fields | vectors)


def encoded_parts(
    model: TextModel, request: Request
) -> Iterator[tuple[np.ndarray, list[str], np.ndarray, np.ndarray]]:
    """(line numbers [N], texts, means [N, Z], standard deviations [N, Z]) a part at a time."""
    for part in in_parts(request.lines, WINDOW):
        texts = [line.text for line in part]
        yield np.asarray([line.number for line in part]), texts, *model.encode(texts)


class Task(NamedTuple):
    """A verb's function, and how many sentences a line of its input holds (0: it takes none)."""

    run: Callable[[TextModel, Request], Iterator[Record]]
    columns: int


TASKS = {
    "sample": Task(sample, 0),
    "reconstruct": Task(reconstruct, 1),
    "interpolate": Task(interpolate, 2),
    "analogy": Task(analogy, 3),
    "neighbours": Task(neighbours, 1),
    "encode": Task(encode, 1),
    "score": Task(score, 1),
}


def in_parts(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    """The lines in lists of at most `size`."""
    iterator = iter(lines)
    while part := list(itertools.islice(iterator, size)):
        yield part


def one_line(text: str) -> str:
    """A text that a terminal can show on one line: control characters and line ends are spaces."""
    return "".join(c if c.isprintable() or c == "\u200d" else " " for c in text)
