"""The VAE-Transformer: published sizes, a numpy forward pass, causality, padding, the cache."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.helpers import tiny
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.models import text_vae
from vaetx_jax.models.build import build_model
from vaetx_jax.models.dropout import Dropout
from vaetx_jax.models.transformer import (
    Embedding,
    LayerShape,
    TransformerDecoder,
    TransformerEncoder,
)
from vaetx_jax.training.state import count_parameters

HEADS = 2
S = 11  # pieces of a row; the longest sentence fills it
MODEL = tiny.vae()
IDS = tiny.rows_of(tiny.sentences(9, longest=S - 2), S)


SHAPE = LayerShape(dim=tiny.DIM, heads=HEADS, ff_dim=12, dropout=0.0)
MODERN = LayerShape(
    dim=tiny.DIM,
    heads=HEADS,
    ff_dim=12,
    dropout=0.0,
    pre_norm=True,
    learned_norm=True,
    output_projection=True,
    latent_slots=3,
    exact_gelu=False,
)


def variant(shape, *, pooling, **decoder):
    """A VAE of one layer with other choices than the paper's."""
    sizes = (tiny.VOCABULARY, 32, 1, shape)
    return MODEL.clone(
        encoder=TransformerEncoder(*sizes, pooling=pooling),
        decoder=TransformerDecoder(*sizes, tiny.LATENT, **decoder),
    )


VARIANTS = {
    "paper": MODEL,
    "mean, added": variant(SHAPE, pooling="mean", latent_attention=False, latent_input=True),
    "pre-norm": variant(MODERN, pooling="attention", latent_input=True, word_dropout=0.3),
}


@pytest.fixture(scope="module", params=VARIANTS)
def any_model(request):
    """Every way to build one, with parameters."""
    return VARIANTS[request.param], tiny.params_of(VARIANTS[request.param])


@pytest.fixture(scope="module")
def params():
    return tiny.params_of(MODEL)


@functools.partial(jax.jit, static_argnames=("model", "method"))
def apply(params, *arguments, model=MODEL, method):
    return model.apply({"params": params}, *arguments, method=method)


def latents(rows, seed=0):
    noise = np.random.default_rng(seed).standard_normal((rows, tiny.LATENT))
    return jnp.asarray(noise, jnp.float32)


# Sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "published"), [(128, 12_763_706), (1024, 118_395_834)])
def test_the_paper_preset_has_the_published_number_of_parameters(dim, published):
    config = default_config("vae_transformer")
    config.model.dim = dim
    model = build_model(model_settings(config), vocab_size=30_522, pad_id=0)
    assert count_parameters(model) == published


def test_counting_without_allocating_counts_what_there_is(params):
    assert count_parameters(MODEL) == sum(x.size for x in jax.tree.leaves(params))


def test_sizes_grow_as_the_facts_of_the_model_say():
    def count(**changes):
        base = {"dim": 16, "latent_dim": 4, "layers": 2, "ff_dim": 32}
        return count_parameters(tiny.vae(**(base | changes)))

    d, z = 16, 4
    attention, feed_forward = 3 * (d * d + d), d * 32 + 32 + 32 * d + d
    one_more_layer = 2 * (attention + feed_forward) + attention + 2 * z * d
    assert count(layers=3) - count() == one_more_layer
    # mu and log-variance d -> z with bias, z -> d, and two slots without bias in each layer.
    assert count(latent_dim=z + 1) - count() == 2 * (d + 1) + d + 2 * (2 * d)


