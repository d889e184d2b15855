"""One set of argument rules: the same things are taken and refused by every public method."""

import numpy as np
import pytest

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference.arguments import check_latents, is_missing
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.sentence_vectors import SentenceVectors

TEXTS = ["i love this soup", "the chefs were happy", "i hate tea"]


class Table:
    """A table as DataFrames are: iterating it gives the names of its columns."""

    columns = ("text", "label")

    def __getitem__(self, name):
        return TEXTS

    def __iter__(self):
        return iter(self.columns)


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


# Every public method with the argument that is under test; the rest is fine.
SENTENCES = {
    "encode": lambda m, x: m.encode(x),
    "reconstruct": lambda m, x: m.reconstruct(x),
    "stream_reconstruct": lambda m, x: list(m.stream_reconstruct(x)),
    "steer (sentences)": lambda m, x: m.steer(x, TEXTS, TEXTS),
    "stream_steer": lambda m, x: list(m.stream_steer(x, TEXTS, TEXTS)),
    "score": lambda m, x: m.score(x, iw_samples=0),
    "latent_map": lambda m, x: m.latent_map(x),
    "neighbours (query)": lambda m, x: m.neighbours(x, TEXTS),
    "neighbours (corpus)": lambda m, x: m.neighbours(TEXTS, x, metric="euclidean"),
    "SentenceVectors": lambda m, x: SentenceVectors(m).fit(TEXTS).transform(x),
}
SETS = {  # whose mean is taken, so that they are not empty
    "steer (start)": lambda m, x: m.steer(TEXTS, x, TEXTS),
    "steer (end)": lambda m, x: m.steer(TEXTS, TEXTS, x),
}
GROUPS = {
    "stream_interpolate": lambda m, x: list(m.stream_interpolate(x)),
    "stream_analogy": lambda m, x: list(m.stream_analogy(x)),
}
VECTORS = {
    "encode_vectors": lambda m, x: m.encode_vectors(x),
    "decode_vectors": lambda m, x: m.decode_vectors(x),
}
NO_SENTENCES = {
    "None": None,
    "a text": "i love this soup",
    "bytes": b"i love",
    "a number": 3,
    "a dict": {"text": TEXTS},
    "a table": Table(),
    "a set": set(TEXTS),
}
NO_LISTS_OF_TEXTS = {
    "a NaN": [*TEXTS, float("nan")],
    "a list of lists": [TEXTS],
    "two dimensions": np.array([TEXTS]),
    "half a character": ["\ud800"],
}
NUMBERS = {
    "decode seed": lambda m, n: m.decode(np.zeros((1, m.latent_dim)), seed=n),
    "decode batch": lambda m, n: m.decode(np.zeros((1, m.latent_dim)), batch=n),
    "fit_prior components": lambda m, n: m.fit_prior(n),
    "fit_prior seed": lambda m, n: m.fit_prior(2, seed=n),
    "sample n": lambda m, n: m.sample(n),
    "sample seed": lambda m, n: m.sample(1, seed=n),
    "sample top_k": lambda m, n: m.sample(1, top_k=n),
    "reconstruct seed": lambda m, n: m.reconstruct(TEXTS, seed=n),
    "reconstruct beam": lambda m, n: m.reconstruct(TEXTS, beam=n),
    "interpolate steps": lambda m, n: m.interpolate(*TEXTS[:2], n),
    "analogy seed": lambda m, n: m.analogy(*TEXTS, seed=n),
    "score seed": lambda m, n: m.score(TEXTS, seed=n),
    "score iw_samples": lambda m, n: m.score(TEXTS, iw_samples=n),
    "neighbours k": lambda m, n: m.neighbours(TEXTS, TEXTS, n),
}


def test_every_public_method_is_in_a_table():
    named = " ".join([*SENTENCES, *GROUPS, *VECTORS, *NUMBERS])
    others = {"check_has_latent", "on_local_devices", "params", "latent_dim"}
    fields = set(TextModel.__dataclass_fields__)
    public = {name for name in vars(TextModel) if not name.startswith("_")} - others - fields
    assert not [name for name in public if name.removeprefix("stream_") not in named]


