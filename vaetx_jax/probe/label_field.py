"""The probe of one label field: classifiers on z and on the baselines, and their scores."""

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
class ProbeInputs:
    """The inputs of the classifiers of all label fields, and the labels.

    Attributes:
      latents: split -> posteriors of the trained encoder.
      random: split -> posteriors of an untrained encoder.
      features: name (`bag_of_ngrams`, `lsa`) -> split -> dense or sparse rows for closed fits.
      labels: field -> split -> classes.
    """

    latents: dict[str, Latents]
    random: dict[str, Latents]
    features: dict[str, dict[str, Any]]
    labels: dict[str, dict[str, np.ndarray]]

    def labelled(self, field: str) -> "ProbeInputs":
        """The inputs of the rows that have a label of this field (a class number of at least 0)."""
        rows = {split: np.flatnonzero(y >= 0) for split, y in self.labels[field].items()}
        if all(len(rows[split]) == len(y) for split, y in self.labels[field].items()):
            return self

        def kept(of_split: dict[str, Any]) -> dict[str, Any]:
            return {split: of_split[split][rows[split]] for split in SPLITS}

        def posteriors(latents: dict[str, Latents]) -> dict[str, Latents]:
            return {
                split: Latents(*(part[rows[split]] for part in latents[split])) for split in SPLITS
            }

        return ProbeInputs(
            posteriors(self.latents),
            posteriors(self.random),
            {name: kept(x) for name, x in self.features.items()},
            {field: kept(self.labels[field])},
        )


def probe_field(
    field: str,
    names: Sequence[str],
    inputs: ProbeInputs,
    settings: ConfigDict,
    *,
    few_labels: bool,
) -> dict[str, Any]:
    """Probes one label field, on the rows that have a label.

    Args:
      field: its name.
      names: of its classes.
      inputs: of the classifiers.
      settings: `config.probe`.
      few_labels: fit classifiers on 10, 100 and 1,000 labels per class as well.

    Returns:
      `classes`, `rows` (split -> sentences) and `notes`. Where the training split has one class
      only, or a split has no label, `skipped` says so and the rest is left out: `fit` with the
      choice by validation (`epoch` and `valid_by_epoch`, or `strength`), `splits` (split ->
      `scores`), `references` (baseline -> its fit, and the scores of `valid` and `test`),
      `few_labels` (`few_label_rows`, or empty).
    """
    unlabelled = {split: int(np.sum(y < 0)) for split, y in inputs.labels[field].items()}
    inputs = inputs.labelled(field)
    y = inputs.labels[field]
    out: dict[str, Any] = {
        "classes": list(names),
        "rows": {split: len(y[split]) for split in SPLITS},
        "notes": [],
    }
    if any(unlabelled.values()):
        counts = ", ".join(f"{count:,} {split}" for split, count in unlabelled.items())
        out["notes"].append(f"rows without a label are left out: {counts}")
    empty = [split for split in SPLITS if not len(y[split])]
    if empty:
        return out | {"skipped": f"no row of the {empty[0]} split has a label"}
    known = np.unique(y["train"])
    if len(known) < 2:
        only = names[known[0]]
        return out | {"skipped": f"every training row is {only!r}: nothing to classify"}
    unseen = sorted(set(np.concatenate([y["valid"], y["test"]]).tolist()) - set(known.tolist()))
    if unseen:
        which, loss = ", ".join(repr(names[label]) for label in unseen), loss_name(len(names))
        out["notes"].append(
            f"no training row is {which}: held-out rows that are count as errors, and {loss} is "
            "null where a fit rules them out"
        )
    choice, splits = _fit_latents(inputs.latents, y, len(names), settings)
    out |= {"fit": {"kind": settings.fit, **choice}, "splits": splits}
    out["references"] = _score_baselines(inputs, y, len(names), settings)
    out["few_labels"] = []
    if few_labels:
        out["few_labels"] = _few_labels(inputs, field, len(names), settings.seed)
    return out


def _fit_latents(
    latents: dict[str, Latents], y: dict[str, np.ndarray], classes: int, settings: ConfigDict
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """The choice by validation, and the scores of every split."""
    z = _draw(latents, settings.seed)
    if settings.fit == "closed":
        closed = fit_closed(z["train"], y["train"], z["valid"], y["valid"], classes=classes)
        return {"strength": closed.strength}, _score_splits(closed, z, y)
    trained = train_classifier(
        latents["train"],
        y["train"],
        z["valid"],
        y["valid"],
        classes=classes,
        protocol=Protocol(settings.epochs, settings.batch_size, settings.learning_rate),
        seed=settings.seed,
    )
    choice = {"epoch": trained.epoch, "valid_by_epoch": list(trained.valid_loss)}
    return choice, _score_splits(trained, z, y)


def _draw(latents: dict[str, Latents], seed: int) -> dict[str, np.ndarray]:
    """Draws one z per sentence, for the scores of all splits and for closed fits."""
    return {split: latents[split].draw(seed, index) for index, split in enumerate(SPLITS)}


def _score_splits(
    classifier: Any, features: dict[str, Any], y: dict[str, np.ndarray]
) -> dict[str, Scores]:
    most_frequent = int(np.bincount(y["train"]).argmax())
    return {
        split: scores(classifier.log_prob(features[split]), y[split], most_frequent=most_frequent)
        for split in SPLITS
    }


def _score_baselines(
    inputs: ProbeInputs, y: dict[str, np.ndarray], classes: int, settings: ConfigDict
) -> dict[str, dict[str, Any]]:
    held_out = ("valid", "test")
    shares = {split: share_scores(y["train"], y[split], classes=classes) for split in held_out}
    found: dict[str, dict[str, Any]] = {"class_shares": shares}
    for name, x in inputs.features.items():
        closed = fit_closed(x["train"], y["train"], x["valid"], y["valid"], classes=classes)
        by_split = _score_splits(closed, x, y)
        found[name] = {"strength": closed.strength} | {split: by_split[split] for split in held_out}
    choice, by_split = _fit_latents(inputs.random, y, classes, settings)
    choice.pop("valid_by_epoch", None)
    found["untrained_encoder"] = choice | {split: by_split[split] for split in held_out}
    return found


def _few_labels(inputs: ProbeInputs, field: str, classes: int, seed: int) -> list[dict[str, Any]]:
    y = inputs.labels[field]
    features = {"z": _draw(inputs.latents, seed), **inputs.features}
    fits = len(sizes_below(y["train"])) * len(features) * DRAWS
    progress, done = Progress(fits), 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress.tick(done, f"few labels of {field}")

    rows = few_label_rows(features, y, classes=classes, seed=seed, tick=tick)
    progress.clear()
    return rows
