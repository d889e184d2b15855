"""`vaetx_jax.fit` and the scikit-learn adapter: a model from a list of sentences."""

import gc
import pickle
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.helpers import tiny_bert
from tests.helpers.fake_datasets import Dataset, DatasetDict, fake_hub
from vaetx_jax.data.fields import Fields
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.export import export
from vaetx_jax.fitting import fit
from vaetx_jax.inference.columns import Corpus, columns_of
from vaetx_jax.inference.loading import load
from vaetx_jax.sentence_vectors import SentenceVectors

SENTENCES = [f"the {a} {b} {c}" for a in ("old", "new") for b in ("cat", "dog") for c in "abcdefgh"]
SENTENCES += ['a "quoted", thing', "two\nlines\tand a tab", "", "café 🎉"]
LABELS = [i % 2 for i in range(len(SENTENCES))]
SMALL = {
    "model_dim": 8,
    "model_latent_dim": 4,
    "model_layers": 1,
    "tokenizer_vocab_size": 80,
    "data_groups": 1,
    "data_max_len": 24,
    "data_batch_size": 8,
    "train_steps": 4,
    "train_log_every": 2,
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Settings, with compiled programs and folders in a place of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAETX_CACHE", str(tmp_path_factory.mktemp("fit-cache")))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("fit-tmp")))
        patch.setattr("tempfile.tempdir", None)
        for module in ("fitting", "inference.loading"):  # the cache would be in a temporary run
            patch.setattr(f"vaetx_jax.{module}.use_compilation_cache", lambda config: None)
        yield SMALL


@pytest.fixture(scope="module")
def kept(quick, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "run"
    fit(SENTENCES, LABELS, workdir=folder, verbose=False, **quick)
    return folder


def test_a_fitted_model_is_ready_to_use_and_was_quiet(quick, capfd):
    model = fit(SENTENCES, verbose=False, **quick)
    assert capfd.readouterr().err == ""
    assert model.encode(SENTENCES)[0].shape == (len(SENTENCES), 4)
    assert model.step == 4 and len(model.sample(2)) == 2
    with pytest.raises(UserError, match="fitted without a workdir: its folder is temporary"):
        pickle.dumps(model)
    folder = model.run.folder
    assert folder.is_dir()
    del model
    gc.collect()
    assert not folder.exists(), "a temporary run goes with its model"


def test_a_temporary_run_stays_for_a_model_that_is_made_of_the_first(quick):
    model = fit(SENTENCES, LABELS, verbose=False, **quick).fit_prior(2, verbose=False)
    gc.collect()
    assert model.run.folder.is_dir() and len(model.sample(1, label="1")) == 1


def test_a_kept_run_loads_and_the_same_call_does_not_train_again(quick, kept):
    before = sorted((kept / "checkpoints").iterdir())
    again = fit(SENTENCES, LABELS, workdir=kept, verbose=False, **quick)
    assert sorted((kept / "checkpoints").iterdir()) == before
    np.testing.assert_array_equal(again.encode(["the cat"])[0], load(kept).encode(["the cat"])[0])
    assert again.run.corpus.label_fields == {"label": ("0", "1")}


def test_an_export_says_what_helps_where_the_training_sentences_are_needed(kept, tmp_path):
    exported = load(export(load(kept), tmp_path / "export"))
    for call in (lambda: exported.sample(1, label="1"), exported.fit_prior):
        with pytest.raises(UserError, match=r"without its corpus.* load the folder of the run"):
            call()


def test_other_sentences_are_refused_in_a_kept_run(quick, kept):
    before = {path: path.read_bytes() for path in kept.rglob("*.csv")}
    with pytest.raises(UserError, match="is not the one this run began with"):
        fit([*SENTENCES, "one more"], [*LABELS, 0], workdir=kept, verbose=False, **quick)
    assert {path: path.read_bytes() for path in kept.rglob("*.csv")} == before
    fit(SENTENCES, LABELS, workdir=kept, verbose=False, **quick)  # and no harm was done


def test_no_flag_is_named_where_a_folder_or_a_model_is_refused(quick, kept, tmp_path):
    (tmp_path / "file").touch()
    refused = {
        "this is a file": lambda: fit(SENTENCES, workdir=tmp_path / "file", **quick),
        "has other settings": lambda: fit(SENTENCES, LABELS, workdir=kept, **quick | {"seed": 1}),
        "is not the one": lambda: fit(SENTENCES[1:], workdir=kept, **quick),
        "model 'vae_rnn'": lambda: fit(SENTENCES, model="vae_rnn"),
        "not the work folder of a run": lambda: load(tmp_path),
        "no checkpoint '3'": lambda: load(kept, checkpoint=3),
    }
    for words, call in refused.items():
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "--" not in str(caught.value)


def test_the_same_sentence_is_never_in_two_splits(tmp_path):
    Corpus(SENTENCES * 3, {}).write(tmp_path)
    splits = [
        set((tmp_path / f"{s}.csv").read_text().splitlines()[1:])
        for s in ("train", "valid", "test")
    ]
    assert all(splits) and not splits[0] & splits[1] and not splits[1] & splits[2]
    assert not splits[0] & splits[2]
    assert sum(map(len, splits)) == len(set(SENTENCES) - {""})


def test_it_runs_beside_the_main_thread(quick):
    models = []
    thread = threading.Thread(target=lambda: models.append(fit(SENTENCES, verbose=False, **quick)))
    thread.start()
    thread.join()
    assert models and models[0].step == 4


@pytest.mark.parametrize(
    ("sentences", "labels", "words"),
    [
        ("one text", None, "a list of sentences is needed"),
        (["a", "b", "", " b "], None, "2 different sentences: at least 3"),
        (["a", "b", 3], None, "sentence 2 .* a int"),
        (["a", "b", "c\0"], None, "sentence 2 .* NUL"),
        (["a", "b", "c" * 100_001], None, "more than 100,000 characters"),
        (["a", "b", "c"], [1, 2], "2 labels for 3 sentences"),
        (["a", "b", "c"], ["x", "", "y", "z"], "4 labels for 3 sentences"),
        (["a", "b", "c"], [None, float("nan"), " "], "all labels are missing"),
        (["a", "b", "c"], "xyz", "labels must be a list"),
        (["a", "b", "c"], [["x"], ["x", "y"], []], "label .* is a list; each must be one text"),
        (["a", "b", "c"], [b"x", b"y", b"x"], "label b'x' is a bytes"),
        (["a", "a", "a"], None, "1 different sentence: at least 3"),
        ({"review": ["a", "b", "c"]}, None, "no column 'text'; it has 'review'"),
        (None, None, "a list of sentences is needed, not None"),
        ({"a", "b", "c"}, None, "a set has no order"),
    ],
)
def test_sentences_that_cannot_be_used_are_refused(sentences, labels, words):
    with pytest.raises(UserError, match=words):
        fit(sentences, labels)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model_latent_dims": 3}, "no setting model_latent_dims .did you mean model_latent_dim"),
        ({"config": {"model.latent": 3}}, "no setting 'model.latent' .did you mean"),
        ({"model_latent_dim": 0}, r"config.model.latent_dim = 0: must be at least 1"),
        ({"model_latent_dim": "many"}, r"config.model.latent_dim = 'many': of the wrong type"),
        ({"train_epochs": True}, "train.epochs = True: of the wrong type, bool instead of int"),
        ({"train_learning_rate": np.True_}, "of the wrong type, bool instead of float"),
        ({"model_layers": True}, "of the wrong type, bool instead of int"),
        ({"model_tied": 1}, "of the wrong type, int instead of bool"),
        ({"train_learning_rate": -1.0}, r"config.train.learning_rate = -1.0: must be above 0"),
        ({"model": "vae_rnn"}, "model 'vae_rnn'"),
        ({"config": "configs/text.py"}, "config = 'configs/text.py': give a dict of settings"),
        ({"data_train": "x"}, "no setting data_train"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_trained(settings, words):
    with pytest.raises(ConfigError, match=words):
        fit(["a", "b", "c"], **settings)


@pytest.mark.slow
def test_a_published_encoder_is_one_argument(quick, tmp_path):
    folder = tiny_bert.write(tmp_path / "bert")
    settings = {name: value for name, value in quick.items() if name != "tokenizer_vocab_size"}
    model = fit(SENTENCES, LABELS, encoder=folder, verbose=False, **settings)
    assert model.run.config.model.name == "vae_bert"
    assert model.run.encoder_tokenizer.size == tiny_bert.VOCABULARY
    np.testing.assert_array_equal(
        model.params["encoder"]["token"]["embedding"],
        tiny_bert.tensors()["embeddings.word_embeddings.weight"],
    )


def test_a_published_encoder_is_of_one_model():
    with pytest.raises(ConfigError, match=r"model .vae_gru. with an encoder: only vae_bert"):
        fit(SENTENCES, model="vae_gru", encoder="folder")


def test_a_table_gives_its_columns_and_a_missing_label_is_none():
    table = {"review": np.array(["a", "b", "c"]), "stars": [1, float("nan"), None], "id": [1, 2, 3]}
    corpus = columns_of(table, None, Fields.of("review", "stars"))
    assert list(corpus.texts) == ["a", "b", "c"]
    assert corpus.labels == {"stars": ["1", "", ""]}
    assert columns_of({"text": ["a", "b", "c"]}, [0, 1, 1], Fields()).labels == {
        "label": ["0", "1", "1"]
    }
    with pytest.raises(UserError, match="no table"):
        columns_of(["a", "b", "c"], None, Fields.of("review", ""))


def test_a_file_or_a_data_set_of_the_hub_gives_its_columns(tmp_path, monkeypatch):
    texts, stars = ["fine", "so-so", "awful", "fine"], ["good", "", "bad", "good"]
    path = tmp_path / "a.csv"
    rows = zip(texts, stars, strict=True)
    path.write_text("stars,review\n" + "".join(f"{star},{text}\n" for text, star in rows))
    splits = {
        "train": Dataset({"review": texts, "stars": [1, -1, 0, 1]}, {"stars": ("bad", "good")})
    }
    fake_hub(monkeypatch).holds["fitted", None] = DatasetDict(splits)
    for given in (path, "hf://fitted", splits["train"]):
        corpus = columns_of(given, None, Fields("review", ("stars",)))
        assert list(corpus.texts) == texts
        assert corpus.labels == {"stars": stars}
    with pytest.raises(UserError, match=r"is one text; a file is given as pathlib.Path"):
        columns_of(str(path), None, Fields())
    with pytest.raises(UserError, match="labels beside hf://fitted"):
        columns_of("hf://fitted", stars, Fields())


def test_settings_may_be_given_by_their_dotted_keys():
    with pytest.raises(ConfigError, match=r"config.seed = -1"):
        fit(["a", "b", "c"], config={"seed": -1})


def test_a_pipeline_classifies_by_the_vectors_of_a_folder(kept):
    pipeline = make_pipeline(SentenceVectors(kept), LogisticRegression())
    pipeline.fit(SENTENCES, LABELS)
    assert pipeline.predict(SENTENCES).shape == (len(SENTENCES),)
    np.testing.assert_array_equal(pipeline[0].transform(SENTENCES), load(kept).encode(SENTENCES)[0])


def test_a_fitted_pipeline_comes_back_from_a_pickle(kept):
    for given in (kept, load(kept)):
        pipeline = make_pipeline(SentenceVectors(given), LogisticRegression())
        again = pickle.loads(pickle.dumps(pipeline.fit(SENTENCES, LABELS)))
        np.testing.assert_array_equal(
            again.predict_proba(SENTENCES), pipeline.predict_proba(SENTENCES)
        )


def test_the_adapter_keeps_to_scikit_learns_conventions(kept):
    model = load(kept)
    step = SentenceVectors(model, deviation=True)
    assert clone(step).get_params()["deviation"] is True
    with pytest.raises(NotFittedError):
        step.transform(SENTENCES)
    vectors = step.fit_transform(SENTENCES, LABELS)
    assert vectors.shape == (len(SENTENCES), 8)
    assert step.get_feature_names_out().tolist() == [
        f"{k}{i}" for k in ("z", "std") for i in range(4)
    ]


def test_the_adapter_trains_where_it_has_no_model(quick):
    step = SentenceVectors(settings={"verbose": False, **quick}).fit(SENTENCES)
    assert step.transform(SENTENCES[:2]).shape == (2, 4)
