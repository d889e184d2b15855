"""Parts of another run's variables: what is taken, and what is refused."""

import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.errors import UserError
from vaetx_jax.training.warm_start import take_part


def variables(seed, **changes):
    return tiny.variables_of(tiny.vae(**({"layers": 1} | changes)), seed)


def same(first, second):
    return np.array_equal(np.asarray(first), np.asarray(second))


def test_a_decoder_is_taken_with_its_output_layer_and_no_more():
    mine, theirs = variables(0, encoder="bag"), variables(1)
    params = take_part(mine, theirs, "decoder", source="x")["params"]
    for part, expected in (("decoder", theirs), ("output_layer", theirs), ("mu", mine)):
        first, second = params[part], expected["params"][part]
        assert all(map(same, leaves(first), leaves(second))), part


def leaves(tree):
    return [
        leaf
        for value in tree.values()
        for leaf in (leaves(value) if isinstance(value, dict) else [value])
    ]


def test_a_language_models_decoder_fits_a_text_vae():
    mine, theirs = variables(0), variables(1)
    for name in ("project",):
        del theirs["params"]["decoder"][name]
    for name in ("latent_attention", "latent_residual"):
        theirs["params"]["decoder"]["layer_0"].pop(name, None)
    params = take_part(mine, theirs, "decoder", source="x")["params"]
    kernel = params["decoder"]["project"]["kernel"]
    assert same(kernel, mine["params"]["decoder"]["project"]["kernel"])


def test_a_leaf_of_another_shape_is_named():
    with pytest.raises(UserError, match=r"x: params.decoder.embedding.* has the shape \[.* there"):
        take_part(variables(0), variables(1, dim=4), "decoder", source="x")


def test_a_leaf_that_one_model_lacks_is_named():
    with pytest.raises(UserError, match=r"x: this model has no params.decoder.layer_1"):
        take_part(variables(0), variables(1, layers=2), "decoder", source="x")
