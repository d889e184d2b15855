"""Runs that train together in one compiled step: each is the run that it would be alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.training.state import init_state
from vaetx_jax.training.step import init_replicas, make_replica_step, make_train_step

MODEL = tiny.vae(layers=1, dropout=0.2)
BATCHES = [
    tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4, seed=seed), length=6, filler=1))
    for seed in range(5)
]
SETTINGS = tiny.step_settings(window=3)
EACH = [
    SETTINGS,
    tiny.changed(SETTINGS, annealing="none"),
    tiny.changed(SETTINGS, annealing="linear", learning_rate=3e-3, final_learning_rate=1e-3),
]
SEEDS = (0, 7, 7)
INIT_KEYS = jnp.stack([jax.random.key(seed) for seed in SEEDS])
STEP_KEYS = jnp.stack([jax.random.key(100 + seed) for seed in SEEDS])


@pytest.fixture(scope="module")
def together():
    mesh = tiny.one_device()
    states = init_replicas(MODEL, SETTINGS.optimizer, INIT_KEYS, mesh)
    step, metrics = make_replica_step(MODEL, EACH, mesh), []
    for batch in BATCHES:
        states, one = step(states, batch, STEP_KEYS)
        metrics.append(jax.device_get(one))
    return jax.device_get(states), metrics


def alone(number):
    mesh, metrics = tiny.one_device(), []
    state = init_state(MODEL, EACH[number].optimizer, INIT_KEYS[number], mesh)
    step = make_train_step(MODEL, EACH[number], mesh)
    for batch in BATCHES:
        state, one = step(state, batch, STEP_KEYS[number])
        metrics.append(jax.device_get(one))
    return jax.device_get(state), metrics


def assert_near(ours, theirs, *, scale=0.0):
    """Trees equal to float tolerance; `scale` is that of numbers that may be rounding noise."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_a_replica_has_the_result_that_it_has_alone(together, number):
    """Losses, norms, schedules and gradients; Adam blows rounding noise up to its learning rate."""
    states, metrics = jax.tree.map(lambda leaf: leaf[number], together)
    state, own_metrics = alone(number)
    assert_near(metrics, own_metrics)
    moments, own_moments = (s.optimizer[0].mu for s in (states, state))
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(own_moments))
    assert largest > 0.01
    assert_near(moments, own_moments, scale=largest)


def test_replicas_differ_where_their_seeds_and_settings_do(together):
    kernels = together[0].params["mu"]["kernel"]
    assert not np.allclose(kernels[0], kernels[1], atol=1e-3)  # seed
    assert not np.allclose(kernels[1], kernels[2], atol=1e-4)  # settings alone


def test_replicas_start_as_they_would_alone():
    states = init_replicas(MODEL, SETTINGS.optimizer, INIT_KEYS, tiny.one_device())
    for number in range(3):
        own = init_state(MODEL, SETTINGS.optimizer, INIT_KEYS[number], tiny.one_device())
        for ours, theirs in zip(jax.tree.leaves(states), jax.tree.leaves(own), strict=True):
            np.testing.assert_array_equal(ours[number], theirs)


def test_settings_that_differ_in_more_are_refused():
    other = tiny.changed(SETTINGS, free_bits=0.5)
    with pytest.raises(ValueError, match="annealing and learning rate alone"):
        make_replica_step(MODEL, [SETTINGS, other], tiny.one_device())


@pytest.mark.slow
def test_replicas_over_four_devices_are_those_on_one():
    printed = tiny.run_on_four_devices("""
import json, jax, numpy as np
from tests.helpers import tiny
from tests.training import replicas_test as r
from vaetx_jax.runtime.mesh import data_mesh
from vaetx_jax.training.step import init_replicas, make_replica_step
losses = []
for mesh in (tiny.one_device(), data_mesh()):
    keys = jax.random.split(jax.random.key(0), 4)
    states = init_replicas(r.MODEL, r.SETTINGS.optimizer, keys, mesh)
    assert len(states.params["mu"]["kernel"].addressable_shards) == mesh.size
    step = make_replica_step(r.MODEL, [r.SETTINGS] * 4, mesh)
    for batch in r.BATCHES:
        states, metrics = step(states, jax.device_get(batch), keys)
    losses.append(np.asarray(metrics.sums.loss).tolist())
print(json.dumps(losses))
""")
    one, four = json.loads(printed.splitlines()[-1])
    assert len(set(one)) == 4
    np.testing.assert_allclose(one, four, rtol=1e-5)
