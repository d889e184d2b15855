"""`train.precision = bfloat16`: what stays float32, and that a run learns as well."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny, tiny_bert
from tests.helpers.tiny_run import fit
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings, validate
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses.elbo import Objective, negative_elbo
from vaetx_jax.models import text_vae
from vaetx_jax.models.build import build_model
from vaetx_jax.models.presets import MODELS
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.runtime.mesh import data_mesh

IDS = jnp.asarray(np.random.default_rng(0).integers(4, 20, (4, 9)), jnp.int32)
BATCH = {"ids": IDS.at[1, 5:].set(0), "weight": jnp.ones(4, jnp.float32)}


def both(name, preset="paper"):
    """A small model in float32 and in bfloat16."""
    config = default_config(name)
    config.model.preset, config.model.dim = preset, 16
    if name == "vae_gpt2":
        config.model.update({"decoder_layers": 2, "decoder_heads": 2})
    sizes = {"vocab_size": 23, "pad_id": 0, "bert": tiny_bert.SIZE}
    build = functools.partial(build_model, model_settings(config), **sizes)
    return build(), build(dtype=jnp.bfloat16)


def loss_and_gradient(model, params):
    def loss(params):
        key = jax.random.key(0)
        one = jnp.float32(1.0)
        return negative_elbo(
            model,
            {"params": params},
            BATCH,
            key,
            objective=Objective(),
            kl_weight=one,
            mesh=data_mesh(),
        )

    (value, _), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return value, gradient


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradient_are_near_those_of_float32(name):
    exact, half = both(name)
    params = text_vae.init(exact, jax.random.key(1))["params"]
    loss, gradient = loss_and_gradient(exact, params)
    half_loss, half_gradient = loss_and_gradient(half, params)
    assert loss != half_loss  # it does compute in another precision
    np.testing.assert_allclose(half_loss, loss, rtol=1e-2)
    a, b = (
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(g)]) for g in (gradient, half_gradient)
    )
    assert np.dot(a, b) > 0.999 * np.linalg.norm(a) * np.linalg.norm(b)


@pytest.mark.parametrize("name", ["vae_transformer", "vae_lstm"])
def test_parameters_and_gradients_stay_float32(name):
    exact, half = both(name)
    params = text_vae.init(half, jax.random.key(1))["params"]
    assert jax.tree.structure(params) == jax.tree.structure(
        text_vae.init(exact, jax.random.key(1))["params"]
    )
    _, gradient = loss_and_gradient(half, params)
    assert {x.dtype for x in jax.tree.leaves((params, gradient))} == {jnp.dtype("float32")}


def test_the_posterior_is_float32():
    _, half = both("vae_transformer", "modern")
    params = text_vae.init(half, jax.random.key(1))["params"]
    mu, logvar = half.apply({"params": params}, BATCH["ids"], method="encode")
    assert mu.dtype == logvar.dtype == jnp.float32


def test_decoding_with_a_cache_works_in_bfloat16():
    _, half = both("vae_transformer", "modern")
    params = tiny.params_of(half)
    z = jnp.ones((4, 64), jnp.float32)
    h = half.apply({"params": params}, IDS, z, method="decode")
    assert h.dtype == jnp.bfloat16
    output = half.apply({"params": params}, method="output")
    cache = half.apply({"params": params}, z, 8, method="start")
    for position in range(8):
        arguments = IDS[:, position], jnp.int32(position), cache
        logits, cache = half.apply({"params": params}, *arguments, method="step")
    expected = h[:, -1].astype(jnp.float32) @ output.kernel_VxD.T + output.bias_V[None]
    np.testing.assert_allclose(logits, expected, atol=0.05 * float(jnp.std(expected)))


@pytest.mark.slow
def test_the_learning_curve_is_that_of_float32(config, trained, tmp_path):
    half = config.copy_and_resolve_references()
    half.train.precision = "bfloat16"
    fit(half, tmp_path / "half")
    curves = [
        np.array(
            [row["train/loss"] for row in read_metrics(folder / METRICS) if "train/loss" in row]
        )
        for folder in (trained, tmp_path / "half")
    ]
    assert not np.array_equal(*curves)
    np.testing.assert_allclose(*curves, rtol=0.01)


def test_another_precision_is_refused():
    config = default_config()
    config.train.precision = "float16"
    with pytest.raises(
        ConfigError, match=r"train.precision = 'float16': must be one of float32, bf"
    ):
        validate(config)
