"""The quick probes of a final report."""

import numpy as np

from tests.helpers.clouds import two_classes
from vaetx_jax.probe.quick import ProbeResult, linear_probe, print_probes


def test_separable_classes_are_separated_and_the_majority_is_of_the_test_rows():
    z_train, y_train = two_classes(100, distance=5.0)
    z_test, y_test = two_classes(60, distance=5.0, seed=1)
    accuracy, majority = linear_probe(z_train, y_train, z_test, y_test)
    assert accuracy == 1.0
    assert majority == np.mean(y_test == np.bincount(y_train).argmax())


def test_one_class_in_training_leaves_the_majority():
    z, y = two_classes(20, distance=1.0)
    share = float(np.mean(y == 1))
    assert linear_probe(z, np.ones(20, int), z, y) == (share, share)


def test_the_table_has_a_row_per_label(capsys):
    print_probes([ProbeResult("topic", 6, 0.5, 0.25), ProbeResult("tense", 2, 0.75, 0.625)])
    printed = capsys.readouterr().out
    for text in ("topic", "0.500", "0.250", "tense", "0.750", "0.625"):
        assert text in printed


def test_brackets_of_a_label_s_name_are_printed(capsys):
    print_probes([ProbeResult("[/topic]", 6, 0.5, 0.25)])
    assert "[/topic]" in capsys.readouterr().out
