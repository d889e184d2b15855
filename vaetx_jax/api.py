"""A trained model in Python: sentences to vectors and back, numpy in and out."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaetx_jax.checkpoint import Checkpoints, choose
from vaetx_jax.decoding import SpecialIds, decode
from vaetx_jax.errors import UserError
from vaetx_jax.mesh import replicated
from vaetx_jax.parts import Parts, load_parts
from vaetx_jax.step import init_params
from vaetx_jax.workdir import CHECKPOINTS

BATCH = 64
ROUND = 8  # rows are padded to a multiple of this, so that few shapes are compiled


@dataclasses.dataclass(frozen=True)
class TextModel:
    """A trained model: encode, decode, sample, reconstruct, interpolate.

    Attributes:
      parts: what the run is made of.
      params: its parameters.
      step: updates they have had.
      label: which checkpoint they are, in words.
    """

    parts: Parts
    params: Any
    step: int
    label: str

    @property
    def latent_dim(self) -> int:
        """Width of z; 0 for a language model."""
        return self.parts.model.latent_dim

    def encode(self, sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of q(z|x), float32 [N, Z] each, in the order given.

        Raises:
          UserError: the model is a language model.
        """
        self._needs_latent("encode")
        mean = np.zeros((len(sentences), self.latent_dim), np.float32)
        std = np.zeros_like(mean)
        for rows, ids_BxS in self._batches(sentences):
            mu, logvar = _encode(self.parts.model, self.params, ids_BxS)
            mean[rows] = np.asarray(mu)[: len(rows)]
            std[rows] = np.exp(0.5 * np.asarray(logvar)[: len(rows)])
        return mean, std

    def decode(self, z_NxZ: np.ndarray, *, temperature: float = 0.0, seed: int = 0) -> list[str]:
        """A sentence for each latent [N, Z]; temperature 0 takes the most probable pieces."""
        tokenizer = self.parts.tokenizer
        special = SpecialIds(tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id)
        sentences: list[str] = []
        for start in range(0, len(z_NxZ), BATCH):
            part = np.zeros((BATCH, np.shape(z_NxZ)[1]), np.float32)
            count = len(z_NxZ[start : start + BATCH])
            part[:count] = z_NxZ[start : start + BATCH]
            ids_BxL = decode(
                self.parts.model,
                self.params,
                jnp.asarray(part),
                jax.random.fold_in(jax.random.key(seed), start),
                special=special,
                max_len=self.parts.config.data.max_len,
                temperature=temperature or 1.0,
                greedy=temperature == 0,
            )
            sentences += [tokenizer.decode(row.tolist()) for row in np.asarray(ids_BxL)[:count]]
        return sentences

    def sample(self, n: int, *, temperature: float = 1.0, seed: int = 0) -> list[str]:
        """n sentences from the prior: z from N(0, I), then pieces at the temperature."""
        z_NxZ = np.random.default_rng(seed).standard_normal((n, self.latent_dim))
        return self.decode(z_NxZ.astype(np.float32), temperature=temperature, seed=seed)

    def reconstruct(self, sentences: Sequence[str]) -> list[str]:
        """Each sentence through the mean of its posterior and back, greedily."""
        return self.decode(self.encode(sentences)[0])

    def interpolate(self, first: str, last: str, steps: int) -> list[str]:
        """Sentences on the straight line between two posterior means, both ends included."""
        (a_Z, b_Z), _ = self.encode([first, last])
        along_Sx1 = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
        return self.decode((1 - along_Sx1) * a_Z[None] + along_Sx1 * b_Z[None])

    def _needs_latent(self, what: str) -> None:
        if not self.latent_dim:
            name = self.parts.config.model.name
            raise UserError(f"{what} needs a latent, and {name} is a language model without one")

    def _batches(self, sentences: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows, ids [BATCH, S]) of sentences of like length."""
        tokenizer, max_len = self.parts.tokenizer, self.parts.config.data.max_len
        pieces = [ids[: max_len - 2] for ids in tokenizer.encode(list(sentences))]
        order = np.argsort([len(ids) for ids in pieces], kind="stable")
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            longest = len(pieces[rows[-1]]) + 2
            length = min(-(-longest // ROUND) * ROUND, max_len)
            ids_BxS = np.full((BATCH, length), tokenizer.pad_id, np.int32)
            ids_BxS[:, 0], ids_BxS[:, 1] = tokenizer.cls_id, tokenizer.sep_id  # the filler rows
            for i, row in enumerate(rows):
                line = [tokenizer.cls_id, *pieces[row], tokenizer.sep_id]
                ids_BxS[i, : len(line)] = line
            yield rows, ids_BxS


@functools.partial(jax.jit, static_argnums=0)
def _encode(model: Any, params: Any, ids_BxS: jax.Array) -> Any:
    return model.apply({"params": params}, ids_BxS, method="encode")


def load(folder: str | pathlib.Path, *, checkpoint: str = "best") -> TextModel:
    """The model trained in a work folder.

    Args:
      checkpoint: `best` (lowest validation perplexity), `last`, or a step.

    Raises:
      UserError: the folder holds no trained run.
    """
    parts = load_parts(pathlib.Path(folder))
    checkpoints = Checkpoints(parts.folder / CHECKPOINTS, writable=False)
    step, label = choose(checkpoints, checkpoint)
    init = functools.partial(init_params, parts.model)
    whole = replicated(parts.mesh)
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole),
        jax.eval_shape(init, jax.random.key(0)),
    )
    params = checkpoints.restore_params(step, like)
    return TextModel(parts, params, step, label)


def untrained(parts: Parts, *, seed: int) -> TextModel:
    """The model before any training, to compare with."""
    make = functools.partial(init_params, parts.model)
    params = jax.jit(make, out_shardings=replicated(parts.mesh))(jax.random.key(seed))
    return TextModel(parts, params, 0, "untrained")
