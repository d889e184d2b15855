"""Files written before the package was split into folders: they load, resume, count as finished.

`run.tar.xz` holds a run of `tiny_run.tiny_config` that was stopped after step 20 of 40,
`uninterrupted-metrics.jsonl` the rows of the same run without the stop, and `exported.tar.xz` the
export of that one. `study.tar.xz` holds a study of one finished cell. Numbers are compared to float
tolerance: other processors and other versions of JAX round differently.
"""

import json
import runpy

import jax
import numpy as np
import pytest

from tests.helpers.archives import unpack
from tests.helpers.paths import FIXTURES, REPOSITORY
from vaetx_jax.config import keys
from vaetx_jax.inference.loading import load
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.run.run import create_run, open_run
from vaetx_jax.study.cells import cells_of
from vaetx_jax.study.seal import Condition, condition
from vaetx_jax.training.trainer import Trainer

STOPPED, STEPS = 20, 40
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def stopped(config, tmp_path_factory):
    """The folder of the stopped run."""
    return unpack("run", tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return load(unpack("exported", tmp_path_factory.mktemp("exported")))


@pytest.fixture(scope="module")
def resumed(stopped, config):
    """The stopped run, gone on with to its end: (its last state's parameters, the words)."""
    settings = open_run(stopped).config
    settings.data.cache_dir = config.data.cache_dir  # shared with the other tests
    trainer = Trainer(create_run(settings, stopped))
    state, words = trainer.start_state()
    return trainer.run(state).variables["params"], words


def metrics_of(rows):
    """step -> its metrics, without those of the machine's speed and those left out."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        numbers = {
            name: x for name, x in row.items() if x is not None and not name.startswith("perf/")
        }
        found.setdefault(row["step"], {}).update(numbers)
    return found


@pytest.mark.slow
def test_the_run_resumes_at_its_checkpoint(resumed):
    assert resumed[1] == f"resumes after step {STOPPED}"


def test_the_resumed_run_has_the_metrics_of_the_uninterrupted_one(stopped, resumed):
    ours = metrics_of(read_metrics(stopped / METRICS))
    theirs = metrics_of(read_metrics(FIXTURES / "uninterrupted-metrics.jsonl"))
    assert max(ours) == STEPS
    assert ours.keys() == theirs.keys()
    for step, expected in theirs.items():
        assert ours[step] == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), step


def test_the_resumed_run_ends_near_the_parameters_that_were_exported(resumed, exported):
    """As a whole: Adam turns rounding noise in one gradient into steps of its learning rate."""
    ours, theirs = resumed[0], exported.params
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (ours, theirs))
    assert np.linalg.norm(a - b) < 0.01 * np.linalg.norm(b)


def test_the_export_encodes_and_decodes(exported):
    assert exported.step == STEPS
    mean, std = exported.encode(["the old house"])
    assert np.isfinite(mean).all() and (std > 0).all()
    assert len(exported.decode(mean)) == 1


def test_the_cell_of_a_study_keeps_its_name_and_is_finished(tmp_path):
    folder = unpack("study", tmp_path)
    config = runpy.run_path(str(REPOSITORY / "configs" / "study" / "smoke.py"))["get_config"]()
    changes = {
        "study.latent_dim": 4,
        "run.data.sentences": 200,
        "run.data.held_out": 40,
        "run.tokenizer.vocab_size": 200,
        "run.model.dim": 8,
        "run.train.steps": 10,
        "run.evaluation.iw_samples": 2,
        "run.samples.count": 1,
    }
    for key, value in changes.items():
        keys.set_value(config, key, value)
    cell = next(c for c in cells_of(config) if c.label == "grammar-vae_transformer-none-z4-s0")
    assert [path.name for path in (folder / "cells").iterdir() if path.is_dir()] == [cell.name]
    found, why = condition(
        folder / "cells" / cell.name, iw_samples=2, protocol=cell.config.probe.to_dict()
    )
    assert found is Condition.FINISHED, why
    assert json.loads((folder / "smoke.json").read_text())["study"] == "smoke"
