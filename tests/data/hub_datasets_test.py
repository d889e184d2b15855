"""Data sets of the hub, read over HTTP by the library `datasets` itself.

`dataset_rows_test.py` has everything else of them, with a stand-in for that library.
"""

import uuid

import pytest
from huggingface_hub import constants

from tests.helpers.hub_server import Repository, hub_server, point_at
from vaetx_jax.data import dataset_rows
from vaetx_jax.data.fields import Fields
from vaetx_jax.errors import UserError

datasets = pytest.importorskip("datasets")

NOWHERE = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the libraries' own attempts
    with hub_server(tmp_path / "hub", monkeypatch) as hub:
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", constants.ENDPOINT)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
        yield hub
        dataset_rows._from_hub.cache_clear()


@pytest.fixture
def name(hub):
    """A data set of two splits, under a name that no cache of this process knows."""
    name = f"me/reviews-{uuid.uuid4().hex}"
    files = {"train.csv": b"text,label\na b,1\nc,0\n", "test.csv": b"text,label\nd,1\n"}
    hub.holds[f"datasets/{name}"] = Repository()
    hub.holds[f"datasets/{name}"].commit(files)
    return name


def rows(source):
    fields = Fields.of("", "")
    return [row for _, row in dataset_rows.dataset_rows(source, fields, ("text", "label"))]


def test_a_split_is_downloaded_once(hub, name, tmp_path, monkeypatch):
    assert rows(f"hf://{name}:test") == [{"text": "d", "label": 1}]
    asked = len(hub.asked)
    dataset_rows._from_hub.cache_clear()
    point_at(NOWHERE, tmp_path / "hub", monkeypatch)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", NOWHERE)
    assert rows(f"hf://{name}:train") == [{"text": "a b", "label": 1}, {"text": "c", "label": 0}]
    assert len(hub.asked) == asked


def test_a_data_set_that_is_not_there_is_told(hub):
    assert "Check the name; a private one needs `hf auth login`." in refused("hf://me/none")


def test_a_hub_that_cannot_be_reached_is_told(hub, name, tmp_path, monkeypatch):
    point_at(NOWHERE, tmp_path / "hub", monkeypatch)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", NOWHERE)
    assert "There is no network, or the name is wrong" in refused(f"hf://{name}")


def refused(source):
    """The one line by which a data set is not read."""
    with pytest.raises(UserError) as caught:
        rows(source)
    said = str(caught.value)
    assert said.startswith(f"{source}: the data set cannot be loaded from the hub (")
    assert "\n" not in said
    return said
