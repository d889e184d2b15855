"""Table 7: seconds of the forward passes of every model at two sizes, and the published ones."""

import contextlib
import dataclasses
import pathlib
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vaetx_jax import paper
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.study import select
from vaetx_jax.config.validation import validate
from vaetx_jax.losses import elbo
from vaetx_jax.models import text_vae
from vaetx_jax.models.flops import forward_flops
from vaetx_jax.models.language_model import PARAMS, Variables, token_mask
from vaetx_jax.reports.figures import new_figure, save_figure
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.run.run import Run, create_run
from vaetx_jax.runtime import distributed, processes
from vaetx_jax.runtime.mesh import put_batch, replicated, split_over_data
from vaetx_jax.study.report import HeadedFigure, StudyReport

_CPU_SAMPLE = 8  # batches, where config.study.sample leaves it to the device
# The side of the square product whose rate stands for the device's.
_CPU_SIDE, _ACCELERATOR_SIDE = 2048, 8192


def run(config: ConfigDict, folder: pathlib.Path) -> StudyReport:
    """Times every cell of the study and plots time against dimension."""
    study = config.study
    cells = {
        f"{corpus}-{model}-{dim}": (corpus, model, dim)
        for corpus in study.corpora
        for model in study.models
        for dim in study.dims
    }
    names = select(list(cells), study.only)
    rate = matmul_rate(jnp.dtype(study.precision))
    sample = _sample(study)
    rows = []
    with _trace(study.trace):
        for number, name in enumerate(names, start=1):
            row = _measure(config, folder, *cells[name], sample=sample, rate=rate)
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
        shown=[_cells(row) for row in rows],
        notes=_notes(study, rate, sample),
    )
    path = plot_times(rows, folder / f"{study.name}.png")
    return StudyReport([table], [HeadedFigure("Time against dimension", path)])


def _sample(study: ConfigDict) -> int:
    if study.sample >= 0:
        return study.sample
    return _CPU_SAMPLE if jax.default_backend() == "cpu" else 0


def _measure(
    config: ConfigDict,
    folder: pathlib.Path,
    corpus: str,
    model: str,
    dim: int,
    *,
    sample: int,
    rate: float,
) -> dict[str, Any]:
    settings = default_config(model)
    settings.data.update(config.data)
    settings.data.corpus = corpus
    settings.data.max_len = paper.MAX_LEN.get(corpus, settings.data.max_len)
    settings.data.batch_size = config.study.batch_size * jax.device_count()
    settings.tokenizer.kind = config.study.tokenizer
    settings.model.dim, settings.train.precision = dim, config.study.precision
    validate(settings)
    # Its tokenizer is kept, which all models of a corpus share.
    run_folder = folder / "tokenizers" / f"{corpus}-{settings.tokenizer.kind}"
    run_folder.mkdir(parents=True, exist_ok=True)
    distributed.first_does(lambda: _prepare(settings, run_folder))
    timing = time_forward(
        create_run(settings, run_folder), sample=sample, repetitions=config.study.repetitions
    )
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


def _prepare(settings: ConfigDict, folder: pathlib.Path) -> None:
    """Makes the files that all processes of several then read."""
    if jax.process_count() > 1:
        create_run(settings, folder).split("train")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
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
    hosts = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    notes = [
        f"{jax.device_count()} device(s){hosts} ({device}), {study.batch_size} sentences each "
        f"per batch, {study.precision}, tokenizer {study.tokenizer}; median of {study.repetitions} "
        f"passes; a large matrix product reaches {rate / 1e9:,.0f} GFLOP/s here. Only real tokens "
        "count.",
        "The published seconds are those of another machine, which the paper does not name.",
    ]
    if sample:
        notes.append(
            f"Measured on {sample} batches spread evenly over an epoch and extrapolated by tokens."
        )
    return notes


@contextlib.contextmanager
def _trace(folder: str) -> Any:
    """Writes a profiler trace into a folder, for TensorBoard or Perfetto; '': none."""
    if not folder:
        yield
        return
    with jax.profiler.trace(folder):
        yield


