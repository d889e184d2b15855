"""Models of the hub: found by name in its cache, uploaded, and one line where that fails."""

import numpy as np
import pytest

from tests.helpers.offline_hub import COMMIT, offline_hub
from vaetx_jax.errors import UserError
from vaetx_jax.export import export
from vaetx_jax.inference import hub
from vaetx_jax.inference.loading import load


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    return export(load(trained), tmp_path_factory.mktemp("hub") / "model")


def test_a_model_is_loaded_by_its_name(exported, tmp_path, monkeypatch):
    offline_hub(tmp_path, "me/tiny", exported, monkeypatch)
    by_name, by_folder = load("me/tiny"), load(exported)
    for name, leaf in by_folder.params["mu"].items():
        np.testing.assert_array_equal(by_name.params["mu"][name], leaf)
    assert load("me/tiny", revision=COMMIT).step == by_folder.step


def test_a_model_that_cannot_be_fetched_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"^nobody/nothing: no such folder, and no model .*\)$"):
        load("nobody/nothing")


@pytest.mark.parametrize("name", ["a/b/c", "/tmp/x", "name", "~/x/y", "a b/c", ""])
def test_a_path_is_no_name(name):
    assert not hub.is_name(name)


def test_a_folder_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub.is_name("runs/mine")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert not hub.is_name("runs/mine")


class RecordingApi:
    calls: list = []

    def create_repo(self, name, **options):
        self.calls.append(("create", name, options))

    def upload_folder(self, *, repo_id, folder_path):
        self.calls.append(("upload", repo_id, folder_path))
        return "the address"


def test_an_exported_folder_is_uploaded_under_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", RecordingApi)
    assert hub.push(tmp_path, "me/tiny", private=True) == "the address"
    assert RecordingApi.calls == [
        ("create", "me/tiny", {"private": True, "exist_ok": True}),
        ("upload", "me/tiny", tmp_path),
    ]


def test_a_missing_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        hub.push(tmp_path, "me/tiny", private=False)
    assert str(error.value).startswith("--push=me/tiny: could not be uploaded (")
    assert "\n" not in str(error.value)


def test_a_name_that_is_none_is_not_uploaded(tmp_path):
    with pytest.raises(UserError, match="--push=tiny: give USER/NAME"):
        hub.push(tmp_path, "tiny", private=False)