# The forward pass in numpy ----------------------------------------------------------------------


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def normalised(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def attention(queries_TxD, keys_SxD, values_SxD, sees_TxS):
    width = queries_TxD.shape[1] // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        scores = queries_TxD[:, part] @ keys_SxD[:, part].T / math.sqrt(width)
        scores = np.where(sees_TxS, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        heads.append(weights / weights.sum(axis=1, keepdims=True) @ values_SxD[:, part])
    return np.concatenate(heads, axis=1)


def layer(x, p, sees, z=None, projected=None):
    """Self-attention, feed-forward, latent-decoder attention: residual, then norm, each."""
    a = p["attention"]
    mixed = attention(linear(x, a["query"]), linear(x, a["key"]), linear(x, a["value"]), sees)
    x = normalised(x + mixed)
    inner = linear(x, p["feed_forward"]["inner"])
    inner = inner * 0.5 * (1.0 + special.erf(inner / math.sqrt(2.0)))
    x = normalised(x + linear(inner, p["feed_forward"]["outer"]))
    if z is None:
        return x
    a = p["latent_attention"]
    keys = np.stack([linear(projected, a["key"]), z @ a["slot_key"]])
    values = np.stack([linear(projected, a["value"]), z @ a["slot_value"]])
    return normalised(x + attention(linear(x, a["query"]), keys, values, True))


def embedded(ids, p):
    positions = p["position"]["embedding"][: len(ids)]
    return p["token"]["embedding"][ids] + positions


def oracle_encode(params, sentence):
    """mu, logvar from [CLS] x1 .. xn of one sentence, without padding."""
    x = embedded([tiny.CLS, *sentence], params["encoder"]["embedding"])
    for i in range(2):
        x = layer(x, params["encoder"][f"layer_{i}"], True)
    return linear(x[0], params["mu"]), linear(x[0], params["logvar"])


def oracle_logits(params, sentence, z):
    """[n + 1, V]: logits of x1 .. xn [SEP] from [CLS] x1 .. xn."""
    p = params["decoder"]
    x = embedded([tiny.CLS, *sentence], p["embedding"])
    causal = np.tril(np.ones((len(x), len(x)), bool))
    for i in range(2):
        x = layer(x, p[f"layer_{i}"], causal, z, linear(z, p["project"]))
    output = params["output_layer"]
    return x @ output["kernel"].T + output["bias"]


@pytest.fixture(scope="module")
def exact(params):
    """The parameters in float64, and the rows' pieces."""
    pieces = tiny.sentences(9, longest=S - 2)
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params), pieces


def test_the_posterior_is_that_of_a_numpy_encoder(params, exact):
    mu, logvar = apply(params, IDS, method="encode")
    expected = [oracle_encode(exact[0], sentence) for sentence in exact[1]]
    np.testing.assert_allclose(mu, [m for m, _ in expected], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logvar, [v for _, v in expected], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [SHAPE, MODERN])
def test_cls_alone_of_the_last_layer_is_as_in_a_pass_over_all_positions(shape):
    model = variant(shape, pooling="cls")
    encode = functools.partial(model.apply, {"params": tiny.params_of(model)}, method="encode")
    alone, among_all = (jax.jit(functools.partial(encode, deterministic=d))(IDS) for d in (1, 0))
    np.testing.assert_allclose(alone, among_all, atol=1e-6)


def test_the_logits_are_those_of_a_numpy_decoder(params, exact):
    z_BxZ = latents(len(IDS))
    h_BxTxD = apply(params, IDS, z_BxZ, method="decode")
    kernel, bias = apply(params, method="output")
    for h_TxD, z, sentence in zip(h_BxTxD, np.float64(z_BxZ), exact[1], strict=True):
        expected = oracle_logits(exact[0], sentence, z)
        got = np.asarray(h_TxD[: len(expected)] @ kernel.T + bias[None])
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


# What may see what ------------------------------------------------------------------------------


def different_pieces(length, padded_to):
    return tiny.rows_of([list(range(tiny.SEP + 1, tiny.SEP + 1 + length))], padded_to)


def test_a_state_of_the_decoder_depends_on_the_pieces_before_it_and_on_no_later_one(params):
    """Causality by gradients: of each state with respect to each piece's own embedding."""
    ids = different_pieces(5, 7)  # all different, so that each has an embedding of its own
    direction = jnp.asarray(np.random.default_rng(0).standard_normal(tiny.DIM), jnp.float32)

    def states(table):  # a plain sum of normalised values would always be 0
        changed = jax.tree.map(lambda x: x, params)
        changed["decoder"]["embedding"]["token"]["embedding"] = table
        return MODEL.apply({"params": changed}, ids, latents(1), method="decode")[0] @ direction

    table = params["decoder"]["embedding"]["token"]["embedding"]
    by_TxVxD = np.asarray(jax.jit(jax.jacrev(states))(table))
    seen_TxS = np.abs(by_TxVxD).max(axis=-1)[:, ids[0]] > 0
    np.testing.assert_array_equal(seen_TxS, np.tril(np.ones((6, 7), bool)))


def test_every_state_of_the_decoder_depends_on_the_latent(params):
    ids = different_pieces(5, 7)

    def states(z):
        return MODEL.apply({"params": params}, ids, z, method="decode")[0]

    by_TxDxZ = jax.jit(jax.jacrev(states))(latents(1))[:, :, 0]
    assert np.all(np.abs(by_TxDxZ).max(axis=1) > 1e-4)


def test_the_query_chooses_between_the_slots_of_the_latent(params):
    """With one slot the latent-decoder attention would say the same at every position."""
    decoder = MODEL.bind({"params": params}).decoder
    first = decoder.layer[0]
    memory = first.memory(latents(1), decoder.project(latents(1)))
    x_1xTxD = jnp.asarray(np.random.default_rng(1).standard_normal((1, 3, 8)), jnp.float32)
    said_TxD = np.asarray(first.latent_attention(x_1xTxD, memory))[0]
    assert memory[0].shape == (1, 2, tiny.DIM)
    assert np.abs(said_TxD[0] - said_TxD[1]).max() > 1e-3


def test_the_encoder_sees_cls_and_the_pieces_but_neither_sep_nor_pad(any_model):
    model, params = any_model
    base = np.repeat(different_pieces(7, S), 9, axis=0)
    changed = base.copy()
    changed[range(9), range(9)] = tiny.VOCABULARY - 1  # row s has another piece at position s
    posteriors = [apply(params, ids, model=model, method="encode") for ids in (base, changed)]
    before, after = (np.concatenate(posterior, axis=1) for posterior in posteriors)
    seen = np.abs(before - after).max(axis=1) > 1e-4
    assert seen.tolist() == [True] * 8 + [False]  # [CLS], seven pieces; [SEP]; [PAD] see below


def test_more_padding_changes_no_posterior_and_no_state(any_model):
    model, params = any_model
    run = functools.partial(apply, params, model=model)
    pieces = [[], *tiny.sentences(8, longest=6)]
    z_BxZ = latents(9)
    short, long = tiny.rows_of(pieces, 8), tiny.rows_of(pieces, S)
    of_short, of_long = run(short, method="encode"), run(long, method="encode")
    assert np.all(np.isfinite(of_short))
    np.testing.assert_allclose(of_short, of_long, rtol=1e-5, atol=1e-5)
    h_short = run(short, z_BxZ, method="decode")
    h_long = run(long, z_BxZ, method="decode")
    real = short[:, 1:] != tiny.PAD
    np.testing.assert_allclose(h_short[real], h_long[:, :7][real], rtol=1e-5, atol=1e-5)


# The cache --------------------------------------------------------------------------------------


def assert_cache_gives_full_decoding(model, params, z_BxZ, ids):
    """Logits of step after step equal those of the whole row at once."""
    h_BxTxD = apply(params, ids, z_BxZ, model=model, method="decode")
    kernel, bias = apply(params, model=model, method="output")
    whole_BxTxV = h_BxTxD @ kernel.T + bias[None, None]
    tolerance = 1e-5 * float(jnp.max(jnp.abs(whole_BxTxV)))
    # Room for more positions than are used must not matter.
    cache = model.apply({"params": params}, z_BxZ, ids.shape[1] + 3, method="start")
    for t in range(ids.shape[1] - 1):
        step = (ids[:, t], jnp.int32(t), cache)
        logits_BxV, cache = apply(params, *step, model=model, method="step")
        np.testing.assert_allclose(logits_BxV, whole_BxTxV[:, t], rtol=1e-5, atol=tolerance)


def test_decoding_with_the_cache_is_decoding_without(any_model):
    assert_cache_gives_full_decoding(*any_model, latents(9), IDS)


def test_a_language_model_decodes_with_the_cache_as_without():
    model = tiny.language_model()
    assert_cache_gives_full_decoding(model, tiny.params_of(model), jnp.zeros((9, 0)), IDS)


# Dropout and the start --------------------------------------------------------------------------


def test_without_dropout_a_pass_is_always_the_same(params):
    def passed(key, model, deterministic):
        rngs = {"dropout": key, "latent": jax.random.key(1)}
        return model.apply({"params": params}, IDS, deterministic=deterministic, rngs=rngs)

    run = jax.jit(passed, static_argnums=(1, 2))
    plain, dropping = (tiny.vae(layers=1, dropout=share) for share in (0.0, 0.3))
    off = [run(jax.random.key(seed), dropping, True) for seed in (0, 1)]
    on = [run(jax.random.key(seed), dropping, False) for seed in (0, 1)]
    no_share = run(jax.random.key(0), plain, False)
    np.testing.assert_array_equal(off[0].h_BxTxD, off[1].h_BxTxD)
    np.testing.assert_allclose(off[0].h_BxTxD, no_share.h_BxTxD, rtol=1e-4, atol=5e-6)
    assert np.abs(np.asarray(on[0].h_BxTxD - on[1].h_BxTxD)).max() > 1e-3
    assert np.abs(np.asarray(on[0].mu_BxZ - on[1].mu_BxZ)).max() > 1e-3


def test_dropout_is_on_the_embeddings_and_on_every_sublayers_output(params):
    shares = []

    def note(next_function, arguments, options, context):
        if isinstance(context.module, Dropout) and context.method_name == "__call__":
            shares.append(context.module.rate)
        return next_function(*arguments, **options)

    rngs = {"dropout": jax.random.key(0), "latent": jax.random.key(1)}
    with nn.intercept_methods(note):
        jax.eval_shape(lambda: tiny.vae(dropout=0.3).apply({"params": params}, IDS, rngs=rngs))
    encoder, decoder = 1 + 2 * 2, 1 + 2 * 3
    assert shares == [0.3] * (encoder + decoder)


def test_word_dropout_leaves_out_whole_pieces_and_in_training_alone():
    share, rows = 0.25, 200
    embedding = Embedding(tiny.VOCABULARY, S, SHAPE, word_dropout=share)
    ids = jnp.full((rows, S), 5, jnp.int32)
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    training, params = embedding.init_with_output(rngs, ids, deterministic=False)
    judging = embedding.apply(params, ids, deterministic=True)
    positions = params["params"]["position"]["embedding"]
    dropped = np.abs(np.asarray(training - positions[None])).max(axis=-1) == 0
    assert dropped.mean() == pytest.approx(share, abs=4 * math.sqrt(0.19 / dropped.size))
    np.testing.assert_array_equal(np.asarray(training)[~dropped], np.asarray(judging)[~dropped])


def test_parameters_start_as_the_facts_of_the_model_say():
    model = tiny.vae(dim=32, latent_dim=16, layers=1, ff_dim=48, vocab_size=300)
    fresh = jax.jit(functools.partial(text_vae.init, model))(jax.random.key(0))["params"]
    for path, value in jax.tree_util.tree_leaves_with_path(fresh):
        name = jax.tree_util.keystr(path)
        if "bias" in name:
            np.testing.assert_array_equal(value, np.zeros_like(value), err_msg=name)
        elif "embedding" in name:
            assert np.std(value) == pytest.approx(0.1, rel=0.05), name
        else:
            fan_in = value.shape[1] if "output_layer" in name else value.shape[0]
            bound = 1.0 / math.sqrt(fan_in)
            assert 0.95 * bound < np.abs(value).max() <= bound, name
            assert np.std(value) == pytest.approx(bound / math.sqrt(3), rel=0.1), name
    for kind in ("token", "position"):
        mine, other = (fresh[p]["embedding"][kind]["embedding"] for p in ("encoder", "decoder"))
        assert np.abs(np.asarray(mine - other)).max() > 0.01, "encoder and decoder share none"