def plot_times(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> pathlib.Path:
    """Plots time against dimension, a panel per corpus, both axes logarithmic."""
    corpora = list(dict.fromkeys(row["corpus"] for row in rows))
    figure = new_figure(5 * len(corpora), 4)
    for axes, corpus in zip(
        figure.subplots(1, len(corpora), squeeze=False)[0], corpora, strict=True
    ):
        of_corpus = [row for row in rows if row["corpus"] == corpus]
        for model in dict.fromkeys(row["model"] for row in of_corpus):
            times = {row["dim"]: row["seconds"] for row in of_corpus if row["model"] == model}
            points = sorted(times.items())
            axes.plot(*zip(*points, strict=True), marker="o", label=model)
        axes.set(title=corpus, xlabel="dimension", ylabel="seconds", xscale="log", yscale="log")
        dims = sorted({row["dim"] for row in of_corpus})
        axes.set_xticks(dims, [str(dim) for dim in dims], minor=False)
        axes.xaxis.minorticks_off()  # seconds within one decade are labelled at minor ticks alone
        axes.legend(fontsize="small")
    return save_figure(figure, path)


@dataclasses.dataclass(frozen=True)
class ForwardTiming:
    """The time of the forward passes over a training set.

    Attributes:
      seconds: for all batches; extrapolated by tokens where a sample was measured.
      tokens: real tokens of all sentences.
      flops: of the matrix products over these tokens.
      compile_seconds: for all lengths together.
      batches: the batches of an epoch.
      measured: how many of them were timed.
      spread: the slowest repetition divided by the fastest.
    """

    seconds: float
    tokens: int
    flops: float
    compile_seconds: float
    batches: int
    measured: int
    spread: float


def matmul_rate(dtype: Any = jnp.float32) -> float:
    """Measures the FLOP/s of large square products on all devices together, the best of ten."""
    side = _CPU_SIDE if jax.default_backend() == "cpu" else _ACCELERATOR_SIDE
    product = jax.jit(jnp.dot)
    operands = [jax.device_put(jnp.ones((side, side), dtype), d) for d in jax.local_devices()]

    def seconds() -> float:
        began = time.perf_counter()
        jax.block_until_ready([product(a, a) for a in operands])
        return time.perf_counter() - began

    seconds()
    return jax.process_count() * len(operands) * 2 * side**3 / min(seconds() for _ in range(10))


def time_forward(run: Run, *, sample: int, repetitions: int) -> ForwardTiming:
    """Times the forward passes over the training set of a run.

    Args:
      run: the run; a batch holds `data.batch_size` sentences, over all devices.
      sample: how many batches to time, spread evenly over an epoch; 0: all.
      repetitions: passes over them, whose median is taken.
    """
    source, split = run.train_batches, run.split("train")
    total = source.steps_per_epoch
    count = min(sample, total) if sample else total
    numbers = np.linspace(0, total - 1, count).astype(int)
    pad_id = run.training_model().pad_id
    batches: list[dict[str, jax.Array]] = []
    here = 0  # tokens of this process's share
    for of_process in map(source.at, numbers.tolist()):
        here += int((of_process["ids"][:, 1:] != pad_id).sum())
        batches.append(put_batch({name: of_process[name] for name in ("ids", "weight")}, run.mesh))
    model, mesh = run.training_model(), run.mesh
    make = jax.jit(lambda key: text_vae.init(model, key), out_shardings=replicated(mesh))
    variables = make(jax.random.key(0))
    forward = _forward(run)
    first = {batch["ids"].shape: batch for batch in batches}
    began = time.perf_counter()
    for batch in first.values():
        forward(variables, batch).block_until_ready()
    compiled = time.perf_counter() - began
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        jax.block_until_ready([forward(variables, batch) for batch in batches])
        times.append(time.perf_counter() - began)
    measured = sum(processes.from_all(here))
    tokens = len(split.tokens) + len(split)
    return ForwardTiming(
        seconds=statistics.median(times) * tokens / measured,
        tokens=tokens,
        flops=forward_flops(variables[PARAMS], split.lengths - 1),
        compile_seconds=compiled,
        batches=total,
        measured=count,
        spread=max(times) / min(times),
    )


def _forward(run: Run) -> Any:
    """Compiles (variables, batch) -> the batch's negative ELBO over the mesh."""
    model, mesh = run.training_model(), run.mesh

    def forward(variables: Variables, batch: dict[str, jax.Array]) -> jax.Array:
        ids_BxS = batch["ids"]
        eps_BxZ = jax.random.normal(jax.random.key(0), (ids_BxS.shape[0], model.latent_dim))
        mask_BxT = token_mask(ids_BxS, model.pad_id) & (batch["weight"] > 0)[:, None]
        bound = elbo.sentence_bound(model, variables, ids_BxS, eps_BxZ, mask_BxT, mesh)
        return jnp.sum(bound.nll_B) + jnp.sum(bound.kl_B)

    everywhere = replicated(mesh)
    shardings = (everywhere, split_over_data(mesh))
    return jax.jit(forward, in_shardings=shardings, out_shardings=everywhere)
