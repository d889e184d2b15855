"""The tokenizers: one small protocol, four kinds, made from the corpus or from vocabulary files.

    bpe, unigram   trained by sentencepiece on the training split
    wordpiece      BERT's vocabulary file
    gpt2           GPT-2's two vocabulary files

A run saves its tokenizer into its folder and later loads it from there.
"""

import hashlib
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Protocol

from vaetx_jax.data.tokenizers.base import read_folder
from vaetx_jax.data.tokenizers.sentencepiece import (
    MODEL_FILE,
    SentencePieceTokenizer,
    smallest_vocabulary,
    train_sentencepiece,
)
from vaetx_jax.data.tokenizers.vocabulary_files import (
    CASED,
    CASED_FILE,
    GPT2_FILES,
    WORDPIECE_FILE,
    GPT2Tokenizer,
    WordPieceTokenizer,
    gpt2_from_files,
    wordpiece_from_file,
)
from vaetx_jax.errors import UserError

# More sentences than this change a vocabulary little and cost memory and time.
SAMPLE_LIMIT = 500_000

# Tokens of a vocabulary that is chosen from the corpus: WORDS_FACTOR times the square root of its
# words, as vocabularies grow (Heaps, 1978), so that each token is seen some thirty times or more.
WORDS_FACTOR, LEAST_VOCABULARY, MOST_VOCABULARY = 11.0, 300, 30_500

BERT_URL = "https://huggingface.co/google-bert/bert-base-uncased/resolve/main/vocab.txt"
GPT2_URL = "https://huggingface.co/openai-community/gpt2"


class Tokenizer(Protocol):
    """Text to ids and back.

    Attributes:
        kind: one of `base.KINDS`.
        size: number of ids V; every id is in [0, V).
        pad_id, cls_id, sep_id: ids that no text ever yields, however it is spelled.
        unk_id: the id of text that the vocabulary lacks; -1 for `gpt2`, which lacks nothing.
        fingerprint: hex sha256 of all that defines the ids.
    """

    kind: str
    size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    fingerprint: str

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text's tokens, without special ids."""

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids` up to the first `sep_id`, without `pad_id` and `cls_id`."""

    def save(self, folder: str | os.PathLike[str], *, replace: bool = True) -> None:
        """Writes the tokenizer to `folder`, whole or not at all; without `replace` only if new."""


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """Loads the tokenizer that `save` wrote to `folder`, its files verified by sha256.

    Raises:
        UserError: the folder or a file is missing or damaged.
    """
    folder = pathlib.Path(folder)
    kind, files = read_folder(folder)
    wanted = {
        "bpe": (MODEL_FILE,),
        "unigram": (MODEL_FILE,),
        "wordpiece": (WORDPIECE_FILE,),
        "gpt2": GPT2_FILES,
    }
    cased = kind == "wordpiece" and files.pop(CASED_FILE, None) == CASED
    if sorted(wanted.get(kind, ())) != sorted(files):
        raise UserError(
            f"the tokenizer in {folder} is of kind {kind!r} with the files {sorted(files)}; "
            f"known are {wanted}. Use the version of vaetx_jax that wrote it."
        )
    if kind == "wordpiece":
        return WordPieceTokenizer(files[WORDPIECE_FILE], cased=cased)
    if kind == "gpt2":
        return GPT2Tokenizer(*(files[name] for name in GPT2_FILES))
    return SentencePieceTokenizer(kind, files[MODEL_FILE])


def build_tokenizer(
    kind: str,
    vocab_size: int,
    texts: Callable[[], Iterable[str]],
    vocab_dir: str | os.PathLike[str],
) -> Tokenizer:
    """Trains a tokenizer, or reads it from vocabulary files.

    Args:
        kind: one of `base.KINDS`.
        vocab_size: cap of `bpe` and `unigram`, 0: `vocabulary_for` the texts; the vocabulary files
            of the others fix theirs.
        texts: returns the training sentences, again at each call; `bpe` and `unigram` train on at
            most `SAMPLE_LIMIT` of them. Without a length they are read twice, to count them.
        vocab_dir: folder of `bert/vocab.txt` or `gpt2/encoder.json` and `gpt2/vocab.bpe`
            (`vocab.json`, `merges.txt` will do; so will the files without the subfolder).

    Raises:
        ConfigError: too small a vocabulary.
        UserError: a vocabulary file is missing or damaged, or there is no text.
    """
    if kind == "wordpiece":
        (vocabulary,) = _find(vocab_dir, "bert", [(WORDPIECE_FILE,)], BERT_URL)
        return wordpiece_from_file(vocabulary)
    if kind == "gpt2":
        pairs = [GPT2_FILES, ("vocab.json", "merges.txt")]
        return gpt2_from_files(*_find(vocab_dir, "gpt2", pairs, GPT2_URL))
    return train_sentencepiece(kind, sample_texts(texts), vocab_size or vocabulary_for(texts()))


def vocabulary_for(texts: Iterable[str]) -> int:
    """The size of vocabulary that suits a corpus: 4,000 for 130,000 words, 10,400 for 890,000.

    Fewer tokens than the usual 30,000 make a better model of a small corpus, and quicker steps.
    Where it has no room for every character, as in Chinese, they come on top of it.
    """
    words, characters = 0, set[str]()
    for text in texts:
        words += len(text.split())
        characters.update(text)
    size = round(WORDS_FACTOR * math.sqrt(words) / 100) * 100
    size = min(max(size, LEAST_VOCABULARY), MOST_VOCABULARY)
    needed = smallest_vocabulary(characters)
    return size if size >= needed else needed + size


def sample_texts(texts: Callable[[], Iterable[str]], limit: int = SAMPLE_LIMIT) -> Iterator[str]:
    """Yields at most `limit` of the texts in their order, chosen by a hash of their row number.

    The choice depends on the number of texts alone, so it is the same everywhere; it needs no
    memory.
    """
    every = texts()
    total = len(every) if isinstance(every, Sized) else sum(1 for _ in every)
    if total <= limit:
        yield from texts()
        return
    threshold = limit * 2**64 // total
    chosen = 0
    for row, text in enumerate(texts()):
        if _hash(row) < threshold:
            yield text
            chosen += 1
            if chosen == limit:
                return


def _hash(row: int) -> int:
    digest = hashlib.blake2b(row.to_bytes(8, "little"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _find(
    vocab_dir: str | os.PathLike[str],
    subfolder: str,
    choices: Sequence[Sequence[str]],
    url: str,
) -> list[pathlib.Path]:
    """Finds the first complete set of files in `vocab_dir`'s subfolder or in `vocab_dir` itself."""
    names = " and ".join(choices[0])
    if not os.fspath(vocab_dir):
        raise UserError(
            f"no folder of vocabulary files given: put {names} (from {url}) into a folder "
            f"{subfolder}/ and set tokenizer.vocab_dir to the folder that holds it."
        )
    folder = pathlib.Path(vocab_dir)
    for parent in (folder / subfolder, folder):
        for choice in choices:
            paths = [parent / name for name in choice]
            if all(path.is_file() for path in paths):
                return paths
    raise UserError(
        f"no vocabulary in {folder}: put {names} (from {url}) into {folder / subfolder}."
    )
