"""Settings: defaults, presets, every rule broken once, and what is kept of a run."""

import dataclasses
import json
import pathlib

import pytest

from vaetx_jax.config import keys, stored
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.stored import read_config, to_json
from vaetx_jax.config.validation import model_settings, validate
from vaetx_jax.errors import ConfigError, UserError

MODELS = (
    "vae_transformer",
    "vae_lstm",
    "vae_gru",
    "vae_gpt2",
    "transformer_lm",
    "lstm_lm",
    "gru_lm",
)


def changed(changes, model="vae_transformer"):
    config = default_config(model)
    config.update_from_flattened_dict(changes)
    return config


def complaints(config):
    """The lines of what `validate` says, none where nothing is wrong."""
    try:
        validate(config)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def leaves(kind):
    """The keys of a VAE-Transformer's config whose values are of a type."""
    flat = keys.flatten(default_config().to_dict())
    config = default_config()
    return [key for key in flat if parent(config, key).get_type(key.rpartition(".")[2]) is kind]


def parent(config, key):
    return keys.value_of(config, key.rpartition(".")[0]) if "." in key else config


def test_none_in_the_place_of_a_number_is_refused_by_its_key():
    config = changed({"train.steps": None, "seed": None, "model.dim": None, "train.decay": None})
    assert complaints(config) == [
        f"config.{key} = None: must be a number" for key in ("model.dim", "seed", "train.steps")
    ]


@pytest.mark.parametrize(
    "key", ["seed", "data.seed", "evaluation.seed", "probe.seed", "samples.seed"]
)
def test_a_seed_that_would_repeat_a_smaller_one_is_refused(key):
    assert complaints(changed({key: 2**32 - 1})) == []
    (problem,) = complaints(changed({key: 2**32}))
    assert problem == f"config.{key} = 4294967296: must be at least 0 and at most 4294967295"


# Defaults and presets ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_defaults_of_every_model_break_no_rule(model):
    config = default_config(model)
    assert complaints(config) == []
    assert config.model.name == model


def test_the_defaults_are_the_papers():
    config = default_config()
    expected = {
        "data.max_len": 64,
        "data.batch_size": 32,
        "model.dim": 128,
        "model.latent_dim": 64,
        "objective.annealing": "cyclic",
        "objective.cycles": 5,
        "objective.ratio": 0.5,
        "objective.free_bits": 0.0,
        "train.epochs": 50,
        "train.learning_rate": 1e-3,
        "train.final_learning_rate": 1e-7,
        "train.weight_decay": 0.1,
        "train.beta1": 0.9,
        "train.beta2": 0.999,
        "train.clip_norm": 0.0,
        "evaluation.iw_samples": 50,
        "probe.latent": "sample",
        "probe.fit": "paper",
        "probe.epochs": 20,
        "probe.learning_rate": 1e-4,
        "probe.batch_size": 32,
    }
    assert {key: keys.value_of(config, key) for key in expected} == expected


def test_the_paper_preset_is_the_published_model():
    settings = model_settings(default_config())
    expected = {"dim": 128, "latent_dim": 64, "layers": 2, "heads": 2, "ff_dim": 512}
    expected |= {"dropout": 0.1, "name": "vae_transformer"}
    found = dataclasses.asdict(settings)
    assert {name: found[name] for name in expected} == expected


def test_a_set_key_wins_over_the_preset():
    settings = model_settings(changed({"model.layers": 3, "model.dropout": 0.0}))
    assert (settings.layers, settings.dropout, settings.heads) == (3, 0.0, 2)


def test_an_unknown_model_is_refused_with_the_nearest_there_is():
    with pytest.raises(ConfigError, match=r"vae_grus.*did you mean vae_gru\?"):
        default_config("vae_grus")


def test_an_unknown_key_cannot_be_set():
    with pytest.raises((AttributeError, KeyError)):
        default_config().model.lattent_dim = 3


@pytest.mark.parametrize("key", ["model.dim", "model.layers"])
def test_a_wrong_type_cannot_be_set(key):
    with pytest.raises(TypeError):
        changed({key: "many"})


# Rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", leaves(int) + leaves(float))
def test_no_number_may_be_negative(key):
    (line, *_) = complaints(changed({key: -1})) or ["nothing was refused"]
    assert line.startswith(f"config.{key} = -1")


@pytest.mark.parametrize("key", leaves(float))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_may_be_nan_or_infinite(key, value):
    (line, *_) = complaints(changed({key: value})) or ["nothing was refused"]
    assert line.startswith(f"config.{key} = {value}")


