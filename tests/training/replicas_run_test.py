"""Runs trained together in folders of their own: each is the run that it would be alone."""

import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.helpers.interruption import interrupt_at
from tests.helpers.metric_rows import steady_rows
from tests.helpers.tiny_run import fit
from vaetx_jax.inference.loading import load
from vaetx_jax.run import workdir
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.run.run import Run, create_run
from vaetx_jax.training.checkpoint import Checkpoints
from vaetx_jax.training.replicas import Replicas
from vaetx_jax.training.trainer import StoppedError

STEPS = 11
ANNEALINGS, SEEDS = ("cyclic", "none", "none"), (0, 0, 3)
NAMES = [f"{annealing}-{seed}" for annealing, seed in zip(ANNEALINGS, SEEDS, strict=True)]


def settings_of(config: ConfigDict, number: int) -> ConfigDict:
    """One of three runs; cycles of 5 and 6 steps, so that they do not all save at the same ones."""
    one = config.copy_and_resolve_references()
    one.seed, one.objective.annealing = SEEDS[number], ANNEALINGS[number]
    one.train.steps, one.train.validate_every, one.train.log_every = STEPS, 4, 2
    return one


def parts_in(folder, config, of=2, **changes) -> list[Run]:
    """The parts of the three runs; `changes` are those of run `of` alone."""
    found = []
    for number, name in enumerate(NAMES):
        home, one = folder / name, settings_of(config, number)
        if number == of:
            one.update_from_flattened_dict(changes)
        home.mkdir(parents=True, exist_ok=True)
        workdir.keep_config(home, one)
        found.append(create_run(one, home))
    return found


@pytest.fixture(scope="module")
def together(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    assert Replicas(parts_in(folder, config)).run() == {}
    return folder


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    for number in (0, 2):
        fit(settings_of(config, number), folder / NAMES[number])
    return folder


def saved_in(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def assert_same(folder, other, name):
    """The same metrics and the same parameters, bit for bit."""
    assert steady_rows(folder / name) == steady_rows(other / name)
    ours, theirs = (load(home / name, checkpoint="last") for home in (folder, other))
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


def numbers_of(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[::2])
def test_a_run_has_the_metrics_that_it_has_alone(together, alone, name):
    ours, theirs = steady_rows(together / name), steady_rows(alone / name)
    assert [sorted(row) for row in ours] == [sorted(row) for row in theirs]
    for mine, own in zip(ours, theirs, strict=True):
        for key, value in mine.items():
            if value is None:
                assert own[key] is None
            else:
                np.testing.assert_allclose(value, own[key], rtol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", NAMES[::2])
def test_a_run_has_the_checkpoints_and_parameters_that_it_has_alone(together, alone, name):
    assert saved_in(together / name) == saved_in(alone / name)
    ours, theirs = (load(home / name) for home in (together, alone))
    assert ours.step == theirs.step
    # As a whole: Adam turns rounding noise of a gradient that is 0 into steps of full length.
    a, b = numbers_of(ours.params), numbers_of(theirs.params)
    assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(b)


def test_runs_differ_where_seed_or_annealing_does(together):
    last = [numbers_of(load(together / name, checkpoint="last").params) for name in NAMES]
    assert np.linalg.norm(last[0] - last[1]) > 1e-3 * np.linalg.norm(last[1])
    assert np.linalg.norm(last[1] - last[2]) > 0.1 * np.linalg.norm(last[2])


def test_speeds_say_how_many_runs_shared_them(together, alone):
    rows = [row for row in read_metrics(together / NAMES[0] / METRICS) if "train/loss" in row]
    assert {row["perf/together"] for row in rows} == {3}
    assert not any("perf/together" in row for row in read_metrics(alone / NAMES[0] / METRICS))


# Going on ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(config, tmp_path_factory):
    """The three runs, stopped together after step 9 or 10."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, {9})
        with pytest.raises(StoppedError, match=r"stopped after step .* of 11"):
            Replicas(parts_in(folder, config)).run()
    return folder


@pytest.fixture
def half(stopped, tmp_path):
    """A copy of them, to go on with."""
    return shutil.copytree(stopped, tmp_path / "half")


def forget(folder, name, step):
    checkpoints = Checkpoints(folder / name / "checkpoints", writable=True)
    checkpoints.forget_after(step)


def test_stopped_and_resumed_is_uninterrupted(config, half, together):
    replicas = Replicas(parts_in(half, config))
    assert 8 < replicas.common_step() < STEPS
    assert replicas.run() == {}
    for name in NAMES:
        assert_same(half, together, name)


def test_a_process_killed_between_two_saves_costs_its_runs_one_save(config, half, together):
    for name in NAMES[1:]:
        forget(half, name, 8)
    assert saved_in(half / NAMES[0])[-1] > 8
    replicas = Replicas(parts_in(half, config))
    assert replicas.common_step() == 8
    assert replicas.run() == {}
    for name in NAMES:
        assert_same(half, together, name)


def test_runs_that_are_far_apart_are_not_set_back(config, half):
    """The step that all have would cost one of them more than its last save."""
    forget(half, NAMES[1], 4)
    before = saved_in(half / NAMES[2])
    replicas = Replicas(parts_in(half, config))
    assert replicas.common_step() is None
    with pytest.raises(ValueError, match="no common step"):
        replicas.run()
    assert len(before) == 2 and saved_in(half / NAMES[2]) == before


def test_a_finished_group_is_left_as_it_is(config, together):
    before = [steady_rows(together / name) for name in NAMES]
    replicas = Replicas(parts_in(together, config))
    assert replicas.common_step() == STEPS
    assert replicas.run() == {}
    assert [steady_rows(together / name) for name in NAMES] == before


# Beginnings and ends of their own ---------------------------------------------------------------

WILD = {"train.learning_rate": 1e30, "train.final_learning_rate": 1e30}


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 2])
def test_a_run_that_is_not_finite_fails_alone(config, together, tmp_path, number):
    broken = Replicas(parts_in(tmp_path, config, of=number, **WILD)).run()
    assert list(broken) == [number]
    assert "not finite" in str(broken[number])
    assert steady_rows(tmp_path / NAMES[number]) == []
    for name in set(NAMES) - {NAMES[number]}:
        assert_same(tmp_path, together, name)


def test_when_none_is_finite_each_says_so_and_no_more_steps_are_taken(config, tmp_path):
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(WILD)
    broken = Replicas(parts_in(tmp_path, config)).run()
    assert sorted(broken) == [0, 1, 2]
    assert all("step 2: the loss" in str(error) for error in broken.values())


def test_runs_that_start_from_another_run_do_so_together(config, together, tmp_path, monkeypatch):
    config, begun = config.copy_and_resolve_references(), []
    config.train.init_from = str(together / NAMES[2])
    monkeypatch.setattr(Replicas, "_steps", lambda self, states, *_: begun.append(states))
    Replicas(parts_in(tmp_path, config)).run()
    wanted = load(together / NAMES[2]).params
    for number in range(3):
        found = jax.tree.map(lambda leaf: leaf[number], begun[0].params)  # noqa: B023
        jax.tree.map(np.testing.assert_array_equal, found, wanted)
