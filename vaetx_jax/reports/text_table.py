"""The metrics of text as a table: each beside real text's, or beside chance."""

from typing import Any, NamedTuple

from rich.table import Table


class TextMetric(NamedTuple):
    """A metric of `text` in `evaluation.json`.

    Attributes:
      name: its field; real text's is `corpus_NAME`, that of chance `random_NAME`.
      digits: behind the point, as it is printed.
      meaning: in words.
    """

    name: str
    digits: int
    meaning: str


# The order of the printed table.
METRICS = (
    TextMetric("words", 1, "mean length"),
    TextMetric("distinct_1", 2, "different words of the samples"),
    TextMetric("distinct_2", 2, "different pairs of words"),
    TextMetric("repeated_4", 2, "of the samples say four words twice"),
    TextMetric("self_bleu", 1, "BLEU of a sample against all others: higher is less varied"),
    TextMetric("grammatical", 2, "of the samples are sentences of the grammar"),
    TextMetric("copied", 3, "of the samples are training sentences"),
    TextMetric("longest_run", 1, "tokens in a row that a training sentence has, too"),
    TextMetric("run_share", 2, "the same, of all tokens"),
    TextMetric("forward_ppl", 2, "samples under a language model of the corpus, per token"),
    TextMetric("reverse_ppl", 2, "real text under a language model of the samples, per token"),
    TextMetric("exact_match", 3, "of the reconstructions are the sentence"),
    TextMetric("bleu", 1, "BLEU of reconstructions"),
    TextMetric("edit_rate", 2, "edits from reconstruction to sentence, per token"),
    TextMetric("straightness", 2, "of interpolations: edits between the ends / along the path"),
    TextMetric("largest_step", 2, "of a path's edits are in the longest of its {steps} steps"),
    TextMetric("mig", 3, "mutual information gap of the known causes"),
    TextMetric("dci_disentanglement", 3, "a dimension tells of one cause"),
    TextMetric("dci_completeness", 3, "a cause is told by one dimension"),
    TextMetric("dci_informativeness", 3, "accuracy with which the causes are told"),
)
BRIEF = METRICS[1:4] + METRICS[:1]  # those of every evaluation


def is_full(text: dict[str, Any] | None) -> bool:
    """Whether text was evaluated in full, and not by the figures of every evaluation alone."""
    return bool(text and "sentences" in text)


def text_table(text: dict[str, Any]) -> Table:
    """The printed table of all metrics that there are."""
    table = Table(title="text", title_justify="left", caption_justify="left")
    table.add_column("metric")
    for column in ("value", "real text", "chance"):
        table.add_column(column, justify="right")
    table.add_column("meaning")
    for metric in METRICS:
        if text.get(metric.name) is not None:
            cells = [_cell(text, f"{of}{metric.name}", metric) for of in ("", "corpus_", "random_")]
            table.add_row(metric.name, *cells, metric.meaning.format(**text))
    caption = f"{text['samples']:,} samples; {text['sentences']:,} sentences evaluated"
    if "forward_by" in text:
        caption += f"; forward_ppl by {text['forward_by']}"
    table.caption = caption
    return table


def _cell(text: dict[str, Any], name: str, metric: TextMetric) -> str:
    value = text.get(name)
    return "" if value is None else f"{value:.{metric.digits}f}"
