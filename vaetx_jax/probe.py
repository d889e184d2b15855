"""How much a linear classifier reads off the latent: is z more than noise?"""

import dataclasses

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaetx_jax.api import TextModel

TRAINING_ROWS = 5_000  # enough for a linear classifier on some dozen dimensions


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """A linear probe of one label.

    Attributes:
      field: the label.
      classes: how many values it has.
      accuracy: of logistic regression on the posterior mean, on the test split.
      majority: accuracy of always saying the commonest class of the training rows.
    """

    field: str
    classes: int
    accuracy: float
    majority: float


def linear_probe(
    z_train_NxZ: np.ndarray, y_train_N: np.ndarray, z_test_NxZ: np.ndarray, y_test_N: np.ndarray
) -> tuple[float, float]:
    """(accuracy, majority share) on the test rows of logistic regression on standardised z."""
    commonest = np.bincount(y_train_N).argmax()
    majority = float(np.mean(y_test_N == commonest))
    if len(np.unique(y_train_N)) < 2:
        return majority, majority
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(z_train_NxZ, y_train_N)
    return float(classifier.score(z_test_NxZ, y_test_N)), majority


def probe_labels(model: TextModel, mu_test_NxZ: np.ndarray) -> list[ProbeResult]:
    """A linear probe of every label of the corpus, from posterior means.

    Args:
      mu_test_NxZ: the posterior means of the test split, from its evaluation.
    """
    parts = model.parts
    train, test = parts.split("train"), parts.split("test")
    rows = np.linspace(0, len(train) - 1, min(TRAINING_ROWS, len(train))).astype(int)
    corpus = parts.corpus.split("train")
    z_train, _ = model.encode([corpus[int(i)].text for i in rows])
    results = []
    for field, names in parts.corpus.label_fields.items():
        y_train, y_test = train.labels[field][rows], test.labels[field][:]
        accuracy, majority = linear_probe(z_train, y_train, mu_test_NxZ, y_test)
        results.append(ProbeResult(field, len(names), accuracy, majority))
    return results
