"""A probe on the screen: z and the references on the test split, then what few labels teach."""

from typing import Any

from vaetx_jax.probe.scores import loss_name
from vaetx_jax.reports.tables import StudyTable, print_table

_LATENTS = {"sample": "z sampled from the posterior", "mean": "z at the posterior mean"}
_FITS = {
    "paper": "fitted as the paper does: AdamW, {epochs} epochs, of which epoch {epoch} is the best "
    "on the validation split",
    "closed": "closed L2-regularised fit, C = {strength:g} the best on the validation split",
}


def print_probe(result: dict[str, Any]) -> None:
    """The fields of `probe.json` as tables."""
    for field, figures in result["labels"].items():
        if "skipped" in figures:
            print(f"{field}: {figures['skipped']}")
            continue
        print_table(_figures_table(field, figures, result))
        if figures["few_labels"]:
            print_table(_few_labels_table(field, figures, result["latent_dim"]))


def reference_names(latent_dim: int) -> dict[str, str]:
    """What the features and references of `probe.json` are called on the screen."""
    return {
        "z": "z",
        "class_shares": "class shares alone",
        "bag_of_ngrams": "1- and 2-grams",
        "lsa": f"LSA, {latent_dim} dimensions",
        "untrained_encoder": "z, untrained encoder",
    }


def _figures_table(field: str, figures: dict[str, Any], result: dict[str, Any]) -> StudyTable:
    loss = loss_name(len(figures["classes"]))
    shown = [_row("z", split, figures["splits"][split], loss) for split in figures["splits"]]
    if result["published"]:
        published = result["published"].items()
        shown += [_row("z, the paper's", split, scores, loss) for split, scores in published]
    names = reference_names(result["latent_dim"])
    for name, of_split in figures["references"].items():
        shown.append(_row(names[name], "test", of_split["test"], loss))
    rows = figures["rows"]
    classes = figures["classes"]
    kinds = ", ".join(classes) if len(classes) <= 8 else f"{len(classes)} classes"
    protocol = {**result["protocol"], **figures["fit"]}
    return StudyTable(
        title=f"linear probe of {field} ({kinds}): {result['model']} on {result['corpus']}, "
        f"step {result['checkpoint']:,} ({result['checkpoint_is']})",
        columns=("classifier reads", "split", loss, "accuracy", "macro-F1", "ROC-AUC"),
        rows=[],
        shown=shown,
        notes=[
            f"{_LATENTS[protocol['latent']]}; {_FITS[protocol['fit']].format(**protocol)}.",
            *_unfinished(protocol),
            f"{loss} in nats; {rows['train']:,} rows to train on, {rows['valid']:,} to validate, "
            f"{rows['test']:,} to test.",
            "The references but for the untrained encoder are closed fits (scikit-learn).",
            *figures["notes"],
        ],
    )


def _unfinished(protocol: dict[str, Any]) -> list[str]:
    if protocol.get("epoch") != protocol["epochs"]:
        return []
    return ["That is the last epoch, so this fit may not have read off all that is in z."]


def _row(name: str, split: str, scores: dict[str, Any], loss: str) -> tuple[str, ...]:
    columns = (loss, "accuracy", "macro_f1", "roc_auc")
    return (name, split, *(_number(scores.get(column)) for column in columns))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _few_labels_table(field: str, figures: dict[str, Any], latent_dim: int) -> StudyTable:
    names = reference_names(latent_dim)
    shown = [
        (
            names[row["features"]],
            f"{row['labels_per_class']:,}",
            f"{row['labels']:,}",
            *(f"{row[f'{f}_mean']:.3f} ± {row[f'{f}_std']:.3f}" for f in ("accuracy", "macro_f1")),
        )
        for row in figures["few_labels"]
    ]
    draws = figures["few_labels"][0]["draws"]
    return StudyTable(
        title=f"few labels of {field}: test split, mean ± deviation of {draws} draws",
        columns=("classifier reads", "labels a class", "labels", "accuracy", "macro-F1"),
        rows=[],
        shown=shown,
        notes=["Closed fits, C by as many validation rows a class; all read the same draws."],
    )
