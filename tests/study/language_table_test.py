"""Tables 2, 4 and 5, from results made by hand."""

import json
import math

from tests.helpers.finished_cells import (
    CYCLIC,
    LINEAR,
    LM,
    NONE,
    grid_of,
    in_row,
    result_of,
    study_of,
)
from vaetx_jax.config.study_rows import rows_of
from vaetx_jax.study.language_table import language_tables


def language_table(results, *rows, missing=None, **settings):
    return language_tables(study_of(rows, **settings), grid_of(results, missing))


def test_ours_is_mean_and_spread_over_seeds_above_the_published_figure(tmp_path):
    values = (70.0, 80.0, 96.0)
    results = [
        result_of(tmp_path, *CYCLIC, seed=seed, ppl_rec=value, kl=value / 10, mi_b32=1.0)
        for seed, value in enumerate(values)
    ]
    table, _ = language_table(results, CYCLIC)
    deviation = math.sqrt(sum((value - 82.0) ** 2 for value in values) / 2)
    assert table.shown == [
        [
            "vae_transformer, cyclic",
            f"82.00 ± {deviation:.2f}\n75.65",
            f"8.20 ± {deviation / 10:.2f}\n4.40",
            "1.00 ± 0.00\n2.45",
        ]
    ]
    assert table.columns[1:] == ("ptb PPL\n(50 epochs)", "ptb KL", "ptb MI")


def test_what_was_published_stands_below_a_cell_that_was_not_run(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, ppl_rec=70.5)]
    results.append(result_of(tmp_path, *LM, ppl_rec=90.0, corpus="air"))
    table, _ = language_table(results, CYCLIC, LM, corpora=("ptb", "air"))
    shown = {line[0]: line[1:] for line in table.shown}
    assert shown["vae_transformer, cyclic"][3] == "–\n**83.70**"
    assert shown["transformer_lm"][0] == "–\n118.69"


def test_every_figure_is_among_the_rows_for_programs(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, seed=seed, au=5 + seed) for seed in (0, 2)]
    (row,) = language_table(results, CYCLIC)[0].rows
    assert row["ours"]["au"] == {"mean": 6.0, "std": math.sqrt(2), "values": [5.0, 7.0]}
    assert row["published"] == {"ppl": 75.65, "kl": 4.4, "mi": 2.45}
    assert (row["seeds"], row["epochs"], row["latent_dim"]) == ([0, 2], 50, 64)
    assert row["cells"] == [result.cell.name for result in results]
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_one_seed_has_no_spread(tmp_path):
    table, second = language_table([result_of(tmp_path, *CYCLIC, ppl_rec=70.5, au=3)], CYCLIC)
    assert table.shown[0][1] == "70.50\n75.65"
    assert second.shown[0][-1] == "3"
    assert "one seed, 0;" in table.notes[1]


def test_best_and_second_best_perplexities_are_marked_ours_and_the_papers_apart(tmp_path):
    ours = {CYCLIC: 90.0, LINEAR: 80.0, NONE: 85.0, LM: 95.0}
    results = [result_of(tmp_path, *row, ppl_rec=value) for row, value in ours.items()]
    table, _ = language_table(results, *ours)
    assert [line[1] for line in table.shown] == [
        "90.00\n**75.65**",
        "**80.00**\n*82.01*",
        "*85.00*\n91.52",
        "95.00\n118.69",
    ]


def test_other_figures_are_never_marked(tmp_path):
    rows = (CYCLIC, LINEAR, NONE)
    tables = language_table(
        [result_of(tmp_path, *row, kl=float(len(row[1]))) for row in rows], *rows
    )
    for table, plain in zip(tables, ((2, 3), (4, 5)), strict=True):
        assert not any("*" in line[place] for line in table.shown for place in plain)


def test_of_two_rows_the_better_is_bold_and_none_is_italic(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, ppl_elbo=9.0), result_of(tmp_path, *NONE, ppl_elbo=8.0)]
    second = language_table(results, CYCLIC, NONE)[1]
    assert [line[1] for line in second.shown] == ["9.00", "**8.00**"]


def test_a_language_model_has_a_dash_for_what_it_has_not(tmp_path):
    first, second = language_table([result_of(tmp_path, *LM)], LM)
    assert first.shown == [["transformer_lm", "70.00\n118.69", "–\n–", "–\n–"]]
    assert second.shown[0][-2:] == ["–", "–"]
    assert first.rows[0]["latent_dim"] is None and first.rows[0]["ours"]["kl"] is None


def test_a_figure_that_a_seed_does_not_have_is_not_averaged(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, seed=s, ppl_iw=v) for s, v in ((0, 70.0), (1, None))]
    table, second = language_table(results, CYCLIC)
    assert table.rows[0]["ours"]["ppl_iw"] is None and second.shown[0][2] == "–"