TEXT = {"data.corpus": "text", "data.train": "lines.txt"}
NO_RATE = {"train.final_learning_rate": 0.0}
BROKEN = [
    ({"data.corpus": "ptbb"}, "data.corpus", "did you mean ptb?"),
    ({"data.batching": "group"}, "data.batching", "did you mean groups?"),
    ({"data.max_len": 2}, "data.max_len", "at least 3"),
    ({"data.max_len": 513}, "data.max_len", "at least 3 and at most 512"),
    ({"data.batch_size": 0}, "data.batch_size", "at least 1"),
    ({"data.groups": 0}, "data.groups", "at least 1"),
    ({"data.sentences": 0}, "data.sentences", "at least 1"),
    ({"data.held_out": 0}, "data.held_out", "at least 1"),
    ({"data.train": "lines.txt"}, "data.train", "only the corpus `text` reads it"),
    ({"data.valid": "lines.txt"}, "data.valid", "only the corpus `text` reads it"),
    ({"data.test": "lines.txt"}, "data.test", "only the corpus `text` reads it"),
    ({"data.corpus": "text"}, "data.train", "needs a file"),
    ({"data.valid_share": 1.0}, "data.valid_share", "at least 0 and below 1"),
    ({"data.test_share": 1.0}, "data.test_share", "at least 0 and below 1"),
    (
        {**TEXT, "data.valid_share": 0.6, "data.test_share": 0.4},
        "data.valid_share",
        "leaves nothing",
    ),
    ({**TEXT, "data.valid_share": 0.0}, "data.valid_share", "or give a file as data.valid"),
    ({**TEXT, "data.test_share": 0.0}, "data.test_share", "or give a file as data.test"),
    ({"tokenizer.kind": "word_piece"}, "tokenizer.kind", "did you mean wordpiece?"),
    ({"tokenizer.vocab_size": 4}, "tokenizer.vocab_size", "at least 5"),
    ({"model.name": "vae_transformers"}, "model.name", "did you mean vae_transformer?"),
    ({"model.preset": "papr"}, "model.preset", "did you mean paper?"),
    ({"model.dim": 0}, "model.dim", "at least 1"),
    ({"model.dim": 127}, "model.heads", "do not divide model.dim = 127"),
    ({"model.latent_dim": 0}, "model.latent_dim", "at least 1"),
    ({"model.latent_dim": -1}, "model.latent_dim", "at least 1"),
    ({"model.layers": 0}, "model.layers", "at least 1"),
    ({"model.heads": 0}, "model.heads", "at least 1"),
    ({"model.heads": 3}, "model.heads", "do not divide"),
    ({"model.ff_dim": 0}, "model.ff_dim", "at least 1"),
    ({"model.dropout": 1.0}, "model.dropout", "at least 0 and below 1"),
    ({"objective.annealing": "cyclical"}, "objective.annealing", "did you mean cyclic?"),
    ({"objective.cycles": 0}, "objective.cycles", "at least 1"),
    ({"objective.cycles": 7, "train.steps": 6}, "objective.cycles", "more cycles than"),
    ({"objective.ratio": 0.0}, "objective.ratio", "above 0 and at most 1"),
    ({"objective.ratio": 1.5}, "objective.ratio", "above 0 and at most 1"),
    ({"objective.zero": 0.75}, "objective.zero", "with objective.ratio = 0.5 it is more than"),
    ({"objective.beta": -1.0}, "objective.beta", "at least 0"),
    ({"objective.target_rate": -1.0}, "objective.target_rate", "at least 0"),
    ({"objective.rate_mode": "hing"}, "objective.rate_mode", "did you mean hinge?"),
    ({"objective.aggressive": 1.5}, "objective.aggressive", "at least 0 and at most 1"),
    ({"train.epochs": 0}, "train.epochs", "train.epochs or train.steps"),
    ({"train.learning_rate": 0.0, **NO_RATE}, "train.learning_rate", "above 0"),
    (
        {"train.final_learning_rate": 1.0},
        "train.final_learning_rate",
        "at most train.learning_rate",
    ),
    ({"train.beta1": 1.0}, "train.beta1", "at least 0 and below 1"),
    ({"train.beta2": 1.0}, "train.beta2", "at least 0 and below 1"),
    ({"train.decay": "some"}, "train.decay", "all, matrices"),
    ({"train.precision": "float64"}, "train.precision", "must be one of float32, bfloat16"),
    ({"train.log_every": 0}, "train.log_every", "at least 1"),
    ({"evaluation.batch_size": 0}, "evaluation.batch_size", "at least 1"),
    ({"probe.latent": "means"}, "probe.latent", "did you mean mean?"),
    ({"probe.fit": "close"}, "probe.fit", "did you mean closed?"),
    ({"probe.epochs": 0}, "probe.epochs", "at least 1"),
    ({"probe.batch_size": 0}, "probe.batch_size", "at least 1"),
    ({"probe.learning_rate": 0.0}, "probe.learning_rate", "above 0"),
    ({"samples.temperature": 0.0}, "samples.temperature", "above 0"),
]


