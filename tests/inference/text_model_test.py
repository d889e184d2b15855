"""A trained model in Python: what comes out, and that it does not depend on the batch."""

import copy
import dataclasses
import itertools
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

import vaetx_jax
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference import sentences as sentences_lib
from vaetx_jax.inference.batching import BATCH, length_classes, rows_by_length
from vaetx_jax.inference.latent_prior import LatentPrior
from vaetx_jax.inference.loading import init_untrained, load
from vaetx_jax.metrics import estimator as estimator_lib

SENTENCES = [
    "you will watch a bad storm",
    "i love this soup",
    "my happy friend baked the cake so the chefs were happy",
    "the children will not love this album in the studio and planned a show",
]
ODD = {
    "empty": "",
    "blank": "  \t ",
    "only unknown characters": "漢字漢字",
    "10,000 words": "storm " * 10_000,
    "control characters": "a\x00b\x07\x1b[31m\r\nc",
    "emoji": "i love 👩‍👩‍👧 🎉",
    "right to left": "שלום עולם مرحبا",
    "combining": "e\u0301\u200b\ufeff",
    "special names": "[PAD] [CLS] [SEP] [UNK] <unk>",
}


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


@pytest.fixture(scope="module")
def language_model(config, trained, tmp_path_factory):
    """A language model without training, with the vocabulary of the trained run."""
    from tests.helpers.tiny_run import tiny_config
    from vaetx_jax.config.defaults import default_config
    from vaetx_jax.config.validation import model_settings
    from vaetx_jax.models.build import build_model

    run = load(trained).run
    lm_config = default_config("transformer_lm")
    lm_config.data = tiny_config(config.data.cache_dir).data
    lm_config.model.dim = 8
    built = build_model(
        model_settings(lm_config), vocab_size=run.tokenizer.size, pad_id=run.tokenizer.pad_id
    )
    return init_untrained(dataclasses.replace(run, config=lm_config, model=built), seed=0)


def test_loading_says_nothing_that_is_of_no_use(trained, caplog):
    load(trained)
    assert [record.getMessage() for record in caplog.records] == []


def test_encode_gives_a_mean_and_a_deviation_a_sentence_in_order(model):
    mean, std = model.encode(SENTENCES)
    assert mean.shape == std.shape == (len(SENTENCES), model.latent_dim)
    assert mean.dtype == std.dtype == np.float32
    assert (std > 0).all()
    backwards, _ = model.encode(SENTENCES[::-1])
    np.testing.assert_array_equal(backwards[::-1], mean)


def test_a_sentence_alone_is_encoded_as_among_many(model):
    many = SENTENCES * 50 + list(ODD.values())
    together, _ = model.encode(many)
    for sentence, expected in zip(SENTENCES, together, strict=False):
        alone, _ = model.encode([sentence])
        np.testing.assert_allclose(alone[0], expected, atol=2e-6)


def test_more_sentences_than_are_tokenised_at_a_time_keep_their_order(model, monkeypatch):
    many = [SENTENCES[i % 4] for i in range(50)]
    expected, _ = model.encode(SENTENCES)
    monkeypatch.setattr("vaetx_jax.inference.batching.WINDOW", 7)
    np.testing.assert_allclose(model.encode(many)[0], expected[np.arange(50) % 4], atol=2e-6)


def test_spaces_at_the_ends_are_no_part_of_a_sentence(model):
    bare, padded = SENTENCES[:1], [f" {SENTENCES[0]}\t "]
    np.testing.assert_array_equal(model.encode(padded)[0], model.encode(bare)[0])
    for of_padded, of_bare in zip(model.score(padded), model.score(bare), strict=True):
        np.testing.assert_array_equal(of_padded, of_bare)


