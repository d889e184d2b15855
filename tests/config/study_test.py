"""The settings of a study: what each kind accepts and refuses."""

import pytest

from vaetx_jax.config.study import default_study, select, validate_study
from vaetx_jax.config.study_kinds import KINDS
from vaetx_jax.errors import ConfigError


def test_only_selects_rows_by_pattern():
    names = ["vae_gru-128", "vae_gru-1024", "gru_lm-128"]
    assert select(names, "") == names
    assert select(names, "gru_lm-*, vae_gru-1024") == ["vae_gru-1024", "gru_lm-128"]


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"study.only: 'lstm' matches none of vae_gru-128"):
        select(["vae_gru-128"], "lstm")


def test_an_unknown_kind_is_refused_with_the_nearest_there_is():
    with pytest.raises(ConfigError, match=r"'parameter' of a study: .*did you mean parameters\?"):
        default_study("small", "parameter")


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_each_kind_has_a_name_and_is_locked(kind):
    config = default_study("small", kind)
    assert (config.study.name, config.study.kind, config.study.only) == ("small", kind, "")
    assert config.is_locked and config.study.is_locked


def small_study(kind, /, **settings):
    """A study that is in order, but for these settings."""
    config = default_study("small", kind)
    if kind == "grid":
        rows = (("vae_gru", "cyclic"), ("gru_lm", "none"))
        config.study.corpora, config.study.rows = ("grammar",), rows
    config.study.update(settings)
    return config


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_make_sense_are_accepted(kind):
    validate_study(small_study(kind))


def test_the_config_of_a_run_is_refused(config):
    with pytest.raises(ConfigError, match="this is not the config of a study"):
        validate_study(config)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "grid"])
def test_the_settings_of_another_kind_are_refused(kind):
    message = "config.study.kind = 'grid': this config is of another kind, without .*study.rows"
    with pytest.raises(ConfigError, match=message):
        validate_study(small_study(kind, kind="grid"))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("parameters", {"kind": "parameter"}, "'parameter': .*did you mean parameters"),
        ("parameters", {"name": "../elsewhere"}, "study.name = '../elsewhere': it names the study"),
        ("parameters", {"name": "a/b"}, "study.name = 'a/b'"),
        ("parameters", {"sizes": (("vae_rnn", 128, 30_522),)}, "study.sizes: .*vae_rnn"),
        ("parameters", {"sizes": (("vae_gru", 0, 30_522),)}, "study.sizes"),
        ("timing", {"models": ("vae_gur",)}, "study.models = 'vae_gur': .*did you mean vae_gru"),
        ("timing", {"corpora": ("ptp",)}, "study.corpora = 'ptp': .*did you mean ptb"),
        ("timing", {"corpora": ("text",)}, "study.corpora = 'text'"),
        ("timing", {"precision": "float16"}, "study.precision = 'float16'"),
        ("timing", {"repetitions": 0}, "study.repetitions = 0: must be at least 1"),
        ("timing", {"dims": (0,)}, r"study.dims = \(0,\): must be whole numbers above 0"),
        ("schedules", {"cycles": 0}, "study.cycles = 0: must be at least 1"),
        ("schedules", {"ratio": 0.0}, "study.ratio = 0.0: must be above 0 and at most 1"),
        ("grid", {"seeds": (0, 1, 0)}, "study.seeds .* twice"),
        ("grid", {"seeds": (0, 2**32)}, "study.seeds .* from 0 to 4294967295"),
        ("grid", {"rows": (("vae_gru", "none"),) * 2}, "study.rows .* twice"),
        ("grid", {"rows": (("gru_lm", "cyclic"),)}, "gru_lm has no KL to anneal"),
        ("grid", {"rows": (("vae_gur", "none"),)}, "study.rows: .*vae_gur"),
        ("grid", {"rows": ()}, "study.rows: must name at least one"),
        ("grid", {"corpora": ("sst",)}, "did you mean sst2"),
        ("grid", {"show": ("probes",)}, "did you mean probe"),
        ("grid", {"show": ("probe",), "corpora": ("ptb",)}, "ptb has no labels"),
        ("grid", {"together": -1}, "study.together = -1"),
        ("grid", {"epochs": {"air": -1}}, "study.epochs.air = -1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        validate_study(small_study(kind, **settings))


@pytest.mark.parametrize("key", ["seed", "data.corpus", "model.name", "objective.annealing"])
def test_what_the_grid_decides_is_not_for_the_run(key):
    other = {"seed": 3, "data.corpus": "ptb", "model.name": "vae_gru"}.get(key, "none")
    config = small_study("grid")
    config.run.update_from_flattened_dict({key: other})
    with pytest.raises(ConfigError, match=f"config.run.{key}: it is set by the grid"):
        validate_study(config)
