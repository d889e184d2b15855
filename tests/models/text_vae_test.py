"""Encoders and decoders in any pairing, and the parts that a text VAE may have beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings, validate
from vaetx_jax.errors import ConfigError
from vaetx_jax.models import text_vae
from vaetx_jax.models.bag import BagEncoder
from vaetx_jax.models.build import build_model
from vaetx_jax.models.recurrent import RecurrentEncoder
from vaetx_jax.models.transformer import TransformerEncoder

BATCH = tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4)))
IDS_BxS, WEIGHT_B = BATCH["ids"], BATCH["weight"]
RNGS = {"dropout": jax.random.key(1), "latent": jax.random.key(2)}


def config_of(name="vae_transformer", **changes):
    config = default_config(name)
    config.model.update({"dim": tiny.DIM, "latent_dim": tiny.LATENT, "layers": 1} | changes)
    return config


def built(name="vae_transformer", **changes):
    config = config_of(name, **changes)
    validate(config)
    return build_model(model_settings(config), vocab_size=tiny.VOCABULARY, pad_id=tiny.PAD)


# Encoders --------------------------------------------------------------------------------------

ENCODERS = {
    "transformer": TransformerEncoder,
    "lstm": RecurrentEncoder,
    "gru": RecurrentEncoder,
    "bag": BagEncoder,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae_transformer", "vae_lstm"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_goes_with_every_decoder(name, encoder):
    model = built(name, encoder=encoder)
    assert type(model.encoder) is ENCODERS[encoder]
    assert type(model.decoder) is type(built(name).decoder)
    mu_BxZ, logvar_BxZ = text_vae.encode(model, tiny.variables_of(model), IDS_BxS)
    assert mu_BxZ.shape == logvar_BxZ.shape == (4, tiny.LATENT)


def test_the_familys_own_encoder_named_is_the_model_itself():
    assert built(encoder="transformer") == built()


def test_a_field_of_another_encoder_is_refused():
    with pytest.raises(ConfigError, match=r"pooling.*vae_transformer with the encoder bag"):
        validate(config_of(encoder="bag", pooling="mean"))
    with pytest.raises(ConfigError, match="embed_dim"):
        validate(config_of(embed_dim=16))
    validate(config_of(encoder="lstm", embed_dim=16))


def test_lsa_is_refused_as_the_start_of_another_encoder_than_a_bag():
    with pytest.raises(ConfigError, match="encoder_start = 'lsa': lsa is a start of the encoder"):
        validate(config_of(encoder_start="lsa"))


# Dropout ---------------------------------------------------------------------------------------

DROPOUTS = [
    ("vae_transformer", "word_dropout"),
    ("vae_lstm", "word_dropout"),
    ("vae_transformer", "encoder_word_dropout"),
    ("vae_gru", "encoder_word_dropout"),
    ("vae_lstm", "output_dropout"),
]


@pytest.mark.parametrize(("name", "field"), DROPOUTS)
def test_a_dropout_changes_training_alone(name, field):
    plain, dropping = built(name, dropout=0.0), built(name, dropout=0.0, **{field: 0.5})
    variables = tiny.variables_of(plain)
    trained = [
        text_vae.forward(model, variables, IDS_BxS, WEIGHT_B, RNGS)[0]
        for model in (plain, dropping)
    ]
    of_encoder = "mu_BxZ" if field.startswith("encoder") else "h_BxTxD"
    first, second = (getattr(one, of_encoder) for one in trained)
    assert not np.allclose(first, second)
    encoded = [text_vae.encode(model, variables, IDS_BxS)[0] for model in (plain, dropping)]
    np.testing.assert_array_equal(*encoded)
    decoded = [text_vae.decode(m, variables, IDS_BxS, encoded[0]) for m in (plain, dropping)]
    np.testing.assert_array_equal(*decoded)


# The latent's paths ----------------------------------------------------------------------------


def test_the_output_gets_the_latent_by_its_projection():
    model, plain = built(latent_output=True), built()
    variables = tiny.variables_of(model)
    z_BxZ = jax.random.normal(jax.random.key(0), (4, tiny.LATENT))
    kernel_ZxD = variables["params"]["output_projection"]["kernel"]
    without = {"params": {k: v for k, v in variables["params"].items() if k != "output_projection"}}
    expected = text_vae.decode(plain, without, IDS_BxS, z_BxZ) + (z_BxZ @ kernel_ZxD)[:, None]
    got = text_vae.decode(model, variables, IDS_BxS, z_BxZ)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_fresh_projection_to_the_output_changes_nothing():
    model = built(latent_output=True)
    kernel = text_vae.init(model, jax.random.key(0))["params"]["output_projection"]["kernel"]
    np.testing.assert_array_equal(kernel, np.zeros((tiny.LATENT, tiny.DIM)))


@pytest.mark.parametrize("name", ["vae_transformer", "vae_gru"])
def test_decoding_with_a_cache_has_the_latent_at_its_output(name):
    model = built(name, latent_output=True)
    variables = tiny.variables_of(model)
    z_BxZ = jax.random.normal(jax.random.key(0), (4, tiny.LATENT))
    h_BxTxD = text_vae.decode(model, variables, IDS_BxS, z_BxZ)
    kernel_VxD, bias_V = text_vae.output(model, variables)
    cache = text_vae.start(model, variables, z_BxZ, 4)
    for t in range(2):
        logits, cache = text_vae.step(model, variables, IDS_BxS[:, t], jnp.int32(t), cache)
        expected = h_BxTxD[:, t] @ kernel_VxD.T + bias_V[None]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_without_latent_attention_the_layers_have_none_and_z_needs_another_path():
    with pytest.raises(ConfigError, match="latent_attention = False: without it z needs"):
        validate(config_of(latent_attention=False))
    model = built(latent_attention=False, latent_output=True)
    decoder = tiny.params_of(model)["decoder"]
    assert "latent_attention" not in decoder["layer_0"] and "project" not in decoder
