"""The probe of a latent: linear classifiers on z of a frozen encoder, compared with baselines.

This is the paper's extrinsic evaluation (Section 4.1.2, Tables 3 and 6).
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaetx_jax import paper
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference.loading import init_untrained
from vaetx_jax.inference.sentences import encode_split
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.probe.baselines import text_features
from vaetx_jax.probe.classifiers import Latents
from vaetx_jax.probe.label_field import ProbeInputs, probe_field
from vaetx_jax.runtime.atomic import check_writable, write_text
from vaetx_jax.runtime.console import Progress
from vaetx_jax.settings import closest

PUBLISHED_LATENT_DIM = 64  # of Tables 3 and 6
CHUNK = 2_048  # sentences encoded between two updates of the progress line


def run_probe(
    model: TextModel, *, fields: Sequence[str] = (), few_labels: bool = True, data: str = ""
) -> dict[str, Any]:
    """Probes the latent of a model by `config.probe`.

    It writes `probe-LATENT-FIT.json`, and the same as `probe.json`, which is always the latest.

    Args:
      model: the model.
      fields: the label fields; none: all that the corpus has.
      few_labels: fit classifiers on 10, 100 and 1,000 labels per class as well.
      data: a name of sentences that are not the run's corpus: `probe-LATENT-FIT-data-NAME.json`
        alone is written.

    Returns:
      The fields of `probe.json`. `labels` holds the result of `probe_field` for each label field.

    Raises:
      UserError: a language model, a corpus without labels or without this one, or latents that are
        not finite.
      OSError: the folder cannot be written; said before anything is computed.
    """
    run, settings = model.run, model.run.config.probe
    fields = _select_fields(model, fields)
    check_writable(result_path(model, data))
    inputs = _collect_inputs(model, fields)
    names = run.corpus.label_fields
    result = {
        "corpus": run.config.data.corpus,
        **({"data": data} if data else {}),
        "model": run.config.model.name,
        "annealing": run.config.objective.annealing,
        "latent_dim": model.latent_dim,
        "seed": run.config.seed,
        "checkpoint": model.step,
        "checkpoint_is": model.source,
        "protocol": settings.to_dict(),
        "published": _published(model),
        "labels": {
            field: probe_field(field, names[field], inputs, settings, few_labels=few_labels)
            for field in fields
        },
    }
    latest = [] if data else [run.folder / "probe.json"]
    for path in (result_path(model, data), *latest):
        write_text(path, json.dumps(result, indent=2) + "\n")
    return result


def result_path(model: TextModel, data: str = "") -> pathlib.Path:
    """The file of this kind of probe, which another kind, or one of other data, leaves alone."""
    settings = model.run.config.probe
    name = f"probe-{settings.latent}-{settings.fit}{f'-data-{data}' if data else ''}.json"
    return model.run.folder / name


def _select_fields(model: TextModel, wanted: Sequence[str]) -> list[str]:
    config = model.run.config
    if not model.latent_dim:
        raise UserError(
            f"the probe reads the latent, and {config.model.name} is a language model without one"
        )
    available = model.run.corpus.label_fields
    if not available:
        raise UserError(
            f"the probe needs labels, and the corpus {config.data.corpus} of this run has none"
        )
    for field in wanted:
        if field not in available:
            raise ConfigError(
                f"no label {field!r}: the corpus {config.data.corpus} has {', '.join(available)}"
                f"{closest(field, available)}"
            )
    return list(wanted or available)


def _published(model: TextModel) -> dict[str, Any] | None:
    """The paper's scores of this model on this corpus by split, where it has any."""
    config = model.run.config
    if model.latent_dim != PUBLISHED_LATENT_DIM:
        return None
    row = (config.model.name, config.objective.annealing)
    splits = paper.PROBE_64.get(row, {}).get(config.data.corpus)
    return splits and {split: scores._asdict() for split, scores in splits.items()}


def _collect_inputs(model: TextModel, fields: Sequence[str]) -> ProbeInputs:
    run, settings = model.run, model.run.config.probe
    rows = {split: list(run.corpus.split(split)) for split in SPLITS}
    texts = {split: [row.text for row in of_split] for split, of_split in rows.items()}
    progress = Progress(2 * sum(map(len, texts.values())))
    random_model = init_untrained(run, seed=run.config.seed)
    latents = _encode(model, texts, progress, done=0)
    random = _encode(random_model, texts, progress, done=sum(map(len, texts.values())))
    progress.clear()
    return ProbeInputs(
        latents,
        random,
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
    run = model.run
    for split, sentences in texts.items():
        chunks = []
        known = run.split(split).features is not None
        if run.vectors or (model.step and known):  # nothing is encoded
            chunks.append(encode_split(run, model.variables, split))
            done, sentences = done + len(sentences), []
        for start in range(0, len(sentences), CHUNK):
            chunks.append(model.encode(sentences[start : start + CHUNK]))
            done += len(sentences[start : start + CHUNK])
            progress.tick(done, "encoding sentences")
        mean_NxZ, std_NxZ = (np.concatenate(part) for part in zip(*chunks, strict=True))
        if not (np.isfinite(mean_NxZ).all() and np.isfinite(std_NxZ).all()):
            raise UserError(
                f"{model.run.folder}: the latents of the {split} split are not finite, so the "
                f"training has diverged before step {model.step}; take an earlier --checkpoint"
            )
        if model.run.config.probe.latent == "mean":
            std_NxZ = np.zeros_like(mean_NxZ)
        encoded[split] = Latents(mean_NxZ, std_NxZ)
    return encoded
