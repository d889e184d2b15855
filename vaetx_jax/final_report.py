"""What every run ends with: its figures on the test split, its samples and its pictures."""

import pathlib
import time

import numpy as np

from vaetx_jax.evaluate import evaluate, print_evaluation
from vaetx_jax.inference.interpolation import principal_plane
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.metrics.estimator import Estimates
from vaetx_jax.probe.quick import print_probes, probe_labels
from vaetx_jax.reports.figures import plot_latents, plot_learning_curves
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import duration


def write_final_report(model: TextModel) -> None:
    """Prints and writes the table, the quick probes, the samples and the pictures."""
    began = time.monotonic()
    figures, estimates = evaluate(model, "test")
    print_evaluation(figures)
    written = [model.run.folder / "evaluation.json", plot_learning_curves(model.run.folder)]
    if model.latent_dim and model.run.corpus.label_fields:
        print_probes(probe_labels(model, estimates.mu_NxZ))
    if model.latent_dim:
        written.append(_picture(model, estimates))
    if model.run.config.samples.count:
        text, path = showcase(model)
        print(text)
        written.append(path)
    print(f"evaluated in {duration(time.monotonic() - began)}; written:")
    for path in written:
        print(f"  {path}")


def _picture(model: TextModel, estimates: Estimates) -> pathlib.Path:
    run = model.run
    test, fields = run.split("test"), run.corpus.label_fields
    field = next(iter(fields), None)
    names = fields[field] if field else ("sentences",)
    labels_N = test.labels[field][:] if field else np.zeros(len(test), int)
    if 2 < len(np.unique(labels_N)) < len(labels_N) and model.latent_dim > 1:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        # Principal axes show what varies most; these show whether the label is there at all.
        separate = LinearDiscriminantAnalysis(n_components=2)
        points_Nx2 = separate.fit_transform(estimates.mu_NxZ, labels_N)
        axes = f"the two axes that separate {field} best"
    else:
        points_Nx2 = principal_plane(estimates.mu_NxZ).points_Nx2
        axes = "two principal axes"
    title = f"posterior means of the test split, {axes}"
    return plot_latents(run.folder / "latent.png", points_Nx2, labels_N, names, title)


RECONSTRUCTIONS = 3


STEPS = 7


def showcase(model: TextModel) -> tuple[str, pathlib.Path]:
    """Writes `samples/step-N.md` and gives its text, too.

    Sentences to reconstruct and to go between are the first of the test split.
    """
    settings = model.run.config.samples
    lines = [f"# Samples after {model.step:,} steps", "", "## Drawn from the prior", ""]
    drawn = model.sample(settings.count, temperature=settings.temperature, seed=settings.seed)
    lines += [f"- {sentence}" for sentence in drawn]
    if model.latent_dim:
        test = model.run.corpus.split("test")
        shown = [test[i].text for i in range(min(RECONSTRUCTIONS, len(test)))]
        lines += ["", "## Reconstructed (greedy, from the posterior mean)", ""]
        for sentence, back in zip(shown, model.reconstruct(shown), strict=True):
            lines += [f"- {sentence}", f"  -> {back}"]
        first, last = shown[0], shown[-1]
        lines += ["", "## Between two sentences", "", f"- from: {first}"]
        lines += [f"  {i}. {s}" for i, s in enumerate(model.interpolate(first, last, STEPS))]
        lines += [f"- to: {last}"]
    text = "\n".join(lines) + "\n"
    folder = model.run.folder / "samples"
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{model.step}.md"
    write_text(path, text)
    return text, path
