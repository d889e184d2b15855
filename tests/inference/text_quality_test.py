"""Text evaluated in full: of a model that is a known channel, every figure is known."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.helpers.tiny_run import fit
from tests.inference.reference_test import language_model_config
from vaetx_jax.evaluate import evaluate
from vaetx_jax.inference import text_quality as text_quality_lib
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.inference.text_quality import text_quality


@dataclasses.dataclass(frozen=True)
class Parrot(TextModel):
    """Says what it is told to: rows of the test split back, and training sentences as samples,
    with a space at the end, which is no part of a sentence.
    """

    def sample(self, n, **how):
        rows = self.run.corpus.split("train")
        return [rows[i].text + " " for i in range(n)]

    def decode(self, z, **how):
        rows = self.run.corpus.split("test")
        return [rows[round(float(z_Z[0]))].text + " " for z_Z in z]


@pytest.fixture(scope="module")
def parrot(trained):
    model = load(trained)
    model.run.config.evaluation.text_sentences = 30
    return Parrot(**{f.name: getattr(model, f.name) for f in dataclasses.fields(TextModel)})


@pytest.fixture(scope="module")
def figures(parrot):
    """The figures of a perfect memory: each sentence's latent is its number."""
    number_NxZ = np.repeat(np.arange(40.0)[:, None], 4, axis=1)
    return text_quality(parrot, "test", number_NxZ)


def test_perfect_reconstructions_are_exact(figures):
    assert figures["exact_match"] == 1 and figures["edit_rate"] == 0
    assert figures["bleu"] == pytest.approx(100)


def test_a_random_other_sentence_is_not(figures):
    assert figures["random_exact_match"] < 0.2
    assert figures["random_bleu"] < 50 and figures["random_edit_rate"] > 0.3


def test_samples_that_are_training_sentences_are_all_copied(figures):
    assert figures["copied"] == 1 and figures["run_share"] == 1
    assert figures["corpus_copied"] < 0.5 and figures["corpus_run_share"] < 1


def test_samples_of_the_grammar_are_grammatical(figures):
    assert figures["grammatical"] == 1


def test_real_text_is_as_good_a_teacher_as_samples_that_are_real_text(figures):
    assert figures["reverse_ppl"] == pytest.approx(figures["corpus_reverse_ppl"], rel=0.2)
    assert figures["forward_ppl"] < figures["corpus_forward_ppl"]  # the trigrams have seen them
    assert figures["forward_by"] == "trigrams of 200 training sentences"


def test_a_number_tells_no_cause(figures):
    assert figures["mig"] < 0.2 and figures["random_mig"] < 0.2


def test_without_the_training_sentences_nothing_is_said_of_them(parrot):
    found = text_quality(parrot, "test", np.zeros((40, 4)), training=False)
    assert "bleu" in found and not found.keys() & {"copied", "forward_ppl", "reverse_ppl"}


def test_a_latent_that_never_changes_has_no_smoothness(parrot):
    found = text_quality(parrot, "test", np.zeros((40, 4)), training=False)
    assert found["moving_paths"] == 0 and found["straightness"] is None


def test_a_corpus_of_one_sentence_can_be_evaluated(parrot, monkeypatch):
    monkeypatch.setattr(text_quality_lib, "other_rows", None)  # there is no other one
    parrot.run.config.evaluation.text_sentences = 1
    try:
        found = text_quality(parrot, "test", np.zeros((40, 4)), training=False)
    finally:
        parrot.run.config.evaluation.text_sentences = 30
    assert found["sentences"] == 1 and "paths" not in found


def test_an_evaluation_has_all_figures_where_the_config_asks(trained, tmp_path):
    model = load(shutil.copytree(trained, tmp_path / "run"))
    model.run.config.evaluation.text, model.run.config.evaluation.text_sentences = True, 8
    evaluate(model, "test")
    written = json.loads((tmp_path / "run" / "evaluation.json").read_text())["text"]
    assert written["sentences"] == 8 and written["paths"] == 4
    named = {"bleu", "random_bleu", "self_bleu", "copied", "reverse_ppl", "mig", "straightness"}
    assert named <= written.keys()


@pytest.mark.slow
def test_samples_of_a_language_model_are_evaluated_and_nothing_of_a_latent(config, tmp_path):
    fit(language_model_config(config), tmp_path)
    model = load(tmp_path)
    model.run.config.evaluation.text_sentences = 4
    found = text_quality(model, "test", np.zeros((40, 0)))
    assert found["forward_ppl"] > 1 and not found.keys() & {"bleu", "straightness", "mig"}
