"""Models of the hub, by its own client over HTTP: fetched, uploaded, and what it says of faults."""

import pathlib
import shutil
import sys

import jax
import numpy as np
import pytest
from absl import flags
from huggingface_hub import constants

from tests.helpers.archives import unpack
from tests.helpers.hub_server import hub_server, point_at
from vaetx_jax import command_line, export
from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.inference import hub as hub_lib
from vaetx_jax.inference.loading import load

# The client's own, of the library below it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SENTENCES = ["i love this soup", "the chefs were happy"]
NOWHERE = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return unpack("exported", tmp_path_factory.mktemp("exported"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def hub(cache, monkeypatch):
    with hub_server(cache, monkeypatch) as hub:
        yield hub


@pytest.fixture
def push(hub, exported, monkeypatch, capsys, tmp_path):
    """Runs `export --push=NAME` in this process: (exit status, output, errors, the folder)."""

    def run(name):
        values = flags.FlagValues()
        monkeypatch.setattr(flags, "FLAGS", values)
        monkeypatch.setattr(sys, "argv", ["export"])
        export.define_flags(values)
        folder = tmp_path / "shared"
        command_line._parse(["export", f"--workdir={exported}", f"--to={folder}", f"--push={name}"])
        status = command_line._guarded(export.main)
        out, errors = capsys.readouterr()
        return status, out, errors, folder

    return run


@pytest.mark.parametrize(
    ("large", "xet"), [((".safetensors",), False), ((), True)], ids=["git-lfs", "plain"]
)
def test_a_pushed_model_comes_back_bit_for_bit(push, hub, exported, monkeypatch, large, xet):
    hub.large = large
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)
    status, out, _, _ = push("me/tiny")
    assert not status and "uploaded: http://" in out
    (_, first), (commit, _) = hub.holds["me/tiny"].commits
    assert not first.get("model.safetensors")
    before, after = load(exported), load("me/tiny", revision=commit)
    assert after.step == before.step
    for old, new in zip(
        jax.tree.leaves(before.variables), jax.tree.leaves(after.variables), strict=True
    ):
        assert np.asarray(old).tobytes() == np.asarray(new).tobytes()
    for mine, theirs in zip(before.encode(SENTENCES), after.encode(SENTENCES), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert after.sample(2) == before.sample(2)


def test_a_revision_is_the_model_of_then(hub, exported, tmp_path):
    newer = shutil.copytree(exported, tmp_path / "newer")
    (newer / "README.md").write_text("newer")
    first, second = hub.add("me/tiny", exported), hub.add("me/tiny", newer)
    found = {
        revision: (hub_lib.fetch("me/tiny", revision=revision) / "README.md").read_text()
        for revision in (first, second, "main", None)
    }
    assert found.pop(first) == (exported / "README.md").read_text()
    assert set(found.values()) == {"newer"}


def test_a_fetched_model_needs_no_network_again(hub, exported, cache, monkeypatch):
    hub.add("me/tiny", exported)
    folder = hub_lib.fetch("me/tiny")
    point_at(NOWHERE, cache, monkeypatch)
    assert hub_lib.fetch("me/tiny") == folder


def test_only_what_an_export_writes_is_fetched(hub, exported, tmp_path):
    more = shutil.copytree(exported, tmp_path / "more")
    (more / "pytorch_model.bin").write_text("gigabytes")
    hub.add("me/tiny", more)
    assert not (hub_lib.fetch("me/tiny") / "pytorch_model.bin").exists()


def test_an_earlier_model_gives_way_and_other_files_stay(push, hub, tmp_path):
    old = tmp_path / "old"
    (old / "encoder_tokenizer").mkdir(parents=True)
    for name in ("prior.safetensors", "encoder_tokenizer/vocab.txt", "picture.png"):
        (old / name).write_text("old")
    hub.add("me/tiny", old)
    status, _, _, folder = push("me/tiny")
    assert not status
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(hub.files("me/tiny")) == written | {"picture.png"}


# What cannot be fetched ---------------------------------------------------------------------------


def test_a_model_that_is_not_there_is_told(hub, cache):
    assert refused("me/nothing", cache) == (
        "me/nothing: no such folder, and no model could be fetched from the hub by that name "
        "(there is none, or it is private and needs `hf auth login`)"
    )


def test_a_private_model_is_told_to_a_stranger_like_none(hub, exported, cache, monkeypatch):
    hub.add("me/tiny", exported)
    hub.holds["me/tiny"].private = True
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    assert "there is none, or it is private" in refused("me/tiny", cache)


def test_a_revision_that_is_not_there_is_told(hub, exported, cache):
    hub.add("me/tiny", exported)
    said = refused("me/tiny", cache, revision="v9")
    assert "by that name at the revision 'v9' (it has no such revision)" in said


def test_a_refused_token_is_told(hub, exported, cache, monkeypatch):
    hub.add("me/tiny", exported)
    monkeypatch.setenv("HF_TOKEN", "hf_revoked")
    assert "or the token is refused: `hf auth login` (Invalid credentials" in refused(
        "me/tiny", cache
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "the token does not allow it: refused for a test"), (500, "the hub answered 500: ")],
)
def test_an_answer_that_is_none_is_told(hub, exported, cache, status, said):
    hub.add("me/tiny", exported)
    hub.refused["/api/models/me/tiny"] = status
    assert said in refused("me/tiny", cache)


