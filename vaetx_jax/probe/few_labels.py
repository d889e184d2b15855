"""Linear classifiers fitted to few labels: 10, 100 and 1,000 per class, drawn five times."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vaetx_jax.probe.classifiers import fit_closed
from vaetx_jax.probe.scores import scores

SIZES = (10, 100, 1_000)
DRAWS = 5


def draw_rows(y_N: np.ndarray, labels_per_class: int, *seed: int) -> np.ndarray:
    """Draws rows of each class without replacement; in the split's order.

    Args:
      y_N: the classes of the split.
      labels_per_class: rows of each class, or all that a rare class has.
      seed: of the draw.
    """
    noise = np.random.default_rng(seed)
    rows = [np.flatnonzero(y_N == label) for label in np.unique(y_N)]
    selected = [noise.permutation(of_class)[:labels_per_class] for of_class in rows]
    return np.sort(np.concatenate(selected))


def sizes_below(y_train_N: np.ndarray) -> list[int]:
    """The sizes that leave training rows out; any other is the whole split."""
    return [size for size in SIZES if size < np.bincount(y_train_N).max()]


def few_label_rows(
    features: Mapping[str, Mapping[str, Any]],
    y: Mapping[str, np.ndarray],
    *,
    classes: int,
    seed: int,
    tick: Callable[[], None],
) -> list[dict[str, Any]]:
    """Fits closed classifiers on few rows and scores them on the whole test split.

    The paper's training is of no use here: at its rate, 20 labels make 20 steps of 1e-4. All
    features use the same draws. The strength is chosen on as many validation rows per class as
    there are training rows: a choice by the whole split would use its labels.

    Args:
      features: inputs of the classifiers: name -> split -> [N, F].
      y: split -> classes; at least two in `train`.
      tick: called after each fit.

    Returns:
      For each size and each of the features: `features`, `labels_per_class`, `labels` (training
      rows drawn: a rare class may have fewer), `draws`, and over the draws `accuracy_mean`,
      `accuracy_std` (n - 1 below the line), `macro_f1_mean`, `macro_f1_std` of the test split.
    """
    most_frequent = int(np.bincount(y["train"]).argmax())
    table = []
    for size in sizes_below(y["train"]):
        draws = [
            {split: draw_rows(y[split], size, seed, size, draw) for split in ("train", "valid")}
            for draw in range(DRAWS)
        ]
        for name, of_split in features.items():
            found = []
            for rows in draws:
                train, valid = rows["train"], rows["valid"]
                classifier = fit_closed(
                    of_split["train"][train],
                    y["train"][train],
                    of_split["valid"][valid],
                    y["valid"][valid],
                    classes=classes,
                )
                log_prob_NxC = classifier.log_prob(of_split["test"])
                found.append(scores(log_prob_NxC, y["test"], most_frequent=most_frequent))
                tick()
            row = {"features": name, "labels_per_class": size}
            row |= {"labels": len(draws[0]["train"]), "draws": DRAWS}
            for metric in ("accuracy", "macro_f1"):
                values = np.asarray([one[metric] for one in found], float)
                row[f"{metric}_mean"] = float(np.mean(values))
                row[f"{metric}_std"] = float(np.std(values, ddof=1))
            table.append(row)
    return table
