"""The cells of a study: their settings, their names, and which tables share them."""

import importlib.util

import pytest

from tests.helpers.paths import REPOSITORY
from vaetx_jax.config.study import default_study, validate_study
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.presets import MODELS, has_latent
from vaetx_jax.study.cells import cell_config, cells_of


def from_file(path):
    """The config file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def study_of(name, **settings):
    config = from_file(REPOSITORY / "configs" / "study" / f"{name}.py").get_config()
    config.update_from_flattened_dict({f"study.{key}": new for key, new in settings.items()})
    validate_study(config)
    return config


def names_of(name, **settings):
    return {cell.name for cell in cells_of(study_of(name, **settings))}


def small_study(rows=(("vae_gru", "cyclic"), ("gru_lm", "none")), **run):
    config = default_study("small", "grid")
    config.study.corpora, config.study.rows, config.study.seeds = ("grammar",), rows, (0, 1)
    config.run.update_from_flattened_dict(run)
    return config


def cell_of(**run):
    """The VAE-GRU's first cell with these settings."""
    return cells_of(small_study((("vae_gru", "cyclic"),), **run))[0]


def test_a_name_says_what_the_cell_is_and_ends_with_a_hash():
    found = [cell.name.rpartition("-") for cell in cells_of(small_study())]
    assert [label for label, _, _ in found] == [
        "grammar-vae_gru-cyclic-z64-s0",
        "grammar-vae_gru-cyclic-z64-s1",
        "grammar-gru_lm-none-z0-s0",
        "grammar-gru_lm-none-z0-s1",
    ]
    assert all(len(digest) == 8 and set(digest) <= set("0123456789abcdef") for *_, digest in found)


def test_a_name_stays_what_it_has_been():
    """Cells that are on a disk already must be found again, by a later version too."""
    assert cell_of().name == "grammar-vae_gru-cyclic-z64-s0-44136fa3"
    changed = cell_of(**{"train.steps": 100, "model.dim": 64})
    assert changed.name == "grammar-vae_gru-cyclic-z64-s0-ea946366"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.max_len", 40),
        ("data.batch_size", 16),
        ("data.seed", 1),
        ("data.groups", 4),
        ("data.sentences", 100),
        ("tokenizer.kind", "unigram"),
        ("tokenizer.vocab_size", 500),
        ("model.dim", 64),
        ("model.layers", 1),
        ("objective.cycles", 4),
        ("objective.ratio", 0.4),
        ("objective.free_bits", 0.25),
        ("train.epochs", 10),
        ("train.steps", 100),
        ("train.learning_rate", 2e-3),
        ("train.precision", "bfloat16"),
        ("train.weight_decay", 0.0),
    ],
)
def test_a_setting_that_matters_makes_another_cell(key, value):
    assert cell_of(**{key: value}).name != cell_of().name
    assert cell_of(**{key: value}).label == cell_of().label


def test_another_file_of_ones_own_makes_another_cell():
    def name(path):
        config = default_study("mine", "grid")
        config.study.corpora, config.study.rows = ("text",), (("vae_gru", "none"),)
        config.run.data.train = path
        return cells_of(config)[0].name

    assert name("a.txt") != name("b.txt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.manual_dir", "/elsewhere"),
        ("data.cache_dir", "/elsewhere"),
        ("tokenizer.vocab_dir", "/elsewhere"),
        ("evaluation.iw_samples", 500),
        ("evaluation.batch_size", 8),
        ("samples.count", 3),
        ("probe.fit", "closed"),
        ("probe.epochs", 3),
    ],
)
def test_paths_and_evaluation_settings_make_no_other_cell(key, value):
    assert cell_of(**{key: value}).name == cell_of().name


def test_seed_annealing_latent_and_epochs_of_a_corpus_make_other_cells():
    config = small_study((("vae_gru", "cyclic"), ("vae_gru", "none")))
    names = {cell.name for cell in cells_of(config)}
    config.study.latent_dim = 32
    names |= {cell.name for cell in cells_of(config)}
    config.study.epochs.grammar = 10
    names |= {cell.name for cell in cells_of(config)}
    assert len(names) == 3 * 4


def test_epochs_of_a_corpus_win_over_steps_and_leave_the_others():
    config = study_of("table2", **{"epochs.sst2": 10})
    config.run.train.steps = 1000
    trains = {cell.corpus: cell.config.train for cell in cells_of(config)}
    assert (trains["sst2"].epochs, trains["sst2"].steps) == (10, 0)
    assert (trains["ptb"].epochs, trains["ptb"].steps) == (50, 1000)


def test_a_field_of_one_model_is_set_for_that_one_alone():
    """As the docstring of table2.py has it: GPT-2's weights are named for all rows at once."""
    config = study_of("table2")
    config.run.model.weights = "/gpt2"
    weights = {cell.model: cell.config.model.weights for cell in cells_of(config)}
    assert {model for model, named in weights.items() if named} == {"vae_gpt2"}


def test_a_field_that_no_model_of_the_grid_has_is_refused():
    with pytest.raises(ConfigError, match=r"config.run.model.heads: no model of .*rows has this"):
        cells_of(small_study(**{"model.heads": 4}))


@pytest.mark.parametrize("by_row", [False, True])
def test_a_field_of_another_encoder_is_set_for_the_models_that_have_it(by_row):
    """An LSTM before a Transformer has a width of embeddings, and the language model has not."""
    of_row = {"model.encoder": "lstm"} if by_row else {}
    rows = (("vae_transformer", "none", "lstm", of_row), ("transformer_lm", "none"))
    config = small_study(rows, **{"model.embed_dim": 24})
    if not by_row:
        config.run.model.encoder = "lstm"
    widths = {cell.model: cell.config.model.embed_dim for cell in cells_of(config)}
    assert widths == {"vae_transformer": 24, "transformer_lm": None}


