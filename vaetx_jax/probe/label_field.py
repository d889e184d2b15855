"""One label field's probe: classifiers on z and on the references, and all their figures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.probe.classifiers import Latents, Protocol, fit_closed, train_classifier
from vaetx_jax.probe.few_labels import DRAWS, few_label_rows, sizes_below
from vaetx_jax.probe.scores import Scores, loss_name, scores, share_scores
from vaetx_jax.runtime.console import Progress


@dataclasses.dataclass(frozen=True)
class Material:
    """What every label field's classifiers read, split by split, and the labels.

    Attributes:
      latents: of the trained encoder.
      blank: of the untrained one.
      features: dense or sparse rows for closed fits: `bag_of_ngrams`, `lsa`.
      labels: field -> split -> classes.
    """

    latents: dict[str, Latents]
    blank: dict[str, Latents]
    features: dict[str, dict[str, Any]]
    labels: dict[str, dict[str, np.ndarray]]


def probe_field(
    field: str,
    names: Sequence[str],
    material: Material,
    settings: ConfigDict,
    *,
    few_labels: bool,
) -> dict[str, Any]:
    """All figures of one label field.

    Args:
      names: of its classes.
      settings: `config.probe`.
      few_labels: also from 10, 100 and 1,000 labels a class.

    Returns:
      `classes`, `rows` (split -> sentences) and `notes`. Where the training split has one class
      only, `skipped` says so and nothing follows. Else `fit` with what was chosen by validation
      (`epoch` and `valid_by_epoch`, or `strength`), `splits` (split -> `probe_scores.scores`),
      `references` (name -> the same, with `valid` and `test`), `few_labels`
      (`probe_few_labels.few_label_rows`; empty where they were left out).
    """
    y = material.labels[field]
    out: dict[str, Any] = {
        "classes": list(names),
        "rows": {split: len(y[split]) for split in SPLITS},
        "notes": [],
    }
    there = np.unique(y["train"])
    if len(there) < 2:
        only = names[there[0]]
        return out | {"skipped": f"every training row is {only!r}: nothing to classify"}
    unseen = sorted(set(np.concatenate([y["valid"], y["test"]]).tolist()) - set(there.tolist()))
    if unseen:
        which, loss = ", ".join(repr(names[label]) for label in unseen), loss_name(len(names))
        out["notes"] = [
            f"no training row is {which}: held-out rows that are count as errors, and {loss} is "
            "null where a fit rules them out"
        ]
    chosen, splits = _fit_latents(material.latents, y, len(names), settings)
    out |= {"fit": {"kind": settings.fit, **chosen}, "splits": splits}
    out["references"] = _references(material, y, len(names), settings)
    out["few_labels"] = []
    if few_labels:
        out["few_labels"] = _few_labels(material, field, len(names), settings.seed)
    return out


def _fit_latents(
    latents: dict[str, Latents], y: dict[str, np.ndarray], classes: int, settings: ConfigDict
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """What validation chose, and the figures of every split."""
    z = _drawn(latents, settings.seed)
    if settings.fit == "closed":
        closed = fit_closed(z["train"], y["train"], z["valid"], y["valid"], classes=classes)
        return {"strength": closed.strength}, _figures(closed, z, y)
    trained = train_classifier(
        latents["train"],
        y["train"],
        z["valid"],
        y["valid"],
        classes=classes,
        protocol=Protocol(settings.epochs, settings.batch_size, settings.learning_rate),
        seed=settings.seed,
    )
    chosen = {"epoch": trained.epoch, "valid_by_epoch": list(trained.valid_loss)}
    return chosen, _figures(trained, z, y)


def _drawn(latents: dict[str, Latents], seed: int) -> dict[str, np.ndarray]:
    """The one z a sentence by which splits are judged and closed fits are made."""
    return {split: latents[split].draw(seed, place) for place, split in enumerate(SPLITS)}


def _figures(
    classifier: Any, features: dict[str, Any], y: dict[str, np.ndarray]
) -> dict[str, Scores]:
    commonest = int(np.bincount(y["train"]).argmax())
    return {
        split: scores(classifier.log_prob(features[split]), y[split], commonest=commonest)
        for split in SPLITS
    }


def _references(
    material: Material, y: dict[str, np.ndarray], classes: int, settings: ConfigDict
) -> dict[str, dict[str, Any]]:
    held_out = ("valid", "test")
    shares = {split: share_scores(y["train"], y[split], classes=classes) for split in held_out}
    found: dict[str, dict[str, Any]] = {"class_shares": shares}
    for name, x in material.features.items():
        closed = fit_closed(x["train"], y["train"], x["valid"], y["valid"], classes=classes)
        figures = _figures(closed, x, y)
        found[name] = {"strength": closed.strength} | {split: figures[split] for split in held_out}
    chosen, figures = _fit_latents(material.blank, y, classes, settings)
    chosen.pop("valid_by_epoch", None)
    found["untrained_encoder"] = chosen | {split: figures[split] for split in held_out}
    return found


def _few_labels(material: Material, field: str, classes: int, seed: int) -> list[dict[str, Any]]:
    y = material.labels[field]
    features = {"z": _drawn(material.latents, seed), **material.features}
    fits = len(sizes_below(y["train"])) * len(features) * DRAWS
    progress, done = Progress(fits), 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress.tick(done, f"few labels of {field}")

    rows = few_label_rows(features, y, classes=classes, seed=seed, tick=tick)
    progress.clear()
    return rows
