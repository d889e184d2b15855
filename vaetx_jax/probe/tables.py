"""Tables of a probe: z and the baselines, then fits to few labels."""

from typing import Any

from vaetx_jax.probe.scores import loss_name
from vaetx_jax.reports.tables import StudyTable, print_table
from vaetx_jax.runtime.console import counted

_LATENTS = {"sample": "z sampled from the posterior", "mean": "z at the posterior mean"}
_FITS = {
    "paper": "fitted as the paper does: AdamW, {epochs} epochs, of which epoch {epoch} is the best "
    "on the validation split",
    "closed": "closed L2-regularised fit, C = {strength:g} the best on the validation split",
}


def print_probe(result: dict[str, Any]) -> None:
    """Prints the fields of `probe.json` as tables."""
    for field, found in result["labels"].items():
        if "skipped" in found:
            print(f"{field}: {found['skipped']}")
            continue
        print_table(_scores_table(field, found, result))
        if found["few_labels"]:
            print_table(_few_labels_table(field, found, result["latent_dim"]))


def baseline_names(latent_dim: int) -> dict[str, str]:
    """The printed names of the features and references of `probe.json`."""
    return {
        "z": "z",
        "class_shares": "class shares alone",
        "bag_of_ngrams": "1- and 2-grams",
        "lsa": f"LSA, {latent_dim} dimensions",
        "untrained_encoder": "z, untrained encoder",
    }


def _scores_table(field: str, found: dict[str, Any], result: dict[str, Any]) -> StudyTable:
    loss = loss_name(len(found["classes"]))
    shown = [_row("z", split, found["splits"][split], loss) for split in found["splits"]]
    if result["published"]:
        published = result["published"].items()
        shown += [_row("z, the paper's", split, scores, loss) for split, scores in published]
    names = baseline_names(result["latent_dim"])
    for name, of_split in found["references"].items():
        shown.append(_row(names[name], "test", of_split["test"], loss))
    rows = found["rows"]
    classes = found["classes"]
    kinds = ", ".join(classes) if len(classes) <= 8 else f"{len(classes)} classes"
    protocol = {**result["protocol"], **found["fit"]}
    return StudyTable(
        title=f"linear probe of {field} ({kinds}): {result['model']} on {result['corpus']}, "
        f"step {result['checkpoint']:,} ({result['checkpoint_is']})",
        columns=("classifier input", "split", loss, "accuracy", "macro-F1", "ROC-AUC"),
        rows=[],
        shown=shown,
        notes=[
            f"{_LATENTS[protocol['latent']]}; {_FITS[protocol['fit']].format(**protocol)}.",
            *_unfinished(protocol),
            f"{loss} in nats; {counted(rows['train'], 'training row')}, "
            f"{counted(rows['valid'], 'validation row')}, {counted(rows['test'], 'test row')}.",
            "All baselines but the untrained encoder are closed fits (scikit-learn).",
            *found["notes"],
        ],
    )


def _unfinished(protocol: dict[str, Any]) -> list[str]:
    if protocol.get("epoch") != protocol["epochs"]:
        return []
    return ["That is the last epoch: a longer fit may find more in z."]


def _row(name: str, split: str, scores: dict[str, Any], loss: str) -> tuple[str, ...]:
    columns = (loss, "accuracy", "macro_f1", "roc_auc")
    return (name, split, *(_number(scores.get(column)) for column in columns))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _few_labels_table(field: str, found: dict[str, Any], latent_dim: int) -> StudyTable:
    names = baseline_names(latent_dim)
    shown = [
        (
            names[row["features"]],
            f"{row['labels_per_class']:,}",
            f"{row['labels']:,}",
            *(f"{row[f'{m}_mean']:.3f} ± {row[f'{m}_std']:.3f}" for m in ("accuracy", "macro_f1")),
        )
        for row in found["few_labels"]
    ]
    draws = found["few_labels"][0]["draws"]
    return StudyTable(
        title=f"few labels of {field}: test split, mean ± deviation of {draws} draws",
        columns=("classifier input", "labels per class", "labels", "accuracy", "macro-F1"),
        rows=[],
        shown=shown,
        notes=["Closed fits, C chosen on as many validation rows; all inputs use the same draws."],
    )
