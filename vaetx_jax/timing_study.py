"""Table 7: seconds of the forward passes, every model at two sizes, beside the published ones."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from vaetx_jax import paper
from vaetx_jax.config import default_config, validate
from vaetx_jax.parts import assemble
from vaetx_jax.report import save_figure
from vaetx_jax.study_config import chosen
from vaetx_jax.study_report import StudyTable
from vaetx_jax.timing import matmul_rate, time_forward

_CPU_SAMPLE = 8  # batches, where config.study.sample leaves it to the device


def timing_study(config: ConfigDict, folder: pathlib.Path) -> tuple[StudyTable, pathlib.Path]:
    """Times every cell of the study and plots time against dimension."""
    study = config.study
    cells = {
        f"{corpus}-{model}-{dim}": (corpus, model, dim)
        for corpus in study.corpora
        for model in study.models
        for dim in study.dims
    }
    names = chosen(list(cells), study.only)
    rate = matmul_rate(jnp.dtype(study.precision))
    sample = _sample(study)
    rows = []
    with _trace(study.trace):
        for number, name in enumerate(names, start=1):
            row = _row(config, folder, *cells[name], sample=sample, rate=rate)
            rows.append(row)
            print(
                f"{number}/{len(names)} {name:28} {row['seconds']:9.2f} s  "
                f"{row['tokens_per_second']:11,.0f} tokens/s  "
                f"{row['matmul_share']:4.0%} of the matrix product's rate",
                flush=True,
            )
    table = StudyTable(
        title="Seconds of the forward passes over the training set (Table 7)",
        columns=(
            "corpus",
            "model",
            "dim",
            "seconds",
            "published",
            "tokens/s",
            "GFLOP/s",
            "share",
            "compiled in",
            "batches",
        ),
        rows=rows,
        shown=[_shown(row) for row in rows],
        notes=_notes(study, rate, sample),
    )
    return table, plot(folder / f"{study.name}.png", rows)


def _sample(study: ConfigDict) -> int:
    if study.sample >= 0:
        return study.sample
    return _CPU_SAMPLE if jax.default_backend() == "cpu" else 0


def _row(
    config: ConfigDict,
    folder: pathlib.Path,
    corpus: str,
    model: str,
    dim: int,
    *,
    sample: int,
    rate: float,
) -> dict[str, Any]:
    run = default_config(model)
    run.data.update(config.data)
    run.data.corpus = corpus
    run.data.max_len = paper.MAX_LEN.get(corpus, run.data.max_len)
    run.data.batch_size = config.study.batch_size * jax.device_count()
    run.tokenizer.kind = config.study.tokenizer
    run.model.dim, run.train.precision = dim, config.study.precision
    validate(run)
    home = folder / "tokenizers" / f"{corpus}-{run.tokenizer.kind}"
    home.mkdir(parents=True, exist_ok=True)
    timing = time_forward(assemble(run, home), sample=sample, repetitions=config.study.repetitions)
    return {
        "corpus": corpus,
        "model": model,
        "dim": dim,
        **dataclasses.asdict(timing),
        "tokens_per_second": timing.tokens / timing.seconds,
        "flops_per_second": timing.flops / timing.seconds,
        "matmul_share": timing.flops / timing.seconds / rate,
        "published_seconds": paper.FORWARD_SECONDS.get(model, {}).get(corpus, {}).get(dim),
    }


def _shown(row: dict[str, Any]) -> tuple[str, ...]:
    published = row["published_seconds"]
    return (
        row["corpus"],
        row["model"],
        str(row["dim"]),
        f"{row['seconds']:.2f}",
        "" if published is None else f"{published:.2f}",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['flops_per_second'] / 1e9:,.0f}",
        f"{row['matmul_share']:.0%}",
        f"{row['compile_seconds']:.1f} s",
        f"{row['measured']:,} of {row['batches']:,}",
    )


def _notes(study: ConfigDict, rate: float, sample: int) -> list[str]:
    device = jax.devices()[0].device_kind
    notes = [
        f"{jax.device_count()} device(s) ({device}), {study.batch_size} sentences each a batch, "
        f"{study.precision}, tokenizer {study.tokenizer}; median of {study.repetitions} passes; a "
        f"large matrix product reaches {rate / 1e9:,.0f} GFLOP/s here. Only real tokens count.",
        "The published seconds are those of another machine, which the paper does not name.",
    ]
    if sample:
        notes.append(
            f"Measured on {sample} batches spread evenly over an epoch and extrapolated by tokens."
        )
    return notes


@contextlib.contextmanager
def _trace(folder: str) -> Any:
    """A profiler trace in a folder, for TensorBoard or Perfetto, where one is named."""
    if not folder:
        yield
        return
    with jax.profiler.trace(folder):
        yield


def plot(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> pathlib.Path:
    """Time against dimension, a panel for each corpus, both axes logarithmic."""
    corpora = list(dict.fromkeys(row["corpus"] for row in rows))
    figure = Figure(figsize=(5 * len(corpora), 4), layout="constrained")
    for axes, corpus in zip(
        figure.subplots(1, len(corpora), squeeze=False)[0], corpora, strict=True
    ):
        here = [row for row in rows if row["corpus"] == corpus]
        for model in dict.fromkeys(row["model"] for row in here):
            points = sorted((row["dim"], row["seconds"]) for row in here if row["model"] == model)
            axes.plot(*zip(*points, strict=True), marker="o", label=model)
        axes.set(title=corpus, xlabel="dimension", ylabel="seconds", xscale="log", yscale="log")
        dims = sorted({row["dim"] for row in here})
        axes.set_xticks(dims, [str(dim) for dim in dims], minor=False)
        axes.xaxis.minorticks_off()  # seconds within one decade are labelled at minor ticks alone
        axes.legend(fontsize="small")
    return save_figure(figure, path)
