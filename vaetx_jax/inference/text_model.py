"""A trained model in Python: sentences to vectors and back, numpy in and out."""

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaetx_jax.data.bucketing import Batch
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference import exported
from vaetx_jax.inference.batching import (
    BATCH,
    WINDOW,
    check_sentences,
    count_words,
    pieces_of,
    rows_by_length,
)
from vaetx_jax.inference.decoding import Decoding, decode
from vaetx_jax.inference.interpolation import PATHS, LatentMap, principal_plane
from vaetx_jax.inference.logits import SpecialIds
from vaetx_jax.inference.neighbours import NearestRows, Neighbours
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.models import text_vae
from vaetx_jax.models.text_vae import PARAMS, Variables
from vaetx_jax.run.run import Run, open_run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.runtime.console import Progress
from vaetx_jax.runtime.mesh import data_mesh, process_share, put_replicated, replicated
from vaetx_jax.training.checkpoint import Checkpoints, choose
from vaetx_jax.training.state import variables_like


class Scores(NamedTuple):
    """Bounds on the log-probability of each sentence, nats, in the order given.

    Attributes:
      elbo_N: the evidence lower bound, reconstruction at one draw of z, the KL exact; a language
        model's is log p(x) itself.
      kl_N: of the posterior to the prior; 0 for a language model.
      iw_N: the importance-weighted bound, tighter; NaN where it was left out.
      pieces_N: pieces that were scored, the end counted.
      words_N: words (by whitespace) wholly among them.
      cut_N: the sentence was longer than `data.max_len`, and its beginning alone was scored.
    """

    elbo_N: np.ndarray
    kl_N: np.ndarray
    iw_N: np.ndarray
    pieces_N: np.ndarray
    words_N: np.ndarray
    cut_N: np.ndarray