def test_a_hub_that_cannot_be_reached_is_told(hub, cache, monkeypatch):
    point_at(NOWHERE, cache, monkeypatch)
    assert "(the hub cannot be reached: " in refused("me/tiny", cache)


def test_a_network_that_is_turned_off_is_told(hub, cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the network is turned off by HF_HUB_OFFLINE" in refused("me/tiny", cache)


def test_a_repository_of_something_else_is_told(hub, cache, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    hub.add("me/bert", tmp_path / "other")
    with pytest.raises(UserError, match=r"^me/bert: no model on the hub that .* export wrote$"):
        load("me/bert")


def test_a_network_that_goes_halfway_leaves_nothing_half_written(hub, exported, cache, monkeypatch):
    hub.add("me/tiny", exported)
    hub.torn = "config.json"
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's own attempts
    with pytest.raises(UserError, match=r"^me/tiny: .*\(.*disconnected.*\)$"):
        load("me/tiny")
    assert not list(cache.rglob("*.incomplete"))
    hub.torn = ""
    assert load("me/tiny").step == load(exported).step


def test_a_file_that_is_not_as_it_was_written_is_told_with_what_to_delete(hub, exported, cache):
    hub.add("me/tiny", exported)
    files = hub.files("me/tiny")
    files["config.json"] = files["config.json"].replace(b"200", b"300")
    with pytest.raises(DamagedError) as caught:
        load("me/tiny")
    said = str(caught.value)
    assert "config.json: not as it was written" in said and "\n" not in said
    assert f"delete {cache / 'models--me--tiny'}, so that it is fetched again" in said


def refused(name, cache, **options):
    """The one line by which a model is not loaded, and of which nothing is kept."""
    with pytest.raises(UserError) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)
    assert not list(cache.glob("models--*/snapshots/*"))
    return str(caught.value)


# What cannot be uploaded --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "token", "refusal", "said"),
    [
        ("me/tiny", "", {}, "nobody is logged in, or the token is refused: `hf auth login`"),
        ("me/tiny", "hf_revoked", {}, "nobody is logged in, or the token is refused: `hf auth"),
        ("you/tiny", None, {}, "the token does not allow it: "),
        ("me/tiny", None, {"/lfs/": 400}, "the hub answered 400: "),
        ("me/tiny", None, {"/commit/": 500}, "the hub answered 500: "),
    ],
    ids=["nobody", "revoked", "other", "file", "commit"],
)
def test_an_upload_that_is_refused_is_told_and_leaves_no_file(
    push, hub, tmp_path, monkeypatch, name, token, refusal, said
):
    hub.refused |= refusal
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    status, _, errors, folder = push(name)
    (line,) = (line for line in errors.splitlines() if "error: " in line)
    assert status == 1
    assert f"error: --push={name}: could not be uploaded ({said}" in line
    assert f"the folder {folder} is whole, and `hf upload {name} {folder}` uploads it again" in line
    assert name not in hub.holds or set(hub.files(name)) == {".gitattributes"}
    assert load(folder).step


def test_an_upload_without_a_network_is_told(push, cache, monkeypatch):
    point_at(NOWHERE, cache, monkeypatch)
    status, _, errors, _ = push("me/tiny")
    assert status == 1 and "could not be uploaded (the hub cannot be reached: " in errors


def test_a_name_that_is_none_is_refused_before_anything_is_written(push, hub):
    status, _, errors, folder = push("tiny")
    assert status == 2 and errors.strip() == "error: --push=tiny: give USER/NAME"
    assert not folder.exists() and not hub.asked


# Names and folders --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b/c", "/tmp/x", "name", "~/x/y", "a b/c", ""])
def test_a_path_is_no_name(name):
    assert not hub_lib.is_name(name)


def test_a_folder_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_lib.is_name("runs/mine")
    pathlib.Path("runs/mine").mkdir(parents=True)
    assert not hub_lib.is_name("runs/mine")


def test_a_folder_has_no_revision(exported):
    with pytest.raises(UserError, match=r"^revision 'main': only a model of the hub has one; "):
        load(exported, revision="main")
