"""Figures of a grid: learning curves (Figure 9), and rate against distortion."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vaetx_jax.losses.annealing import ANNEALINGS
from vaetx_jax.reports.figures import colour_map, draw_legend, new_figure, plain, save_figure
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.study.cells import Cell
from vaetx_jax.study.results import Result

# Per token and not per sentence: a batch holds sentences of similar length, so a mean over the
# sentences of fifty batches follows their lengths.
_PANELS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("ppl_rec", "cross entropy (reconstruction), nats per token", np.log),
    ("kl", "KL, nats per sentence", np.asarray),
)


def plot_learning_curves(
    results: Sequence[Result], path: pathlib.Path, corpus: str
) -> pathlib.Path | None:
    """Plots cross entropy and KL of a corpus's cells against the epoch, as means over seeds.

    A colour is a model or a named row and a line style an annealing; points are on the validation
    split. Against the step where a cell counts steps or may end before its last epoch. There is no
    panel of the KL where all cells are language models.

    Args:
      results: of all corpora.
      path: the PNG file to write.
      corpus: whose cells to plot.

    Returns:
      The path; None where there is no such cell.
    """
    results = [result for result in results if result.cell.corpus == corpus]
    if not results:
        return None
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault(result.cell.key, []).append(result)
    colour_of, by_epoch = _colours(results), all(map(_trains_all_epochs, results))
    shown = _PANELS if any(result.cell.latent_dim for result in results) else _PANELS[:1]
    figure = new_figure(5.5 * len(shown), 4.6)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, title, scale) in zip(panels, shown, strict=True):
        for (_, annealing, _), group in groups.items():
            colour = colour_of(group[0].cell)
            for part, style in (("train", ANNEALINGS[annealing].line), ("valid", "")):
                steps, values = _mean_curve(group, f"{part}/{name}", scale)
                if not len(steps) or not np.any(values):
                    continue  # a language model has no KL
                times = steps / _steps_per_epoch(group[0]) if by_epoch else steps
                if part == "valid":
                    axes.plot(times, values, "o", color=colour, markersize=3, alpha=0.6)
                else:
                    label = plain(group[0].cell.title)
                    axes.plot(times, values, style, color=colour, label=label, linewidth=1.4)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("epoch" if by_epoch else "step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    draw_legend(figure, panels[:1])  # the other has the same names, or fewer
    figure.suptitle(f"{corpus}: lines training, points validation", fontsize=11)
    return save_figure(figure, path)


def _colours(results: Sequence[Result]) -> Callable[[Cell], Any]:
    """A cell's colour: one for each model, and one for each row that has a name."""

    def kind(cell: Cell) -> str:
        return cell.title if cell.key[2] else cell.model

    kinds = list(dict.fromkeys(kind(result.cell) for result in results))
    colours = colour_map("tab10" if len(kinds) <= 10 else "tab20")
    return lambda cell: colours(kinds.index(kind(cell)) % colours.N)


def _mean_curve(
    group: Sequence[Result], name: str, scale: Callable[[Any], Any]
) -> tuple[np.ndarray, np.ndarray]:
    """(steps, mean over the cells), at the steps that all of them have logged."""
    curves: list[dict[int, float]] = []
    for result in group:
        rows = read_metrics(result.folder / METRICS)
        curves.append({row["step"]: row[name] for row in rows if row.get(name) is not None})
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    mean = np.array([np.mean(scale([curve[step] for curve in curves])) for step in steps])
    return np.array(steps), mean


def _trains_all_epochs(result: Result) -> bool:
    """Whether the last step of the run is the end of its last epoch, and no limit came before."""
    train: Any = result.cell.config.train
    return not (train.steps or train.max_steps or train.patience)


def _steps_per_epoch(result: Result) -> float:
    return read_metrics(result.folder / METRICS)[-1]["step"] / result.cell.config.train.epochs


def plot_rate_distortion(results: Sequence[Result], path: pathlib.Path) -> pathlib.Path | None:
    """Plots rate (KL) against distortion (reconstruction) of all cells, a panel per corpus.

    Down and to the left is better; the ELBO is constant on the grey lines (Alemi et al., 2018), and
    level with the likelihood of the corpus's best language model on the dark one.

    Args:
      results: of all corpora.
      path: the PNG file to write.

    Returns:
      The path; None where no cell has a latent.
    """
    # A sum that was not finite has no point.
    results = [r for r in results if r.metrics["nll"] is not None and not _lacks_rate(r)]
    corpora = list(dict.fromkeys(result.cell.corpus for result in results))
    if not any(result.cell.latent_dim for result in results):
        return None
    colour_of = _colours(results)
    figure = new_figure(5.2 * len(corpora), 4.4)
    panels = figure.subplots(1, len(corpora), squeeze=False)[0]
    for axes, corpus in zip(panels, corpora, strict=True):
        named: set[str] = set()
        of_corpus = [result for result in results if result.cell.corpus == corpus]
        for result in of_corpus:
            cell = result.cell
            axes.plot(
                result.metrics["nll"],
                result.metrics["kl"] or 0.0,
                ANNEALINGS[cell.annealing].marker if cell.latent_dim else "x",
                color=colour_of(cell),
                label=None if cell.title in named else plain(cell.title),
            )
            named.add(cell.title)
        _draw_equal_elbo(axes)
        _draw_language_model(axes, [r for r in of_corpus if not r.cell.latent_dim])
        axes.set_title(corpus, loc="left", fontsize=10)
        axes.set_xlabel("distortion: reconstruction, nats per sentence")
        axes.set_ylabel("rate: KL, nats per sentence")
        axes.spines[["top", "right"]].set_visible(False)
    draw_legend(figure, panels)
    return save_figure(figure, path)


def _lacks_rate(result: Result) -> bool:
    return bool(result.cell.latent_dim) and result.metrics["kl"] is None


def _draw_language_model(axes: Any, results: Sequence[Result]) -> None:
    """Draws the line on which an ELBO is level with the best language model's likelihood.

    Args:
      results: the language models; none: nothing is drawn.
    """
    if not results:
        return
    best = min(results, key=lambda result: float(result.metrics["nll"]))
    total, (bottom, top) = float(best.metrics["nll"]), axes.get_ylim()
    axes.plot(
        [total - bottom, total - top],
        [bottom, top],
        color="0.3",
        linewidth=1.2,
        zorder=0,
        label=f"as good as {plain(best.cell.title)}",
    )


def _draw_equal_elbo(axes: Any) -> None:
    """Draws thin lines along which rate and distortion have the same sum."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    bottom = min(bottom, 0.0) - 0.05 * (top - bottom)
    for total in np.linspace(left + bottom, right + top, 9):
        axes.plot(
            [left, right], [total - left, total - right], color="0.85", linewidth=0.8, zorder=0
        )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