@dataclasses.dataclass(frozen=True)
class TextModel:
    """A trained model, as `load` and `fit` give it.

    All methods take any number of sentences. What is longer than `data.max_len` pieces is cut; an
    empty sentence is one like others; what the vocabulary lacks is [UNK]. Methods that decode take
    the fields of `Decoding` by name: `temperature`, `top_k`, `top_p`, `beam`, `length_power`,
    `no_repeat`. A language model has no latent: it can `sample` and `score`, and refuses the rest.

    Attributes:
      run: its config, tokenizer and model.
      variables: its parameters, and the other collections that it may have.
      step: updates they have had.
      label: which checkpoint they are, in words.
    """

    run: Run
    variables: Variables
    step: int
    label: str

    def __deepcopy__(self, memo: dict[int, Any]) -> "TextModel":
        return self  # it never changes; scikit-learn copies what its estimators are given

    def alone(self) -> "TextModel":
        """The same model on this process's devices, so that it is used without the others."""
        if process_share(self.run.mesh)[1] == 1:
            return self
        mesh = data_mesh(jax.local_devices())
        run = dataclasses.replace(self.run, mesh=mesh)
        return dataclasses.replace(
            self, run=run, variables=put_replicated(jax.device_get(self.variables), mesh)
        )

    @property
    def params(self) -> Any:
        """Its parameters alone."""
        return self.variables[PARAMS]

    @property
    def latent_dim(self) -> int:
        """Width of z; 0 for a language model."""
        return self.run.model.latent_dim

    def encode(self, sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of q(z|x), float32 [N, Z] each, in the order given.

        A sentence's vectors do not depend on those beside it.

        Raises:
          UserError: the model is a language model, or an entry is no text.
        """
        self.needs_latent("encode")
        sentences = check_sentences(sentences)
        mean = np.zeros((len(sentences), self.latent_dim), np.float32)
        std = np.zeros_like(mean)

        def store(numbers: np.ndarray, mu: jax.Array, logvar: jax.Array) -> None:
            mean[numbers] = np.asarray(mu)[: len(numbers)]
            std[numbers] = np.exp(0.5 * np.asarray(logvar)[: len(numbers)])

        waiting: list[Any] = []  # one batch late, so that the devices are never idle
        for numbers, ids_BxS in self._batches(sentences, "encoded"):
            waiting.append((numbers, *_encode(self.run.model, self.variables, ids_BxS)))
            if len(waiting) > 1:
                store(*waiting.pop(0))
        for batch in waiting:
            store(*batch)
        return mean, std

    def decode(
        self,
        z: np.ndarray,
        *,
        seed: int = 0,
        first_row: int = 0,
        batch: int = BATCH,
        **how: Any,
    ) -> list[str]:
        """A sentence for each latent of z [N, Z]; by default the most probable pieces, greedily.

        A sentence that is drawn depends on the seed, its row's number and its latent alone; the
        rows are numbered from `first_row`, so that a long job may decode a part at a time.

        Args:
          batch: rows at a time. A program is compiled for each size; a small one answers a few
            latents several times sooner, and may decide a tie otherwise.

        Raises:
          UserError: z has another width or holds NaN; the model is a language model.
          ConfigError: a way to decode that there is not.
        """
        self.needs_latent("decode")
        if batch < 1:
            raise ConfigError(f"batch = {batch}: must be at least 1")
        return self._decode(self._latents(z), seed, decoding(how), first_row, batch)

    def sample(self, n: int, *, seed: int = 0, **how: Any) -> list[str]:
        """n sentences from the prior: z from N(0, I), then pieces, at temperature 1 by default."""
        return [s for part in self.sample_in_parts(n, seed=seed, **how) for s in part]

    def sample_in_parts(self, n: int, *, seed: int = 0, **how: Any) -> Iterator[list[str]]:
        """The same sentences, some thousands at a time."""
        if n < 0:
            raise ConfigError(f"n = {n}: must be at least 0")
        chosen = decoding({"temperature": 0.0 if how.get("beam", 1) > 1 else 1.0} | how)
        noise = np.random.default_rng(_seed(seed))
        for start in range(0, n, WINDOW):
            z_NxZ = noise.standard_normal((min(WINDOW, n - start), self.latent_dim))
            yield self._decode(z_NxZ.astype(np.float32), seed, chosen, start)

    def reconstruct(self, sentences: Sequence[str], *, seed: int = 0, **how: Any) -> list[str]:
        """Each sentence through the mean of its posterior and back, by default greedily."""
        self.needs_latent("reconstruct")
        return self._decode(self.encode(sentences)[0], seed, decoding(how))

    def interpolate(
        self, a: str, b: str, steps: int = 7, *, path: str = "linear", seed: int = 0, **how: Any
    ) -> list[str]:
        """Sentences from the posterior mean of a to that of b, both ends included.

        Args:
          path: `linear`, or `spherical`: on the great circle, where the prior's mass lies.
        """
        self.needs_latent("interpolate")
        if path not in PATHS:
            raise ConfigError(f"path = {path!r}: must be one of {', '.join(PATHS)}")
        if steps < 2:
            raise ConfigError(f"steps = {steps}: must be at least 2, the two ends")
        (a_Z, b_Z), _ = self.encode([a, b])
        return self._decode(PATHS[path](a_Z, b_Z, steps), seed, decoding(how))

    def analogy(self, a: str, b: str, c: str, *, seed: int = 0, **how: Any) -> str:
        """What is to c as b is to a: the posterior mean of c plus the step from a's to b's."""
        self.needs_latent("analogy")
        (a_Z, b_Z, c_Z), _ = self.encode([a, b, c])
        return self._decode((c_Z + (b_Z - a_Z))[None], seed, decoding(how))[0]

    def neighbours(
        self,
        query: Sequence[str] | np.ndarray,
        corpus: Sequence[str] | np.ndarray,
        k: int = 10,
        *,
        metric: str = "cosine",
    ) -> Neighbours:
        """The k sentences of a corpus whose posterior means are nearest to each query's.

        Args:
          query, corpus: sentences, or their latents [N, Z] where they have been encoded before.
          metric: `cosine` or `euclidean`.

        Returns:
          Row numbers in the corpus and scores, [Q, k] each; k at most the size of the corpus.
        """
        self.needs_latent("neighbours")
        nearest = NearestRows(self._vectors(query), k, metric=metric)
        vectors_MxZ = self._vectors(corpus)
        for start in range(0, len(vectors_MxZ), WINDOW):
            nearest.add(vectors_MxZ[start : start + WINDOW])
        return nearest.found()

    def score(self, sentences: Sequence[str], *, iw_samples: int = 10, seed: int = 0) -> Scores:
        """Bounds on each sentence's log-probability.

        The noise depends on the seed and on the sentence's pieces, so that a sentence has the same
        score wherever it stands.

        Args:
          iw_samples: draws of the importance-weighted bound; 0 leaves it out, which is faster.
        """
        if iw_samples < 0:
            raise ConfigError(f"iw_samples = {iw_samples}: must be at least 0")
        sentences, seed = check_sentences(sentences), _seed(seed)
        n = len(sentences)
        out = Scores(
            elbo_N=np.zeros(n),
            kl_N=np.zeros(n),
            iw_N=np.full(n, np.nan),
            pieces_N=np.zeros(n, np.int64),
            words_N=np.zeros(n, np.int64),
            cut_N=np.zeros(n, bool),
        )
        tokenizer, max_len = self.run.tokenizer, self.run.config.data.max_len
        for start in range(0, n, WINDOW):
            texts = sentences[start : start + WINDOW]
            pieces = pieces_of(tokenizer, texts, max_len)
            words_N, cut_N = count_words(tokenizer, texts, pieces, max_len)
            window = slice(start, start + len(texts))
            out.pieces_N[window] = [len(ids) + 1 for ids in pieces]
            out.words_N[window], out.cut_N[window] = words_N, cut_N
        for numbers, ids_BxS in self._batches(sentences, "scored"):
            figures = self._estimator.of_batch(
                self.variables, _noise_by_content(ids_BxS), seed=seed, iw_samples=iw_samples
            )
            row = {k: np.asarray(v, np.float64)[: len(numbers)] for k, v in figures.items()}
            out.elbo_N[numbers] = -(row["nll"] + row["kl"])
            out.kl_N[numbers] = row["kl"]
            if iw_samples:
                out.iw_N[numbers] = row["iw"]
        return out

    def latent_map(self, sentences: Sequence[str]) -> LatentMap:
        """The posterior means on their two principal axes [N, 2], and the variance's share each."""
        self.needs_latent("latent_map")
        return principal_plane(self.encode(sentences)[0])

    def _decode(
        self,
        z_NxZ: np.ndarray,
        seed: int,
        how: Decoding,
        first_row: int = 0,
        batch: int = BATCH,
    ) -> list[str]:
        tokenizer = self.run.tokenizer
        special = SpecialIds(tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id)
        batch = max(1, batch // how.beam)
        sentences: list[str] = []
        progress = Progress(len(z_NxZ))
        for start in range(0, len(z_NxZ), batch):
            # The last batch is filled with its last row, which ends when that one does.
            rows = np.minimum(np.arange(start, start + batch, dtype=np.int32), len(z_NxZ) - 1)
            ids_BxL = decode(
                self.run.model,
                self.variables,
                jnp.asarray(z_NxZ[rows]),
                jax.random.key(_seed(seed)),
                special=special,
                max_len=self.run.config.data.max_len,
                how=how,
                rows_B=jnp.asarray(first_row + rows, jnp.int32),
            )
            count = min(batch, len(z_NxZ) - start)
            sentences += [tokenizer.decode(row.tolist()) for row in np.asarray(ids_BxL)[:count]]
            if len(z_NxZ) > batch:
                progress.tick(len(sentences), "decoded")
        progress.clear()
        return sentences

    def needs_latent(self, what: str) -> None:
        """Raises UserError where the model is a language model, which has no latent."""
        if not self.latent_dim:
            name = self.run.config.model.name
            raise UserError(
                f"{what} needs a latent, and {name} is a language model without one; it can sample "
                "and score. Train a vae_* model to have a latent."
            )

    def _latents(self, z: np.ndarray) -> np.ndarray:
        try:
            z_NxZ = np.asarray(z, np.float32)
        except (TypeError, ValueError):
            raise UserError(f"latents must be numbers [N, {self.latent_dim}]") from None
        if z_NxZ.ndim != 2 or z_NxZ.shape[1] != self.latent_dim:
            shape = list(z_NxZ.shape)
            raise UserError(f"latents of the shape {shape}: they must be [N, {self.latent_dim}]")
        bad = np.flatnonzero(~np.isfinite(z_NxZ).all(axis=1))
        if len(bad):
            raise UserError(
                f"latents: row {bad[0]} (counted from 0) holds a NaN or an infinity, and "
                f"{len(bad) - 1:,} more do; each must be finite"
            )
        return z_NxZ

    def _vectors(self, given: Sequence[str] | np.ndarray) -> np.ndarray:
        if isinstance(given, np.ndarray):
            return self._latents(given)
        return self.encode(given)[0]

    @functools.cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self.run.model, self.run.mesh, seed=0)

    def _batches(self, sentences: Sequence[str], done: str) -> Iterator[tuple[np.ndarray, Any]]:
        """(numbers, ids [BATCH, S]) of sentences of like length; tells of a long input."""
        tokenizer, max_len = self.run.tokenizer, self.run.config.data.max_len
        progress, finished = Progress(len(sentences)), 0
        for start in range(0, len(sentences), WINDOW):
            pieces = pieces_of(tokenizer, sentences[start : start + WINDOW], max_len)
            for rows in rows_by_length(pieces, tokenizer, max_len):
                yield start + rows.numbers, rows.ids_BxS
                finished += len(rows.numbers)
                if len(sentences) > WINDOW:
                    progress.tick(finished, done)
        progress.clear()


def decoding(how: dict[str, Any]) -> Decoding:
    """The `Decoding` of keyword arguments.

    Raises:
      ConfigError: there is no such field, or its value is out of range.
    """
    known = [field.name for field in dataclasses.fields(Decoding)]
    for name in how:
        if name not in known:
            raise ConfigError(f"there is no {name!r} in decoding; there are {', '.join(known)}")
    return Decoding(**how)


def _seed(seed: int) -> int:
    if seed < 0:
        raise ConfigError(f"seed = {seed}: must be at least 0")
    return seed


def _noise_by_content(ids_BxS: np.ndarray) -> Batch:
    """A batch whose rows' noise is numbered by what stands in them."""
    numbers = [zlib.crc32(row.tobytes()) & 0x7FFFFFFF for row in ids_BxS]
    return {
        "ids": ids_BxS,
        "label": np.full(len(ids_BxS), -1, np.int32),
        "weight": np.ones(len(ids_BxS), np.float32),
        "index": np.asarray(numbers, np.int64),
    }


_encode = jax.jit(text_vae.encode, static_argnums=0)


def load(folder: str | pathlib.Path, *, checkpoint: str = "best") -> TextModel:
    """The model trained in a work folder, or that of a folder made by `export`.

    Args:
      checkpoint: `best` (lowest validation perplexity), `last`, or a step; an exported folder has
        one alone, and refuses another.

    Raises:
      UserError: the folder holds no trained run.
      DamagedError: an exported folder's file is not as it was written.
    """
    folder = pathlib.Path(folder).expanduser()
    if exported.is_shared(folder):
        model = TextModel(*exported.read(folder))
        if checkpoint not in ("best", str(model.step)):
            raise UserError(
                f"{folder} was exported and holds one checkpoint, of step {model.step:,}: there is "
                f"no {checkpoint!r}"
            )
        return model
    run = open_run(folder)
    checkpoints = Checkpoints(run.folder / CHECKPOINTS, writable=False)
    step, label = choose(checkpoints, checkpoint)
    variables = checkpoints.restore_variables(step, variables_like(run.model, run.mesh))
    return TextModel(run, variables, step, label)


def untrained(run: Run, *, seed: int) -> TextModel:
    """The model before any training, to compare with."""
    make = functools.partial(text_vae.init, run.model)
    variables = jax.jit(make, out_shardings=replicated(run.mesh))(jax.random.key(seed))
    return TextModel(run, variables, 0, "untrained")
