"""Beam search: width 1 is greedy decoding, and a wide one finds what trying everything finds."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.inference.beam_search import beam_search
from vaetx_jax.inference.decoding import Decoding, decode
from vaetx_jax.inference.logits import SpecialIds
from vaetx_jax.models.language_model import LanguageModel

SPECIAL = SpecialIds(pad=tiny.PAD, cls=tiny.CLS, sep=tiny.SEP)
VOCABULARY = 7  # [UNK], [SEP] and three pieces can be said
LENGTH = 4
MODEL = tiny.vae(vocab_size=VOCABULARY, layers=1)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def params():
    made = tiny.params_of(MODEL, 5)
    bias = made["output_layer"]["bias"].at[tiny.SEP].add(0.5)
    return made | {"output_layer": made["output_layer"] | {"bias": bias}}


def latents(rows=6):
    noise = np.random.default_rng(1).standard_normal((rows, tiny.LATENT))
    return jnp.asarray(2.0 * noise, jnp.float32)


def searched(params, z_BxZ, width, power=0.0, length=LENGTH, no_repeat=0):
    options = {"special": SPECIAL, "length": length, "width": width, "no_repeat": no_repeat}
    return np.asarray(beam_search(MODEL, {"params": params}, z_BxZ, jnp.float32(power), **options))


@functools.cache
def every_sentence():
    """All that can be said in LENGTH pieces: with [SEP] at the end, or cut at the length."""
    words = [i for i in range(VOCABULARY) if i not in (tiny.PAD, tiny.CLS, tiny.SEP)]
    ended = [[*s, tiny.SEP] for n in range(LENGTH) for s in itertools.product(words, repeat=n)]
    return ended + [list(s) for s in itertools.product(words, repeat=LENGTH)]


def log_probabilities(params, z_Z):
    """Of every sentence, from the whole rows at once, [PAD] and [CLS] left out."""
    sentences = every_sentence()
    ids_NxS = np.full((len(sentences), LENGTH + 1), tiny.PAD, np.int32)
    ids_NxS[:, 0] = tiny.CLS
    for row, sentence in zip(ids_NxS, sentences, strict=True):
        row[1 : len(sentence) + 1] = sentence
    z_NxZ = jnp.broadcast_to(z_Z[None], (len(sentences), z_Z.shape[0]))
    h = MODEL.apply({"params": params}, ids_NxS, z_NxZ, method="decode")
    kernel, bias = MODEL.apply({"params": params}, method="output")
    logits = np.array(h @ kernel.T + bias[None, None], np.float64)
    logits[..., [tiny.PAD, tiny.CLS]] = -np.inf
    log_prob = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    each = np.take_along_axis(log_prob, ids_NxS[:, 1:, None], axis=-1)[..., 0]
    return np.where(ids_NxS[:, 1:] == tiny.PAD, 0.0, each).sum(axis=1)


def padded(sentence):
    return sentence + [tiny.PAD] * (LENGTH - len(sentence))


def of_sentence(scores):
    return {tuple(padded(s)): v for s, v in zip(every_sentence(), scores, strict=True)}


def test_all_sentences_together_have_the_probability_one(params):
    total = np.exp(log_probabilities(params, latents()[0])).sum()
    assert total == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sentences(params, power):
    got = searched(params, latents(), width=4 ** (LENGTH - 1) * 2, power=power)
    lengths = np.asarray([len(s) for s in every_sentence()])
    best = []
    for z_Z in latents():
        scores = log_probabilities(params, z_Z) / lengths**power
        best.append(padded(every_sentence()[np.argmax(scores)]))
    assert got.tolist() == best
    assert len({tuple(row) for row in best}) > 1


def test_a_narrow_beam_never_does_worse_than_greedy_and_sometimes_better(params):
    z_BxZ = latents(40)
    better = 0
    for z_Z, one, four in zip(
        z_BxZ, searched(params, z_BxZ, 1), searched(params, z_BxZ, 4), strict=True
    ):
        table = of_sentence(log_probabilities(params, z_Z))
        assert table[tuple(four.tolist())] >= table[tuple(one.tolist())] - 1e-5
        better += table[tuple(four.tolist())] > table[tuple(one.tolist())] + 1e-5
    assert better


def test_a_beam_of_width_one_is_greedy_decoding(params):
    z_BxZ = latents(64)
    greedy = decode(MODEL, {"params": params}, z_BxZ, KEY, special=SPECIAL, max_len=13)
    np.testing.assert_array_equal(searched(params, z_BxZ, 1, length=12), greedy)


def test_a_rows_result_does_not_depend_on_the_other_rows(params):
    together = searched(params, latents(20), 3, length=12)
    alone = np.concatenate([searched(params, latents(20)[i : i + 1], 3, length=12) for i in (3, 9)])
    np.testing.assert_array_equal(alone, together[[3, 9]])


def test_a_beam_wider_than_there_are_sentences_is_no_trouble(params):
    end = params["output_layer"]["bias"].at[tiny.SEP].add(1e3)
    ends = params | {"output_layer": params["output_layer"] | {"bias": end}}
    assert searched(ends, latents(2), 50).tolist() == [padded([tiny.SEP])] * 2


def test_hypotheses_that_do_not_end_compete_at_the_length_as_they_are(params):
    never = params["output_layer"]["bias"].at[tiny.SEP].add(-1e6)
    endless = params | {"output_layer": params["output_layer"] | {"bias": never}}
    got = searched(endless, latents(), 3)
    assert not np.isin(got, [tiny.SEP, tiny.PAD, tiny.CLS]).any()


def test_length_power_makes_sentences_longer(params):
    short, long = (searched(params, latents(30), 8, power) for power in (0.0, 1.0))
    assert (long != tiny.PAD).sum() > (short != tiny.PAD).sum()


def test_decode_takes_the_width_from_its_settings(params):
    how = Decoding(beam=4)
    got = decode(
        MODEL, {"params": params}, latents(), KEY, special=SPECIAL, max_len=LENGTH + 1, how=how
    )
    np.testing.assert_array_equal(got, searched(params, latents(), 4))


def test_a_language_model_is_searched_from_latents_of_width_zero():
    model = tiny.language_model(VOCABULARY)
    assert isinstance(model, LanguageModel)
    how = Decoding(beam=3)
    got = decode(
        model,
        {"params": tiny.params_of(model)},
        jnp.zeros((2, 0)),
        KEY,
        special=SPECIAL,
        max_len=6,
        how=how,
    )
    np.testing.assert_array_equal(got[0], got[1])
