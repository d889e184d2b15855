"""What a study shows: tables, the page and the pictures, from results made by hand."""

import base64
import json
import math
import re

import numpy as np
import pytest

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.study import default_study
from vaetx_jax.losses.annealing import kl_weight
from vaetx_jax.models.presets import has_latent
from vaetx_jax.reports.tables import StudyTable, print_table, write_tables
from vaetx_jax.study import figures as figures_lib
from vaetx_jax.study.cells import Cell, cell_config
from vaetx_jax.study.grid import Grid, Result
from vaetx_jax.study.html_report import write_report
from vaetx_jax.study.language_table import language_tables
from vaetx_jax.study.probe_table import probe_tables
from vaetx_jax.study.schedules import schedule_study

LATENT_FIGURES = ("kl", "mi", "mi_b32", "mi_limit", "au")


def figures_of(model="vae_gru", **changes):
    """The fields of an `evaluation.json`."""
    figures = {
        **{"split": "test", "checkpoint": 10, "checkpoint_is": "best", "sentences": 40},
        **{"tokens": 400, "words": 300, "nll": 80.0, "kl": 2.5, "mi": 1.25, "mi_b32": 1.5},
        **{"ppl_rec": 70.0, "ppl_elbo": 75.0, "ppl_iw": 72.0, "ppl_rec_word": 170.0},
        **{"ppl_elbo_word": 175.0, "ppl_iw_word": 172.0, "iw_samples": 50, "mi_limit": 3.7},
        **{"au": 5, "latent_dim": 64, "truncated": 0, "model": model, "tokenizer": "bpe"},
        **{"vocab_size": 25_714, "parameters": 1_000_000, "seed": 0},
    }
    if not has_latent(model):
        figures |= dict.fromkeys(LATENT_FIGURES)
    return figures | changes


def result_of(folder, model="vae_gru", annealing="none", *, seed=0, corpus="ptb", latent=64, **new):
    """A finished cell; `probe` among the changes is its probe, the others are figures."""
    config, probe = cell_config(corpus, model, annealing, latent, seed), new.pop("probe", None)
    cell = Cell(corpus, model, annealing, latent if has_latent(model) else 0, seed, config)
    facts = {"seconds": 60.0, "device": "cpu", "devices": 1}
    return Result(cell, folder / cell.name, figures_of(model, **new), probe, facts)


def grid_of(results, missing=None):
    return Grid(list(results), missing or {}, failed=0)


def study_of(rows, *, corpora=("ptb",), latent_dim=64, title="A title"):
    config = default_study("made", "grid")
    config.study.rows, config.study.corpora = rows, corpora
    config.study.latent_dim, config.study.title = latent_dim, title
    return config.study


CYCLIC, LINEAR, NONE = (("vae_transformer", name) for name in ("cyclic", "linear", "none"))
LM = ("transformer_lm", "none")


# Language models --------------------------------------------------------------------------------


def language_table(results, *rows, missing=None, **settings):
    return language_tables(study_of(rows, **settings), grid_of(results, missing))


def test_ours_is_mean_and_spread_over_seeds_above_the_published_figure(tmp_path):
    values = (70.0, 80.0, 96.0)
    results = [
        result_of(tmp_path, *CYCLIC, seed=seed, ppl_rec=value, kl=value / 10, mi_b32=1.0)
        for seed, value in enumerate(values)
    ]
    table, _ = language_table(results, CYCLIC)
    deviation = math.sqrt(sum((value - 82.0) ** 2 for value in values) / 2)
    assert table.shown == [
        [
            "vae_transformer, cyclic",
            f"82.00 ± {deviation:.2f}\n75.65",
            f"8.20 ± {deviation / 10:.2f}\n4.40",
            "1.00 ± 0.00\n2.45",
        ]
    ]
    assert table.columns[1:] == ("ptb PPL\n(50 epochs)", "ptb KL", "ptb MI")


def test_what_was_published_stands_below_a_cell_that_was_not_run(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, ppl_rec=70.5)]
    results.append(result_of(tmp_path, *LM, ppl_rec=90.0, corpus="air"))
    table, _ = language_table(results, CYCLIC, LM, corpora=("ptb", "air"))
    shown = {line[0]: line[1:] for line in table.shown}
    assert shown["vae_transformer, cyclic"][3] == "–\n**83.70**"
    assert shown["transformer_lm"][0] == "–\n118.69"


