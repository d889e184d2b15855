"""The published numbers against the tables they were taken from, and against each other."""

import json

import pytest

from vaetx_jax import paper
from vaetx_jax.models.presets import has_latent


@pytest.fixture(scope="module")
def tables(real_data):
    path = real_data.parent / "paper" / "tables.json"
    if not path.is_file():
        pytest.skip(f"no {path}: it comes with the corpora")
    return json.loads(path.read_text())


def row_of(name):
    """A row's name in the file, as a row here."""
    for ending, annealing in (("_cycle", "cyclic"), ("_linear", "linear")):
        if name.endswith(ending):
            return name.removesuffix(ending), annealing
    return name, "none" if has_latent(name) else None


@pytest.mark.parametrize(
    ("published", "source"),
    [(paper.LATENT_64, "table2_latent64"), (paper.LATENT_32, "table4_and_5_latent32")],
)
def test_language_model_figures_are_the_tables(tables, published, source):
    theirs = {row_of(name): figures for name, figures in tables[source].items()}
    ours = {
        row: {
            corpus: {k: v for k, v in figures._asdict().items() if v is not None}
            for corpus, figures in corpora.items()
        }
        for row, corpora in published.items()
    }
    assert ours == theirs


def test_probe_figures_are_the_tables(tables):
    ours = {
        row: {
            corpus: {split: figures._asdict() for split, figures in splits.items()}
            for corpus, splits in corpora.items()
        }
        for row, corpora in paper.PROBE_64.items()
    }
    theirs = tables["table3_and_6_probe_latent64"]
    assert ours == {row_of(name): figures for name, figures in theirs.items()}


def test_seconds_and_counts_are_the_tables(tables):
    def keyed_by_text(tree):
        return json.loads(json.dumps(tree))

    assert keyed_by_text(paper.FORWARD_SECONDS) == tables["table7_forward_seconds"]
    assert keyed_by_text(paper.PARAMETERS) == tables["table8_parameters"]


def test_table_1_has_two_counts_of_table_8_the_wrong_way_round():
    swapped = paper.SWAPPED_IN_TABLE_1
    assert swapped["vae_lstm"] == paper.PARAMETERS["vae_gru"][128]
    assert swapped["vae_gru"] == paper.PARAMETERS["vae_lstm"][128]


@pytest.mark.parametrize("table", [paper.LATENT_64, paper.LATENT_32])
def test_only_text_vaes_have_a_rate(table):
    for (model, annealing), corpora in table.items():
        assert (annealing is not None) == has_latent(model)
        for figures in corpora.values():
            assert (figures.kl is not None) == (figures.mi is not None) == has_latent(model)
