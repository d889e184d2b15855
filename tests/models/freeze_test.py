"""Frozen parameters: no gradient, no moments, no decay."""

import jax
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import validate
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.freeze import is_frozen, join, split
from vaetx_jax.training.state import init_state
from vaetx_jax.training.step import make_train_step

BATCH = tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4), length=6))
KEY = jax.random.key(0)


def leaves(tree):
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {tuple(str(key.key) for key in path): np.array(leaf) for path, leaf in flat}


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["encoder", "embeddings"])
def test_steps_leave_frozen_parameters_and_train_the_others(freeze):
    model, settings = tiny.vae(layers=1, freeze=freeze), tiny.step_settings(weight_decay=0.5)
    state = init_state(model, settings.optimizer, KEY, tiny.one_device())
    before = leaves(state.params)
    moments = jax.tree.leaves(state.optimizer)
    frozen = {path for path in before if is_frozen(path, freeze)}
    assert frozen and frozen != set(before)
    assert len(moments) == 1 + 2 * (len(before) - len(frozen))
    step = make_train_step(model, settings, tiny.one_device())
    for _ in range(3):
        state, _ = step(state, BATCH, KEY)
    for path, leaf in leaves(state.params).items():
        assert np.array_equal(leaf, before[path]) == (path in frozen), path


def test_a_frozen_encoder_leaves_the_posteriors_layers():
    assert is_frozen(("encoder", "layer_0", "bias"), "encoder")
    assert not is_frozen(("mu", "kernel"), "encoder")


def test_a_frozen_mean_is_the_encoder_and_the_layer_behind_it():
    assert is_frozen(("encoder", "layer_0", "bias"), "mean")
    assert is_frozen(("mu", "kernel"), "mean")
    assert not is_frozen(("logvar", "kernel"), "mean")


def test_the_two_parts_join_to_the_whole():
    params = {"encoder": {"a": {"kernel": 1}}, "mu": {"kernel": 2}, "decoder": {"embedding": 3}}
    trained, frozen = split(params, "encoder")
    assert trained == {"mu": {"kernel": 2}, "decoder": {"embedding": 3}}
    assert frozen == {"encoder": {"a": {"kernel": 1}}}
    assert join(trained, frozen) == params
    assert split(params, "none") == (params, {})


def test_frozen_embeddings_are_those_of_encoder_and_decoder():
    assert is_frozen(("decoder", "embedding", "token", "embedding"), "embeddings")
    assert is_frozen(("encoder", "embedding", "embedding"), "embeddings")
    assert not is_frozen(("output_layer", "bias"), "embeddings")


def test_a_language_model_has_no_encoder_to_freeze():
    config = default_config("transformer_lm")
    config.model.freeze = "encoder"
    with pytest.raises(ConfigError, match="freeze = 'encoder': transformer_lm has no encoder"):
        validate(config)
