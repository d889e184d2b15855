"""The training step: what it computes, what it repeats, and what it refuses to do."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import tiny
from vaetx_jax.losses import annealing, elbo
from vaetx_jax.losses.elbo import Terms
from vaetx_jax.training.optimizer import learning_rate, make_optimizer
from vaetx_jax.training.state import Sums, TrainState, init_state
from vaetx_jax.training.step import make_train_step, window_metrics

MODEL = tiny.vae(layers=1, dropout=0.2)
SETTINGS = tiny.step_settings(window=3)
KEY = jax.random.key(0)
BATCHES = [
    tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4, seed=seed), length=6, filler=1))
    for seed in range(7)
]


@pytest.fixture(scope="module")
def train_step():
    return make_train_step(MODEL, SETTINGS, tiny.one_device())


@pytest.fixture(scope="module")
def fresh():
    """The state before the first step, as numpy: a step gives its memory away."""
    return jax.tree.map(np.asarray, init_state(MODEL, SETTINGS.optimizer, KEY, tiny.one_device()))


def steps(train_step, state, batches, *, key=KEY):
    """The state after the batches, and the metrics of each step."""
    metrics = []
    state = jax.tree.map(jnp.asarray, state)
    for batch in batches:
        state, one = train_step(state, batch, key)
        metrics.append(one)
    return state, metrics


def assert_identical(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


def are_identical(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


# The state and its steps ------------------------------------------------------------------------


def test_the_first_state_depends_on_the_key_and_has_done_nothing(fresh):
    other = init_state(MODEL, SETTINGS.optimizer, jax.random.key(1), tiny.one_device())
    assert not are_identical(other.params, fresh.params)
    assert int(fresh.step) == 0
    assert not any(np.any(x) for x in jax.tree.leaves((fresh.optimizer, fresh.sums)))


@pytest.mark.slow
def test_the_same_steps_twice_are_bit_identical(train_step, fresh):
    first, second = (steps(train_step, fresh, BATCHES) for _ in range(2))
    assert_identical(first, second)
    assert int(first[0].step) == 7


def test_a_run_taken_up_in_the_middle_is_the_uninterrupted_run(train_step, fresh):
    whole, _ = steps(train_step, fresh, BATCHES)
    half, _ = steps(train_step, fresh, BATCHES[:4])
    kept = jax.tree.map(np.asarray, half)
    resumed, _ = steps(train_step, kept, BATCHES[4:])
    assert_identical(resumed, whole)


def test_noise_differs_from_key_to_key_and_from_step_to_step(train_step, fresh):
    first = steps(train_step, fresh, BATCHES[:1])[1][0]
    other_key = steps(train_step, fresh, BATCHES[:1], key=jax.random.key(1))[1][0]
    later = fresh._replace(step=np.int32(3))  # the same parameters; a new window, too
    other_step = steps(train_step, later, BATCHES[:1])[1][0]
    losses = [float(metrics.sums.nll) for metrics in (first, other_key, other_step)]
    assert len(set(losses)) == 3


def test_weight_and_rate_are_those_of_the_updates_done_before(train_step, fresh):
    _, metrics = steps(train_step, fresh, BATCHES)
    ratio, rate_at = SETTINGS.objective.ratio, rate_of(SETTINGS)
    for t, one in enumerate(metrics):
        alpha = annealing.kl_weight(t, annealing="cyclic", total_steps=20, cycles=2, ratio=ratio)
        rate = rate_at(t)
        assert float(one.kl_weight) == pytest.approx(float(alpha), rel=1e-6)
        assert float(one.learning_rate) == pytest.approx(float(rate), rel=1e-6)
    assert float(metrics[0].kl_weight) == 0.0
    assert float(metrics[0].learning_rate) == pytest.approx(SETTINGS.optimizer.learning_rate)


def test_training_on_one_batch_lowers_its_nll(train_step, fresh):
    _, metrics = steps(train_step, fresh, BATCHES[:1] * 60)
    nll = [float(one.sums.nll) for one in metrics[2::3]]  # of each window
    assert np.mean(nll[-3:]) < 0.7 * nll[0]


# Steps that are not finite ----------------------------------------------------------------------


def assert_not_taken(train_step, state, batch):
    after, (metrics,) = steps(train_step, state, [batch])
    assert not bool(metrics.finite)
    assert_identical(after, state)
    assert_identical(metrics.sums, state.sums)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_leaves_the_state_as_it_is(train_step, fresh, value):
    state, _ = steps(train_step, fresh, BATCHES[:2])
    state = jax.tree.map(np.array, state)
    broken = BATCHES[2] | {"weight": BATCHES[2]["weight"].at[1].set(value)}
    assert_not_taken(train_step, state, broken)
    _, (metrics,) = steps(train_step, state, BATCHES[2:3])
    assert bool(metrics.finite)


def test_a_parameter_that_is_not_finite_leaves_the_state_as_it_is(train_step, fresh):
    kernel = fresh.params["output_layer"]["kernel"].copy()
    kernel[0, 5] = math.nan
    layer = fresh.params["output_layer"] | {"kernel": kernel}
    broken = fresh.with_params(fresh.params | {"output_layer": layer})
    assert_not_taken(train_step, broken, BATCHES[0])


def test_a_gradient_that_is_not_finite_leaves_the_state_as_it_is(monkeypatch):
    def root(model, variables, batch, key, **options):
        value = jnp.sqrt(variables["params"]["x"][0] - 1.0)  # 0, and its slope infinite
        return value, (Terms(*[value] * 5), {})

    train_step, state = with_objective(monkeypatch, root, tiny.step_settings(), [1.0, 2.0])
    assert_not_taken(train_step, state, BATCHES[0])


# The optimizer ----------------------------------------------------------------------------------


def with_objective(monkeypatch, negative_elbo, settings, start):
    """A step and a first state whose only parameters are the vector `x` and the matrix `m`."""
    monkeypatch.setattr(elbo, "negative_elbo", negative_elbo)
    params = {"x": np.asarray(start, np.float32), "m": np.full((2, 2), 0.5, np.float32)}
    no_sums = Sums(*[np.float32(0.0)] * len(Sums._fields))
    moments = make_optimizer(settings.optimizer).init(params)
    state = TrainState(np.int32(0), {"params": params}, moments, no_sums)
    return make_train_step(MODEL, settings, tiny.one_device()), jax.tree.map(np.asarray, state)


def bowl(model, variables, batch, key, **options):
    """A loss whose gradient is known and changes from batch to batch."""
    loss = bowl_of(variables["params"], batch)
    return loss, (Terms(*[loss] * 5), {})


def bowl_of(params, batch):
    pull = jnp.sum(batch["ids"]).astype(jnp.float32) / 100.0
    return jnp.sum(jnp.square(params["x"] - pull)) + 3.0 * jnp.sum(jnp.square(params["m"] + pull))


def optax_params(transformation, params, batches):
    """The parameters after each batch by optax alone."""
    state, after = transformation.init(params), []
    with jax.numpy_dtype_promotion("standard"):  # as optax is written
        for batch in batches:
            gradient = jax.grad(lambda p, b=batch: bowl_of(p, b))(params)
            updates, state = transformation.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            after.append(params)
    return after


def rate_of(settings):
    return functools.partial(
        learning_rate,
        peak=settings.optimizer.learning_rate,
        final=settings.optimizer.final_learning_rate,
        total_steps=settings.total_steps,
        cycles=settings.objective.cycles,
    )


@pytest.mark.parametrize("clip_norm", [0.0, 5.0])
@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_five_steps_are_those_of_optaxs_adamw(monkeypatch, clip_norm, decay):
    # Two cosines of three steps; a decay and betas that show.
    settings = tiny.step_settings(
        total_steps=6, weight_decay=0.3, decay=decay, clip_norm=clip_norm, beta1=0.8, beta2=0.95
    )
    train_step, state = with_objective(monkeypatch, bowl, settings, [1.0, -2.0, 30.0])
    mask = {"x": decay == "all", "m": True}
    adamw = optax.adamw(rate_of(settings), b1=0.8, b2=0.95, weight_decay=0.3, mask=mask)
    if clip_norm:
        adamw = optax.chain(optax.clip_by_global_norm(clip_norm), adamw)
    expected = optax_params(adamw, state.params, BATCHES[:5])
    for batch, params in zip(BATCHES, expected, strict=False):
        state, _ = steps(train_step, state, [batch])
        for name in params:
            np.testing.assert_allclose(state.params[name], params[name], rtol=1e-5, atol=1e-6)


def test_the_reported_norm_of_the_gradient_is_that_before_clipping(monkeypatch):
    reported = []
    for clip_norm in (0.0, 0.5):
        settings = tiny.step_settings(clip_norm=clip_norm)
        train_step, state = with_objective(monkeypatch, bowl, settings, [1.0, -2.0])
        _, (metrics,) = steps(train_step, state, BATCHES[:1])
        reported.append(float(metrics.sums.grad_norm))
    gradient = jax.grad(lambda p: bowl_of(p, BATCHES[0]))(state.params)
    norm = math.sqrt(sum(float(jnp.sum(jnp.square(g))) for g in gradient.values()))
    assert reported == pytest.approx([norm, norm], rel=1e-5)


# The logging window -----------------------------------------------------------------------------


def test_sums_run_over_the_window_and_begin_again_after_it(monkeypatch):
    """Windows of three: steps 1 to 3, 4 to 6, then 7 alone."""
    sums = []
    for window in (1, 3):
        train_step, state = with_objective(
            monkeypatch, bowl, tiny.step_settings(window=window), [1.0, 2.0]
        )
        _, metrics = steps(train_step, state, BATCHES)
        sums.append(np.asarray([list(map(float, one.sums)) for one in metrics]))
    alone, got = sums
    begins = [0, 0, 0, 3, 3, 3, 6]
    expected = [alone[begin : i + 1].sum(axis=0) for i, begin in enumerate(begins)]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert np.all(alone[:, -1] == 1) and got[-2, -1] == 3  # the steps in the window


def test_a_windows_metrics_are_means_by_sentence_by_token_and_by_step(train_step, fresh):
    _, metrics = steps(train_step, fresh, BATCHES[:3])
    last = metrics[-1]
    sums = {name: float(value) for name, value in last.sums._asdict().items()}
    assert (sums["sentences"], sums["steps"]) == (12, 3)
    assert sums["tokens"] == 3 * (1 + 2 + 3 + 4 + 4)  # sentences of 1 to 4 pieces, and their ends
    expected = {
        "train/loss": sums["loss"] / 3,
        "train/nll": sums["nll"] / 12,
        "train/kl": sums["kl"] / 12,
        "train/kl_weight": float(last.kl_weight),
        "train/ppl_rec": math.exp(sums["nll"] / sums["tokens"]),
        "train/ppl_elbo": math.exp((sums["nll"] + sums["kl"]) / sums["tokens"]),
        "train/learning_rate": float(last.learning_rate),
        "train/grad_norm": sums["grad_norm"] / 3,
    }
    assert window_metrics(last) == pytest.approx(expected)
