"""Scores of class probabilities: cross entropy, accuracy, macro-F1, ROC-AUC."""

import numpy as np

Scores = dict[str, float | None]


def loss_name(classes: int) -> str:
    """`bce` (binary cross entropy) for two classes, `cross_entropy` for any other number."""
    return "bce" if classes == 2 else "cross_entropy"


def scores(log_prob_NxC: np.ndarray, y_N: np.ndarray, *, most_frequent: int) -> Scores:
    """Scores a classifier on one split of N >= 1 rows.

    Args:
      log_prob_NxC: log-probabilities of the C classes, nats.
      y_N: the true classes.
      most_frequent: the class of most training rows.

    Returns:
      `bce` (`cross_entropy` unless C is 2): mean nats per row; None where it is infinite, because a
        row's class has probability 0.
      `accuracy`.
      `macro_f1`: mean F1 of the classes in the split or the predictions.
      `roc_auc`: of the second of two classes; of more, the mean of one class against the rest over
        the classes of the split. None where the split has one class only.
      `majority`: accuracy of always predicting `most_frequent`.
    """
    from sklearn.metrics import f1_score

    classes = log_prob_NxC.shape[1]
    loss = -float(np.mean(log_prob_NxC[np.arange(len(y_N)), y_N]))
    predicted_N = log_prob_NxC.argmax(axis=1)
    return {
        loss_name(classes): loss if np.isfinite(loss) else None,
        "accuracy": float(np.mean(predicted_N == y_N)),
        "macro_f1": float(f1_score(y_N, predicted_N, average="macro", zero_division=0.0)),
        "roc_auc": _area(np.exp(log_prob_NxC), y_N),
        "majority": float(np.mean(y_N == most_frequent)),
    }


def _area(prob_NxC: np.ndarray, y_N: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    classes = prob_NxC.shape[1]
    areas = [
        float(roc_auc_score(y_N == label, prob_NxC[:, label]))
        for label in (range(classes) if classes > 2 else (1,))
        if 0 < np.count_nonzero(y_N == label) < len(y_N)
    ]
    return float(np.mean(areas)) if areas else None


def share_scores(y_train_N: np.ndarray, y_N: np.ndarray, *, classes: int) -> Scores:
    """Scores a classifier that predicts the class shares of the training split for every row."""
    counts_C = np.bincount(y_train_N, minlength=classes)
    with np.errstate(divide="ignore"):  # a class without training rows has probability 0
        log_share_C = np.log(counts_C / counts_C.sum())
    log_prob_NxC = np.broadcast_to(log_share_C, (len(y_N), classes))
    return scores(log_prob_NxC, y_N, most_frequent=int(counts_C.argmax()))
