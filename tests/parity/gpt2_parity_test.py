"""The GPT-2 decoder against `transformers`: a random model saved as safetensors, loaded by us."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny_gpt2
from tests.helpers.tiny import params_of
from vaetx_jax.models import gpt2

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-parity`")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: `make test-parity`"
)

IDS = np.random.default_rng(0).integers(0, tiny_gpt2.VOCABULARY, (3, 9)).astype(np.int32)
Z = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
MODEL = tiny_gpt2.model()


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """(the folder that transformers saved, its model)."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=tiny_gpt2.DIM,
        n_layer=tiny_gpt2.LAYERS,
        n_head=tiny_gpt2.HEADS,
        vocab_size=tiny_gpt2.VOCABULARY,
        n_positions=tiny_gpt2.POSITIONS,
        initializer_range=0.5,  # far from zero, so that whatever is left out shows
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # biases and norms start at 0 and 1
                parameter.add_(0.3 * torch.randn(parameter.shape), alpha=1.0)
                assert parameter.std() > 0.1, name
    folder = tmp_path_factory.mktemp("gpt2")
    model.save_pretrained(folder, safe_serialization=True)
    return folder, model


@pytest.fixture(scope="module")
def params(oracle):
    fresh = jax.device_get(params_of(MODEL))
    loaded = gpt2.load_weights(oracle[0], fresh, heads=tiny_gpt2.HEADS)
    loaded["output_layer"] = loaded["output_layer"] | {
        "bias": np.zeros(tiny_gpt2.VOCABULARY + 2, np.float32)
    }
    return loaded


@functools.partial(jax.jit, static_argnames="method")
def apply(params, *inputs, method):
    return MODEL.apply({"params": params}, *inputs, method=method)


def logits(params, z_BxZ):
    """Ours of all positions; a [SEP] behind the ids, because `decode` leaves the last out."""
    ids_BxS = jnp.asarray(np.concatenate([IDS, IDS[:, :1]], axis=1))
    h_BxTxD = apply(params, ids_BxS, z_BxZ, method="decode")
    output = params["output_layer"]
    return jnp.asarray(h_BxTxD) @ output["kernel"].T + output["bias"][None, None]


def with_projection(params, projection):
    return params | {"decoder": params["decoder"] | {"project": projection}}


def test_logits_without_a_latent_are_those_of_transformers(oracle, params):
    silent = {"kernel": np.zeros((4, 12), np.float32), "bias": np.zeros(12, np.float32)}
    ours = logits(with_projection(params, silent), Z)
    with torch.no_grad():
        theirs = oracle[1](torch.tensor(IDS.astype(np.int64))).logits.numpy()
    assert np.std(theirs) > 1
    np.testing.assert_allclose(ours[..., : tiny_gpt2.VOCABULARY], theirs, rtol=1e-5, atol=3e-5)


def test_the_latent_is_added_to_every_input_embedding(oracle, params):
    project, model = params["decoder"]["project"], oracle[1]
    added_BxD = Z @ project["kernel"] + project["bias"]
    with torch.no_grad():
        tokens = model.transformer.wte(torch.tensor(IDS.astype(np.int64)))
        theirs = model(inputs_embeds=tokens + torch.tensor(added_BxD)[:, None]).logits.numpy()
    ours = logits(params, Z)[..., : tiny_gpt2.VOCABULARY]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=3e-5)
    assert (
        np.abs(theirs - np.asarray(logits(params, 0 * Z))[..., : tiny_gpt2.VOCABULARY]).max() > 0.1
    )


@pytest.mark.parametrize("latent_input", [False, True])
def test_a_prefix_is_a_past_of_one_position_in_each_layer(oracle, latent_input):
    """Optimus' memory; the sentence's own positions begin at 0."""
    ours_model = tiny_gpt2.model(latent_prefix=True, latent_input=latent_input)
    fresh = jax.device_get(params_of(ours_model))
    params = gpt2.load_weights(oracle[0], fresh, heads=tiny_gpt2.HEADS)
    decoder, model = params["decoder"], oracle[1]
    past = transformers.DynamicCache()
    for i in range(tiny_gpt2.LAYERS):
        pair = []
        for part in ("prefix_key", "prefix_value"):
            linear = decoder[f"layer_{i}"][part]
            heads = (Z @ linear["kernel"] + linear["bias"]).reshape(3, tiny_gpt2.HEADS, 1, -1)
            pair.append(torch.tensor(heads))
        past.update(*pair, i)
    added_BxD = np.zeros((3, tiny_gpt2.DIM), np.float32)
    if latent_input:
        added_BxD = Z @ decoder["project"]["kernel"] + decoder["project"]["bias"]
    positions = torch.arange(IDS.shape[1])[None]
    with torch.no_grad():
        tokens = model.transformer.wte(torch.tensor(IDS.astype(np.int64)))
        theirs = model(
            inputs_embeds=tokens + torch.tensor(added_BxD)[:, None],
            past_key_values=past,
            position_ids=positions,
            attention_mask=torch.ones(3, IDS.shape[1] + 1),
        ).logits.numpy()
    ids_BxS = jnp.asarray(np.concatenate([IDS, IDS[:, :1]], axis=1))
    h_BxTxD = ours_model.apply({"params": params}, ids_BxS, Z, method="decode")
    table = params["output_layer"]["kernel"][: tiny_gpt2.VOCABULARY]
    np.testing.assert_allclose(h_BxTxD @ table.T, theirs, rtol=1e-5, atol=3e-5)


def test_decoding_with_a_cache_gives_the_same_logits(oracle, params):
    full = np.asarray(logits(params, Z))
    cache = MODEL.apply({"params": params}, Z, IDS.shape[1], method="start")
    for position in range(IDS.shape[1]):
        at = jnp.int32(position)
        here, cache = apply(params, IDS[:, position], at, cache, method="step")
        np.testing.assert_allclose(here, full[:, position], rtol=1e-5, atol=3e-5)


def test_gradients_are_those_of_transformers(oracle, params):
    """Of the loss by position embeddings, which stand for all that lies below them."""
    silent = {"kernel": np.zeros((4, 12), np.float32), "bias": np.zeros(12, np.float32)}
    quiet = with_projection(params, silent)

    @jax.jit
    @jax.grad
    def ours(table):
        embedding = quiet["decoder"]["embedding"] | {"position": {"embedding": table}}
        changed = quiet | {"decoder": quiet["decoder"] | {"embedding": embedding}}
        return jnp.sum(jnp.sin(logits(changed, Z)[..., : tiny_gpt2.VOCABULARY]))

    model = oracle[1]
    model.zero_grad()
    torch.sin(model(torch.tensor(IDS.astype(np.int64))).logits).sum().backward()
    theirs = model.transformer.wpe.weight.grad.numpy()
    table = jnp.asarray(quiet["decoder"]["embedding"]["position"]["embedding"])
    scale = np.abs(theirs).max()
    assert scale > 1
    np.testing.assert_allclose(ours(table), theirs, rtol=1e-4, atol=1e-5 * scale)
