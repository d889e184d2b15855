"""The table of the metrics of text."""

import io

from rich.console import Console

from vaetx_jax.reports.text_table import is_full, text_table


def test_each_figure_stands_beside_real_texts_or_chance():
    text = {"samples": 20, "sentences": 10, "steps": 4, "bleu": 17.04, "random_bleu": 1.2}
    text |= {"reverse_ppl": 17.62, "corpus_reverse_ppl": 16.803, "mig": None, "forward_by": "a_lm"}
    text |= {"largest_step": 0.304, "random_largest_step": 0.25}
    stream = io.StringIO()
    Console(file=stream, width=150).print(text_table(text))
    shown = " ".join(stream.getvalue().replace("│", " ").split())
    assert "reverse_ppl 17.62 16.80 perplexity of real text under" in shown
    assert "bleu 17.0 1.2 BLEU of reconstructions" in shown
    assert "largest_step 0.30 0.25 interpolation: share of the edits in the largest" in shown
    assert "20 samples; 10 sentences evaluated; forward_ppl by a_lm" in shown
    assert "mig" not in shown


def test_the_figures_of_every_evaluation_are_not_full():
    assert not is_full(None) and not is_full({"samples": 200, "words": 9.0})
    assert is_full({"samples": 200, "sentences": 200})