def test_encode_takes_no_sentence_at_all(model):
    assert model.encode([])[0].shape == (0, model.latent_dim)
    assert model.reconstruct([]) == [] and model.sample(0) == []
    assert len(model.score([]).elbo_N) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_an_odd_sentence_is_a_sentence_like_others(model, name):
    mean, std = model.encode([ODD[name]])
    assert np.isfinite(mean).all() and np.isfinite(std).all()
    assert isinstance(model.reconstruct([ODD[name]])[0], str)
    assert np.isfinite(model.score([ODD[name]], iw_samples=0).elbo_N).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("a sentence", "a list of sentences is needed"),
        (["a", None], "sentence 1 .* is None"),
        (["a", "b", 3.5], "sentence 2 .* a float"),
        (["a", "b\ud800"], "sentence 1 .*character 1: half of a surrogate pair"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(model, wrong, words):
    with pytest.raises(UserError, match=words):
        model.encode(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((2, 3)), r"shape \[2, 3\]: they must be \[N, 4\]"),
        (np.zeros(4), r"shape \[4\]"),
        ([[0, 0, 0, 0], [0, math.nan, 0, 0]], "row 1 .* holds a NaN"),
        ([[0, 0, 0, math.inf]], "row 0 .* infinity"),
        ([["a", "b", "c", "d"]], "latents must be numbers"),
    ],
)
def test_latents_that_are_none_are_refused(model, wrong, words):
    with pytest.raises(UserError, match=words):
        model.decode(wrong)


def test_decoding_a_latent_does_not_depend_on_the_others(model):
    z = np.random.default_rng(0).standard_normal((5, model.latent_dim)).astype(np.float32)
    assert model.decode(z[2:3]) == model.decode(z)[2:3]
    drawn = model.decode(z, temperature=1.0, seed=3)
    assert model.decode(z[:2], temperature=1.0, seed=3) == drawn[:2]


def test_any_number_of_latents_is_decoded(model):
    z = np.zeros((2 * BATCH + 3, model.latent_dim), np.float32)
    assert len(set(model.decode(z))) == 1 and len(model.decode(z)) == len(z)


@pytest.mark.slow
def test_latents_are_decoded_alike_however_many_at_a_time(model):
    z = np.random.default_rng(0).standard_normal((5, model.latent_dim)).astype(np.float32)
    assert model.decode(z, batch=2) == model.decode(z)
    assert model.decode(z, batch=2, temperature=1.0) == model.decode(z, temperature=1.0)
    with pytest.raises(ConfigError, match="batch = 0"):
        model.decode(z, batch=0)


def test_sampling_is_the_same_for_a_seed_and_differs_for_another(model):
    assert model.sample(3, seed=1) == model.sample(3, seed=1)
    assert model.sample(3, seed=1) != model.sample(3, seed=2)
    assert model.sample(70, seed=1)[:3] == model.sample(3, seed=1)


def test_every_way_to_decode_is_taken_by_name(model):
    for how in (
        {"temperature": 0.8, "top_k": 5, "top_p": 0.9},
        {"beam": 3, "length_power": 0.6},
        {"no_repeat": 2},
    ):
        assert len(model.sample(2, **how)) == len(model.reconstruct(SENTENCES[:2], **how)) == 2


def test_an_unknown_way_to_decode_is_refused(model):
    with pytest.raises(ConfigError, match=r"'temprature' of decoding .did you mean temperature"):
        model.sample(2, temprature=1.0)
    with pytest.raises(ConfigError, match="n = -1"):
        model.sample(-1)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolation_begins_and_ends_with_the_reconstructions(model, path):
    between = model.interpolate(SENTENCES[0], SENTENCES[2], 4, path=path)
    assert len(between) == 4
    assert [between[0], between[-1]] == model.reconstruct([SENTENCES[0], SENTENCES[2]])


def test_an_interpolation_that_cannot_be_is_refused(model):
    with pytest.raises(ConfigError, match="steps = 1"):
        model.interpolate("a", "b", 1)
    with pytest.raises(ConfigError, match="linear, spherical"):
        model.interpolate("a", "b", path="crooked")


def test_an_analogy_with_itself_is_the_reconstruction(model):
    a, b = SENTENCES[:2]
    assert [model.analogy(a, a, b)] == model.reconstruct([b])
    assert [model.analogy(a, b, a)] == model.reconstruct([b])


def test_a_stream_gives_the_same_whatever_is_read_at_a_time(model, monkeypatch):
    drawn = {"seed": 3, "temperature": 1.0}
    a, b, c, d = SENTENCES
    whole = model.reconstruct(SENTENCES, **drawn)
    pairs, triples = [(a, b), (c, d), (d, a)], [(a, b, c), (b, c, d), (c, d, a)]
    paths = list(model.stream_interpolate(pairs, 3, **drawn))
    fourths = list(model.stream_analogy(triples, **drawn))
    samples = model.sample(5, seed=3)
    monkeypatch.setattr("vaetx_jax.inference.groups.WINDOW", 2)
    assert list(model.stream_reconstruct(iter(SENTENCES), **drawn)) == whole
    assert list(model.stream_interpolate(iter(pairs), 3, **drawn)) == paths
    assert list(model.stream_analogy(iter(triples), **drawn)) == fourths
    assert [len(path) for path in paths] == [3, 3, 3]
    assert list(model.stream_sample(5, seed=3)) == samples


