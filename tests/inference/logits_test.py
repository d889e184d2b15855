"""The fast choices of a token against the plain ones of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaetx_jax.inference.logits import draw_tokens, most_probable


def test_the_most_probable_token_is_the_argmax_and_the_first_of_equals():
    logits_BxV = np.random.default_rng(0).integers(0, 5, (200, 30)).astype(np.float32)
    logits_BxV[:, 3] = -np.inf
    np.testing.assert_array_equal(most_probable(jnp.asarray(logits_BxV)), logits_BxV.argmax(axis=1))


def test_logits_that_are_no_numbers_give_a_token_of_the_vocabulary():
    assert 0 <= int(most_probable(jnp.full((1, 5), jnp.nan))[0]) < 5


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 8, 19])
def test_a_drawn_token_is_that_of_a_categorical_draw(rows):
    noise = np.random.default_rng(1).standard_normal((rows, 50))
    logits_BxV, keys_B = (
        jnp.asarray(2 * noise, jnp.float32),
        jax.random.split(jax.random.key(3), rows),
    )
    expected_B = jax.vmap(jax.random.categorical)(keys_B, logits_BxV)
    np.testing.assert_array_equal(draw_tokens(keys_B, logits_BxV), expected_B)
