"""The fused output loss against a float64 softmax in numpy: values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.losses.cross_entropy import token_nll, weighted_nll

D, V = 8, 37  # no multiples of anything


def problem(n, *, vocab_size=V, masked=0.4, seed=0):
    """h, kernel, bias, target, weight, mask as float32, int32 and bool arrays."""
    noise = np.random.default_rng(seed)
    return (
        noise.standard_normal((n, D)).astype(np.float32),
        noise.standard_normal((vocab_size, D)).astype(np.float32),
        noise.standard_normal(vocab_size).astype(np.float32),
        noise.integers(0, vocab_size, n).astype(np.int32),
        noise.uniform(0.1, 2.0, n).astype(np.float32),
        noise.random(n) >= masked,
    )


def oracle(h, kernel, bias, target, weight, mask):
    """(sum, nll, dh, dkernel, dbias) in float64."""
    h, kernel, bias, weight = (np.asarray(a, np.float64) for a in (h, kernel, bias, weight))
    target, mask = np.asarray(target), np.asarray(mask)
    logits = h @ kernel.T + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(len(h))
    nll = np.where(mask, -log_p[rows, target], 0.0)
    dlogits = np.exp(log_p)
    dlogits[rows, target] -= 1.0
    dlogits = dlogits * (weight * mask)[:, None]
    return np.sum(nll * weight), nll, dlogits @ kernel, dlogits.T @ h, dlogits.sum(axis=0)


@functools.partial(jax.jit, static_argnames="tile")
def computed(h, kernel, bias, target, weight, mask, *, tile):
    """The same five from the code under test."""
    loss = jax.value_and_grad(
        functools.partial(weighted_nll, tile=tile), argnums=(0, 1, 2), has_aux=True
    )
    (total, nll), gradients = loss(h, kernel, bias, target, weight, mask)
    return total, nll, *gradients


def assert_equal_to(got, expected, *, tolerance=1e-6):
    for name, a, b in zip(("sum", "nll", "dh", "dkernel", "dbias"), got, expected, strict=True):
        size = max(float(np.max(np.abs(b), initial=0.0)), 1e-30)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * size, err_msg=name)


@pytest.mark.parametrize("tile", [1, 8, 29, 64])
@pytest.mark.parametrize("masked", [0.0, 0.4, 0.95])
def test_loss_and_gradients_are_the_oracles_whatever_the_tile(tile, masked):
    arguments = problem(29, masked=masked)
    assert_equal_to(computed(*arguments, tile=tile), oracle(*arguments))


@pytest.mark.parametrize("vocab_size", [1, 50])
def test_loss_and_gradients_are_the_oracles_whatever_the_vocabulary(vocab_size):
    arguments = problem(13, vocab_size=vocab_size)
    assert_equal_to(computed(*arguments, tile=5), oracle(*arguments))


@pytest.mark.parametrize("tile", [1, 256])
def test_one_token_alone(tile):
    arguments = problem(1, masked=0.0)
    assert_equal_to(computed(*arguments, tile=tile), oracle(*arguments))


def test_default_tile_with_more_tokens_than_it_holds():
    arguments = problem(700)
    total, nll = weighted_nll(*arguments)  # and not under jit
    expected_total, expected_nll, *_ = oracle(*arguments)
    np.testing.assert_allclose(nll, expected_nll, rtol=1e-6, atol=2e-6)
    assert float(total) == pytest.approx(expected_total, rel=1e-6)


def test_where_all_is_masked_loss_and_gradients_are_zero():
    *arguments, mask = problem(29)
    for got in computed(*arguments, np.zeros_like(mask), tile=8):
        np.testing.assert_array_equal(got, np.zeros_like(got))


def test_tokens_of_weight_zero_have_an_nll_but_no_share_in_the_loss():
    h, kernel, bias, target, weight, _ = problem(29)
    weight[[0, 4, 8]] = 0.0
    arguments = (h, kernel, bias, target, weight, np.ones(29, bool))
    got = computed(*arguments, tile=8)
    assert_equal_to(got, oracle(*arguments))
    assert np.all(np.asarray(got[1])[[0, 4, 8]] > 0)
    np.testing.assert_array_equal(np.asarray(got[2])[[0, 4, 8]], 0.0)


def test_what_stands_at_masked_positions_does_not_matter():
    h, kernel, bias, target, weight, mask = problem(29)
    other = np.where(mask[:, None], h, 50.0), np.where(mask, target, 0), np.where(mask, weight, 9)
    got = computed(other[0], kernel, bias, other[1], other[2].astype(np.float32), mask, tile=8)
    expected = computed(h, kernel, bias, target, weight, mask, tile=8)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_large_logits_neither_overflow_nor_lose_the_loss():
    h, kernel, bias, target, weight, mask = problem(29)
    arguments = (100.0 * h, kernel, bias, target, weight, mask)
    assert_equal_to(computed(*arguments, tile=8), oracle(*arguments), tolerance=1e-4)


def test_forward_alone_gives_the_same_as_with_gradients():
    arguments = problem(29)
    h, kernel, bias, target, _, mask = arguments
    alone = jax.jit(functools.partial(token_nll, tile=8))(h, kernel, bias, target, mask)
    total, nll = jax.jit(functools.partial(weighted_nll, tile=8))(*arguments)
    with_gradients = computed(*arguments, tile=8)
    np.testing.assert_array_equal(alone, nll)
    np.testing.assert_allclose(with_gradients[1], nll, rtol=1e-6, atol=1e-6)
    assert float(with_gradients[0]) == pytest.approx(float(total), rel=1e-6)


def test_under_vmap_each_problem_gets_its_own_tiles():
    several = [problem(19, masked=share, seed=i) for i, share in enumerate((0.0, 0.5, 1.0))]
    stacked = [jnp.stack(parts) for parts in zip(*several, strict=True)]
    got = jax.vmap(functools.partial(computed, tile=8))(*stacked)
    for i, arguments in enumerate(several):
        assert_equal_to([part[i] for part in got], oracle(*arguments))


def test_a_scaled_loss_has_scaled_gradients():
    h, kernel, bias, target, weight, mask = map(jnp.asarray, problem(29))

    @functools.partial(jax.grad, argnums=(0, 1, 2))
    def scaled(h, kernel, bias):
        return 2.5 * weighted_nll(h, kernel, bias, target, weight, mask, tile=8)[0]

    got = jax.jit(scaled)(h, kernel, bias)
    expected = oracle(h, kernel, bias, target, weight, mask)[2:]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, 2.5 * b, rtol=1e-5, atol=1e-5)


def test_no_gradient_flows_through_the_nll():
    h, kernel, bias, target, weight, mask = map(jnp.asarray, problem(29))

    @functools.partial(jax.grad, argnums=(0, 1, 2))
    def of_nll(h, kernel, bias):
        return jnp.sum(weighted_nll(h, kernel, bias, target, weight, mask, tile=8)[1])

    for gradient in jax.jit(of_nll)(h, kernel, bias):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_half_precision_operands_keep_a_float32_loss_and_gradients_of_their_own_kind():
    h, kernel, bias, target, weight, mask = problem(29)
    half = jnp.asarray(h, jnp.bfloat16)
    total, nll, dh, dkernel, dbias = computed(half, kernel, bias, target, weight, mask, tile=8)
    assert (total.dtype, nll.dtype, dh.dtype) == (jnp.float32, jnp.float32, jnp.bfloat16)
    assert (dkernel.dtype, dbias.dtype) == (jnp.float32, jnp.float32)
    rounded = (
        np.asarray(half, np.float32),
        np.asarray(jnp.asarray(kernel, jnp.bfloat16), np.float32),
    )
    expected = oracle(*rounded, bias, target, weight, mask)
    np.testing.assert_allclose(nll, expected[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dkernel, expected[3], rtol=0.02, atol=0.02)


# A process of its own: four devices.
@pytest.mark.slow
def test_over_four_devices_the_loss_and_its_gradients_are_those_of_one():
    tiny.run_on_four_devices("""
