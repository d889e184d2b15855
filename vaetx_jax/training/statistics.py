"""The mean and variance of the training split's summaries, by which a latent is standardised.

They are exact: float64 sums over every sentence, encoded without dropout. They are computed at the
start, before scheduled validations and checkpoints and every few steps in between, more often at
first, always as a function of the step alone, so that a resumed run computes them where the
uninterrupted one does.
"""

import functools
import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vaetx_jax.data.bucketing import device_arrays
from vaetx_jax.models import text_vae
from vaetx_jax.models.bag import STATISTICS
from vaetx_jax.models.freeze import freezes_encoder
from vaetx_jax.models.language_model import Variables
from vaetx_jax.models.text_vae import TextVAE
from vaetx_jax.run.run import Run
from vaetx_jax.runtime.mesh import put_batch, replicate, replicated, split_over_data

PER_EPOCH = 4  # updates an epoch where `train.statistics_every` is 0


class SplitStatistics:
    """The statistics of a run whose model is standardised."""

    def __init__(self, run: Run, model: TextVAE):
        self._run, self._encode = run, _program(model, run.mesh)

    @classmethod
    def of(cls, run: Run) -> "SplitStatistics | None":
        """The statistics of a run; None where its model has none."""
        model = run.model
        return cls(run, model) if isinstance(model, TextVAE) and model.is_standardised else None

    def updated(self, variables: Variables) -> Variables:
        """The variables with the statistics of their own encoder."""
        mean_Z, variance_Z = self._moments(variables)
        statistics = dict(variables[STATISTICS])
        for name, value in (("mean", mean_Z), ("variance", variance_Z)):
            old = statistics[name]
            statistics[name] = jax.device_put(value.astype(np.float32), old.sharding)
        return {**variables, STATISTICS: statistics}

    def _moments(self, variables: Variables) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the training split's summaries, [Z] float64."""
        exact_NxZ = self.summaries(variables).astype(np.float64)
        return np.asarray(exact_NxZ.mean(axis=0)), np.asarray(exact_NxZ.var(axis=0))

    def summaries(self, variables: Variables) -> np.ndarray:
        """The training split's summaries before they are standardised, [N, Z] float32."""
        variables = replicate(variables, self._run.mesh)
        split = self._run.split("train")
        batches = self._run.eval_batches(split)
        summary_NxZ = np.zeros((len(split), self._run.model.latent_dim), np.float32)
        pending: list[tuple[jax.Array, jax.Array]] = []
        for i in range(len(batches)):
            batch = batches[i]
            index = batch["index"].astype(np.int32)
            arrays = put_batch({**device_arrays(batch), "index": index}, self._run.mesh)
            # Of all processes: each has read its own share of the batch alone.
            rows_B = jax.device_put(arrays.pop("index"), replicated(self._run.mesh))
            pending.append((self._encode(variables, arrays), rows_B))
            if len(pending) > 1:  # one batch late, so that the devices are never idle
                _store(summary_NxZ, *pending.pop(0))
        for one in pending:
            _store(summary_NxZ, *one)
        return summary_NxZ


@functools.lru_cache(maxsize=4)
def _program(model: TextVAE, mesh: Mesh) -> Any:
    """(variables, batch) -> summaries [B, Z], traced once for all uses of a model."""

    def summary(variables: Variables, batch: dict[str, jax.Array]) -> jax.Array:
        inputs = text_vae.encoder_inputs(batch)
        return text_vae.summary(model, variables, batch["ids"], **inputs)

    return jax.jit(
        summary,
        in_shardings=(replicated(mesh), split_over_data(mesh)),
        out_shardings=replicated(mesh),
    )


def _store(out_NxZ: np.ndarray, summary_BxZ: jax.Array, rows_B: jax.Array) -> None:
    rows = np.asarray(rows_B)
    out_NxZ[rows[rows >= 0]] = np.asarray(summary_BxZ)[rows >= 0]


def update_every(run: Run) -> int:
    """Steps between two updates of the statistics besides those of validations; 0: none.

    A batch norm trains by its batches' statistics, and a fixed summary's never change.
    """
    model = run.model
    if not isinstance(model, TextVAE) or not model.channel_rate or not _trains_summary(model):
        return 0
    every = run.config.train.statistics_every
    return int(every or math.ceil(run.train_batches.steps_per_epoch / PER_EPOCH))


def updates_between(done: int, every: int) -> bool:
    """Whether the statistics are updated after `done` steps of a phase.

    An encoder changes most in its first steps: they are updated after 1, 2, 4, 8, ... of these.

    Args:
      every: steps between two updates after that; 0: there are none.
    """
    if not every:
        return False
    return done % every == 0 or (done < every and done.bit_count() == 1)


def _trains_summary(model: TextVAE) -> bool:
    """Whether training changes the summaries; a layer behind a frozen encoder does."""
    if not freezes_encoder(model.freeze):
        return True
    return model.mean_layer and model.freeze != "mean"