def test_every_figure_is_among_the_rows_for_programs(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, seed=seed, au=5 + seed) for seed in (0, 2)]
    (row,) = language_table(results, CYCLIC)[0].rows
    assert row["ours"]["au"] == {"mean": 6.0, "std": math.sqrt(2), "values": [5.0, 7.0]}
    assert row["published"] == {"ppl": 75.65, "kl": 4.4, "mi": 2.45}
    assert (row["seeds"], row["epochs"], row["latent_dim"]) == ([0, 2], 50, 64)
    assert row["cells"] == [result.cell.name for result in results]
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_one_seed_has_no_spread(tmp_path):
    table, second = language_table([result_of(tmp_path, *CYCLIC, ppl_rec=70.5, au=3)], CYCLIC)
    assert table.shown[0][1] == "70.50\n75.65"
    assert second.shown[0][-1] == "3"
    assert "one seed, 0;" in table.notes[1]


def test_best_and_second_best_perplexities_are_marked_ours_and_the_papers_apart(tmp_path):
    ours = {CYCLIC: 90.0, LINEAR: 80.0, NONE: 85.0, LM: 95.0}
    results = [result_of(tmp_path, *row, ppl_rec=value) for row, value in ours.items()]
    table, _ = language_table(results, *ours)
    assert [line[1] for line in table.shown] == [
        "90.00\n**75.65**",
        "**80.00**\n*82.01*",
        "*85.00*\n91.52",
        "95.00\n118.69",
    ]


def test_other_figures_are_never_marked(tmp_path):
    rows = (CYCLIC, LINEAR, NONE)
    tables = language_table(
        [result_of(tmp_path, *row, kl=float(len(row[1]))) for row in rows], *rows
    )
    for table, plain in zip(tables, ((2, 3), (4, 5)), strict=True):
        assert not any("*" in line[place] for line in table.shown for place in plain)


def test_of_two_rows_the_better_is_bold_and_none_is_italic(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, ppl_elbo=9.0), result_of(tmp_path, *NONE, ppl_elbo=8.0)]
    second = language_table(results, CYCLIC, NONE)[1]
    assert [line[1] for line in second.shown] == ["9.00", "**8.00**"]


def test_a_language_model_has_a_dash_for_what_it_has_not(tmp_path):
    first, second = language_table([result_of(tmp_path, *LM)], LM)
    assert first.shown == [["transformer_lm", "70.00\n118.69", "–\n–", "–\n–"]]
    assert second.shown[0][-2:] == ["–", "–"]
    assert first.rows[0]["latent_dim"] is None and first.rows[0]["ours"]["kl"] is None


def test_a_figure_that_a_seed_does_not_have_is_not_averaged(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, seed=s, ppl_iw=v) for s, v in ((0, 70.0), (1, None))]
    table, second = language_table(results, CYCLIC)
    assert table.rows[0]["ours"]["ppl_iw"] is None and second.shown[0][2] == "–"


def test_latents_of_32_stand_over_table_4_and_others_over_nothing(tmp_path):
    for latent, beside in ((32, "70.00\n75.17"), (16, "70.00")):
        result = result_of(tmp_path, *CYCLIC, latent=latent)
        table, _ = language_table([result], CYCLIC, latent_dim=latent)
        assert table.shown[0][1] == beside
        assert ("published figure" in table.notes[0]) == (latent == 32)


def test_a_row_without_cells_in_one_corpus_keeps_its_place(tmp_path):
    results = [result_of(tmp_path, *CYCLIC), result_of(tmp_path, *CYCLIC, corpus="air")]
    results += [result_of(tmp_path, *NONE, corpus="air")]
    table, _ = language_table(results, CYCLIC, LINEAR, NONE, corpora=("ptb", "sst2", "air"))
    assert [line[0] for line in table.shown] == ["vae_transformer, cyclic", "vae_transformer, none"]
    assert table.shown[1][1] == "–\n91.52" and table.shown[1][4] == "**70.00**\n88.65"
    assert [column.split()[0] for column in table.columns[1:]] == ["ptb"] * 3 + ["air"] * 3


def test_what_is_missing_is_said_and_why(tmp_path):
    missing = {"ptb-a": "not run (not finished)", "ptb-b": "step 4: the loss is not finite"}
    table, _ = language_table([result_of(tmp_path, *CYCLIC)], CYCLIC, missing=missing)
    said = "Missing: 2 cells of the grid; failed: ptb-b (step 4: the loss is not finite)."
    assert table.notes[-1] == said


def test_a_mean_over_fewer_seeds_than_the_others_is_said(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, seed=seed) for seed in (0, 1)]
    results += [result_of(tmp_path, *NONE, seed=1)]
    notes = language_table(results, CYCLIC, NONE)[0].notes
    assert "Over fewer seeds: ptb vae_transformer, none (seeds 1)." in notes
    assert "3 cells, trained in 0:03:00 on 1 cpu" in notes[1]


# The probe --------------------------------------------------------------------------------------


