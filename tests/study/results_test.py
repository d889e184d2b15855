"""A cell against the language model of its grid."""

import math

import pytest

from tests.helpers.finished_cells import LM, NONE, grid_of, result_of
from vaetx_jax.inference.reference import OWN
from vaetx_jax.study.results import (
    against_language_model,
    digits_of,
    summary_over_seeds,
    summary_text,
)

SPLIT = {"sentences": 40, "tokens": 400}


def vae_of(tmp_path, **changes):
    return result_of(tmp_path, *NONE, nll=78.0, kl=3.0, ppl_iw=math.exp(8.0), **SPLIT, **changes)


def test_gain_and_behind_lm_are_against_the_same_familys_language_model(tmp_path):
    vae = vae_of(tmp_path)
    others = [result_of(tmp_path, "gru_lm", "none", nll=60.0, **SPLIT)]
    others += [result_of(tmp_path, *LM, nll=79.5, **SPLIT)]
    found = against_language_model(vae, grid_of([vae, *others]))
    assert found["gain"] == pytest.approx(1.5)
    assert found["behind_lm"] == pytest.approx(8.0 * 400 / 40 - 79.5)
    assert found["reference"] == "the grid's transformer_lm of the same seed"


def test_without_the_weighted_bound_the_elbo_is_compared(tmp_path):
    vae = result_of(tmp_path, *NONE, nll=78.0, ppl_iw=None, ppl_elbo=math.exp(8.5), **SPLIT)
    lm = result_of(tmp_path, *LM, nll=79.5, **SPLIT)
    assert against_language_model(vae, grid_of([vae, lm]))["behind_lm"] == pytest.approx(5.5)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"corpus": "air"}, {"tokens": 401}, {"vocab_size": 9}]
)
def test_a_language_model_of_other_tokens_or_another_seed_is_not_taken(tmp_path, changes):
    vae, lm = vae_of(tmp_path), result_of(tmp_path, *LM, nll=79.5, **(SPLIT | changes))
    assert against_language_model(vae, grid_of([vae, lm])) == vae.metrics


def test_a_reference_of_its_own_stays(tmp_path):
    vae = vae_of(tmp_path, gain=0.25, reference="a model")
    lm = result_of(tmp_path, *LM, nll=79.5, **SPLIT)
    assert against_language_model(vae, grid_of([vae, lm])) == vae.metrics


def test_a_language_model_is_against_nothing(tmp_path):
    lm = result_of(tmp_path, *LM, **SPLIT)
    assert against_language_model(lm, grid_of([lm])) == lm.metrics


def test_the_grids_language_model_comes_before_a_runs_own(tmp_path):
    vae, lm = vae_of(tmp_path, gain=0.25, reference=OWN), result_of(tmp_path, *LM, nll=81.5)
    assert against_language_model(vae, grid_of([vae, lm]))["gain"] != 0.25
    assert against_language_model(vae, grid_of([vae])) == vae.metrics


@pytest.mark.parametrize(
    ("values", "expected"),
    [([5, 5], "5 ± 0"), ([5, 6], "5.50 ± 0.71"), ([7], "7"), ([None], "–")],
)
def test_a_count_has_digits_where_its_mean_is_no_whole_number(values, expected):
    assert summary_text(summary_over_seeds(values), digits_of("au")) == expected


def test_what_is_a_little_below_zero_by_chance_is_shown_as_zero():
    assert summary_text(summary_over_seeds([-0.004])) == "0.00"
