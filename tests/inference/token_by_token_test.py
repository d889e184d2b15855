"""Rows that have ended leave their batch, and no other row notices."""

import jax
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.inference import token_by_token
from vaetx_jax.inference.decoding import Decoding, decode
from vaetx_jax.inference.logits import SpecialIds

MODEL = tiny.vae(layers=1)
SPECIAL = SpecialIds(pad=tiny.PAD, cls=tiny.CLS, sep=tiny.SEP)
ROWS, MAX_LEN = 21, 34


@pytest.fixture(scope="module")
def variables():
    """Sentences end after very different numbers of tokens."""
    params = tiny.params_of(MODEL, 2)
    bias = params["output_layer"]["bias"].at[tiny.SEP].add(1.0)
    return {"params": params | {"output_layer": params["output_layer"] | {"bias": bias}}}


def latents():
    noise = np.random.default_rng(0).standard_normal((ROWS, tiny.LATENT))
    return (3.0 * noise).astype(np.float32)


def decoded(variables, z_NxZ, *, numbers=None, batch=64, **how):
    where = {"special": SPECIAL, "max_len": MAX_LEN, "numbers_N": numbers, "batch": batch}
    return decode(MODEL, variables, z_NxZ, jax.random.key(0), how=Decoding(**how), **where)


@pytest.fixture
def advanced(monkeypatch):
    """The sizes of the batches that tokens were added to, in order."""
    sizes, advance = [], token_by_token._advance

    def recorded(model, variables, rows, *rest):
        sizes.append(len(rows.ended_B))
        return advance(model, variables, rows, *rest)

    monkeypatch.setattr(token_by_token, "_advance", recorded)
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 5}])
@pytest.mark.parametrize("batch", [64, 8, 3])
def test_rows_together_get_the_tokens_of_each_alone(variables, how, batch):
    z_NxZ = latents()
    together = decoded(variables, z_NxZ, batch=batch, **how)
    for row in range(0, ROWS, 5):
        numbers = np.asarray([row], np.int32)
        alone = decoded(variables, z_NxZ[row : row + 1], numbers=numbers, **how)
        np.testing.assert_array_equal(alone[0], together[row])


def test_the_rows_that_go_on_are_gathered_into_fewer_batches(variables, advanced):
    ids_NxL = decoded(variables, latents(), temperature=1.0, batch=8)
    length_N = (ids_NxL != tiny.PAD).sum(axis=1)
    assert length_N.min() <= 8 and length_N.max() > 16, "sentences should end early and late"
    assert advanced[:3] == [8, 8, 8]
    for look, first in enumerate(range(0, length_N.max(), token_by_token._TOKENS)):
        left = np.count_nonzero(length_N > first)
        assert advanced[:1] * -(-left // 8) == advanced[: -(-left // 8)], look
        del advanced[: -(-left // 8)]
    assert not advanced


def test_one_row_is_decoded_by_one_program_at_once(variables, advanced):
    decoded(variables, latents()[:1])
    assert advanced == [1]


def test_memory_bounds_the_rows_that_are_decoded_together(variables, monkeypatch):
    assert token_by_token.pool_size(MODEL, variables, MAX_LEN, 64) == 512
    monkeypatch.setattr(token_by_token, "_POOL_BYTES", 1)
    assert token_by_token.pool_size(MODEL, variables, MAX_LEN, 64) == 64
