"""A trained model in Python: what comes out, and that it does not depend on the batch."""

import numpy as np
import pytest

from vaetx_jax.api import load
from vaetx_jax.errors import UserError

SENTENCES = [
    "you will watch a bad storm",
    "i love this soup",
    "my happy friend baked the cake so the chefs were happy",
    "the children will not love this album in the studio and planned a show",
]


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


def test_encode_gives_a_mean_and_a_deviation_a_sentence_in_order(model):
    mean, std = model.encode(SENTENCES)
    assert mean.shape == std.shape == (len(SENTENCES), model.latent_dim)
    assert (std > 0).all()
    backwards, _ = model.encode(SENTENCES[::-1])
    np.testing.assert_allclose(backwards[::-1], mean, rtol=1e-5, atol=1e-6)


def test_a_sentence_alone_is_encoded_as_in_a_batch(model):
    together, _ = model.encode(SENTENCES)
    for sentence, expected in zip(SENTENCES, together, strict=True):
        alone, _ = model.encode([sentence])
        np.testing.assert_allclose(alone[0], expected, rtol=1e-5, atol=1e-6)


def test_encode_takes_no_sentence_an_empty_one_and_one_that_is_too_long(model):
    assert model.encode([])[0].shape == (0, model.latent_dim)
    mean, _ = model.encode(["", "a storm " * 1000])
    assert np.isfinite(mean).all()


def test_decoding_a_latent_does_not_depend_on_the_others(model):
    z = np.random.default_rng(0).standard_normal((5, model.latent_dim)).astype(np.float32)
    assert model.decode(z[2:3]) == model.decode(z)[2:3]


def test_sampling_is_the_same_for_a_seed_and_differs_for_another(model):
    assert model.sample(3, seed=1) == model.sample(3, seed=1)
    assert model.sample(3, seed=1) != model.sample(3, seed=2)


def test_interpolation_begins_and_ends_with_the_reconstructions(model):
    path = model.interpolate(SENTENCES[0], SENTENCES[2], 4)
    assert len(path) == 4
    assert [path[0], path[-1]] == model.reconstruct([SENTENCES[0], SENTENCES[2]])


def test_no_checkpoint_is_a_clear_error(tmp_path, trained):
    for name in ("config.json",):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / "tokenizer").symlink_to(trained / "tokenizer")
    with pytest.raises(UserError, match="no checkpoints here"):
        load(tmp_path)
