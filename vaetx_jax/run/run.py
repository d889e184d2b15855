"""A run: its corpus, tokenizer, batches and model, built from its config."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vaetx_jax.config import stored, validation
from vaetx_jax.data.batches import EvalBatches, TrainBatches
from vaetx_jax.data.bucketing import Buckets, ProcessShare, make_buckets
from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.corpora.corpus import CorpusSpec, open_corpus
from vaetx_jax.data.fields import ANY_FIELDS, Fields
from vaetx_jax.data.tokenized import FrameIds, ReadTokens, TokenizedSplit, tokenize_split
from vaetx_jax.data.tokenizers.tokenizers import Tokenizer
from vaetx_jax.models.build import build_model
from vaetx_jax.models.freeze import freezes_encoder
from vaetx_jax.models.gpt2 import Gpt2Size
from vaetx_jax.models.language_model import LanguageModel
from vaetx_jax.run import workdir as workdir_lib
from vaetx_jax.run.features import FeatureCache, Features
from vaetx_jax.run.given_vectors import GivenVectors, Rows, find_vectors, keep_vectors
from vaetx_jax.run.pretrained import (
    PretrainedEncoder,
    find_decoder,
    find_encoder,
    keep_decoder,
    keep_encoder,
    read_decoder,
    read_encoder,
)
from vaetx_jax.run.run_tokenizers import RunTokenizers, load_tokenizers, make_tokenizers
from vaetx_jax.runtime.mesh import check_batch_size, data_mesh, process_share


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of one config. The corpus and its ids are opened at their first use.

    Attributes:
      config: its validated settings.
      folder: its work folder.
      tokenizers: its tokenizer, and perhaps its encoder's own, as kept in the folder.
      model: its model, in float32.
      mesh: the devices that it uses.
      open_corpus: opens the corpus of `config.data`, once for all calls.
      encoder: its published encoder; None: it has none.
      decoder: the size of its decoder, a published GPT-2; None: it has none.
      vectors: the vectors that are given in the place of an encoder; None: there are none.
    """

    config: ConfigDict
    folder: pathlib.Path
    tokenizers: RunTokenizers
    model: LanguageModel
    mesh: Mesh
    open_corpus: Callable[[], Corpus]
    encoder: PretrainedEncoder | None = None
    decoder: Gpt2Size | None = None
    vectors: GivenVectors | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the sentences that the model writes and scores."""
        return self.tokenizers.written

    @property
    def encoder_tokenizer(self) -> Tokenizer:
        """Of the sentences that the encoder reads; mostly the same."""
        return self.tokenizers.read or self.tokenizers.written

    @property
    def corpus(self) -> Corpus:
        """The corpus of `config.data`."""
        return self.open_corpus()

    @property
    def fields(self) -> Fields:
        """The columns of its corpus's files, which other files are read by, too."""
        return Fields.of(self.config.data.text_column, self.config.data.label_column)

    def training_model(self) -> LanguageModel:
        """The model in the precision of training; it has the same parameters."""
        precision = self.config.train.precision
        if precision == "float32":
            return self.model
        dtype = jnp.dtype(precision)
        parts = (self.encoder, self.decoder, self.vectors)
        return _build_model(self.config, self.tokenizers, *parts, dtype)

    def split(self, name: str) -> TokenizedSplit:
        """The ids of a split, and what the encoder reads besides: a frozen encoder's or given
        features, or its own tokens. All of them are cached.
        """
        split = self._ids(name, self.tokenizer)
        if self.vectors is not None:
            features = self.vectors.split(name, self.corpus)
            return dataclasses.replace(split, features=features)
        if self.encoder is not None and freezes_encoder(self.model.freeze):
            cached = self._features(name)
            if cached is not None:
                return dataclasses.replace(split, features=cached)
        read = self.tokenizers.read
        if read is None:
            return split
        tokens = ReadTokens(self._ids(name, read), FrameIds.of(read))
        return dataclasses.replace(split, read=tokens)

    def encoder_features(self, name: str) -> Features | Rows | None:
        """A published encoder's features of a split before it is trained, or given ones, [N, E].

        None: the run has no such encoder, or its weights are not on this machine.
        """
        if self.vectors is not None:
            return self.vectors.split(name, self.corpus)
        return self._features(name) if self.encoder else None

    def _features(self, name: str) -> Features | None:
        assert self.encoder is not None
        cache = FeatureCache(
            stored.cache_dir(self.config),
            self.encoder,
            pooling=validation.model_settings(self.config).pooling or "mean",
            corpus=self.corpus.fingerprint,
            tokenizer=self.encoder_tokenizer,
            max_len=self.config.data.max_len,
        )
        return cache.open(name, self._ids(name, self.encoder_tokenizer))

    def _ids(self, name: str, tokenizer: Tokenizer) -> TokenizedSplit:
        return tokenize_split(
            self.corpus,
            name,
            tokenizer,
            self.config.data.max_len,
            stored.cache_dir(self.config),
        )

    @functools.cached_property
    def train_batches(self) -> TrainBatches:
        """The batches of every training step."""
        data = self.config.data
        check_batch_size("data.batch_size", data.batch_size, self.mesh)
        shapes = [data.max_len] if data.batching == "pad" else None
        buckets = self._buckets(self.split("train"), data.batch_size, shapes)
        return TrainBatches(buckets, seed=data.seed)

    def eval_batches(self, split: TokenizedSplit) -> EvalBatches:
        """Batches that hold every sentence of a split once, in the lengths of training.

        Validation and test so share their compiled programs.
        """
        size = self.config.evaluation.batch_size
        check_batch_size("evaluation.batch_size", size, self.mesh)
        return EvalBatches(self._buckets(split, size, self.train_batches.shapes))

    def _buckets(
        self, split: TokenizedSplit, batch_size: int, shapes: Sequence[int] | None
    ) -> Buckets:
        return make_buckets(
            split,
            frame=FrameIds.of(self.tokenizer),
            batch_size=batch_size,
            max_len=self.config.data.max_len,
            shapes=shapes,
            max_buckets=self.config.data.groups,
            share=ProcessShare(*process_share(self.mesh)),
        )


