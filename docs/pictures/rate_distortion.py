"""Draws rate_distortion.png, the picture of concepts.md: `python docs/pictures/rate_distortion.py`.

The points are runs on the built-in grammar, test split of 2,000 sentences, seed 0; each stands here
with its command's settings and what its `evaluation-test.json` says. The picture goes beside this
file, or where the first argument says.
"""

import math
import pathlib
import sys

import matplotlib.pyplot as plt

ENTROPY = 23.9905  # nats a sentence, of the corpus itself: `entropy` of evaluation.json
TOKENS = 29_871 / 2_000  # a sentence, its end counted

# configs/demo.py with --config.objective.free_bits=X: (X, kl, nll), nats a sentence.
FREE_BITS = (
    (0.0, 4.158, 26.721),
    (0.1, 5.400, 26.153),
    (0.25, 8.872, 23.928),
    (0.5, 16.078, 19.792),
    (1.0, 31.230, 14.420),
)
IW = 32.5335  # with free bits 0.5: minus the importance-weighted bound, 20 samples
# configs/grammar.py, from the table of the README (nll = tokens * ln ppl_rec): no remedy.
COLLAPSED = (0.18, TOKENS * math.log(5.95))
LANGUAGE_MODEL = (0.0, TOKENS * math.log(5.97))

GREY, BLUE, RED, GREEN = "#8a8a8a", "#1f5fa8", "#b3261e", "#2e7d32"
RIGHT, TOP = 38.0, 41.0


def perplexity(nats: float) -> float:
    """Of so many nats a sentence, a piece."""
    return math.exp(nats / TOKENS)


def note(axes: plt.Axes, x: float, y: float, text: str, color: str, **how: object) -> None:
    """A text that the lines behind it do not cross."""
    box = {"fc": "white", "ec": "none", "pad": 1, "alpha": 0.9}
    axes.text(x, y, text, color=color, va="center", bbox=box, **how)


def main(path: pathlib.Path) -> None:
    """Draws the picture."""
    figure, axes = plt.subplots(figsize=(9.4, 9.0), layout="constrained")
    axes.set_xlim(0, RIGHT)
    axes.set_ylim(0, TOP)
    axes.set_aspect("equal")
    axes.set_xlabel("rate: kl, nats a sentence")
    axes.set_ylabel("distortion: nll, nats a sentence")
    right = axes.secondary_yaxis("right")
    shown = (1, 2, 3, 4, 5, 6, 8, 10, 15)
    right.set_yticks([TOKENS * math.log(p) for p in shown], [str(p) for p in shown])
    right.set_ylabel("the same as a perplexity: exp(nll / tokens)")

    for total in (30, 40, 50, 60):
        axes.plot([0, total], [total, 0], color=GREY, lw=0.8, ls=(0, (4, 4)), zorder=1)
    note(axes, 31.5, 8.5, "one ELBO: nll + kl = 40", GREY, rotation=-45, ha="center")
    axes.fill_between([0, ENTROPY], [ENTROPY, 0], 0, color="#e9e9e9", zorder=0)
    axes.plot([0, ENTROPY], [ENTROPY, 0], color="black", lw=1.4)
    axes.text(
        7.6, 7.2, "no model comes here:\nnll + kl is at least\nthe entropy, 23.99", ha="center"
    )

    axes.plot(
        *LANGUAGE_MODEL, "D", color=RED, ms=9, clip_on=False, mfc="white", zorder=4, ls="none",
        label="language model: no z",
    )  # fmt: skip
    axes.plot(
        *COLLAPSED, "s", color=RED, ms=5, clip_on=False, zorder=5, ls="none",
        label="VAE with annealing alone: posterior collapse",
    )  # fmt: skip
    rates, distortions = [p[1] for p in FREE_BITS], [p[2] for p in FREE_BITS]
    axes.plot(
        rates,
        distortions,
        "o-",
        color=BLUE,
        ms=7,
        label="configs/demo.py, by its free bits a dimension",
    )
    axes.plot(
        ENTROPY, 0, "*", color=GREEN, ms=14, clip_on=False, zorder=5, ls="none",
        label="a perfect autoencoder: z says all, nll 0",
    )  # fmt: skip
    for share, rate, distortion in FREE_BITS:
        note(axes, rate - 0.3, distortion - 0.9, f"{share:g}", BLUE, ha="right")
    note(axes, 0.75, 26.5, "collapse", RED)
    note(axes, ENTROPY + 0.7, 0.9, "autoencoder", GREEN)
    axes.legend(loc="upper right", framealpha=1.0, numpoints=1)

    # How the three perplexities read one point.
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
