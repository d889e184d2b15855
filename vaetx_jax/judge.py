"""What every run ends with: its figures on the test split, its samples and its pictures."""

import pathlib
import time

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from vaetx_jax.api import TextModel
from vaetx_jax.estimate import Estimates
from vaetx_jax.evaluate import evaluate
from vaetx_jax.probe import probe_labels
from vaetx_jax.report import latent_picture, learning_curves, print_evaluation, print_probes
from vaetx_jax.samples import showcase
from vaetx_jax.writer import duration


def judge(model: TextModel) -> None:
    """Prints and writes the table, the quick probes, the samples and the pictures."""
    began = time.monotonic()
    figures, estimates = evaluate(model, "test")
    print_evaluation(figures)
    written = [model.parts.folder / "evaluation.json", learning_curves(model.parts.folder)]
    if model.latent_dim and model.parts.corpus.label_fields:
        print_probes(probe_labels(model, estimates.mu_NxZ))
    if model.latent_dim:
        written.append(_picture(model, estimates))
    if model.parts.config.samples.count:
        text, path = showcase(model)
        print(text)
        written.append(path)
    print(f"evaluated in {duration(time.monotonic() - began)}; written:")
    for path in written:
        print(f"  {path}")


def _picture(model: TextModel, estimates: Estimates) -> pathlib.Path:
    parts = model.parts
    test, fields = parts.split("test"), parts.corpus.label_fields
    field = next(iter(fields), None)
    names = fields[field] if field else ("sentences",)
    labels_N = test.labels[field][:] if field else np.zeros(len(test), int)
    points, axes = estimates.mu_NxZ, "two principal axes"
    if min(points.shape) < 2:  # one sentence, or a latent of one dimension
        points = np.pad(points, ((0, 0), (0, 2)))[:, :2]
    elif 2 < len(np.unique(labels_N)) < len(labels_N):
        # Principal axes show what varies most; these show whether the label is there at all.
        points = LinearDiscriminantAnalysis(n_components=2).fit_transform(points, labels_N)
        axes = f"the two axes that part {field} best"
    else:
        points = PCA(2, random_state=0).fit_transform(points)
    title = f"posterior means of the test split, {axes}"
    return latent_picture(parts.folder / "latent.png", points, labels_N, names, title)
