"""The final report of a run: test metrics, quick probes, samples, figures."""

import pathlib
import time

import numpy as np

from vaetx_jax.evaluate import evaluate, print_evaluation
from vaetx_jax.inference.interpolation import PATHS, principal_plane
from vaetx_jax.inference.neighbour_map import MOST_POINTS, neighbour_map
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.metrics.estimator import Estimates
from vaetx_jax.probe.quick import print_probes, probe_labels
from vaetx_jax.reports.figures import plot_latents, plot_learning_curves
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import duration

RECONSTRUCTIONS = 3  # sentences of the test split
PATH_STEPS = 7  # of the interpolation between two of them


def write_final_report(model: TextModel) -> None:
    """Evaluates a trained model on the test split; prints the report and writes its files.

    It writes `evaluation.json`, `learning-curves.png` and, where there is something to show,
    `latent.png` and `samples/step-N.md` into the run's folder.
    """
    began = time.monotonic()
    metrics, estimates = evaluate(model, "test")
    print_evaluation(metrics)
    curves = plot_learning_curves(model.run.folder, has_latent=bool(model.latent_dim))
    written = [model.run.folder / "evaluation.json", curves]
    if model.latent_dim and model.run.corpus.label_fields:
        print_probes(probe_labels(model, estimates.mu_NxZ))
    if model.latent_dim:
        written.append(_plot_posteriors(model, estimates))
    if model.run.config.samples.count:
        text, path = write_samples(model)
        print(text)
        written.append(path)
    print(f"evaluated in {duration(time.monotonic() - began)}; written:")
    for path in written:
        print(f"  {path}")


def _plot_posteriors(model: TextModel, estimates: Estimates) -> pathlib.Path:
    """Plots the posterior means of the test split, coloured by the corpus's first label.

    The views: the two principal axes, t-SNE, and, with a label of more than two classes, the axes
    that separate it best. At most `MOST_POINTS` sentences are shown.
    """
    run = model.run
    test, fields = run.split("test"), run.corpus.label_fields
    field = next(iter(fields), None)
    names = fields[field] if field else ("sentences",)
    labels_N = np.asarray(test.labels[field][:]) if field else np.zeros(len(test), int)
    shown = np.random.default_rng(0).permutation(len(test))[:MOST_POINTS]
    mu_NxZ, labels_N = estimates.mu_NxZ[shown], labels_N[shown]
    plane = principal_plane(mu_NxZ)
    shares = " and ".join(f"{share:.0%}" for share in plane.shares_2)
    views = [
        (f"two principal axes ({shares} of the variance)", plane.points_Nx2),
        ("t-SNE: neighbours lie together, axes mean nothing", neighbour_map(mu_NxZ)),
    ]
    # Principal axes show what varies most; these show whether the label is encoded at all.
    separated_Nx2 = separating_axes(mu_NxZ, labels_N)
    if separated_Nx2 is not None:
        views.append((f"the two axes that separate {field} best", separated_Nx2))
    title = f"posterior means of {len(shown):,} sentences of the test split"
    return plot_latents(run.folder / "latent.png", views, labels_N, names, title)


def separating_axes(mu_NxZ: np.ndarray, labels_N: np.ndarray) -> np.ndarray | None:
    """Latents on the two axes that separate their classes best, [N, 2].

    Args:
      mu_NxZ: the latents.
      labels_N: their classes; -1: none.

    Returns:
      None where there are no two such axes: two classes, a class for each row, or classes whose
      rows are spread along fewer than two dimensions.
    """
    known = labels_N >= 0
    classes = np.unique(labels_N[known])
    if not 2 < len(classes) < np.sum(known) or mu_NxZ.shape[1] < 2:
        return None
    if not any(np.ptp(mu_NxZ[labels_N == label], axis=0).any() for label in classes):
        return None
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    separate = LinearDiscriminantAnalysis(n_components=2)
    separate.fit(mu_NxZ[known], labels_N[known])
    points_NxK: np.ndarray = separate.transform(mu_NxZ)
    return points_NxK if points_NxK.shape[1] == 2 else None


def _posterior_means(model: TextModel, sources: list[str]) -> np.ndarray:
    """The posterior means of the first sentences of the test split."""
    if model.run.vectors is None:
        return model.encode(sources)[0]
    return model.encode_vectors(model.run.split("test").features[: len(sources)])[0]


def write_samples(model: TextModel) -> tuple[str, pathlib.Path]:
    """Writes `samples/step-N.md`: sampled, reconstructed and interpolated sentences.

    The sentences to reconstruct and to interpolate are the first of the test split.

    Returns:
      The text and the path of the file.
    """
    settings = model.run.config.samples
    lines = [f"# Samples after {model.step:,} steps", "", "## Drawn from the prior", ""]
    sampled = model.sample(settings.count, temperature=settings.temperature, seed=settings.seed)
    lines += [f"- {sentence}" for sentence in sampled]
    if model.latent_dim:
        test = model.run.corpus.split("test")
        sources = [test[i].text for i in range(min(RECONSTRUCTIONS, len(test)))]
        lines += ["", "## Reconstructed (greedy, from the posterior mean)", ""]
        mean_NxZ = _posterior_means(model, sources)
        for source, reconstruction in zip(sources, model.decode(mean_NxZ), strict=True):
            lines += [f"- {source}", f"  -> {reconstruction}"]
        first, last = sources[0], sources[-1]
        path_sentences = model.decode(PATHS["linear"](mean_NxZ[0], mean_NxZ[-1], PATH_STEPS))
        lines += ["", "## Between two sentences", "", f"- from: {first}"]
        lines += [f"  {i}. {sentence}" for i, sentence in enumerate(path_sentences)]
        lines += [f"- to: {last}"]
    text = "\n".join(lines) + "\n"
    folder = model.run.folder / "samples"
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{model.step}.md"
    write_text(path, text)
    return text, path
