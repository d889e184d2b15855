"""The two fits of the probe's linear classifier, its figures, and its draws of few labels."""

import jax
import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaetx_jax.probe.baselines import text_features
from vaetx_jax.probe.classifiers import (
    STRENGTHS,
    Latents,
    Protocol,
    epoch_plan,
    fit_closed,
    starting_params,
    train_classifier,
)
from vaetx_jax.probe.few_labels import draw_rows, few_label_rows, sizes_below
from vaetx_jax.probe.scores import scores, share_scores

SPLITS = ("train", "valid", "test")


def two_classes(rows, *, distance, dims=3, seed=0):
    """z [N, Z] of two round clouds and their labels; `distance` 0: the label is not in z."""
    noise = np.random.default_rng(seed)
    y_N = noise.integers(0, 2, rows)
    z_NxZ = noise.standard_normal((rows, dims))
    z_NxZ[:, 0] += distance * (2 * y_N - 1)
    return z_NxZ.astype(np.float32), y_N


def fixed(z_NxZ):
    return Latents(z_NxZ, np.zeros_like(z_NxZ))


def accuracy(classifier, z_NxZ, y_N):
    return float(np.mean(classifier.log_prob(z_NxZ).argmax(axis=1) == y_N))


# The paper's training ---------------------------------------------------------------------------


def loss_and_gradient(w, b, z, y):
    """Mean nats a row and its gradient, by hand; one logit is a sigmoid's."""
    logit = z @ w + b
    if logit.shape[1] == 1:
        logit = np.concatenate([np.zeros_like(logit), logit], axis=1)
    log_prob = logit - np.log(np.exp(logit).sum(axis=1, keepdims=True))
    error = (np.exp(log_prob) - np.eye(logit.shape[1])[y])[:, -w.shape[1] :] / len(y)
    return -np.mean(log_prob[np.arange(len(y)), y]), {"w": z.T @ error, "b": error.sum(axis=0)}


