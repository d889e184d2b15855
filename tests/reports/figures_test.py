"""The figures of a run: the schedules' axes and the classes of the map."""

import json

import numpy as np
import pytest

from tests.helpers.saved_figures import keep_figures
from vaetx_jax.reports import figures as figures_lib
from vaetx_jax.reports.figures import MOST_CLASSES, plot_latents, plot_learning_curves


@pytest.fixture
def saved_figures(monkeypatch):
    """The figures as they are saved to files."""
    return keep_figures(monkeypatch, figures_lib)


@pytest.fixture
def logged(tmp_path):
    """A folder with the metrics of ten steps."""
    rows = [
        {
            "step": step,
            "train/nll": 30.0 - step,
            "train/kl_weight": 0.4 * step,
            "train/learning_rate": 1e-3,
        }
        for step in range(11)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_kl_weight_above_1_stays_in_the_figure(logged, saved_figures):
    plot_learning_curves(logged, has_latent=True)
    (schedules,) = [a for a in saved_figures[0].axes if a.get_ylabel() == "α"]
    assert schedules.get_ylim()[1] > 4.0


def test_the_curves_of_a_language_model_show_no_kl_and_no_weight_of_it(logged, saved_figures):
    plot_learning_curves(logged, has_latent=False)
    titles = [axes.get_title(loc="left") for axes in saved_figures[0].axes]
    assert titles == ["nll, nats per sentence", "perplexity per token", "learning rate"]
    assert [len(axes.lines) for axes in saved_figures[0].axes] == [1, 0, 1]


def legend_of(saved_figures, tmp_path, names, labels_N):
    points_Nx2 = np.random.default_rng(0).normal(size=(len(labels_N), 2))
    views = [("one view", points_Nx2), ("another", points_Nx2)]
    assert plot_latents(tmp_path / "map.png", views, labels_N, names, "a title").exists()
    (legend,) = saved_figures[-1].legends
    assert legend.get_window_extent().height < saved_figures[-1].bbox.height
    return [text.get_text() for text in legend.get_texts()]


def test_rare_classes_of_many_share_a_colour(tmp_path, saved_figures):
    names = tuple(f"class {number}" for number in range(60))
    labels_N = np.concatenate([np.arange(60), np.arange(0, 60, 3), [-1]])
    shown = legend_of(saved_figures, tmp_path, names, labels_N)
    frequent = [f"class {number}" for number in range(0, 60, 3)][:MOST_CLASSES]
    assert shown == ["no label", "40 other classes", *frequent]


def test_a_class_s_name_is_shown_as_it_is_and_cut_where_it_is_long(tmp_path, saved_figures):
    names = ("US$_$", "_low", "long " * 20)
    shown = legend_of(saved_figures, tmp_path, names, np.arange(3))
    assert shown == [r"US\$_\$", " _low", f"{('long ' * 20)[:39]}…"]
