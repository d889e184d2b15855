"""FLOPs of a forward pass against sums by hand, from the shapes of Table 8's models."""

import functools

import jax
import pytest

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.models import text_vae
from vaetx_jax.models.build import build_model
from vaetx_jax.models.flops import forward_flops

V, D, FF, H = 30_522, 128, 512, 128
HEAD = D * V
LAYER = 3 * D * D + 2 * D * FF  # Q, K, V and feed-forward
GATE = (128 + H) * H  # a gate's weights on the input and on the state


def shapes(name, **changes):
    config = default_config(name)
    config.model.update(changes)
    model = build_model(model_settings(config), vocab_size=V, pad_id=0)
    return jax.eval_shape(functools.partial(text_vae.init, model), jax.random.key(0))["params"]


@pytest.mark.parametrize(
    ("name", "weights", "attentions"),
    [
        ("transformer_lm", HEAD + 2 * LAYER, 2),
        ("vae_transformer", HEAD + 2 * LAYER + 2 * (LAYER + D * D), 4),  # and the latent's queries
        ("lstm_lm", HEAD + 2 * 4 * GATE, 0),
        ("gru_lm", HEAD + 2 * 3 * GATE, 0),
        # The second bidirectional layer reads both directions.
        ("vae_gru", HEAD + 2 * 3 * GATE + 2 * 3 * (GATE + (256 + H) * H), 0),
    ],
)
def test_they_are_the_sum_over_kernels_and_attentions(name, weights, attentions):
    found = forward_flops(shapes(name), [7, 3])
    assert found == 2 * weights * 10 + attentions * 4 * D * (49 + 9)


def test_twice_the_sentences_take_twice_as_much():
    tree = shapes("vae_transformer")
    assert forward_flops(tree, [5, 9, 5, 9]) == 2 * forward_flops(tree, [5, 9])


@pytest.mark.parametrize("name", ["transformer_lm", "vae_transformer"])
def test_a_tied_output_layer_takes_as_much_as_one_of_its_own(name):
    tied, untied = (shapes(name, preset="modern", tied=tied) for tied in (True, False))
    assert "kernel" not in tied["output_layer"]
    assert forward_flops(tied, [7, 3]) == forward_flops(untied, [7, 3])


def test_attention_pooling_makes_keys_and_values_of_every_position():
    pooled, plain = (shapes("vae_transformer", pooling=pooling) for pooling in ("attention", "cls"))
    assert forward_flops(pooled, [7, 3]) - forward_flops(plain, [7, 3]) == 2 * 2 * D * D * 10
