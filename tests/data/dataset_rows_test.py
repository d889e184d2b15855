"""Data sets of the library `datasets`: those of the hub by a stand-in, saved folders by itself."""

import sys

import pytest

from tests.helpers.fake_datasets import Dataset, DatasetDict, fake_hub
from vaetx_jax.data import dataset_rows
from vaetx_jax.data.corpora.corpus import CorpusSpec, open_corpus
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.decoded_lines import LineError
from vaetx_jax.data.fields import Fields
from vaetx_jax.data.line_reader import read_lines
from vaetx_jax.errors import UserError

REVIEWS = {"review": ["fine , really", "awful", "so-so"], "stars": [1, 0, -1]}
MORE = {"review": ["fine again"], "stars": [1]}
CLASSES = {"stars": ("bad", "good")}
CHOSEN = Fields("review", ("stars",))


@pytest.fixture
def hub(monkeypatch):
    dataset_rows._from_hub.cache_clear()
    yield fake_hub(monkeypatch)
    dataset_rows._from_hub.cache_clear()


@pytest.fixture
def reviews(hub):
    splits = {"train": Dataset(REVIEWS, CLASSES), "test": Dataset(MORE, CLASSES)}
    hub.holds["someone/reviews", None] = DatasetDict(splits)
    return hub


def read(source, fields=CHOSEN):
    return [
        (line.number, line.text, dict(line.labels)) for line in read_lines(source, fields=fields)
    ]


TRAIN = [(1, "fine , really", {"stars": "good"}), (2, "awful", {"stars": "bad"}), (3, "so-so", {})]


def test_a_data_set_of_the_hub_is_read_with_the_names_of_its_classes(reviews):
    assert read("hf://someone/reviews") == TRAIN
    assert read("hf://someone/reviews:test") == [(1, "fine again", {"stars": "good"})]


def test_the_columns_of_a_run_are_taken_where_a_data_set_has_them(reviews):
    assert read("hf://someone/reviews", Fields().or_usual(CHOSEN)) == TRAIN


def test_the_only_split_needs_no_name(hub):
    hub.holds["reviews", None] = DatasetDict({"everything": Dataset(REVIEWS, CLASSES)})
    assert read("hf://reviews") == TRAIN


@pytest.mark.parametrize(
    ("source", "held"),
    [
        ("hf://glue/sst2", ("glue", "sst2")),
        ("hf://someone/glue/sst2", ("someone/glue", "sst2")),
    ],
)
def test_a_configuration_stands_behind_the_name(hub, source, held):
    hub.holds[held] = DatasetDict({"train": Dataset(REVIEWS, CLASSES)})
    assert read(source) == TRAIN


def test_the_hub_is_asked_once_for_a_corpus_that_is_read_again(reviews):
    assert read("hf://someone/reviews") == read("hf://someone/reviews")
    assert len(reviews.asked) == 1


def test_a_folder_of_the_same_name_is_not_taken_for_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    with pytest.raises(UserError):
        read("hf://reviews")
    assert hub.asked == [("hf://datasets/reviews", None)]


@pytest.mark.parametrize(
    ("source", "fields", "problem"),
    [
        ("hf://nothing", CHOSEN, r"hf://nothing: .*\(no nothing on the Hub\). Check the name"),
        ("hf://someone/reviews:dev", CHOSEN, "no split 'dev'; it has train, test"),
        ("hf://someone/reviews", Fields(), "no column 'text'; it has 'review', 'stars'. Name"),
        ("hf://someone/reviews", Fields("review", ("x",)), "no column 'x'"),
        ("hf://someone/reviews", Fields("1", ("2",)), "give names instead of numbers"),
        ("hf://a//b", CHOSEN, r"give hf://NAME\[/CONFIG\]\[:SPLIT\]"),
        ("hf://a/b/c/d", CHOSEN, r"give hf://NAME\[/CONFIG\]\[:SPLIT\]"),
    ],
)
def test_what_the_hub_does_not_have_is_told_in_one_line(reviews, source, fields, problem):
    with pytest.raises(UserError, match=problem) as raised:
        read(source, fields)
    assert "\n" not in str(raised.value)


