"""Levenshtein's distance between sequences of tokens, and what is made of it."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """The fewest tokens to insert, delete or replace that turn `a` into `b` (Levenshtein, 1966)."""
    b_M = np.asarray(b, np.int64)
    places = np.arange(len(b_M) + 1)
    row = places.copy()
    for number, token in enumerate(a):
        best = np.empty_like(row)
        best[0] = number + 1
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (b_M != token))
        # An insertion comes from the left, any number of them from further left.
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def edit_rate(sentences: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> float:
    """All edits that turn sentences into their references, per token of the references.

    0: all are equal. It exceeds 1 where sentences are longer than their references and unlike them.
    """
    pairs = zip(sentences, references, strict=True)
    edits = sum(edit_distance(mine, theirs) for mine, theirs in pairs)
    return edits / max(sum(map(len, references)), 1)


class Smoothness(NamedTuple):
    """How evenly sentences change along paths between two points of the latent space.

    Attributes:
      straightness: the distance of the two ends by the length of the path in edits, the mean over
        paths: 1 where no step leads away from the straight way.
      largest_step: the share of the longest step in its path, the mean over paths: 1 / steps where
        all are as long, 1 where the sentence changes all at once.
      moving: the share of the paths whose ends differ; the others say nothing and are left out.
    """

    straightness: float | None
    largest_step: float | None
    moving: float


def smoothness(paths: Sequence[Sequence[Sequence[int]]]) -> Smoothness:
    """The smoothness of interpolations: each step is measured by its edits.

    The length of a path through a generator, in a distance between its outputs, is that of Karras
    et al. (2019); here the distance is that of edits, and the path is compared with its ends, so
    that sentences of any length can be averaged.

    Args:
      paths: sentences as token ids from one end to the other, both included.
    """
    straight, largest = [], []
    for path in paths:
        steps = [edit_distance(a, b) for a, b in itertools.pairwise(path)]
        ends = edit_distance(path[0], path[-1])
        if ends:
            straight.append(ends / sum(steps))
            largest.append(max(steps) / sum(steps))
    if not straight:
        return Smoothness(None, None, 0.0)
    return Smoothness(float(np.mean(straight)), float(np.mean(largest)), len(straight) / len(paths))
