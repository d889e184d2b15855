"""GPT-2's published weights: where each tensor goes, and every way in which a folder can be wrong.

That the result computes what GPT-2 computes is a test against `transformers`, in tests/parity.
"""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny_bert, tiny_gpt2
from tests.helpers.tiny import params_of
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import validate
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.export import export
from vaetx_jax.inference.loading import load as load_model
from vaetx_jax.models import gpt2
from vaetx_jax.run import workdir
from vaetx_jax.run.run import create_run
from vaetx_jax.training import trainer as trainer_lib

PARAMS = jax.device_get(params_of(tiny_gpt2.model()))
load = functools.partial(gpt2.load_weights, heads=tiny_gpt2.HEADS)
# z enters at each input, as a key and value of each layer, or by both.
WAYS = (
    {"latent_input": True},
    {"latent_input": False, "latent_prefix": True},
    {"latent_input": True, "latent_prefix": True},
)


def test_every_parameter_of_the_decoder_but_the_latents_projection_is_loaded(tmp_path):
    loaded = load(tiny_gpt2.write(tmp_path), PARAMS)
    fresh = PARAMS["decoder"]
    assert set(loaded["decoder"]) == set(fresh)
    np.testing.assert_array_equal(
        loaded["decoder"]["project"]["kernel"], fresh["project"]["kernel"]
    )
    for name in ("layer_0", "layer_1", "last_norm"):
        kept, new = (dict(tree_paths(tree["decoder"][name])) for tree in (PARAMS, loaded))
        assert kept.keys() == new.keys()
        for path, leaf in new.items():
            assert leaf.shape == kept[path].shape, path
            assert not np.array_equal(leaf, kept[path]), path


def tree_paths(tree, prefix=""):
    for name, leaf in tree.items():
        if isinstance(leaf, dict):
            yield from tree_paths(leaf, f"{prefix}{name}.")
        else:
            yield prefix + name, leaf


def test_the_joint_projection_is_split_into_query_key_and_value(tmp_path):
    tensors = tiny_gpt2.tensors()
    loaded = load(tiny_gpt2.write(tmp_path), PARAMS)
    attention = loaded["decoder"]["layer_1"]["attention"]
    joint = np.concatenate(
        [attention[part]["kernel"] for part in ("query", "key", "value")], axis=1
    )
    np.testing.assert_array_equal(joint, tensors["h.1.attn.c_attn.weight"])


def test_the_two_added_tokens_keep_their_fresh_rows(tmp_path):
    loaded = load(tiny_gpt2.write(tmp_path), PARAMS)
    table = loaded["decoder"]["embedding"]["token"]["embedding"]
    np.testing.assert_array_equal(table[:-2], tiny_gpt2.tensors()["wte.weight"])
    np.testing.assert_array_equal(
        table[-2:], PARAMS["decoder"]["embedding"]["token"]["embedding"][-2:]
    )


def test_the_output_layer_starts_as_a_copy_of_the_embedding(tmp_path):
    loaded = load(tiny_gpt2.write(tmp_path), PARAMS)
    table = loaded["decoder"]["embedding"]["token"]["embedding"]
    np.testing.assert_array_equal(loaded["output_layer"]["kernel"], table)


def test_the_encoder_is_left_alone(tmp_path):
    loaded = load(tiny_gpt2.write(tmp_path), PARAMS)
    for name in ("encoder", "mu", "logvar"):
        assert loaded[name] is PARAMS[name]


def test_names_with_a_prefix_a_tied_head_and_mask_buffers_are_understood(tmp_path):
    plain = tiny_gpt2.tensors()
    older = {f"transformer.{name}": tensor for name, tensor in plain.items()}
    older["lm_head.weight"] = plain["wte.weight"]
    older["h.0.attn.bias"] = np.ones((1, 1, 4, 4), np.float32)
    a = load(tiny_gpt2.write(tmp_path / "a", plain), PARAMS)
    b = load(tiny_gpt2.write(tmp_path / "b", older), PARAMS)
    for (path, x), (_, y) in zip(tree_paths(a), tree_paths(b), strict=True):
        np.testing.assert_array_equal(x, y, err_msg=path)


def test_half_precision_files_become_float32(tmp_path):
    half = {name: t.astype(np.float16) for name, t in tiny_gpt2.tensors().items()}
    loaded = load(tiny_gpt2.write(tmp_path, half), PARAMS)
    assert {leaf.dtype for _, leaf in tree_paths(loaded)} == {np.dtype(np.float32)}


