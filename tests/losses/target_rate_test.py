"""The hinge and the Lagrangian of a target rate, by hand."""

import math

import jax
import jax.numpy as jnp
import pytest

from vaetx_jax.losses.target_rate import STEP_SIZE, hinge, penalty, updated_multiplier


@pytest.mark.parametrize(("kl", "value", "slope"), [(3.0, 4.0, 0.0), (6.0, 6.0, 1.0)])
def test_below_the_target_the_hinge_is_the_target_and_has_no_gradient(kl, value, slope):
    got, gradient = jax.value_and_grad(hinge)(jnp.float32(kl), 4.0)
    assert (float(got), float(gradient)) == (value, slope)


def test_the_penalty_is_the_multiplier_times_the_missing_nats():
    got, (of_kl, of_multiplier) = jax.value_and_grad(
        lambda kl, multiplier: penalty(kl, 4.0, multiplier), argnums=(0, 1)
    )(jnp.float32(3.0), jnp.float32(0.5))
    assert float(got) == 0.5
    assert float(of_kl) == -0.5
    assert float(of_multiplier) == 0.0


def test_the_multiplier_moves_by_the_relative_error_of_the_rate_and_stays_above_zero():
    def after(multiplier, kl):
        return float(updated_multiplier(jnp.float32(multiplier), jnp.float32(kl), 4.0))

    assert after(0.3, 3.0) == pytest.approx(0.3 + STEP_SIZE / 4)
    assert after(0.3, 4.0) == pytest.approx(0.3)
    assert after(0.3, 6.0) == pytest.approx(0.3 - STEP_SIZE / 2)
    assert after(0.0, 6.0) == 0.0


def test_the_multiplier_settles_where_a_rate_at_the_target_is_optimal():
    """minimise exp(-kl) + kl for kl >= 1: there the multiplier is 1 - exp(-1)."""

    def step(state, _):
        kl, multiplier = state
        slope = jax.grad(lambda kl: jnp.exp(-kl) + kl + penalty(kl, 1.0, multiplier))(kl)
        return (kl - 0.1 * slope, updated_multiplier(multiplier, kl, 1.0)), None

    (kl, multiplier), _ = jax.lax.scan(step, (jnp.float32(0.0), jnp.float32(0.0)), length=3000)
    assert float(kl) == pytest.approx(1.0, abs=1e-3)
    assert float(multiplier) == pytest.approx(1 - math.exp(-1.0), abs=1e-3)
