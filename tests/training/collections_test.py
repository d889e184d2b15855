"""A model with running statistics: a collection beside `params`, in training and out of it.

The layer is a test's own: the latent's mean less a running mean of it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.inference.exported import named_leaves
from vaetx_jax.models import text_vae
from vaetx_jax.models.text_vae import TextVAE
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints
from vaetx_jax.training.state import init_state, variables_like
from vaetx_jax.training.step import init_replicas, make_replica_step, make_train_step

MOMENTUM = 0.5


class CentredVAE(TextVAE):
    """A text VAE whose mu is less its running mean, which training passes update."""

    def setup(self):
        super().setup()
        self.mean = self.variable("statistics", "mean", jnp.zeros, (self.latent_dim,))

    def encode(self, ids_BxS, *, deterministic=True, weight_B=None):
        mu_BxZ, logvar_BxZ = super().encode(ids_BxS, deterministic=deterministic)
        if not deterministic and not self.is_initializing():
            now_Z = jax.lax.stop_gradient(jnp.mean(mu_BxZ, axis=0))
            self.mean.value = MOMENTUM * self.mean.value + (1 - MOMENTUM) * now_Z
        return mu_BxZ - self.mean.value[None], logvar_BxZ


def centred() -> CentredVAE:
    plain = tiny.vae(layers=1)
    names = ("encoder", "decoder", "latent_dim", "dim", "vocab_size", "pad_id")
    return CentredVAE(**{name: getattr(plain, name) for name in names})


MODEL = centred()
SETTINGS = tiny.step_settings()
KEY = jax.random.key(0)
BATCHES = [
    tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4, seed=seed), length=6))
    for seed in range(4)
]


def fresh():
    return init_state(MODEL, SETTINGS.optimizer, KEY, tiny.one_device())


def trained(state, batches):
    step = make_train_step(MODEL, SETTINGS, tiny.one_device())
    for batch in batches:
        state, metrics = step(state, batch, KEY)
    return state, metrics


@pytest.fixture(scope="module")
def whole():
    """The state after all batches, as numpy."""
    return jax.device_get(trained(fresh(), BATCHES)[0])


def mean_of(state):
    return np.asarray(state.variables["statistics"]["mean"])


def test_a_training_step_moves_the_statistic_by_the_batchs_mean():
    variables = jax.device_get(fresh().variables)
    mu_BxZ, _ = text_vae.encode(MODEL, variables, BATCHES[0]["ids"])
    state, _ = trained(fresh(), BATCHES[:1])
    np.testing.assert_allclose(mean_of(state), 0.5 * np.mean(mu_BxZ, axis=0), rtol=1e-5)


def test_the_optimizer_has_no_moments_of_statistics():
    state = fresh()
    assert jax.tree.structure(state.optimizer[0].mu) == jax.tree.structure(state.params)


def test_encoding_reads_the_statistic(whole):
    shifted = {**whole.variables, "statistics": {"mean": whole.variables["statistics"]["mean"] + 1}}
    first, _ = text_vae.encode(MODEL, whole.variables, BATCHES[0]["ids"])
    second, _ = text_vae.encode(MODEL, shifted, BATCHES[0]["ids"])
    np.testing.assert_allclose(first - second, np.ones_like(first), rtol=1e-4)


@pytest.mark.slow
def test_a_step_that_is_not_finite_leaves_the_statistic_as_it_is():
    before, _ = trained(fresh(), BATCHES[:1])
    before = jax.device_get(before)
    broken = BATCHES[1] | {"weight": BATCHES[1]["weight"].at[0].set(np.nan)}
    after, metrics = trained(jax.tree.map(jnp.asarray, before), [broken])
    assert not bool(metrics.finite)
    np.testing.assert_array_equal(mean_of(after), mean_of(before))


def test_a_run_that_is_saved_and_resumed_is_the_uninterrupted_run(whole, tmp_path):
    half, _ = trained(fresh(), BATCHES[:2])
    checkpoints = Checkpoints(tmp_path / "checkpoints", writable=True)
    checkpoints.save(half, CheckpointInfo(2, 5.0, candidate=True))
    resumed, _ = trained(checkpoints.restore(2, fresh()), BATCHES[2:])
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), whole)


def test_the_variables_alone_are_restored_with_the_statistic(whole, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", writable=True)
    state = jax.device_put(whole)
    checkpoints.save(state, CheckpointInfo(4, 5.0, candidate=True))
    like = variables_like(MODEL, tiny.one_device())
    back = checkpoints.restore_variables(4, like)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(back), whole.variables)


def test_an_export_names_the_statistic_by_its_collection(whole):
    names = named_leaves(whole.variables)
    assert "statistics:mean" in names and "mu.kernel" in names


@pytest.mark.slow
def test_replicas_have_the_statistic_that_each_has_alone(whole):
    other = jax.random.key(7)
    mesh = tiny.one_device()
    states = init_replicas(MODEL, SETTINGS.optimizer, jnp.stack([KEY, other]), mesh)
    step = make_replica_step(MODEL, [SETTINGS] * 2, mesh)
    for batch in BATCHES:
        states, _ = step(states, batch, jnp.stack([KEY, other]))
    np.testing.assert_allclose(mean_of(states)[0], mean_of(whole), rtol=1e-4, atol=1e-6)
    assert not np.allclose(mean_of(states)[1], mean_of(whole), rtol=1e-2)


# A process of its own: four devices.
@pytest.mark.slow
def test_over_four_devices_the_statistic_is_that_of_the_global_batch(whole):
    printed = tiny.run_on_four_devices("""
import jax
from tests.training import collections_test as c
from vaetx_jax.runtime.mesh import data_mesh, put_batch
from vaetx_jax.training.state import init_state
from vaetx_jax.training.step import make_train_step
mesh = data_mesh()
state = init_state(c.MODEL, c.SETTINGS.optimizer, c.KEY, mesh, shard_state=True)
step = make_train_step(c.MODEL, c.SETTINGS, mesh, shard_state=True)
for batch in c.BATCHES:
    state, _ = step(state, put_batch(jax.device_get(batch), mesh), c.KEY)
print(c.mean_of(state).tolist())
""")
    got = np.array([float(x) for x in printed.strip().splitlines()[-1].strip("[]").split(",")])
    np.testing.assert_allclose(got, mean_of(whole), rtol=1e-3, atol=1e-5)