# ---- what can be wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("h.1.mlp.c_fc.bias"), "the tensor h.1.mlp.c_fc.bias is missing"),
        (lambda t: t.update({"h.2.ln_1.bias": np.ones(12)}), "1 tensors that no GPT-2 .*h.2.ln_1"),
        (
            lambda t: t.update({"h.0.attn.c_proj.weight": np.ones((12, 13), np.float32)}),
            r"c_proj.weight has the shape \[12, 13\].* makes it \[12, 12\]",
        ),
        (lambda t: t.update({"wte.weight": t["wte.weight"][:39]}), r"wte.weight has .*\[39, 12\]"),
    ],
    ids=["missing", "extra", "shape", "vocabulary"],
)
def test_a_file_of_other_tensors_is_refused(tmp_path, change, message):
    weights = tiny_gpt2.tensors()
    change(weights)
    with pytest.raises(UserError, match=message):
        load(tiny_gpt2.write(tmp_path, weights), PARAMS)


def test_a_truncated_file_is_refused(tmp_path):
    path = tiny_gpt2.write(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model.safetensors: damaged or not a safetensors file"):
        load(tmp_path, PARAMS)


def test_a_pickled_file_is_refused(tmp_path):
    (tiny_gpt2.write(tmp_path) / "model.safetensors").write_bytes(b"\x80\x02}q\x00." * 20)
    with pytest.raises(UserError, match="damaged or not a safetensors file"):
        load(tmp_path, PARAMS)


def test_a_folder_without_weights_is_refused(tmp_path):
    (tiny_gpt2.write(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model.safetensors: no such file"):
        load(tmp_path, PARAMS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no config.json"),
        ("{", "not the configuration of a GPT-2"),
        ("[]", "not the configuration of a GPT-2"),
        (json.dumps({"n_embd": 12}), "not the configuration of a GPT-2 .*n_layer"),
        (json.dumps({"activation_function": "relu"}), "not GPT-2's gelu_new"),
    ],
)
def test_a_configuration_of_something_else_is_refused(tmp_path, text, message):
    path = tiny_gpt2.write(tmp_path) / "config.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        load(tmp_path, PARAMS)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tiny_gpt2.model(dim=24), "width = 12, the model's decoder has 24"),
        (tiny_gpt2.model(decoder_layers=3), "layers = 2, the model's decoder has 3"),
        (tiny_gpt2.model(vocab_size=50), "vocabulary and two tokens = 263, the model's .* has 50"),
    ],
    ids=["width", "layers", "vocabulary"],
)
def test_a_model_of_another_size_is_refused(tmp_path, model, message):
    with pytest.raises(UserError, match=message):
        load(tiny_gpt2.write(tmp_path), jax.device_get(params_of(model)))


def test_a_model_of_other_heads_is_refused(tmp_path):
    """The tensors of 3 and of 4 heads have the same shapes; only the configuration tells."""
    with pytest.raises(UserError, match="heads = 3, the model's decoder has 4"):
        load(tiny_gpt2.write(tmp_path), PARAMS, heads=4)


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert gpt2.find_weights(str(tmp_path)) == tmp_path


def test_neither_a_folder_nor_a_name_is_told(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="'nobody/nothing': no such folder, and no model could be"):
        gpt2.find_weights("nobody/nothing")


def test_a_name_that_can_be_none_is_told():
    with pytest.raises(UserError, match=r"'no/such/folder': no such folder, and no model"):
        gpt2.find_weights("no/such/folder")


# ---- training --------------------------------------------------------------------------------


@pytest.fixture
def gpt2_run(config, tmp_path):
    """The settings of a tiny VAE-GPT2 on `grammar`, and its folder."""
    run = default_config("vae_gpt2")
    run.data.update(config.data)
    run.model.update({"latent_dim": 4, "heads": 2, "ff_dim": 10})
    run.train.update({"steps": 2, "log_every": 1})
    run.objective.cycles = 1
    (tmp_path / "gpt2").mkdir()
    tiny_gpt2.write_vocabulary(tmp_path / "gpt2")
    run.tokenizer.vocab_dir = str(tmp_path)
    return run, tmp_path / "run"


def start(run, folder):
    folder.mkdir(exist_ok=True)
    workdir.keep_config(folder, run)
    trainer = trainer_lib.Trainer(create_run(run, folder))
    return trainer, *trainer.start_state()


@pytest.mark.slow
def test_a_run_starts_from_the_weights_it_is_given(gpt2_run, tmp_path):
    run, folder = gpt2_run
    run.model.weights = str(tiny_gpt2.write(tmp_path / "weights"))
    trainer, state, words = start(run, folder)
    assert words == f"starts from GPT-2's weights in {tmp_path / 'weights'}"
    tensors = tiny_gpt2.tensors()
    np.testing.assert_array_equal(
        state.params["decoder"]["last_norm"]["scale"], tensors["ln_f.weight"]
    )
    assert trainer.run(state).steps == 2


