"""Draws rate_distortion.png, used in concepts.md: `python docs/pictures/rate_distortion.py`.

The points are runs on the built-in grammar, test split of 2,000 sentences, seed 0; each is listed
here with the settings of its command and the values of its `evaluation-test.json`. The image is
written next to this file, or to the path given as the first argument.
"""

import math
import pathlib
import sys

import matplotlib.pyplot as plt

ENTROPY = 23.9905  # nats per sentence, of the corpus itself: `entropy` in evaluation.json
TOKENS = 29_871 / 2_000  # per sentence, its end counted

# configs/demo.py with --config.model.channel_rate=X: (kl, nll), nats per sentence; kl is X.
RECIPE = (
    (4.0, 22.152),
    (7.0, 20.513),
    (12.0, 18.557),
)
# configs/grammar.py with free bits of X, by the command in concepts.md: (X, kl, nll).
FREE_BITS = (
    (0.0, 4.158, 26.721),
    (0.1, 5.400, 26.153),
    (0.25, 8.872, 23.928),
    (0.5, 16.078, 19.792),
    (1.0, 31.230, 14.420),
)
IW = 32.5335  # at free bits 0.5: minus the importance-weighted bound, 20 samples
# configs/grammar.py, from the table of all models in concepts.md (nll = tokens * ln ppl_rec).
COLLAPSED = (0.18, TOKENS * math.log(5.95))
LANGUAGE_MODEL = (0.0, TOKENS * math.log(5.97))

GREY, BLUE, RED, GREEN = "#8a8a8a", "#1f5fa8", "#b3261e", "#2e7d32"
RIGHT, TOP = 38.0, 41.0


def perplexity(nats: float) -> float:
    """The perplexity per token of so many nats per sentence."""
    return math.exp(nats / TOKENS)


def note(axes: plt.Axes, x: float, y: float, text: str, color: str, **how: object) -> None:
    """Writes a text on a white ground, so that the lines behind do not cross it."""
    box = {"fc": "white", "ec": "none", "pad": 1, "alpha": 0.9}
    axes.text(x, y, text, color=color, va="center", bbox=box, **how)


def red_marks(axes: plt.Axes, scale: float, *, labelled: bool) -> None:
    """Draws the two models that do not use z."""
    names = ("language model (no z)", "VAE, annealing alone: posterior collapse")
    for point, marker, size, fill, name in (
        (LANGUAGE_MODEL, "D", 6, "white", names[0]),
        (COLLAPSED, "s", 5, RED, names[1]),
    ):
        axes.plot(
            *point, marker, color=RED, ms=size * scale, mfc=fill, clip_on=False, zorder=5,
            ls="none", label=name if labelled else None,
        )  # fmt: skip


def collapse(axes: plt.Axes) -> None:
    """Draws the left edge magnified: the two red marks lie 0.18 nats apart."""
    inset = axes.inset_axes([20.5, 25.2, 10.5, 7.0], transform=axes.transData)
    inset.set_xlim(-0.08, 0.42)
    inset.set_ylim(26.5, 26.8333)
    inset.set_xticks([0, 0.2, 0.4])
    inset.set_yticks([26.6, 26.8])
    inset.tick_params(labelsize=8)
    inset.axvline(0, color="black", lw=0.8)
    red_marks(inset, 1.4, labelled=False)
    inset.text(*LANGUAGE_MODEL, "   language model", color=RED, va="bottom", fontsize=9)
    inset.text(*COLLAPSED, "   collapsed VAE", color=RED, va="center", fontsize=9)
    inset.set_title("the left edge at 26.7, magnified", fontsize=9, color=RED)
    marked = axes.indicate_inset_zoom(inset, edgecolor=RED, alpha=0.6)
    for connector in marked.connectors:
        connector.set_visible(False)  # they would cross the curve


def main(path: pathlib.Path) -> None:
    """Draws the figure."""
    figure, axes = plt.subplots(figsize=(9.4, 9.0), layout="constrained")
    axes.set_xlim(0, RIGHT)
    axes.set_ylim(0, TOP)
    axes.set_aspect("equal")
    axes.set_xlabel("rate: kl, nats per sentence")
    axes.set_ylabel("distortion: nll, nats per sentence")
    right = axes.secondary_yaxis("right")
    shown = (1, 2, 3, 4, 5, 6, 8, 10, 15)
    right.set_yticks([TOKENS * math.log(p) for p in shown], [str(p) for p in shown])
    right.set_ylabel("the same as a perplexity per token: exp(nll / tokens)")

    for total in (30, 40, 50, 60):
        axes.plot([0, total], [total, 0], color=GREY, lw=0.8, ls=(0, (4, 4)), zorder=1)
    note(axes, 31.5, 8.5, "equal ELBO: nll + kl = 40", GREY, rotation=-45, ha="center")
    axes.fill_between([0, ENTROPY], [ENTROPY, 0], 0, color="#e9e9e9", zorder=0)
    axes.plot([0, ENTROPY], [ENTROPY, 0], color="black", lw=1.4)
    axes.text(7.6, 7.2, "out of reach:\nnll + kl is at least\nthe entropy, 23.99", ha="center")

    red_marks(axes, 1.0, labelled=True)
    rates, distortions = [p[1] for p in FREE_BITS], [p[2] for p in FREE_BITS]
    label = "free bits, by nats per dimension"
    axes.plot(rates, distortions, "o-", color=BLUE, ms=7, label=label)
    axes.plot(*zip(*RECIPE, strict=True), "D-", color=GREEN, ms=6, label="configs/demo.py, by rate")
    axes.plot(
        ENTROPY, 0, "*", color=GREEN, ms=14, clip_on=False, zorder=5, ls="none",
        label="perfect autoencoder (not a run): nll 0",
    )  # fmt: skip
    for share, rate, distortion in FREE_BITS:
        note(axes, rate - 0.3, distortion - 0.9, f"{share:g}", BLUE, ha="right")
    note(axes, ENTROPY + 0.7, 0.9, "autoencoder", GREEN)
    axes.legend(loc="upper right", framealpha=1.0, numpoints=1)
    collapse(axes)

    # The three perplexities, read from one point.
    _, rate, distortion = next(point for point in FREE_BITS if point[0] == 0.5)
    axes.plot([rate, RIGHT], [distortion] * 2, color=BLUE, lw=1.2, ls=":")
    text = f"ppl_rec {perplexity(distortion):.2f}:\nstraight across"
    note(axes, RIGHT - 0.4, distortion + 1.6, text, BLUE, ha="right")
    elbo = rate + distortion
    arrow = {"arrowstyle": "-|>", "color": BLUE, "lw": 1.2, "ls": "--", "shrinkA": 6, "shrinkB": 0}
    axes.annotate("", (0, elbo), (rate, distortion), arrowprops=arrow)
    text = f"ppl_elbo {perplexity(elbo):.2f}:\nup the diagonal to rate 0, then across"
    note(axes, 1.6, elbo + 0.9, text, BLUE)
    axes.plot([0, 1.0], [IW] * 2, color=BLUE, lw=4, solid_capstyle="butt")
    note(axes, 5.0, IW + 0.2, f"ppl_iw {perplexity(IW):.2f}: the tighter bound", BLUE)
    axes.plot([1.0, 4.9], [IW] * 2, color=BLUE, lw=0.8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    beside = pathlib.Path(__file__).with_suffix(".png")
    main(pathlib.Path(sys.argv[1]) if sys.argv[1:] else beside)