def probe_of(accuracy, *, loss="bce"):
    """The fields of a `probe.json` that the tables read."""
    scores = {loss: 0.5, "accuracy": accuracy, "macro_f1": 0.6, "roc_auc": None, "majority": 0.5}
    references = {
        name: {"test": {**scores, "accuracy": share}}
        for name, share in (("bag_of_ngrams", 0.8), ("lsa", 0.75), ("untrained_encoder", 0.55))
    }
    splits = dict.fromkeys(("train", "valid", "test"), scores)
    label = {"splits": splits, "references": references, "few_labels": []}
    only_class = {"skipped": "every training row is 'x': nothing to classify"}
    protocol = default_config().probe.to_dict()
    return {"protocol": protocol, "labels": {"label": label, "empty": only_class}}


def probe_table(results, **settings):
    rows = tuple({(result.cell.model, result.cell.annealing) for result in results})
    return probe_tables(study_of(rows, corpora=("sst2",), **settings), grid_of(results))


def test_a_probe_stands_over_the_published_one(tmp_path):
    results = [
        result_of(tmp_path, *CYCLIC, corpus="sst2", seed=seed, probe=probe_of(accuracy))
        for seed, accuracy in enumerate((0.6, 0.7))
    ]
    first, second = probe_table(results)
    ours = ("0.500 ± 0.000", "0.650 ± 0.071")
    paper = ("0.630", "0.689", "0.641", "0.661", "0.618", "0.700")
    assert first.shown == [
        [
            "sst2 (label), vae_transformer, cyclic",
            *(f"{ours[place % 2]}\n{value}" for place, value in enumerate(paper)),
        ]
    ]
    assert first.rows[0]["published"]["test"] == {"bce": 0.618, "accuracy": 0.7}
    assert first.rows[0]["protocol"]["fit"] == "paper" and "paper fit" in first.notes[0]
    assert second.shown[0][1:] == [
        *("0.500 ± 0.000", "0.600 ± 0.000", "–"),
        *("0.800 ± 0.000", "0.750 ± 0.000", "0.550 ± 0.000"),
    ]


def test_another_latent_size_stands_over_nothing(tmp_path):
    result = result_of(tmp_path, *CYCLIC, corpus="sst2", latent=32, probe=probe_of(0.6))
    first, _ = probe_table([result], latent_dim=32)
    assert first.shown[0][1:3] == ["0.500", "0.600"] and first.rows[0]["published"] is None


def test_more_than_two_classes_show_their_cross_entropy(tmp_path):
    probe = probe_of(0.6, loss="cross_entropy")
    first, _ = probe_table([result_of(tmp_path, *CYCLIC, corpus="sst2", probe=probe)])
    assert first.shown[0][1] == "0.500\n0.630"


def test_cells_without_a_probe_make_no_table(tmp_path):
    assert probe_table([result_of(tmp_path, *CYCLIC, corpus="sst2")]) == []


# Files ------------------------------------------------------------------------------------------

TABLE = StudyTable(
    title="A < B & C",
    columns=("model", "ptb PPL\n(50 epochs)"),
    rows=[{"model": "x", "ppl": 1.5}],
    shown=[["x|y", "**1.50**\n*2.50*"], ["<script>", "–"]],
    notes=["`ppl_rec` is a figure, 3 < 4."],
)


def test_the_markdown_has_marks_and_line_breaks(tmp_path):
    paths = write_tables([TABLE, TABLE], tmp_path, "made", [tmp_path / "made-rate.png"])
    text = paths[1].read_text()
    assert "| model | ptb PPL<br>(50 epochs) |\n| --- | ---: |\n" in text
    assert "| x\\|y | **1.50**<br>*2.50* |\n| <script> | – |" in text
    assert text.count("# A < B & C\n") == 2 and "\n\n![made-rate](made-rate.png)\n\n" in text
    written = json.loads(paths[0].read_text())
    assert written["rows"] == TABLE.rows * 2 and written["study"] == "made"
    assert written["made"]["versions"]["python"] in text


def test_the_screen_has_letters_instead_of_marks(capsys):
    print_table(TABLE)
    printed = capsys.readouterr().out
    assert "1.50" in printed and "2.50" in printed and "*" not in printed


PICTURE = b"\x89PNG\r\n\x1a\n not much of one"


def test_the_page_is_one_file_that_needs_nothing_else(tmp_path):
    result = result_of(tmp_path, *CYCLIC)
    (result.folder / "samples").mkdir(parents=True)
    (result.folder / "samples" / "step-10.md").write_text("a <b> & <c>")
    for path in (tmp_path / "rate.png", result.folder / "latent.png"):
        path.write_bytes(PICTURE)
    heading = ("Rate & <distortion>", tmp_path / "rate.png")
    page = write_report(tmp_path / "report.html", "A <title>", [TABLE], [heading], [result])
    text = page.read_text()
    sources = re.findall(r'src="([^"]*)"', text)
    assert [base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources] == [
        PICTURE
    ] * 2
    assert not re.search(r"https?:|href|url\(|@import|<script|<link|<iframe", text)
    for escaped in ("A &lt;title&gt;", "&lt;script&gt;", "a &lt;b&gt; &amp; &lt;c&gt;"):
        assert escaped in text
    assert "<b>1.50</b><br><i>2.50</i>" in text and "<code>ppl_rec</code>" in text
    assert f"<summary>{result.cell.label}: ppl_rec 70.00" in text