import jax, jax.numpy as jnp, numpy as np
from vaetx_jax.runtime.mesh import data_mesh, replicated, split_over_data
from vaetx_jax.models.output_layer import OutputWeights
from vaetx_jax.losses.elbo import reconstruction_loss

noise = np.random.default_rng(0)
B, T, D, V = 8, 6, 8, 37
h = noise.standard_normal((B, T, D)).astype(np.float32)
output = OutputWeights(*(noise.standard_normal(s).astype(np.float32) for s in ((V, D), (V,))))
target = noise.integers(0, V, (B, T)).astype(np.int32)
# Uneven shares of padding, one device with none but padding.
mask = np.arange(T)[None] < np.array([6, 6, 5, 1, 0, 0, 3, 2])[:, None]
share = noise.uniform(0.1, 1.0, B).astype(np.float32)


def loss(mesh):
    def both(h, output, target, share, mask):
        return reconstruction_loss(h, output, target, share, mask, mesh)

    split, whole = split_over_data(mesh), replicated(mesh)
    compiled = jax.jit(
        jax.value_and_grad(both, argnums=(0, 1), has_aux=True),
        in_shardings=(split, whole, split, split, split),
    )
    return compiled(h, output, target, share, mask)


one, four = (loss(data_mesh(jax.devices()[:n])) for n in (1, 4))
assert len(four[1][0].sharding.device_set) == 4
for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(a).max())

logits = np.float64(h) @ output.kernel_VxD.T + output.bias_V
log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
nll = -np.take_along_axis(log_p, target[..., None], 2)[..., 0] * mask
np.testing.assert_allclose(four[0][0], np.sum(nll.sum(1) * share), rtol=1e-6)
""")
