"""Tables 3 and 6, from results made by hand."""

from tests.helpers.finished_cells import CYCLIC, grid_of, result_of, study_of
from vaetx_jax.config.defaults import default_config
from vaetx_jax.study.probe_table import probe_tables


def probe_of(accuracy, *, loss="bce"):
    """The fields of a `probe.json` that the tables read."""
    scores = {loss: 0.5, "accuracy": accuracy, "macro_f1": 0.6, "roc_auc": None, "majority": 0.5}
    references = {
        name: {"test": {**scores, "accuracy": share}}
        for name, share in (("bag_of_ngrams", 0.8), ("lsa", 0.75), ("untrained_encoder", 0.55))
    }
    splits = dict.fromkeys(("train", "valid", "test"), scores)
    label = {"splits": splits, "references": references, "few_labels": []}
    only_class = {"skipped": "every training row is 'x': nothing to classify"}
    protocol = default_config().probe.to_dict()
    return {"protocol": protocol, "labels": {"label": label, "empty": only_class}}


def probe_table(results, **settings):
    rows = tuple({(result.cell.model, result.cell.annealing) for result in results})
    return probe_tables(study_of(rows, corpora=("sst2",), **settings), grid_of(results))


def test_a_probe_stands_over_the_published_one(tmp_path):
    results = [
        result_of(tmp_path, *CYCLIC, corpus="sst2", seed=seed, probe=probe_of(accuracy))
        for seed, accuracy in enumerate((0.6, 0.7))
    ]
    first, second = probe_table(results)
    ours = ("0.500 ± 0.000", "0.650 ± 0.071")
    paper = ("0.630", "0.689", "0.641", "0.661", "0.618", "0.700")
    assert first.shown == [
        [
            "sst2 (label), vae_transformer, cyclic",
            *(f"{ours[place % 2]}\n{value}" for place, value in enumerate(paper)),
        ]
    ]
    assert first.rows[0]["published"]["test"] == {"bce": 0.618, "accuracy": 0.7}
    assert first.rows[0]["protocol"]["fit"] == "paper" and "paper fit" in first.notes[0]
    assert second.shown[0][1:] == [
        *("0.500 ± 0.000", "0.600 ± 0.000", "–"),
        *("0.800 ± 0.000", "0.750 ± 0.000", "0.550 ± 0.000"),
    ]


def test_another_latent_size_stands_over_nothing(tmp_path):
    result = result_of(tmp_path, *CYCLIC, corpus="sst2", latent=32, probe=probe_of(0.6))
    first, _ = probe_table([result], latent_dim=32)
    assert first.shown[0][1:3] == ["0.500", "0.600"] and first.rows[0]["published"] is None


def test_more_than_two_classes_show_their_cross_entropy(tmp_path):
    probe = probe_of(0.6, loss="cross_entropy")
    first, _ = probe_table([result_of(tmp_path, *CYCLIC, corpus="sst2", probe=probe)])
    assert first.shown[0][1] == "0.500\n0.630"


def test_cells_without_a_probe_make_no_table(tmp_path):
    assert probe_table([result_of(tmp_path, *CYCLIC, corpus="sst2")]) == []
