"""How well class probabilities fit labels: cross entropy, accuracy, macro-F1, ROC-AUC."""

import numpy as np

Scores = dict[str, float | None]


def loss_name(classes: int) -> str:
    """`bce` (binary cross entropy) for two classes, `cross_entropy` for any other number."""
    return "bce" if classes == 2 else "cross_entropy"


def scores(log_prob_NxC: np.ndarray, y_N: np.ndarray, *, commonest: int) -> Scores:
    """The figures of a classifier on one split of N >= 1 rows.

    Args:
      log_prob_NxC: log-probabilities of the C classes, nats.
      y_N: the true classes.
      commonest: the class that most training rows have.

    Returns:
      `bce` (`cross_entropy` unless C is 2): mean nats a row; None where it is infinite, because a
        row's class has probability 0.
      `accuracy`.
      `macro_f1`: mean F1 of the classes that the split or the guesses hold.
      `roc_auc`: of the second of two classes; of more, the mean of one class against the rest over
        the classes of the split. None where the split has one class only.
      `majority`: accuracy of always saying `commonest`.
    """
    from sklearn.metrics import f1_score

    classes = log_prob_NxC.shape[1]
    loss = -float(np.mean(log_prob_NxC[np.arange(len(y_N)), y_N]))
    guess_N = log_prob_NxC.argmax(axis=1)
    return {
        loss_name(classes): loss if np.isfinite(loss) else None,
        "accuracy": float(np.mean(guess_N == y_N)),
        "macro_f1": float(f1_score(y_N, guess_N, average="macro", zero_division=0.0)),
        "roc_auc": _area(np.exp(log_prob_NxC), y_N),
        "majority": float(np.mean(y_N == commonest)),
    }


def _area(prob_NxC: np.ndarray, y_N: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    classes = prob_NxC.shape[1]
    judged = [
        float(roc_auc_score(y_N == label, prob_NxC[:, label]))
        for label in (range(classes) if classes > 2 else (1,))
        if 0 < np.count_nonzero(y_N == label) < len(y_N)
    ]
    return float(np.mean(judged)) if judged else None


def share_scores(y_train_N: np.ndarray, y_N: np.ndarray, *, classes: int) -> Scores:
    """The figures of a classifier that knows nothing but the training split's class shares."""
    counts_C = np.bincount(y_train_N, minlength=classes)
    with np.errstate(divide="ignore"):  # a class without training rows has probability 0
        log_share_C = np.log(counts_C / counts_C.sum())
    log_prob_NxC = np.broadcast_to(log_share_C, (len(y_N), classes))
    return scores(log_prob_NxC, y_N, commonest=int(counts_C.argmax()))
