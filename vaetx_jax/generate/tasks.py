"""The tasks of `generate`: each turns lines of sentences into records, a window at a time."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from vaetx_jax.data.line_reader import Line
from vaetx_jax.inference.batching import WINDOW, windows
from vaetx_jax.inference.decoding import Decoding
from vaetx_jax.inference.neighbours import NearestRows
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.run.given_vectors import open_vectors


class Record(NamedTuple):
    """One result: as a line (or a few) of text, and as JSON."""

    text: str
    json: dict[str, Any]


def sample(
    model: TextModel,
    lines: Iterable[Line],
    *,
    count: int,
    label: str | None,
    seed: int,
    **how: Any,
) -> Iterator[Record]:
    """Sentences drawn from the prior, or from the latents of a class; takes no lines."""
    del lines
    drawn = model.stream_sample(count, label=label, seed=seed, **how)
    for number, text in enumerate(drawn, start=1):
        yield Record(one_line(text), {"number": number, "text": text})


def decode(
    model: TextModel, lines: Iterable[Line], *, vectors: str, seed: int, **how: Any
) -> Iterator[Record]:
    """A sentence for each vector of a .npy file, of the kind that the encoder makes or is given."""
    del lines
    array = open_vectors(pathlib.Path(vectors).expanduser())
    for start in range(0, len(array), WINDOW):
        rows = array[start : start + WINDOW]
        texts = model.decode_vectors(rows, seed=seed, first_row=start, **how)
        for number, text in enumerate(texts, start=start):
            yield Record(one_line(text), {"row": number, "text": text})


def reconstruct(
    model: TextModel, lines: Iterable[Line], *, seed: int, **how: Any
) -> Iterator[Record]:
    """Each sentence through its latent and back."""
    lines, ahead = itertools.tee(lines)
    results = model.stream_reconstruct((line.text for line in ahead), seed=seed, **how)
    for line, result in zip(lines, results, strict=True):
        fields = {"line": line.number, "text": line.text, "reconstruction": result}
        yield Record(one_line(result), fields)


def interpolate(
    model: TextModel, lines: Iterable[Line], *, steps: int, path: str, seed: int, **how: Any
) -> Iterator[Record]:
    """Sentences between the two of each line; as text, a blank line parts the paths."""
    lines, ahead = itertools.tee(lines)
    pairs = (line.texts for line in ahead)
    results = model.stream_interpolate(pairs, steps, path=path, seed=seed, **how)
    separator: list[str] = []
    for line, sentences in zip(lines, results, strict=True):
        a, b = line.texts
        text = "\n".join([*separator, *map(one_line, sentences)])
        yield Record(text, {"line": line.number, "a": a, "b": b, "path": sentences})
        separator = [""]


def steer(
    model: TextModel,
    lines: Iterable[Line],
    *,
    start: Callable[[], Iterable[Line]],
    end: Callable[[], Iterable[Line]],
    strength: float,
    seed: int,
    **how: Any,
) -> Iterator[Record]:
    """Moves each sentence by the difference between two sets of sentences."""
    sets = [[line.text for line in filled(read())] for read in (start, end)]
    lines, ahead = itertools.tee(lines)
    texts = (line.text for line in ahead)
    results = model.stream_steer(texts, *sets, strength=strength, seed=seed, **how)
    for line, result in zip(lines, results, strict=True):
        fields = {"line": line.number, "text": line.text, "strength": strength, "steered": result}
        yield Record(one_line(result), fields)


def analogy(model: TextModel, lines: Iterable[Line], *, seed: int, **how: Any) -> Iterator[Record]:
    """The sentence that is to c as b is to a, of the three of each line."""
    lines, ahead = itertools.tee(lines)
    results = model.stream_analogy((line.texts for line in ahead), seed=seed, **how)
    for line, result in zip(lines, results, strict=True):
        fields = dict(zip("abc", line.texts, strict=True))
        yield Record(one_line(result), {"line": line.number, **fields, "d": result})


def neighbours(
    model: TextModel,
    lines: Iterable[Line],
    *,
    corpus: Callable[[], Iterable[Line]],
    k: int,
    metric: str,
) -> Iterator[Record]:
    """The corpus's sentences nearest to each; the corpus is read once, a window at a time."""
    queries = list(lines)
    mean, _ = model.encode([line.text for line in queries])
    nearest = NearestRows(mean, k, metric=metric)
    known: dict[int, Line] = {}  # the lines that are among the nearest so far
    seen = 0
    for window in windows(filled(corpus()), WINDOW):
        nearest.add(model.encode([line.text for line in window])[0])
        known |= dict(enumerate(window, start=seen))
        seen += len(window)
        known = {int(row): known[int(row)] for row in np.unique(nearest.result().rows_QxK)}
    result = nearest.result()
    for query, rows, scores in zip(queries, result.rows_QxK, result.scores_QxK, strict=True):
        near: list[dict[str, Any]] = [
            {"line": known[row].number, "score": score, "text": known[row].text}
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
        shown = [f"  {n['score']:7.4f}  {n['line']:>6}  {one_line(n['text'])}" for n in near]
        fields = {"line": query.number, "text": query.text, "neighbours": near}
        yield Record("\n".join([one_line(query.text), *shown]), fields)


def score(
    model: TextModel, lines: Iterable[Line], *, iw_samples: int, seed: int
) -> Iterator[Record]:
    """Bounds on each sentence's log-probability, nats."""
    for window in windows(lines, WINDOW):
        scores = model.score([line.text for line in window], iw_samples=iw_samples, seed=seed)
        for line, elbo, kl, iw, tokens, words, cut in zip(window, *scores, strict=True):
            bound = None if np.isnan(iw) else float(iw)
            fields = {
                "line": line.number,
                "text": line.text,
                "elbo": float(elbo),
                "iw": bound,
                "iw_samples": iw_samples,
                "kl": float(kl),
                "pieces": int(tokens),
                "words": int(words),
                "cut": bool(cut),
            }
            shown = "-" if bound is None else f"{bound:.3f}"
            numbers = [f"{elbo:.3f}", shown, f"{kl:.3f}", f"{tokens}", f"{words}"]
            yield Record("\t".join([*numbers, one_line(line.text)]), fields)


SCORE_HEADING = "elbo\tiw\tkl\tpieces\twords\tsentence"


def encode(model: TextModel, lines: Iterable[Line]) -> Iterator[Record]:
    """The posterior's mean and standard deviation of each sentence."""
    for window, mean_NxZ, std_NxZ in encode_windows(model, lines):
        for line, mean_Z, std_Z in zip(window, mean_NxZ, std_NxZ, strict=True):
            fields = {
                "line": line.number,
                "text": line.text,
                # float32's own shortest digits, which read back as the same number
                "mean": [float(str(x)) for x in mean_Z],
                "std": [float(str(x)) for x in std_Z],
            }
            yield Record("\t".join(map(str, mean_Z)), fields)


def encode_windows(
    model: TextModel, lines: Iterable[Line]
) -> Iterator[tuple[list[Line], np.ndarray, np.ndarray]]:
    """(lines, their means [N, Z], their standard deviations [N, Z]), a window at a time."""
    for window in windows(lines, WINDOW):
        yield window, *model.encode([line.text for line in window])


class Task(NamedTuple):
    """A task and what it takes.

    Attributes:
      run: gives the records of a model and lines.
      columns: sentences per line of its input; 0: it takes none.
      options: the flags that are its keyword arguments.
      decodes: whether it takes the fields of `Decoding`, too.
      files: the flags that name files of sentences beside its input.
    """

    run: Callable[..., Iterator[Record]]
    columns: int
    options: tuple[str, ...] = ()
    decodes: bool = False
    files: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """All flags that say something to this task and perhaps nothing to another."""
        return (*self.options, *self.files, *(DECODING if self.decodes else ()))


DECODING = tuple(field.name for field in dataclasses.fields(Decoding))
STEER = "analogy over sets"
TASKS = {
    "sample": Task(sample, 0, ("count", "label", "seed"), decodes=True),
    "decode": Task(decode, 0, ("vectors", "seed"), decodes=True),
    "reconstruct": Task(reconstruct, 1, ("seed",), decodes=True),
    "interpolate": Task(interpolate, 2, ("steps", "path", "seed"), decodes=True),
    "analogy": Task(analogy, 3, ("seed",), decodes=True),
    # `analogy` with --from and --to, which make it take one sentence a line.
    STEER: Task(steer, 1, ("strength", "seed"), decodes=True, files=("from", "to")),
    "neighbours": Task(neighbours, 1, ("k", "metric"), files=("corpus",)),
    "encode": Task(encode, 1),
    "score": Task(score, 1, ("iw_samples", "seed")),
}


def filled(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines that are not blank: a blank one is no sentence of a set or a corpus."""
    return (line for line in lines if line.text.strip())


def one_line(text: str) -> str:
    """A text that a terminal can show on one line: control characters and line ends are spaces."""
    return "".join(c if c.isprintable() or c == "\u200d" else " " for c in text)
