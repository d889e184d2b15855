"""Finished cells of a study, made by hand."""

import dataclasses

from vaetx_jax.config.study import default_study
from vaetx_jax.models.presets import has_latent
from vaetx_jax.study.cells import Cell, cell_config
from vaetx_jax.study.results import Grid, Result

CYCLIC, LINEAR, NONE = (("vae_transformer", name) for name in ("cyclic", "linear", "none"))


LM = ("transformer_lm", "none")


LATENT_METRICS = ("kl", "mi", "mi_b32", "mi_limit", "au")


def metrics_of(model="vae_gru", **changes):
    """The fields of an `evaluation.json`."""
    figures = {
        **{"split": "test", "checkpoint": 10, "checkpoint_is": "best", "sentences": 40},
        **{"tokens": 400, "words": 300, "nll": 80.0, "kl": 2.5, "mi": 1.25, "mi_b32": 1.5},
        **{"ppl_rec": 70.0, "ppl_elbo": 75.0, "ppl_iw": 72.0, "ppl_rec_word": 170.0},
        **{"ppl_elbo_word": 175.0, "ppl_iw_word": 172.0, "iw_samples": 50, "mi_limit": 3.7},
        **{"au": 5, "latent_dim": 64, "truncated": 0, "model": model, "tokenizer": "bpe"},
        **{"vocab_size": 25_714, "parameters": 1_000_000, "seed": 0},
    }
    if not has_latent(model):
        figures |= dict.fromkeys(LATENT_METRICS)
    return figures | changes


def result_of(folder, model="vae_gru", annealing="none", *, seed=0, corpus="ptb", latent=64, **new):
    """A finished cell; `probe` among the changes is its probe, the others are figures."""
    config, probe = cell_config(corpus, model, annealing, latent, seed), new.pop("probe", None)
    cell = Cell(corpus, model, annealing, latent if has_latent(model) else 0, seed, config)
    facts = {"seconds": 60.0, "device": "cpu", "devices": 1}
    return Result(cell, folder / cell.name, metrics_of(model, **new), probe, facts)


def in_row(result, row):
    """The result as one of a row with a name."""
    return dataclasses.replace(result, cell=dataclasses.replace(result.cell, row=row))


def grid_of(results, missing=None):
    return Grid(list(results), missing or {}, failed=0)


def study_of(rows, *, corpora=("ptb",), latent_dim=64, title="A title"):
    config = default_study("made", "grid")
    config.study.rows, config.study.corpora = rows, corpora
    config.study.latent_dim, config.study.title = latent_dim, title
    return config.study
