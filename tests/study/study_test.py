"""The study command: Table 8 in full, rows picked by pattern, what is said of wrong settings."""

import json
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY
from vaetx_jax import paper
from vaetx_jax.config.study import chosen, default_study, validate_study
from vaetx_jax.errors import ConfigError
from vaetx_jax.reports.tables import StudyTable, markdown, print_table, write_tables
from vaetx_jax.study import __main__
from vaetx_jax.study.parameters import parameter_study


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


def test_a_count_that_differs_is_said(monkeypatch):
    monkeypatch.setitem(paper.PARAMETERS, "gru_lm", {128: 8_042_297})
    table = parameter_study(small_study(only="*-128"))
    assert [row["equal"] for row in table.rows] == [True, False]
    assert [row[-1] for row in table.shown] == ["equal", "+1"]
    assert table.notes[0] == "1 of 2 counts equal the published ones."


def test_a_size_that_was_not_published_is_counted_without_a_verdict():
    table = parameter_study(small_study(only="gru_lm-64"))
    assert table.rows[0]["equal"] is None and table.rows[0]["published"] is None
    assert table.shown[0][-1] == "not published"


def test_only_picks_rows_by_pattern():
    names = ["vae_gru-128", "vae_gru-1024", "gru_lm-128"]
    assert chosen(names, "") == names
    assert chosen(names, "gru_lm-*, vae_gru-1024") == ["vae_gru-1024", "gru_lm-128"]


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"study.only: 'lstm' fits none of vae_gru-128"):
        chosen(["vae_gru-128"], "lstm")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "parameter"}, "study.kind = 'parameter': .*did you mean parameters"),
        ({"sizes": (("vae_rnn", 128, 30_522),)}, "study.sizes: .*vae_rnn"),
        ({"sizes": (("vae_gru", 0, 30_522),)}, "study.sizes"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        validate_study(small_study(**settings))


def test_the_config_of_a_run_is_no_study(config, tmp_path):
    with pytest.raises(ConfigError, match="no config of a study"):
        __main__.run(config, tmp_path)


def test_cells_with_bars_keep_their_column():
    assert markdown(("a", "b"), [("x|y", "1")]).splitlines()[-1] == r"| x\|y | 1 |"


def test_a_wide_table_is_printed_whole(capsys):
    names = [f"a_column_of_some_length_{i}" for i in range(8)]
    print_table(StudyTable("Wide", names, [], [[f"value-{i}" * 2 for i in range(8)]]))
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert all(f"value-{i}value-{i}" in printed for i in range(8))


def test_results_are_written_whole(tmp_path):
    table = StudyTable("A title", ("name", "n"), [{"name": "x", "n": 1}], [("x", "1")], ["A note."])
    paths = write_tables([table], tmp_path / "new" / "folder", "demo")
    assert [path.name for path in paths] == ["demo.json", "demo.md"]
    assert json.loads(paths[0].read_text())["rows"] == [{"name": "x", "n": 1}]
    assert paths[1].read_text().startswith("# A title\n\n| name | n |\n| --- | ---: |\n| x | 1 |")
    assert "\n\nA note.\n\nMade on " in paths[1].read_text()