def prepare(config: ConfigDict, folder: pathlib.Path) -> list[str]:
    """Makes a run's corpus and tokenizer in the cache, and checks that `folder` may have the run.

    Whatever is wrong with them is so refused before anything is written to the folder.

    Returns:
      Notices of settings that have changed, as `workdir.check_config` has them.

    Raises:
      UserError: the corpus or the tokenizer cannot be made, or the folder belongs to another run.
    """
    notices = workdir_lib.check_config(folder, config)
    corpus = _open_corpus(config)
    if workdir_lib.has_checkpoint(folder):
        workdir_lib.check_corpus(folder, corpus.name, corpus.fingerprint)
    corpus.prepare()
    if not workdir_lib.has_checkpoint(folder):
        find_decoder(config, None)
        make_tokenizers(config, corpus, find_encoder(config, None))
    return notices


def create_run(config: ConfigDict, folder: pathlib.Path) -> Run:
    """The run that trains in `folder`, whose tokenizer is made at the first start.

    Raises:
      UserError: the folder belongs to a run on another corpus.
    """
    opener = functools.cache(functools.partial(_open_corpus, config))
    corpus = opener()
    workdir_lib.keep_corpus(folder, corpus.name, corpus.fingerprint)
    encoder, vectors = find_encoder(config, folder), find_vectors(config, folder)
    decoder = find_decoder(config, folder)
    if (folder / workdir_lib.TOKENIZER).is_dir():
        tokenizers = load_tokenizers(folder)
    else:
        tokenizers = make_tokenizers(config, corpus, encoder)
        tokenizers.save(folder)
    if encoder is not None:
        keep_encoder(folder, encoder)
    if decoder is not None:
        keep_decoder(folder, decoder)
    if vectors is not None:
        keep_vectors(folder, vectors)
    return _build_run(config, folder, tokenizers, opener, encoder, decoder, vectors)


def open_run(folder: pathlib.Path) -> Run:
    """The run that has been trained in `folder`.

    Its corpus, when it is opened, must be the one that it was trained on.
    """
    config = stored.read_config(folder / workdir_lib.CONFIG)
    tokenizers = load_tokenizers(folder)

    def open_checked() -> Corpus:
        corpus = _open_corpus(config)
        workdir_lib.check_corpus(folder, corpus.name, corpus.fingerprint)
        return corpus

    encoder, vectors = read_encoder(config, folder), find_vectors(config, folder)
    decoder, opener = read_decoder(config, folder), functools.cache(open_checked)
    return _build_run(config, folder, tokenizers, opener, encoder, decoder, vectors)


def on_file(run: Run, file: str, fields: Fields, *, whole: bool) -> Run:
    """The same run with a file of sentences in the place of its corpus.

    Args:
      fields: the file's columns; none: those of the run's corpus, where the file has them.
      whole: every split is the whole file; else they are shares of it, as in training.

    Raises:
      ConfigError: a setting does not go with it.
    """
    config = run.config.copy_and_resolve_references()
    data = config.data
    data.corpus, data.train = "text", file
    data.valid = data.test = file if whole else ""
    data.text_column, data.label_column = fields.text, ",".join(fields.labels)
    validation.validate(config)
    opener = functools.cache(functools.partial(_open_corpus, config, usual=run.fields))
    return dataclasses.replace(run, config=config, open_corpus=opener)


def _build_run(
    config: ConfigDict,
    folder: pathlib.Path,
    tokenizers: RunTokenizers,
    opener: Callable[[], Corpus],
    encoder: PretrainedEncoder | None,
    decoder: Gpt2Size | None,
    vectors: GivenVectors | None,
) -> Run:
    parts = (encoder, decoder, vectors)
    model = _build_model(config, tokenizers, *parts)
    return Run(config, folder, tokenizers, model, data_mesh(), opener, *parts)


def _build_model(
    config: ConfigDict,
    tokenizers: RunTokenizers,
    encoder: PretrainedEncoder | None,
    decoder: Gpt2Size | None,
    vectors: GivenVectors | None,
    dtype: Any = None,
) -> LanguageModel:
    settings = validation.model_settings(config)
    return build_model(
        settings,
        vocab_size=tokenizers.written.size,
        pad_id=tokenizers.written.pad_id,
        encoder_pad_id=tokenizers.read.pad_id if tokenizers.read else None,
        dtype=dtype,
        bert=encoder.size if encoder else None,
        gpt2=decoder,
        given_dim=vectors.dim if vectors else 0,
    )


def _open_corpus(config: ConfigDict, *, usual: Fields = ANY_FIELDS) -> Corpus:
    data = config.data
    spec = CorpusSpec(
        name=data.corpus,
        manual_dir=data.manual_dir,
        cache_dir=str(stored.cache_dir(config)),
        train=data.train,
        valid=data.valid,
        test=data.test,
        valid_share=data.valid_share,
        test_share=data.test_share,
        fields=Fields.of(data.text_column, data.label_column).or_usual(usual),
        on_error=data.on_error,
        sentences=data.sentences,
        held_out=data.held_out,
    )
    return open_corpus(spec)
