"""Scores of class probabilities, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from vaetx_jax.probe.scores import scores, share_scores


def some_log_probs(classes, rows=200):
    noise = np.random.default_rng(4)
    logit = noise.standard_normal((rows, classes)).round(1)  # with ties
    y = noise.integers(0, classes, rows)
    return logit - np.log(np.exp(logit).sum(axis=1, keepdims=True)), y


def macro_f1(guess, y):
    found = []
    for label in set(guess) | set(y):
        right = np.sum((guess == label) & (y == label))
        found.append(2 * right / (np.sum(guess == label) + np.sum(y == label)))
    return np.mean(found)


@pytest.mark.parametrize(("classes", "loss"), [(2, "bce"), (3, "cross_entropy")])
def test_the_scores_are_scikit_learns_and_those_by_hand(classes, loss):
    log_prob, y = some_log_probs(classes)
    found = scores(log_prob, y, most_frequent=1)
    prob, guess = np.exp(log_prob), log_prob.argmax(axis=1)
    score = prob[:, 1] if classes == 2 else prob
    assert found == pytest.approx(
        {
            loss: log_loss(y, prob),
            "accuracy": np.mean(guess == y),
            "macro_f1": macro_f1(guess, y),
            "roc_auc": roc_auc_score(y, score, multi_class="ovr", average="macro"),
            "majority": np.mean(y == 1),
        }
    )


def test_always_predicting_one_class_has_its_share_as_accuracy_and_no_area_beyond_chance():
    y_train, y_test = np.repeat([0, 1], [8, 2]), np.repeat([0, 1], [6, 4])
    found = share_scores(y_train, y_test, classes=2)
    expected = {"accuracy": 0.6, "majority": 0.6, "macro_f1": 0.375, "roc_auc": 0.5}
    expected["bce"] = -(0.6 * np.log(0.8) + 0.4 * np.log(0.2))
    assert found == pytest.approx(expected)


def test_a_split_of_one_class_has_no_area():
    log_prob, _ = some_log_probs(2)
    assert scores(log_prob, np.ones(len(log_prob), int), most_frequent=1)["roc_auc"] is None


def test_the_area_of_many_classes_is_over_those_of_the_split():
    log_prob, y = some_log_probs(4)
    here = y < 3
    found = scores(log_prob[here], y[here], most_frequent=0)["roc_auc"]
    areas = [roc_auc_score(y[here] == c, np.exp(log_prob[here, c])) for c in range(3)]
    assert found == pytest.approx(np.mean(areas))


def test_a_row_whose_class_was_ruled_out_makes_the_loss_infinite_and_so_null():
    log_prob = np.log([[0.5, 0.5, 1e-300], [0.9, 0.1, 1e-300]])
    log_prob[:, 2] = -np.inf
    found = scores(log_prob, np.array([2, 0]), most_frequent=0)
    assert found["cross_entropy"] is None
    assert found["accuracy"] == 0.5