@pytest.mark.parametrize(("changes", "key", "words"), BROKEN)
def test_a_broken_rule_is_told_with_its_key_and_what_may_be(changes, key, words):
    lines = complaints(changed(changes))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"config.{key} = ")
    assert words in lines[0]


@pytest.mark.parametrize(
    ("model", "changes", "key"),
    [
        ("vae_lstm", {"model.heads": 2}, "model.heads"),
        ("vae_lstm", {"model.preset": "modern"}, "model.preset"),
        ("transformer_lm", {"model.latent_dim": 8}, "model.latent_dim"),
        ("vae_transformer", {"model.embed_dim": 8}, "model.embed_dim"),
        ("vae_transformer", {"model.pooling": "max"}, "model.pooling"),
        ("vae_transformer", {"model.word_dropout": 1.0}, "model.word_dropout"),
        ("vae_gpt2", {"model.decoder_heads": 7}, "model.decoder_heads"),
        ("vae_gpt2", {"model.weights": "gpt2", "tokenizer.kind": "bpe"}, "model.weights"),
    ],
)
def test_what_a_model_does_not_have_is_refused(model, changes, key):
    lines = complaints(changed(changes, model))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"config.{key} = ")


@pytest.mark.parametrize(
    "changes",
    [
        {"data.max_len": 3},
        {"data.max_len": 512},
        {"objective.ratio": 1.0},
        {"train.epochs": 0, "train.steps": 6, "objective.cycles": 6},
        {**TEXT, "data.valid": "v.txt", "data.valid_share": 0.0, "data.test_share": 0.9},
        {**TEXT, "data.test": "t.txt", "data.valid_share": 0.6, "data.test_share": 0.6},
        {"train.final_learning_rate": 1e-3},
        {"evaluation.iw_samples": 0, "samples.count": 0},
    ],
)
def test_the_edge_of_a_rule_is_inside(changes):
    assert complaints(changed(changes)) == []


def test_all_that_is_wrong_is_told_at_once():
    lines = complaints(changed({"data.max_len": 0, "train.beta1": 2.0, "data.corpus": "x"}))
    assert {line.split(" = ")[0] for line in lines} == {
        "config.data.max_len",
        "config.train.beta1",
        "config.data.corpus",
    }


# A kept config ----------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    def keep(text):
        path = tmp_path / "config.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return keep


@pytest.mark.parametrize("model", MODELS)
def test_a_kept_config_comes_back_as_it_was(model, kept):
    config = changed({"data.max_len": 21, "train.learning_rate": 3e-4, "model.layers": 3}, model)
    back = read_config(kept(to_json(config)))
    assert back.to_dict() == config.to_dict()
    assert keys.differences(config, back) == {}
    assert back.is_locked


def test_a_key_added_since_has_its_default(kept):
    old = json.loads(to_json(changed({"model.layers": 3})))
    del old["samples"], old["probe"], old["objective"]["free_bits"]
    back = read_config(kept(json.dumps(old)))
    assert back.to_dict() == changed({"model.layers": 3}).to_dict()


def spoilt(change):
    tree = json.loads(to_json(default_config()))
    change(tree)
    return json.dumps(tree)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"model": "vae_transformer"}',
        b"\xff\xfe",
        spoilt(lambda tree: tree["model"].update(name="vae_unheard_of")),
        spoilt(lambda tree: tree["model"].update(colour="blue")),
        spoilt(lambda tree: tree["model"].update(dim="wide")),
        spoilt(lambda tree: tree["data"].update(max_len=1)),
    ],
)
def test_a_file_that_is_no_config_is_refused_by_its_name(kept, text):
    path = kept(text)
    with pytest.raises(UserError, match="not a config of this project") as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_a_folder_without_a_config_is_told_from_a_broken_one(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json here.*give the workdir"):
        read_config(tmp_path / "config.json")


def test_differences_name_both_values():
    old, new = default_config(), changed({"model.dim": 64, "train.steps": 9})
    assert keys.differences(old, new) == {"model.dim": (128, 64), "train.steps": (0, 9)}


def test_the_cache_is_where_the_config_the_environment_or_the_home_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VAETX_CACHE", raising=False)
    assert stored.cache_dir(default_config()) == tmp_path / ".cache" / "vaetx_jax"
    monkeypatch.setenv("VAETX_CACHE", "")
    assert stored.cache_dir(default_config()) == tmp_path / ".cache" / "vaetx_jax"
    monkeypatch.setenv("VAETX_CACHE", str(tmp_path / "environment"))
    assert stored.cache_dir(default_config()) == tmp_path / "environment"
    chosen = changed({"data.cache_dir": "~/chosen"})
    assert stored.cache_dir(chosen) == pathlib.Path(tmp_path / "chosen")
