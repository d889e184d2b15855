"""Whatever stands in a file or a setting: a result, or one of our errors; never anything else.

`VAETX_EXAMPLES=20000 python -m pytest tests/whole/property_test.py` looks longer.
"""

import gzip
import json
import os
import pathlib
import string
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.tiny_gpt2 import write_vocabulary
from vaetx_jax.config import defaults, keys, stored, validation
from vaetx_jax.data.line_reader import read_lines
from vaetx_jax.data.tokenizers.sentencepiece import train_sentencepiece
from vaetx_jax.data.tokenizers.tokenizers import load_tokenizer
from vaetx_jax.data.tokenizers.vocabulary_files import gpt2_from_files
from vaetx_jax.errors import ConfigError, DamagedError, UserError
from vaetx_jax.inference import exported
from vaetx_jax.run.metric_log import METRICS, cut_rows, read_metrics
from vaetx_jax.runtime import manifest
from vaetx_jax.study import seal as seal_lib

thorough = settings(
    max_examples=int(os.environ.get("VAETX_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

# Bytes as files have them: text with the odd line end, tab, quotation mark, or no text at all.
PIECES = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b"\t", b" ", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8"]
    + [c.encode() for c in ("a", ",", ":", '"', "{", "}", "[", "text", "label", '"text"', "1e999")]
    + ["שלום".encode()]
)
CONTENT = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)


def altered(data: bytes, draw: st.DataObject) -> bytes:
    """The content with some bytes changed, cut out or put in."""
    place = draw.draw(st.integers(0, len(data)))
    length = draw.draw(st.integers(0, 4))
    return data[:place] + draw.draw(st.binary(max_size=4)) + data[place + length :]


# Corpus files -----------------------------------------------------------------------------------


@thorough
@given(content=CONTENT, kind=st.sampled_from([".txt", ".tsv", ".csv"]), gzipped=st.booleans())
def test_a_corpus_file_is_read_or_refused(folder, content, kind, gzipped):
    path = folder / f"corpus{kind}{'.gz' * gzipped}"
    path.write_bytes(gzip.compress(content) if gzipped else content)
    try:
        lines = list(read_lines(path))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert all(label and label == label.strip() for x in lines for label in x.labels.values())


@thorough
@given(content=CONTENT)
def test_broken_gzip_is_read_or_refused(folder, content):
    path = folder / "broken.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n")[: len(content)] + content)
    try:
        list(read_lines(path))
    except UserError as error:
        assert str(path) in str(error)


@thorough
@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"))))
def test_the_sentences_of_a_text_file_come_back(folder, texts):
    path = folder / "sentences.txt"
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8", newline="")
    if texts:
        texts[0] = texts[0].removeprefix("\ufeff")
    assert [line.text for line in read_lines(path)] == texts


@thorough
@given(content=CONTENT, columns=st.integers(1, 3), kind=st.sampled_from([".txt", ".jsonl"]))
def test_every_line_of_a_command_s_input_is_read_or_told_of(folder, content, columns, kind):
    path, errors = folder / f"input{kind}", []
    path.write_bytes(content)
    lines = list(read_lines(path, columns=columns, on_error=errors.append))
    assert len(lines) + len(errors) == len(content.splitlines(keepends=True)) or b"\r" in content
    assert all(len(line.texts) == columns for line in lines)
    assert all("line " in str(error) for error in errors)


# Tokenizers -------------------------------------------------------------------------------------

LETTERS = string.ascii_letters + string.digits + string.punctuation
SENTENCES = ["the cat sat on the mat .", "THE [CLS] of [PAD], <unk> !", LETTERS] * 3


@pytest.fixture(scope="module")
def made(folder):
    spelled = [*SENTENCES, " ".join(LETTERS)]
    return {
        "bpe": train_sentencepiece("bpe", spelled, 180),
        "unigram": train_sentencepiece("unigram", spelled, 180),
        "gpt2": gpt2_from_files(*write_vocabulary(folder)),
    }


@thorough
@given(
    kind=st.sampled_from(["bpe", "unigram"]),
    words=st.lists(st.text(LETTERS, min_size=1, max_size=9), min_size=1, max_size=9),
)
def test_words_of_letters_that_are_known_come_back(made, kind, words):
    text = " ".join(words)
    (ids,) = made[kind].encode([text])
    assert made[kind].decode(ids) == text


@thorough
@given(kind=st.sampled_from(["bpe", "unigram", "gpt2"]), text=st.text(max_size=40))
def test_any_text_has_ids_and_none_of_them_is_special(made, kind, text):
    tokenizer = made[kind]
    (ids,) = tokenizer.encode([text])
    assert not {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id} & set(ids)
    assert all(0 <= number < tokenizer.size for number in ids)


