import functools

import flax.linen as nn
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vaetx_jax.models.recurrent import RecurrentDecoder, RecurrentEncoder
from vaetx_jax.models.recurrent_cell import GATES, gru, lstm, shut_at_padding

CELLS = ["lstm", "gru"]
STEPS, HIDDEN, BATCH = 5, 4, 3


# Plain twins: the textbook formulas, differentiated by JAX.


def plain_lstm(x_GxTxB, bias_G, kernel, h, c, reverse):
    def step(state, x_GxB):
        h, c = state
        i, f, g, o = jnp.split(x_GxB + kernel @ h, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return over_time(step, (h, c), x_GxTxB + bias_G[:, None, None], reverse)


def plain_gru(x_GxTxB, bias_G, kernel, bias_H, h, reverse):
    def step(h, x_GxB):
        x_r, x_z, x_n = jnp.split(x_GxB, 3)
        h_r, h_z, h_n = jnp.split(kernel @ h, 3)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + r * (h_n + bias_H[:, None]))
        h = (1 - z) * n + z * h
        return h, h

    return over_time(step, h, x_GxTxB + bias_G[:, None, None], reverse)


def over_time(step, start, x_GxTxB, reverse):
    """h [H, T, B] by a scan along the time."""
    return lax.scan(step, start, x_GxTxB.swapaxes(0, 1), reverse=reverse)[1].swapaxes(0, 1)


OURS = {"lstm": lstm, "gru": gru}
PLAIN = {"lstm": plain_lstm, "gru": plain_gru}


