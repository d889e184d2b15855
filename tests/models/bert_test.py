"""A published BERT: where each tensor goes, padding, and every way in which a folder can be wrong.

That the result computes what BERT computes is a test against `transformers`, in tests/parity.
"""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.helpers import tiny, tiny_bert
from tests.helpers.hub_server import hub_server
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings, validate
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.models import bert, text_vae
from vaetx_jax.models.bert import BertEncoder
from vaetx_jax.models.build import build_model

ROW = [2, 10, 11, 3]


@pytest.fixture
def folder(tmp_path):
    return tiny_bert.write(tmp_path / "bert")


def load(folder):
    return bert.load_weights(folder, bert.read_size(folder))


def shapes_of(size):
    ids, mask = np.zeros((1, 4), np.int32), np.ones((1, 4), bool)
    init = functools.partial(BertEncoder(size).init, deterministic=True)
    return jax.eval_shape(init, jax.random.key(0), ids, mask)["params"]


def test_the_weights_are_all_the_parameters_of_an_encoder(folder):
    wanted = flatten_dict(shapes_of(bert.read_size(folder)))
    found = flatten_dict(load(folder))
    assert {path: leaf.shape for path, leaf in found.items()} == {
        path: leaf.shape for path, leaf in wanted.items()
    }
    assert {leaf.dtype for leaf in found.values()} == {np.dtype(np.float32)}


def test_older_names_and_the_heads_of_pretraining_are_understood(tmp_path, folder):
    older = {}
    for name, tensor in tiny_bert.tensors().items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        older[f"bert.{name}".replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    older["bert.pooler.dense.weight"] = np.ones((12, 12), np.float32)
    older["cls.predictions.bias"] = np.ones(5, np.float32)
    older["bert.embeddings.position_ids"] = np.arange(64)[None]
    a = flatten_dict(load(folder))
    b = flatten_dict(load(tiny_bert.write(tmp_path / "older", older)))
    assert a.keys() == b.keys()
    for path, leaf in a.items():
        np.testing.assert_array_equal(leaf, b[path], err_msg=str(path))


@pytest.fixture(scope="module")
def encode(tmp_path_factory):
    """A function from ids [B, S] to summaries, compiled for each length."""
    folder = tiny_bert.write(tmp_path_factory.mktemp("bert"))
    params, encoder = load(folder), BertEncoder(bert.read_size(folder))
    apply = jax.jit(functools.partial(encoder.apply, deterministic=True))
    return lambda ids: np.asarray(apply({"params": params}, ids, ids != tiny.PAD))


def test_padding_changes_nothing(encode):
    short = np.array([ROW], np.int32)
    padded = np.array([[*ROW, 0, 0, 0]], np.int32)
    np.testing.assert_allclose(encode(short), encode(padded), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_text_vae_gives_the_encoder_the_whole_sentence_with_its_sep(folder, encode):
    model = text_vae_of(folder)
    variables = text_vae.init(model, jax.random.key(0))
    variables["params"]["encoder"] = load(folder)
    ids = np.array([[*ROW, 0, 0, 0]], np.int32)
    features = encode(ids)
    own, given = (
        text_vae.encode(model, variables, ids),
        text_vae.encode(model, variables, ids, jnp.asarray(features)),
    )
    np.testing.assert_allclose(own[0], given[0], rtol=1e-5, atol=1e-5)
    other = text_vae.encode(model, variables, ids, jnp.asarray(features + 1))
    assert np.abs(other[0] - own[0]).max() > 0.1


def text_vae_of(folder, **changes):
    config = default_config("vae_bert")
    config.model.update({"dim": 8, "latent_dim": 3, "layers": 1, "encoder_weights": str(folder)})
    config.model.update(changes)
    size = bert.read_size(folder)
    return build_model(model_settings(config), vocab_size=size.vocab_size, pad_id=0, bert=size)


@pytest.mark.slow
def test_a_frozen_encoder_has_no_dropout(folder):
    size = dataclasses.replace(bert.read_size(folder), dropout=0.5)
    ids, params = np.array([ROW], np.int32), load(folder)

    def encoded(frozen, deterministic):
        encoder = BertEncoder(size, frozen=frozen)
        rngs = {"dropout": jax.random.key(0)}
        return encoder.apply(
            {"params": params}, ids, ids != 0, deterministic=deterministic, rngs=rngs
        )

    np.testing.assert_array_equal(encoded(True, False), encoded(True, True))
    assert np.abs(encoded(False, False) - encoded(True, True)).max() > 0.01


# ---- what can be wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("encoder.layer.1.output.dense.bias"),
            "the tensor encoder.layer.1.output.dense.bias is missing; take a BERT's file",
        ),
        (
            lambda t: t.update({"encoder.layer.2.output.dense.bias": np.ones(12)}),
            "1 tensors that no BERT of this size has: encoder.layer.2",
        ),
        (
            lambda t: t.update(
                {"encoder.layer.0.intermediate.dense.weight": np.ones((12, 20), np.float32)}
            ),
            r"intermediate.dense.weight has the shape \[12, 20\], but config.json .* \[20, 12\]",
        ),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_a_file_of_other_tensors_is_refused(tmp_path, change, message):
    weights = tiny_bert.tensors()
    change(weights)
    with pytest.raises(UserError, match=message):
        load(tiny_bert.write(tmp_path, weights))


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-100], lambda b: b"\x80\x02}q\x00." * 20], ids=["truncated", "pickled"]
)
def test_a_damaged_file_is_refused(folder, damage):
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"model.safetensors: damaged or not a safetensors file"):
        load(folder)


