"""The files of a store: the same of one in memory and of one on a mounted disk."""

import errno
import os
import sys

import pytest

from vaetx_jax.errors import ConfigError
from vaetx_jax.runtime.store import Store, StoreError, check_url, patiently


@pytest.fixture(params=["memory", "local"])
def store(request, tmp_path):
    return Store(f"{request.param}://{tmp_path}/bucket/run/")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def test_what_was_put_is_listed_read_and_got(store, file, tmp_path):
    store.put({"a.txt": file, "below/deep/b.txt": file})
    assert store.list() == {"a.txt": 7, "below/deep/b.txt": 7}
    assert store.list("below/deep") == {"below/deep/b.txt": 7}
    assert store.list(deep=False) == {"a.txt": 7}
    assert store.read("a.txt") == b"content"
    store.get({"a.txt": tmp_path / "new" / "a", "below/deep/b.txt": tmp_path / "new" / "b"})
    assert (tmp_path / "new" / "a").read_bytes() == b"content"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a", "b"]


def test_an_empty_store_has_no_files(store):
    assert store.list() == {} and store.read("a") is None


def test_of_two_new_files_of_one_name_the_first_stays(store):
    assert store.write("lease", b"mine", new=True)
    assert not store.write("lease", b"yours", new=True)
    assert store.read("lease") == b"mine"
    assert store.write("lease", b"mine, later")
    assert store.read("lease") == b"mine, later"
    assert list(store.list()) == ["lease"]


def test_deleting_what_is_not_there_is_no_error(store):
    store.write("a", b"1")
    store.delete(["a", "a", "b"])
    assert store.list() == {}


def test_a_missing_file_is_told_from_a_store_that_fails(store, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        store.get({"a": tmp_path / "a"})
    with pytest.raises(FileNotFoundError):
        store.put({"a": tmp_path / "nowhere"})
    assert not (tmp_path / "a").exists()

    def refuse(*_, **__):
        raise ConnectionError("503 Service\nUnavailable")

    for name in ("cat_file", "find"):
        monkeypatch.setattr(store._fs, name, refuse)
    for asked in (lambda: store.read("a"), store.list):
        with pytest.raises(StoreError, match=r"cannot be read \(ConnectionError: 503 Service Unav"):
            asked()


def test_it_is_tried_again_while_the_store_does_not_answer(capsys):
    answers = [StoreError("s3://b: cannot be read"), StoreError("s3://b: cannot be read"), 7]

    def work():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pauses = []
    assert patiently(work, pauses.append) == 7
    assert pauses == [1.0, 2.0]
    assert capsys.readouterr().err.count("tried again") == 2


def test_a_store_that_never_answers_is_an_error_in_the_end():
    def work():
        raise StoreError("s3://b: cannot be read")

    with pytest.raises(StoreError, match="s3://b"):
        patiently(work, lambda _: None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gz://bucket/run", "no folder can be kept at gz://"),
        ("https://host/run", "no folder can be kept at https://"),
        ("memory://", "name a folder behind memory://"),
    ],
)
def test_a_url_of_no_store_is_refused(url, words):
    with pytest.raises(ConfigError, match=f"--workdir = '{url}': {words}"):
        check_url("--workdir", url)


@pytest.mark.parametrize(
    ("scheme", "library", "extra"), [("gs", "gcsfs", "gcs"), ("s3", "s3fs", "s3")]
)
def test_a_missing_library_is_named_by_its_extra(scheme, library, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(ConfigError, match=rf"pip install 'vaetx-jax\[{extra}\]'"):
        check_url("--workdir", f"{scheme}://bucket/run")


def test_a_disk_without_hard_links_gives_a_new_name_to_one_of_several(tmp_path, monkeypatch):
    def refused(*paths):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    store = Store(str(tmp_path))
    assert store.write("lease", b"first", new=True)
    assert not store.write("lease", b"second", new=True)
    assert store.read("lease") == b"first" and list(store.list()) == ["lease"]
    store.delete(["lease"])
    assert store.write("lease", b"third", new=True)


def test_the_end_of_a_file_and_its_time_can_be_asked_for(tmp_path):
    store = Store(str(tmp_path))
    store.write("log", b"one two")
    assert store.read_end("log", 7, 3) == b"two" and store.read_end("log", 7, 99) == b"one two"
    assert abs(store.modified("log") - (tmp_path / "log").stat().st_mtime) < 1.0
    assert store.read_end("none", 7, 3) == b"" and store.modified("none") is None
