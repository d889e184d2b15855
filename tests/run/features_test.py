"""The cached features of a published encoder, and what a run's folder keeps of it."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from tests.helpers import tiny, tiny_bert
from vaetx_jax.config.defaults import default_config
from vaetx_jax.data.tokenized import TokenizedSplit
from vaetx_jax.data.tokenizers.vocabulary_files import wordpiece_from_file
from vaetx_jax.errors import UserError
from vaetx_jax.models import bert
from vaetx_jax.models.bert import BertEncoder
from vaetx_jax.run import features as features_lib
from vaetx_jax.run.features import FeatureCache
from vaetx_jax.run.pretrained import (
    PretrainedEncoder,
    find_encoder,
    keep_encoder,
    read_encoder,
)
from vaetx_jax.run.workdir import ENCODER
from vaetx_jax.runtime.manifest import sha256_of

SENTENCES = [ids[:6] for ids in tiny.sentences(70, longest=6)]


def split_of(sentences):
    sizes = [len(ids) for ids in sentences]
    zeros = np.zeros(len(sentences))
    return TokenizedSplit(
        tokens=np.concatenate(sentences).astype(np.uint16),
        offsets=np.cumsum([0, *sizes]),
        words=zeros.astype(np.int32),
        cut=zeros.astype(bool),
    )


SPLIT = split_of(SENTENCES)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tiny_bert.write(tmp_path_factory.mktemp("weights") / "bert")
    digest = sha256_of(folder / "model.safetensors")
    return PretrainedEncoder(str(folder), digest, bert.read_size(folder))


@pytest.fixture
def cache_of(encoder, tmp_path):
    tokenizer = wordpiece_from_file(f"{encoder.name}/vocab.txt")

    def make(encoder=encoder, **changes):
        settings = {"pooling": "mean", "corpus": "c", "tokenizer": tokenizer, "max_len": 8}
        return FeatureCache(tmp_path, encoder, **(settings | changes))

    return make


def computed(encoder):
    """Each sentence alone, in a row of its own length."""
    params, module = encoder.load(), BertEncoder(encoder.size)
    rows = []
    for ids in SENTENCES[:6]:
        row = np.array([[2, *ids, 3]], np.int32)  # tiny_bert's [CLS] and [SEP]
        rows.append(module.apply({"params": params}, row, row != 0, deterministic=True)[0])
    return np.stack(rows)


def test_cached_features_are_those_that_the_encoder_computes(encoder, cache_of):
    found = cache_of().open("train", SPLIT)
    assert found.shape == (70, tiny_bert.DIM) and found.dtype == np.float32
    np.testing.assert_allclose(found[:6], computed(encoder), rtol=1e-6, atol=2e-6)


def test_the_encoder_runs_once_and_then_never_again(cache_of, monkeypatch):
    first = np.array(cache_of().open("train", SPLIT))
    monkeypatch.setattr(PretrainedEncoder, "load", None)
    again = cache_of().open("train", SPLIT)
    np.testing.assert_array_equal(first, again)
    assert not again.flags.writeable


@pytest.mark.parametrize(
    "changes", [{"pooling": "cls"}, {"corpus": "d"}, {"max_len": 9}], ids=lambda c: str(*c)
)
def test_features_of_other_settings_are_others(cache_of, changes, monkeypatch):
    cache_of().open("train", SPLIT)
    monkeypatch.setattr(PretrainedEncoder, "folder", lambda self: None)
    assert cache_of().open("train", SPLIT) is not None
    assert cache_of(**changes).open("train", SPLIT) is None


@pytest.mark.parametrize(
    "changed", [{"sha256": "d"}, {"size": {"heads": 1}}, {"size": {"norm_epsilon": 1e-5}}], ids=str
)
def test_features_of_another_encoder_are_others(encoder, cache_of, changed, monkeypatch):
    cache_of().open("train", SPLIT)
    monkeypatch.setattr(PretrainedEncoder, "folder", lambda self: None)
    if "size" in changed:
        changed = {"size": dataclasses.replace(encoder.size, **changed["size"])}
    assert cache_of(dataclasses.replace(encoder, **changed)).open("train", SPLIT) is None


def test_dropout_of_an_encoder_does_not_change_its_features(encoder, cache_of, monkeypatch):
    cache_of().open("train", SPLIT)
    monkeypatch.setattr(PretrainedEncoder, "folder", lambda self: None)
    size = dataclasses.replace(encoder.size, dropout=0.3)
    assert cache_of(dataclasses.replace(encoder, size=size)).open("train", SPLIT) is not None


def test_a_killed_computation_goes_on_where_it_was(cache_of, monkeypatch):
    """Only the batches after the last kept one are encoded again."""
    whole = np.array(cache_of(corpus="whole").open("train", SPLIT))
    batches = []

    class Killed(Exception):
        pass

    def tick(self, done, text=""):
        batches.append(done)
        if len(batches) == 4:
            raise Killed

    monkeypatch.setattr(features_lib, "BATCH", 10)
    monkeypatch.setattr(features_lib, "_KEEP_SECONDS", -1.0)
    monkeypatch.setattr(features_lib.Progress, "tick", tick)
    with pytest.raises(Killed):
        cache_of().open("train", SPLIT)
    before = len(batches)
    found = cache_of().open("train", SPLIT)
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=2e-6)
    assert batches[-1] == 70
    assert batches[before] > batches[2]  # the fourth batch was not kept, the third was


class Killed(Exception):
    """Stands for the kill of a process."""


def kill_after(batches, monkeypatch):
    """Each computation is killed after so many batches; what is done is kept after each."""
    ticks = itertools.count(1)

    def tick(self, done, text=""):
        if next(ticks) == batches:
            raise Killed

    monkeypatch.setattr(features_lib, "_KEEP_SECONDS", -1.0)
    monkeypatch.setattr(features_lib.Progress, "tick", tick)


def test_a_killed_computation_starts_anew_with_other_batches(cache_of, monkeypatch):
    """As on a machine with another number of devices: batch n is then of other sentences."""
    whole = np.array(cache_of(corpus="whole").open("train", SPLIT))
    monkeypatch.setattr(features_lib, "BATCH", 10)
    kill_after(4, monkeypatch)
    with pytest.raises(Killed):
        cache_of().open("train", SPLIT)
    monkeypatch.setattr(features_lib, "BATCH", 20)
    found = cache_of().open("train", SPLIT)
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=2e-6)


def test_a_note_of_an_array_that_was_begun_anew_does_not_count(cache_of, monkeypatch):
    whole = np.array(cache_of(corpus="whole").open("train", SPLIT))
    for size, batches in ((10, 4), (20, 1)):  # the second is killed before it keeps anything
        monkeypatch.setattr(features_lib, "BATCH", size)
        kill_after(batches, monkeypatch)
        with pytest.raises(Killed):
            cache_of().open("train", SPLIT)
    monkeypatch.setattr(features_lib, "BATCH", 10)
    kill_after(0, monkeypatch)
    found = cache_of().open("train", SPLIT)
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=2e-6)


def test_a_damaged_file_is_computed_again(cache_of, tmp_path):
    first = np.array(cache_of().open("train", SPLIT))
    (path,) = tmp_path.glob("features/*/train/features.npy")
    path.write_bytes(path.read_bytes()[:-40])
    np.testing.assert_array_equal(cache_of().open("train", SPLIT), first)


# What the run's folder keeps ----------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    config = default_config("vae_bert")
    config.model.encoder_weights = str(tiny_bert.write(tmp_path / "bert"))
    (tmp_path / "run").mkdir()
    return config


def test_the_folder_keeps_size_and_digest_so_that_a_run_opens_without_weights(config, tmp_path):
    made = find_encoder(config, tmp_path / "run")
    keep_encoder(tmp_path / "run", made)
    assert made.size.dim == tiny_bert.DIM and made.folder() == tmp_path / "bert"
    (tmp_path / "bert").rename(tmp_path / "gone")
    kept = read_encoder(config, tmp_path / "run")
    assert kept == made and kept.folder() is None
    assert find_encoder(config, tmp_path / "run") == made
    with pytest.raises(UserError, match="the encoder's weights are missing"):
        kept.load()


def test_other_weights_than_a_run_began_with_are_refused(config, tmp_path):
    keep_encoder(tmp_path / "run", find_encoder(config, tmp_path / "run"))
    tiny_bert.write(tmp_path / "bert", tiny_bert.tensors(seed=1))
    with pytest.raises(UserError, match="not the weights this run began with"):
        find_encoder(config, tmp_path / "run")


def test_weights_that_do_not_fit_their_configuration_are_told_before_anything_is_kept(
    config, tmp_path
):
    tiny_bert.write(tmp_path / "bert", num_hidden_layers=3)
    with pytest.raises(UserError, match=r"the tensor encoder.layer.2.\S+ is missing"):
        find_encoder(config, tmp_path / "run")
    tiny_bert.write(tmp_path / "bert")
    assert find_encoder(config, tmp_path / "run").size.layers == tiny_bert.LAYERS


@pytest.mark.parametrize("text", [None, "{", json.dumps({"sha256": "a", "size": {"dim": 3}})])
def test_a_damaged_note_of_the_encoder_is_refused(config, tmp_path, text):
    if text is not None:
        (tmp_path / "run" / ENCODER).write_text(text)
    with pytest.raises(UserError, match=r"encoder.json: cannot be read"):
        read_encoder(config, tmp_path / "run")


def test_a_name_that_cannot_be_fetched_is_told(config, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config.model.encoder_weights = "nobody/nothing"
    with pytest.raises(UserError, match="encoder_weights = 'nobody/nothing': no such folder, and"):
        find_encoder(config, tmp_path / "run")


def test_a_model_of_another_family_has_no_published_encoder(tmp_path):
    assert find_encoder(default_config(), tmp_path) is None