def test_a_stream_reads_no_further_than_a_window(model, monkeypatch):
    monkeypatch.setattr("vaetx_jax.inference.groups.WINDOW", 3)
    sentences = iter(SENTENCES * 2)
    stream = model.stream_reconstruct(sentences)
    assert next(stream) == model.reconstruct(SENTENCES[:1])[0]
    assert len(list(sentences)) == 2 * len(SENTENCES) - 3


def test_a_stream_that_cannot_be_is_refused_before_it_is_read(model):
    with pytest.raises(ConfigError, match="unknown argument 'heat'"):
        model.stream_reconstruct(SENTENCES, heat=1.0)
    with pytest.raises(ConfigError, match="steps = 1"):
        model.stream_interpolate([], 1)


def test_a_sentences_nearest_neighbour_is_itself(model):
    found = model.neighbours(SENTENCES[1:3], SENTENCES, 2)
    assert found.rows_QxK[:, 0].tolist() == [1, 2]
    np.testing.assert_allclose(found.scores_QxK[:, 0], 1.0, rtol=1e-6)
    vectors, _ = model.encode(SENTENCES)
    np.testing.assert_array_equal(
        model.neighbours(vectors[1:3], vectors, 2).rows_QxK, found.rows_QxK
    )


@pytest.mark.slow
def test_a_score_is_the_evaluations_bound_of_the_same_sentences(model):
    """Both by the mean over many seeds: a draw of z each."""
    scores = [model.score(SENTENCES, iw_samples=0, seed=seed) for seed in range(20)]
    mean = np.mean([s.elbo_N for s in scores], axis=0)
    ids = [model.run.tokenizer.encode([s])[0] for s in SENTENCES]
    rows = next(iter(rows_by_length(ids[:1] * BATCH, model.run.tokenizer, 40)))
    batch = {"ids": rows.ids_BxS, "weight": np.ones(BATCH, np.float32), "index": np.arange(BATCH)}
    estimator = estimator_lib.Estimator(model.run.model, model.run.mesh, seed=0)
    figures = estimator.of_batch(model.variables, batch, seed=5)  # the first sentence, 64 draws
    bound = -np.asarray(figures["nll"] + figures["kl"])
    assert mean[0] == pytest.approx(bound.mean(), abs=5 * bound.std() / np.sqrt(20) + 1e-4)


def test_a_score_counts_pieces_and_words_and_says_what_was_cut(model):
    scores = model.score([SENTENCES[0], "", "storm " * 100], iw_samples=0)
    pieces = model.run.tokenizer.encode([SENTENCES[0]])[0]
    assert scores.pieces_N.tolist() == [len(pieces) + 1, 1, 39]
    assert scores.words_N[:2].tolist() == [6, 0] and 0 < scores.words_N[2] < 39
    assert scores.cut_N.tolist() == [False, False, True]
    assert np.isnan(scores.iw_N).all()


def test_a_score_does_not_depend_on_where_the_sentence_stands(model):
    first = model.score(SENTENCES, iw_samples=3)
    again = model.score(SENTENCES[::-1], iw_samples=3)
    np.testing.assert_array_equal(first.elbo_N, again.elbo_N[::-1])
    np.testing.assert_array_equal(first.iw_N, again.iw_N[::-1])
    assert (first.kl_N >= 0).all() and np.isfinite(first.iw_N).all()


