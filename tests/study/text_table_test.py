"""The table of text, from results made by hand."""

from tests.helpers.finished_cells import CYCLIC, LM, grid_of, result_of, study_of
from vaetx_jax.study.text_table import text_tables

ROWS = (CYCLIC, LM)


def text_of(**figures):
    return {"samples": 10, "sentences": 10, "steps": 10, **figures}


def tables(*results):
    return text_tables(study_of(ROWS), grid_of(results))


def test_without_text_that_was_evaluated_in_full_there_is_no_table(tmp_path):
    brief = {"samples": 200, "distinct_1": 0.5, "corpus_distinct_1": 0.6}
    assert tables(result_of(tmp_path, *CYCLIC, text=brief), result_of(tmp_path, *LM)) == []


def test_rows_are_means_over_seeds_above_real_text_and_chance(tmp_path):
    results = [
        result_of(
            tmp_path,
            *CYCLIC,
            seed=seed,
            text=text_of(bleu=10.0 + seed, random_bleu=1.0, copied=0.5, corpus_copied=0.25),
        )
        for seed in (0, 2)
    ]
    lm = result_of(tmp_path, *LM, text=text_of(copied=0.125, corpus_copied=0.25))
    (table,) = tables(*results, lm)
    assert table.columns == ("ptb", "copied", "bleu")
    assert table.shown == [
        ["vae_transformer, cyclic", "0.500 ± 0.000", "11.0 ± 1.4"],
        ["transformer_lm", "0.125", "–"],
        ["real text", "0.250 ± 0.000", "–"],
        ["chance", "–", "1.0 ± 0.0"],
    ]
    assert "10 sentences evaluated" in table.notes[1]


def test_the_language_model_of_the_forward_perplexity_is_named(tmp_path):
    text = text_of(forward_ppl=9.0, corpus_forward_ppl=8.0, forward_by="gru_lm")
    (table,) = tables(result_of(tmp_path, *CYCLIC, text=text))
    assert table.notes[-1] == "`forward_ppl` by gru_lm."
