"""From latents to pieces: greedy against the whole row recomputed, sampling against softmax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from tests.helpers import tiny, tiny_bert
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.errors import ConfigError
from vaetx_jax.inference import token_by_token
from vaetx_jax.inference.beam_search import beam_search
from vaetx_jax.inference.decoding import Decoding, decode
from vaetx_jax.inference.logits import SpecialIds, keep_top_k, keep_top_p
from vaetx_jax.models.build import build_model
from vaetx_jax.models.presets import MODELS, PRESETS, has_latent

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


def decoded(params, z_BxZ, *, key=KEY, max_len=MAX_LEN, model=MODEL, rows=None, **options):
    where = {"special": SPECIAL, "max_len": max_len, "numbers_N": rows}
    return np.asarray(
        decode(model, {"params": params}, z_BxZ, key, how=Decoding(**options), **where)
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
    got = decoded(params, latents())
    np.testing.assert_array_equal(got, greedy_by_recomputation(params, latents()))
    assert_well_formed(got)
    lengths = set((got != tiny.PAD).sum(axis=1))
    assert len(lengths) > 2, "these parameters should end sentences early and late"


def test_a_language_model_is_decoded_from_latents_of_width_zero():
    model = tiny.language_model()
    params, nothing = tiny.params_of(model), jnp.zeros((2, 0))
    got = decoded(params, nothing, model=model)
    np.testing.assert_array_equal(got, greedy_by_recomputation(params, nothing, model))


@pytest.mark.parametrize("preset", ["paper", "modern"])
@pytest.mark.parametrize("name", MODELS)
def test_decoding_with_a_cache_is_decoding_without_for_every_model(name, preset):
    """Greedy and by a beam's first hypothesis, from rows that are recomputed whole."""
    if name not in PRESETS[preset]:
        pytest.skip(f"{name} has no preset {preset}")
    config = default_config(name)
    config.model.preset, config.model.dim = preset, 8
    config.model.update(
        {
            key: 2
            for key in ("heads", "decoder_heads", "decoder_layers")
            if key in PRESETS[preset][name]
        }
    )
    if has_latent(name):
        config.model.latent_dim = tiny.LATENT
    settings = model_settings(config)
    model = build_model(settings, vocab_size=tiny.VOCABULARY, pad_id=tiny.PAD, bert=tiny_bert.SIZE)
    params = with_bias(tiny.params_of(model, 3), SEP=1.0)
    z_BxZ = latents(4)[:, : model.latent_dim]
    expected = greedy_by_recomputation(params, z_BxZ, model)
    np.testing.assert_array_equal(decoded(params, z_BxZ, model=model), expected)
    power, options = jnp.float32(0), {"special": SPECIAL, "length": MAX_LEN - 1, "width": 1}
    np.testing.assert_array_equal(
        beam_search(model, {"params": params}, z_BxZ, power, **options), expected
    )


def test_greedy_decoding_does_not_hear_the_key(params):
    first = decoded(params, latents())
    again = decoded(params, latents(), key=jax.random.key(1))
    np.testing.assert_array_equal(first, again)


def test_a_sentence_that_does_not_end_is_cut_at_the_length(params):
    endless = with_bias(params, SEP=-1e6)
    got = decoded(endless, latents())
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
    np.testing.assert_array_equal(cold, decoded(params, latents()))


