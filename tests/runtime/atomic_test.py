"""Files and folders that are written whole or not at all."""

import os
import pathlib

import pytest

from vaetx_jax.runtime.atomic import (
    atomic_folder,
    atomic_path,
    check_writable,
    open_atomic,
    remove,
    rename_folder,
    write_text,
)

FAILURES = [OSError(28, "No space left on device"), KeyboardInterrupt()]


def contents(folder: pathlib.Path) -> dict[str, str]:
    """Path below the folder -> text, of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_a_file_is_written_and_written_over(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "one")
    write_text(path, "two — ü\n")
    assert path.read_text(encoding="utf-8") == "two — ü\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_known_before_and_by_its_own_name(tmp_path):
    check_writable(tmp_path / "note.txt")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError) as caught:
        check_writable(tmp_path / "nowhere" / "note.txt")
    assert caught.value.filename == str(tmp_path / "nowhere" / "note.txt")


@pytest.mark.parametrize("error", FAILURES)
def test_a_file_that_cannot_be_renamed_stays_as_it_was(tmp_path, monkeypatch, error):
    path = tmp_path / "note.txt"
    write_text(path, "one")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        write_text(path, "two")
    assert contents(tmp_path) == {"note.txt": "one"}


def test_text_that_has_no_bytes_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "note.txt", "half a character: \ud800")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", FAILURES)
def test_a_block_that_raises_leaves_the_file_as_it_was(tmp_path, error):
    path = tmp_path / "note.txt"
    path.write_text("one")
    with pytest.raises(type(error)), open_atomic(path) as stream:
        stream.write(b"tw")
        raise error
    assert contents(tmp_path) == {"note.txt": "one"}


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "note.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert contents(tmp_path) == {"note.txt": "one"}


def test_a_file_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_appears_when_the_block_ends(tmp_path):
    folder = tmp_path / "parent" / "new"
    with atomic_folder(folder) as fresh:
        (fresh / "a").write_text("one")
        assert not folder.exists()
    assert contents(tmp_path) == {"parent/new/a": "one"}
    assert list((tmp_path / "parent").iterdir()) == [folder]


@pytest.mark.parametrize("error", FAILURES)
def test_a_block_that_raises_leaves_the_folder_as_it_was(tmp_path, error):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("one")
    with pytest.raises(type(error)), atomic_folder(tmp_path / "mine", replace=True) as fresh:
        (fresh / "a").write_text("two")
        raise error
    assert contents(tmp_path) == {"mine/a": "one"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_holds_something_is_not_replaced_unasked(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("one")
    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "mine") as fresh:
        (fresh / "a").write_text("two")
    assert contents(tmp_path) == {"mine/a": "one"}


def test_a_folder_replaces_an_older_one(tmp_path):
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "mine", replace=True) as fresh:
            (fresh / text).write_text(text)
    assert contents(tmp_path) == {"mine/two": "two"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_replaces_a_file(tmp_path):
    (tmp_path / "mine").write_text("a file")
    with atomic_folder(tmp_path / "mine", replace=True) as fresh:
        (fresh / "a").write_text("one")
    assert contents(tmp_path) == {"mine/a": "one"}


def test_a_folder_is_renamed_only_to_a_free_name(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    assert not rename_folder(tmp_path / "first", tmp_path / "second")
    remove(tmp_path / "second")
    assert rename_folder(tmp_path / "first", tmp_path / "second")
    assert contents(tmp_path) == {"second/a": "first"}


def test_what_is_not_there_is_removed_already(tmp_path):
    remove(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
