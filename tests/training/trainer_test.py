"""The host loop: resuming, stopping, saving, and what it refuses."""

import json
import pathlib

import jax
import numpy as np
import pytest

from tests.helpers.interruption import interrupt_at
from tests.helpers.tiny_run import STEPS, fit
from vaetx_jax import main
from vaetx_jax.data.batches import TrainBatches
from vaetx_jax.errors import UserError
from vaetx_jax.inference.loading import load
from vaetx_jax.run import workdir
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.run.run import create_run
from vaetx_jax.training import recorder
from vaetx_jax.training import trainer as trainer_lib
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints, UnsavedError


def comparable(folder: pathlib.Path) -> list[dict]:
    """The rows of metrics.jsonl without what a clock measures."""
    timed = ("perf/steps_per_second", "perf/tokens_per_second")
    return [
        {k: v for k, v in row.items() if k not in timed} for row in read_metrics(folder / METRICS)
    ]


def test_interrupted_run_continues_bit_for_bit(config, trained, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, {4, 10, 23})
    stops = 0
    while True:
        try:
            fit(config, tmp_path)
            break
        except trainer_lib.StoppedError:
            stops += 1
    assert stops == 3
    assert comparable(tmp_path) == comparable(trained)
    ours, theirs = load(tmp_path, checkpoint="last"), load(trained, checkpoint="last")
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


def test_every_logged_step_is_there_once(trained):
    steps = [row["step"] for row in comparable(trained) if "train/loss" in row]
    assert steps == [*range(3, STEPS, 3), STEPS]


@pytest.mark.slow
def test_logged_mean_is_over_the_window(config, tmp_path):
    dense = config.copy_and_resolve_references()
    dense.train.log_every = 1
    dense.train.steps = 6
    coarse = config.copy_and_resolve_references()
    coarse.train.steps = 6
    fit(dense, tmp_path / "dense")
    fit(coarse, tmp_path / "coarse")
    losses = [r["train/loss"] for r in comparable(tmp_path / "dense") if "train/loss" in r]
    means = [r["train/loss"] for r in comparable(tmp_path / "coarse") if "train/loss" in r]
    np.testing.assert_allclose(means, [np.mean(losses[:3]), np.mean(losses[3:])], rtol=1e-5)


def test_validates_at_the_chosen_steps_and_the_ends_of_cycles(trained):
    steps = [row["step"] for row in comparable(trained) if "valid/nll" in row]
    assert steps == [10, 20, 30, 40]


def test_best_is_among_the_ends_of_cycles(trained):
    best = load(trained)
    at = {r["step"]: r["valid/ppl_elbo"] for r in comparable(trained) if "valid/ppl_elbo" in r}
    assert best.step == min((20, 40), key=lambda step: at[step])
    assert best.source == "best"


def test_with_one_cycle_every_validation_may_be_best(config, tmp_path, monkeypatch):
    """It ends with the run: else `best` were the last, however much it overfits."""
    save, saved = Checkpoints.begin, []

    def noted(self, state, facts):
        saved.append((facts.step, facts.candidate))
        save(self, state, facts)

    monkeypatch.setattr(Checkpoints, "begin", noted)
    config = config.copy_and_resolve_references()
    config.objective.cycles, config.train.steps = 1, 20
    fit(config, tmp_path)
    assert saved == [(10, True), (20, True)]


def test_validation_perplexity_falls(trained):
    rows = [row["valid/ppl_elbo"] for row in comparable(trained) if "valid/ppl_elbo" in row]
    assert rows[-1] < 0.95 * rows[0]


def test_a_finished_run_trains_no_further(config, trained):
    before = comparable(trained)
    trainer = trainer_lib.Trainer(create_run(config, trained))
    state, words = trainer.start_state()
    assert int(state.step) == STEPS and "resumes after step 40" in words
    assert comparable(trained) == before


