"""Learning curves, and rate against distortion, from results made by hand."""

import json
import math

import numpy as np
import pytest

from tests.helpers.finished_cells import CYCLIC, LM, in_row, result_of
from tests.helpers.saved_figures import keep_figures
from vaetx_jax.config.study_rows import Row
from vaetx_jax.study import figures as figures_lib


@pytest.fixture
def saved_figures(monkeypatch):
    """The figures as they are saved to files."""
    return keep_figures(monkeypatch, figures_lib)


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


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5_000


def test_learning_curves_are_means_over_seeds_against_epochs(tmp_path, saved_figures):
    results = [with_metrics(result_of(tmp_path, *CYCLIC, seed=s), n) for s, n in ((0, 10), (1, 30))]
    results.append(with_metrics(result_of(tmp_path, *LM), 50))
    path = figures_lib.plot_learning_curves(results, tmp_path / "curves.png", "ptb")
    assert is_png(path)
    nats, kl = saved_figures[0].axes
    trained, validated, _, _ = nats.lines
    np.testing.assert_allclose(trained.get_xdata(), np.arange(5, 51, 5))
    np.testing.assert_allclose(trained.get_ydata(), 20 / np.arange(10, 101, 10))
    np.testing.assert_allclose([validated.get_xdata()[0], validated.get_ydata()[0]], [50, 20])
    assert len(kl.lines) == 2, "a language model has no KL to draw"
    names = [text.get_text() for text in nats.get_legend().get_texts()]
    assert names == ["vae_transformer, cyclic", "transformer_lm"]


def test_language_models_alone_have_no_panel_of_the_kl(tmp_path, saved_figures):
    results = [with_metrics(result_of(tmp_path, *LM), 50)]
    figures_lib.plot_learning_curves(results, tmp_path / "curves.png", "ptb")
    (nats,) = saved_figures[0].axes
    assert len(nats.lines) == 2


def test_a_corpus_without_cells_has_no_learning_curves(tmp_path):
    results = [result_of(tmp_path, *CYCLIC)]
    assert figures_lib.plot_learning_curves(results, tmp_path / "curves.png", "air") is None


def test_rate_stands_against_distortion(tmp_path, saved_figures):
    results = [result_of(tmp_path, *CYCLIC, nll=80.0, kl=4.0), result_of(tmp_path, *LM, nll=86.0)]
    results.append(result_of(tmp_path, *CYCLIC, nll=70.0, kl=1.0, corpus="air"))
    assert is_png(figures_lib.plot_rate_distortion(results, tmp_path / "rate.png"))
    ptb, air = saved_figures[0].axes
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ptb.lines[:2]]
    assert points == [(80.0, 4.0), (86.0, 0.0)]
    assert (ptb.get_title("left"), air.get_title("left")) == ("ptb", "air")
    for line in ptb.lines[2:]:  # of equal ELBO
        sums = np.add(line.get_xdata(), line.get_ydata())
        np.testing.assert_allclose(sums, sums[0])


def test_the_line_of_the_best_language_model_is_where_the_elbo_is_its_likelihood(
    tmp_path, saved_figures
):
    results = [result_of(tmp_path, *CYCLIC, nll=80.0, kl=4.0)]
    results += [result_of(tmp_path, *LM, nll=nll, seed=seed) for seed, nll in enumerate((90, 86))]
    results.append(result_of(tmp_path, *CYCLIC, corpus="air"))
    figures_lib.plot_rate_distortion(results, tmp_path / "rate.png")
    ptb, air = saved_figures[0].axes
    (line,) = [line for line in ptb.lines if line.get_label() == "as good as transformer_lm"]
    np.testing.assert_allclose(np.add(*line.get_data()), 86.0)
    assert not any(str(line.get_label()).startswith("as good") for line in air.lines)


def test_named_rows_have_colours_and_names_of_their_own(tmp_path, saved_figures):
    rows = [Row(*CYCLIC), Row(*CYCLIC, "free bits"), Row(*CYCLIC, "channel")]
    results = [in_row(result_of(tmp_path, *CYCLIC), row) for row in rows]
    figures_lib.plot_rate_distortion(results, tmp_path / "rate.png")
    points = saved_figures[0].axes[0].lines[:3]
    assert [line.get_label() for line in points] == [row.title for row in rows]
    assert len({line.get_color() for line in points}) == 3


def test_language_models_alone_have_no_rate(tmp_path):
    assert (
        figures_lib.plot_rate_distortion([result_of(tmp_path, *LM)], tmp_path / "rate.png") is None
    )


def test_a_sum_that_was_not_finite_has_no_point(tmp_path, saved_figures):
    results = [result_of(tmp_path, *CYCLIC, nll=80.0, kl=4.0), result_of(tmp_path, *LM, nll=None)]
    results.append(result_of(tmp_path, *CYCLIC, seed=1, kl=None))
    figures_lib.plot_rate_distortion(results, tmp_path / "rate.png")
    (axes,) = saved_figures[0].axes
    names = [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]
    assert names == ["vae_transformer, cyclic"]


@pytest.mark.parametrize("limit", ["patience", "max_steps"])
def test_cells_that_may_end_before_their_last_epoch_are_drawn_by_steps(
    tmp_path, saved_figures, limit
):
    results = [with_metrics(result_of(tmp_path, *CYCLIC, seed=seed), 10) for seed in (0, 1)]
    results[1].cell.config.train[limit] = 100
    figures_lib.plot_learning_curves(results, tmp_path / "curves.png", "ptb")
    nats = saved_figures[0].axes[0]
    assert nats.get_xlabel() == "step"
    np.testing.assert_allclose(nats.lines[0].get_xdata(), np.arange(10, 101, 10))


def test_many_names_stand_beside_the_panels_and_hide_no_point(tmp_path, saved_figures):
    rows = [Row(*CYCLIC, f"row {number}") for number in range(9)]
    results = [in_row(result_of(tmp_path, *CYCLIC, seed=n), row) for n, row in enumerate(rows)]
    results += [
        in_row(result_of(tmp_path, *CYCLIC, seed=n, corpus="air"), row)
        for n, row in enumerate(rows[:2])
    ]
    figures_lib.plot_rate_distortion(results, tmp_path / "rate.png")
    figure = saved_figures[0]
    assert [axes.get_legend() for axes in figure.axes] == [None, None]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [row.name for row in rows]
    right = max(axes.get_window_extent().x1 for axes in figure.axes)
    assert right < legend.get_window_extent().x0 and legend.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize(("name", "shown"), [("US$_$", r"US\$_\$"), ("_one", " _one")])
def test_a_name_is_no_formula_and_is_not_left_out(tmp_path, saved_figures, name, shown):
    result = in_row(with_metrics(result_of(tmp_path, *CYCLIC), 10), Row(*CYCLIC, name))
    figures_lib.plot_learning_curves([result], tmp_path / "curves.png", "ptb")
    figures_lib.plot_rate_distortion([result], tmp_path / "rate.png")
    for figure in saved_figures:
        assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == [shown]
