"""From latents to pieces: greedy against the whole row recomputed, sampling against softmax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy import special, stats

from vaetx_jax.decoding import SpecialIds, decode

MODEL = tiny.vae(layers=1)
SPECIAL = SpecialIds(pad=tiny.PAD, cls=tiny.CLS, sep=tiny.SEP)
ROWS, MAX_LEN = 12, 9
KEY = jax.random.key(0)


def with_bias(params, **changes):
    """The parameters with some pieces made likelier or less likely."""
    bias = params["output_layer"]["bias"]
    for name, value in changes.items():
        bias = bias.at[getattr(tiny, name)].add(value)
    return params | {"output_layer": params["output_layer"] | {"bias": bias}}


@pytest.fixture(scope="module")
def params():
    """[PAD] and [CLS] would be said always, were it allowed; sentences end here and there."""
    return with_bias(tiny.params_of(MODEL, 2), PAD=30.0, CLS=30.0, SEP=2.0)


def latents(rows=ROWS, seed=0):
    noise = np.random.default_rng(seed).standard_normal((rows, tiny.LATENT))
    return jnp.asarray(2.0 * noise, jnp.float32)


def decoded(params, z_BxZ, *, key=KEY, max_len=MAX_LEN, model=MODEL, **options):
    return np.asarray(
        decode(model, params, z_BxZ, key, special=SPECIAL, max_len=max_len, **options)
    )


@functools.partial(jax.jit, static_argnames="model")
def all_logits(params, ids_BxS, z_BxZ, model=MODEL):
    """Logits of ids[:, 1:] from the whole row at once, [B, S - 1, V]."""
    h_BxTxD = model.apply({"params": params}, ids_BxS, z_BxZ, method="decode")
    kernel_VxD, bias_V = model.apply({"params": params}, method="output")
    return h_BxTxD @ kernel_VxD.T + bias_V[None, None]


def greedy_by_recomputation(params, z_BxZ, model=MODEL):
    """The most probable next piece, over and over, without a cache."""
    ids_BxS = np.full((len(z_BxZ), MAX_LEN), tiny.PAD, np.int32)
    ids_BxS[:, 0] = tiny.CLS
    going = np.ones(len(z_BxZ), bool)
    for t in range(MAX_LEN - 1):
        logits_BxV = np.array(all_logits(params, ids_BxS, z_BxZ, model=model)[:, t])
        logits_BxV[:, [tiny.PAD, tiny.CLS]] = -np.inf
        ids_BxS[:, t + 1] = np.where(going, logits_BxV.argmax(axis=1), tiny.PAD)
        going &= ids_BxS[:, t + 1] != tiny.SEP
    return ids_BxS[:, 1:]


def assert_well_formed(ids_BxL):
    """Pieces that are neither [PAD] nor [CLS], then at most one [SEP], then [PAD] alone."""
    for row in ids_BxL.tolist():
        end = row.index(tiny.SEP) + 1 if tiny.SEP in row else len(row)
        assert tiny.PAD not in row[:end] and tiny.CLS not in row
        assert set(row[end:]) <= {tiny.PAD}


def test_greedy_decoding_is_the_argmax_of_the_whole_row_recomputed(params):
    got = decoded(params, latents(), greedy=True)
    np.testing.assert_array_equal(got, greedy_by_recomputation(params, latents()))
    assert_well_formed(got)
    lengths = set((got != tiny.PAD).sum(axis=1))
    assert len(lengths) > 2, "these parameters should end sentences early and late"


def test_a_language_model_is_decoded_from_latents_of_width_zero():
    model = tiny.language_model()
    params, nothing = tiny.params_of(model), jnp.zeros((2, 0))
    got = decoded(params, nothing, greedy=True, model=model)
    np.testing.assert_array_equal(got, greedy_by_recomputation(params, nothing, model))


def test_greedy_decoding_hears_neither_the_key_nor_the_temperature(params):
    first = decoded(params, latents(), greedy=True)
    again = decoded(params, latents(), greedy=True, key=jax.random.key(1), temperature=9.0)
    np.testing.assert_array_equal(first, again)


def test_a_sentence_that_does_not_end_is_cut_at_the_length(params):
    endless = with_bias(params, SEP=-1e6)
    got = decoded(endless, latents(), greedy=True)
    assert got.shape == (ROWS, MAX_LEN - 1)
    assert not np.isin(got, [tiny.SEP, tiny.PAD, tiny.CLS]).any()


def test_a_sentence_that_ends_at_once_is_its_end_alone(params):
    got = decoded(with_bias(params, SEP=1e6), latents())
    np.testing.assert_array_equal(got[:, 0], tiny.SEP)
    np.testing.assert_array_equal(got[:, 1:], tiny.PAD)


def test_samples_are_well_formed_at_any_temperature(params):
    for temperature in (0.5, 1.0, 20.0):
        assert_well_formed(decoded(params, latents(), temperature=temperature))


def test_samples_near_temperature_zero_are_greedy(params):
    cold = decoded(params, latents(), temperature=1e-5)
    np.testing.assert_array_equal(cold, decoded(params, latents(), greedy=True))


def test_the_same_key_samples_the_same_and_another_another(params):
    first, again, other = (
        decoded(params, latents(), key=jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_samples_follow_the_softmax_of_the_logits_over_the_temperature(params, temperature):
    rows = 4000
    z_BxZ = jnp.broadcast_to(latents(1), (rows, tiny.LATENT))
    got = decoded(params, z_BxZ, max_len=3, temperature=temperature)
    start = np.full((1, 3), tiny.PAD, np.int32)
    start[0, 0] = tiny.CLS
    logits_V = np.float64(all_logits(params, start, latents(1))[0, 0])
    logits_V[[tiny.PAD, tiny.CLS]] = -np.inf
    expected_V = rows * special.softmax(logits_V / temperature)
    counts_V = np.bincount(got[:, 0], minlength=tiny.VOCABULARY)
    often = expected_V > 5
    square = np.sum((counts_V - expected_V)[often] ** 2 / expected_V[often])
    assert stats.chi2.sf(square, often.sum() - 1) > 1e-4


def test_the_pieces_of_a_sentence_are_drawn_apart(params):
    hot = decoded(params, latents(4000), max_len=3, temperature=1e6)  # 21 pieces, all alike
    going = hot[hot[:, 0] != tiny.SEP]
    same = np.mean(going[:, 0] == going[:, 1])
    assert same == pytest.approx(1 / 21, abs=4.5 * np.sqrt(0.045 / len(going)))
