"""Draws architecture.png, the sketch in concepts.md: `python docs/pictures/architecture.py`.

It shows the VAE-Transformer of the preset `paper`. The image is written next to this file, or to
the path given as the first argument.
"""

import pathlib
import sys

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

BLUE, GREEN, RED, GREY = "#1f5fa8", "#2e7d32", "#b3261e", "#6a6a6a"
PALE = {BLUE: "#e3edf8", GREEN: "#e4f2e5", RED: "#fbe9e7", GREY: "#f2f2f2"}


def box(axes: plt.Axes, x: float, y: float, w: float, h: float, text: str, color: str) -> None:
    """A rounded box centred at (x, y)."""
    style = FancyBboxPatch(
        (x - w / 2, y - h / 2),
        w,
        h,
        boxstyle="round,pad=0,rounding_size=0.09",
        fc=PALE[color],
        ec=color,
        lw=1.3,
    )
    axes.add_patch(style)
    axes.text(x, y, text, ha="center", va="center", fontsize=10)


def arrow(
    axes: plt.Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str = "black",
    bend: str = "arc3",
) -> None:
    """An arrow from start to end."""
    how = {"arrowstyle": "-|>", "color": color, "lw": 1.3, "connectionstyle": bend}
    axes.annotate("", end, start, arrowprops={**how, "shrinkA": 0, "shrinkB": 0})


def encoder(axes: plt.Axes) -> None:
    """The left column: tokens to a summary."""
    axes.text(1.7, 6.9, "encoder  q(z|x)", ha="center", color=BLUE, fontsize=12, weight="bold")
    axes.text(1.7, 0.35, "[CLS]  x1  x2  ...  xn", ha="center", va="center", family="monospace")
    box(axes, 1.7, 1.4, 2.7, 0.7, "token + position\nembeddings", BLUE)
    box(axes, 1.7, 3.0, 2.7, 0.7, "self-attention", BLUE)
    box(axes, 1.7, 4.1, 2.7, 0.7, "feed-forward", BLUE)
    box(axes, 1.7, 5.7, 2.7, 0.7, "output at [CLS]", BLUE)
    frame(axes, 0.15, 2.45, 3.1, 2.2, "2 layers")
    for low, high in ((0.6, 1.05), (1.75, 2.65), (3.35, 3.75), (4.45, 5.35)):
        arrow(axes, (1.7, low), (1.7, high))


def frame(axes: plt.Axes, x: float, y: float, w: float, h: float, text: str) -> None:
    """A dashed frame around a repeated layer."""
    axes.add_patch(plt.Rectangle((x, y), w, h, fill=False, ec=GREY, ls=(0, (4, 3)), lw=1))
    axes.text(x + w - 0.06, y + h + 0.07, text, ha="right", va="bottom", color=GREY, fontsize=9)


def latent(axes: plt.Axes) -> None:
    """The middle column: mean and standard deviation, z, the prior."""
    axes.text(5.2, 6.9, "latent", ha="center", color=RED, fontsize=12, weight="bold")
    box(axes, 4.55, 5.7, 1.1, 0.7, "mean\nμ", RED)
    box(axes, 5.85, 5.7, 1.1, 0.7, "deviation\nσ", RED)
    box(axes, 5.2, 4.2, 2.4, 0.7, "z = μ + σ · ε", RED)
    axes.text(5.2, 3.55, "ε from N(0, 1): 64 numbers", ha="center", color=GREY, fontsize=9)
    arrow(axes, (3.05, 5.7), (4.0, 5.7))
    axes.plot([3.5, 3.5, 5.85], [5.7, 6.45, 6.45], color="black", lw=1.3)
    arrow(axes, (5.85, 6.45), (5.85, 6.05))
    arrow(axes, (4.55, 5.35), (4.85, 4.55))
    arrow(axes, (5.85, 5.35), (5.55, 4.55))
    axes.text(
        5.2, 2.55, "rate (kl):\nKL of N(μ, σ²)\nto the prior N(0, 1)", ha="center", va="center",
        color=RED, fontsize=10,
    )  # fmt: skip


def decoder(axes: plt.Axes) -> None:
    """The right column: z and the tokens so far to the next token."""
    axes.text(9.2, 6.9, "decoder  p(x|z)", ha="center", color=GREEN, fontsize=12, weight="bold")
    axes.text(9.2, 0.35, "[CLS]  x1  x2  ...  xn", ha="center", va="center", family="monospace")
    box(axes, 9.2, 1.2, 2.9, 0.6, "token + position embeddings", GREEN)
    box(axes, 9.2, 2.35, 2.9, 0.6, "masked self-attention", GREEN)
    box(axes, 9.2, 3.25, 2.9, 0.6, "feed-forward", GREEN)
    box(axes, 9.2, 4.2, 2.9, 0.7, "latent-decoder attention", GREEN)
    frame(axes, 7.55, 1.85, 3.3, 2.9, "2 layers")
    box(axes, 9.2, 5.7, 2.9, 0.7, "output layer, softmax", GREEN)
    axes.text(9.2, 6.45, "x1  x2  ...  xn  [SEP]", ha="center", va="center", family="monospace")
    for low, high in ((0.6, 0.9), (1.5, 2.05), (2.65, 2.95), (3.55, 3.85), (4.55, 5.35)):
        arrow(axes, (9.2, low), (9.2, high))
    arrow(axes, (9.2, 6.05), (9.2, 6.3))
    arrow(axes, (6.4, 4.2), (7.75, 4.2), RED)
    axes.text(7.0, 4.3, "keys, values", ha="center", va="bottom", color=RED, fontsize=9)
    axes.text(
        12.1, 6.1, "distortion (nll):\n−log p(x|z) of the\nnext tokens", ha="center", va="center",
        color=GREEN, fontsize=10,
    )  # fmt: skip
    axes.text(
        12.1, 4.2, "the query is the\ndecoder's state;\nit chooses between\ntwo slots of z",
        ha="center", va="center", color=GREY, fontsize=9,
    )  # fmt: skip


def main(path: pathlib.Path) -> None:
    """Draws the sketch."""
    figure, axes = plt.subplots(figsize=(12, 6.2), layout="constrained")
    axes.set_xlim(0, 13.2)
    axes.set_ylim(0, 7.2)
    axes.axis("off")
    encoder(axes)
    latent(axes)
    decoder(axes)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    beside = pathlib.Path(__file__).with_suffix(".png")
    main(pathlib.Path(sys.argv[1]) if sys.argv[1:] else beside)
