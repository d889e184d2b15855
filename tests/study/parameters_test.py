"""Table 8: every count equals the published one."""

import json
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY
from vaetx_jax import paper
from vaetx_jax.config.study import default_study
from vaetx_jax.study.parameters import count_table


@pytest.fixture(scope="module")
def table8(tmp_path_factory):
    """The folder in which the command has written Table 8, and what it printed."""
    folder = tmp_path_factory.mktemp("table8")
    command = [sys.executable, "-m", "vaetx_jax.study", f"--workdir={folder}"]
    command.append("--config=configs/study/table8.py")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return folder, done.stdout


def test_all_13_counts_equal_the_published_ones(table8):
    rows = json.loads((table8[0] / "table8.json").read_text())["rows"]
    assert len(rows) == 13
    assert all(row["ours"] == row["published"] and row["equal"] for row in rows)
    assert {(row["model"], row["dim"]) for row in rows} == {
        (model, dim) for model, sizes in paper.PARAMETERS.items() for dim in sizes
    }


def test_the_swap_in_table_1_is_noted(table8):
    for text in ((table8[0] / "table8.md").read_text(), " ".join(table8[1].split())):
        assert "Table 1 swaps two: it gives 12,526,010 for the VAE-LSTM" in text


def test_the_markdown_holds_every_row(table8):
    lines = (table8[0] / "table8.md").read_text().splitlines()
    assert "| vae_gpt2 | 768 | 50,259 | 207,349,971 | 207,349,971 | equal |" in lines
    assert sum(line.startswith("| ") for line in lines) == 13 + 2


def small_study(**settings):
    config = default_study("small", "parameters")
    config.study.sizes = (("lstm_lm", 128, 30_522), ("gru_lm", 128, 30_522), ("gru_lm", 64, 100))
    config.study.update(settings)
    return config


def test_the_difference_of_a_count_is_shown(monkeypatch):
    monkeypatch.setitem(paper.PARAMETERS, "gru_lm", {128: 8_042_297})
    table = count_table(small_study(only="*-128"))
    assert [row["equal"] for row in table.rows] == [True, False]
    assert [row[-1] for row in table.shown] == ["equal", "+1"]
    assert table.notes[0] == "1 of 2 counts equal the published ones."


def test_a_size_that_was_not_published_is_counted_without_a_verdict():
    table = count_table(small_study(only="gru_lm-64"))
    assert table.rows[0]["equal"] is None and table.rows[0]["published"] is None
    assert table.shown[0][-1] == "not published"
