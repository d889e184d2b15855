"""What an objective learns beside the model: it moves, is saved and resumed, and stays apart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import tiny
from vaetx_jax.losses.bag_of_words import BagWeights
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.losses.target_rate import updated_multiplier
from vaetx_jax.training.auxiliary import (
    BAG,
    BAG_MOMENTS,
    MULTIPLIER,
    Learned,
    fresh_auxiliary,
    updated_auxiliary,
)
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints
from vaetx_jax.training.state import init_state, variables_like
from vaetx_jax.training.step import (
    init_replicas,
    make_replica_step,
    make_train_step,
    window_metrics,
)

MODEL = tiny.vae(layers=1)
SETTINGS = tiny.step_settings(target_rate=3.0, rate_mode="lagrange", bow=1.0, annealing="none")
KEY = jax.random.key(0)
BATCHES = [
    tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4, seed=seed), length=6))
    for seed in range(4)
]


def fresh():
    return init_state(
        MODEL, SETTINGS.optimizer, KEY, tiny.one_device(), objective=SETTINGS.objective
    )


@pytest.fixture(scope="module")
def train_step():
    return make_train_step(MODEL, SETTINGS, tiny.one_device())


def steps(train_step, state, batches):
    """The state after the batches, as numpy, and the metrics of each step."""
    metrics = []
    state = jax.tree.map(jnp.asarray, state)
    for batch in batches:
        state, one = train_step(state, batch, KEY)
        metrics.append(jax.device_get(one))
    return jax.device_get(state), metrics


@pytest.fixture(scope="module")
def whole(train_step):
    return steps(train_step, fresh(), BATCHES)


def test_the_plain_objective_and_a_language_model_learn_nothing_beside_the_model():
    assert fresh_auxiliary(MODEL, Objective(), SETTINGS.optimizer) == {}
    hinge = Objective(target_rate=3.0)
    assert fresh_auxiliary(MODEL, hinge, SETTINGS.optimizer) == {}
    language_model = tiny.language_model()
    assert fresh_auxiliary(language_model, SETTINGS.objective, SETTINGS.optimizer) == {}


def test_a_steps_multiplier_follows_its_kl_and_is_logged(whole):
    expected = jnp.float32(0.0)
    window = SETTINGS.window
    for number, one in enumerate(whole[1]):
        before = whole[1][number - 1].sums.kl if number % window else 0.0
        kl = (one.sums.kl - before) / 4
        expected = updated_multiplier(expected, kl, 3.0)
        assert float(one.multiplier) == pytest.approx(float(expected), rel=1e-4)
        assert window_metrics(one)["train/multiplier"] == float(one.multiplier)
    assert float(expected) > 0


@pytest.fixture(scope="module")
def bag_alone():
    """The metrics of 30 steps on one batch with a bag-of-words loss and no multiplier."""
    settings = tiny.step_settings(
        bow=1.0, annealing="none", window=1, total_steps=30, cycles=1, learning_rate=0.1
    )
    mesh, objective = tiny.one_device(), settings.objective
    state = init_state(MODEL, settings.optimizer, KEY, mesh, objective=objective)
    return steps(make_train_step(MODEL, settings, mesh), state, BATCHES[:1] * 30)


def test_without_a_multiplier_none_is_logged(bag_alone):
    assert "train/multiplier" not in window_metrics(bag_alone[1][0])


def test_training_on_one_batch_lowers_its_bag_of_words_loss(bag_alone):
    state, metrics = bag_alone
    assert isinstance(state.auxiliary[BAG], BagWeights)
    bow = [float(one.sums.loss - (one.sums.nll + one.sums.kl) / 4) for one in metrics]
    assert bow[0] == pytest.approx(np.log(tiny.VOCABULARY) * float(metrics[0].sums.tokens) / 4)
    assert bow[-1] < 0.8 * bow[0]


def test_the_bags_layer_moves_by_optaxs_adam_without_decay():
    state = fresh_auxiliary(MODEL, Objective(bow=1.0), SETTINGS.optimizer)
    adam = optax.adam(0.1, b1=SETTINGS.optimizer.beta1, b2=SETTINGS.optimizer.beta2)
    expected, moments = state[BAG], adam.init(state[BAG])
    for number in range(3):
        gradient = jax.tree.map(lambda leaf, n=number: jnp.ones_like(leaf) * (n - 1.5), expected)
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = adam.update(gradient, moments)
        expected = optax.apply_updates(expected, updates)
        learned = Learned(gradient, jnp.float32(0.0))
        state = updated_auxiliary(
            state, learned, Objective(bow=1.0), SETTINGS.optimizer, jnp.float32(0.1)
        )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state[BAG], expected)


def test_a_run_taken_up_from_a_checkpoint_is_the_uninterrupted_one(train_step, whole, tmp_path):
    half, _ = steps(train_step, fresh(), BATCHES[:2])
    Checkpoints(tmp_path / "x", writable=True).save(
        jax.tree.map(jnp.asarray, half), CheckpointInfo(2, None, candidate=False)
    )
    restored = Checkpoints(tmp_path / "x", writable=True).restore(2, fresh())
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), half)
    resumed, _ = steps(train_step, restored, BATCHES[2:])
    jax.tree.map(np.testing.assert_array_equal, resumed, whole[0])


def test_an_evaluation_reads_the_model_alone(whole, tmp_path):
    checkpoints = Checkpoints(tmp_path / "x", writable=True)
    checkpoints.save(jax.tree.map(jnp.asarray, whole[0]), CheckpointInfo(4, None, candidate=False))
    variables = checkpoints.restore_variables(4, variables_like(MODEL, tiny.one_device()))
    assert set(variables) == {"params"} and BAG not in variables["params"]
    jax.tree.map(np.testing.assert_array_equal, variables, whole[0].variables)


def test_a_step_of_the_warm_up_as_a_language_model_leaves_it(whole):
    step = make_train_step(MODEL, SETTINGS, tiny.one_device(), latent=False)
    after, _ = steps(step, whole[0], BATCHES[:1])
    jax.tree.map(np.testing.assert_array_equal, after.auxiliary, whole[0].auxiliary)


@pytest.mark.slow
def test_a_replica_learns_what_it_learns_alone(whole):
    mesh, keys = tiny.one_device(), jnp.stack([KEY, jax.random.key(7)])
    states = init_replicas(MODEL, SETTINGS.optimizer, keys, mesh, objective=SETTINGS.objective)
    step = make_replica_step(MODEL, [SETTINGS] * 2, mesh)
    for batch in BATCHES:
        states, metrics = step(states, batch, jnp.stack([KEY, KEY]))
    first = jax.tree.map(lambda leaf: np.asarray(leaf[0]), states.auxiliary)
    alone = whole[0].auxiliary
    assert float(metrics.multiplier[0]) == pytest.approx(float(alone[MULTIPLIER]), rel=1e-4)
    moments = zip(*map(jax.tree.leaves, (first[BAG_MOMENTS], alone[BAG_MOMENTS])), strict=True)
    for ours, theirs in moments:
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
