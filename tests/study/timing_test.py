"""Table 7's clockwork: what is counted, what is extrapolated, what the study writes.

No test asserts how fast anything is.
"""

import json

import jax
import pytest

from vaetx_jax.config.study import default_study
from vaetx_jax.models import text_vae
from vaetx_jax.models.flops import forward_flops
from vaetx_jax.run.run import open_run
from vaetx_jax.study import __main__
from vaetx_jax.study.timing import time_forward


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


def test_all_batches_are_timed_unless_a_sample_is_asked_for(run):
    total = run.train_batches.steps_per_epoch
    whole = time_forward(run, sample=0, repetitions=1)
    few = time_forward(run, sample=3, repetitions=2)
    assert (whole.measured, whole.batches) == (total, total)
    assert (few.measured, few.batches) == (3, total)


def test_tokens_and_flops_are_those_of_the_whole_training_set(run):
    timing = time_forward(run, sample=2, repetitions=1)
    split = run.split("train")
    assert timing.tokens == len(split.tokens) + len(split)
    params = jax.eval_shape(lambda: text_vae.init(run.model, jax.random.key(0)))["params"]
    assert timing.flops == forward_flops(params, split.lengths - 1)


def test_a_sample_is_extrapolated_by_tokens(run, monkeypatch):
    """Every look at the clock finds one second more, so a pass over the sample takes one."""
    seconds = iter(range(100))
    monkeypatch.setattr("vaetx_jax.study.timing.time.perf_counter", lambda: float(next(seconds)))
    timing = time_forward(run, sample=1, repetitions=3)
    batch = run.train_batches.at(0)
    tokens = int((batch["ids"][:, 1:] != run.tokenizer.pad_id).sum())
    assert timing.seconds == pytest.approx(timing.tokens / tokens)
    assert timing.compile_seconds == 1.0 and timing.spread == 1.0


def small_study(config, **settings):
    """A timing study of one cell on the built-in corpus."""
    new = default_study("small", "timing")
    new.data.cache_dir = config.data.cache_dir
    new.study.corpora, new.study.models, new.study.dims = ("grammar",), ("gru_lm",), (8,)
    new.study.tokenizer, new.study.sample, new.study.repetitions = "bpe", 1, 1
    new.study.update(settings)
    return new


@pytest.mark.slow
def test_the_study_writes_rows_a_table_and_a_plot(config, tmp_path):
    __main__.run(small_study(config, trace=str(tmp_path / "trace")), tmp_path)
    (row,) = json.loads((tmp_path / "small.json").read_text())["rows"]
    assert (row["corpus"], row["model"], row["dim"]) == ("grammar", "gru_lm", 8)
    assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["seconds"])
    assert row["flops_per_second"] == pytest.approx(row["flops"] / row["seconds"])
    assert row["published_seconds"] is None and row["measured"] == 1
    text = (tmp_path / "small.md").read_text()
    assert "| grammar | gru_lm | 8 |" in text
    assert "Measured on 1 batches spread evenly over an epoch" in text
    assert (tmp_path / "small.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))