@pytest.mark.parametrize("given", NO_SENTENCES)
@pytest.mark.parametrize("method", [*SENTENCES, *SETS, *GROUPS])
def test_what_is_no_list_of_sentences_is_refused_by_every_method(model, method, given):
    with pytest.raises(UserError, match="a list of sentences is needed"):
        (SENTENCES | SETS | GROUPS)[method](model, NO_SENTENCES[given])


@pytest.mark.parametrize("given", NO_LISTS_OF_TEXTS)
@pytest.mark.parametrize("method", SENTENCES)
def test_an_entry_that_is_no_text_is_refused_by_every_method(model, method, given):
    with pytest.raises(UserError, match="sentence"):
        SENTENCES[method](model, NO_LISTS_OF_TEXTS[given])


def test_the_means_and_deviations_together_are_no_vectors(model):
    both = model.encode(TEXTS)
    for call in (
        lambda: model.neighbours(TEXTS, both),
        lambda: model.neighbours(list(both[0]), TEXTS),
        lambda: model.decode(both),
    ):
        with pytest.raises(UserError, match=r"one array, the means, encode\(\.\.\.\)\[0\]"):
            call()


@pytest.mark.parametrize("method", GROUPS)
def test_a_group_of_the_wrong_size_is_refused(model, method):
    for groups in (TEXTS, [["one"]], [TEXTS + TEXTS]):
        with pytest.raises(UserError, match=r"group 0 \(counted from 0\)"):
            GROUPS[method](model, groups)


@pytest.mark.parametrize(
    "given", [None, "text", [["a"]], [[1.0]], [1.0, 2.0], [[float("nan")] * 16]]
)
@pytest.mark.parametrize("method", VECTORS)
def test_what_are_no_vectors_is_refused(model, method, given):
    with pytest.raises(UserError, match="vectors"):
        VECTORS[method](model, given)


@pytest.mark.parametrize("number", [-1, 1.5, "1", None, True, 2**32])
@pytest.mark.parametrize("method", NUMBERS)
def test_a_number_that_cannot_be_is_refused_by_every_method(model, method, number):
    if number == 2**32 and "seed" not in method:
        pytest.skip("of seeds alone")
    with pytest.raises(ConfigError, match=f"{method.split()[1]} = "):
        NUMBERS[method](model, number)


@pytest.mark.parametrize("method", SENTENCES)
def test_no_sentences_give_no_results(model, method):
    SENTENCES[method](model, [])
    SENTENCES[method](model, np.array([], dtype=str))


@pytest.mark.parametrize("method", SETS)
def test_a_set_without_a_sentence_has_no_mean(model, method):
    with pytest.raises(UserError, match="give at least one to take the mean of"):
        SETS[method](model, [])


def test_every_sequence_of_texts_is_taken_alike(model):
    expected, _ = model.encode(TEXTS)
    for given in (tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), iter(TEXTS)):
        np.testing.assert_array_equal(model.encode(given)[0], expected)
    for query in (TEXTS, np.array(TEXTS), expected):
        for corpus in (np.array(TEXTS), expected):
            assert model.neighbours(query, corpus, np.int64(1)).rows_QxK[:, 0].tolist() == [0, 1, 2]


def test_numbers_of_numpy_are_numbers(model):
    plain = model.sample(2, seed=5, temperature=0.5, top_k=3)
    assert plain == model.sample(
        np.int32(2), seed=np.uint8(5), temperature=np.float32(0.5), top_k=np.int64(3)
    )
    with pytest.raises(ConfigError, match="temperature = 'hot': must be a number"):
        model.sample(1, temperature="hot")


def test_a_checkpoint_may_be_given_as_a_number(trained):
    step = load(trained, checkpoint="last").step
    for given in (step, np.int64(step), str(step)):
        assert load(trained, checkpoint=given).step == step
    with pytest.raises(ConfigError, match=r"checkpoint = 1.5: must be a whole number"):
        load(trained, checkpoint=1.5)


def test_no_latents_are_latents_of_no_sentence(model):
    assert check_latents([], 4).shape == (0, 4)
    assert model.decode([]) == []


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan"), "", "  "])
def test_a_missing_label_is_known(value):
    assert is_missing(value) and not is_missing(0) and not is_missing("nan")
