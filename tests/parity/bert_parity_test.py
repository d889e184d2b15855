"""The BERT encoder against `transformers`: random models of all sizes, and the real MiniLM."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaetx_jax.data.tokenizers.vocabulary_files import wordpiece_from_file
from vaetx_jax.models import bert
from vaetx_jax.models.bert import BertEncoder

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make test-parity`")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: `make test-parity`"
)

LENGTHS = np.array([9, 2, 5])
MASK = np.arange(9)[None] < LENGTHS[:, None]
SMALL = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "vocab_size": 40,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
# Every field of the size, away from `SMALL`'s.
SIZES = [
    {},
    {"hidden_size": 24},
    {"num_hidden_layers": 4},
    {"num_attention_heads": 6},
    {"intermediate_size": 48},
    {"max_position_embeddings": 9},
    {"vocab_size": 57},
    {"type_vocab_size": 1},
    {"layer_norm_eps": 0.3},
]


def saved(folder, **changes):
    """A random model of `transformers`, far from its initialisation, saved to a folder."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**(SMALL | changes), initializer_range=0.4)
    model = transformers.BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms start at 0 and 1
                parameter.add_(0.3 * torch.randn(parameter.shape))
    model.save_pretrained(folder, safe_serialization=True)
    return model


@functools.partial(jax.jit, static_argnums=0)
def hidden(encoder, params, ids_BxT, mask_BxT):
    return encoder.apply({"params": params}, ids_BxT, mask_BxT, method="hidden")


def ids_of(vocab_size):
    noise = np.random.default_rng(0)
    return np.where(MASK, noise.integers(1, vocab_size, MASK.shape), 0).astype(np.int32)


def their_hidden(model, ids, mask):
    with torch.no_grad():
        ids, mask = torch.tensor(ids.astype(np.int64)), torch.tensor(mask.astype(np.int64))
        return model(ids, attention_mask=mask).last_hidden_state.numpy()


@pytest.mark.parametrize("changes", SIZES, ids=lambda changes: str(*changes) or "small")
def test_outputs_of_every_size_are_those_of_transformers(tmp_path, changes):
    model = saved(tmp_path, **changes)
    size = bert.read_size(tmp_path)
    params, ids = bert.load_weights(tmp_path, size), ids_of(size.vocab_size)
    ours = np.asarray(hidden(BertEncoder(size), params, ids, MASK))
    theirs = their_hidden(model, ids, MASK)
    assert np.std(theirs) > 0.3
    np.testing.assert_allclose(ours[MASK], theirs[MASK], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(transformers' model, our size and parameters, ids)."""
    folder = tmp_path_factory.mktemp("bert")
    model = saved(folder)
    size = bert.read_size(folder)
    return model, size, bert.load_weights(folder, size), ids_of(size.vocab_size)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_gradients_are_those_of_transformers(small, pooling):
    model, size, params, ids = small
    encoder = BertEncoder(size, pooling=pooling)

    @jax.jit
    @jax.grad
    def ours(params):
        pooled = encoder.apply({"params": params}, ids, MASK, deterministic=True)
        return jnp.sum(jnp.sin(pooled))

    model.zero_grad()
    mask = torch.tensor(MASK.astype(np.int64))
    output = model(torch.tensor(ids.astype(np.int64)), attention_mask=mask).last_hidden_state
    share = mask / mask.sum(1, keepdim=True)
    pooled = output[:, 0] if pooling == "cls" else (output * share[..., None]).sum(1)
    torch.sin(pooled).sum().backward()
    theirs = {name: parameter.grad for name, parameter in model.named_parameters()}
    layer = "encoder.layer.1."
    gradient = ours(params)
    pairs = [
        (gradient["token"]["embedding"], theirs["embeddings.word_embeddings.weight"]),
        (gradient["position"]["embedding"], theirs["embeddings.position_embeddings.weight"]),
        (gradient["norm"]["scale"], theirs["embeddings.LayerNorm.weight"]),
        (
            gradient["layer_1"]["attention"]["key"]["kernel"].T,
            theirs[layer + "attention.self.key.weight"],
        ),
        (
            gradient["layer_1"]["feed_forward"]["inner"]["bias"],
            theirs[layer + "intermediate.dense.bias"],
        ),
        (
            gradient["layer_0"]["attention_residual"]["norm"]["bias"],
            theirs["encoder.layer.0.attention.output.LayerNorm.bias"],
        ),
    ]
    for mine, other in pairs:
        scale = np.abs(other.numpy()).max()
        assert scale > 1e-3
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-4, atol=1e-5 * scale)


def test_the_type_embedding_of_the_second_sentence_is_never_used(small):
    """All tokens are of type 0, as `transformers` takes them where no types are given."""
    model, size, params, _ = small
    types = model.embeddings.token_type_embeddings.weight.detach().numpy()
    positions = model.embeddings.position_embeddings.weight.detach().numpy()
    np.testing.assert_allclose(params["position"]["embedding"], positions + types[0], rtol=1e-6)
    assert size.token_types == 2


# The real MiniLM --------------------------------------------------------------------------------

SENTENCES = [
    "a gripping movie , played with performances that are all understated and touching .",
    "bad .",
    "it 's a charming and often affecting journey .",
]


@pytest.fixture(scope="module")
def minilm(real_data):
    folder = real_data / "minilm"
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no MiniLM in {folder}")
    return folder


def test_the_real_minilm_gives_the_outputs_of_transformers(minilm):
    model = transformers.BertModel.from_pretrained(minilm).eval()
    tokens = transformers.BertTokenizer(str(minilm / "vocab.txt"))(SENTENCES, padding=True)
    ids, mask = np.array(tokens["input_ids"], np.int32), np.array(tokens["attention_mask"], bool)
    size = bert.read_size(minilm)
    ours = np.asarray(hidden(BertEncoder(size), bert.load_weights(minilm, size), ids, mask))
    np.testing.assert_allclose(ours[mask], their_hidden(model, ids, mask)[mask], atol=1e-4, rtol=0)
    own = wordpiece_from_file(minilm / "vocab.txt").encode(SENTENCES)
    assert [row[1 : sum(m) - 1].tolist() for row, m in zip(ids, mask, strict=True)] == own


def test_half_of_the_real_minilm_has_the_outputs_of_its_third_layer(minilm):
    """A size that is wrong by a layer is far away: the tolerance above can fail."""
    size = bert.read_size(minilm)
    params = bert.load_weights(minilm, size)
    ids, mask = np.array([[101, 2919, 1012, 102]], np.int32), np.ones((1, 4), bool)
    whole = hidden(BertEncoder(size), params, ids, mask)
    half = hidden(BertEncoder(dataclasses.replace(size, layers=3)), params, ids, mask)
    assert float(jnp.abs(whole - half).max()) > 0.1