def arguments(cell, dtype=np.float64):
    """Inputs and biases of the gates, recurrent kernel, an LSTM's h and c or a GRU's bias and h."""
    rng = np.random.default_rng(0)
    rows = GATES[cell] * HIDDEN
    third = (HIDDEN, BATCH) if cell == "lstm" else (HIDDEN,)
    shapes = [(rows, STEPS, BATCH), (rows,), (rows, HIDDEN), third, (HIDDEN, BATCH)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def weighted_sum(function, weight, reverse):
    return lambda *arrays: jnp.sum(function(*arrays, reverse) * weight)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_values_are_those_of_the_plain_scan_in_double_precision(cell, reverse):
    ours = OURS[cell](*arguments(cell, np.float32), reverse)
    with jax.enable_x64(True):
        plain = PLAIN[cell](*arguments(cell), reverse)
    np.testing.assert_allclose(ours, plain, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_all_inputs_are_those_of_the_plain_scan_in_double_precision(cell, reverse):
    weight = np.random.default_rng(1).normal(size=(HIDDEN, STEPS, BATCH))
    every = (0, 1, 2, 3, 4)
    ours = jax.grad(weighted_sum(OURS[cell], weight.astype(np.float32), reverse), every)
    gradients = ours(*arguments(cell, np.float32))
    with jax.enable_x64(True):
        plain = jax.grad(weighted_sum(PLAIN[cell], weight, reverse), every)(*arguments(cell))
    for gradient, expected in zip(gradients, plain, strict=True):
        assert gradient.dtype == jnp.float32
        np.testing.assert_allclose(gradient, expected, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_reverse_reads_the_sequence_backwards(cell):
    x, *others = arguments(cell, np.float32)
    flipped = jnp.flip(OURS[cell](jnp.flip(x, 1), *others), 1)
    np.testing.assert_allclose(OURS[cell](x, *others, True), flipped, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_no_scan_carries_the_kernel_gradient(cell):
    x, bias, kernel, *others = arguments(cell, np.float32)
    gradient = jax.grad(lambda k: jnp.sum(OURS[cell](x, bias, k, *others)))
    scans = [
        e for e in all_equations(jax.make_jaxpr(gradient)(kernel)) if str(e.primitive) == "scan"
    ]
    assert len(scans) == 2
    for scan in scans:
        for variable in scan.outvars:  # what it carries comes out in the end, among the rest
            assert variable.aval.shape != kernel.shape


def all_equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from all_equations(inner)


@pytest.mark.parametrize("cell", CELLS)
def test_a_zero_state_stays_exactly_zero_where_the_input_is_shut(cell):
    x, bias, kernel, *others = arguments(cell, np.float32)
    mask_TxB = np.arange(STEPS)[:, None] < np.array([5, 3, 0])[None]
    zeros = jnp.zeros((HIDDEN, BATCH))
    start = (zeros, zeros) if cell == "lstm" else (others[0], zeros)
    h = OURS[cell](shut_at_padding(x, mask_TxB, cell), bias, kernel, *start, True)
    np.testing.assert_array_equal(h.transpose(1, 2, 0)[~mask_TxB], 0)
    assert jnp.all(jnp.any(h.transpose(1, 2, 0)[mask_TxB] != 0, axis=-1))


# Modules


def encoder(cell, **fields):
    sizes = dict(vocab_size=11, embed_dim=6, hidden=HIDDEN, layers=2, dropout=0.1)
    return RecurrentEncoder(cell, **{**sizes, **fields})


def decoder(cell, **fields):
    sizes = dict(vocab_size=11, embed_dim=6, hidden=HIDDEN, layers=2, dropout=0.1, latent_dim=3)
    return RecurrentDecoder(cell, **{**sizes, **fields})


LENGTHS = np.array([5, 1, 3])
IDS = np.array([[1, 2, 3, 4, 5], [6, 0, 0, 0, 0], [7, 8, 9, 0, 0]], np.int32)
MASK = np.arange(5)[None] < LENGTHS[:, None]
Z = np.random.default_rng(2).normal(size=(3, 3)).astype(np.float32)


def init(module, *inputs):
    """Parameters of which none is zero, so that no bias can hide."""
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, deterministic=True))
    return jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)


@functools.partial(jax.jit, static_argnums=0)
def summary(model, params, ids, mask):
    return model.apply(params, ids, mask, deterministic=True)


@functools.partial(jax.jit, static_argnums=0)
def summary_gradient(model, params, ids, mask):
    def loss(params):
        summary = model.apply(params, ids, mask, deterministic=True)
        return jnp.sum(jnp.sin(summary)), summary

    return jax.grad(loss, has_aux=True)(params)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_summaries_and_gradients_of_padded_sentences_are_those_of_each_alone(cell):
    model = encoder(cell)
    params = init(model, IDS, MASK)
    gradient, padded = summary_gradient(model, params, IDS, MASK)
    total = jax.tree.map(np.zeros_like, params)
    for row, length in enumerate(LENGTHS):
        alone = slice(row, row + 1)
        one, expected = summary_gradient(model, params, IDS[alone, :length], MASK[alone, :length])
        np.testing.assert_allclose(padded[alone], expected, rtol=1e-5, atol=1e-6)
        total = jax.tree.map(np.add, total, one)
    for padded_leaf, leaf in zip(jax.tree.leaves(gradient), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(padded_leaf, leaf, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_pieces_at_padding_change_neither_the_summary_nor_get_a_gradient(cell):
    model = encoder(cell)
    params = init(model, IDS, MASK)
    other = np.where(MASK, IDS, 10).astype(np.int32)
    gradient, got = summary_gradient(model, params, other, MASK)
    _, expected = summary_gradient(model, params, IDS, MASK)
    np.testing.assert_array_equal(got, expected)
    table = np.asarray(gradient["params"]["embedding"]["embedding"])
    np.testing.assert_array_equal(table[10], 0)
    assert np.all(np.any(table[1:10] != 0, axis=-1))


@pytest.mark.parametrize("cell", CELLS)
def test_the_summary_holds_the_last_states_of_layers_and_directions_in_order(cell):
    model = encoder(cell)
    params = init(model, IDS, MASK)
    expected = jax.jit(functools.partial(plain_summary, cell))(params["params"], IDS[2, :3])
    got = summary(model, params, IDS, MASK)[2]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def plain_summary(cell, weights, ids_T):
    x_TxD, states = weights["embedding"]["embedding"][ids_T], []
    for layer in range(2):
        ahead = plain_layer(cell, weights[f"forward_{layer}"], x_TxD, False)
        back = plain_layer(cell, weights[f"backward_{layer}"], x_TxD, True)
        states += [ahead[-1], back[0]]
        x_TxD = jnp.concatenate([ahead, back], axis=1)
    return jnp.concatenate(states)


def plain_layer(cell, weights, x_TxD, reverse):
    x_GxTx1 = (weights["input_kernel"] @ x_TxD.T)[..., None]
    bias, kernel = weights["recurrent_bias"], weights["recurrent_kernel"]
    zeros = jnp.zeros((HIDDEN, 1))
    if cell == "lstm":
        both = weights["input_bias"] + bias
        return plain_lstm(x_GxTx1, both, kernel, zeros, zeros, reverse)[..., 0].T
    outer = weights["input_bias"] + bias.at[2 * HIDDEN :].set(0)
    inner = bias[2 * HIDDEN :]
    return plain_gru(x_GxTx1, outer, kernel, inner, zeros, reverse)[..., 0].T


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_without_a_token_has_the_summary_zero(cell):
    model = encoder(cell)
    params = init(model, IDS, MASK)
    nothing = summary(model, params, IDS, np.zeros_like(MASK))
    np.testing.assert_array_equal(nothing, 0)


@pytest.mark.parametrize("cell", CELLS)
def test_the_decoder_is_causal(cell):
    model = decoder(cell)
    params = init(model, IDS, Z)
    ids = np.arange(1, 6, dtype=np.int32)[None]

    @jax.jit
    @jax.grad
    def state_gradient(params, position):
        return jnp.sum(model.apply(params, ids, Z[:1], deterministic=True)[0, position])

    for position in range(5):
        gradient = state_gradient(params, position)["params"]["embedding"]["embedding"]
        seen = np.flatnonzero(np.any(np.asarray(gradient) != 0, axis=1))
        np.testing.assert_array_equal(seen, np.arange(1, position + 2))


@pytest.mark.parametrize("latent_dim", [0, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_decoding_step_by_step_equals_the_whole_pass(cell, latent_dim):
    model = decoder(cell, latent_dim=latent_dim)
    z = Z[:, :latent_dim]
    params = init(model, IDS, z)
    whole = jax.jit(lambda: model.apply(params, IDS, z, deterministic=True))()
    cache = model.apply(params, z, 5, method="start")
    step = jax.jit(
        lambda ids, position, cache: model.apply(params, ids, position, cache, method="step")
    )
    for position in range(5):
        h, cache = step(IDS[:, position], position, cache)
        np.testing.assert_allclose(h, whole[:, position], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_cache_has_the_batch_on_its_first_axis(cell):
    model = decoder(cell)
    params = init(model, IDS, Z)
    cache = jax.eval_shape(lambda: model.apply(params, Z, 9, method="start"))
    arrays = 2 if cell == "lstm" else 1
    assert [array.shape for array in jax.tree.leaves(cache)] == [(3, HIDDEN)] * 2 * arrays


@pytest.mark.parametrize("cell", CELLS)
def test_the_latent_is_the_start_state_of_every_layer(cell):
    model = decoder(cell)
    params = init(model, IDS, Z)
    project = params["params"]["project"]
    expected = np.split(Z @ project["kernel"] + project["bias"], 2, axis=1)
    for state, h in zip(model.apply(params, Z, 9, method="start"), expected, strict=True):
        np.testing.assert_allclose(state[0], h, rtol=1e-5, atol=1e-6)
        for c in state[1:]:
            np.testing.assert_array_equal(c, 0)


@pytest.mark.parametrize("cell", CELLS)
def test_a_language_model_starts_at_zero_and_projects_nothing(cell):
    model = decoder(cell, latent_dim=0)
    params = init(model, IDS, Z[:, :0])
    assert set(params["params"]) == {"embedding", "layer_0", "layer_1"}
    for array in jax.tree.leaves(model.apply(params, Z[:, :0], 9, method="start")):
        np.testing.assert_array_equal(array, 0)


@pytest.mark.parametrize("cell", CELLS)
def test_replicas_under_vmap_get_the_gradients_they_get_alone(cell):
    model = encoder(cell, layers=1)
    params = init(model, IDS, MASK)
    replicas = [params, jax.tree.map(lambda leaf: 1.1 * leaf, params)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *replicas)
    together = jax.jit(jax.vmap(lambda p: summary_gradient(model, p, IDS, MASK)))(stacked)
    for row, params in enumerate(replicas):
        alone = summary_gradient(model, params, IDS, MASK)
        for many, one in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(many[row], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_products_leave_parameters_states_and_outputs_in_float32(cell):
    exact, fast = encoder(cell, layers=1), encoder(cell, layers=1, dtype=jnp.bfloat16)
    params = init(fast, IDS, MASK)
    gradient, got = summary_gradient(fast, params, IDS, MASK)
    exact_gradient, expected = summary_gradient(exact, params, IDS, MASK)
    np.testing.assert_allclose(got, expected, atol=0.05)
    assert got.dtype == jnp.float32 and np.any(got != expected)
    for leaf, exact_leaf in zip(
        jax.tree.leaves(gradient), jax.tree.leaves(exact_gradient), strict=True
    ):
        assert leaf.dtype == jnp.float32
        np.testing.assert_allclose(leaf, exact_leaf, atol=0.05)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_acts_on_the_decoder_output_and_inside_the_encoder(cell):
    e, d = encoder(cell, layers=1, dropout=0.5), decoder(cell, layers=1, dropout=0.5)
    draws = {}
    for model, inputs in [(e, (IDS, MASK)), (d, (IDS, Z))]:
        params = init(model, *inputs)
        apply = jax.jit(functools.partial(model.apply, params, *inputs, deterministic=False))
        draws[model] = [apply(rngs={"dropout": jax.random.key(seed)}) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(*draws[model][:2])
        assert np.any(draws[model][0] != draws[model][2])
    assert 0.25 < np.mean(draws[d][0] == 0) < 0.75


@pytest.mark.parametrize("cell", CELLS)
def test_kernels_are_uniform_to_one_over_the_root_of_their_fan_in(cell):
    model = encoder(cell, embed_dim=100, hidden=64)
    params = jax.jit(functools.partial(model.init, deterministic=True))(
        jax.random.key(0), IDS, MASK
    )["params"]
    for layer, fan_in in [("forward_0", 100), ("backward_1", 128)]:
        for name, fan in [("input_kernel", fan_in), ("recurrent_kernel", 64)]:
            kernel = np.asarray(params[layer][name])
            assert 0.98 / np.sqrt(fan) < np.abs(kernel).max() <= 1 / np.sqrt(fan)
            np.testing.assert_allclose(kernel.std(), 1 / np.sqrt(3 * fan), rtol=0.05)
        np.testing.assert_array_equal(params[layer]["input_bias"], 0)
        np.testing.assert_array_equal(params[layer]["recurrent_bias"], 0)


# The published parameter counts


VOCABULARY, EMBED, LATENT = 30522, 128, 64


def parameters(module: nn.Module, *inputs) -> int:
    tree = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, deterministic=True))
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("cell", "hidden", "latent_dim", "published"),
    [
        ("lstm", 128, LATENT, 12_756_922),
        ("lstm", 1024, LATENT, 87_515_578),
        ("gru", 128, LATENT, 12_526_010),
        ("gru", 1024, LATENT, 75_575_738),
        ("lstm", 128, 0, 8_108_346),
        ("lstm", 1024, 0, 48_315_450),
        ("gru", 128, 0, 8_042_298),
        ("gru", 1024, 0, 45_034_554),
    ],
)
def test_parameter_counts_are_the_published_ones(cell, hidden, latent_dim, published):
    sizes = dict(vocab_size=VOCABULARY, embed_dim=EMBED, hidden=hidden)
    z = np.zeros((3, latent_dim), np.float32)
    count = parameters(RecurrentDecoder(cell, **sizes, latent_dim=latent_dim), IDS, z)
    count += hidden * VOCABULARY + VOCABULARY  # the output layer
    if latent_dim:
        count += parameters(RecurrentEncoder(cell, **sizes), IDS, MASK)
        count += 2 * (4 * hidden * latent_dim + latent_dim)  # mu and log-variance
    assert count == published
