"""The cache of token ids: what is kept, what is counted, and that a bad folder is never used."""

import dataclasses
import errno
import itertools
import json
import os
import re
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetx_jax.data import tokenized
from vaetx_jax.data.corpora.corpus import CorpusSpec, open_corpus
from vaetx_jax.data.tokenizers.kept_words import words_kept
from vaetx_jax.data.tokenizers.sentencepiece import train_sentencepiece
from vaetx_jax.errors import UserError

PAD, CLS, SEP = 0, 2, 3
FRAME = tokenized.FrameIds(PAD, CLS, SEP)


@dataclasses.dataclass(frozen=True)
class Row:
    text: str
    labels: dict = dataclasses.field(default_factory=dict)
    log_prob: float | None = None


class FakeCorpus:
    has_log_prob = False

    def __init__(self, rows, fingerprint="c0", label_fields=None):
        self.spec = types.SimpleNamespace(name="fake")
        self.rows = [Row(row) if isinstance(row, str) else row for row in rows]
        self.fingerprint = fingerprint
        self.label_fields = label_fields or {}

    def split(self, name):
        return self.rows


class FakeTokenizer:
    """Every word becomes pieces of up to three letters; ids are made of the letters."""

    kind = "fake"
    pad_id, unk_id, cls_id, sep_id = PAD, 1, CLS, SEP

    def __init__(self, fingerprint="t0", size=1000):
        self.fingerprint = fingerprint
        self.size = size
        self.calls = []

    def encode(self, texts):
        self.calls.append(list(texts))
        return [self.pieces(text) for text in texts]

    def pieces(self, text):
        parts = (word[i : i + 3] for word in text.split() for i in range(0, len(word), 3))
        return [
            4 + sum(ord(c) * 7**k for k, c in enumerate(part)) % (self.size - 4) for part in parts
        ]


class MergingTokenizer(FakeTokenizer):
    """Looks across words: one that ends in "a" is another piece before one with "b"."""

    def pieces(self, text):
        words = text.split()
        return [
            99 if word[-1:] + after[:1] == "ab" else 4 + len(word)
            for word, after in itertools.pairwise([*words, ""])
        ]


class DroppingTokenizer(FakeTokenizer):
    """Words of "#" have no piece at all, as control characters have none under BERT's rules."""

    def pieces(self, text):
        return super().pieces(text.replace("#", ""))


def encode(tmp_path, rows, tokenizer=None, max_len=8, **settings_):
    corpus = rows if isinstance(rows, FakeCorpus) else FakeCorpus(rows, **settings_)
    return tokenized.tokenize_split(
        corpus, "train", tokenizer or FakeTokenizer(), max_len, tmp_path
    )


def sentence(split, i):
    return split.tokens[split.offsets[i] : split.offsets[i + 1]].tolist()


