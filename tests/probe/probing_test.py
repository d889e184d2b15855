"""The probe as a command: what it writes, what it prints, what it refuses."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.helpers.paths import REPOSITORY
from tests.helpers.tiny_run import tiny_config
from vaetx_jax.config.defaults import default_config
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference.loading import init_untrained, load
from vaetx_jax.probe import probing
from vaetx_jax.probe.tables import print_probe
from vaetx_jax.run.run import create_run
from vaetx_jax.run.workdir import keep_config

FIELDS = ("topic", "sentiment")


FIGURES = {"accuracy", "macro_f1", "roc_auc", "majority"}


@pytest.fixture
def model(trained, tmp_path):
    """The tiny trained run in a folder of the test's own."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    model = load(folder)
    model.run.config.probe.epochs = 3
    return model


@pytest.fixture(scope="module")
def probed(trained, tmp_path_factory):
    """(the result, its file) of one probe of the tiny run."""
    folder = tmp_path_factory.mktemp("probed") / "run"
    shutil.copytree(trained, folder)
    model = load(folder)
    model.run.config.probe.epochs = 3
    return probing.run_probe(model, fields=FIELDS), folder / "probe.json"


def test_what_it_gives_is_what_it_writes(probed):
    result, path = probed
    assert json.loads(path.read_text()) == result


def test_a_probe_of_another_kind_leaves_the_first_ones_file(probed):
    result, path = probed
    assert json.loads(path.with_name("probe-sample-paper.json").read_text()) == result


def test_the_file_says_what_was_probed_and_how(probed):
    result, _ = probed
    protocol = {"latent": "sample", "fit": "paper", "epochs": 3, "seed": 0}
    protocol |= {"learning_rate": 1e-4, "batch_size": 32}
    assert result["protocol"] == protocol
    named = {"corpus": "grammar", "model": "vae_transformer", "annealing": "cyclic"}
    named |= {"latent_dim": 4, "seed": 0, "published": None, "checkpoint_is": "best"}
    assert {key: result[key] for key in named} == named
    assert result["checkpoint"] > 0
    assert tuple(result["labels"]) == FIELDS


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_every_score_of_every_split(probed, field):
    figures = probed[0]["labels"][field]
    loss = "bce" if len(figures["classes"]) == 2 else "cross_entropy"
    assert figures["rows"] == {"train": 200, "valid": 40, "test": 40}
    assert tuple(figures["splits"]) == SPLITS
    assert figures["fit"]["epoch"] == int(np.argmin(figures["fit"]["valid_by_epoch"])) + 1
    references = figures["references"]
    assert set(references) == {"class_shares", "bag_of_ngrams", "lsa", "untrained_encoder"}
    held_out = [reference[split] for reference in references.values() for split in SPLITS[1:]]
    for scores in [*figures["splits"].values(), *held_out]:
        assert set(scores) == FIGURES | {loss}
        assert all(value is not None for value in scores.values())
    assert references["bag_of_ngrams"]["test"]["accuracy"] <= 1.0
    ten = figures["few_labels"][:3]
    assert [row["features"] for row in ten] == ["z", "bag_of_ngrams", "lsa"]
    assert {row["labels"] for row in ten} == {10 * len(figures["classes"])}


def test_words_say_the_topic_and_a_collapsed_latent_does_not(probed):
    topic = probed[0]["labels"]["topic"]
    assert topic["references"]["bag_of_ngrams"]["test"]["accuracy"] > 0.7
    assert topic["splits"]["test"]["accuracy"] < 0.4