@pytest.mark.slow
def test_a_non_finite_step_stops_the_run_and_is_never_saved(config, tmp_path):
    wild = config.copy_and_resolve_references()
    wild.train.learning_rate, wild.train.final_learning_rate = 1e30, 1e30
    wild.train.checkpoint_every = 1
    with pytest.raises(UserError, match=r"step \d+: the loss or its gradient is not finite"):
        fit(wild, tmp_path)
    params = load(tmp_path, checkpoint="last").params
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_the_batch_of_a_step_that_is_not_finite_is_kept(config, tmp_path):
    wild = config.copy_and_resolve_references()
    wild.train.learning_rate, wild.train.final_learning_rate = 1e30, 1e30
    with pytest.raises(UserError) as caught:
        fit(wild, tmp_path)
    (path,) = (tmp_path / "nonfinite").iterdir()
    assert str(path) in str(caught.value)
    kept = json.loads(path.read_text())
    assert path.name == f"step-{kept['step']}.json"
    run = create_run(wild, tmp_path)
    batch = run.train_batches.at(kept["step"] - 1)
    assert [s["row"] for s in kept["sentences"]] == batch["index"].tolist()
    row = kept["sentences"][3]
    assert run.tokenizer.decode(row["ids"]) == run.corpus.split("train")[row["row"]].text


