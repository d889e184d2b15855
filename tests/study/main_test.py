"""The study command: exit statuses, and a small study with real processes."""

import json
import math
import pathlib

import pytest
from ml_collections import ConfigDict

from tests.helpers.small_grid import LABELS, study_of
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.keys import differences
from vaetx_jax.config.study import default_study
from vaetx_jax.config.study_kinds import KINDS
from vaetx_jax.study import __main__, seal


def test_a_failed_cell_is_reported_and_the_rest_goes_on(process, tmp_path, capsys):
    process({LABELS[1]: ["step 4: the loss is not finite"]})
    assert __main__.run(study_of(), tmp_path) == 1
    captured = capsys.readouterr()
    assert f"{LABELS[1]} FAILED: step 4: the loss is not finite" in captured.err
    assert "error: 1 cell failed" in captured.err
    rows = json.loads((tmp_path / "made.json").read_text())["rows"]
    assert [row["seeds"] for row in rows] == [[0], [0, 1], [0, 1]]
    assert f"failed: {LABELS[1]} (step 4: the loss" in (tmp_path / "made.md").read_text()


def test_a_failed_cell_is_tried_again_by_the_next_call(process, tmp_path):
    process({LABELS[1]: ["out of luck"]})
    assert __main__.run(study_of(), tmp_path) == 1
    fake = process()
    assert __main__.run(study_of(), tmp_path) == 0
    assert fake.ordered == [LABELS[1]]


def test_a_stopped_study_leaves_with_75_and_goes_on(process, tmp_path, capsys):
    process({LABELS[1]: [75]})
    assert __main__.run(study_of(), tmp_path) == 75
    assert "Run the same command again to resume" in capsys.readouterr().out
    fake = process()
    assert __main__.run(study_of(), tmp_path) == 0
    assert fake.ordered == LABELS[1:]


def test_a_study_without_a_finished_cell_says_so_and_writes_no_table(process, tmp_path, capsys):
    process({label: ["no luck"] for label in LABELS})
    assert __main__.run(study_of(), tmp_path) == 1
    assert "there is no table yet" in capsys.readouterr().out
    assert not (tmp_path / "made.json").exists()


def test_every_kind_of_study_can_be_run():
    assert __main__.KINDS.keys() == KINDS.keys()


@pytest.fixture(scope="module")
def real_study(config) -> ConfigDict:
    """A text VAE and a language model, a few steps each."""
    real = default_study("real", "grid")
    real.study.corpora, real.study.seeds, real.study.latent_dim = ("grammar",), (0,), 4
    real.study.rows = (("vae_transformer", "cyclic"), ("transformer_lm", "none"))
    real.study.show = ("language", "curves")
    for key, (_, value) in differences(default_config(), config).items():
        if key != "model.latent_dim":
            real.run.update_from_flattened_dict({key: value})
    real.run.train.steps = 6
    return real


@pytest.fixture(scope="module")
def real_folder(real_study, tmp_path_factory) -> pathlib.Path:
    """The folder of that study, done by two processes."""
    folder = tmp_path_factory.mktemp("real")
    assert __main__.run(real_study, folder) == 0
    return folder


@pytest.mark.slow
def test_a_study_writes_the_metrics_of_its_cells(real_folder):
    rows = json.loads((real_folder / "real.json").read_text())["rows"]
    assert [(row["model"], row["annealing"]) for row in rows] == [
        ("vae_transformer", "cyclic"),
        ("transformer_lm", "none"),
    ]
    table, page = (real_folder / "real.md").read_text(), (real_folder / "report.html").read_text()
    cells = [name for row in rows for name in row["cells"]]
    vae, lm = (
        json.loads((real_folder / "cells" / name / seal.EVALUATION).read_text()) for name in cells
    )
    behind = math.log(vae["ppl_iw"]) * vae["tokens"] / vae["sentences"] - lm["nll"]
    vae |= {"gain": lm["nll"] - vae["nll"], "behind_lm": pytest.approx(behind)}
    for row, name, figures in zip(rows, cells, (vae, lm), strict=True):
        for key, summary in row["ours"].items():
            assert (summary and summary["mean"]) == figures[key], key
        assert row["parameters"] == figures["parameters"] and figures["seed"] == 0
        assert f"{figures['ppl_rec']:.2f}" in table and f"{figures['ppl_elbo']:.2f}" in table
        assert f"{figures['ppl_rec']:.2f}" in page and name.rpartition("-")[0] in page
        assert f"| {row['model']}" in table
    for picture in ("real-grammar-curves.png", "real-rate.png"):
        assert f"]({picture})" in table and (real_folder / picture).stat().st_size > 5_000


@pytest.mark.slow
def test_cells_say_how_they_were_trained_and_with_what(real_folder):
    for folder in (real_folder / "cells").iterdir():
        facts = json.loads((folder / seal.SEAL).read_text())
        assert facts["seconds"] > 0 and facts["together"] == 1 and facts["device"] == "cpu"
        assert {"config.json", "metrics.jsonl", seal.EVALUATION} < set(facts["sha256"])
        assert "nats per sentence" in (folder / "report.txt").read_text()


@pytest.mark.slow
def test_a_second_call_runs_nothing_and_writes_the_same(real_study, real_folder, process):
    before = json.loads((real_folder / "real.json").read_text())
    fake = process()
    assert __main__.run(real_study, real_folder) == 0
    assert fake.orders == [] and json.loads((real_folder / "real.json").read_text()) == before


@pytest.mark.slow
def test_a_damaged_evaluation_is_made_again_with_the_same_figures(real_study, real_folder):
    (folder,) = (real_folder / "cells").glob("*vae_transformer*")
    path, metrics = folder / seal.EVALUATION, (folder / "metrics.jsonl").read_bytes()
    facts = json.loads((folder / seal.SEAL).read_text())
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"1", b"2", 1))
    assert __main__.run(real_study, real_folder) == 0
    assert path.read_bytes() == sound and (folder / "metrics.jsonl").read_bytes() == metrics
    assert json.loads((folder / seal.SEAL).read_text()) == facts
