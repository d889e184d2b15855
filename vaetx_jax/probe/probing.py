"""`python -m vaetx_jax.probe --workdir=DIR`: how much a linear classifier reads off the latent.

The paper's extrinsic evaluation (Section 4.1.2, Tables 3 and 6): the encoder frozen, a linear
classifier on z, beside what needs no model at all.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaetx_jax import paper
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference.text_model import TextModel, untrained
from vaetx_jax.probe.baselines import text_features
from vaetx_jax.probe.classifiers import Latents
from vaetx_jax.probe.label_field import Material, probe_field
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import Progress
from vaetx_jax.settings import closest

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
    run, settings = model.run, model.run.config.probe
    fields = _chosen_fields(model, fields)
    material = _gather(model, fields)
    names = run.corpus.label_fields
    result = {
        "corpus": run.config.data.corpus,
        "model": run.config.model.name,
        "annealing": run.config.objective.annealing,
        "latent_dim": model.latent_dim,
        "seed": run.config.seed,
        "checkpoint": model.step,
        "checkpoint_is": model.label,
        "protocol": settings.to_dict(),
        "published": _published(model),
        "labels": {
            field: probe_field(field, names[field], material, settings, few_labels=few_labels)
            for field in fields
        },
    }
    for path in (own_file(model), run.folder / "probe.json"):
        write_text(path, json.dumps(result, indent=2) + "\n")
    return result


def own_file(model: TextModel) -> pathlib.Path:
    """The file of a probe of this kind, which another kind's does not replace."""
    settings = model.run.config.probe
    return model.run.folder / f"probe-{settings.latent}-{settings.fit}.json"


def _chosen_fields(model: TextModel, wanted: Sequence[str]) -> list[str]:
    config = model.run.config
    if not model.latent_dim:
        raise UserError(
            f"the probe reads the latent, and {config.model.name} is a language model without one"
        )
    there = model.run.corpus.label_fields
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
    config = model.run.config
    if model.latent_dim != PUBLISHED_LATENT_DIM:
        return None
    row = (config.model.name, config.objective.annealing)
    splits = paper.PROBE_64.get(row, {}).get(config.data.corpus)
    return splits and {split: figures._asdict() for split, figures in splits.items()}


def _gather(model: TextModel, fields: Sequence[str]) -> Material:
    run, settings = model.run, model.run.config.probe
    rows = {split: list(run.corpus.split(split)) for split in SPLITS}
    texts = {split: [row.text for row in of_split] for split, of_split in rows.items()}
    progress = Progress(2 * sum(map(len, texts.values())))
    blank_model = untrained(run, seed=run.config.seed)
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
                f"{model.run.folder}: the latents of the {split} split are not finite, so the "
                f"training has diverged before step {model.step}; take an earlier --checkpoint"
            )
        if model.run.config.probe.latent == "mean":
            std_NxZ = np.zeros_like(mean_NxZ)
        encoded[split] = Latents(mean_NxZ, std_NxZ)
    return encoded
