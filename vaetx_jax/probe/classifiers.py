"""Linear classifiers: the paper's training, and the closed L2-regularised fit.

The paper (Section 4.1.2): AdamW with betas 0.9 and 0.999 and weight decay 0.1, batches of 32, 20
epochs, a cosine from 1e-4 to 1e-7 that restarts every 10 epochs, the epoch chosen on the
validation data. It leaves the rest open; our reading: z is drawn again for every use, as in
training the VAE; the rate falls step by step, and restarts halfway whatever the number of epochs;
the last batch of an epoch holds the remaining rows; the kernel starts uniform(±1/sqrt(Z)) and the
bias at 0, as in the `paper` preset; two classes share one logit.
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from vaetx_jax.training import optimizer as optimizer_lib

if TYPE_CHECKING:  # slow to import, so that they are imported where they are used
    import optax
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

BETAS = (0.9, 0.999)
WEIGHT_DECAY = 0.1
PERIODS = 2  # of the learning rate: the paper's 20 epochs restart after 10
FINAL_SHARE = 1e-3  # of the learning rate at the end of a period: 1e-4 falls to 1e-7
STRENGTHS = tuple(10.0**exponent for exponent in range(-4, 4))  # scikit-learn's C


class Latents(NamedTuple):
    """The posteriors q(z|x) of a split's N sentences: mean and standard deviation, float32 [N, Z].

    With a standard deviation of 0, z is the mean.
    """

    mean_NxZ: np.ndarray
    std_NxZ: np.ndarray

    def draw(self, *seed: int) -> np.ndarray:
        """Draws one z per sentence, float64 [N, Z], the same ones for the same seed."""
        eps_NxZ = np.random.default_rng(seed).standard_normal(self.mean_NxZ.shape)
        return self.mean_NxZ + self.std_NxZ * eps_NxZ


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings of the paper's training that may be changed."""

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-4


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A linear classifier as the paper trains it.

    Attributes:
      kernel_ZxK, bias_K: of its K logits, one for two classes.
      epoch: the epoch they are from, counted from 1: that of the lowest validation loss, the first
        of equals.
      valid_loss: nats per row on the validation split after each epoch.
    """

    kernel_ZxK: np.ndarray
    bias_K: np.ndarray
    epoch: int
    valid_loss: tuple[float, ...]

    def log_prob(self, z_NxZ: np.ndarray) -> np.ndarray:
        """Log-probabilities of the classes, float64 [N, C]."""
        return log_probabilities(z_NxZ @ self.kernel_ZxK + self.bias_K)


def log_probabilities(logit_NxK: np.ndarray) -> np.ndarray:
    """Log-probabilities, float64 [N, C]; a single logit is that of the second of two classes."""
    from scipy.special import log_softmax

    logit_NxK = np.asarray(logit_NxK, np.float64)  # scikit-learn gives float32 for float32 rows
    if logit_NxK.shape[1] == 1:
        logit_NxK = np.concatenate([np.zeros_like(logit_NxK), logit_NxK], axis=1)
    return log_softmax(logit_NxK, axis=1)


def train_classifier(
    train: Latents,
    y_train_N: np.ndarray,
    z_valid_MxZ: np.ndarray,
    y_valid_M: np.ndarray,
    *,
    classes: int,
    protocol: Protocol,
    seed: int,
) -> TrainedClassifier:
    """Trains a classifier by the paper's protocol, in float32 and in one compiled program.

    Args:
      train: z is drawn from these for every use.
      z_valid_MxZ: z of the validation split, by which the epoch is chosen.
      classes: C >= 2; labels are 0 .. C - 1.
      seed: of the classifier's start, the order of the rows and the noise of z.
    """
    params_E, loss_E = _train(
        jax.random.key(seed),
        *(jnp.asarray(x, jnp.float32) for x in (train.mean_NxZ, train.std_NxZ)),
        jnp.asarray(y_train_N, jnp.int32),
        jnp.asarray(z_valid_MxZ, jnp.float32),
        jnp.asarray(y_valid_M, jnp.int32),
        protocol=protocol,
        outputs=1 if classes == 2 else classes,
    )
    best = int(np.argmin(loss_E))
    kernel_ZxK, bias_K = (np.asarray(params_E[name][best], np.float64) for name in ("w", "b"))
    return TrainedClassifier(kernel_ZxK, bias_K, best + 1, tuple(np.asarray(loss_E).tolist()))


def starting_params(key: jax.Array, latent_dim: int, outputs: int) -> dict[str, jax.Array]:
    """Kernel `w` [Z, K] from uniform(±1/sqrt(Z)), bias `b` [K] of zeros."""
    bound = 1.0 / math.sqrt(latent_dim)
    start = jax.random.fold_in(key, 0)
    kernel = jax.random.uniform(start, (latent_dim, outputs), minval=-bound, maxval=bound)
    return {"w": kernel, "b": jnp.zeros(outputs)}


def epoch_plan(
    key: jax.Array, epoch: int | jax.Array, rows: int, batch_size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The S batches of an epoch: rows int32 [S, B], their weights [S, B] and keys of noise [S].

    Every row comes once; the rows that fill the last batch have weight 0.
    """
    order_key, noise_key = jax.random.split(jax.random.fold_in(key, epoch + 1))
    steps = -(-rows // batch_size)
    order_N = jax.random.permutation(order_key, rows)
    filled = jnp.pad(order_N, (0, steps * batch_size - rows)).reshape(steps, batch_size)
    weight = (jnp.arange(steps * batch_size) < rows).astype(jnp.float32)
    return filled, weight.reshape(filled.shape), jax.random.split(noise_key, steps)


def _row_losses(params: dict[str, jax.Array], z_BxZ: jax.Array, y_B: jax.Array) -> jax.Array:
    import optax

    logit_BxK = z_BxZ @ params["w"] + params["b"][None]
    if logit_BxK.shape[1] == 1:
        return optax.sigmoid_binary_cross_entropy(logit_BxK[:, 0], y_B.astype(jnp.float32))
    return optax.softmax_cross_entropy_with_integer_labels(logit_BxK, y_B)


def _optimizer(protocol: Protocol, total_steps: int) -> "optax.GradientTransformation":
    import optax

    rate = functools.partial(
        optimizer_lib.learning_rate,
        peak=protocol.learning_rate,
        final=FINAL_SHARE * protocol.learning_rate,
        total_steps=total_steps,
        cycles=PERIODS,
    )
    return optax.adamw(rate, b1=BETAS[0], b2=BETAS[1], weight_decay=WEIGHT_DECAY)


@functools.partial(jax.jit, static_argnames=("protocol", "outputs"))
def _train(
    key: jax.Array,
    mean_NxZ: jax.Array,
    std_NxZ: jax.Array,
    y_N: jax.Array,
    z_valid_MxZ: jax.Array,
    y_valid_M: jax.Array,
    *,
    protocol: Protocol,
    outputs: int,
) -> tuple[dict[str, jax.Array], jax.Array]:
    """The parameters after each of the E epochs, and the validation loss [E] there."""
    with jax.ensure_compile_time_eval():  # under this trace its constants would become tracers
        import optax

    rows, latent_dim = mean_NxZ.shape
    optimizer = _optimizer(protocol, protocol.epochs * -(-rows // protocol.batch_size))

    def loss(params: Any, z_BxZ: jax.Array, y_B: jax.Array, weight_B: jax.Array) -> jax.Array:
        return jnp.sum(_row_losses(params, z_BxZ, y_B) * weight_B) / jnp.sum(weight_B)

    def one_step(carry: Any, batch: Any) -> Any:
        (params, state), (rows_B, weight_B, noise_key) = carry, batch
        eps_BxZ = jax.random.normal(noise_key, (protocol.batch_size, latent_dim), jnp.float32)
        z_BxZ = mean_NxZ[rows_B] + std_NxZ[rows_B] * eps_BxZ
        gradient = jax.grad(loss)(params, z_BxZ, y_N[rows_B], weight_B)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to an int32
            updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    def one_epoch(carry: Any, epoch: jax.Array) -> Any:
        batches = epoch_plan(key, epoch, rows, protocol.batch_size)
        carry, _ = jax.lax.scan(one_step, carry, batches)
        return carry, (carry[0], jnp.mean(_row_losses(carry[0], z_valid_MxZ, y_valid_M)))

    params = starting_params(key, latent_dim, outputs)
    start = (params, optimizer.init(params))
    return jax.lax.scan(one_epoch, start, jnp.arange(protocol.epochs))[1]


@dataclasses.dataclass(frozen=True)
class ClosedClassifier:
    """scikit-learn's logistic regression, at the optimum of its convex loss.

    Attributes:
      columns: the features that occur in its training rows; the weights of the others are 0.
      scaler: standardises them; None where they are sparse.
      regression: the fit, to the classes of its training rows.
      classes: C, the number of classes of the label.
      strength: C of scikit-learn, the inverse weight of the L2 penalty.
    """

    columns: np.ndarray | slice
    scaler: "StandardScaler | None"
    regression: "LogisticRegression"
    classes: int
    strength: float

    def log_prob(self, x_NxF: Any) -> np.ndarray:
        """Log-probabilities of the classes, float64 [N, C]; -inf for one without training rows."""
        rows = x_NxF.shape[0]
        log_prob_NxC = np.full((rows, self.classes), -np.inf)
        if rows:
            x_NxF = x_NxF[:, self.columns]
            if self.scaler is not None:
                x_NxF = self.scaler.transform(x_NxF)
            # predict_log_proba would take the logarithm of probabilities that round to 0.
            logit_NxK = self.regression.decision_function(x_NxF).reshape(rows, -1)
            log_prob_NxC[:, self.regression.classes_] = log_probabilities(logit_NxK)
        return log_prob_NxC


@threadpool_limits.wrap(limits=1)  # the products are small: more threads only wait for each other
def fit_closed(
    x_train_NxF: Any,
    y_train_N: np.ndarray,
    x_valid_MxF: Any,
    y_valid_M: np.ndarray,
    *,
    classes: int,
) -> ClosedClassifier:
    """Fits logistic regression with the L2 penalty of the lowest validation loss.

    Args:
      x_train_NxF, x_valid_MxF: features; dense ones are standardised, sparse ones left as they are.
      y_train_N: at least two different classes.
      y_valid_M: classes that training lacks do not count in the choice.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    columns: np.ndarray | slice = slice(None)
    scaler = None
    if isinstance(x_train_NxF, np.ndarray):
        scaler = StandardScaler().fit(x_train_NxF)
        x_train_NxF = scaler.transform(x_train_NxF)
    else:
        # Exact, as the penalty keeps the others at 0, and a few labels have few n-grams.
        columns = np.unique(x_train_NxF.indices)
        x_train_NxF = x_train_NxF[:, columns]
    known_M = np.isin(y_valid_M, y_train_N)
    x_valid_MxF, y_valid_M = x_valid_MxF[known_M], y_valid_M[known_M]
    best, lowest = None, math.inf
    for strength in STRENGTHS:
        # Of scikit-learn's solvers the fastest by far for sparse rows, and one of the exact ones.
        regression = LogisticRegression(C=strength, solver="newton-cg", tol=1e-6, max_iter=500)
        regression.fit(x_train_NxF, y_train_N)
        fitted = ClosedClassifier(columns, scaler, regression, classes, strength)
        log_prob_MxC = fitted.log_prob(x_valid_MxF)
        # A sum: without rows to choose by it is 0, and the strongest penalty is taken.
        loss = -float(np.sum(log_prob_MxC[np.arange(len(y_valid_M)), y_valid_M]))
        if loss < lowest:
            best, lowest = fitted, loss
    assert best is not None  # the latents are finite, and so is every loss
    return best
