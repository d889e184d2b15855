"""The quick probes of a final report: logistic regression on the posterior mean, per label."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vaetx_jax.inference.sentences import encode_split
from vaetx_jax.inference.text_model import TextModel

TRAINING_ROWS = 5_000  # enough for some dozen dimensions


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """The quick probe of one label field.

    Attributes:
      field: the name of the label field.
      classes: the number of its classes.
      accuracy: of logistic regression on the posterior mean, on the test split.
      majority: accuracy of always predicting the most frequent class of the training rows.
    """

    field: str
    classes: int
    accuracy: float
    majority: float


def linear_probe(
    z_train_NxZ: np.ndarray, y_train_N: np.ndarray, z_test_NxZ: np.ndarray, y_test_N: np.ndarray
) -> tuple[float, float]:
    """Fits logistic regression on standardised z.

    Args:
      z_train_NxZ, y_train_N: latents and classes of the training rows.
      z_test_NxZ, y_test_N: of the test rows.

    Returns:
      Accuracy on the test rows, and that of always predicting the most frequent class of the
      training rows.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    most_frequent = np.bincount(y_train_N).argmax()
    majority = float(np.mean(y_test_N == most_frequent))
    if len(np.unique(y_train_N)) < 2:
        return majority, majority
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(z_train_NxZ, y_train_N)
    return float(classifier.score(z_test_NxZ, y_test_N)), majority


def probe_labels(model: TextModel, mu_test_NxZ: np.ndarray) -> list[ProbeResult]:
    """Probes every label field of the corpus, from posterior means of the rows that have a label.

    Args:
      model: the model, which encodes the training rows.
      mu_test_NxZ: the posterior means of the test split, from its evaluation.
    """
    run = model.run
    train, test = run.split("train"), run.split("test")
    rows = np.linspace(0, len(train) - 1, min(TRAINING_ROWS, len(train))).astype(int)
    if train.features is not None:  # nothing is encoded
        z_train = encode_split(run, model.variables, "train")[0][rows]
    else:
        corpus = run.corpus.split("train")
        z_train, _ = model.encode([corpus[int(i)].text for i in rows])
    results = []
    for field, names in run.corpus.label_fields.items():
        y_train, y_test = train.labels[field][rows], test.labels[field][:]
        known, asked = y_train >= 0, y_test >= 0
        if not (known.any() and asked.any()):
            continue  # no row of a split has a label
        accuracy, majority = linear_probe(
            z_train[known], y_train[known], mu_test_NxZ[asked], y_test[asked]
        )
        results.append(ProbeResult(field, len(names), accuracy, majority))
    return results


def print_probes(results: Sequence[ProbeResult]) -> None:
    """Prints the quick probes as a table, a row per label."""
    table = Table(title="linear probe of z (posterior mean), test split", title_justify="left")
    table.add_column("label")
    for column in ("classes", "accuracy", "majority"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            escape(result.field),
            f"{result.classes}",
            f"{result.accuracy:.3f}",
            f"{result.majority:.3f}",
        )
    Console(emoji=False).print(table)