def test_a_name_of_the_hub_brings_the_weights_and_their_vocabulary_alone(
    folder, tmp_path, monkeypatch
):
    (folder / "pytorch_model.bin").write_text("pickled")
    with hub_server(tmp_path / "hub", monkeypatch) as hub:
        hub.add("me/bert", folder)
        fetched = bert.find_weights("me/bert")
    assert {path.name for path in fetched.iterdir()} == set(bert.FILES)
    assert load(fetched).keys() == load(folder).keys()


def test_a_folder_with_a_pickle_alone_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no such file \(pytorch_model.bin is a pickle"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no config.json"),
        ("{", "not the configuration of a BERT"),
        ("[]", "not the configuration of a BERT"),
        (json.dumps({"model_type": "roberta"}), "model_type is 'roberta'"),
        (json.dumps({"model_type": "bert", "hidden_act": "relu"}), "hidden_act is 'relu'"),
        (json.dumps(tiny_bert.CONFIG | {"is_decoder": True}), "is_decoder is True"),
        (
            json.dumps(tiny_bert.CONFIG | {"position_embedding_type": "relative_key"}),
            "position_embedding_type is 'relative_key'",
        ),
        (json.dumps(tiny_bert.CONFIG | {"num_attention_heads": 5}), "not the .* of a BERT"),
        (json.dumps({"model_type": "bert"}), "not the configuration of a BERT .*hidden_size"),
    ],
)
def test_a_configuration_of_something_else_is_refused(folder, text, message):
    path = folder / "config.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        bert.read_size(folder)


@pytest.mark.parametrize(
    ("vocabulary", "rows"), [(62, 61), (60, 61), (1, 1000)], ids=["more", "cut", "other"]
)
def test_a_vocabulary_that_does_not_fit_is_refused(folder, vocabulary, rows):
    size = dataclasses.replace(bert.read_size(folder), vocab_size=rows)
    with pytest.raises(UserError, match=r"vocab.txt: \d+ tokens, and config.json beside it says"):
        bert.check_fit(folder, size, vocab_size=vocabulary, max_len=8)


def test_a_table_padded_to_a_round_number_of_rows_fits(folder):
    size = dataclasses.replace(bert.read_size(folder), vocab_size=tiny_bert.VOCABULARY + 3)
    bert.check_fit(folder, size, vocab_size=tiny_bert.VOCABULARY, max_len=8)


def test_sentences_longer_than_the_positions_are_refused(folder):
    with pytest.raises(UserError, match=r"max_len = 65: the encoder in .* has 64 positions"):
        size = bert.read_size(folder)
        bert.check_fit(folder, size, vocab_size=tiny_bert.VOCABULARY, max_len=65)


def test_a_folder_says_whether_its_bert_reads_cased_text(folder):
    assert not bert.is_cased(folder)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert bert.is_cased(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.encoder_weights": ""}, "config.model.encoder_weights = '': give a folder with"),
        ({"model.pooling": "attention"}, "config.model.pooling = 'attention': the encoder bert"),
        ({"model.encoder_word_dropout": 0.1}, "vae_bert with the encoder bert has no such field"),
        ({"model.encoder_start": "lsa"}, "lsa is a start of the encoder bag only"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    config = default_config("vae_bert")
    config.model.encoder_weights = "folder"
    validate(config)
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError) as error:
        validate(config)
    assert len(str(error.value).splitlines()) == 1
    assert message in str(error.value)


def test_a_whitened_start_is_of_the_encoder_bert_alone():
    config = default_config()
    config.model.encoder_start = "whiten"
    with pytest.raises(
        ConfigError, match="whiten is a start of the encoders bert and vectors only"
    ):
        validate(config)
