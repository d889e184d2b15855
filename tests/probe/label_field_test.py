"""The probe of one label field."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.probe.classifiers import Latents
from vaetx_jax.probe.label_field import ProbeInputs, probe_field


def toy(labels, rows=40):
    """ProbeInputs of one field `kind` whose split's labels are given; z says nothing of them."""
    noise = np.random.default_rng(0)
    mean = {split: noise.standard_normal((rows, 3)).astype(np.float32) for split in SPLITS}
    latents = {split: Latents(z, np.ones_like(z)) for split, z in mean.items()}
    y = {split: np.resize(labels[split], rows) for split in SPLITS}
    return ProbeInputs(latents, latents, {"lsa": mean}, {"kind": y})


SETTINGS = ConfigDict(default_config().probe.to_dict() | {"epochs": 2})


def test_a_label_with_one_class_is_left_out_and_says_so():
    inputs = toy({"train": [1], "valid": [0, 1], "test": [1]})
    found = probe_field("kind", ("odd", "even"), inputs, SETTINGS, few_labels=True)
    assert found["skipped"] == "every training row is 'even': nothing to classify"
    assert "splits" not in found


def test_a_class_that_only_the_test_split_has_is_named():
    inputs = toy({"train": [0, 1], "valid": [1], "test": [0, 1, 2]})
    found = probe_field("kind", ("a", "b", "c"), inputs, SETTINGS, few_labels=True)
    assert "no training row is 'c'" in found["notes"][0]
    assert found["splits"]["test"]["cross_entropy"] is not None
    assert found["references"]["lsa"]["test"]["cross_entropy"] is None
    assert found["splits"]["valid"]["roc_auc"] is None


@pytest.mark.parametrize("fit", ["paper", "closed"])
def test_both_fits_learn_a_plain_label_in_a_field(fit):
    inputs = toy({split: [0, 1] for split in SPLITS})
    for split, latents in inputs.latents.items():
        latents.mean_NxZ[:, 0] += 40 * inputs.labels["kind"][split] - 20
    settings = ConfigDict({**SETTINGS.to_dict(), "fit": fit, "learning_rate": 0.3, "epochs": 30})
    found = probe_field("kind", ("a", "b"), inputs, settings, few_labels=False)
    assert found["splits"]["test"]["accuracy"] == 1.0
    assert found["splits"]["test"]["roc_auc"] == 1.0