def train_by_hand(train, y, z_valid, y_valid, *, outputs, protocol, seed):
    """The paper's protocol as a plain loop in float64; (params, validation loss) a epoch."""
    key, (rows, dims) = jax.random.key(seed), train.mean_NxZ.shape
    params = {k: np.asarray(v, np.float64) for k, v in starting_params(key, dims, outputs).items()}
    first, second = ({k: np.zeros_like(v) for k, v in params.items()} for _ in range(2))
    total, done, epochs = protocol.epochs * -(-rows // protocol.batch_size), 0, []
    for epoch in range(protocol.epochs):
        plan = epoch_plan(key, epoch, rows, protocol.batch_size)
        for here, weight, noise_key in zip(*plan, strict=True):
            eps = np.asarray(jax.random.normal(noise_key, (protocol.batch_size, dims)))
            z = train.mean_NxZ[here] + train.std_NxZ[here] * eps
            real = np.asarray(weight) > 0
            _, gradient = loss_and_gradient(params["w"], params["b"], z[real], y[here][real])
            into_period = done % np.ceil(total / 2) / (total / 2)
            low = protocol.learning_rate / 1000
            rate = low + (protocol.learning_rate - low) * (1 + np.cos(np.pi * into_period)) / 2
            done += 1
            for k, g in gradient.items():
                first[k] = 0.9 * first[k] + 0.1 * g
                second[k] = 0.999 * second[k] + 0.001 * g**2
                step = first[k] / (1 - 0.9**done)
                step /= np.sqrt(second[k] / (1 - 0.999**done)) + 1e-8
                params[k] = params[k] - rate * (step + 0.1 * params[k])
        loss, _ = loss_and_gradient(params["w"], params["b"], z_valid, y_valid)
        epochs.append((dict(params), loss))
    return epochs


@pytest.mark.parametrize("classes", [2, 3])
def test_the_papers_training_is_adamw_with_restarts_and_fresh_noise(classes):
    noise = np.random.default_rng(1)
    train = Latents(noise.standard_normal((21, 4)), noise.random((21, 4)))
    y, y_valid = noise.integers(0, classes, 21), noise.integers(0, classes, 9)
    z_valid = noise.standard_normal((9, 4))
    protocol = Protocol(epochs=3, batch_size=8, learning_rate=0.05)
    trained = train_classifier(
        train, y, z_valid, y_valid, classes=classes, protocol=protocol, seed=5
    )
    outputs = 1 if classes == 2 else classes
    by_hand = train_by_hand(train, y, z_valid, y_valid, outputs=outputs, protocol=protocol, seed=5)
    np.testing.assert_allclose(trained.valid_loss, [loss for _, loss in by_hand], rtol=1e-5)
    params, _ = by_hand[trained.epoch - 1]
    np.testing.assert_allclose(trained.kernel_ZxK, params["w"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(trained.bias_K, params["b"], rtol=1e-4, atol=1e-6)


def test_the_defaults_are_the_papers():
    assert Protocol() == Protocol(epochs=20, batch_size=32, learning_rate=1e-4)


def test_an_epoch_takes_every_row_once_in_an_order_of_its_own():
    key = jax.random.key(0)
    orders = []
    for epoch in range(2):
        rows, weight, keys = epoch_plan(key, epoch, 21, 8)
        assert rows.shape == (3, 8) and len(keys) == 3
        orders.append(np.asarray(rows)[np.asarray(weight) > 0])
        assert sorted(orders[-1]) == list(range(21))
    assert (orders[0] != orders[1]).any()


def test_what_a_line_parts_is_parted():
    z, y = two_classes(200, distance=5.0)
    protocol = Protocol(epochs=10, learning_rate=0.1)
    trained = train_classifier(fixed(z), y, z, y, classes=2, protocol=protocol, seed=0)
    assert accuracy(trained, z, y) == 1.0
    assert accuracy(fit_closed(z, y, z, y, classes=2), z, y) == 1.0


def test_a_label_that_is_not_in_z_is_guessed_as_often_as_its_share():
    noise = np.random.default_rng(3)
    z = noise.standard_normal((4_000, 8)).astype(np.float32)
    y = (noise.random(4_000) < 0.8).astype(int)
    train, valid, test = slice(0, 2_000), slice(2_000, 3_000), slice(3_000, 4_000)
    protocol = Protocol(learning_rate=1e-2)
    held = (z[valid], y[valid])
    trained = train_classifier(
        fixed(z[train]), y[train], *held, classes=2, protocol=protocol, seed=0
    )
    closed = fit_closed(z[train], y[train], *held, classes=2)
    for classifier in (trained, closed):
        judged = scores(classifier.log_prob(z[test]), y[test], commonest=1)
        assert judged["accuracy"] == pytest.approx(judged["majority"], abs=0.01)
        assert judged["roc_auc"] == pytest.approx(0.5, abs=0.06)


def test_the_epoch_taken_has_the_lowest_validation_loss():
    z, y = two_classes(16, distance=0.0, dims=12)  # nothing to learn but the rows by heart
    z_valid, y_valid = two_classes(200, distance=0.0, dims=12, seed=1)
    protocol = Protocol(epochs=12, learning_rate=0.1)
    trained = train_classifier(fixed(z), y, z_valid, y_valid, classes=2, protocol=protocol, seed=0)
    assert trained.epoch == int(np.argmin(trained.valid_loss)) + 1 < 12
    found = scores(trained.log_prob(z_valid), y_valid, commonest=0)["bce"]
    assert found == pytest.approx(min(trained.valid_loss), rel=1e-5)


def test_the_seed_decides_all_that_is_random_in_training():
    z, y = two_classes(40, distance=1.0)
    latents = Latents(z, np.ones_like(z))

    def kernel(seed):
        protocol = Protocol(epochs=2, learning_rate=0.1)
        trained = train_classifier(latents, y, z, y, classes=2, protocol=protocol, seed=seed)
        return trained.kernel_ZxK

    np.testing.assert_array_equal(kernel(4), kernel(4))
    assert (kernel(4) != kernel(5)).any()


def test_a_drawn_z_is_the_mean_with_noise_of_the_posteriors_width():
    mean, std = np.full((5_000, 2), 3.0, np.float32), np.full((5_000, 2), [0.1, 2.0], np.float32)
    latents = Latents(mean, std)
    noise = latents.draw(7, 0) - mean
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(noise.std(axis=0), [0.1, 2.0], rtol=0.05)
    np.testing.assert_array_equal(latents.draw(7, 0), latents.draw(7, 0))
    assert (latents.draw(7, 1) != latents.draw(7, 0)).all()
    np.testing.assert_array_equal(fixed(mean).draw(7, 0), mean)


# The closed fit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_the_closed_fit_is_scikit_learns_of_the_strength_best_in_validation(classes):
    noise = np.random.default_rng(2)
    z, y = noise.standard_normal((300, 5)) * 4.0 + 1.0, noise.integers(0, classes, 300)
    z[:, 0] += y
    (train, valid), test = (slice(0, 40), slice(40, 120)), slice(120, 300)
    by_strength = {}
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
        pipeline = make_pipeline(StandardScaler(), regression).fit(z[train], y[train])
        by_strength[log_loss(y[valid], pipeline.predict_proba(z[valid]))] = (strength, pipeline)
    strength, pipeline = by_strength[min(by_strength)]
    closed = fit_closed(z[train], y[train], z[valid], y[valid], classes=classes)
    assert closed.strength == strength
    expected = pipeline.predict_log_proba(z[test])
    np.testing.assert_allclose(closed.log_prob(z[test]), expected, atol=1e-4)


def test_n_grams_that_training_lacks_change_nothing():
    noise = np.random.default_rng(2)
    x = noise.random((60, 9)) * (noise.random((60, 9)) < 0.4)
    x[:30, [2, 5]] = 0.0
    y = noise.integers(0, 2, 60)
    closed = fit_closed(
        sparse.csr_matrix(x[:30]), y[:30], sparse.csr_matrix(x[30:45]), y[30:45], classes=2
    )
    whole = LogisticRegression(C=closed.strength, tol=1e-8, max_iter=10_000).fit(x[:30], y[:30])
    expected = whole.predict_log_proba(x[45:])
    np.testing.assert_allclose(closed.log_prob(sparse.csr_matrix(x[45:])), expected, atol=1e-4)


def test_a_class_that_training_lacks_is_impossible_and_does_not_choose_the_strength():
    z, y = two_classes(200, distance=0.5)
    z_valid, y_valid = two_classes(100, distance=0.5, seed=1)
    plain = fit_closed(z, y, z_valid, y_valid, classes=3)
    strange = fit_closed(z, y, z_valid, np.where(np.arange(100) < 3, 2, y_valid), classes=3)
    assert strange.strength < max(STRENGTHS)
    assert np.isneginf(plain.log_prob(z)[:, 2]).all()
    np.testing.assert_allclose(np.exp(plain.log_prob(z)).sum(axis=1), 1.0)


def test_without_a_row_to_choose_by_the_strongest_penalty_is_taken():
    z, y = two_classes(50, distance=1.0)
    closed = fit_closed(z, y, z[:4], np.full(4, 2), classes=3)
    assert closed.strength == min(STRENGTHS)


# Figures ----------------------------------------------------------------------------------------


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
def test_the_figures_are_scikit_learns_and_those_by_hand(classes, loss):
    log_prob, y = some_log_probs(classes)
    found = scores(log_prob, y, commonest=1)
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


def test_always_saying_one_class_has_its_share_as_accuracy_and_no_area_beyond_chance():
    y_train, y_test = np.repeat([0, 1], [8, 2]), np.repeat([0, 1], [6, 4])
    found = share_scores(y_train, y_test, classes=2)
    expected = {"accuracy": 0.6, "majority": 0.6, "macro_f1": 0.375, "roc_auc": 0.5}
    expected["bce"] = -(0.6 * np.log(0.8) + 0.4 * np.log(0.2))
    assert found == pytest.approx(expected)


def test_a_split_of_one_class_has_no_area():
    log_prob, _ = some_log_probs(2)
    assert scores(log_prob, np.ones(len(log_prob), int), commonest=1)["roc_auc"] is None


def test_the_area_of_many_classes_is_over_those_of_the_split():
    log_prob, y = some_log_probs(4)
    here = y < 3
    found = scores(log_prob[here], y[here], commonest=0)["roc_auc"]
    areas = [roc_auc_score(y[here] == c, np.exp(log_prob[here, c])) for c in range(3)]
    assert found == pytest.approx(np.mean(areas))


def test_a_row_whose_class_was_ruled_out_makes_the_loss_infinite_and_so_null():
    log_prob = np.log([[0.5, 0.5, 1e-300], [0.9, 0.1, 1e-300]])
    log_prob[:, 2] = -np.inf
    found = scores(log_prob, np.array([2, 0]), commonest=0)
    assert found["cross_entropy"] is None
    assert found["accuracy"] == 0.5


# Few labels, and texts --------------------------------------------------------------------------


def test_a_draw_takes_as_many_of_each_class_as_there_are():
    y = np.repeat([0, 1, 3], [50, 20, 4])
    rows = draw_rows(y, 10, 0, 10, 1)
    np.testing.assert_array_equal(np.bincount(y[rows]), [10, 10, 0, 4])
    assert len(set(rows)) == len(rows)
    np.testing.assert_array_equal(rows, draw_rows(y, 10, 0, 10, 1))
    assert set(rows) != set(draw_rows(y, 10, 0, 10, 2))


def test_sizes_that_would_take_every_row_are_left_out():
    assert sizes_below(np.repeat([0, 1], [10, 5])) == []
    assert sizes_below(np.repeat([0, 1], [11, 5])) == [10]
    assert sizes_below(np.repeat([0, 1], [4_000, 5])) == [10, 100, 1_000]


def test_few_labels_are_enough_where_the_label_is_plain():
    clouds = {
        split: two_classes(300, distance=5.0, seed=place) for place, split in enumerate(SPLITS)
    }
    features = {"z": {split: z for split, (z, _) in clouds.items()}}
    y = {split: labels for split, (_, labels) in clouds.items()}
    ticks = []
    rows = few_label_rows(features, y, classes=2, seed=0, tick=lambda: ticks.append(1))
    assert [row["labels_per_class"] for row in rows] == [10, 100]
    assert [row["labels"] for row in rows] == [20, 200]
    assert len(ticks) == 10
    for row in rows:
        assert row["accuracy_mean"] > 0.98 and row["macro_f1_mean"] > 0.98
        assert 0 <= row["accuracy_std"] < 0.02


TEXTS = {
    "train": ["I like it !", "I like soup", "it is cold", "cold soup !"],
    "valid": ["cold it is"],
    "test": ["a sauna !"],
}


def test_a_bag_holds_the_one_and_two_grams_of_the_training_split():
    bag = text_features(TEXTS, dimensions=2, seed=0)["bag_of_ngrams"]
    grams = {"i", "like", "it", "!", "soup", "is", "cold", "i like", "like it", "it !"}
    grams |= {"like soup", "it is", "is cold", "cold soup", "soup !"}
    assert bag["train"].shape == (4, len(grams))
    assert [bag[split].nnz for split in SPLITS[1:]] == [4, 1]  # cold, it, is, 'it is'; !


@pytest.mark.parametrize(("dimensions", "given"), [(2, 2), (100, 15)])
def test_lsa_has_the_dimensions_asked_for_or_as_many_as_there_are_n_grams(dimensions, given):
    first, again = (text_features(TEXTS, dimensions=dimensions, seed=3)["lsa"] for _ in range(2))
    for split, sentences in TEXTS.items():
        assert first[split].shape[0] == len(sentences)
        assert 1 <= first[split].shape[1] <= given
        np.testing.assert_array_equal(first[split], again[split])
