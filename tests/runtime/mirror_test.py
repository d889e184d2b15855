"""What is in the store after each upload, whatever the store and the run do meanwhile."""

import shutil

import pytest

from tests.helpers.saved_steps import save, steps_in
from vaetx_jax.errors import DamagedError
from vaetx_jax.runtime import mirror as mirror_lib
from vaetx_jax.runtime.manifest import check_files
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.store import StoreError


def recorded(store, monkeypatch) -> list[str]:
    """The names that the store is asked to write and delete, in order."""
    asked, put, delete = [], store.put, store.delete

    def recording_put(paths):
        asked.extend(paths)
        put(paths)

    def recording_delete(names):
        names = list(names)
        asked.extend(f"-{name}" for name in names)
        delete(names)

    monkeypatch.setattr(store, "put", recording_put)
    monkeypatch.setattr(store, "delete", recording_delete)
    return asked


def test_a_checkpoint_goes_up_before_its_rows_and_they_before_its_manifest(
    store, machine, monkeypatch
):
    folder, mirror = machine("a")
    save(folder, 10)
    asked = recorded(store, monkeypatch)
    mirror.sync()
    assert asked == [
        "checkpoints/10/state/a",
        "checkpoints/10/state/b",
        "checkpoints/10/state/d/c",
        "metrics.jsonl",
        "checkpoints/10/manifest.json",
    ]
    mirror.sync()
    assert len(asked) == 5, "what is there is not uploaded again"


def test_the_newest_checkpoint_goes_first(store, machine, monkeypatch):
    folder, mirror = machine("a")
    save(folder, 9)
    save(folder, 10)
    asked = recorded(store, monkeypatch)
    mirror.sync()
    manifests = [name for name in asked if name.endswith("manifest.json")]
    assert manifests == ["checkpoints/10/manifest.json", "checkpoints/9/manifest.json"]


def test_half_written_hidden_and_damaged_files_stay_here(store, machine):
    folder, mirror = machine("a")
    for name in (".lock", ".config.json.12-ab", ".x/y", "checkpoints/writing-5/state/a"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "checkpoints" / "damaged-4-1").mkdir()
    (folder / "checkpoints" / "damaged-4-1" / "manifest.json").write_text("x")
    (folder / "checkpoints" / "frozen-12.safetensors").write_text("x")
    (folder / "config.json").write_text("x")
    mirror.sync()
    assert list(store.list()) == ["checkpoints/frozen-12.safetensors", "config.json"]


def test_old_checkpoints_go_after_the_new_one_is_there_and_the_best_stays(
    store, machine, monkeypatch
):
    folder, mirror = machine("a")
    for step in (10, 20, 30):
        save(folder, step)
        mirror.sync()
    shutil.rmtree(folder / "checkpoints" / "20")
    save(folder, 40)
    asked = recorded(store, monkeypatch)
    mirror.sync()
    assert steps_in(store) == [10, 30, 40]
    assert asked.index("checkpoints/40/manifest.json") < asked.index(
        "-checkpoints/20/manifest.json"
    )
    assert not [name for name in store.list() if "/20/" in name]


def test_the_latest_two_in_the_store_stay_though_this_machine_has_deleted_them(store, machine):
    folder, mirror = machine("a")
    for step in (10, 20):
        save(folder, step)
    mirror.sync()
    shutil.rmtree(folder / "checkpoints")
    mirror.sync()
    assert steps_in(store) == [10, 20]


def test_a_deleted_file_is_deleted_there(store, machine):
    folder, mirror = machine("a")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab").write_text("x")
    mirror.sync()
    shutil.rmtree(folder / "tokenizer")
    mirror.sync()
    assert store.list() == {}


def test_a_kill_at_any_upload_leaves_whole_checkpoints_and_their_rows(store, machine, monkeypatch):
    put, left = store.put, [0]

    def failing(paths):
        for name, path in paths.items():
            if not left[0]:
                raise StoreError("killed")
            left[0] -= 1
            put({name: path})

    monkeypatch.setattr(store, "put", failing)
    ended = False
    for number in range(20):
        folder, mirror = machine(f"a{number}")
        store.delete(store.list())
        left[0] = 100
        save(folder, 10)
        mirror.sync()
        save(folder, 20)
        left[0] = number
        try:
            mirror.sync()
            ended = True
        except StoreError:
            assert steps_in(store) == [10]
        other, fetched = machine(f"b{number}")
        fetched.fetch(keep=False)
        newest = steps_in(store)[-1]
        check_files(other / "checkpoints" / str(newest))
        rows = (other / "metrics.jsonl").read_text().split()
        assert str(newest) in rows
        fetched.discard_incomplete()
        assert {name.split("/")[1] for name in store.list("checkpoints")} == set(
            map(str, steps_in(store))
        )
    assert ended, "the last ones must come to their end"


