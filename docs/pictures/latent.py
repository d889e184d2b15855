"""Draws latent.png, the picture of the README: `python docs/pictures/latent.py`.

It shows the first 800 test sentences of a run of `make demo` by topic, and the way between two of
them. latent.json holds what is drawn; `python docs/pictures/latent.py --measure=runs/demo` writes
it from a run. The image is written next to this file, or to the path given as the first argument.
"""

import json
import pathlib
import sys
import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

DATA = pathlib.Path(__file__).with_suffix(".json")
COLORS = ("#e69f00", "#56b4e9", "#009e73", "#b89b00", "#0072b2", "#d55e00", "#cc79a7", "#7f7f7f")
SHOWN = 800  # sentences on the map
ENDS = (2, 3)  # rows of the test split
STEPS = 6


def measure(folder: str) -> None:
    """Writes latent.json: the discriminant axes of the topic, the points, the interpolation."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    import vaetx_jax

    model = vaetx_jax.load(folder)
    rows = list(model.run.corpus.split("test"))
    topics = [row.labels["topic"] for row in rows]
    mean_NxZ, _ = model.encode([row.text for row in rows])
    axes = LinearDiscriminantAnalysis(n_components=2).fit(mean_NxZ, topics)
    start, end = (mean_NxZ[i] for i in ENDS)
    way = start + np.linspace(0, 1, STEPS)[:, None] * (end - start)
    points = [
        [*position, int(topic)]
        for position, topic in zip(_rounded(axes.transform(mean_NxZ)), topics, strict=True)
    ]
    shown = {
        "topics": list(model.run.corpus.label_fields["topic"]),
        "from": rows[ENDS[0]].text,
        "to": rows[ENDS[1]].text,
        "sentences": model.interpolate(rows[ENDS[0]].text, rows[ENDS[1]].text, steps=STEPS),
        "path": _rounded(axes.transform(way)),
        "points": points[:SHOWN],
    }
    DATA.write_text(json.dumps(shown).replace(', "', ',\n"') + "\n", encoding="utf-8")


def _rounded(points_Nx2: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 2) for x in point] for point in points_Nx2]


def draw(path: pathlib.Path) -> None:
    """Draws the map, and the sentences next to it."""
    shown = json.loads(DATA.read_text(encoding="utf-8"))
    figure = plt.figure(figsize=(11, 4.9))
    axes = figure.add_axes((0.01, 0.02, 0.46, 0.89))
    draw_map(axes, shown)
    beside = figure.add_axes((0.5, 0.02, 0.49, 0.89))
    draw_sentences(beside, shown)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_map(axes: plt.Axes, shown: dict[str, Any]) -> None:
    """Each sentence a dot in the colour of its topic; the interpolation a numbered line."""
    points_Nx3 = np.asarray(shown["points"])
    for number, topic in enumerate(shown["topics"]):
        x, y, _ = points_Nx3[points_Nx3[:, 2] == number].T
        axes.scatter(x, y, s=11, color=COLORS[number], alpha=0.7, lw=0)
        box = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
        middle = np.median(x), np.median(y)
        axes.text(
            *middle, topic, ha="center", va="center", fontsize=9, weight="bold", bbox=box,
            color=COLORS[number], zorder=4,
        )  # fmt: skip
    path_Nx2 = np.asarray(shown["path"])
    axes.plot(*path_Nx2.T, color="black", lw=1.5, zorder=5)
    for number, point in enumerate(path_Nx2, start=1):
        axes.plot(*point, "o", color="black", ms=10, mec="white", zorder=5 + number)
        axes.text(
            *point, str(number), color="white", ha="center", va="center", fontsize=8,
            zorder=5 + number,
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title("Latent map: test sentences of the built-in corpus, by topic", fontsize=11)


def draw_sentences(axes: plt.Axes, shown: dict[str, Any]) -> None:
    """The two sentences, and what is decoded at each point between them."""
    axes.axis("off")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title("Interpolation: decoded at equal steps between two sentences", fontsize=11)
    ends = (("from", 0.92), ("to", 0.05))
    for key, y in ends:
        text = textwrap.fill(f"{key}: {shown[key]}", 62)
        axes.text(0.0, y, text, style="italic", color="#444444", va="center", fontsize=10)
    count = len(shown["sentences"])
    for number, text in enumerate(shown["sentences"], start=1):
        y = 0.79 - 0.62 * (number - 1) / (count - 1)
        axes.plot(0.02, y, "o", color="black", ms=13)
        axes.text(0.02, y, str(number), color="white", ha="center", va="center", fontsize=9)
        axes.text(0.06, y, textwrap.fill(text, 60), va="center", fontsize=10.5)


if __name__ == "__main__":
    argument = sys.argv[1] if sys.argv[1:] else str(pathlib.Path(__file__).with_suffix(".png"))
    if argument.startswith("--measure="):
        measure(argument.removeprefix("--measure="))
    else:
        draw(pathlib.Path(argument))