def broken_at(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Makes the batches of these updates such that their loss is no number."""
    at = TrainBatches.at

    def broken(self: TrainBatches, step: int) -> dict:
        batch = at(self, step)
        return batch | {"weight": batch["weight"] * np.nan} if step + 1 in steps else batch

    monkeypatch.setattr(TrainBatches, "at", broken)


@pytest.mark.slow
def test_a_run_may_skip_steps_that_are_not_finite_and_counts_them(config, tmp_path, monkeypatch):
    broken_at(monkeypatch, {4, 8, 9})
    config = config.copy_and_resolve_references()
    config.train.nonfinite = "skip"
    fit(config, tmp_path)
    rows = [row for row in comparable(tmp_path) if "train/loss" in row]
    assert [row["train/skipped"] for row in rows][:4] == [0, 1, 2, 0]
    assert all(row["train/loss"] is not None for row in rows)
    assert load(tmp_path, checkpoint="last").step == STEPS
    kept = sorted(path.name for path in (tmp_path / "nonfinite").iterdir())
    assert kept == ["step-4.json", "step-8.json", "step-9.json"]


@pytest.mark.slow
def test_a_batch_that_cannot_be_kept_does_not_end_a_run_that_skips(
    config, tmp_path, monkeypatch, capsys
):
    broken_at(monkeypatch, {4})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder, "keep_batch", full)
    config = config.copy_and_resolve_references()
    config.train.nonfinite, config.train.steps = "skip", 10
    fit(config, tmp_path)
    assert "its batch could not be kept (No space left on device)" in capsys.readouterr().err


def test_a_run_that_skips_gives_up_where_nothing_else_comes(config, tmp_path, monkeypatch):
    broken_at(monkeypatch, set(range(5, STEPS + 1)))
    config = config.copy_and_resolve_references()
    config.train.nonfinite = "skip"
    with pytest.raises(UserError, match=r"step 24: .* the 20th in a row"):
        fit(config, tmp_path)


def unsaved_at(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> list[int]:
    """Writing fails at these steps, as often as it is tried; gives the list of the tries.

    Each save is waited for, so that it does not depend on the disk's speed when an error is known.
    """
    begin, write, tried = Checkpoints.begin, Checkpoints._write, []

    def failing(self: Checkpoints, tree: object, frozen: object, info: CheckpointInfo) -> None:
        tried.append(info.step)
        if info.step in steps:
            raise UnsavedError(f"{info.step}: could not be saved: the disk is full")
        write(self, tree, frozen, info)

    def waiting(self: Checkpoints, state: object, info: CheckpointInfo) -> None:
        begin(self, state, info)
        self._background._thread.join()

    monkeypatch.setattr(Checkpoints, "_write", failing)
    monkeypatch.setattr(Checkpoints, "begin", waiting)
    monkeypatch.setattr(recorder, "SAVE_AGAIN", (0.0, 0.0))
    return tried


def test_training_goes_on_where_it_cannot_save_and_tries_again(
    config, trained, tmp_path, monkeypatch, capsys
):
    tried = unsaved_at(monkeypatch, {10, 12})
    fit(config, tmp_path)
    assert tried == [10, 12, 15, 20, 30, 40]
    told = capsys.readouterr().err
    assert "warning: 10: could not be saved: the disk is full; nothing is saved yet" in told
    assert "note: the state after step 15 is saved" in told
    assert comparable(tmp_path) == comparable(trained)


def test_the_last_state_is_tried_thrice_and_the_error_says_what_is_kept(
    config, tmp_path, monkeypatch
):
    tried = unsaved_at(monkeypatch, {40})
    with pytest.raises(UnsavedError, match="the disk is full; checkpoint 30 is still the latest"):
        fit(config, tmp_path)
    assert tried == [10, 20, 30, 40, 40, 40]


def test_speeds_after_a_resume_are_of_the_steps_since(monkeypatch):
    """The sums of the window go on, and with them the tokens of the process before."""
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr(recorder.time, "monotonic", lambda: next(clock))
    window = recorder._Window(45)
    assert window.rates(50, 5_000.0, 50.0) == {
        "perf/steps_per_second": 0.5,
        "perf/tokens_per_second": 50.0,
    }
    assert window.rates(100, 5_000.0, 49.0)["perf/tokens_per_second"] == 500.0  # one was skipped


def test_warm_start_takes_the_best_parameters_of_another_run(config, trained, tmp_path):
    warm = config.copy_and_resolve_references()
    warm.train.init_from = str(trained)
    trainer = trainer_lib.Trainer(create_run(warm, tmp_path))
    state, words = trainer.start_state()
    assert "starts from" in words and int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, load(trained).params)


def test_warm_start_refuses_another_model(config, trained, tmp_path):
    other = config.copy_and_resolve_references()
    other.train.init_from = str(trained)
    other.model.dim = 16
    trainer = trainer_lib.Trainer(create_run(other, tmp_path))
    with pytest.raises(UserError, match="its model has other settings"):
        trainer.start_state()


def test_warm_start_refuses_a_folder_without_a_run(config, tmp_path):
    other = config.copy_and_resolve_references()
    other.train.init_from = str(tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    trainer = trainer_lib.Trainer(create_run(other, tmp_path / "run"))
    with pytest.raises(UserError, match=r"no config\.json here"):
        trainer.start_state()


@pytest.mark.slow
def test_changed_epochs_lay_the_schedules_anew(config, tmp_path):
    short = config.copy_and_resolve_references()
    short.train.steps = 10
    fit(short, tmp_path)
    longer = config.copy_and_resolve_references()
    longer.train.steps = 20
    notices = workdir.keep_config(tmp_path, longer)
    assert notices == ["config.train.steps changed from 10 to 20"]
    trainer = trainer_lib.Trainer(create_run(longer, tmp_path))
    state, _ = trainer.start_state()
    assert int(state.step) == 10 and trainer.settings.total_steps == 20


def test_more_cycles_than_steps_is_refused(config, tmp_path):
    many = config.copy_and_resolve_references()
    many.train.steps, many.train.epochs, many.objective.cycles = 0, 1, 1000
    with pytest.raises(UserError, match="more cycles than"):
        trainer_lib.Trainer(create_run(many, tmp_path))


def test_main_trains_evaluates_and_writes_what_it_names(config, tmp_path, capsys):
    few = config.copy_and_resolve_references()
    few.train.steps = 6
    assert main.run(few, tmp_path) == 0
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "evaluation.json").read_text())
    assert figures == json.loads((tmp_path / "evaluation-test.json").read_text())
    for name in ("evaluation.json", "learning-curves.png", "latent.png", "samples/step-6.md"):
        assert str(tmp_path / name) in printed and (tmp_path / name).stat().st_size > 0
    assert figures["sentences"] == 40 and figures["iw_samples"] == 2


def test_main_says_how_to_go_on_when_interrupted(config, tmp_path, monkeypatch, capsys):
    interrupt_at(monkeypatch, {4})
    assert main.run(config, tmp_path) == 75
    assert "Run the same command again to resume" in capsys.readouterr().out


def test_no_model_beats_the_known_entropy(trained):
    from vaetx_jax.evaluate import evaluate

    figures, _ = evaluate(load(trained), "test")
    assert figures["behind_entropy"] > -2 * figures["behind_entropy_se"]
    assert "evaluation_warning" not in figures


def test_a_bound_beyond_the_known_entropy_is_called_a_bug(trained):
    from vaetx_jax.evaluate import behind_entropy
    from vaetx_jax.metrics.estimator import Estimates

    split = create_run(default := load(trained).run.config, trained).split("test")
    del default
    n = len(split)
    empty = np.zeros((n, 4), np.float32)
    too_good = Estimates(
        nll_N=-np.asarray(split.log_prob) - 1.0 + 0.1 * np.sin(np.arange(n)),
        kl_N=np.zeros(n),
        mu_NxZ=empty,
        logvar_NxZ=empty,
        z_NxZ=empty,
        iw_N=None,
    )
    assert "no model can" in behind_entropy(too_good, split)["evaluation_warning"]
