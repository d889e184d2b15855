"""What an evaluation prints, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from tests.helpers.finished_cells import metrics_of
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.evaluate import behind_entropy, evaluate, print_evaluation
from vaetx_jax.inference.loading import load
from vaetx_jax.metrics.estimator import Estimates, Estimator


@pytest.fixture
def printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def text_of(**changes):
        print_evaluation(metrics_of(corpus="ptb", **changes))
        return " ".join(capsys.readouterr().out.replace("│", " ").split())

    return text_of


def test_weighted_bounds_stand_with_their_samples(printed):
    text = printed()
    assert "ppl_iw (K=50) 72.00" in text and "ppl_iw_word (K=50) 172.00" in text


def test_use_and_gain_stand_with_their_errors(printed):
    text = printed(use=3.25, use_se=0.5, gain=-0.25, gain_se=None, behind_lm=2.0, behind_lm_se=0.1)
    assert "use 3.25 nats per sentence" in text and "its own (± 0.50)" in text
    assert "gain -0.25 nats per sentence nll of the reference minus nll with z behind_lm" in text
    assert "behind the reference (± 0.10)" in text


def test_what_is_a_little_below_zero_by_chance_is_printed_as_zero(printed):
    assert "marginal_kl 0.00 nats" in printed(marginal_kl=-0.004)


def test_a_single_sentence_is_behind_its_entropy_without_an_error(printed):
    one = {"nll_N": np.array([4.0]), "kl_N": np.array([1.0]), "iw_N": None}
    one |= dict.fromkeys(("mu_NxZ", "logvar_NxZ", "z_NxZ"), np.zeros((1, 2)))
    empty = np.zeros(1, np.int32)
    split = TokenizedSplit(empty, np.array([0, 1]), empty, empty > 0, log_prob=np.array([-3.0]))
    found = behind_entropy(Estimates(**one), split)
    assert found == {"entropy": 3.0, "behind_entropy": 2.0, "behind_entropy_se": None}
    assert "behind_entropy 2.00 nats per sentence" in printed(**found)
    assert "behind the entropy (± 0.25)" in printed(**found | {"behind_entropy_se": 0.25})


def test_a_mutual_information_near_its_limit_is_noted_below_the_table(printed):
    assert "note: mi = 3.30 is near its limit, ln N = 3.70" in printed(mi=3.3)
    assert "note:" not in printed(mi=3.1)


def test_what_the_reference_is_stands_below_the_table(printed):
    text = printed(gain=1.0, gain_se=0.1, reference="gru_lm, step 2 (best)")
    assert "note: the reference of gain and behind_lm: gru_lm, step 2 (best)" in text


def test_metrics_of_text_stand_beside_the_corpuss(printed):
    text = {"samples": 10, "distinct_2": 0.7, "corpus_distinct_2": 0.85, "words": 9.04}
    text |= {"corpus_words": 12.0, "distinct_1": None, "corpus_distinct_1": 0.5}
    shown = printed(text=text)
    assert "distinct_2 0.70 share distinct pairs of words / all pairs; corpus: 0.85" in shown
    assert "words 9.0 per sentence mean length in words; corpus: 12.0" in shown
    assert "distinct_1" not in shown


def test_a_language_model_has_no_row_of_a_latent(printed):
    text = printed(model="gru_lm", latent_dim=None, use=None, use_se=None, gain=None)
    for name in ("use", "gain", "marginal_kl", "mi", "note:"):
        assert f" {name} " not in text


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    trained, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    model = load(trained)
    model = dataclasses.replace(model, run=dataclasses.replace(model.run, folder=tmp_path / "file"))
    monkeypatch.setattr(Estimator, "run", lambda *_, **__: pytest.fail("it was computed"))
    with pytest.raises(OSError, match=r"file/evaluation-test\.json"):
        evaluate(model)
