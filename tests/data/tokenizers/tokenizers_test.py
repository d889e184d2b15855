"""The four tokenizers: what comes back, which ids a text can never give, saving, bad files."""

import hashlib
import io
import json
import pathlib

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.tiny_gpt2 import MERGES, write_vocabulary
from vaetx_jax.data.tokenizers.base import KINDS
from vaetx_jax.data.tokenizers.sentencepiece import train_sentencepiece
from vaetx_jax.data.tokenizers.tokenizers import (
    Tokenizer,
    build_tokenizer,
    load_tokenizer,
    sample_texts,
    vocabulary_for,
)
from vaetx_jax.data.tokenizers.vocabulary_files import gpt2_from_files, wordpiece_from_file
from vaetx_jax.errors import ConfigError, UserError

SENTENCES = [
    "the cat sat on the mat .",
    "a <unk> dog ran  after  the cat !",
    "THE [CLS] letters of [PAD] and [SEP] and [UNK]",
    "C L S P A D E U N K [ ] x",
    "it cost $ N, café or not",
] * 3
SPECIAL_NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<unk>", "<s>", "</s>")


def write_wordpiece(folder: pathlib.Path, extra: str = "") -> pathlib.Path:
    letters = "abcdefghijklmnopqrstuvwxyz.,!$[]<>|"
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "un"]
    pieces += [*letters, *(f"##{c}" for c in letters[:26])]
    path = folder / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n" + extra, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """One small tokenizer of each kind."""
    folder = tmp_path_factory.mktemp("vocabularies")
    return {
        "bpe": train_sentencepiece("bpe", SENTENCES, 100),
        "unigram": train_sentencepiece("unigram", SENTENCES, 100),
        "wordpiece": wordpiece_from_file(write_wordpiece(folder)),
        "gpt2": gpt2_from_files(*write_vocabulary(folder)),
    }


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest, made) -> Tokenizer:
    return made[request.param]


def specials(tokenizer: Tokenizer) -> set[int]:
    return {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id}


def test_sentencepiece_special_ids_come_first(made):
    for kind in ("bpe", "unigram"):
        t = made[kind]
        assert (t.pad_id, t.unk_id, t.cls_id, t.sep_id) == (0, 1, 2, 3)
        assert t.encode(["<unk>"])[0][-1] == 4


def test_wordpiece_ids_are_line_numbers(made):
    t = made["wordpiece"]
    assert (t.pad_id, t.unk_id, t.cls_id, t.sep_id) == (0, 2, 3, 4)
    assert t.encode(["THE cat"]) == [[6, 7]]


def test_a_cased_wordpiece_keeps_case_and_accents_when_it_is_loaded_again(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nThe\ncafé\n", encoding="utf-8")
    cased = wordpiece_from_file(path, cased=True)
    cased.save(tmp_path / "saved")
    for t in (cased, load_tokenizer(tmp_path / "saved")):
        assert t.encode(["The the café"]) == [[5, 4, 6]]
    uncased = wordpiece_from_file(path)
    assert uncased.encode(["The the café"]) == [[4, 4, 1]]
    assert uncased.fingerprint != cased.fingerprint


def test_gpt2_adds_two_ids_after_its_own(made):
    t = made["gpt2"]
    assert t.size == 256 + len(MERGES) + 1 + 2
    assert (t.pad_id, t.cls_id, t.sep_id, t.unk_id) == (t.size - 2, t.size - 1, t.size - 3, -1)


def test_every_id_is_below_size(tokenizer):
    for ids in tokenizer.encode(SENTENCES):
        assert ids
        assert all(0 <= i < tokenizer.size for i in ids)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "gpt2"])
@pytest.mark.parametrize("text", [*SENTENCES[:3], "the  cat", "cat on the dog", "  the cat ", ""])
def test_a_sentence_comes_back_as_it_was(made, kind, text):
    (ids,) = made[kind].encode([text])
    assert made[kind].decode(ids) == text


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_gpt2_gives_back_any_text(made, text):
    t = made["gpt2"]
    assert t.decode(t.encode([text])[0]) == text


@settings(max_examples=100, deadline=None)
@given(text=st.text("thecatsodg .!"))
def test_sentencepiece_gives_back_any_text_of_known_characters(made, text):
    for kind in ("bpe", "unigram"):
        assert made[kind].decode(made[kind].encode([text])[0]) == text


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from([*SPECIAL_NAMES, "<|endoftext|>"]) | st.text(" abT[]<|>ü☃\n\t", max_size=4)
    )
)
def test_special_names_in_a_text_never_give_special_ids(made, parts):
    for tokenizer in made.values():
        (ids,) = tokenizer.encode(["".join(parts)])
        assert specials(tokenizer).isdisjoint(ids)


def test_spelling_unk_in_brackets_is_not_the_unknown_id(tokenizer):
    assert tokenizer.unk_id not in tokenizer.encode(["U N K [ ] [UNK]"])[0]


HOSTILE = ["a\tb\t", "use [SEP] and [PAD]", "x[UNK] [CLS]y", "two  spaces", "q<unk>z"]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_what_is_trained_on_comes_back_whatever_it_spells(kind):
    made = train_sentencepiece(kind, HOSTILE * 3, 200)
    ids = made.encode(HOSTILE)
    assert [made.decode(one) for one in ids] == HOSTILE
    special = {made.pad_id, made.unk_id, made.cls_id, made.sep_id}
    assert special.isdisjoint(number for one in ids for number in one)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_an_unknown_character_gives_the_unknown_id(made, kind):
    assert made[kind].unk_id in made[kind].encode(["the ☃"])[0]
    assert "[UNK]" in made[kind].decode(made[kind].encode(["the ☃"])[0])


def test_decode_stops_at_sep_and_skips_pad_and_cls(tokenizer):
    the, cat = tokenizer.encode(["the", "cat"])
    ids = [tokenizer.cls_id, *the, tokenizer.pad_id, tokenizer.sep_id, *cat]
    assert tokenizer.decode(ids) == "the"


def test_wordpiece_lower_cases_and_strips_accents(made):
    t = made["wordpiece"]
    assert t.encode(["Café"]) == t.encode(["cafe"])


def test_wordpiece_reads_a_rare_word_back(made):
    t = made["wordpiece"]
    (ids,) = t.encode(["the <unk> cat costs N"])
    assert t.unk_id not in ids
    assert t.decode(ids) == "the <unk> cat costs n"


def test_a_vocabulary_larger_than_the_corpus_allows_is_a_cap():
    for kind in ("bpe", "unigram"):
        size = train_sentencepiece(kind, SENTENCES, 1_000_000).size
        assert 30 < size < 300


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("size", [-1, 0, 5, 6, 10])
def test_a_vocabulary_too_small_says_the_smallest(kind, size):
    texts = ["abcdefg abc", "gfe"]
    smallest = 5 + 8  # the letters and the space's mark
    with pytest.raises(ConfigError, match=f"at least {smallest}"):
        train_sentencepiece(kind, texts, size)
    assert train_sentencepiece(kind, texts, smallest).size == smallest


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_chosen_size_has_room_for_every_character(kind, tmp_path):
    """Chinese has more characters than so few sentences have words."""
    texts = ["".join(chr(0x4E00 + 40 * row + i) for i in range(40)) for row in range(12)]
    assert vocabulary_for(texts) == 4 + 2 + 480 + 300
    made = build_tokenizer(kind, 0, lambda: texts, tmp_path)
    assert [made.decode(ids) for ids in made.encode(texts)] == texts


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_character_that_sentencepiece_reserves_costs_no_other(kind):
    """It leaves out every sentence that holds U+2585."""
    made = train_sentencepiece(kind, ["sun \u2584\u2585\u2586 rise"] * 3 + ["other words"] * 3, 60)
    (ids,) = made.encode(["sun \u2584\u2585\u2586 rise"])
    assert made.decode(ids) == "sun \u2584[UNK]\u2586 rise"


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_no_text_to_train_on_is_told(texts):
    with pytest.raises(UserError, match="no text"):
        train_sentencepiece("bpe", texts, 100)


def test_an_error_of_the_corpus_passes_through_the_trainer():
    def broken():
        yield "one"
        raise UserError("line 2 is bad")

    with pytest.raises(UserError, match=r"^line 2 is bad$"):
        train_sentencepiece("bpe", broken(), 100)


def test_training_twice_gives_the_same_model(made):
    for kind in ("bpe", "unigram"):
        again = train_sentencepiece(kind, iter(SENTENCES), 100)
        assert again.fingerprint == made[kind].fingerprint


def test_bpe_from_word_counts_is_bpe_from_sentences():
    texts = [*SENTENCES, "x<unk>y  two  spaces", " led by a space", "[CLS][CLS] it's 1990s-era"]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=120,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<unk>"],
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="[PAD]",
        unk_piece="[UNK]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        minloglevel=2,
    )
    expected = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    t = train_sentencepiece("bpe", texts, 120)
    assert t.size == expected.GetPieceSize()
    assert t.encode(texts) == expected.EncodeAsIds(texts)


def test_fingerprints_differ(made):
    other = train_sentencepiece("bpe", SENTENCES, 99)
    assert len({other.fingerprint, *(t.fingerprint for t in made.values())}) == 5


def test_a_long_sentence_is_trained_on():
    t = train_sentencepiece("bpe", ["short", "zebra " * 10_000], 100)
    assert t.unk_id not in t.encode(["zebra"])[0]


def test_saving_and_loading_gives_the_same_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "run" / "tokenizer")
    loaded = load_tokenizer(tmp_path / "run" / "tokenizer")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.kind == tokenizer.kind
    assert loaded.size == tokenizer.size
    assert specials(loaded) == specials(tokenizer)
    assert loaded.unk_id == tokenizer.unk_id
    assert loaded.encode(SENTENCES) == tokenizer.encode(SENTENCES)


def test_saving_replaces_an_older_tokenizer_and_leaves_nothing_else(made, tmp_path):
    made["bpe"].save(tmp_path / "tokenizer")
    made["gpt2"].save(tmp_path / "tokenizer")
    assert load_tokenizer(tmp_path / "tokenizer").kind == "gpt2"
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer"]
    assert len(list((tmp_path / "tokenizer").iterdir())) == 3


def test_saving_where_it_cannot_be_written_is_told(made, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot save the tokenizer"):
        made["bpe"].save(tmp_path / "file" / "tokenizer")


def test_a_full_disk_while_saving_leaves_nothing(made, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        made["bpe"].save(tmp_path / "tokenizer")
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_is_found_on_loading(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    model = next(p for p in sorted(tmp_path.iterdir()) if p.name != "tokenizer.json")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with pytest.raises(UserError, match=f"{model.name} is damaged: sha256 is .*, expected"):
        load_tokenizer(tmp_path)


def test_a_missing_folder_or_file_is_told(made, tmp_path):
    with pytest.raises(UserError, match="no tokenizer in"):
        load_tokenizer(tmp_path / "none")
    made["bpe"].save(tmp_path)
    (tmp_path / "sentencepiece.model").unlink()
    with pytest.raises(UserError, match=r"sentencepiece\.model cannot be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "bpe"}', '{"kind": 1, "sha256": 2}'])
def test_a_damaged_manifest_is_told(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json is damaged"):
        load_tokenizer(tmp_path)


def test_a_manifest_of_another_kind_or_format_is_told(made, tmp_path):
    made["bpe"].save(tmp_path)
    manifest = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(manifest | {"kind": "words"}))
    with pytest.raises(UserError, match="of kind 'words'"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(UserError, match="format 99"):
        load_tokenizer(tmp_path)


def test_a_model_of_someone_else_is_refused(tmp_path):
    content = b"not a model"
    (tmp_path / "sentencepiece.model").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = {"format": 1, "kind": "bpe", "sha256": {"sentencepiece.model": digest}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="not a sentencepiece model"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_with_a_piece_twice_is_refused(tmp_path):
    path = write_wordpiece(tmp_path, extra="cat\n")
    with pytest.raises(UserError, match=r"line \d+: the token 'cat' is already on line 8"):
        wordpiece_from_file(path)


def test_a_vocabulary_without_special_pieces_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[CLS]\nthe\n")
    with pytest.raises(UserError, match=r"lacks \[SEP\], \[UNK\]"):
        wordpiece_from_file(tmp_path / "vocab.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"[PAD]\n\xff\n", "line 2: not UTF-8"), (None, "cannot read")],
)
def test_a_bad_vocabulary_file_is_told(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        wordpiece_from_file(path)


def test_windows_line_ends_in_a_vocabulary_do_no_harm(made, tmp_path):
    path = write_wordpiece(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    t = wordpiece_from_file(path)
    assert t.encode(["the cat"]) == made["wordpiece"].encode(["the cat"])


@pytest.mark.parametrize(
    ("encoder", "merges", "message"),
    [
        ("{", "", "is not JSON"),
        ('{"a": 0, "b": 2}', "", "0 to the number of tokens"),
        ('["a"]', "", "0 to the number of tokens"),
        ('{"a": 0}', "", r"lacks <\|endoftext\|>"),
        (None, "t h\nx\n", "line 2: expected two tokens"),
        (None, "#version: 0.2\nt h\nq q\n", "line 3: the token 'qq' is not in the vocabulary"),
    ],
)
def test_bad_gpt2_files_are_told(tmp_path, encoder, merges, message):
    paths = write_vocabulary(tmp_path)
    for path, content in zip(paths, (encoder, merges), strict=True):
        if content:
            path.write_text(content)
    with pytest.raises(UserError, match=message):
        gpt2_from_files(*paths)


def test_build_finds_vocabularies_in_either_layout(tmp_path):
    (tmp_path / "gpt2").mkdir()
    encoder, merges = write_vocabulary(tmp_path / "gpt2")
    write_wordpiece(tmp_path)
    first = build_tokenizer("gpt2", 0, list, tmp_path)
    encoder.rename(tmp_path / "vocab.json")
    merges.rename(tmp_path / "merges.txt")
    second = build_tokenizer("gpt2", 0, list, str(tmp_path))
    assert first.encode(SENTENCES) == second.encode(SENTENCES)
    assert build_tokenizer("wordpiece", 0, list, tmp_path).kind == "wordpiece"


@pytest.mark.parametrize("kind", ["wordpiece", "gpt2"])
def test_a_missing_vocabulary_says_what_to_put_where(kind, tmp_path):
    with pytest.raises(UserError, match=r"put vocab\.txt .*bert|put encoder\.json .*gpt2"):
        build_tokenizer(kind, 0, list, tmp_path)
    with pytest.raises(UserError, match=r"set tokenizer\.vocab_dir"):
        build_tokenizer(kind, 0, list, "")


def test_a_small_corpus_is_not_sampled():
    assert list(sample_texts(lambda: iter(SENTENCES), limit=15)) == SENTENCES


def test_a_large_corpus_is_sampled_alike_at_every_call():
    texts = [str(i) for i in range(10_000)]
    sample = list(sample_texts(lambda: texts, limit=1_000))
    assert 900 < len(sample) <= 1_000
    assert sample == list(sample_texts(lambda: iter(texts), limit=1_000))
    rows = [int(text) for text in sample]
    assert rows == sorted(rows)
    # From the whole corpus, not its head: the mean of the rows, within four standard errors.
    assert abs(sum(rows) / len(rows) - 5_000) < 4 * 2_887 / 1_000**0.5


def ptb(real_data: pathlib.Path) -> list[str]:
    lines = (real_data / "ptb" / "train.txt").read_text(encoding="utf-8").split("\n")
    return [line.strip() for line in lines if line.strip()]


@pytest.mark.parametrize(("kind", "size"), [("bpe", 25_714), ("unigram", 8_627)])
def test_the_penn_treebank_yields_fewer_pieces_than_the_cap(real_data, kind, size):
    sentences = ptb(real_data)
    t = build_tokenizer(kind, 30_522, lambda: sentences, "")
    assert t.size == size
    ids = t.encode(sentences[:2000])
    assert [t.decode(i) for i in ids] == sentences[:2000]
    pieces, words = sum(map(len, ids)), sum(len(s.split()) for s in sentences[:2000])
    assert pieces / words == pytest.approx({"bpe": 1.11, "unigram": 1.20}[kind], abs=0.02)


def test_berts_vocabulary_on_the_penn_treebank(real_data):
    t = build_tokenizer("wordpiece", 0, list, real_data)
    assert t.size == 30_522
    assert (t.pad_id, t.unk_id, t.cls_id, t.sep_id) == (0, 100, 101, 102)
    ids = t.encode(ptb(real_data))
    assert len({i for row in ids for i in row} | {t.cls_id, t.sep_id}) == 9_583
    assert not any(t.unk_id in row for row in ids)


def test_gpt2s_vocabulary_on_the_penn_treebank(real_data):
    t = build_tokenizer("gpt2", 0, list, real_data)
    assert (t.size, t.pad_id, t.cls_id, t.sep_id) == (50_259, 50_257, 50_258, 50_256)
    sentences = ptb(real_data)[:2000]
    assert [t.decode(ids) for ids in t.encode(sentences)] == sentences
    assert t.encode(["Hello world<|endoftext|>"])[0][:2] == [15496, 995]
