"""`python -m vaetx_jax.probe --workdir=DIR`: how much a linear classifier reads off the latent.

The paper's extrinsic evaluation (Section 4.1.2, Tables 3 and 6): the encoder frozen, a linear
classifier on z, beside what needs no model at all.
"""

from vaetx_jax import stop_signals

if __name__ == "__main__":
    stop_signals.leave_at_once()

# isort: split
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaetx_jax import command_line, paper
from vaetx_jax.api import TextModel, load, untrained
from vaetx_jax.compilation_cache import use_compilation_cache
from vaetx_jax.config import PROBE_FITS, PROBE_LATENTS, closest
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.probe_field import SPLITS, Material, probe_field
from vaetx_jax.probe_protocol import Latents
from vaetx_jax.probe_references import text_features
from vaetx_jax.probe_report import print_probe
from vaetx_jax.writer import Progress, write_text

PUBLISHED_LATENT_DIM = 64  # of Tables 3 and 6
CHUNK = 2_048  # sentences encoded between two signs of life
TRAINING_ROWS = 5_000  # of the quick probe: enough for some dozen dimensions


def run_probe(
    model: TextModel, *, fields: Sequence[str] = (), few_labels: bool = True
) -> dict[str, Any]:
    """Probes the latent of a model as `config.probe` says.

    It writes `probe-LATENT-FIT.json` and, the latest under the name that all know, `probe.json`.

    Args:
      fields: the label fields; none: all that the corpus has.
      few_labels: also from 10, 100 and 1,000 labels a class.

    Returns:
      The fields of `probe.json`. `labels` holds, for each label field, what `probe_field` says.

    Raises:
      UserError: a language model, a corpus without labels or without this one, or latents that are
        not finite.
    """
    parts, settings = model.parts, model.parts.config.probe
    fields = _chosen_fields(model, fields)
    material = _gather(model, fields)
    names = parts.corpus.label_fields
    result = {
        "corpus": parts.config.data.corpus,
        "model": parts.config.model.name,
        "annealing": parts.config.objective.annealing,
        "latent_dim": model.latent_dim,
        "seed": parts.config.seed,
        "checkpoint": model.step,
        "checkpoint_is": model.label,
        "protocol": settings.to_dict(),
        "published": _published(model),
        "labels": {
            field: probe_field(field, names[field], material, settings, few_labels=few_labels)
            for field in fields
        },
    }
    for path in (own_file(model), parts.folder / "probe.json"):
        write_text(path, json.dumps(result, indent=2) + "\n")
    return result


def own_file(model: TextModel) -> pathlib.Path:
    """The file of a probe of this kind, which another kind's does not replace."""
    settings = model.parts.config.probe
    return model.parts.folder / f"probe-{settings.latent}-{settings.fit}.json"


def _chosen_fields(model: TextModel, wanted: Sequence[str]) -> list[str]:
    config = model.parts.config
    if not model.latent_dim:
        raise UserError(
            f"the probe reads the latent, and {config.model.name} is a language model without one"
        )
    there = model.parts.corpus.label_fields
    if not there:
        raise UserError(
            f"the probe needs labels, and the corpus {config.data.corpus} of this run has none"
        )
    for field in wanted:
        if field not in there:
            have = f"the corpus {config.data.corpus} has {', '.join(there)}{closest(field, there)}"
            raise ConfigError(f"no label {field!r}: {have}")
    return list(wanted or there)


def _published(model: TextModel) -> dict[str, Any] | None:
    """The paper's figures for this model on this corpus, split by split, where it has any."""
    config = model.parts.config
    if model.latent_dim != PUBLISHED_LATENT_DIM:
        return None
    row = (config.model.name, config.objective.annealing)
    splits = paper.PROBE_64.get(row, {}).get(config.data.corpus)
    return splits and {split: figures._asdict() for split, figures in splits.items()}


def _gather(model: TextModel, fields: Sequence[str]) -> Material:
    parts, settings = model.parts, model.parts.config.probe
    rows = {split: list(parts.corpus.split(split)) for split in SPLITS}
    texts = {split: [row.text for row in of_split] for split, of_split in rows.items()}
    progress = Progress(2 * sum(map(len, texts.values())))
    blank_model = untrained(parts, seed=parts.config.seed)
    latents = _encode(model, texts, progress, done=0)
    blank = _encode(blank_model, texts, progress, done=sum(map(len, texts.values())))
    progress.clear()
    return Material(
        latents,
        blank,
        text_features(texts, dimensions=model.latent_dim, seed=settings.seed),
        {
            field: {s: np.asarray([row.labels[field] for row in rows[s]]) for s in SPLITS}
            for field in fields
        },
    )


