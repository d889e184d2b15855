"""An encoder that reads its own tokens while the decoder writes others."""

import numpy as np
import pytest

from tests.helpers import tiny_bert
from tests.helpers.tiny_run import fit
from vaetx_jax.config.defaults import default_config
from vaetx_jax.data.bucketing import device_arrays
from vaetx_jax.export import export
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.sentences import encode_split
from vaetx_jax.run import run_tokenizers
from vaetx_jax.run.run import create_run
from vaetx_jax.run.run_tokenizers import load_tokenizers
from vaetx_jax.run.workdir import ENCODER_TOKENIZER
from vaetx_jax.runtime.mesh import put_batch
from vaetx_jax.training.trainer import Trainer


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("two-tokenizers")
    config = default_config("vae_bert")
    config.data.cache_dir, config.data.sentences, config.data.held_out = str(root), 60, 20
    config.data.batch_size, config.data.groups, config.data.max_len = 8, 1, 30
    config.tokenizer.kind, config.tokenizer.vocab_size = "bpe", 120
    config.model.update({"dim": 8, "latent_dim": 3, "layers": 1})
    config.model.encoder_weights = str(tiny_bert.write(root / "bert"))
    config.objective.annealing, config.objective.cycles = "none", 1
    config.train.steps, config.train.log_every = 2, 1
    config.evaluation.batch_size, config.samples.count = 8, 0
    return config


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """The folder of a run whose encoder is trained with the rest."""
    folder = tmp_path_factory.mktemp("trained")
    fit(recipe, folder)
    return folder


def test_the_slower_of_two_processes_leaves_the_tokenizer_of_the_faster(
    recipe, tmp_path, monkeypatch
):
    """A third process may be reading it."""
    config, build = recipe.copy_and_resolve_references(), run_tokenizers.build_tokenizer
    config.data.cache_dir, found = str(tmp_path), []
    for name in ("faster", "slower"):
        (tmp_path / name).mkdir()

    def cached():
        return [(path.name, path.stat().st_ino) for path in (tmp_path / "tokenizers").iterdir()]

    def overtaken(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(run_tokenizers, "build_tokenizer", build)
            create_run(config, tmp_path / "faster")
        found.extend(cached())
        return build(*arguments)

    monkeypatch.setattr(run_tokenizers, "build_tokenizer", overtaken)
    run = create_run(config, tmp_path / "slower")
    assert len(found) == 1 and cached() == found
    assert run.tokenizer.fingerprint == load_tokenizers(tmp_path / "faster").written.fingerprint


def test_a_damaged_tokenizer_in_the_cache_is_trained_again(recipe, tmp_path):
    config = recipe.copy_and_resolve_references()
    config.data.cache_dir = str(tmp_path)
    (tmp_path / "first").mkdir()
    expected = create_run(config, tmp_path / "first").tokenizer.fingerprint
    (model,) = (tmp_path / "tokenizers").glob("*/sentencepiece.model")
    model.unlink()
    (tmp_path / "second").mkdir()
    assert create_run(config, tmp_path / "second").tokenizer.fingerprint == expected


def test_a_decoder_of_the_encoders_kind_has_its_tokens(recipe, tmp_path):
    config = recipe.copy_and_resolve_references()
    config.tokenizer.kind = "wordpiece"
    run = create_run(config, tmp_path)
    assert run.encoder_tokenizer is run.tokenizer
    assert "encoder_ids" not in run.train_batches.at(0)
    assert not (tmp_path / ENCODER_TOKENIZER).exists()


def test_a_batch_has_each_sentence_in_both_kinds_of_tokens(recipe, tmp_path):
    run = create_run(recipe, tmp_path)
    texts = list(run.corpus.split("train").texts())
    batch = run.train_batches.at(3)
    for row, index in enumerate(batch["index"]):
        for ids, tokenizer in (
            (batch["ids"][row], run.tokenizer),
            (batch["encoder_ids"][row], run.encoder_tokenizer),
        ):
            tokens = tokenizer.encode([texts[index]])[0][:28] if index >= 0 else []
            line = [tokenizer.cls_id, *tokens, tokenizer.sep_id]
            assert ids.tolist() == line + [tokenizer.pad_id] * (len(ids) - len(line))


@pytest.mark.slow
def test_the_encoder_reads_its_tokens_in_training_and_not_the_decoders(recipe, tmp_path):
    trainer = Trainer(create_run(recipe, tmp_path))
    arrays = device_arrays(trainer.batches.at(0), "weight")
    trainer.start_state()

    def losses(**changes):
        state, _ = trainer.start_state()
        batch = put_batch({**arrays, **changes}, trainer._run.mesh)
        sums = trainer.train_step(state, batch, trainer.key)[1].sums
        return float(sums.kl), float(sums.nll)

    kl, nll = losses()
    other = np.roll(arrays["encoder_ids"], 1, axis=0)
    assert abs(losses(encoder_ids=other)[1] - nll) > 1e-3  # each is decoded from another's z
    assert losses(ids=np.roll(arrays["ids"], 1, axis=0))[0] == kl


@pytest.mark.slow
def test_a_sentence_has_one_posterior_however_it_is_asked_for(trained):
    model = load(trained)
    texts = list(model.run.corpus.split("test").texts())
    mean, std = model.encode(texts)
    of_split, _ = encode_split(model.run, model.variables, "test")
    np.testing.assert_allclose(mean, of_split, rtol=1e-5, atol=1e-6)
    kl_N = 0.5 * np.sum(mean**2 + std**2 - 1 - 2 * np.log(std), axis=1)
    np.testing.assert_allclose(model.score(texts, iw_samples=0).kl_N, kl_N, rtol=1e-3, atol=1e-5)


def test_an_exported_model_has_both_tokenizers(trained, tmp_path):
    model = load(trained)
    again = load(export(model, tmp_path / "shared"))
    np.testing.assert_array_equal(again.encode(["a cat"])[0], model.encode(["a cat"])[0])
    assert again.run.encoder_tokenizer.fingerprint == model.run.encoder_tokenizer.fingerprint


@pytest.mark.slow
def test_cached_features_of_a_frozen_encoder_are_of_its_own_tokens(recipe, tmp_path):
    config = recipe.copy_and_resolve_references()
    config.model.update({"freeze": "encoder", "encoder_start": "whiten", "channel_rate": 2.0})
    fit(config, tmp_path)
    model = load(tmp_path)
    texts = list(model.run.corpus.split("test").texts())
    of_split, _ = encode_split(model.run, model.variables, "test")
    np.testing.assert_allclose(model.encode(texts)[0], of_split, rtol=1e-5, atol=1e-5)
