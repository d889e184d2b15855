"""The rows of a grid: their names, their settings, their sweep, and what is refused."""

import pytest

from vaetx_jax.config.study import default_study, validate_study
from vaetx_jax.config.study_rows import Row, rows_of
from vaetx_jax.errors import ConfigError

PLAIN = ("vae_gru", "cyclic")
NAMED = ("vae_gru", "none", "free bits", {"objective.free_bits": 0.5})
LM = ("gru_lm", "none")


def grid(*rows, sweep=None):
    config = default_study("small", "grid")
    config.study.corpora, config.study.rows = ("grammar",), rows
    if sweep is not None:
        config.study.sweep = sweep
    return config


def titles(*rows, sweep=None):
    config = grid(*rows, sweep=sweep)
    validate_study(config)
    return [row.title for row in rows_of(config.study)]


def test_a_row_is_called_by_its_name_or_by_what_it_is():
    assert titles(PLAIN, NAMED, LM) == ["vae_gru, cyclic", "free bits", "gru_lm"]


def test_a_sweep_makes_a_row_of_each_combination_but_leaves_language_models():
    sweep = {"objective.free_bits": (0.0, 0.5), "model.dim": (8, 16)}
    assert titles(PLAIN, LM, sweep=sweep) == [
        "vae_gru, cyclic, free_bits 0.0, dim 8",
        "vae_gru, cyclic, free_bits 0.0, dim 16",
        "vae_gru, cyclic, free_bits 0.5, dim 8",
        "vae_gru, cyclic, free_bits 0.5, dim 16",
        "gru_lm",
    ]


def test_a_point_of_the_sweep_wins_over_the_rows_own_setting():
    config = grid(NAMED, sweep={"objective.free_bits": (0.1,), "model.dim": (8,)})
    (row,) = rows_of(config.study)
    assert dict(row.settings) == {"objective.free_bits": 0.1, "model.dim": 8}


def test_a_row_whose_settings_name_an_annealing_has_that_one():
    (row,) = rows_of(grid(PLAIN, sweep={"objective.annealing": ("linear",)}).study)
    assert row.annealing == "linear"


def test_a_slug_says_what_a_label_does_not_say_already():
    assert Row(*PLAIN).slug == ""
    assert Row(*PLAIN, "target rate: 8 nats").slug == "target_rate_8_nats"
    (row,) = rows_of(grid(PLAIN, sweep={"objective.free_bits": (0.5,)}).study)
    assert row.slug == "free_bits_0.5"


@pytest.mark.parametrize(
    ("rows", "sweep", "message"),
    [
        ([("vae_gru", "none", "x")], {}, "is not a pair"),
        ([("vae_gru", "none", "", {})], {}, "the third entry is a name"),
        ([("vae_gru", "none", "x", 5)], {}, "the fourth {key: value}"),
        ([("vae_gru", "none", "x", {"objective.free_bit": 1})], {}, "did you mean objective.free"),
        ([("vae_gru", "none", "x", {"seed": 1})], {}, "rows, x: seed: it is set by the grid"),
        ([PLAIN, (*NAMED[:2], "vae_gru, cyclic", {})], {}, "two rows are called vae_gru, cyclic"),
        ([PLAIN], {"model.name": ("vae_gru",)}, "sweep: model.name: it is set by the grid"),
        ([PLAIN], {"model.dims": (8,)}, "sweep: model.dims: a run has no such key"),
        ([PLAIN], {"model.dim": 8}, "model.dim = 8: must be values in brackets"),
        ([PLAIN], {"model.dim": (8, 8)}, "has one of them twice"),
        ([PLAIN], (1, 2), r"sweep = \(1, 2\): must be {key"),
    ],
)
def test_what_makes_no_row_is_refused(rows, sweep, message):
    with pytest.raises(ConfigError, match=message):
        validate_study(grid(*rows, sweep=sweep))