def _encode(
    model: TextModel, texts: dict[str, list[str]], progress: Progress, *, done: int
) -> dict[str, Latents]:
    encoded = {}
    for split, sentences in texts.items():
        pieces = []
        for start in range(0, len(sentences), CHUNK):
            pieces.append(model.encode(sentences[start : start + CHUNK]))
            done += len(sentences[start : start + CHUNK])
            progress.tick(done, "encoding sentences")
        mean_NxZ, std_NxZ = (np.concatenate(part) for part in zip(*pieces, strict=True))
        if not (np.isfinite(mean_NxZ).all() and np.isfinite(std_NxZ).all()):
            raise UserError(
                f"{model.parts.folder}: the latents of the {split} split are not finite, so the "
                f"training has diverged before step {model.step}; take an earlier --checkpoint"
            )
        if model.parts.config.probe.latent == "mean":
            std_NxZ = np.zeros_like(mean_NxZ)
        encoded[split] = Latents(mean_NxZ, std_NxZ)
    return encoded


# The quick probe that every training ends with -------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """A linear probe of one label.

    Attributes:
      field: the label.
      classes: how many values it has.
      accuracy: of logistic regression on the posterior mean, on the test split.
      majority: accuracy of always saying the commonest class of the training rows.
    """

    field: str
    classes: int
    accuracy: float
    majority: float


def linear_probe(
    z_train_NxZ: np.ndarray, y_train_N: np.ndarray, z_test_NxZ: np.ndarray, y_test_N: np.ndarray
) -> tuple[float, float]:
    """(accuracy, majority share) on the test rows of logistic regression on standardised z."""
    commonest = np.bincount(y_train_N).argmax()
    majority = float(np.mean(y_test_N == commonest))
    if len(np.unique(y_train_N)) < 2:
        return majority, majority
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(z_train_NxZ, y_train_N)
    return float(classifier.score(z_test_NxZ, y_test_N)), majority


def probe_labels(model: TextModel, mu_test_NxZ: np.ndarray) -> list[ProbeResult]:
    """A quick linear probe of every label of the corpus, from posterior means.

    Args:
      mu_test_NxZ: the posterior means of the test split, from its evaluation.
    """
    parts = model.parts
    train, test = parts.split("train"), parts.split("test")
    rows = np.linspace(0, len(train) - 1, min(TRAINING_ROWS, len(train))).astype(int)
    corpus = parts.corpus.split("train")
    z_train, _ = model.encode([corpus[int(i)].text for i in rows])
    results = []
    for field, names in parts.corpus.label_fields.items():
        y_train, y_test = train.labels[field][rows], test.labels[field][:]
        accuracy, majority = linear_probe(z_train, y_train, mu_test_NxZ, y_test)
        results.append(ProbeResult(field, len(names), accuracy, majority))
    return results


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("workdir", None, "The folder of a trained run.")
    flags.DEFINE_string("checkpoint", "best", "best, last or a step.")
    flags.DEFINE_string("label", "", "The label field to probe; empty: all of the corpus.")
    flags.DEFINE_enum("latent", None, PROBE_LATENTS, "What the classifier reads; else as trained.")
    flags.DEFINE_enum("fit", None, PROBE_FITS, "How it is fitted; else as the run's config says.")
    flags.DEFINE_bool("few_labels", True, "Also from 10, 100 and 1,000 labels a class.")


def main() -> None:
    """The command."""
    folder, chosen = pathlib.Path(command_line.require("workdir")), flags.FLAGS
    model = load(folder, checkpoint=chosen.checkpoint)
    use_compilation_cache(model.parts.config)
    settings = model.parts.config.probe
    settings.latent, settings.fit = chosen.latent or settings.latent, chosen.fit or settings.fit
    fields = [chosen.label] if chosen.label else []
    print_probe(run_probe(model, fields=fields, few_labels=chosen.few_labels))
    print(f"written: {own_file(model)}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