def test_the_same_key_samples_the_same_and_another_another(params):
    first, again, other = (
        decoded(params, latents(), key=jax.random.key(seed), temperature=1.0) for seed in (0, 0, 1)
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


def test_a_rows_draws_depend_on_its_number_and_not_on_the_other_rows(params):
    together = decoded(params, latents(), temperature=2.0)
    rows = np.asarray([7, 2], np.int32)
    apart = decoded(params, latents()[rows], temperature=2.0, rows=rows)
    np.testing.assert_array_equal(apart, together[[7, 2]])


@pytest.mark.parametrize("options", [{"top_k": 3}, {"top_p": 0.6}, {"top_k": 8, "top_p": 0.5}])
def test_what_is_drawn_is_among_the_most_probable(params, options):
    """The pieces that come out of many draws are those that numpy says may."""
    rows, temperature = 3000, 1.5
    z_BxZ = jnp.broadcast_to(latents(1), (rows, tiny.LATENT))
    got = decoded(params, z_BxZ, max_len=3, temperature=temperature, **options)[:, 0]
    start = np.full((1, 3), tiny.PAD, np.int32)
    start[0, 0] = tiny.CLS
    logits_V = np.float64(all_logits(params, start, latents(1))[0, 0])
    logits_V[[tiny.PAD, tiny.CLS]] = -np.inf
    kept = set(kept_by_numpy(logits_V / temperature, **options))
    assert set(got) <= kept
    probability = special.softmax(logits_V / temperature)
    likely = {piece for piece in kept if probability[piece] > 0.01}
    assert likely <= set(got)


def kept_by_numpy(logits_V, top_k=0, top_p=1.0):
    order = np.argsort(-logits_V, kind="stable")[: top_k or None]
    share = special.softmax(logits_V[order])
    enough = np.searchsorted(np.cumsum(share), top_p) + 1
    return order[:enough].tolist()


@pytest.mark.parametrize("p", [1e-46, 1e-6, 0.1, 0.5, 0.9, 0.999])
def test_the_nucleus_is_numpys(p):
    logits_BxV = np.random.default_rng(3).standard_normal((5, 300)).astype(np.float32) * 3
    kept = np.isfinite(np.asarray(keep_top_p(jnp.asarray(logits_BxV), jnp.float32(p))))
    for row, kept_V in zip(logits_BxV, kept, strict=True):
        share = np.sort(special.softmax(row.astype(np.float64)))[::-1]
        count = min(np.searchsorted(np.cumsum(share), p) + 1, len(row))
        assert abs(int(kept_V.sum()) - count) <= (p > 0.99)  # sums of float32
        assert kept_V.any() and row[kept_V].min() > np.max(row[~kept_V], initial=-np.inf)


def test_pieces_as_probable_as_the_last_are_kept_too():
    logits_BxV = jnp.asarray([[2.0, 1.0, 1.0, 0.0]])
    assert np.isfinite(keep_top_k(logits_BxV, 2)).tolist() == [[True, True, True, False]]
    assert np.isfinite(keep_top_p(logits_BxV, jnp.float32(0.7)))[0, :3].all()


def test_more_pieces_than_there_are_means_all(params):
    free = decoded(params, latents(), temperature=1.0)
    many = decoded(params, latents(), temperature=1.0, top_k=10_000)
    np.testing.assert_array_equal(free, many)


def test_another_temperature_or_top_p_compiles_nothing_anew(params):
    decoded(params, latents(), temperature=0.7, top_p=0.9)
    before = token_by_token._advance._cache_size()
    decoded(params, latents(), temperature=0.8, top_p=0.5)
    assert token_by_token._advance._cache_size() == before


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.3}, {"beam": 3}])
def test_the_guard_says_no_run_of_pieces_twice(params, n, options):
    stuck = with_bias(params, SEP=-20.0)
    got = decoded(stuck, latents(), max_len=20, no_repeat=n, **options)
    for row in got.tolist():
        said = [piece for piece in row if piece not in (tiny.SEP, tiny.PAD)]
        runs = [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]
        assert len(set(runs)) == len(runs)
    assert_well_formed(got)


@pytest.mark.slow
def test_the_guard_leaves_alone_what_repeats_nothing(params):
    free = decoded(params, latents())
    np.testing.assert_array_equal(free, decoded(params, latents(), no_repeat=50))


WRONG = {
    "temperature": [-1.0, float("nan"), float("inf"), 1e-9],
    "top_k": [-1],
    "top_p": [0.0, 1.1, float("nan")],
    "beam": [0],
    "length_power": [-0.1, float("nan")],
    "no_repeat": [-1],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_out_of_range_is_refused_by_name(name):
    for value in WRONG[name]:
        with pytest.raises(ConfigError, match=f"{name} = .*must be"):
            Decoding(**({"temperature": 1.0} | {name: value}))


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="a beam search draws nothing"):
        Decoding(beam=2, temperature=1.0)
    with pytest.raises(ConfigError, match="at temperature = 0 nothing is"):
        Decoding(top_p=0.9)