def test_the_size_is_that_of_the_weights_and_stays_when_they_are_gone(gpt2_run, tmp_path):
    run, folder = gpt2_run
    run.model.weights = str(tiny_gpt2.write(tmp_path / "weights"))
    trainer, state, _ = start(run, folder)
    trainer.run(state)
    shutil.rmtree(tmp_path / "weights")
    model = load_model(folder)
    decoder = model.run.model.decoder
    assert (model.run.model.dim, decoder.layers, decoder.shape.heads) == (12, 2, 3)
    assert model.sample(2, seed=1) == load_model(export(model, tmp_path / "shared")).sample(
        2, seed=1
    )


def test_the_vocabulary_comes_with_the_weights(gpt2_run, tmp_path):
    run, folder = gpt2_run
    weights = tiny_gpt2.write(tmp_path / "weights")
    for old, new in zip(
        tiny_gpt2.write_vocabulary(weights), ("vocab.json", "merges.txt"), strict=True
    ):
        old.rename(weights / new)
    run.model.weights, run.tokenizer.vocab_dir = str(weights), ""
    folder.mkdir()
    assert create_run(run, folder).tokenizer.size == tiny_gpt2.VOCABULARY + 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.decoder_layers": 3}, "decoder_layers = 3: the GPT-2 in .* has 2; leave the"),
        ({"model.decoder_heads": 4}, "decoder_heads = 4: the GPT-2 in .* has 3; leave the"),
        ({"data.max_len": 40}, "max_len = 40: the GPT-2 in .* has 32 positions"),
    ],
)
def test_settings_of_another_size_than_the_weights_are_refused(
    gpt2_run, tmp_path, changes, message
):
    run, folder = gpt2_run
    run.model.weights = str(tiny_gpt2.write(tmp_path / "weights", n_positions=32))
    run.data.max_len = 20
    run.update_from_flattened_dict(changes)
    folder.mkdir()
    with pytest.raises(UserError, match=message):
        create_run(run, folder)


@pytest.mark.parametrize("ways", WAYS)
def test_decoding_with_a_cache_is_decoding_at_once(ways):
    model = tiny_gpt2.model(**ways)
    params = params_of(model)
    ids = np.random.default_rng(0).integers(0, 250, (2, 7)).astype(np.int32)
    z = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)

    def logits(z):
        h = model.apply({"params": params}, ids, z, method="decode")
        output = params["output_layer"]
        return np.asarray(h @ output["kernel"].T + output["bias"][None, None])

    full = logits(z)
    assert np.abs(full - logits(-z)).max() > 1e-3
    cache = model.apply({"params": params}, z, 6, method="start")
    step = jax.jit(functools.partial(model.apply, method="step"))
    for position in range(6):
        here, cache = step({"params": params}, ids[:, position], jnp.int32(position), cache)
        np.testing.assert_allclose(here, full[:, position], rtol=1e-4, atol=1e-5)


def test_a_latent_needs_a_way_into_gpt2():
    config = default_config("vae_gpt2")
    config.model.latent_input = False
    with pytest.raises(ConfigError, match=r"without it z needs model\.latent_prefix"):
        validate(config)
    config.model.latent_prefix = True
    validate(config)


@pytest.mark.slow
def test_a_published_pair_trains_with_an_encoder_of_its_own_tokens(gpt2_run, tmp_path):
    run, folder = gpt2_run
    run.model.update({"encoder": "bert", "heads": None, "ff_dim": None, "latent_prefix": True})
    run.model.encoder_weights = str(tiny_bert.write(tmp_path / "bert"))
    run.model.weights = str(tiny_gpt2.write(tmp_path / "weights"))
    trainer, state, words = start(run, folder)
    assert words.startswith("starts from GPT-2's weights") and "the encoder from" in words
    assert trainer.run(state).steps == 2
    assert load_model(folder).encode(["the cat"])[0].shape == (1, 4)


def test_a_run_without_weights_says_so_and_trains(gpt2_run):
    gpt2_run[0].model.update({"dim": 12, "decoder_layers": 2, "decoder_heads": 3})
    trainer, state, words = start(*gpt2_run)
    assert words.startswith(
        "starts from random parameters, GPT-2's too: config.model.weights names"
    )
    assert trainer.run(state).steps == 2


def test_a_run_that_goes_on_does_not_read_the_weights_again(gpt2_run, tmp_path):
    run, folder = gpt2_run
    run.model.weights = str(tiny_gpt2.write(tmp_path / "weights"))
    trainer, state, _ = start(run, folder)
    trainer.run(state)
    (tmp_path / "weights" / "model.safetensors").unlink()
    assert start(run, folder)[2] == "resumes after step 2"


def test_a_tokenizer_that_does_not_fit_the_weights_is_refused(gpt2_run, tmp_path):
    run, folder = gpt2_run
    run.model.weights = str(
        tiny_gpt2.write(
            tmp_path / "weights",
            tiny_gpt2.tensors() | {"wte.weight": np.ones((90, 12), np.float32)},
            vocab_size=90,
        )
    )
    with pytest.raises(UserError, match=r"vocabulary and two tokens = 92, .* has 263; .*tokenizer"):
        start(run, folder)
