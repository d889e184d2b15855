"""A public corpus is added by two new files and one line, and then trains like any other."""

import hashlib
import pathlib

import pytest

from tests.helpers.package_copy import copy_package, edit_line, run_python

MODULE = '''
"""A toy corpus."""

from vaetx_jax.data.corpora.source import Source, SourceFile


def _read(paths, dropped):
    lines = [line.split("\\t") for line in paths["toy/all.tsv"].read_text().splitlines()]
    rows = [{"text": text, "label": int(label)} for text, label in lines]
    return {"train": rows[:40], "valid": rows[40:50], "test": rows[50:]}


SOURCE = Source(
    name="toy",
    version="1.0.0",
    release_notes={"1.0.0": "First version."},
    description="Sentences of a few words, in two classes.",
    licence="CC0",
    citation="",
    homepage="https://example.org/toy",
    files=(
        SourceFile(
            path="toy/all.tsv", lines=60, sha256="SHA256", url="https://example.org/toy/all.tsv"
        ),
    ),
    rows={"train": 40, "valid": 10, "test": 10},
    read=_read,
    classes=("even", "odd"),
)
'''
CONFIG = '''
"""The toy corpus."""

from vaetx_jax.config import default_config


def get_config(model="vae_transformer"):
    config = default_config(model)
    config.data.corpus = "toy"
    return config
'''
SMALL = {
    "data.batch_size": 8,
    "model.dim": 8,
    "model.latent_dim": 4,
    "tokenizer.vocab_size": 60,
    "train.steps": 2,
    "objective.cycles": 1,
    "evaluation.iw_samples": 0,
    "samples.count": 0,
}


@pytest.fixture
def copy(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the package to which the toy corpus was added, and its file in `files/`."""
    package = copy_package(tmp_path)
    rows = "".join(f"the number {n} of the toys\t{n % 2}\n" for n in range(60))
    (tmp_path / "files" / "toy").mkdir(parents=True)
    (tmp_path / "files" / "toy" / "all.tsv").write_text(rows, encoding="utf-8")
    corpora = package / "data" / "corpora"
    sha256 = hashlib.sha256(rows.encode()).hexdigest()
    (corpora / "toy.py").write_text(MODULE.replace("SHA256", sha256), encoding="utf-8")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "toy.py").write_text(CONFIG, encoding="utf-8")
    edit_line(
        corpora / "corpus.py",
        'PUBLIC = ("ptb", "wikitext2", "sst2", "air")',
        'PUBLIC = ("ptb", "wikitext2", "sst2", "air", "toy")',
    )
    return tmp_path


@pytest.mark.slow
def test_a_corpus_is_two_files_and_one_line(copy: pathlib.Path) -> None:
    printed = run_python(
        copy,
        *("-m", "vaetx_jax.main", "--config=configs/toy.py:vae_gru", "--workdir=run"),
        "--config.data.manual_dir=files",
        *(f"--config.{key}={value}" for key, value in SMALL.items()),
    )
    assert "toy: 40 train, 10 valid, 10 test rows; train even 50.0%, odd 50.0%" in printed
    assert (copy / "run" / "evaluation.json").is_file()