def test_the_map_is_the_principal_components(model):
    from sklearn.decomposition import PCA

    shown = model.latent_map(SENTENCES)
    mean, _ = model.encode(SENTENCES)
    pca = PCA(2).fit(mean)
    np.testing.assert_allclose(shown.shares_2, pca.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(np.abs(shown.points_Nx2), np.abs(pca.transform(mean)), atol=1e-6)
    assert model.latent_map(SENTENCES[:1]).points_Nx2.tolist() == [[0, 0]]
    assert model.latent_map([]).points_Nx2.shape == (0, 2)


def test_a_language_model_samples_and_scores(language_model):
    assert len(language_model.sample(2)) == 2
    scores = language_model.score(SENTENCES, iw_samples=2)
    np.testing.assert_allclose(scores.iw_N, scores.elbo_N, rtol=1e-6)
    assert not scores.kl_N.any()


def test_a_language_model_refuses_what_needs_a_latent(language_model):
    for what, call in {
        "encode": lambda m: m.encode(SENTENCES),
        "decode": lambda m: m.decode(np.zeros((1, 0))),
        "reconstruct": lambda m: m.reconstruct(SENTENCES),
        "interpolate": lambda m: m.interpolate("a", "b"),
        "analogy": lambda m: m.analogy("a", "b", "c"),
        "neighbours": lambda m: m.neighbours(SENTENCES, SENTENCES),
        "latent_map": lambda m: m.latent_map(SENTENCES),
    }.items():
        with pytest.raises(UserError, match=f"{what} needs a latent, and transformer_lm is"):
            call(language_model)


def test_no_checkpoint_is_a_clear_error(tmp_path, trained):
    for name in ("config.json",):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / "tokenizer").symlink_to(trained / "tokenizer")
    with pytest.raises(UserError, match="no checkpoints here"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_folder_that_is_none_is_a_clear_error(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not the work folder of a run"):
        load(tmp_path / name)


def test_the_package_gives_load_and_fit_when_asked(trained):
    assert vaetx_jax.load is load
    assert vaetx_jax.load(str(trained)).step > 0
    assert callable(vaetx_jax.fit) and callable(vaetx_jax.fit)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        vaetx_jax.lode  # noqa: B018


def test_asking_for_load_twice_in_a_fresh_process_gives_the_function():
    code = (
        "import vaetx_jax; vaetx_jax.fit; print(callable(vaetx_jax.fit), callable(vaetx_jax.load))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]


def test_a_model_is_shown_in_one_line(model, trained):
    kind = "vae_transformer, latent 4"
    assert repr(model) == f"<TextModel {kind}, step {model.step} (best) of {str(trained)!r}>"


def test_a_model_can_be_a_key(model, trained):
    assert {model: 1}[model] == 1
    assert model != load(trained)


def test_a_model_is_its_own_copy(model):
    assert copy.deepcopy(model) is model and copy.copy(model) is model


def test_a_pickle_of_a_model_refers_to_its_folder_and_step(model, trained, monkeypatch):
    monkeypatch.chdir(trained.parent)
    packed = pickle.dumps(load(trained.name))  # by a relative path
    assert len(packed) < 1_000 and str(trained).encode() in packed
    monkeypatch.chdir("/")
    again = pickle.loads(packed)
    assert (again.step, again.source) == (model.step, model.source)
    np.testing.assert_array_equal(again.encode(SENTENCES)[0], model.encode(SENTENCES)[0])


def test_a_pickle_of_a_model_holds_its_prior(model):
    prior = LatentPrior(np.ones(1), np.full((1, 4), 3.0), np.eye(4)[None])
    again = pickle.loads(pickle.dumps(dataclasses.replace(model, prior=prior)))
    np.testing.assert_array_equal(again.prior.mean_KxZ, prior.mean_KxZ)


def test_a_pickle_of_a_model_at_a_url_refers_to_the_url(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("VAETX_CACHE", str(tmp_path))
    packed = pickle.dumps(load(trained.as_uri()))
    assert trained.as_uri().encode() in packed


@pytest.mark.parametrize("max_len", [3, 8, 9, 40, 64, 256, 500])
def test_row_lengths_grow_to_the_longest_and_waste_little(max_len):
    lengths = length_classes(max_len)
    assert lengths[-1] == max_len and lengths == sorted(set(lengths))
    assert all(b <= 1.5 * a for a, b in itertools.pairwise(lengths))


def test_one_sentence_is_a_batch_of_one(model, monkeypatch):
    shapes = record_encoded_shapes(monkeypatch)
    model.encode(SENTENCES[:1])
    assert shapes == [(1, 12)]


def test_a_call_of_many_runs_in_batches_of_two_sizes(model, monkeypatch):
    shapes = record_encoded_shapes(monkeypatch)
    model.encode(SENTENCES[:1] * (BATCH + 3))
    assert shapes == [(BATCH, 12), (8, 12)]


def record_encoded_shapes(monkeypatch):
    shapes, encode = [], sentences_lib._encode

    def recorded(model, variables, ids_BxS):
        shapes.append(ids_BxS.shape)
        return encode(model, variables, ids_BxS)

    monkeypatch.setattr(sentences_lib, "_encode", recorded)
    return shapes
