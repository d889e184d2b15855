"""The language model that a VAE is measured against: what is computed, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from tests.helpers.tiny_run import fit
from vaetx_jax.config.defaults import default_config
from vaetx_jax.errors import ConfigError
from vaetx_jax.evaluate import evaluate
from vaetx_jax.export import export
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.reference import check_reference, reference_nll
from vaetx_jax.run import workdir
from vaetx_jax.run.run import create_run, open_run


def language_model_config(config):
    lm = default_config("gru_lm")
    lm.data.update(config.data)
    lm.tokenizer.update(config.tokenizer)
    lm.evaluation.update(config.evaluation)
    lm.model.dim, lm.train.steps, lm.objective.cycles = 8, 2, 1
    lm.samples.count = lm.evaluation.text_samples = 0
    return lm


@pytest.fixture(scope="module")
def language_model(config, tmp_path_factory):
    """The folder of a language model of the same corpus and tokens."""
    folder = tmp_path_factory.mktemp("language-model")
    fit(language_model_config(config), folder)
    return folder


def vae_with(trained, reference):
    model = load(trained)
    model.run.config.evaluation.reference = str(reference)
    return model


@pytest.mark.slow
def test_gain_and_behind_lm_are_against_the_language_models_own_evaluation(
    trained, language_model, tmp_path
):
    copy = shutil.copytree(trained, tmp_path / "run")
    plain, _ = evaluate(load(copy), "test")
    found, estimates = evaluate(vae_with(copy, language_model), "test")
    lm, _ = evaluate(load(language_model), "test")
    assert found["gain"] == pytest.approx(lm["nll"] - found["nll"], abs=1e-9)
    bound = -float(np.mean(estimates.iw_N))
    assert found["behind_lm"] == pytest.approx(bound - lm["nll"], abs=1e-9)
    assert found["reference"] == "gru_lm, step 2 (best)"
    # Nothing else changes.
    named = ("gain", "gain_se", "behind_lm", "behind_lm_se", "reference")
    assert {k: v for k, v in found.items() if k not in named} == {
        k: v for k, v in plain.items() if k not in named
    }
    assert [plain[name] for name in named] == [None] * 5
    assert plain["marginal_kl"] == plain["kl"] - plain["mi"]
    assert json.loads((copy / "evaluation.json").read_text())["use"] == found["use"]


def test_a_language_model_is_measured_against_none(language_model):
    found, _ = evaluate(vae_with(language_model, language_model), "test")
    latent = ("use", "use_se", "marginal_kl", "gain", "behind_lm", "reference")
    assert [found[name] for name in latent] == [None] * 6


def test_an_exported_language_model_is_the_same_reference(trained, language_model, tmp_path):
    shared = export(load(language_model), tmp_path / "shared")
    by_export, by_run = (
        reference_nll(vae_with(trained, folder), "valid") for folder in (shared, language_model)
    )
    np.testing.assert_array_equal(by_export[0], by_run[0])


def test_an_export_that_does_not_say_its_corpus_is_refused(trained, language_model, tmp_path):
    shared = export(load(language_model), tmp_path / "shared")
    (shared / "corpus.json").unlink()
    with pytest.raises(ConfigError, match=r"its corpus\.json is missing .* export it again"):
        check_reference(vae_with(trained, shared).run)


def refused(trained, folder, match):
    with pytest.raises(ConfigError, match=match) as caught:
        check_reference(vae_with(trained, folder).run)
    assert str(caught.value).startswith(f"config.evaluation.reference = {folder}: ")
    assert "\n" not in str(caught.value)


def test_a_model_with_a_latent_is_no_reference(trained):
    refused(trained, trained, "vae_transformer is not a language model")


def test_a_folder_without_a_run_is_no_reference(trained, tmp_path):
    refused(trained, tmp_path / "nowhere", r"no config\.json here")


def changed(language_model, tmp_path, key, value):
    copy = shutil.copytree(language_model, tmp_path / "changed")
    config = json.loads((copy / "config.json").read_text())
    section, name = key.split(".")
    config[section][name] = value
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def test_another_tokenizer_is_refused(trained, language_model, config, tmp_path):
    other = language_model_config(config)
    other.tokenizer.vocab_size = 100
    (tmp_path / "other").mkdir()
    workdir.keep_config(tmp_path / "other", other)
    create_run(other, tmp_path / "other")
    refused(trained, tmp_path / "other", "its tokenizer .bpe, 100 tokens. is not this run's")


def test_another_corpus_is_refused(trained, language_model, tmp_path):
    copy = shutil.copytree(language_model, tmp_path / "other")
    (copy / "corpus.json").write_text(json.dumps({"corpus": "grammar", "fingerprint": "other"}))
    refused(trained, copy, "on another corpus .grammar. or on other rows of it")


def test_a_language_model_of_shorter_sentences_is_refused(trained, language_model, tmp_path):
    copy = changed(language_model, tmp_path, "data.max_len", 20)
    refused(trained, copy, "data.max_len = 20, and this run's sentences have up to 40 tokens")


def test_a_language_models_own_setting_of_a_reference_is_not_read(language_model, tmp_path):
    run = open_run(language_model)
    run.config.evaluation.reference = str(tmp_path / "nowhere")
    check_reference(run)
