"""Tokenizers trained on the corpus: byte-pair encoding or a unigram model, by sentencepiece.

Nothing is normalised, so that a sentence comes back as it was, double spaces, tabs and the names of
special tokens included. Three exceptions: a character that the training text lacked becomes
`[UNK]`, and so does U+2585, which sentencepiece keeps for itself; U+2581, its own mark for a space,
comes back as a space.
"""

import collections
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sentencepiece

from vaetx_jax.data.tokenizers.base import FileTokenizer
from vaetx_jax.errors import ConfigError, UserError

MODEL_FILE = "sentencepiece.model"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")  # ids 0..3
# The corpora spell a rare word so: one token, not the letters of "unk".
RARE_WORD = "<unk>"
# sentencepiece leaves out whole sentences that hold this character, in silence.
_RESERVED = "\u2585"
# sentencepiece leaves longer sentences out of training, in silence; ours are at most
# 100,000 characters, which is 400,000 bytes.
MAX_SENTENCE_BYTES = 1_000_000
_ERRORS_ONLY = 2


class SentencePieceTokenizer(FileTokenizer):
    """A trained sentencepiece model, `bpe` or `unigram`.

    Args:
        kind: `bpe` or `unigram`; only a name here, the model knows what it is.
        model: the serialised model.

    Raises:
        UserError: the bytes are not a model with our special tokens.
    """

    def __init__(self, kind: str, model: bytes) -> None:
        super().__init__(kind, {MODEL_FILE: model})
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
            names = tuple(self._processor.IdToPiece(i) for i in range(len(SPECIAL_TOKENS)))
        except (RuntimeError, IndexError) as error:
            raise UserError(f"not a sentencepiece model: {error}. Train it again.") from error
        if names != SPECIAL_TOKENS:
            raise UserError(
                f"the sentencepiece model begins with {names}, not {SPECIAL_TOKENS}. "
                "Train it with vaetx_jax."
            )
        self.size = self._processor.GetPieceSize()
        self.pad_id, self.unk_id, self.cls_id, self.sep_id = range(len(SPECIAL_TOKENS))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text; special names in it are spelled, never recognised."""
        return self._processor.EncodeAsIds(list(texts))

    def _decode_content(self, ids: list[int]) -> str:
        return self._processor.DecodeIds(ids)


def smallest_vocabulary(characters: set[str]) -> int:
    """The size of a vocabulary of these characters and the special tokens alone."""
    # The 2: RARE_WORD, and the space's mark, which is in every vocabulary.
    return len(SPECIAL_TOKENS) + 2 + len(characters - {" "})


def train_sentencepiece(kind: str, texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Trains a vocabulary of at most `vocab_size` tokens; the same texts give the same model.

    A small corpus gives fewer tokens than asked for (the Penn Treebank about 25,700 by `bpe`):
    read the true number from `size`. Every character of the texts is a token of its own.

    Args:
        kind: `bpe` or `unigram`.
        texts: the training sentences, read once; blank ones are passed over.
        vocab_size: the cap, special tokens and characters included.

    Raises:
        ConfigError: a vocabulary too small for the characters.
        UserError: there is no text at all.
    """
    smallest = smallest_vocabulary({"a"})
    feed = _Feed(texts)
    model = io.BytesIO()
    try:
        _train(kind, feed, max(vocab_size, smallest), model)
    except RuntimeError as error:
        if feed.error is not None:
            raise feed.error from None
        if feed.count == 0:
            raise UserError(
                "no text to train a tokenizer on: every sentence is blank or there is none. "
                "Check the training file."
            ) from None
        too_small = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
        if not too_small:
            raise UserError(f"sentencepiece cannot train on this corpus: {error}") from error
        smallest = int(too_small[1])
    if vocab_size < smallest:
        raise ConfigError(
            f"tokenizer.vocab_size={vocab_size} is too small: the characters of the training "
            f"text and the {len(SPECIAL_TOKENS) + 1} special tokens alone need {smallest}. "
            f"Set tokenizer.vocab_size to at least {smallest}."
        )
    return SentencePieceTokenizer(kind, model.getvalue())


def _train(kind: str, feed: Iterable[str], vocab_size: int, model: io.BytesIO) -> None:
    pad, unk, cls, sep = SPECIAL_TOKENS
    # Merges stay within words, so that `bpe` needs no more than the words' counts: the same
    # tokens, in half the time and a fraction of the memory. `unigram` looks at whole sentences.
    count_words = kind == "bpe"
    words = _count_words(feed) if count_words else {}
    sentences = [] if count_words else [text.replace(_RESERVED, " ") for text in feed]
    overlooked = _overlooked_characters(words or sentences)
    needed: dict[str, Any] = {"required_chars": overlooked} if overlooked else {}
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=_word_lines(words) if count_words else iter(sentences),
        input_format="tsv" if count_words else "text",
        # Written into the model, so only where the corpus needs it.
        **needed,
        model_writer=model,  # a model written to a file would hold its name
        model_type=kind,
        vocab_size=vocab_size,
        hard_vocab_limit=False,  # a cap, not a promise
        character_coverage=1.0,  # else rare characters do not come back
        num_threads=1,  # the unigram vocabulary depends on it
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        max_sentence_length=MAX_SENTENCE_BYTES,
        user_defined_symbols=[RARE_WORD],
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece=pad,
        unk_piece=unk,
        bos_piece=cls,
        eos_piece=sep,
        unk_surface=unk,
        minloglevel=_ERRORS_ONLY,
    )


def _count_words(texts: Iterable[str]) -> dict[str, int]:
    """The words with their counts; tabs, which part the two in the trainer's input, left out."""
    counts: collections.Counter[str] = collections.Counter()
    tabs = 0
    for text in texts:
        tabs += text.count("\t")
        counts.update(text.replace("\t", " ").replace(_RESERVED, " ").split(" "))
    del counts[""]  # between two spaces
    return {**counts, "\t": tabs} if tabs else counts


def _word_lines(counts: Mapping[str, int]) -> Iterator[str]:
    return (f"{word}\t{count}" for word, count in counts.items() if word != "\t")


def _overlooked_characters(texts: Iterable[str]) -> str:
    """The characters of the texts that the trainer does not count, sorted.

    It passes over the names of special tokens in a text, and over tabs, so that their characters
    would be missing from the vocabulary where they occur nowhere else.
    """
    found = {name for text in texts for name in (*SPECIAL_TOKENS, "\t") if name in text}
    return "".join(sorted(set("".join(found))))


class _Feed:
    """The sentences on their way into the C++ trainer, which hides our exceptions from us."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.count = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self._texts:
                if text and not text.isspace():
                    self.count += 1
                    yield text
        except BaseException as error:
            self.error = error
            raise
