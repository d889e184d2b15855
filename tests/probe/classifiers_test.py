"""The two fits of the probe's linear classifier."""

import jax
import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.helpers.clouds import two_classes
from vaetx_jax.probe.classifiers import (
    STRENGTHS,
    Latents,
    Protocol,
    epoch_plan,
    fit_closed,
    starting_params,
    train_classifier,
)
from vaetx_jax.probe.scores import scores


def fixed(z_NxZ):
    return Latents(z_NxZ, np.zeros_like(z_NxZ))


def accuracy(classifier, z_NxZ, y_N):
    return float(np.mean(classifier.log_prob(z_NxZ).argmax(axis=1) == y_N))


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


def test_separable_classes_are_separated():
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
        found = scores(classifier.log_prob(z[test]), y[test], most_frequent=1)
        assert found["accuracy"] == pytest.approx(found["majority"], abs=0.01)
        assert found["roc_auc"] == pytest.approx(0.5, abs=0.06)


def test_the_epoch_taken_has_the_lowest_validation_loss():
    z, y = two_classes(16, distance=0.0, dims=12)  # nothing to learn but the rows by heart
    z_valid, y_valid = two_classes(200, distance=0.0, dims=12, seed=1)
    protocol = Protocol(epochs=12, learning_rate=0.1)
    trained = train_classifier(fixed(z), y, z_valid, y_valid, classes=2, protocol=protocol, seed=0)
    assert trained.epoch == int(np.argmin(trained.valid_loss)) + 1 < 12
    found = scores(trained.log_prob(z_valid), y_valid, most_frequent=0)["bce"]
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