def test_an_upload_goes_on_where_it_failed(store, machine, monkeypatch):
    folder, mirror = machine("a")
    save(folder, 10)
    monkeypatch.setattr(mirror_lib, "TOGETHER", 1)
    asked, put = [], store.put

    def failing(paths):
        asked.extend(paths)
        if len(asked) == 3:
            raise StoreError("503")
        put(paths)

    monkeypatch.setattr(store, "put", failing)
    with pytest.raises(StoreError):
        mirror.sync()
    mirror.sync()
    assert steps_in(store) == [10]
    assert asked.count("checkpoints/10/state/a") == 1
    assert asked.count("checkpoints/10/state/d/c") == 2


def test_a_checkpoint_deleted_during_its_upload_arrives_whole(store, machine, monkeypatch):
    folder, mirror = machine("a")
    save(folder, 10)
    put = store.put

    def deleting(paths):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        put(paths)

    monkeypatch.setattr(store, "put", deleting)
    mirror.sync()
    other, fetched = machine("b")
    fetched.fetch(keep=False)
    check_files(other / "checkpoints" / "10")


def test_an_empty_machine_gets_all_that_is_there(store, machine):
    folder, mirror = machine("a")
    save(folder, 10)
    save(folder, 20)
    (folder / "config.json").write_text("{}")
    mirror.sync()
    other, fetched = machine("b")
    (other / "config.json").write_text("another run's")
    (other / "stale.json").write_text("another run's")
    fetched.fetch(keep=False)
    names = sorted(p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file())
    assert names == sorted(store.list())
    assert (other / "config.json").read_text() == "{}"


def test_what_was_fetched_whole_is_not_uploaded_again(store, machine, monkeypatch):
    folder, mirror = machine("a")
    save(folder, 10)
    mirror.sync()
    _, fetched = machine("b")
    fetched.fetch(keep=False)
    asked = recorded(store, monkeypatch)
    fetched.sync()
    assert asked == []


def test_the_machine_that_was_the_last_keeps_what_it_did_not_upload(store, machine):
    folder, mirror = machine("a")
    save(folder, 10)
    mirror.sync()
    save(folder, 20)
    store.write("evaluation.json", b"a reader's")
    _, again = machine("a")
    again.fetch(keep=True)
    assert (folder / "evaluation.json").read_text() == "a reader's"
    assert (folder / "metrics.jsonl").read_text() == "10\n20\n"
    again.sync()
    assert steps_in(store) == [10, 20]


def test_what_this_machine_has_damaged_is_fetched_again(store, machine):
    folder, mirror = machine("a")
    save(folder, 10)
    mirror.sync()
    (folder / "checkpoints" / "10" / "state" / "a").write_text("flipped")
    _, again = machine("a")
    again.fetch(keep=True)
    check_files(folder / "checkpoints" / "10")


def test_a_damaged_checkpoint_is_found_out_and_replaced_when_its_step_comes_again(store, machine):
    folder, mirror = machine("a")
    save(folder, 10)
    save(folder, 20)
    mirror.sync()
    store.write("checkpoints/20/state/a", b"flipped")
    other, fetched = machine("b")
    fetched.fetch(keep=False)
    with pytest.raises(DamagedError, match=r"20/state/a: not as it was written"):
        check_files(other / "checkpoints" / "20")
    (other / "checkpoints" / "20").rename(other / "checkpoints" / "damaged-20-1")
    save(other, 20)
    fetched.sync()
    third, whole = machine("c")
    whole.fetch(keep=False)
    check_files(third / "checkpoints" / "20")


def test_checkpoints_of_a_study_are_kept_apart_by_cell(store, machine):
    folder, mirror = machine("a")
    for step in (10, 20, 30):
        save(folder, step, parent="cells/x/checkpoints")
    save(folder, 5, parent="cells/y/checkpoints")
    mirror.sync()
    shutil.rmtree(folder / "cells" / "x" / "checkpoints" / "10")
    mirror.sync()
    assert steps_in(store) == [5, 20, 30]


def test_a_reader_gets_the_files_and_one_checkpoint_when_it_asks(store, machine):
    folder, mirror = machine("a")
    save(folder, 10)
    save(folder, 20)
    mirror.sync()
    other, reader = machine("b")
    reader.fetch_files()
    names = sorted(p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file())
    manifests = [f"checkpoints/{step}/manifest.json" for step in (10, 20)]
    assert names == [*manifests, "metrics.jsonl"]
    reader.fetch_checkpoint("checkpoints/20")
    check_files(other / "checkpoints" / "20")
    (other / "evaluation.json").write_text("{}")
    assert reader.put_files() == ["evaluation.json"]


def test_the_last_file_is_uploaded_after_all_others(tmp_path, store, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("a", "seal", "z"):
        (folder / name).write_text(name)
    order = []
    put = store.put
    monkeypatch.setattr(store, "put", lambda paths: (order.append(sorted(paths)), put(paths)))
    Mirror(folder, store, tmp_path / "staged", last="seal").put_files()
    assert order == [["a", "z"], ["seal"]]
