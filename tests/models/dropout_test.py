"""The counter hash of dropout: its share, its independence, and that no layout enters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaetx_jax.models.dropout import Dropout, keep_mask

KEY = jax.random.key(3)


def masks(rate, shape, count):
    return np.asarray([keep_mask(key, rate, shape) for key in jax.random.split(KEY, count)])


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_the_share_kept_is_one_less_the_rate(rate):
    kept = masks(rate, (100, 1000), 5).mean()
    assert abs(kept - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / 500_000)


def test_nothing_dropped_at_rate_zero_and_all_but_nothing_kept_near_one():
    assert np.asarray(keep_mask(KEY, 0.0, (1000,))).all()
    assert not np.asarray(keep_mask(KEY, 1 - 1e-9, (1000,))).any()


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (1, 1), (0, 128), (7, 3)])
def test_neighbours_in_a_mask_are_independent(shift):
    mask = np.asarray(keep_mask(KEY, 0.5, (512, 512))) - 0.5
    moved = np.roll(mask, shift, axis=(0, 1))
    assert abs(4 * np.mean(mask * moved)) < 4 / 512


def test_masks_of_different_keys_are_independent():
    first, second, third = masks(0.5, (512, 512), 3) - 0.5
    for one, other in ((first, second), (first, third), (second, third)):
        assert abs(4 * np.mean(one * other)) < 4 / 512


@pytest.mark.slow
def test_each_position_is_kept_as_often_over_many_keys():
    count, rate = 2000, 0.3
    kept_64 = masks(rate, (64,), count).sum(axis=0)
    z_64 = (kept_64 - count * (1 - rate)) / np.sqrt(count * rate * (1 - rate))
    assert np.abs(z_64).max() < 4.5
    assert 30 < np.square(z_64).sum() < 110  # chi-square of 64: 64 +- 11


def test_a_mask_is_the_same_compiled_and_for_the_same_key_again():
    compiled = jax.jit(keep_mask, static_argnums=(1, 2))
    plain = keep_mask(KEY, 0.2, (7, 5, 3))
    np.testing.assert_array_equal(compiled(KEY, 0.2, (7, 5, 3)), plain)
    np.testing.assert_array_equal(keep_mask(KEY, 0.2, (7, 5, 3)), plain)


def test_a_mask_under_vmap_is_each_keys_own():
    keys = jax.random.split(KEY, 4)
    together = jax.vmap(lambda key: keep_mask(key, 0.2, (9, 11)))(keys)
    for key, mask in zip(keys, together, strict=True):
        np.testing.assert_array_equal(mask, keep_mask(key, 0.2, (9, 11)))


@pytest.mark.parametrize("spec", [PartitionSpec("data"), PartitionSpec(None, "data")])
def test_a_mask_is_the_same_however_it_is_sharded(spec):
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    sharded = jax.jit(keep_mask, static_argnums=(1, 2), out_shardings=NamedSharding(mesh, spec))(
        KEY, 0.2, (16, 8)
    )
    np.testing.assert_array_equal(sharded, keep_mask(KEY, 0.2, (16, 8)))


def test_values_kept_are_scaled_so_that_the_mean_stays():
    x = jnp.full((400, 500), 2.0)
    out = np.asarray(Dropout(0.25).apply({}, x, deterministic=False, rngs={"dropout": KEY}))
    np.testing.assert_allclose(np.unique(out), [0.0, 2.0 / 0.75], rtol=1e-6)
    assert abs(out.mean() - 2.0) < 0.02


def test_the_gradient_flows_through_what_was_kept_alone():
    def total(x):
        dropped = Dropout(0.25).apply({}, x, deterministic=False, rngs={"dropout": KEY})
        return jnp.sum(dropped)

    gradient = np.asarray(jax.grad(total)(jnp.ones((30, 40))))
    mask = np.asarray(
        Dropout(0.25).apply({}, jnp.ones((30, 40)), deterministic=False, rngs={"dropout": KEY})
    )
    np.testing.assert_array_equal(gradient, mask)


def test_without_training_nothing_is_dropped():
    x = jnp.arange(6.0)
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, deterministic=True), x)


def test_it_keeps_the_dtype():
    x = jnp.ones((4, 4), jnp.bfloat16)
    out = Dropout(0.5).apply({}, x, deterministic=False, rngs={"dropout": KEY})
    assert out.dtype == jnp.bfloat16
