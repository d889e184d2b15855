"""The table of remedies, from results made by hand."""

import json
import math

import pytest

from tests.helpers.finished_cells import CYCLIC, LM, grid_of, in_row, result_of, study_of
from vaetx_jax.config.study_rows import rows_of
from vaetx_jax.study.remedy_table import remedy_tables

FREE = (*CYCLIC, "free bits", {"objective.free_bits": 0.5})
ROWS = (CYCLIC, FREE, LM)


def tables(results, *rows, **settings):
    return remedy_tables(study_of(rows or ROWS, **settings), grid_of(results))


def free(folder, **metrics):
    return in_row(result_of(folder, *CYCLIC, **metrics), rows_of(study_of((FREE,)))[0])


def shown(table, name):
    (line,) = (line for line in table.shown if line[0] == name)
    return dict(zip(table.columns[1:], line[1:], strict=True))


def test_gain_and_behind_lm_are_taken_from_the_language_model_of_the_grid(tmp_path):
    # 40 sentences of 10 tokens: ln 72 * 10 nats per sentence.
    results = [free(tmp_path, nll=80.0, ppl_iw=72.0, kl=6.0), result_of(tmp_path, *LM, nll=42.0)]
    (table,) = tables(results)
    ours = shown(table, "free bits")
    assert ours["gain"] == "-38.00"
    assert ours["behind_lm"] == f"{10 * math.log(72.0) - 42.0:.2f}"
    assert (ours["kl"], ours["au"]) == ("6.00", "5")
    assert shown(table, "transformer_lm")["gain"] == "–"


def test_the_figures_of_an_evaluation_come_first(tmp_path):
    own = {"gain": 1.5, "behind_lm": 0.25, "use": 4.0, "reference": "a named model"}
    (table,) = tables([free(tmp_path, **own), result_of(tmp_path, *LM, nll=42.0)])
    ours = shown(table, "free bits")
    assert [ours[name] for name in ("gain", "behind_lm", "use")] == ["1.50", "0.25", "4.00"]


def test_a_column_that_no_row_has_is_left_out(tmp_path):
    (table,) = tables([free(tmp_path)], FREE)
    assert table.columns == ("ptb", "kl", "mi", "au", "nll", "ppl_iw")


@pytest.mark.parametrize("other", [{"seed": 1}, {"vocab_size": 9}, {"tokens": 401}])
def test_a_language_model_of_another_seed_or_other_tokens_is_no_reference(tmp_path, other):
    (table,) = tables([free(tmp_path), result_of(tmp_path, *LM, nll=42.0, **other)])
    assert "gain" not in table.columns


def test_each_corpus_has_a_table_with_means_over_its_seeds(tmp_path):
    results = [free(tmp_path, seed=seed, kl=5.0 + seed) for seed in (0, 2)]
    results.append(result_of(tmp_path, *CYCLIC, corpus="air", kl=0.5))
    ptb, air = tables(results, corpora=("ptb", "air"))
    assert shown(ptb, "free bits")["kl"] == f"6.00 ± {math.sqrt(2):.2f}"
    assert shown(air, "vae_transformer, cyclic")["kl"] == "0.50"
    assert [row["seeds"] for row in ptb.rows] == [[0, 2]]
    assert json.loads(json.dumps(ptb.rows, allow_nan=False)) == list(ptb.rows)


def test_the_notes_say_what_a_named_row_sets_and_where_mi_ends(tmp_path):
    (table,) = tables([free(tmp_path)], FREE)
    assert "which cannot exceed 3.70" in table.notes[0]
    assert "free bits: `objective.free_bits=0.5`" in table.notes[2]
