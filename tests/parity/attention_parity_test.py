"""Attention layers against PyTorch's scaled dot product at the same weights: values, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaetx_jax.models.attention import LatentAttention, PoolingAttention, SelfAttention

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-parity`")

BATCH, LENGTH, DIM, HEADS, LATENT = 3, 7, 12, 3, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCH, LENGTH, DIM)).astype(np.float32)
Z = RNG.normal(size=(BATCH, LATENT)).astype(np.float32)
CAUSAL = np.broadcast_to(np.tril(np.ones((LENGTH, LENGTH), bool)), (BATCH, LENGTH, LENGTH))
PADDED = np.arange(LENGTH)[None] < np.array([7, 2, 5])[:, None]


def weights_of(module, *inputs):
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)


@functools.partial(jax.jit, static_argnums=0)
def ours(module, params, *inputs):
    def loss(params, x):
        output = module.apply({"params": params}, x, *inputs[1:])
        return jnp.sum(jnp.sin(output)), output

    value_and_grad = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, output), gradients = value_and_grad(params, inputs[0])
    return output, gradients


class Theirs:
    """The same weights as tensors, and PyTorch's own attention over them."""

    def __init__(self, params, x):
        self.params = jax.tree.map(lambda leaf: torch.tensor(leaf, requires_grad=True), params)
        self.x = torch.tensor(x, requires_grad=True)

    def linear(self, name, x):
        layer = self.params[name]
        return torch.nn.functional.linear(x, layer["kernel"].T, layer["bias"])

    def attend(self, q, k, v, mask):
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
        mask = None if mask is None else torch.tensor(mask)[:, None]
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(-2)

    def check(self, output, results):
        value, gradients = results
        np.testing.assert_allclose(value, output.detach().numpy(), rtol=1e-5, atol=2e-6)
        torch.sin(output).sum().backward()
        theirs = (jax.tree.map(lambda leaf: leaf.grad.numpy(), self.params), self.x.grad.numpy())
        assert jax.tree.structure(theirs) == jax.tree.structure(gradients)
        for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("projection", [False, True], ids=["paper", "with-output"])
@pytest.mark.parametrize(
    "mask", [CAUSAL, np.broadcast_to(PADDED[:, None], CAUSAL.shape)], ids=["causal", "padded"]
)
def test_self_attention(mask, projection):
    module = SelfAttention(DIM, HEADS, projection)
    params = weights_of(module, X, mask)
    theirs = Theirs(params, X)
    parts = (theirs.linear(name, theirs.x) for name in ("query", "key", "value"))
    output = theirs.attend(*parts, mask)
    if projection:
        output = theirs.linear("output", output)
    theirs.check(output, ours(module, params, X, mask))


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_latent_attention(slots):
    """Slot 0 from the projected latent (here X's first place), the others straight from z."""
    module = LatentAttention(DIM, HEADS, LATENT, slots, output_projection=False)
    projected = RNG.normal(size=(BATCH, DIM)).astype(np.float32)

    class Whole(type(module)):
        def __call__(self, x, z, projected):
            return super().__call__(x, self.memory(z, projected))

    whole = Whole(DIM, HEADS, LATENT, slots, output_projection=False)
    params = weights_of(whole, X, Z, projected)
    theirs = Theirs(params, X)
    z, first = torch.tensor(Z), torch.tensor(projected)[:, None]
    keys, values = theirs.linear("key", first), theirs.linear("value", first)
    if slots > 1:
        more = (BATCH, slots - 1, DIM)
        keys = torch.cat([keys, (z @ theirs.params["slot_key"]).reshape(more)], dim=1)
        values = torch.cat([values, (z @ theirs.params["slot_value"]).reshape(more)], dim=1)
    output = theirs.attend(theirs.linear("query", theirs.x), keys, values, None)
    results = ours(whole, params, X, Z, projected)
    theirs.check(output, results)


def test_pooling_attention():
    module = PoolingAttention(DIM, HEADS)
    params = weights_of(module, X, PADDED)
    theirs = Theirs(params, X)
    query = theirs.params["query"].expand(BATCH, 1, DIM)
    keys, values = theirs.linear("key", theirs.x), theirs.linear("value", theirs.x)
    output = theirs.attend(query, keys, values, PADDED[:, None])[:, 0]
    theirs.check(output, ours(module, params, X, PADDED))
