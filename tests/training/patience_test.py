"""When a run stops for lack of improvement, and that it resumes so."""

import math

import jax
import numpy as np
import pytest

from tests.helpers.interruption import interrupt_at
from tests.helpers.tiny_run import fit
from tests.training.trainer_test import comparable, unsaved_at
from vaetx_jax import main
from vaetx_jax.inference.loading import load
from vaetx_jax.run.run import create_run
from vaetx_jax.training import recorder
from vaetx_jax.training.checkpoint import UnsavedError
from vaetx_jax.training.patience import Patience
from vaetx_jax.training.schedule import Schedule
from vaetx_jax.training.trainer import StoppedError, Trainer, step_settings


class EveryTen:
    """A schedule whose every tenth update may become `best`."""

    def candidates(self, after, done):
        return done // 10 - after // 10


def patience(most, best=None, done=0):
    return Patience(most, EveryTen(), best=best, done=done)


def added(count, perplexities):
    """After which of some validations a patience is exhausted."""
    for number, value in enumerate(perplexities, start=1):
        count.add(10 * number, value)
        if count.exhausted:
            return number
    return None


@pytest.mark.parametrize(
    ("most", "perplexities", "expected"),
    [
        (1, [9.0, 8.0, 8.5, 7.0], 3),
        (2, [9.0, 8.0, 8.5, 7.0, 7.5, 7.5], 6),
        (2, [9.0, 9.0, 9.0, 9.0], None),  # of equal ones the later is the best
        (2, [math.nan, math.inf], 2),
        (0, [9.0, 9.5, 9.7, 9.9], None),
    ],
)
def test_it_is_exhausted_after_so_many_validations_without_a_better_one(
    most, perplexities, expected
):
    assert added(patience(most), perplexities) == expected


def test_a_resumed_run_counts_on_from_its_best():
    assert not patience(3, best=(20, 8.0), done=45).exhausted
    assert patience(3, best=(20, 8.0), done=50).exhausted
    assert patience(2, done=20).exhausted  # none of two was finite


def test_the_reason_names_the_step_and_the_setting():
    reason = patience(3, best=(1_020, 8.0), done=1_050).reason
    assert "since step 1,020, for 3 validations (train.patience = 3)" in reason


@pytest.fixture
def impatient(config, monkeypatch):
    """A run whose validation perplexities are given: the best after 10 of 40 steps."""
    config = config.copy_and_resolve_references()
    config.objective.cycles, config.train.validate_every, config.train.patience = 1, 5, 2
    given, validate = {5: 9.0, 10: 8.0, 15: 8.5, 20: 8.2}, recorder.Recorder._validate

    def scripted(self, done, state):
        validate(self, done, state)
        return given.get(done, 1.0)

    monkeypatch.setattr(recorder.Recorder, "_validate", scripted)
    return config


@pytest.mark.slow
def test_a_run_stops_where_it_no_longer_improves_and_says_why(impatient, tmp_path, capsys):
    assert main.run(impatient, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "training   stops after step 20: valid/ppl_elbo has not improved since step 10" in shown
    assert "trained 20 steps" in shown
    assert load(tmp_path).step == 10 and load(tmp_path, checkpoint="last").step == 20
    trainer = Trainer(create_run(impatient, tmp_path))  # started again, it has nothing to do
    assert "has stopped already" in trainer.ended(20)


def test_the_state_of_an_early_stop_is_tried_again_like_that_of_the_last_step(
    impatient, tmp_path, monkeypatch
):
    tried = unsaved_at(monkeypatch, {20})
    with pytest.raises(UnsavedError, match="the disk is full; checkpoint 15 is still the latest"):
        fit(impatient, tmp_path)
    assert tried == [5, 10, 15, 20, 20, 20]


@pytest.mark.slow
def test_a_run_that_was_interrupted_stops_at_the_same_step_bit_for_bit(
    impatient, tmp_path, monkeypatch
):
    fit(impatient, tmp_path / "whole")
    interrupt_at(monkeypatch, {11})
    with pytest.raises(StoppedError):
        fit(impatient, tmp_path / "parts")
    fit(impatient, tmp_path / "parts")
    assert comparable(tmp_path / "parts") == comparable(tmp_path / "whole")
    ours, theirs = (load(tmp_path / name, checkpoint="last") for name in ("parts", "whole"))
    assert ours.step == 20
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


def test_validations_of_a_warm_up_do_not_count(config, tmp_path):
    config = config.copy_and_resolve_references()
    config.objective.cycles, config.train.warm_up = 1, "language_model"
    config.train.warm_up_share = 0.5
    run = create_run(config, tmp_path)
    schedule = Schedule(run, step_settings(config, run.train_batches.steps_per_epoch))
    assert schedule.candidates(0, 20) == 0
    assert schedule.candidates(0, 40) == 2  # after 30 and 40 of 40 steps
    assert schedule.candidates(30, 40) == 1


def test_in_cyclic_annealing_the_ends_of_cycles_count(config, tmp_path):
    run = create_run(config, tmp_path)
    schedule = Schedule(run, step_settings(config, run.train_batches.steps_per_epoch))
    assert schedule.candidates(0, 40) == 2  # validated after 10, 20, 30 and 40
