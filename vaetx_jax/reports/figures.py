"""Figures of a run: learning curves and a map of the latent space."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.runtime.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 20  # that have a colour of their own
_LONGEST = 40  # characters of a class's name in a legend
_MOST_INSIDE = 6  # names of a legend that leave room for a panel's points
_LINES = 22  # of a legend beside the panels, in one column


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches, laid out without overlaps."""
    # Here and not above, because it takes a second and many commands draw nothing.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def colour_map(name: str) -> Any:
    """The colour map of a name: from a number to a colour."""
    import matplotlib

    return matplotlib.colormaps[name]


def plain(text: str) -> str:
    """A name that a figure shows as it is: `$` begins a formula, and a legend leaves out `_x`."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def draw_legend(figure: "Figure", panels: Sequence[Any]) -> None:
    """Names what the panels show: a few names in each of them, many once, beside them all.

    A legend of many names would hide a panel; the figure becomes wider instead.
    """
    found = [axes.get_legend_handles_labels() for axes in panels]
    if max(len(names) for _, names in found) <= _MOST_INSIDE:
        for axes, (handles, names) in zip(panels, found, strict=True):
            if names:
                # Framed, so that a marker of the legend is not taken for a point.
                axes.legend(handles, names, fontsize="small", edgecolor="0.8")
        return
    handle_of: dict[str, Any] = {}
    for handles, names in found:
        for name, handle in zip(names, handles, strict=True):
            handle_of.setdefault(name, handle)
    columns = -(-len(handle_of) // _LINES)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + columns * (0.6 + 0.075 * max(map(len, handle_of))), height)
    figure.legend(
        handle_of.values(),
        handle_of.keys(),
        frameon=False,
        fontsize="small",
        ncols=columns,
        loc="outside right center",
    )


def plot_learning_curves(folder: pathlib.Path, *, has_latent: bool) -> pathlib.Path:
    """Plots reconstruction, KL, perplexity and the schedules against the step.

    Args:
      folder: the run's folder, where `learning-curves.png` is written.
      has_latent: whether there is a KL and its weight to plot: a language model has neither.

    Returns:
      The path of the figure.
    """
    rows = read_metrics(folder / METRICS)
    curves = {
        "nll": "reconstruction, nats per sentence" if has_latent else "nll, nats per sentence",
        "kl": "KL, nats per sentence",
        "ppl_elbo": "perplexity per token, by the ELBO" if has_latent else "perplexity per token",
    }
    if not has_latent:
        del curves["kl"]
    wide = 2 if has_latent else 3  # four panels in two rows, or three in one
    figure = new_figure(5 * wide, 6.5 if has_latent else 3.6)
    panels = figure.subplots((len(curves) + 1) // wide, wide, sharex=True, squeeze=False)
    for axes, (name, title) in zip(panels.flat, curves.items(), strict=False):
        for part, style in (("train", "-"), ("valid", "o-")):
            points = [(r["step"], r[f"{part}/{name}"]) for r in rows if r.get(f"{part}/{name}")]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=part, markersize=4)
        axes.set_title(title, loc="left", fontsize=10)
        if axes.lines:
            axes.legend(frameon=False)
        if name == "ppl_elbo":
            _scale_by_logarithm(axes)
    _draw_schedules(panels.flat[-1], rows, has_latent=has_latent)
    for axes in panels.flat:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    return save_figure(figure, folder / "learning-curves.png")


def _scale_by_logarithm(axes: Any) -> None:
    """Scales the y axis by the logarithm, with 200 at a tick and not 2 × 10²."""
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())


def _draw_schedules(axes: Any, rows: list[dict[str, Any]], *, has_latent: bool) -> None:
    """Draws the learning rate and, on a scale of its own, the weight of the KL if there is one."""
    rows = [r for r in rows if "train/kl_weight" in r]
    rate_axes = axes.twinx() if has_latent else axes
    rate_axes.spines[["top"]].set_visible(False)
    rate_axes.yaxis.set_major_formatter("{x:g}")
    curves = [(rate_axes, "tab:red", "train/learning_rate", "learning rate")]
    title = "learning rate"
    if has_latent:
        curves.append((axes, "tab:blue", "train/kl_weight", "α"))
        title = "KL weight α and learning rate"
        highest = max([1.0, *(r["train/kl_weight"] or 0.0 for r in rows)])  # a beta may be above 1
        axes.set_ylim(-0.05 * highest, 1.1 * highest)
    axes.set_title(title, loc="left", fontsize=10)
    for side, colour, name, label in curves:
        side.plot([r["step"] for r in rows], [r[name] for r in rows], color=colour)
        side.set_ylabel(label, color=colour)
        side.tick_params(axis="y", labelcolor=colour)


def plot_latents(
    path: pathlib.Path,
    views: Sequence[tuple[str, np.ndarray]],
    labels_N: np.ndarray,
    names: tuple[str, ...],
    title: str,
) -> pathlib.Path:
    """Plots sentences of the latent space, coloured by a label, in several views of it.

    The `MOST_CLASSES` most frequent classes have a colour each, and the others one together.

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
        axes.set_title(plain(view), loc="left", fontsize=10)
    handles, texts = panels[0].get_legend_handles_labels()
    if len(texts) > 1:
        figure.legend(handles, texts, frameon=False, markerscale=2, loc="outside right center")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return save_figure(figure, path)


def _scatter(
    axes: Any, points_Nx2: np.ndarray, labels_N: np.ndarray, names: tuple[str, ...]
) -> None:
    counts_C = np.bincount(labels_N[labels_N >= 0], minlength=len(names))
    shown = np.sort(np.argsort(-counts_C, kind="stable")[:MOST_CLASSES]).tolist()
    colours = colour_map("tab10" if len(shown) <= 10 else "tab20")
    others_N = (labels_N >= 0) & ~np.isin(labels_N, shown)
    for rows_N, colour, name in (
        (labels_N < 0, "0.7", "no label"),
        (others_N, "0.5", f"{len(names) - len(shown)} other classes"),
    ):
        if np.any(rows_N):
            points = points_Nx2[rows_N]
            axes.scatter(points[:, 0], points[:, 1], s=9, alpha=0.4, color=colour, label=name)
    for index, value in enumerate(shown):
        points, name = points_Nx2[labels_N == value], names[value]
        name = plain(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…")
        axes.scatter(points[:, 0], points[:, 1], s=9, alpha=0.7, color=colours(index), label=name)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def save_figure(figure: "Figure", path: pathlib.Path) -> pathlib.Path:
    """Writes a figure as PNG, whole or not at all, and returns its path."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path
