"""The tokenizers of a run: the one of the sentences it writes, and a published encoder's own.

A published encoder reads the tokens that it was trained on. With `tokenizer.kind=wordpiece` the
decoder writes the same ones, and there is one tokenizer. With another kind the decoder has a
vocabulary of its own, smaller than a published one and therefore quicker and better on a small
corpus, and `WORKDIR/encoder_tokenizer/` keeps the encoder's beside `WORKDIR/tokenizer/`.
"""

import dataclasses
import pathlib

from absl import logging
from ml_collections import ConfigDict

from vaetx_jax.config import stored
from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.tokenizers.tokenizers import Tokenizer, build_tokenizer, load_tokenizer
from vaetx_jax.data.tokenizers.vocabulary_files import wordpiece_from_file
from vaetx_jax.errors import UserError
from vaetx_jax.models import bert, gpt2
from vaetx_jax.run import workdir as workdir_lib
from vaetx_jax.run.pretrained import PretrainedEncoder
from vaetx_jax.runtime.atomic import remove


@dataclasses.dataclass(frozen=True)
class RunTokenizers:
    """The tokenizers of a run.

    Attributes:
      written: of the decoder's sentences, and of all that is counted in tokens.
      read: the encoder's own; None: it reads the tokens that the decoder writes.
    """

    written: Tokenizer
    read: Tokenizer | None = None

    def save(self, folder: pathlib.Path) -> None:
        """Writes them into the folder of a run or of an exported model."""
        self.written.save(folder / workdir_lib.TOKENIZER)
        if self.read is not None:
            self.read.save(folder / workdir_lib.ENCODER_TOKENIZER)


def make_tokenizers(
    config: ConfigDict, corpus: Corpus, encoder: PretrainedEncoder | None
) -> RunTokenizers:
    """The tokenizers of a config: the encoder's, from the cache, or trained on the training split.

    Raises:
      UserError: a vocabulary cannot be read or does not fit.
    """
    if encoder is None:
        return RunTokenizers(_own_tokenizer(config, corpus))
    published = _encoder_tokenizer(config, encoder)
    if config.tokenizer.kind == published.kind:
        return RunTokenizers(published)
    return RunTokenizers(_own_tokenizer(config, corpus), published)


def load_tokenizers(folder: pathlib.Path) -> RunTokenizers:
    """The tokenizers that a run's folder or an exported model keeps.

    Raises:
      UserError: one is missing or damaged.
    """
    read = folder / workdir_lib.ENCODER_TOKENIZER
    return RunTokenizers(
        load_tokenizer(folder / workdir_lib.TOKENIZER),
        load_tokenizer(read) if read.is_dir() else None,
    )


def _own_tokenizer(config: ConfigDict, corpus: Corpus) -> Tokenizer:
    kind, size = config.tokenizer.kind, config.tokenizer.vocab_size
    if kind == "gpt2" and config.model.weights:
        place = gpt2.find_weights(config.model.weights)
        if all((place / name).is_file() for name in gpt2.VOCABULARY):
            return build_tokenizer(kind, size, lambda: (), place)
    if kind in ("wordpiece", "gpt2"):
        return build_tokenizer(kind, size, lambda: (), _vocab_dir(config))
    # The 2: before, tabs and the names of special tokens were not in the vocabulary.
    name = f"{corpus.fingerprint[:24]}-{kind}-{size}-2"
    path = stored.cache_dir(config) / "tokenizers" / name
    if path.is_dir():
        try:
            return load_tokenizer(path)
        except UserError as error:
            logging.warning("%s: training it again", error)
            remove(path)
    tokenizer = build_tokenizer(kind, size, corpus.split("train").texts, "")
    tokenizer.save(path, replace=False)  # another process may be faster, and a third may read
    return load_tokenizer(path)


def _encoder_tokenizer(config: ConfigDict, encoder: PretrainedEncoder) -> Tokenizer:
    place = bert.find_weights(encoder.name)
    tokenizer = wordpiece_from_file(place / bert.VOCABULARY, cased=bert.is_cased(place))
    max_len = config.data.max_len
    bert.check_fit(place, encoder.size, vocab_size=tokenizer.size, max_len=max_len)
    return tokenizer


def _vocab_dir(config: ConfigDict) -> str:
    return config.tokenizer.vocab_dir or config.data.manual_dir
