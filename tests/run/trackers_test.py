"""Experiment trackers, with stand-ins for their libraries: what they get; none stops a run."""

import sys
import types

import pytest

from vaetx_jax.errors import ConfigError
from vaetx_jax.run import trackers
from vaetx_jax.run.metric_log import METRICS, MetricWriter, read_metrics
from vaetx_jax.run.trackers import Trackers

CONFIG = {"seed": 3, "model": {"dim": 8, "ff_dim": None}}


@pytest.fixture(autouse=True)
def private_environment(monkeypatch):
    monkeypatch.setenv(trackers.VARIABLE, "")
    for name in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in that notes what it is told."""
    told = []

    class Run:
        id = "abc"

        def log(self, row, step):
            told.append((step, row))

        def finish(self):
            told.append("finished")

    def init(**given):
        told.append(given)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    sys.modules["wandb"].init, sys.modules["wandb"].told = init, told
    return sys.modules["wandb"]


@pytest.fixture
def mlflow(monkeypatch):
    told = []

    class Client:
        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            told.append(name)
            return "7"

        def create_run(self, experiment, run_name):
            told.append((experiment, run_name))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

        def update_run(self, run, status):
            told.append((run, status))

        def log_batch(self, run, metrics=(), params=()):
            told.append((run, [(m[0], m[1], m[3]) for m in metrics], list(params)))

        def set_terminated(self, run):
            told.append(("ended", run))

    module = types.ModuleType("mlflow")
    module.MlflowClient, module.told = Client, told
    module.entities = types.SimpleNamespace(
        Param=lambda key, value: (key, value), Metric=lambda *fields: fields
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


def write(folder, rows, *, step=0):
    metrics = MetricWriter(folder, step=step, trackers=Trackers(folder, CONFIG))
    for number, row in rows:
        metrics.write(number, row)
    metrics.close()


def test_without_a_name_no_tracker_is_asked(tmp_path, wandb, mlflow):
    write(tmp_path, [(1, {"loss": 1.0})])
    assert wandb.told == mlflow.told == []


def test_wandb_gets_the_settings_and_the_finite_numbers(tmp_path, wandb):
    trackers.use(["wandb"])
    write(tmp_path, [(5, {"loss": 1.5, "au": 3, "kl": None, "bad": float("nan")})])
    began, row, ended = wandb.told
    assert began["config"] == {"seed": 3, "model.dim": 8, "model.ff_dim": None}
    assert (began["project"], began["name"], began["id"]) == ("vaetx_jax", tmp_path.name, None)
    assert row == (5, {"loss": 1.5, "au": 3.0}) and ended == "finished"


def test_mlflow_gets_the_settings_and_the_finite_numbers(tmp_path, mlflow):
    trackers.use(["mlflow"])
    write(tmp_path, [(5, {"loss": 1.5, "kl": None})])
    params = [("seed", "3"), ("model.dim", "8"), ("model.ff_dim", "None")]
    assert mlflow.told == [
        "vaetx_jax",
        ("7", tmp_path.name),
        ("r1", [], params),
        ("r1", [("loss", 1.5, 5)], []),
        ("ended", "r1"),
    ]


def test_a_resumed_run_is_the_same_run_there(tmp_path, wandb, mlflow):
    trackers.use(["wandb", "mlflow"])
    for step in (0, 5):
        write(tmp_path, [(step + 5, {"loss": 1.0})], step=step)
    assert [one["id"] for one in wandb.told if isinstance(one, dict)] == [None, "abc"]
    assert ("r1", "RUNNING") in mlflow.told and mlflow.told.count("vaetx_jax") == 1


def test_a_tracker_that_fails_is_told_of_once_and_dropped(tmp_path, wandb, mlflow, capsys):
    def fail(self, run, metrics=(), params=()):
        if metrics:
            raise ConnectionError("no\nroute to host")

    mlflow.MlflowClient.log_batch = fail
    trackers.use(["wandb", "mlflow"])
    write(tmp_path, [(step, {"loss": 1.0}) for step in (1, 2, 3)])
    said = capsys.readouterr().err
    assert said.count("the tracker mlflow gets no more metrics (ConnectionError: no route") == 1
    assert [row["step"] for row in read_metrics(tmp_path / METRICS)] == [1, 2, 3]
    assert len(wandb.told) == 5  # the other one got all


def test_a_tracker_that_cannot_start_or_end_stops_nothing(tmp_path, wandb, mlflow, capsys):
    def refuse(*_, **__):
        raise RuntimeError("no key")

    wandb.init = mlflow.MlflowClient.set_terminated = refuse
    trackers.use(["wandb", "mlflow"])
    write(tmp_path, [(1, {"loss": 1.0})])
    said = capsys.readouterr().err
    assert "tracker wandb" in said and "tracker mlflow" in said
    assert len(read_metrics(tmp_path / METRICS)) == 1


def test_one_that_is_not_installed_is_one_line_and_left_out(monkeypatch, wandb, capsys):
    monkeypatch.setattr(trackers, "_is_installed", lambda name: name == "wandb")
    trackers.use(["mlflow", "wandb"])
    assert trackers.chosen() == ["wandb"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "--trackers=mlflow: not installed (pip install 'vaetx-jax[mlflow]')" in line


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match=r"--trackers=mflow: .*mlflow"):
        trackers.use(["mflow"])
