"""Baseline features: n-grams and LSA."""

import numpy as np
import pytest

from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.probe.baselines import text_features

TEXTS = {
    "train": ["I like it !", "I like soup", "it is cold", "cold soup !"],
    "valid": ["cold it is"],
    "test": ["a sauna !"],
}


def test_a_bag_holds_the_one_and_two_grams_of_the_training_split():
    bag = text_features(TEXTS, dimensions=2, seed=0)["bag_of_ngrams"]
    grams = {"i", "like", "it", "!", "soup", "is", "cold", "i like", "like it", "it !"}
    grams |= {"like soup", "it is", "is cold", "cold soup", "soup !"}
    assert bag["train"].shape == (4, len(grams))
    assert [bag[split].nnz for split in SPLITS[1:]] == [4, 1]  # cold, it, is, 'it is'; !


@pytest.mark.parametrize(("dimensions", "given"), [(2, 2), (100, 15)])
def test_lsa_has_the_dimensions_asked_for_or_as_many_as_there_are_n_grams(dimensions, given):
    first, again = (text_features(TEXTS, dimensions=dimensions, seed=3)["lsa"] for _ in range(2))
    for split, sentences in TEXTS.items():
        assert first[split].shape[0] == len(sentences)
        assert 1 <= first[split].shape[1] <= given
        np.testing.assert_array_equal(first[split], again[split])
