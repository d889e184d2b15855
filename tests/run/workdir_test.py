"""A run's folder: one run at a time, and always the same one."""

import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.stored import read_config
from vaetx_jax.errors import UserError
from vaetx_jax.run.workdir import (
    CONFIG,
    CORPUS,
    DECODER,
    ENCODER,
    ENCODER_TOKENIZER,
    TOKENIZER,
    claim,
    keep_config,
    keep_corpus,
)


def changed(**changes):
    config = default_config()
    config.update_from_flattened_dict(changes)
    return config


# One run at a time ------------------------------------------------------------------------------


def test_a_claimed_folder_is_made_with_its_parents(tmp_path):
    with claim(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_a_second_claim_is_refused_and_the_first_goes_on(tmp_path):
    with claim(tmp_path):
        for _ in range(2):
            with pytest.raises(UserError, match=f"^{tmp_path}: another run"):
                claim(tmp_path).__enter__()
    with claim(tmp_path):
        pass


def test_who_waits_for_a_folder_says_so(tmp_path, capsys):
    with claim(tmp_path), pytest.raises(UserError, match="another run"):
        claim(tmp_path, wait=0.01).__enter__()
    assert f"another process is in {tmp_path}; waiting up to" in capsys.readouterr().err


def test_a_claim_ends_with_an_error_inside(tmp_path):
    with pytest.raises(RuntimeError), claim(tmp_path):
        raise RuntimeError
    with claim(tmp_path):
        pass


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    path = tmp_path / "run"
    path.write_text("not a folder")
    with pytest.raises(UserError, match=f"^{path}: this is a file"):
        claim(path).__enter__()
    assert path.read_text() == "not a folder"


# A process of its own: one that holds the folder and is killed.
@pytest.mark.slow
def test_another_process_keeps_the_folder_until_it_ends_however_it_ends(tmp_path):
    script = (
        "import pathlib, sys, signal; from vaetx_jax.run.workdir import claim\n"
        "with claim(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    signal.pause()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is in this folder"):
            claim(tmp_path).__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with claim(tmp_path):
            pass


# Always the same run ----------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path):
    """The folder of a run that has saved a step."""
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    return tmp_path


def test_a_new_folder_keeps_the_config_without_a_word(tmp_path):
    assert keep_config(tmp_path, changed(seed=3)) == []
    assert read_config(tmp_path / CONFIG).to_dict() == changed(seed=3).to_dict()


def test_the_same_run_again_has_no_notice(run_folder):
    keep_config(run_folder, default_config())
    assert keep_config(run_folder, default_config()) == []


@pytest.mark.parametrize(
    ("key", "value", "old"),
    [
        ("model.dim", 64, 128),
        ("model.latent_dim", 8, 64),
        ("model.layers", 3, None),
        ("data.corpus", "ptb", "grammar"),
        ("data.max_len", 20, 64),
        ("data.seed", 1, 0),
        ("data.batch_size", 8, 32),
        ("tokenizer.kind", "unigram", "bpe"),
        ("tokenizer.vocab_size", 500, 30_522),
        ("objective.free_bits", 0.5, 0.0),
        ("seed", 1, 0),
    ],
)
def test_another_run_is_refused_with_the_difference_and_changes_nothing(
    run_folder, key, value, old
):
    keep_config(run_folder, default_config())
    before = (run_folder / CONFIG).read_bytes()
    with pytest.raises(UserError) as caught:
        keep_config(run_folder, changed(**{key: value, "train.epochs": 3}))
    lines = str(caught.value).splitlines()
    assert f"  config.{key}: {old!r} there, {value!r} now" in lines
    assert lines[0].startswith(f"{run_folder}: ")
    assert not any("train.epochs" in line for line in lines)
    assert (run_folder / CONFIG).read_bytes() == before


def test_changed_training_is_noticed_and_kept(run_folder):
    keep_config(run_folder, default_config())
    again = changed(**{"train.epochs": 60, "evaluation.iw_samples": 5, "samples.count": 0})
    notices = keep_config(run_folder, again)
    assert sorted(notices) == [
        "config.evaluation.iw_samples changed from 50 to 5",
        "config.samples.count changed from 10 to 0",
        "config.train.epochs changed from 50 to 60",
    ]
    assert read_config(run_folder / CONFIG).to_dict() == again.to_dict()
    assert keep_config(run_folder, again) == []


def test_a_run_that_saved_nothing_leaves_its_folder_to_another(tmp_path):
    keep_config(tmp_path, default_config())
    keep_corpus(tmp_path, "ptb", "aa")
    for name in (TOKENIZER, ENCODER_TOKENIZER):
        (tmp_path / name).mkdir()
    for name in (ENCODER, DECODER):  # the sizes of published parts that the other may not have
        (tmp_path / name).write_text("{}")
    assert keep_config(tmp_path, changed(**{"data.corpus": "ptb"})) == []
    assert [path.name for path in tmp_path.iterdir()] == [CONFIG]


def test_a_model_that_is_no_run_is_refused_and_left(tmp_path):
    keep_config(tmp_path, default_config())
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="a model in it, but no checkpoint of a run"):
        keep_config(tmp_path, changed(seed=5))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_programs_config_is_refused_and_left(tmp_path):
    (tmp_path / CONFIG).write_text('{"architectures": ["somebody else\'s"]}')
    with pytest.raises(UserError):
        keep_config(tmp_path, default_config())
    assert "somebody else" in (tmp_path / CONFIG).read_text()


def test_checkpoints_on_a_disk_that_is_not_there_are_not_taken_for_none(tmp_path):
    keep_config(tmp_path, default_config())
    (tmp_path / "checkpoints").symlink_to(tmp_path / "unmounted")
    with pytest.raises(UserError, match="no checkpoint of a run"):
        keep_config(tmp_path, changed(seed=5))


def test_files_may_move_without_a_word(run_folder):
    keep_config(run_folder, default_config())
    assert keep_config(run_folder, changed(**{"data.manual_dir": "/elsewhere"})) == []
    assert read_config(run_folder / CONFIG).data.manual_dir == "/elsewhere"


def test_a_damaged_config_is_refused_and_left(run_folder):
    (run_folder / CONFIG).write_text("{")
    with pytest.raises(UserError, match="not a config of this project"):
        keep_config(run_folder, default_config())
    assert (run_folder / CONFIG).read_text() == "{"


# The corpus -------------------------------------------------------------------------------------


def test_the_same_corpus_again_is_welcome(tmp_path):
    keep_corpus(tmp_path, "ptb", "aa")
    before = (tmp_path / CORPUS).read_bytes()
    keep_corpus(tmp_path, "ptb", "aa")
    assert (tmp_path / CORPUS).read_bytes() == before


@pytest.mark.parametrize("other", [("ptb", "bb"), ("sst2", "aa")])
def test_another_corpus_is_refused_with_both_fingerprints(tmp_path, other):
    keep_corpus(tmp_path, "ptb", "aa")
    before = (tmp_path / CORPUS).read_bytes()
    with pytest.raises(UserError, match=rf"^{tmp_path}.*aa there, {other[1]} now"):
        keep_corpus(tmp_path, *other)
    assert (tmp_path / CORPUS).read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_damaged_note_of_the_corpus_is_refused(tmp_path, text):
    (tmp_path / CORPUS).write_text(text)
    with pytest.raises(UserError, match=rf"^{tmp_path}.*\? there, aa now"):
        keep_corpus(tmp_path, "ptb", "aa")
