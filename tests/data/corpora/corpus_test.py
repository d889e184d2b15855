"""The corpora: built whole or not at all, read back as written, told apart by fingerprint."""

import dataclasses
import itertools
import os
import pathlib
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY
from vaetx_jax.data.corpora import builders, records, streaming
from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.corpora.corpus import SOURCES, CorpusSpec, open_corpus
from vaetx_jax.data.corpora.rows import Rows
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.grammar import grammar
from vaetx_jax.errors import UserError


def tiny_grammar(cache: pathlib.Path, **changes) -> Corpus:
    return open_corpus(CorpusSpec("grammar", cache, **({"sentences": 50, "held_out": 7} | changes)))


def texts(corpus: Corpus, split: str) -> list[str]:
    return list(corpus.split(split).texts())


def built(cache: pathlib.Path) -> list[pathlib.Path]:
    """What a builder left behind."""
    return [path for path in (cache / "tfds").rglob("*") if path.is_file()]


# ---- grammar -----------------------------------------------------------------------------------


def test_grammar_rows_are_the_grammars_own_in_order(tmp_path):
    corpus = tiny_grammar(tmp_path, seed=3)
    for split, n in zip(SPLITS, (50, 7, 7), strict=True):
        rows = corpus.split(split)
        assert len(rows) == n
        for row, expected in zip(rows, grammar.generate(3, split, 0, n), strict=True):
            assert row.text == expected.text
            assert tuple(row.labels.values()) == expected.causes
            assert row.log_prob == expected.log_prob  # every bit of it


def test_grammar_labels_are_its_causes(tmp_path):
    corpus = tiny_grammar(tmp_path)
    assert corpus.label_fields == dict(grammar.CAUSES)
    assert list(corpus.split("valid")[0].labels) == list(grammar.CAUSES)
    assert corpus.has_log_prob


def test_tensorflow_datasets_reads_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_PER_SHARD", 20)  # several shards
    corpus = tiny_grammar(tmp_path)
    source = corpus.data_source("train")
    assert len(source) == 50
    for row, theirs in zip(corpus.split("train"), source, strict=True):
        assert theirs["text"].decode("utf-8") == row.text
        assert {name: int(theirs[name]) for name in row.labels} == row.labels
        assert float(theirs["log_prob"]) == row.log_prob


def test_the_builder_describes_itself(tmp_path):
    import tensorflow_datasets as tfds

    corpus = tiny_grammar(tmp_path)
    corpus.prepare()
    (info_file,) = tmp_path.glob("tfds/grammar/*/*/dataset_info.json")
    info = tfds.builder_from_directory(info_file.parent).info
    assert str(info.version) == grammar.GRAMMAR_VERSION
    assert "grammar" in info.description
    assert info.redistribution_info.license == "Apache-2.0"
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        "train": 50,
        "valid": 7,
        "test": 7,
    }
    assert info.features["topic"].names == list(grammar.CAUSES["topic"])


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_public_builders_have_description_licence_and_citation(source, tmp_path):
    builder = builders.public_builder(source, "", tmp_path, data_dir=tmp_path)
    assert builder.name == source.name
    assert type(builder).__name__ == source.name.capitalize()
    assert len(builder.info.description) > 100
    assert len(builder.info.redistribution_info.license) > 20
    assert "@" in builder.info.citation
    assert builder.release_notes[str(builder.version)]
    assert sum(builder.expected_rows.values()) > 9_000