def test_the_tables_hold_every_number_however_narrow_the_screen(probed, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shown = json.loads(json.dumps(probed[0]))
    paper = {"bce": 0.618, "accuracy": 0.7}
    shown["published"] = {split: paper for split in SPLITS}
    print_probe(shown)
    printed = capsys.readouterr().out
    topic = shown["labels"]["topic"]
    assert f"{topic['splits']['test']['cross_entropy']:.3f}" in printed
    row = topic["few_labels"][0]
    assert f"{row['macro_f1_mean']:.3f} ± {row['macro_f1_std']:.3f}" in printed
    for words in ("z, the paper's", "LSA, 4 dimensions", "z sampled from the posterior"):
        assert words in printed


@pytest.mark.parametrize(("epoch", "noted"), [(3, True), (2, False)])
def test_a_note_warns_of_a_fit_that_was_best_at_its_end(probed, capsys, epoch, noted):
    shown = json.loads(json.dumps(probed[0]))
    for figures in shown["labels"].values():
        figures["fit"]["epoch"] = epoch
    print_probe(shown)
    assert ("That is the last epoch" in capsys.readouterr().out) == noted


def test_the_mean_and_a_closed_fit_can_be_selected(model):
    model.run.config.probe.latent = "mean"
    model.run.config.probe.fit = "closed"
    result = probing.run_probe(model, fields=["sentiment"], few_labels=False)
    assert tuple(result["labels"]) == ("sentiment",)
    assert (result["protocol"]["latent"], result["protocol"]["fit"]) == ("mean", "closed")
    figures = result["labels"]["sentiment"]
    assert set(figures["fit"]) == {"kind", "strength"}
    assert figures["few_labels"] == []


def test_the_seed_of_the_probe_decides_its_scores(model):
    def scores_of(seed):
        model.run.config.probe.seed = seed
        result = probing.run_probe(model, fields=["sentiment"], few_labels=False)
        return result["labels"]["sentiment"]["splits"]

    assert scores_of(1) == scores_of(1) != scores_of(2)


def test_the_command_writes_and_names_its_file(trained, config, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    command = [sys.executable, "-m", "vaetx_jax.probe", f"--workdir={tmp_path / 'run'}"]
    command += ["--latent=mean", "--fit=closed", "--label=number", "--nofew_labels"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "run" / "probe-mean-closed.json"
    assert f"written: {path}" in done.stdout
    assert "linear probe of number (singular, plural)" in done.stdout
    assert json.loads(path.read_text())["protocol"]["fit"] == "closed"
    assert path.read_text() == path.with_name("probe.json").read_text()


def unfitted(config, folder):
    folder.mkdir()
    keep_config(folder, config)
    return init_untrained(create_run(config, folder), seed=0)


def test_a_language_model_is_refused(config, tmp_path):
    other = tiny_config(config.data.cache_dir)
    plain = default_config("transformer_lm")
    plain.data.update(other.data)
    plain.tokenizer.update(other.tokenizer)
    plain.model.dim = 8
    with pytest.raises(UserError, match="transformer_lm is a language model without one"):
        probing.run_probe(unfitted(plain, tmp_path / "run"))


def test_a_corpus_without_labels_is_refused(config, tmp_path):
    (tmp_path / "lines.txt").write_text("".join(f"line {n} of many\n" for n in range(200)))
    plain = config.copy_and_resolve_references()
    plain.data.corpus, plain.data.train = "text", str(tmp_path / "lines.txt")
    with pytest.raises(UserError, match="needs labels, and the corpus text"):
        probing.run_probe(unfitted(plain, tmp_path / "run"))


def test_all_labels_of_the_corpus_are_probed_unless_some_are_named(model):
    assert probing._select_fields(model, []) == ["topic", "sentiment", "tense", "number", "person"]
    assert probing._select_fields(model, ["tense"]) == ["tense"]


def test_an_unknown_label_is_refused_with_the_nearest_there_is(model):
    with pytest.raises(ConfigError, match=r"no label 'tence'.*did you mean tense\?"):
        probing.run_probe(model, fields=["tence"])


def test_latents_that_are_not_finite_are_refused(model):
    spoilt = jax.tree.map(lambda x: x * np.float32("nan"), model.variables)
    with pytest.raises(UserError, match="not finite"):
        probing.run_probe(dataclasses.replace(model, variables=spoilt))


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    model, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    run = dataclasses.replace(model.run, folder=tmp_path / "file")
    monkeypatch.setattr(probing, "_collect_inputs", lambda *_: pytest.fail("it was computed"))
    with pytest.raises(OSError, match=r"file/probe-.*\.json"):
        probing.run_probe(dataclasses.replace(model, run=run))