@thorough
@given(kind=st.sampled_from(["bpe", "unigram", "gpt2"]), draw=st.data())
def test_any_ids_are_some_text(made, kind, draw):
    ids = draw.draw(st.lists(st.integers(0, made[kind].size - 1), max_size=20))
    made[kind].decode(ids).encode("utf-8")


@thorough
@given(draw=st.data())
def test_a_saved_tokenizer_that_was_altered_is_the_same_or_refused(folder, made, draw):
    home = folder / "tokenizer"
    made["bpe"].save(home)
    path = draw.draw(st.sampled_from(sorted(home.iterdir())))
    path.write_bytes(altered(path.read_bytes(), draw))
    try:
        assert load_tokenizer(home).fingerprint == made["bpe"].fingerprint
    except UserError as error:
        assert str(home) in str(error)


# Settings ---------------------------------------------------------------------------------------

KEYS = sorted(keys.flatten(defaults.default_config().to_dict()))


@thorough
@given(changes=st.dictionaries(st.sampled_from(KEYS), st.integers() | st.floats() | st.text()))
def test_settings_are_good_or_refused_and_good_ones_come_back(folder, changes):
    config = defaults.default_config()
    for key, value in changes.items():
        try:
            keys.set_value(config, key, value)
        except (TypeError, ValueError):
            continue  # ml_collections checks types
    try:
        validation.validate(config)
    except ConfigError as error:
        assert all("config." in line for line in str(error).splitlines() if line)
        return
    path = folder / "config.json"
    path.write_text(stored.to_json(config), encoding="utf-8")
    assert stored.read_config(path) == config


@thorough
@given(draw=st.data())
def test_a_kept_config_that_was_altered_is_a_config_or_refused(folder, draw):
    path = folder / "altered.json"
    whole = stored.to_json(defaults.default_config()).encode()
    path.write_bytes(altered(whole, draw))
    try:
        validation.validate(stored.read_config(path))
    except UserError as error:
        assert str(folder) in str(error)


@thorough
@given(tree=JSON)
def test_any_json_is_a_config_or_refused(folder, tree):
    path = folder / "any.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(UserError, match=r"any\.json"):
        stored.read_config(path)


# Manifests and results --------------------------------------------------------------------------

FACTS = {"step": 20, "valid_ppl_elbo": 3.25, "candidate": True}


@thorough
@given(draw=st.data())
def test_a_manifest_that_was_altered_says_the_same_or_nothing(folder, draw):
    home = folder / "checkpoint"
    home.mkdir(exist_ok=True)
    (home / "array").write_bytes(b"weights")
    manifest.write_manifest(home, FACTS)
    path = home / manifest.MANIFEST
    path.write_bytes(altered(path.read_bytes(), draw))
    try:
        assert manifest.read_facts(home) == FACTS
        manifest.check_files(home)
    except DamagedError as error:
        assert str(home) in str(error)


@thorough
@given(tree=JSON)
def test_any_json_as_a_manifest_is_damage(folder, tree):
    home = folder / "nothing"
    home.mkdir(exist_ok=True)
    (home / manifest.MANIFEST).write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(DamagedError):
        manifest.read_facts(home)
    with pytest.raises(UserError):
        exported.read(home)


@thorough
@given(draw=st.data(), name=st.sampled_from([seal_lib.SEAL, seal_lib.EVALUATION, seal_lib.PROBE]))
def test_a_cell_whose_results_were_altered_is_never_finished(folder, draw, name):
    home = folder / "cell"
    home.mkdir(exist_ok=True)
    (home / seal_lib.EVALUATION).write_text(json.dumps({"iw_samples": 5, "kl": 1.5}))
    (home / seal_lib.PROBE).write_text(json.dumps({"protocol": {"epochs": 20}}))
    seal_lib.seal(home, {"seconds": 1.0})
    before = (home / name).read_bytes()
    (home / name).write_bytes(altered(before, draw))
    found, _ = seal_lib.condition(home, iw_samples=5, protocol={"epochs": 20})
    same = (home / name).read_bytes() == before
    assert same or name == seal_lib.SEAL or found is not seal_lib.Condition.FINISHED


@thorough
@given(content=CONTENT)
def test_metrics_cut_short_or_overwritten_give_their_sound_rows(folder, content):
    path = folder / METRICS
    path.write_bytes(b'{"step": 3, "loss": 1.0}\n' + content)
    assert read_metrics(path)[0] == {"step": 3, "loss": 1.0}
    cut_rows(path, after=3)
    assert read_metrics(path)[0] == {"step": 3, "loss": 1.0}
