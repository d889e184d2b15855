"""The table of text metrics, with the values of real text and of chance for comparison."""

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
    TextMetric("words", 1, "mean length in words"),
    TextMetric("distinct_1", 2, "distinct words / all words"),
    TextMetric("distinct_2", 2, "distinct pairs of words / all pairs"),
    TextMetric("repeated_4", 2, "share of sentences that repeat a run of four words"),
    TextMetric("self_bleu", 1, "BLEU of a sample against all others (higher: less varied)"),
    TextMetric("grammatical", 2, "share of samples that the grammar can produce"),
    TextMetric("copied", 3, "share of samples that are training sentences"),
    TextMetric("longest_run", 1, "longest run of tokens shared with a training sentence"),
    TextMetric("run_share", 2, "the same, as a share of the tokens"),
    TextMetric("forward_ppl", 2, "perplexity of samples under a language model of the corpus"),
    TextMetric("reverse_ppl", 2, "perplexity of real text under a language model of the samples"),
    TextMetric("exact_match", 3, "share of reconstructions equal to the sentence"),
    TextMetric("bleu", 1, "BLEU of reconstructions"),
    TextMetric("edit_rate", 2, "edits from reconstruction to sentence, per token"),
    TextMetric("straightness", 2, "interpolation: edits between the ends / along the path"),
    TextMetric(
        "largest_step", 2, "interpolation: share of the edits in the largest of {steps} steps"
    ),
    TextMetric("mig", 3, "mutual information gap of the grammar's factors"),
    TextMetric("dci_disentanglement", 3, "whether each dimension encodes a single factor"),
    TextMetric("dci_completeness", 3, "whether each factor is encoded by a single dimension"),
    TextMetric("dci_informativeness", 3, "accuracy of predicting the factors"),
)
BRIEF = METRICS[1:4] + METRICS[:1]  # those of every evaluation


def is_full(text: dict[str, Any] | None) -> bool:
    """Whether text was evaluated in full, and not by the figures of every evaluation alone."""
    return bool(text and "sentences" in text)


def text_table(text: dict[str, Any]) -> Table:
    """The table of all text metrics that are present."""
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
