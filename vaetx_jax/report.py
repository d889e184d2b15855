"""What a person looks at: the evaluation table, the learning curves, the latent picture."""

import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from vaetx_jax.writer import METRICS, read_metrics

matplotlib.use("Agg", force=False)

_ROWS = (
    ("nll", "nats a sentence", "reconstruction, -log p(x|z), z from the posterior"),
    ("kl", "nats a sentence", "rate: KL of the posterior to the prior"),
    ("ppl_rec", "a piece", "reconstruction perplexity (the paper's PPL; falls as KL rises)"),
    ("ppl_elbo", "a piece", "upper bound by the ELBO"),
    ("ppl_iw", "a piece", "tighter bound, {iw_samples} samples: compare models by this"),
    ("ppl_rec_word", "a word", ""),
    ("ppl_elbo_word", "a word", ""),
    ("ppl_iw_word", "a word", "comparable across tokenizers"),
    ("mi_b32", "nats", "mutual information in batches of 32 (the paper's; at most 3.47)"),
    ("mi", "nats", "mutual information over the split (at most {mi_limit:.2f})"),
    ("au", "units", "active of {latent_dim}"),
    ("entropy", "nats a sentence", "of the corpus itself, known exactly"),
    (
        "behind_entropy",
        "nats a sentence",
        "the bound behind it (± {behind_entropy_se:.2f})",
    ),
)


def print_evaluation(figures: dict[str, Any]) -> None:
    """The figures of an evaluation as a table on the screen."""
    title = (
        f"{figures['model']} on {figures['corpus']}, {figures['split']} split, "
        f"step {figures['checkpoint']:,} ({figures['checkpoint_is']})"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("what it is")
    for name, unit, meaning in _ROWS:
        value = figures.get(name)
        if value is not None:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
            table.add_row(name, shown, unit, meaning.format(**figures))
    counts = (
        f"{figures['sentences']:,} sentences, {figures['tokens']:,} pieces, {figures['words']:,} "
        f"words; {figures['truncated']:,} cut at the maximum length; "
        f"{figures['tokenizer']} with {figures['vocab_size']:,} pieces; "
        f"{figures['parameters']:,} parameters"
    )
    table.caption, table.caption_justify = counts, "left"
    console = Console()
    console.print(table)
    if "evaluation_warning" in figures:
        console.print(f"WARNING: {figures['evaluation_warning']}", style="bold red")


class Probed(Protocol):
    """What is shown of a linear probe."""

    @property
    def field(self) -> str: ...
    @property
    def classes(self) -> int: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def majority(self) -> float: ...


def print_probes(results: Sequence[Probed]) -> None:
    """What a linear classifier reads off z, label by label."""
    table = Table(title="linear probe of z (posterior mean), test split", title_justify="left")
    table.add_column("label")
    for column in ("classes", "accuracy", "majority"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            result.field, f"{result.classes}", f"{result.accuracy:.3f}", f"{result.majority:.3f}"
        )
    Console().print(table)


def learning_curves(folder: pathlib.Path) -> pathlib.Path:
    """Draws `learning-curves.png`: reconstruction, KL, the schedules, against the step."""
    rows = read_metrics(folder / METRICS)
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    curves = (
        (panels[0, 0], "nll", "reconstruction, nats a sentence"),
        (panels[0, 1], "kl", "KL, nats a sentence"),
        (panels[1, 0], "ppl_elbo", "perplexity a piece, by the ELBO"),
    )
    for axes, name, title in curves:
        for part, style in (("train", "-"), ("valid", "o-")):
            points = [(r["step"], r[f"{part}/{name}"]) for r in rows if r.get(f"{part}/{name}")]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=part, markersize=4)
        axes.set_title(title, loc="left", fontsize=10)
        if axes.lines:
            axes.legend(frameon=False)
    panels[1, 0].set_yscale("log")
    _draw_schedules(panels[1, 1], rows)
    for axes in panels.flat:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[1]:
        axes.set_xlabel("step")
    return save_figure(figure, folder / "learning-curves.png")


def _draw_schedules(axes: Any, rows: list[dict[str, Any]]) -> None:
    steps = [r["step"] for r in rows if "train/kl_weight" in r]
    axes.set_title("KL weight α and learning rate", loc="left", fontsize=10)
    axes.plot(steps, [r["train/kl_weight"] for r in rows if "train/kl_weight" in r], label="α")
    axes.set_ylim(-0.05, 1.1)
    other = axes.twinx()
    rates = [r["train/learning_rate"] for r in rows if "train/kl_weight" in r]
    other.plot(steps, rates, color="tab:red", label="learning rate")
    other.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    other.spines[["top"]].set_visible(False)
    lines = [*axes.lines, *other.lines]
    names = [line.get_label() for line in lines]
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98), "ncols": 2}  # beside the title
    axes.legend(lines, names, frameon=False, **place)


def latent_picture(
    path: pathlib.Path,
    points_Nx2: np.ndarray,
    labels_N: np.ndarray,
    names: tuple[str, ...],
    title: str,
) -> pathlib.Path:
    """Draws sentences in two dimensions of the latent space, coloured by a label."""
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"]
    for value, name in enumerate(names):
        here = points_Nx2[labels_N == value]
        axes.scatter(
            here[:, 0], here[:, 1], s=9, alpha=0.7, color=colours(value % colours.N), label=name
        )
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(frameon=False, markerscale=2, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return save_figure(figure, path)


def save_figure(figure: Figure, path: pathlib.Path) -> pathlib.Path:
    """Writes a picture whole or not at all; gives its path back."""
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=110, format="png")
    temporary.replace(path)
    return path