def files_under(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def only_folder(cache):
    (meta,) = cache.glob("ids/*/train/meta.json")
    return meta.parent


TEXTS = ["one two", "", "a", "sentence three", "  \t ", "four of them here"]


# ---------------------------------------------------------------------------------- contents


def test_every_sentence_keeps_its_pieces(tmp_path):
    split = encode(tmp_path, TEXTS, max_len=64)
    assert [sentence(split, i) for i in range(len(split))] == FakeTokenizer().encode(TEXTS)


def test_chunks_do_not_show(tmp_path, monkeypatch):
    whole = encode(tmp_path / "whole", TEXTS)
    monkeypatch.setattr(tokenized, "CHUNK", 2)
    tokenizer = FakeTokenizer()
    parts = encode(tmp_path / "parts", TEXTS, tokenizer)
    assert max(map(len, tokenizer.calls)) <= 2
    for name in ["tokens", "offsets", "words", "cut"]:
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_long_sentences_are_cut_and_counted(tmp_path):
    split = encode(tmp_path, ["a b c d e f", "a b c d e f g", "abcabc abcabc abcabc x"], max_len=8)
    assert split.cut.tolist() == [False, True, True]
    assert split.lengths.tolist() == [8, 8, 8]
    assert split.truncated == 2


def test_lengths_count_the_frame(tmp_path):
    assert encode(tmp_path, TEXTS, max_len=64).lengths.tolist() == [4, 2, 3, 7, 2, 9]


def test_words_of_whole_sentences_are_whitespace_words(tmp_path):
    texts = ["a\u00a0b\u2003c", "", " \n ", " x  y "]
    assert encode(tmp_path, texts).words.tolist() == [3, 0, 0, 2]


def test_a_word_cut_in_its_middle_is_not_kept(tmp_path):
    split = encode(tmp_path, ["abc abcabc abcabcabc", "abc abcabc abc abc"], max_len=6)
    assert split.words.tolist() == [2, 3]


def test_labels_and_log_probabilities_are_carried(tmp_path):
    rows = [Row("a", {"topic": 2, "mood": 1}, -1.25), Row("b", {"topic": 0, "mood": 0}, -np.inf)]
    fields = {"topic": ("x", "y", "z"), "mood": ("bad", "good")}
    corpus = FakeCorpus(rows, label_fields=fields)
    corpus.has_log_prob = True
    encode(tmp_path, corpus)
    split = encode(tmp_path, corpus)
    assert split.label_fields == fields
    assert list(split.labels) == ["topic", "mood"]
    assert [split.labels[field].tolist() for field in fields] == [[2, 0], [1, 0]]
    assert split.log_prob.tolist() == [-1.25, -np.inf]


def test_a_row_without_its_label_gets_minus_one(tmp_path):
    split = encode(tmp_path, [Row("a", {"l": 1}), Row("b")], label_fields={"l": ("x", "y")})
    assert split.labels["l"].tolist() == [1, -1]


def test_a_real_corpus_and_tokenizer_come_back_as_they_were(tmp_path):
    spec = CorpusSpec(name="grammar", cache_dir=tmp_path, sentences=200, held_out=20)
    corpus = open_corpus(spec)
    rows = list(corpus.split("train"))
    tokenizer = train_sentencepiece("bpe", [row.text for row in rows], 400)
    split = tokenized.tokenize_split(corpus, "train", tokenizer, 64, tmp_path)
    assert [tokenizer.decode(sentence(split, i)) for i in range(200)] == [r.text for r in rows]
    assert split.words.tolist() == [len(row.text.split()) for row in rows]
    assert split.log_prob.tolist() == [row.log_prob for row in rows]
    for field in corpus.label_fields:
        assert split.labels[field].tolist() == [row.labels[field] for row in rows]


def test_without_log_probabilities_there_is_no_array(tmp_path):
    assert encode(tmp_path, TEXTS).log_prob is None


@pytest.mark.parametrize(("size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.int32)])
def test_ids_take_as_few_bytes_as_the_vocabulary_allows(tmp_path, size, dtype):
    tokenizer = FakeTokenizer(size=size)
    tokenizer.pieces = lambda text: [size - 1]
    split = encode(tmp_path, ["a"], tokenizer)
    assert split.tokens.dtype == dtype
    assert split.tokens.tolist() == [size - 1]


def test_the_arrays_are_mapped_not_read(tmp_path):
    split = encode(tmp_path, TEXTS)
    for array in [split.tokens, split.offsets, split.words, split.cut]:
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable


def test_meta_tells_the_counts(tmp_path):
    encode(tmp_path, ["a b", "a b c d e f g h"], max_len=8)
    meta = json.loads((only_folder(tmp_path) / "meta.json").read_text())
    assert (meta["sentences"], meta["pieces"], meta["words"]) == (2, 8, 8)
    assert meta["cut_sentences"] == 1
    assert meta["version"] == tokenized.FORMAT_VERSION


def test_a_split_of_empty_texts_is_legal(tmp_path):
    split = encode(tmp_path, ["", " "])
    ids_2x3 = np.empty((2, 3), np.int32)
    split.fill(np.arange(2), ids_2x3, FRAME)
    assert ids_2x3.tolist() == [[CLS, SEP, PAD]] * 2


# -------------------------------------------------------------------------------- words kept


def brute_force(text, kept, tokenizer):
    ends = [0, *(word.end() for word in re.finditer(r"\S+", text))]
    prefixes = [tokenizer.pieces(text[:end]) for end in ends]
    return max(k for k, ids in enumerate(prefixes) if ids == kept[: len(ids)])


@settings(deadline=None, max_examples=200)
@given(
    texts=st.lists(st.text("ab# \t", max_size=40), max_size=4),
    limit=st.integers(1, 12),
    kind=st.sampled_from([FakeTokenizer, MergingTokenizer, DroppingTokenizer]),
)
def test_words_kept_equals_brute_force(texts, limit, kind):
    tokenizer = kind()
    kept = [tokenizer.pieces(text)[:limit] for text in texts]
    expected = [brute_force(*pair, tokenizer) for pair in zip(texts, kept, strict=True)]
    assert words_kept(texts, kept, tokenizer) == expected


def test_a_word_whose_piece_depends_on_the_next_is_not_counted_without_it():
    tokenizer = MergingTokenizer()
    kept = tokenizer.pieces("b a b")[:2]
    assert words_kept(["b a b"], [kept], tokenizer) == [1]


def test_a_very_long_line_is_not_encoded_again_and_again(tmp_path):
    tokenizer = FakeTokenizer()
    text = "word " * 200_000
    assert encode(tmp_path, [text], tokenizer, max_len=64).words.tolist() == [31]
    again = sum(len(prefix) for call in tokenizer.calls[1:] for prefix in call)
    assert again < 10_000


# -------------------------------------------------------------------------------------- fill


def plain_fill(split, rows, width):
    out = np.full((len(rows), width), PAD, np.int32)
    for line, row in zip(out, rows, strict=True):
        ids = [CLS, *(sentence(split, row) if row >= 0 else []), SEP]
        line[: len(ids)] = ids
    return out


@settings(deadline=None, max_examples=100)
@given(data=st.data(), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_fill_equals_a_plain_loop(data, sizes):
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    split = tokenized.TokenizedSplit(
        tokens=np.arange(4, 4 + offsets[-1], dtype=np.uint16),
        offsets=offsets,
        words=np.zeros(len(sizes), np.int32),
        cut=np.zeros(len(sizes), np.bool_),
    )
    rows = np.array(data.draw(st.lists(st.integers(-1, len(sizes) - 1), max_size=6)), np.int64)
    ids_BxS = np.full((len(rows), 11), -7, np.int32)
    split.fill(rows, ids_BxS, FRAME)
    np.testing.assert_array_equal(ids_BxS, plain_fill(split, rows, 11))


def test_a_row_that_does_not_fit_is_an_error(tmp_path):
    split = encode(tmp_path, ["a b c"])
    with pytest.raises(ValueError, match="a row of 5 ids does not fit in 4"):
        split.fill(np.array([0]), np.empty((1, 4), np.int32), FRAME)


# ------------------------------------------------------------------------------------- cache


def test_the_second_call_asks_the_tokenizer_nothing(tmp_path):
    first = encode(tmp_path, TEXTS)
    tokenizer = FakeTokenizer()
    second = encode(tmp_path, TEXTS, tokenizer)
    assert tokenizer.calls == []
    np.testing.assert_array_equal(first.tokens, second.tokens)


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer": FakeTokenizer("t1")},
        {"rows": FakeCorpus(TEXTS, "c1")},
        {"max_len": 9},
    ],
)
def test_another_tokenizer_corpus_or_length_has_its_own_folder(tmp_path, change):
    encode(tmp_path, TEXTS)
    encode(tmp_path, **{"rows": TEXTS, **change})
    assert len(list((tmp_path / "ids").iterdir())) == 2


@pytest.mark.parametrize("name", ["tokens.npy", "offsets.npy", "words.npy", "cut.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "empty"])
def test_a_damaged_cache_is_encoded_again_with_a_notice(tmp_path, caplog, name, damage):
    good = encode(tmp_path, TEXTS)
    path = only_folder(tmp_path) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-1] if damage == "truncated" else b"")
    again = encode(tmp_path, TEXTS)
    assert "is damaged" in caplog.text
    assert path.read_bytes() == content
    np.testing.assert_array_equal(again.tokens, good.tokens)
    assert not list(tmp_path.glob("ids/*/.*"))


def test_a_header_that_is_no_header_is_damage(tmp_path, caplog):
    encode(tmp_path, TEXTS)
    path = only_folder(tmp_path) / "words.npy"
    path.write_bytes(b"x" * path.stat().st_size)
    assert encode(tmp_path, TEXTS).words.tolist()[0] == 2
    assert "is damaged" in caplog.text


def test_a_file_in_the_folders_place_is_replaced(tmp_path):
    encode(tmp_path, TEXTS)
    folder = only_folder(tmp_path)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("not a folder")
    assert len(encode(tmp_path, TEXTS)) == len(TEXTS)
    assert folder.is_dir()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_leaves_no_file(tmp_path, monkeypatch, interruption):
    monkeypatch.setattr(tokenized, "CHUNK", 2)

    class Interrupted(FakeTokenizer):
        def encode(self, texts):
            if self.calls:
                raise interruption
            return super().encode(texts)

    with pytest.raises(interruption):
        encode(tmp_path, TEXTS, Interrupted())
    assert files_under(tmp_path) == []


def test_what_a_killed_process_left_is_removed_after_a_while(tmp_path):
    encode(tmp_path, TEXTS)
    old = only_folder(tmp_path).parent / ".valid-123-abcd"
    fresh = only_folder(tmp_path).parent / ".test-124-abcd"
    for folder in [old, fresh]:
        folder.mkdir()
        (folder / "tokens.npy").write_bytes(b"half")
    for path in [old / "tokens.npy", old]:
        os.utime(path, (0, 0))
    tokenized.tokenize_split(FakeCorpus(TEXTS), "valid", FakeTokenizer(), 8, tmp_path)
    assert not old.exists()
    assert fresh.exists()


def test_the_slower_of_two_processes_takes_the_files_of_the_faster(tmp_path):
    class Overtaken(FakeTokenizer):
        def encode(self, texts):
            if not self.calls:
                encode(tmp_path, TEXTS)
                self.winner = (only_folder(tmp_path) / "tokens.npy").stat().st_ino
            return super().encode(texts)

    tokenizer = Overtaken()
    split = encode(tmp_path, TEXTS, tokenizer)
    assert tokenizer.winner == (only_folder(tmp_path) / "tokens.npy").stat().st_ino
    assert split.tokens.base.filename == only_folder(tmp_path) / "tokens.npy"
    assert len(list(only_folder(tmp_path).parent.iterdir())) == 1


def test_a_full_disk_is_told_plainly(tmp_path, monkeypatch):
    def full(self, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tokenized.ArrayFile, "append", full)
    with pytest.raises(UserError, match=r"No space left.*data\.cache_dir"):
        encode(tmp_path, TEXTS)
    assert files_under(tmp_path) == []


def test_a_cache_folder_that_is_a_file_is_told_plainly(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match=r"cannot keep.*data\.cache_dir"):
        encode(tmp_path / "cache", TEXTS)


def test_a_fault_of_the_corpus_is_not_taken_for_one_of_the_disk(tmp_path):
    class Broken(FakeCorpus):
        def split(self, name):
            raise OSError("the corpus is gone")

    with pytest.raises(OSError, match="the corpus is gone"):
        encode(tmp_path, Broken([]))
