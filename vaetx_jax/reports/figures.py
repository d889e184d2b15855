"""Figures of a run: learning curves and a map of the latent space."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.runtime.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches, laid out without overlaps."""
    # Here and not above, because it takes a second and many commands draw nothing.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def colour_map(name: str) -> Any:
    """The colour map of a name: from a number to a colour."""
    import matplotlib

    return matplotlib.colormaps[name]


def plot_learning_curves(folder: pathlib.Path) -> pathlib.Path:
    """Plots reconstruction, KL, perplexity and the schedules against the step.

    Args:
      folder: the run's folder, where `learning-curves.png` is written.

    Returns:
      The path of the figure.
    """
    rows = read_metrics(folder / METRICS)
    figure = new_figure(10, 6.5)
    panels = figure.subplots(2, 2, sharex=True)
    curves = (
        (panels[0, 0], "nll", "reconstruction, nats per sentence"),
        (panels[0, 1], "kl", "KL, nats per sentence"),
        (panels[1, 0], "ppl_elbo", "perplexity per token, by the ELBO"),
    )
    for axes, name, title in curves:
        for part, style in (("train", "-"), ("valid", "o-")):
            points = [(r["step"], r[f"{part}/{name}"]) for r in rows if r.get(f"{part}/{name}")]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=part, markersize=4)
        axes.set_title(title, loc="left", fontsize=10)
        if axes.lines:
            axes.legend(frameon=False)
    _scale_by_logarithm(panels[1, 0])
    _draw_schedules(panels[1, 1], rows)
    for axes in panels.flat:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[1]:
        axes.set_xlabel("step")
    return save_figure(figure, folder / "learning-curves.png")


def _scale_by_logarithm(axes: Any) -> None:
    """Scales the y axis by the logarithm, with 200 at a tick and not 2 × 10²."""
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())


def _draw_schedules(axes: Any, rows: list[dict[str, Any]]) -> None:
    rows = [r for r in rows if "train/kl_weight" in r]
    steps = [r["step"] for r in rows]
    axes.set_title("KL weight α and learning rate", loc="left", fontsize=10)
    axes.set_ylim(-0.05, 1.1)
    other = axes.twinx()
    other.yaxis.set_major_formatter("{x:g}")
    for side, colour, name, label in (
        (axes, "tab:blue", "train/kl_weight", "α"),
        (other, "tab:red", "train/learning_rate", "learning rate"),
    ):
        side.plot(steps, [r[name] for r in rows], color=colour)
        side.set_ylabel(label, color=colour)
        side.tick_params(axis="y", labelcolor=colour)
    other.spines[["top"]].set_visible(False)


def plot_latents(
    path: pathlib.Path,
    views: Sequence[tuple[str, np.ndarray]],
    labels_N: np.ndarray,
    names: tuple[str, ...],
    title: str,
) -> pathlib.Path:
    """Plots sentences of the latent space, coloured by a label, in several views of it.

    Args:
      path: the PNG file to write.
      views: (title, points [N, 2]) of each.
      labels_N: each sentence's class, an index into `names`; -1: none.
      names: of the classes.
      title: of the figure.

    Returns:
      The path of the figure.
    """
    figure = new_figure(6.0 * len(views) + 1.5, 6.2)
    panels = figure.subplots(1, len(views), squeeze=False)[0]
    for axes, (view, points_Nx2) in zip(panels, views, strict=True):
        _scatter(axes, points_Nx2, labels_N, names)
        axes.set_title(view, loc="left", fontsize=10)
    handles, texts = panels[0].get_legend_handles_labels()
    if len(texts) > 1:
        figure.legend(handles, texts, frameon=False, markerscale=2, loc="outside right center")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return save_figure(figure, path)


def _scatter(
    axes: Any, points_Nx2: np.ndarray, labels_N: np.ndarray, names: tuple[str, ...]
) -> None:
    colours = colour_map("tab10" if len(names) <= 10 else "tab20")
    if np.any(labels_N < 0):
        points = points_Nx2[labels_N < 0]
        axes.scatter(points[:, 0], points[:, 1], s=9, alpha=0.4, color="0.7", label="no label")
    for value, name in enumerate(names):
        points = points_Nx2[labels_N == value]
        axes.scatter(
            points[:, 0], points[:, 1], s=9, alpha=0.7, color=colours(value % colours.N), label=name
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def save_figure(figure: "Figure", path: pathlib.Path) -> pathlib.Path:
    """Writes a figure as PNG, whole or not at all, and returns its path."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path