def test_the_page_of_a_language_model_names_no_latent_figures(tmp_path):
    page = write_report(tmp_path / "r.html", "T", [TABLE], [], [result_of(tmp_path, *LM)])
    assert "ppl_elbo 75.00</summary>" in page.read_text()


# Pictures ---------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, beside their files."""
    kept, save = [], figures_lib.save_figure

    def keep(figure, path):
        kept.append(figure)
        return save(figure, path)

    monkeypatch.setattr(figures_lib, "save_figure", keep)
    return kept


def with_metrics(result, nats):
    """Gives a cell's folder metrics of 50 epochs of 2 steps, logged every 10."""
    result.folder.mkdir(parents=True)
    rows = [
        {
            "step": step,
            "train/ppl_rec": math.exp(nats / step),
            "train/kl": 0.01 * step * bool(result.cell.latent_dim),
        }
        for step in range(10, 101, 10)
    ]
    kl = 1.0 * bool(result.cell.latent_dim)
    rows.append({"step": 100, "valid/ppl_rec": math.exp(nats), "valid/kl": kl})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (result.folder / "metrics.jsonl").write_text(text)
    return result


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5_000


def test_learning_curves_are_means_over_seeds_against_epochs(tmp_path, drawn):
    results = [with_metrics(result_of(tmp_path, *CYCLIC, seed=s), n) for s, n in ((0, 10), (1, 30))]
    results.append(with_metrics(result_of(tmp_path, *LM), 50))
    path = figures_lib.learning_curves_of(results, tmp_path / "curves.png", "ptb")
    assert is_picture(path)
    nats, kl = drawn[0].axes
    trained, validated, _, _ = nats.lines
    np.testing.assert_allclose(trained.get_xdata(), np.arange(5, 51, 5))
    np.testing.assert_allclose(trained.get_ydata(), 20 / np.arange(10, 101, 10))
    np.testing.assert_allclose([validated.get_xdata()[0], validated.get_ydata()[0]], [50, 20])
    assert len(kl.lines) == 2, "a language model has no KL to draw"
    names = [text.get_text() for text in nats.get_legend().get_texts()]
    assert names == ["vae_transformer, cyclic", "transformer_lm"]


def test_a_corpus_without_cells_has_no_learning_curves(tmp_path):
    results = [result_of(tmp_path, *CYCLIC)]
    assert figures_lib.learning_curves_of(results, tmp_path / "curves.png", "air") is None


def test_rate_stands_against_distortion(tmp_path, drawn):
    results = [result_of(tmp_path, *CYCLIC, nll=80.0, kl=4.0), result_of(tmp_path, *LM, nll=86.0)]
    results.append(result_of(tmp_path, *CYCLIC, nll=70.0, kl=1.0, corpus="air"))
    assert is_picture(figures_lib.rate_distortion(results, tmp_path / "rate.png"))
    ptb, air = drawn[0].axes
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ptb.lines[:2]]
    assert points == [(80.0, 4.0), (86.0, 0.0)]
    assert (ptb.get_title("left"), air.get_title("left")) == ("ptb", "air")
    for line in ptb.lines[2:]:  # of equal ELBO
        sums = np.add(line.get_xdata(), line.get_ydata())
        np.testing.assert_allclose(sums, sums[0])


def test_language_models_alone_have_no_rate(tmp_path):
    assert figures_lib.rate_distortion([result_of(tmp_path, *LM)], tmp_path / "rate.png") is None


def test_the_schedules_are_those_of_training(tmp_path):
    config = default_study("figure8", "schedules")
    table, path = schedule_study(config, tmp_path)
    assert is_picture(path) and path.name == "figure8.png"
    assert len(table.rows) == 1000
    for number in (0, 1, 99, 100, 150, 199, 200, 555, 999):
        row = table.rows[number]
        assert row["t"] == number / 1000
        for annealing in ("linear", "cyclic"):
            wanted = kl_weight(number, annealing=annealing, total_steps=1000, cycles=5, ratio=0.5)
            assert row[annealing] == float(wanted)
    assert [row["cyclic"] for row in table.rows[:1000:200]] == [0.0] * 5
    assert min(row["cyclic"] for row in table.rows[100:200]) == 1.0
    assert table.shown[3] == ["0.15", f"{table.rows[150]['linear']:.2f}", "1.00"]