FREE = ("vae_gru", "cyclic", "free bits!", {"objective.free_bits": 0.5})


def test_a_rows_settings_win_over_the_grids_and_are_its_own():
    config = small_study((FREE, ("vae_gru", "cyclic")), **{"objective.free_bits": 0.25})
    bits = {cell.label: cell.config.objective.free_bits for cell in cells_of(config)}
    assert bits["grammar-vae_gru-cyclic-z64-s0-free_bits_"] == 0.5
    assert bits["grammar-vae_gru-cyclic-z64-s0"] == 0.25


def test_a_named_row_shares_its_cells_with_a_study_that_sets_the_same_for_all():
    (named, _), everywhere = cells_of(small_study((FREE,))), cell_of(**FREE[3])
    assert named.name == everywhere.name
    assert named.label != everywhere.label


def test_rows_of_other_settings_are_other_programs():
    config = small_study((FREE, ("vae_gru", "cyclic"), ("vae_gru", "none")))
    free, _, plain, _, none, _ = (cell.program for cell in cells_of(config))
    assert free != plain and plain == none


def test_two_rows_of_the_same_settings_are_refused():
    again = (*FREE[:2], "the same", FREE[3])
    with pytest.raises(ConfigError, match="free bits! and the same have the same settings"):
        cells_of(small_study((FREE, again)))


def test_a_sweep_makes_a_cell_of_each_combination_and_one_of_the_language_model():
    config = small_study(((*FREE[:3], {}), ("gru_lm", "none")))
    config.study.seeds = (0,)
    config.study.sweep = {"model.latent_dim": (8, 16), "objective.annealing": ("none", "linear")}
    assert [cell.label.rpartition("-")[0] for cell in cells_of(config)] == [
        "grammar-vae_gru-none-z8-s0",
        "grammar-vae_gru-linear-z8-s0",
        "grammar-vae_gru-none-z16-s0",
        "grammar-vae_gru-linear-z16-s0",
        "grammar-gru_lm-none-z0",
    ]
    assert cells_of(config)[1].title == "free bits!, latent_dim 8, annealing linear"


def test_a_rows_value_of_another_type_is_refused_with_row_and_key():
    row = (*FREE[:3], {"objective.free_bits": "much"})
    with pytest.raises(ConfigError, match=r"row free bits! .*objective.free_bits = 'much'"):
        cells_of(small_study((row,)))


def test_true_is_no_number():
    with pytest.raises(ConfigError, match=r"config.run: train.epochs = True: True is no number"):
        cell_of(**{"train.epochs": True})


def test_wrong_settings_of_a_cell_are_refused_before_anything_is_trained():
    with pytest.raises(ConfigError, match=r"grammar-vae_gru-cyclic-z64-s0:\n.*model.preset"):
        cells_of(small_study(**{"model.preset": "modern"}))
    with pytest.raises(ConfigError, match=r"grammar-vae_gru-cyclic-z64-s0:\n.*objective.ratio"):
        cells_of(small_study(**{"objective.ratio": 2.0}))


@pytest.mark.parametrize("corpus", ["ptb", "wikitext2", "sst2", "air"])
@pytest.mark.parametrize("model", MODELS)
def test_a_cell_has_the_settings_of_its_corpus_config(corpus, model):
    wanted = from_file(REPOSITORY / "configs" / f"{corpus}.py").get_config(model)
    assert cell_config(corpus, model, "cyclic", 64, 0).to_dict() == wanted.to_dict()


def test_a_cell_of_table_2_differs_from_that_config_in_seed_and_annealing_alone():
    wanted = from_file(REPOSITORY / "configs" / "sst2.py").get_config("vae_lstm")
    wanted.seed, wanted.objective.annealing = 2, "linear"
    found = [c for c in cells_of(study_of("table2")) if c.label == "sst2-vae_lstm-linear-z64-s2"]
    assert [cell.config.to_dict() for cell in found] == [wanted.to_dict()]


def test_tables_2_3_and_6_and_figure_9_share_their_cells():
    table2, table3, table6 = names_of("table2"), names_of("table3"), names_of("table6")
    assert len(table2) == 9 * 4 * 3
    assert table3 < table2
    assert names_of("figure9") < table2
    shared = {name for name in table6 if "vae_gru" not in name}
    assert shared < table3 and len(shared) == 2 * 2 * 3


def test_the_cells_of_table_4_are_those_of_table_5_without_the_gru():
    table4, table5 = names_of("table4"), names_of("table5")
    assert table4 == {name for name in table5 if "gru" not in name}


def test_language_models_are_shared_by_tables_of_both_latent_sizes():
    shared = names_of("table2") & names_of("table5")
    assert {name.split("-")[1] for name in shared} == {"transformer_lm", "lstm_lm"}
    assert len(shared) == 2 * 4 * 3


def test_cells_of_one_program_differ_in_seed_and_annealing_alone():
    for cell in (every := cells_of(study_of("table5"))):
        same = [other for other in every if other.program == cell.program]
        plain = []
        for other in same:
            settings = other.config.to_dict()
            settings["seed"], settings["objective"]["annealing"] = 0, ""
            plain.append(settings)
        assert all(settings == plain[0] for settings in plain)
        assert len(same) == (9 if has_latent(cell.model) else 3)
