"""Vectors in the place of an encoder: which row goes with which sentence, and a whole run."""

import numpy as np
import pytest

from tests.helpers.tiny_run import fit
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import validate
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.final_report import write_samples
from vaetx_jax.inference.loading import load
from vaetx_jax.run.given_vectors import open_vectors
from vaetx_jax.run.run import create_run

WIDTH = 6
LINES = [f"the {a} {b} {c}" for a in ("old", "new") for b in ("cat", "dog") for c in "abcdefgh"]


def vector_of(text):
    """A vector that says which sentence it is of."""
    return np.random.default_rng(sum(map(ord, text)) * 31 + len(text)).standard_normal(WIDTH)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a file of sentences, a blank line among them, and their vectors."""
    folder = tmp_path_factory.mktemp("vectors")
    lines = [*LINES[:5], "", *LINES[5:]]
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    np.save(folder / "vectors.npy", np.stack([vector_of(line) for line in LINES]))
    return folder


def config_of(place, **changes):
    config = default_config()
    config.data.cache_dir, config.data.corpus = str(place / "cache"), "text"
    config.data.train, config.data.vectors = f"{place}/text.txt", f"{place}/vectors.npy"
    config.data.valid_share = config.data.test_share = 0.25  # few sentences
    config.data.batch_size, config.data.groups, config.data.max_len = 8, 1, 24
    config.tokenizer.vocab_size, config.evaluation.batch_size = 80, 8
    config.model.update({"dim": 8, "latent_dim": 3, "layers": 1, "encoder": "vectors"})
    config.model.update({"encoder_start": "whiten", "channel_rate": 2.0})
    config.objective.annealing, config.objective.cycles = "none", 1
    config.train.steps, config.train.log_every = 2, 1
    config.update_from_flattened_dict(changes)
    validate(config)
    return config


@pytest.fixture(scope="module")
def finished(place):
    fit(config_of(place), place / "run")
    return place / "run"


@pytest.mark.slow
def test_every_sentence_has_its_own_row_wherever_it_is_held_out(place, finished):
    run = create_run(config_of(place), finished)
    for name in ("train", "valid", "test"):
        texts = list(run.corpus.split(name).texts())
        assert texts
        expected = np.stack([vector_of(text) for text in texts])
        np.testing.assert_allclose(run.split(name).features[:], expected, rtol=1e-6)


def test_vectors_are_encoded_and_decoded_and_text_is_refused(place, finished):
    model = load(finished)
    vectors = np.load(place / "vectors.npy")[:3]
    mean, std = model.encode_vectors(vectors)
    assert mean.shape == std.shape == (3, 3) and np.ptp(mean) > 0.1
    assert model.decode_vectors(vectors) == model.decode(mean)
    with pytest.raises(UserError, match="cannot encode text; encode_vectors"):
        model.encode(["the old cat a"])
    assert "->" in write_samples(model)[0]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((2, WIDTH + 1)), r"vectors of the shape \[2, 7\]: they must be \[N, 6\]"),
        (np.full((2, WIDTH), np.nan), r"vectors: row 0 \(counted from 0\) holds a NaN"),
    ],
    ids=["width", "nan"],
)
def test_vectors_of_another_kind_are_refused(finished, vectors, message):
    with pytest.raises(UserError, match=message):
        load(finished).decode_vectors(vectors)


def test_another_number_of_rows_is_refused(place, tmp_path):
    np.save(tmp_path / "short.npy", np.load(place / "vectors.npy")[:-1])
    run = create_run(config_of(place, **{"data.vectors": f"{tmp_path}/short.npy"}), tmp_path)
    with pytest.raises(UserError, match="31 rows for 32 sentences; there must be one per sentence"):
        run.split("train")


def test_a_run_resumes_with_the_vectors_that_it_began_with_wherever_they_lie(place, tmp_path):
    create_run(config_of(place), tmp_path)
    moved, other = tmp_path / "moved.npy", tmp_path / "other.npy"
    np.save(moved, np.load(place / "vectors.npy"))
    create_run(config_of(place, **{"data.vectors": str(moved)}), tmp_path)
    np.save(other, 2 * np.load(place / "vectors.npy"))
    with pytest.raises(UserError, match=r"other\.npy is not what this run began with"):
        create_run(config_of(place, **{"data.vectors": str(other)}), tmp_path)


def test_a_file_for_each_split_is_told_by_its_name(place, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    whole = create_run(config_of(place), tmp_path / "a")
    for name in ("train", "valid", "test"):
        np.save(tmp_path / f"v-{name}.npy", whole.split(name).features[:])
    config = config_of(place, **{"data.vectors": f"{tmp_path}/v-{{split}}.npy"})
    apart = create_run(config, tmp_path / "b")
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(apart.split(name).features[:], whole.split(name).features[:])


def test_a_corpus_of_several_files_needs_a_file_for_each_split(place, tmp_path):
    config = config_of(place, **{"data.valid": f"{place}/text.txt"})
    with pytest.raises(UserError, match=r"give a name with \{split\} in it"):
        create_run(config, tmp_path).split("train")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0, 2.0], [3.0, np.nan]]), r"row 1 \(counted from 0\) holds a NaN"),
        (np.arange(6), "must be floating-point numbers"),
        (np.zeros((2, 2), int), "must be floating-point numbers"),
        (np.array([{}, {}]), "not a .npy file of numbers"),
        (np.array([[1.0, 2.0], [1e300, 1.0]]), "row 1 .* a number that is too large for float32"),
    ],
    ids=["nan", "flat", "integers", "pickled", "large"],
)
def test_a_file_of_something_else_is_refused(tmp_path, array, message):
    np.save(tmp_path / "file.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        open_vectors(tmp_path / "file.npy")


def test_an_archive_or_an_empty_file_is_refused(tmp_path):
    np.savez(tmp_path / "file.npz", np.zeros((2, 3)))
    (tmp_path / "empty.npy").touch()
    for name in ("file.npz", "empty.npy"):
        with pytest.raises(UserError, match=r"not a .npy file of numbers"):
            open_vectors(tmp_path / name)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none.npy: cannot be read"):
        open_vectors(tmp_path / "none.npy")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.encoder": "vectors"}, "config.data.vectors = '': model.encoder=vectors reads it"),
        ({"data.vectors": "v.npy"}, "config.data.vectors = 'v.npy': only model.encoder=vectors"),
    ],
)
def test_the_file_and_the_encoder_go_together(changes, words):
    config = default_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError) as error:
        validate(config)
    assert words in str(error.value)