def test_several_splits_of_which_none_is_for_training_are_told(hub):
    splits = {"a": Dataset(REVIEWS, CLASSES), "b": Dataset(MORE, CLASSES)}
    hub.holds["reviews", None] = DatasetDict(splits)
    with pytest.raises(UserError, match="no split 'train'; it has a, b"):
        read("hf://reviews")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ConnectionError("no route\nto host"), r"\(no route to host\). There is no network"),
        (ValueError("Config name is missing"), r"\(Config name is missing\). Write hf://NAME/CONF"),
    ],
)
def test_a_hub_that_gives_nothing_is_told_with_what_to_do(hub, error, advice):
    hub.holds["reviews", None] = error
    with pytest.raises(UserError, match=advice):
        read("hf://reviews")


def test_the_error_of_the_likelier_reading_of_a_name_is_told(hub):
    hub.holds["glue", "sst9"] = ValueError("no config sst9, but sst2")
    with pytest.raises(UserError, match="but sst2"):
        read("hf://glue/sst9")


@pytest.mark.parametrize("values", [[None], [["a", "b"]], [3]])
def test_a_row_without_a_text_is_told_with_its_number_or_left_out(hub, values):
    columns = {"text": ["fine", *values, "fine"]}
    hub.holds["reviews", None] = DatasetDict({"train": Dataset(columns, {})})
    with pytest.raises(LineError, match="hf://reviews, line 2: a text is needed"):
        read("hf://reviews", Fields())
    errors: list[LineError] = []
    lines = list(read_lines("hf://reviews", on_error=errors.append))
    assert [line.number for line in lines] == [1, 3] and len(errors) == 1


def test_a_data_set_needs_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"hf://one: .*pip install 'vaetx-jax\[hf\]'"):
        read("hf://one")


def many(label):
    texts = [f"sentence number {n} is {label}" for n in range(40)]
    return {"review": texts, "stars": [n % 2 for n in range(40)]}


def test_a_corpus_takes_each_split_from_the_hub(hub, tmp_path):
    splits = {name: Dataset(many(name), CLASSES) for name in ("train", "validation", "test")}
    hub.holds["someone/reviews", None] = DatasetDict(splits)
    sources = {"valid": "hf://someone/reviews:validation", "test": "hf://someone/reviews:test"}
    spec = CorpusSpec("text", tmp_path, train="hf://someone/reviews", **sources, fields=CHOSEN)
    corpus = open_corpus(spec)
    assert [len(corpus.split(split)) for split in SPLITS] == [40, 40, 40]
    assert corpus.label_fields == {"stars": ("bad", "good")}
    assert corpus.split("valid")[1].labels == {"stars": 1}


def test_another_row_makes_another_corpus(hub, tmp_path):
    def fingerprint(columns):
        dataset_rows._from_hub.cache_clear()
        hub.holds["reviews", None] = DatasetDict({"train": Dataset(columns, CLASSES)})
        spec = CorpusSpec("text", tmp_path, train="hf://reviews", fields=CHOSEN)
        return open_corpus(spec).fingerprint

    columns = many("train")
    assert fingerprint(columns) == fingerprint(many("train"))
    assert fingerprint(columns) != fingerprint({**columns, "stars": columns["stars"][::-1]})


# Folders ------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")
    label = datasets.ClassLabel(names=list(CLASSES["stars"]))
    features = datasets.Features({"review": datasets.Value("string"), "stars": label})
    splits = {
        name: datasets.Dataset.from_dict(columns, features=features)
        for name, columns in (("train", REVIEWS), ("test", MORE))
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_folder_is_read_whole_by_split_or_as_one_split(saved):
    assert read(saved) == read(f"{saved}:train") == read(saved / "train") == TRAIN
    assert read(f"{saved}:test") == read(saved / "test")


def test_a_saved_folder_with_a_colon_in_its_name_is_read(saved):
    other = saved.rename(saved.with_name("a:b"))
    assert read(other) == TRAIN
    assert read(f"{other}:test") == read(other / "test")


@pytest.mark.parametrize(
    ("place", "problem"),
    [(":dev", "no split 'dev'; it has train, test"), ("/train:dev", "has no splits. Leave out")],
)
def test_a_split_that_a_folder_lacks_is_told(saved, place, problem):
    with pytest.raises(UserError, match=problem):
        read(f"{saved}{place}")


def test_a_damaged_folder_is_told(saved):
    (saved / "train" / "data-00000-of-00001.arrow").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"the data set cannot be read \(.*Save it again"):
        read(saved)


def test_any_other_folder_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="photos: this is a folder, and none that save_to_disk"):
        open_corpus(CorpusSpec("text", tmp_path, train=str(tmp_path / "photos")))
