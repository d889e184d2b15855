"""Whole runs of a published encoder, frozen or not: what they train, save and need again."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file

from tests.helpers import tiny_bert
from tests.helpers.hub_server import hub_server
from tests.helpers.interruption import interrupt_at
from tests.helpers.tiny_run import fit
from vaetx_jax.config.defaults import default_config
from vaetx_jax.errors import DamagedError
from vaetx_jax.export import export
from vaetx_jax.inference.loading import load
from vaetx_jax.models import bert
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.run.run import create_run
from vaetx_jax.runtime.mesh import put_batch
from vaetx_jax.training.trainer import StoppedError, Trainer

STEPS = 6


def recipe(cache, weights):
    config = default_config("vae_bert")
    config.data.cache_dir, config.data.sentences, config.data.held_out = str(cache), 60, 20
    config.data.batch_size, config.data.groups, config.data.max_len = 8, 1, 14
    config.model.update({"dim": 8, "latent_dim": 3, "layers": 1, "freeze": "encoder"})
    config.model.update({"encoder_weights": str(weights), "encoder_start": "whiten"})
    config.model.channel_rate = 2.0
    config.objective.annealing, config.objective.cycles = "none", 1
    config.train.steps, config.train.log_every, config.train.validate_every = STEPS, 2, 3
    config.evaluation.batch_size, config.samples.count = 8, 0
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(the config, the folder of its finished run)."""
    root = tmp_path_factory.mktemp("pretrained")
    config = recipe(root / "cache", tiny_bert.write(root / "bert"))
    fit(config, root / "run")
    return config, root / "run"


@pytest.mark.slow
def test_training_leaves_the_encoder_as_it_was_published(whole):
    model = load(whole[1], checkpoint="last")
    published = flatten_dict(model.run.encoder.load())
    trained = flatten_dict(model.params["encoder"])
    assert trained.keys() == published.keys()
    for path, leaf in published.items():
        np.testing.assert_array_equal(trained[path], leaf, err_msg=str(path))


def test_the_encoder_is_saved_once_and_in_no_checkpoint(whole):
    checkpoints = whole[1] / "checkpoints"
    (frozen,) = checkpoints.glob("frozen-*.safetensors")
    steps = [path for path in checkpoints.iterdir() if path.name.isdecimal()]
    assert len(steps) == 2
    for step in steps:
        note = json.loads((step / "frozen.json").read_text())
        assert note["file"] == frozen.name
        assert all(name.startswith("encoder.") for name in note["names"])
        assert not [p for p in step.rglob("*") if "params.encoder" in p.name]


def test_a_step_with_cached_features_is_one_with_the_encoder(whole, tmp_path):
    """The loss and every gradient that reaches the first update, to 1e-6."""
    config, _ = whole
    trainer = Trainer(create_run(config, tmp_path))
    state, phrase = trainer.start_state()
    assert phrase.endswith(f"the encoder from {config.model.encoder_weights}")
    batch = dict(trainer.batches.at(0))
    assert batch["features"].shape == (8, tiny_bert.DIM)
    arrays = {name: batch[name] for name in ("ids", "weight", "features")}
    results = []
    for names in (("ids", "weight", "features"), ("ids", "weight")):
        on_mesh = put_batch({name: arrays[name] for name in names}, jax_mesh(trainer))
        copy = jax.tree.map(lambda x: x.copy(), state)
        results.append(trainer.train_step(copy, on_mesh, trainer.key)[1].sums)
    cached, encoded = results
    for name in ("loss", "nll", "kl", "grad_norm"):
        np.testing.assert_allclose(
            getattr(cached, name), getattr(encoded, name), rtol=1e-6, err_msg=name
        )


def jax_mesh(trainer):
    return trainer._run.mesh


def test_the_start_is_the_whitened_features(whole, tmp_path):
    config, _ = whole
    trainer = Trainer(create_run(config, tmp_path))
    state, _ = trainer.start_state()
    features = create_run(config, tmp_path).split("train").features
    mu = jax.device_get(state.params["mu"])
    z = features @ mu["kernel"] + mu["bias"]
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(3), atol=1e-3)


