"""Recurrent stacks against PyTorch's nn.LSTM and nn.GRU at the same weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaetx_jax.models.recurrent import RecurrentDecoder, RecurrentEncoder

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-parity`")

CELLS = ["lstm", "gru"]
VOCABULARY, EMBED, HIDDEN, LATENT = 50, 24, 32, 6
LENGTHS = np.array([12, 1, 7, 12, 3])
MASK = np.arange(12)[None] < LENGTHS[:, None]
IDS = np.where(MASK, np.random.default_rng(0).integers(1, VOCABULARY, MASK.shape), 0)
IDS = IDS.astype(np.int32)
Z = np.random.default_rng(1).normal(size=(len(LENGTHS), LATENT)).astype(np.float32)
NAMES = {
    "weight_ih": "input_kernel",
    "weight_hh": "recurrent_kernel",
    "bias_ih": "input_bias",
    "bias_hh": "recurrent_bias",
}


def random_params(module, *inputs):
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, deterministic=True))
    return jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)


def torch_stack(cell, weights, layers, *, bidirectional):
    """PyTorch's module with our weights, and a function: its gradients, named as ours are."""
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    stack = kind(EMBED, HIDDEN, layers, bidirectional=bidirectional, batch_first=True)
    directions = [("forward", ""), ("backward", "_reverse")] if bidirectional else [("layer", "")]
    places = {
        f"{theirs}_l{layer}{suffix}": (f"{name}_{layer}", ours)
        for layer in range(layers)
        for name, suffix in directions
        for theirs, ours in NAMES.items()
    }
    for theirs, (layer, ours) in places.items():
        getattr(stack, theirs).data = torch.tensor(weights[layer][ours])

    def gradients():
        tree = {}
        for theirs, (layer, ours) in places.items():
            tree.setdefault(layer, {})[ours] = getattr(stack, theirs).grad.numpy()
        return tree

    return stack, gradients


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(model, params, *inputs):
    def loss(params):
        output = model.apply(params, *inputs, deterministic=True)
        return jnp.sum(jnp.sin(output)), output

    (_, output), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    return output, gradients["params"]


@pytest.mark.parametrize("cell", CELLS)
def test_the_encoder_is_a_packed_bidirectional_stack(cell):
    model = RecurrentEncoder(cell, VOCABULARY, EMBED, HIDDEN)
    params = random_params(model, IDS, MASK)
    weights = params["params"]
    stack, gradients = torch_stack(cell, weights, 2, bidirectional=True)
    table = torch.tensor(weights["embedding"]["embedding"], requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        table[torch.tensor(IDS).long()],
        torch.tensor(LENGTHS),
        batch_first=True,
        enforce_sorted=False,
    )
    _, last = stack(packed)
    last = last[0] if cell == "lstm" else last
    summary = last.permute(1, 0, 2).flatten(1)
    torch.sin(summary).sum().backward()
    expected = {**gradients(), "embedding": {"embedding": table.grad.numpy()}}
    output, ours = value_and_gradients(model, params, IDS, MASK)
    assert_same(output, summary.detach().numpy())
    assert_same(ours, expected)


@pytest.mark.parametrize("latent_dim", [0, LATENT])
@pytest.mark.parametrize("cell", CELLS)
def test_the_decoder_is_a_stack_that_starts_at_the_projected_latent(cell, latent_dim):
    z = Z[:, :latent_dim]
    model = RecurrentDecoder(cell, VOCABULARY, EMBED, HIDDEN, latent_dim=latent_dim)
    params = random_params(model, IDS, z)
    weights = params["params"]
    stack, gradients = torch_stack(cell, weights, 2, bidirectional=False)
    table = torch.tensor(weights["embedding"]["embedding"], requires_grad=True)
    start = torch.zeros(2, len(LENGTHS), HIDDEN)
    if latent_dim:
        kernel = torch.tensor(weights["project"]["kernel"], requires_grad=True)
        bias = torch.tensor(weights["project"]["bias"], requires_grad=True)
        start = (torch.tensor(z) @ kernel + bias).unflatten(1, (2, HIDDEN)).permute(1, 0, 2)
    start = start.contiguous()
    h, _ = stack(
        table[torch.tensor(IDS).long()],
        (start, torch.zeros_like(start)) if cell == "lstm" else start,
    )
    torch.sin(h).sum().backward()
    expected = {**gradients(), "embedding": {"embedding": table.grad.numpy()}}
    if latent_dim:
        expected["project"] = {"kernel": kernel.grad.numpy(), "bias": bias.grad.numpy()}
    output, ours = value_and_gradients(model, params, IDS, z)
    assert_same(output, h.detach().numpy())
    assert_same(ours, expected)