# ---- rows --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> tuple[Rows, list[str]]:
    """45 rows in shards of 20."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "ROWS_PER_SHARD", 20)
        corpus = tiny_grammar(tmp_path_factory.mktemp("cache"), sentences=45)
        rows = corpus.split("train")
    return rows, [sentence.text for sentence in grammar.generate(0, "train", 0, 45)]


def test_rows_can_be_read_at_random(sharded):
    rows, expected = sharded
    for i in (0, 19, 20, 44, 3, -1, -45):
        assert rows[i].text == expected[i]


@pytest.mark.parametrize("part", [slice(None), slice(15, 42), slice(40, 10, -7), slice(5, 5)])
def test_rows_can_be_sliced(sharded, part):
    rows, expected = sharded
    assert [row.text for row in rows[part]] == expected[part]


def test_rows_have_a_length_and_an_end(sharded):
    rows, expected = sharded
    assert len(rows) == len(rows.texts()) == 45
    assert list(rows.texts()) == expected
    for i in (45, -46):
        with pytest.raises(IndexError):
            rows[i]


def test_two_iterations_do_not_disturb_each_other(sharded):
    rows, expected = sharded
    pairs = [(a.text, b.text) for a, b in zip(rows, itertools.islice(rows, 10, None), strict=False)]
    assert pairs == list(zip(expected, expected[10:], strict=False))


def test_a_record_holds_what_was_written():
    row = {"text": "é 😀", "a": 3, "b": 0, "log_prob": -0.1}
    record = records.encoder(["a", "b"])(row)
    assert records.decoder(["b", "a"], True)(record) == ("é 😀", (0, 3), -0.1)
    assert records.decoder([], False)(record) == ("é 😀", (), None)


# ---- building ----------------------------------------------------------------------------------


def test_rows_are_written_as_they_are_generated(tmp_path, monkeypatch):
    generated = 0
    lead = []
    generate, writer = grammar.generate, builders.Grammar._example_writer

    def counted(*arguments):
        nonlocal generated
        for sentence in generate(*arguments):
            generated += 1
            yield sentence

    class Watching:
        def __init__(self, inner) -> None:
            self.inner = inner
            self.written = 0

        def write(self, path, rows):
            def watched():
                for row in rows:
                    self.written += 1
                    lead.append(generated - self.written)
                    yield row

            self.inner.write(path, watched())
            self.written = generated

    monkeypatch.setattr(grammar, "generate", counted)
    shared = None

    def one_writer(builder):
        nonlocal shared
        shared = shared or Watching(writer(builder))
        return shared

    monkeypatch.setattr(builders.Grammar, "_example_writer", one_writer)
    tiny_grammar(tmp_path).prepare()
    assert len(lead) == 64
    assert max(lead) <= 1


def test_a_corpus_is_built_once(tmp_path, monkeypatch):
    tiny_grammar(tmp_path).prepare()
    monkeypatch.setattr(grammar, "generate", None)
    assert len(texts(tiny_grammar(tmp_path), "train")) == 50


def test_a_truncated_data_set_is_built_again(tmp_path):
    corpus = tiny_grammar(tmp_path)
    expected = texts(corpus, "train")
    shard = next(path for path in built(tmp_path) if "train" in path.name)
    shard.write_bytes(shard.read_bytes()[:100])
    assert texts(tiny_grammar(tmp_path), "train") == expected


def test_a_flipped_byte_in_a_shard_is_found_on_reading(tmp_path):
    tiny_grammar(tmp_path).prepare()
    shard = next(path for path in built(tmp_path) if "train" in path.name)
    content = bytearray(shard.read_bytes())
    at = content.index(b"log_prob") if b"log_prob" in content else 200
    content[at] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(UserError, match="damaged: delete the folder"):
        texts(tiny_grammar(tmp_path), "train")


def test_another_process_may_be_faster(tmp_path, monkeypatch):
    generators = builders.Grammar._split_generators

    def overtaken(builder, dl_manager):
        with monkeypatch.context() as patch:
            patch.setattr(builders.Grammar, "_split_generators", generators)
            tiny_grammar(tmp_path).prepare()
        return generators(builder, dl_manager)

    monkeypatch.setattr(builders.Grammar, "_split_generators", overtaken)
    assert len(texts(tiny_grammar(tmp_path), "train")) == 50


def test_what_another_process_has_built_meanwhile_is_not_taken_for_damaged(tmp_path, monkeypatch):
    """The look for a damaged data set comes seconds after the look for a whole one."""
    quiet = streaming.quiet

    def overtaken():
        monkeypatch.setattr(streaming, "quiet", quiet)
        tiny_grammar(tmp_path).prepare()
        monkeypatch.setattr(grammar, "generate", None)  # it is not built again
        return quiet()

    monkeypatch.setattr(streaming, "quiet", overtaken)
    assert len(texts(tiny_grammar(tmp_path), "train")) == 50
    assert grammar.generate is None


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("write() failed: No space left on device; writing x"),  # array_record's
    ],
)
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, error):
    class Full:
        def write(self, path, rows):
            pathlib.Path(path).write_bytes(b"half")
            next(iter(rows))
            raise error

    monkeypatch.setattr(builders.Grammar, "_example_writer", lambda _: Full())
    with pytest.raises(UserError, match=r"the disk is full.*data\.cache_dir"):
        tiny_grammar(tmp_path).prepare()
    assert built(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot build the corpus grammar.*data\.cache_dir"):
        tiny_grammar(tmp_path / "file").prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_without_rights_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        tiny_grammar(tmp_path / "cache").prepare()


def test_an_error_of_ours_is_not_taken_for_the_disks(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(grammar, "generate", broken)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        tiny_grammar(tmp_path).prepare()
    assert built(tmp_path) == []


def test_opening_is_cheap_and_building_is_quiet(tmp_path):
    script = (
        "import sys\n"
        "from absl import logging\n"
        "from vaetx_jax.data.corpora.corpus import CorpusSpec, open_corpus\n"
        "logging.set_verbosity('info')\n"
        f"corpus = open_corpus(CorpusSpec('grammar', {str(tmp_path)!r}, sentences=5))\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "corpus.prepare()\n"
        "corpus.data_source('valid')\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "before flag parsing" not in line]
    ours = ["preparing corpus grammar", "grammar: 5 train, 2,000 valid, 2,000 test rows"]
    assert len(lines) == 2
    assert all(line.endswith(end) for line, end in zip(lines, ours, strict=True))


def test_an_unknown_split_is_a_bug_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="no split 'dev'"):
        tiny_grammar(tmp_path).split("dev")


# ---- fingerprints ------------------------------------------------------------------------------


# The cache folders, run folders and tokenizers of earlier versions are found by these.
FINGERPRINTS = {
    "ptb": "991dd00f52042b304f4e3bc4625ab5692bf025d4d23aff0d970d79b50189054f",
    "air": "73575aeeac7eda399e49478b7f3a8775e10fe5b58b7a033aef5e42f317f492d2",
    "grammar": "064276460477519ba3e8c8256f8d056a7155b9f2faf2281a3138e0839f26314f",
    "text": "3903d489f03b9bd0ffe257d5bbc0dfd584ad34042bf516d768c5f0148274412f",
}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_are_those_of_earlier_versions(tmp_path, name):
    train = tmp_path / "a.csv"
    train.write_text("text,label\nfine,good\n")
    spec = CorpusSpec(name, tmp_path, train=str(train), sentences=500, held_out=50)
    assert open_corpus(spec).fingerprint == FINGERPRINTS[name]


def test_fingerprints_tell_corpora_apart_but_not_folders(tmp_path):
    base = CorpusSpec("grammar", tmp_path)
    different = [
        base,
        dataclasses.replace(base, sentences=1),
        dataclasses.replace(base, held_out=1),
        dataclasses.replace(base, seed=1),
        *(CorpusSpec(name, tmp_path) for name in ("ptb", "wikitext2", "sst2", "air")),
    ]
    assert len({open_corpus(spec).fingerprint for spec in different}) == len(different)
    moved = dataclasses.replace(base, cache_dir=tmp_path / "other", manual_dir="x", train="y")
    assert open_corpus(moved).fingerprint == open_corpus(base).fingerprint