def test_a_finished_run_is_used_where_the_weights_are_gone(whole, tmp_path, monkeypatch):
    model = load(whole[1])
    before = model.encode(["the cat sat", "a dog"])[0]
    monkeypatch.setattr(bert, "load_weights", None)
    monkeypatch.setattr("vaetx_jax.run.pretrained.PretrainedEncoder.folder", lambda self: None)
    np.testing.assert_array_equal(load(whole[1]).encode(["the cat sat", "a dog"])[0], before)


def test_a_damaged_file_of_the_encoder_is_refused(whole, tmp_path):
    copy = shutil.copytree(whole[1], tmp_path / "run")
    (frozen,) = (copy / "checkpoints").glob("frozen-*")
    content = bytearray(frozen.read_bytes())
    content[-5] ^= 1
    frozen.write_bytes(content)
    with pytest.raises(DamagedError, match=r"frozen-.*: not as it was written"):
        load(copy)


def test_a_frozen_encoder_of_the_hub_is_named_and_not_exported(whole, tmp_path, monkeypatch):
    model, folder = load(whole[1]), pathlib.Path(whole[0].model.encoder_weights)
    named = as_of_the_hub(model, "me/bert")
    shared = export(named, tmp_path / "shared")
    tensors = load_file(shared / "model.safetensors")
    assert tensors and not [name for name in tensors if name.startswith("encoder.")]
    with hub_server(tmp_path / "hub", monkeypatch) as hub:
        hub.add("me/bert", folder)
        again = load(shared)
    for a, b in zip(jax.tree.leaves(again.params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_array_equal(a, b)
    whole_export = export(named, tmp_path / "whole", with_encoder=True)
    assert len(load_file(whole_export / "model.safetensors")) > len(tensors)


def test_a_frozen_encoder_of_this_machine_is_exported(whole, tmp_path):
    model = load(whole[1])
    again = load(export(model, tmp_path / "shared"))
    assert again.run.config.model.encoder_weights == "bert"  # its name, without its place
    np.testing.assert_array_equal(again.encode(["a cat"])[0], model.encode(["a cat"])[0])


def as_of_the_hub(model, name):
    """The same model, its encoder fetched from the hub under a name."""
    config = model.run.config.copy_and_resolve_references()
    config.model.encoder_weights = name
    encoder = dataclasses.replace(model.run.encoder, name=name)
    return dataclasses.replace(
        model, run=dataclasses.replace(model.run, config=config, encoder=encoder)
    )


# Trained further ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """(the config, the folder of its finished run) where the encoder is trained, too."""
    root = tmp_path_factory.mktemp("tuned")
    config = recipe(root / "cache", tiny_bert.write(root / "bert"))
    config.model.freeze = "none"
    fit(config, root / "run")
    return config, root / "run"


@pytest.mark.slow
def test_fine_tuning_trains_the_encoder_and_the_loss_falls(tuned):
    model = load(tuned[1], checkpoint="last")
    published = model.run.encoder.load()["token"]["embedding"]
    trained = model.params["encoder"]["token"]["embedding"]
    assert np.abs(trained - published).max() > 1e-4
    losses = [row["valid/nll"] for row in read_metrics(tuned[1] / METRICS) if "valid/nll" in row]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.1


def test_fine_tuning_that_was_stopped_goes_on_bit_for_bit(tuned, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, {2, 4})
    for _ in range(2):
        with pytest.raises(StoppedError):
            fit(tuned[0], tmp_path)
    fit(tuned[0], tmp_path)
    ours, theirs = load(tmp_path, checkpoint="last"), load(tuned[1], checkpoint="last")
    jax.tree.map(np.testing.assert_array_equal, ours.variables, theirs.variables)


def test_a_trained_encoder_of_the_hub_is_exported(tuned, tmp_path):
    model = load(tuned[1])
    again = load(export(as_of_the_hub(model, "me/bert"), tmp_path / "shared"))
    jax.tree.map(np.testing.assert_array_equal, again.variables, model.variables)


def test_the_same_run_started_again_is_done_already(whole):
    config, folder = whole
    state, phrase = Trainer(create_run(config, folder)).start_state()
    assert phrase == f"resumes after step {STEPS}"
    assert int(state.step) == STEPS
