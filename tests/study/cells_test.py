"""The cells of a study: their names, which tables share them, and whether they can be trusted."""

import hashlib
import importlib.util
import json

import pytest

from tests.helpers.paths import REPOSITORY
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.study import default_study, validate_study
from vaetx_jax.errors import ConfigError
from vaetx_jax.models.presets import MODELS, has_latent
from vaetx_jax.study import cells
from vaetx_jax.study.cells import (
    Condition,
    cell_config,
    cells_of,
    condition,
    seal,
    set_aside,
    unseal,
)


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


# Names ------------------------------------------------------------------------------------------


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
def test_places_and_judging_make_no_other_cell(key, value):
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


def test_wrong_settings_of_a_cell_are_refused_before_anything_is_trained():
    with pytest.raises(ConfigError, match=r"grammar-vae_gru-cyclic-z64-s0:\n.*model.preset"):
        cells_of(small_study(**{"model.preset": "modern"}))
    with pytest.raises(ConfigError, match=r"grammar-vae_gru-cyclic-z64-s0:\n.*objective.ratio"):
        cells_of(small_study(**{"objective.ratio": 2.0}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": (0, 1, 0)}, "study.seeds .* twice"),
        ({"rows": (("vae_gru", "none"),) * 2}, "study.rows .* twice"),
        ({"rows": (("gru_lm", "cyclic"),)}, "gru_lm has no KL to anneal"),
        ({"rows": (("vae_gur", "none"),)}, "study.rows: .*vae_gur"),
        ({"rows": ()}, "study.rows: must name at least one"),
        ({"corpora": ("sst",)}, "did you mean sst2"),
        ({"show": ("probes",)}, "did you mean probe"),
        ({"show": ("probe",), "corpora": ("ptb",)}, "ptb has no labels"),
        ({"together": -1}, "study.together = -1"),
        ({"name": "../elsewhere"}, "study.name = '../elsewhere': its files are named so"),
        ({"name": "a/b"}, "study.name = 'a/b'"),
        ({"epochs": {"air": -1}}, "study.epochs.air = -1"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(settings, message):
    config = small_study()
    config.study.update(settings)
    with pytest.raises(ConfigError, match=message):
        validate_study(config)


@pytest.mark.parametrize("key", ["seed", "data.corpus", "model.name", "objective.annealing"])
def test_what_the_grid_decides_is_not_for_the_run(key):
    other = {"seed": 3, "data.corpus": "ptb", "model.name": "vae_gru"}.get(key, "none")
    with pytest.raises(ConfigError, match=f"config.run.{key}: the grid decides it"):
        validate_study(small_study(**{key: other}))


# The paper's tables -----------------------------------------------------------------------------


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


# Whether a folder can be trusted ----------------------------------------------------------------

PROTOCOL = default_config().probe.to_dict()
FILES = {
    "config.json": '{"seed": 0}',
    "metrics.jsonl": '{"step": 1}\n',
    "tokenizer/model": "pieces",
    "checkpoints/10/state/d/array": "weights",
    cells.EVALUATION: json.dumps({"iw_samples": 50, "kl": 1.5}),
    cells.PROBE: json.dumps({"protocol": PROTOCOL}),
}


@pytest.fixture
def sealed(tmp_path):
    """A finished cell, probed too, made by hand."""
    folder = tmp_path / "ptb-vae_gru-none-z64-s0-01234567"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    seal(folder, {"seconds": 3.0})
    return folder


def wanted_of(folder, *, iw_samples=50, protocol=PROTOCOL):
    return condition(folder, iw_samples=iw_samples, protocol=protocol)[0]


def test_a_sealed_cell_is_finished(sealed):
    assert condition(sealed, iw_samples=50, protocol=PROTOCOL) == (Condition.FINISHED, "finished")
    facts = json.loads((sealed / cells.SEAL).read_text())
    assert facts["seconds"] == 3.0
    assert facts["sha256"] == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()
    }


def test_a_cell_without_a_seal_is_open(sealed, tmp_path):
    (sealed / cells.SEAL).unlink()
    assert wanted_of(sealed) is Condition.OPEN
    assert wanted_of(tmp_path / "nowhere") is Condition.OPEN


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def change_a_byte(path):
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("damage", [truncate, change_a_byte, lambda path: path.unlink()])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_and_what_rests_on_it_is_done_again(sealed, name, damage):
    damage(sealed / name)
    found, why = condition(sealed, iw_samples=50, protocol=PROTOCOL)
    results = (cells.EVALUATION, cells.PROBE)
    assert found is (Condition.STALE_METRICS if name in results else Condition.DAMAGED)
    assert why == f"{name} is not what it was when the cell was finished"


def test_damage_to_what_was_trained_counts_more_than_to_the_results(sealed):
    truncate(sealed / cells.EVALUATION)
    truncate(sealed / "tokenizer" / "model")
    assert wanted_of(sealed) is Condition.DAMAGED


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"sha256": 3}', '{"sha256": [1]}', b"\xff\xfe"]
)
def test_a_seal_that_cannot_be_read_vouches_for_nothing(sealed, text):
    (sealed / cells.SEAL).write_bytes(text if isinstance(text, bytes) else text.encode())
    found, why = condition(sealed, iw_samples=50, protocol=PROTOCOL)
    assert (found, why) == (Condition.DAMAGED, "cell.json cannot be read")


def test_other_samples_and_other_protocols_are_judged_again(sealed):
    assert wanted_of(sealed, iw_samples=500) is Condition.STALE_METRICS
    assert wanted_of(sealed, protocol={**PROTOCOL, "fit": "closed"}) is Condition.STALE_METRICS
    assert wanted_of(sealed, protocol=None) is Condition.FINISHED


def test_a_cell_that_was_not_probed_is_finished_where_no_probe_is_wanted(sealed):
    (sealed / cells.PROBE).unlink()
    seal(sealed, {})
    assert wanted_of(sealed, protocol=None) is Condition.FINISHED
    assert condition(sealed, iw_samples=50, protocol=PROTOCOL)[1] == "not probed yet"


def test_a_sealed_cell_without_an_evaluation_is_judged_again(sealed):
    (sealed / cells.EVALUATION).unlink()
    seal(sealed, {})
    assert wanted_of(sealed) is Condition.STALE_METRICS


def test_pictures_and_reports_may_come_and_go(sealed):
    (sealed / "latent.png").write_text("a picture")
    assert wanted_of(sealed) is Condition.FINISHED


def test_breaking_a_seal_keeps_the_facts_and_the_results_it_vouches_for(sealed):
    truncate(sealed / cells.PROBE)
    assert unseal(sealed) == {"seconds": 3.0}
    assert wanted_of(sealed) is Condition.OPEN
    assert (sealed / cells.EVALUATION).exists()
    assert not (sealed / cells.PROBE).exists(), "sealed anew it would pass for sound"


def test_without_a_seal_no_result_is_vouched_for(sealed):
    (sealed / cells.SEAL).write_text("{")
    assert unseal(sealed) == {}
    assert not (sealed / cells.EVALUATION).exists() and not (sealed / cells.PROBE).exists()
    assert unseal(sealed) == {}


def test_a_cell_set_aside_takes_no_others_place(sealed):
    names = []
    for number in range(3):
        names.append(set_aside(sealed).name)
        sealed.mkdir()
        (sealed / "number").write_text(str(number))
    assert names == [f"{sealed.name}.damaged-{number}" for number in (1, 2, 3)]
    second = sealed.with_name(names[2])
    assert (second / "number").read_text() == "1"
    assert (sealed.with_name(names[0]) / cells.SEAL).exists()
