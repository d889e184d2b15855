"""A trained model in Python: sentences to vectors and back, numpy in and out."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from vaetx_jax.errors import UserError
from vaetx_jax.inference.arguments import (
    check_finite,
    check_groups,
    check_integer,
    check_iterable,
    check_latents,
    check_name,
    check_seed,
    check_sentences,
    is_numeric,
)
from vaetx_jax.inference.batching import BATCH, WINDOW
from vaetx_jax.inference.decoding import make_decoding
from vaetx_jax.inference.groups import decode_each, decode_groups
from vaetx_jax.inference.interpolation import PATHS, LatentMap, principal_plane
from vaetx_jax.inference.latent_prior import (
    LatentPrior,
    class_prior,
    describe_prior,
    mixture_prior,
)
from vaetx_jax.inference.neighbours import NearestRows, Neighbours
from vaetx_jax.inference.prior_file import save_prior
from vaetx_jax.inference.sampling import stream_samples
from vaetx_jax.inference.scoring import Scores, score_sentences
from vaetx_jax.inference.sentences import decode_latents, encode_features, encode_sentences
from vaetx_jax.inference.steering import shift_between
from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.models.language_model import PARAMS, Variables
from vaetx_jax.run.run import Run
from vaetx_jax.runtime.mesh import data_mesh, process_share, put_replicated


@dataclasses.dataclass(frozen=True, eq=False)  # arrays have no truth value: equal is the same
class TextModel:
    """A trained model, as `load` and `fit` give it.

    All methods take any number of sentences. A sentence longer than `data.max_len` tokens is cut,
    an empty one is a sentence like others, and what the vocabulary lacks is [UNK]. Methods that
    decode take the fields of `Decoding` by name. A language model has no latent: it can `sample`
    and `score`, and refuses the rest. The `stream_` methods take and yield one result after the
    other, in constant memory; they read a few thousand sentences ahead.

    A pickle of a model holds its folder's path, its step and its prior, but no parameters: these
    are read from the folder again (`inference.loading`).

    Attributes:
      run: its config, tokenizer and model.
      variables: its parameters, and the other collections that it may have.
      step: the number of updates that made them.
      source: which checkpoint it is, in words: 'best', 'last' or 'untrained', for example.
      prior: what `sample` draws latents from; None: N(0, I).
      temporary: whether its folder is deleted with it, as after `fit` without a `workdir`.
    """

    run: Run
    variables: Variables
    step: int
    source: str
    prior: LatentPrior | None = None
    temporary: bool = False

    def __repr__(self) -> str:
        latent = f"latent {self.latent_dim}" if self.latent_dim else "a language model"
        name, folder = self.run.config.model.name, str(self.run.folder)
        return f"<TextModel {name}, {latent}, step {self.step} ({self.source}) of {folder!r}>"

    def __copy__(self) -> "TextModel":
        return self  # it never changes

    def __deepcopy__(self, memo: dict[int, Any]) -> "TextModel":
        return self  # scikit-learn copies what its estimators are given

    def on_local_devices(self) -> "TextModel":
        """The same model on this process's devices alone: using it waits for no other process."""
        if process_share(self.run.mesh)[1] == 1:
            return self
        mesh = data_mesh(jax.local_devices())
        variables = put_replicated(jax.device_get(self.variables), mesh)
        run = dataclasses.replace(self.run, mesh=mesh)
        return dataclasses.replace(self, run=run, variables=variables)

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

        A sentence's vectors do not depend on the other sentences, but for rounding (some 1e-6).

        Raises:
          UserError: the model is a language model, or an entry is no text.
        """
        self.check_has_latent("encode")
        return encode_sentences(self.run, self.variables, check_sentences(sentences))

    def decode(
        self,
        z: np.ndarray,
        *,
        seed: int = 0,
        first_row: int = 0,
        batch: int = BATCH,
        **how: Any,
    ) -> list[str]:
        """A sentence for each latent of z [N, Z]; by default greedily, the most probable tokens.

        A sentence that is drawn depends on the seed, its row's number and its latent alone; the
        rows are numbered from `first_row`, so that a long job may decode a part at a time.

        Args:
          batch: rows of a batch, at most. A program is compiled for each size; few rows are in a
            small batch in any case, which may decide a tie otherwise.

        Raises:
          UserError: z has another width or holds NaN; the model is a language model.
          ConfigError: an unknown way to decode.
        """
        self.check_has_latent("decode")
        return decode_latents(
            self.run,
            self.variables,
            check_latents(z, self.latent_dim),
            seed=check_seed(seed),
            how=make_decoding(how),
            first_row=check_integer("first_row", first_row, 0, 2**31 - 1),
            batch=check_integer("batch", batch, 1),
        )

    def fit_prior(
        self, components: int = 8, *, seed: int = 0, save: bool = False, verbose: bool = True
    ) -> "TextModel":
        """The same model, sampling from a Gaussian mixture over the aggregated posterior.

        It is fitted to the training split, which must be there.

        Args:
          save: it is kept in the run's folder, and `load` and `export` take it with the model.
          verbose: print how much better it fits the latents of the validation split than N(0, I).

        Raises:
          UserError: the folder cannot be written, or there is a single training sentence.
        """
        self.check_has_latent("fit_prior")
        components, seed = check_integer("components", components, 1), check_seed(seed)
        prior = mixture_prior(self.run, self.variables, components, seed=seed)
        if verbose:
            print(describe_prior(prior, self.run, self.variables, seed=seed))
        if save:
            save_prior(prior, self.run.folder, step=self.step)
        return dataclasses.replace(self, prior=prior)

    def encode_vectors(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `encode`, from what the encoder makes of sentences or is given in its place, [N, E].

        Raises:
          UserError: they have another width than the encoder's, or one is not finite.
        """
        self.check_has_latent("encode_vectors")
        return encode_features(self.run, self.variables, vectors)

    def decode_vectors(self, vectors: np.ndarray, **how: Any) -> list[str]:
        """A sentence for each vector [N, E], by the mean of its posterior; see `decode`."""
        return self.decode(self.encode_vectors(vectors)[0], **how)

    def sample(self, n: int, *, label: str | None = None, seed: int = 0, **how: Any) -> list[str]:
        """n sentences: z from the prior, then tokens, by default at temperature 1.

        With a label, z is drawn from the Gaussian of the training sentences of that class.
        """
        return list(self.stream_sample(n, label=label, seed=seed, **how))

    def stream_sample(
        self, n: int, *, label: str | None = None, seed: int = 0, **how: Any
    ) -> Iterator[str]:
        """The sentences of `sample`, one after the other."""
        if label is not None:
            self.check_has_latent("sample with a label")
        prior = self.prior if label is None else class_prior(self.run, self.variables, label)
        n, seed = check_integer("n", n, 0), check_seed(seed)
        return stream_samples(self.run, self.variables, n, prior=prior, seed=seed, how=how)

    def reconstruct(self, sentences: Sequence[str], *, seed: int = 0, **how: Any) -> list[str]:
        """Each sentence through the mean of its posterior and back, by default greedily."""
        return list(self.stream_reconstruct(check_sentences(sentences), seed=seed, **how))

    def stream_reconstruct(
        self, sentences: Iterable[str], *, seed: int = 0, **how: Any
    ) -> Iterator[str]:
        """The sentences of `reconstruct`, one after the other."""
        self.check_has_latent("reconstruct")
        check_iterable(sentences)
        return decode_each(self, sentences, lambda mean_1xZ: mean_1xZ, seed=seed, how=how)

    def interpolate(
        self, a: str, b: str, steps: int = 7, *, path: str = "linear", seed: int = 0, **how: Any
    ) -> list[str]:
        """Sentences from the posterior mean of a to that of b, both ends included.

        Args:
          path: `linear`, or `spherical`: on the great circle, where the prior's mass lies.
        """
        return next(self.stream_interpolate([(a, b)], steps, path=path, seed=seed, **how))

    def stream_interpolate(
        self,
        pairs: Iterable[tuple[str, ...]],
        steps: int = 7,
        *,
        path: str = "linear",
        seed: int = 0,
        **how: Any,
    ) -> Iterator[list[str]]:
        """The sentences of `interpolate` for one pair after the other."""
        self.check_has_latent("interpolate")
        between = PATHS[check_name("path", path, PATHS)]
        steps = check_integer("steps", steps, 2)  # the two ends

        def on_path(ends_2xZ: np.ndarray) -> np.ndarray:
            return between(ends_2xZ[0], ends_2xZ[1], steps)

        return decode_groups(self, check_groups(pairs, 2), on_path, steps, seed=seed, how=how)

    def analogy(self, a: str, b: str, c: str, *, seed: int = 0, **how: Any) -> str:
        """The sentence that is to c as b is to a: c's mean plus the step from a's to b's."""
        return next(self.stream_analogy([(a, b, c)], seed=seed, **how))

    def stream_analogy(
        self, triples: Iterable[tuple[str, ...]], *, seed: int = 0, **how: Any
    ) -> Iterator[str]:
        """The sentence of `analogy` for one triple after the other."""
        self.check_has_latent("analogy")

        def fourth(mean_3xZ: np.ndarray) -> np.ndarray:
            a_Z, b_Z, c_Z = mean_3xZ
            return (c_Z + (b_Z - a_Z))[None]

        decoded = decode_groups(self, check_groups(triples, 3), fourth, 1, seed=seed, how=how)
        return (sentence for (sentence,) in decoded)

    def steer(
        self,
        sentences: Sequence[str],
        start: Sequence[str],
        end: Sequence[str],
        *,
        strength: float = 1.0,
        seed: int = 0,
        **how: Any,
    ) -> list[str]:
        """Moves each sentence by the step from the mean of the set `start` to that of `end`.

        It is its mean plus `strength` times the step from the mean of `start` to that of `end`,
        decoded; `analogy` is the case of one sentence in each set and strength 1.

        Raises:
          UserError: a set is empty.
        """
        given = check_sentences(sentences)
        return list(self.stream_steer(given, start, end, strength=strength, seed=seed, **how))

    def stream_steer(
        self,
        sentences: Iterable[str],
        start: Sequence[str],
        end: Sequence[str],
        *,
        strength: float = 1.0,
        seed: int = 0,
        **how: Any,
    ) -> Iterator[str]:
        """The sentences of `steer`, one after the other."""
        self.check_has_latent("steer")
        check_iterable(sentences)
        start, end = check_sentences(start), check_sentences(end)
        step_Z = check_finite("strength", strength) * shift_between(self.encode, start, end)
        return decode_each(
            self, sentences, lambda mean_1xZ: mean_1xZ + step_Z[None], seed=seed, how=how
        )

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
        self.check_has_latent("neighbours")
        nearest = NearestRows(self._vectors(query), k, metric=metric)
        vectors_MxZ = self._vectors(corpus)
        for start in range(0, len(vectors_MxZ), WINDOW):
            nearest.add(vectors_MxZ[start : start + WINDOW])
        return nearest.result()

    def score(self, sentences: Sequence[str], *, iw_samples: int = 10, seed: int = 0) -> Scores:
        """Bounds on each sentence's log-probability.

        The noise depends on the seed and on the sentence's tokens, so that a sentence has the same
        score wherever it stands, but for rounding.

        Args:
          iw_samples: draws of the importance-weighted bound; 0 leaves it out, which is faster.
        """
        return score_sentences(
            self.run,
            self.variables,
            self._estimator,
            check_sentences(sentences),
            iw_samples=check_integer("iw_samples", iw_samples, 0),
            seed=check_seed(seed),
        )

    def latent_map(self, sentences: Sequence[str]) -> LatentMap:
        """The posterior means on their two principal axes, and their variance's share on each."""
        self.check_has_latent("latent_map")
        return principal_plane(self.encode(sentences)[0])

    def check_has_latent(self, task: str) -> None:
        """Raises UserError where the model is a language model, which has no latent."""
        if not self.latent_dim:
            name = self.run.config.model.name
            raise UserError(
                f"{task} needs a latent, and {name} is a language model without one; it can sample "
                "and score. Train a vae_* model to have a latent."
            )

    def _vectors(self, given: Sequence[str] | np.ndarray) -> np.ndarray:
        if is_numeric(given):
            return check_latents(given, self.latent_dim)
        return self.encode(check_sentences(given))[0]

    @functools.cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self.run.model, self.run.mesh, seed=0)