def test_latents_of_32_stand_over_table_4_and_others_over_nothing(tmp_path):
    for latent, beside in ((32, "70.00\n75.17"), (16, "70.00")):
        result = result_of(tmp_path, *CYCLIC, latent=latent)
        table, _ = language_table([result], CYCLIC, latent_dim=latent)
        assert table.shown[0][1] == beside
        assert ("the published one" in table.notes[0]) == (latent == 32)


def test_a_row_without_cells_in_one_corpus_keeps_its_place(tmp_path):
    results = [result_of(tmp_path, *CYCLIC), result_of(tmp_path, *CYCLIC, corpus="air")]
    results += [result_of(tmp_path, *NONE, corpus="air")]
    table, _ = language_table(results, CYCLIC, LINEAR, NONE, corpora=("ptb", "sst2", "air"))
    assert [line[0] for line in table.shown] == ["vae_transformer, cyclic", "vae_transformer, none"]
    assert table.shown[1][1] == "–\n91.52" and table.shown[1][4] == "**70.00**\n88.65"
    assert [column.split()[0] for column in table.columns[1:]] == ["ptb"] * 3 + ["air"] * 3


def test_what_is_missing_is_said_and_why(tmp_path):
    missing = {"ptb-a": "not run (not finished)", "ptb-b": "step 4: the loss is not finite"}
    table, _ = language_table([result_of(tmp_path, *CYCLIC)], CYCLIC, missing=missing)
    said = "Missing: 2 cells of the grid; failed: ptb-b (step 4: the loss is not finite)."
    assert table.notes[-1] == said


def test_a_mean_over_fewer_seeds_than_the_others_is_said(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, seed=seed) for seed in (0, 1)]
    results += [result_of(tmp_path, *NONE, seed=1)]
    notes = language_table(results, CYCLIC, NONE)[0].notes
    assert "Over fewer seeds: ptb vae_transformer, none (seeds 1)." in notes
    assert "3 cells, trained in 0:03:00 on 1 cpu" in notes[1]


USED = {"use": 2.5, "marginal_kl": 1.25, "nll": 80.0}


def test_the_latents_use_is_a_table_of_its_own_without_language_models(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, seed=s, **(USED | {"use": 2.0 + s})) for s in (0, 1)]
    results += [result_of(tmp_path, *LM, nll=81.0, seed=s) for s in (0, 1)]
    _, _, third = language_table(results, CYCLIC, LM)
    names = ["use", "gain", "behind_lm", "kl", "mi", "marginal_kl", "au"]
    assert [head.split()[1] for head in third.columns[1:]] == names
    (line,) = third.shown
    assert line[:3] == ["vae_transformer, cyclic", "2.50 ± 0.71", "1.00 ± 0.00"]
    assert "the grid's transformer_lm of the same seed" in third.notes[1]


def test_without_a_language_model_there_is_no_gain(tmp_path):
    _, _, third = language_table([result_of(tmp_path, *CYCLIC, **USED)], CYCLIC)
    assert "gain" not in " ".join([*third.columns, *third.notes])


def test_evaluations_of_earlier_versions_make_two_tables(tmp_path):
    assert len(language_table([result_of(tmp_path, *CYCLIC)], CYCLIC)) == 2


def test_the_weighted_bounds_head_has_its_samples(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, iw_samples=500)]
    results += [result_of(tmp_path, *NONE, iw_samples=20)]
    heads = language_table(results, CYCLIC, NONE)[1].columns
    assert "ptb ppl_iw (K=20 or 500)" in heads and "ptb ppl_iw_word (K=20 or 500)" in heads


def test_a_mutual_information_near_its_limit_is_noted(tmp_path):
    results = [result_of(tmp_path, *CYCLIC, mi=3.5), result_of(tmp_path, *NONE, mi=3.0)]
    notes = language_table(results, CYCLIC, NONE)[0].notes
    (note,) = [note for note in notes if "limit" in note]
    assert note.endswith("'at least this much': ptb vae_transformer, cyclic.")


def test_a_named_row_is_a_line_of_its_own_with_nothing_published(tmp_path):
    row = (*CYCLIC, "free bits", {"objective.free_bits": 0.5})
    results = [result_of(tmp_path, *CYCLIC, ppl_rec=70.5)]
    results.append(in_row(result_of(tmp_path, *CYCLIC, ppl_rec=60.5), rows_of(study_of((row,)))[0]))
    table, _ = language_table(results, CYCLIC, row)
    assert [line[0] for line in table.shown] == ["vae_transformer, cyclic", "free bits"]
    assert table.shown[1][1] == "**60.50**\n–"
    assert table.rows[1]["settings"] == {"objective.free_bits": 0.5}
