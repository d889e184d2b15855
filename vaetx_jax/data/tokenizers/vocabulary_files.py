"""Tokenizers read from published vocabulary files: BERT's WordPiece and GPT-2's byte-level BPE."""

import json
import os
import pathlib
from collections.abc import Iterable, Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from vaetx_jax.data.tokenizers.base import FileTokenizer
from vaetx_jax.errors import UserError

WORDPIECE_FILE = "vocab.txt"
# Beside a vocabulary whose tokens are cased; published files say so in the same way.
CASED_FILE, CASED = "tokenizer_config.json", b'{"do_lower_case": false}\n'
GPT2_FILES = ("encoder.json", "vocab.bpe")
GPT2_END = "<|endoftext|>"
WORDPIECE_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# Longer words are [UNK], as in bert-base-uncased.
_LONGEST_WORD = 100


class WordPieceTokenizer(FileTokenizer):
    """BERT's WordPiece: split at punctuation; but for a cased one, lower-cased without accents.

    It loses the spaces around punctuation, and, uncased, case and accents. A corpus's `<unk>` is
    spelled in four tokens (`<` `un` `##k` `>`), as BERT's own tokenizer does, and read back as
    `<unk>`.

    Args:
        vocabulary: the bytes of `vocab.txt`, one token per line; the line number is the id.
        cased: keep case and accents.
    """

    def __init__(self, vocabulary: bytes, *, cased: bool = False) -> None:
        files = {WORDPIECE_FILE: vocabulary}
        super().__init__("wordpiece", files | ({CASED_FILE: CASED} if cased else {}))
        ids = {token: i for i, token in enumerate(_lines(vocabulary))}
        self.size = len(ids)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id = (
            ids[name] for name in WORDPIECE_SPECIALS
        )
        # No token is declared special: "[SEP]" in a text is then split at its brackets.
        self._tokenizer = tokenizers.Tokenizer(
            models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD)
        )
        self._tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=True,
            strip_accents=not cased,
            lowercase=not cased,
        )
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        # Without clean-up: the corpora are tokenised, "do n't" is how they spell it.
        self._tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text; special names in it are split at their brackets."""
        return _encode(self._tokenizer, texts)

    def _decode_content(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text.replace("< unk >", "<unk>")


class GPT2Tokenizer(FileTokenizer):
    """GPT-2's byte-level BPE and two ids after its own: `[PAD]`, then `[CLS]`.

    `<|endoftext|>` serves as [SEP]. Every text can be spelled in bytes and comes back exactly;
    so there is no unknown id: `unk_id` is -1.

    Args:
        encoder: the bytes of `encoder.json` (or `vocab.json`): token -> id.
        merges: the bytes of `vocab.bpe` (or `merges.txt`): one merge per line, best first.
    """

    def __init__(self, encoder: bytes, merges: bytes) -> None:
        super().__init__("gpt2", dict(zip(GPT2_FILES, (encoder, merges), strict=True)))
        ids: dict[str, int] = json.loads(encoder)
        self.pad_id = len(ids)
        self.cls_id = len(ids) + 1
        self.size = len(ids) + 2
        self.sep_id = ids[GPT2_END]
        self.unk_id = -1
        # `<|endoftext|>` is not declared special: in a text it is spelled in several tokens.
        self._tokenizer = tokenizers.Tokenizer(models.BPE(ids, _merges(merges)))
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._tokenizer.decoder = decoders.ByteLevel()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text; `<|endoftext|>` in it is spelled out."""
        return _encode(self._tokenizer, texts)

    def _decode_content(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def wordpiece_from_file(path: str | os.PathLike[str], *, cased: bool = False) -> WordPieceTokenizer:
    """BERT's tokenizer from its `vocab.txt` (30,522 tokens for bert-base-uncased).

    Args:
        cased: its tokens keep case and accents.

    Raises:
        UserError: the file is missing, not UTF-8, holds a token twice or lacks a special one.
    """
    path = pathlib.Path(path)
    content = _read(path)
    seen: dict[str, int] = {}
    for number, token in enumerate(_lines(content), start=1):
        if token in seen:
            raise UserError(
                f"{path}, line {number}: the token {token!r} is already on line {seen[token]}. "
                "A vocabulary has each token once: download the file again."
            )
        seen[token] = number
    _require(path, seen, WORDPIECE_SPECIALS)
    return WordPieceTokenizer(content, cased=cased)


def gpt2_from_files(
    encoder_json: str | os.PathLike[str], merges: str | os.PathLike[str]
) -> GPT2Tokenizer:
    """GPT-2's tokenizer from its two files (50,259 ids with [PAD] and [CLS]).

    Raises:
        UserError: a file is missing or damaged, or the two do not belong together.
    """
    encoder_path, merges_path = pathlib.Path(encoder_json), pathlib.Path(merges)
    encoder, merge_lines = _read(encoder_path), _read(merges_path)
    try:
        ids = json.loads(encoder)
    except ValueError as error:
        raise UserError(
            f"{encoder_path} is not JSON ({error}). Download the file again."
        ) from error
    if not isinstance(ids, dict) or sorted(map(str, ids.values())) != sorted(
        map(str, range(len(ids)))
    ):
        raise UserError(
            f"{encoder_path} must map each token to its own id, 0 to the number of tokens - 1. "
            "Is it GPT-2's encoder.json (vocab.json)?"
        )
    _require(encoder_path, ids, (GPT2_END,))
    _check_merges(merges_path, merge_lines, ids)
    return GPT2Tokenizer(encoder, merge_lines)


def _check_merges(path: pathlib.Path, content: bytes, ids: dict[str, int]) -> None:
    for number, line in enumerate(_lines(content), start=1):
        if number == 1 and line.startswith("#version"):
            continue
        pair = line.split(" ")
        if len(pair) != 2:
            raise UserError(
                f"{path}, line {number}: expected two tokens and one space, found {line[:50]!r}. "
                "Is it GPT-2's vocab.bpe (merges.txt)?"
            )
        for token in (*pair, "".join(pair)):
            if token not in ids:
                raise UserError(
                    f"{path}, line {number}: the token {token!r} is not in the vocabulary: "
                    "the two files do not belong together. Download both again."
                )


def _merges(content: bytes) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(_lines(content)):
        if number or not line.startswith("#version"):
            left, right = line.split(" ")
            pairs.append((left, right))
    return pairs


def _encode(tokenizer: tokenizers.Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    # The fast variant leaves out character offsets, which nobody reads here.
    return [found.ids for found in tokenizer.encode_batch_fast(list(texts))]


def _lines(content: bytes) -> list[str]:
    # Not splitlines(): tokens may hold U+2028 and its like.
    lines = content.decode("utf-8").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip("\r") for line in lines]


def _read(path: pathlib.Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the vocabulary file {path}: {error.strerror}. Check the path."
        ) from error
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte {error.start}). Download the file again."
        ) from error
    if not content.strip():
        raise UserError(f"the vocabulary file {path} is empty. Download the file again.")
    return content


def _require(path: pathlib.Path, vocabulary: Iterable[str], names: Sequence[str]) -> None:
    missing = sorted(set(names).difference(vocabulary))
    if missing:
        raise UserError(
            f"the vocabulary file {path} lacks {', '.join(missing)}: is it another model's "
            "vocabulary? Give the right file."
        )
