"""The thread that uploads: told failures, waits that end."""

import threading

import pytest

from tests.helpers.saved_steps import save, steps_in
from vaetx_jax.runtime import uploads as uploads_lib
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.store import StoreError
from vaetx_jax.runtime.uploads import Uploads


@pytest.fixture
def uploads(store, machine, monkeypatch):
    """Starts the thread on a machine's mirror; ends it after the test."""
    monkeypatch.setattr(uploads_lib, "LOOK_EVERY", 0.001)
    started = []

    def start(mirror: Mirror) -> Uploads:
        started.append(Uploads(mirror, store.url))
        return started[-1]

    yield start
    for one in started:
        one.abandon()
        one._thread.join()


def test_flush_returns_when_all_is_there(store, machine, uploads):
    folder, mirror = machine("a")
    thread = uploads(mirror)
    save(folder, 10)
    assert thread.flush()
    assert steps_in(store) == [10] and store.read("metrics.jsonl") == b"10\n"


def test_a_store_that_fails_is_told_once_and_has_all_in_the_end(
    store, machine, uploads, monkeypatch, capsys
):
    folder, mirror = machine("a")
    put, left = store.put, [3]
    monkeypatch.setattr(uploads_lib, "FIRST_PAUSE", 0.001)

    def failing(paths):
        if left[0]:
            left[0] -= 1
            raise StoreError("s3://bucket/run/x: cannot be written (503)")
        put(paths)

    monkeypatch.setattr(store, "put", failing)
    save(folder, 10)
    assert uploads(mirror).flush()
    assert steps_in(store) == [10]
    told = capsys.readouterr().err
    assert told.count("cannot be written (503); the training goes on, and it is tried again") == 1
    assert "answers again" in told


def test_a_store_that_hangs_is_waited_for_no_longer_than_the_grace(
    store, machine, uploads, monkeypatch
):
    folder, mirror = machine("a")
    release, put = threading.Event(), store.put

    def hanging(paths):
        release.wait(60.0)
        put(paths)

    monkeypatch.setattr(store, "put", hanging)
    save(folder, 10)
    thread = uploads(mirror)
    assert not thread.flush(within=0.01)
    release.set()
    assert thread.flush()
    assert steps_in(store) == [10]


def test_the_end_of_a_run_gives_up_on_a_store_that_takes_nothing(
    store, machine, uploads, monkeypatch
):
    folder, mirror = machine("a")
    monkeypatch.setattr(uploads_lib, "PATIENCE", 0.01)

    def failing(paths):
        raise StoreError("503")

    monkeypatch.setattr(store, "put", failing)
    save(folder, 10)
    assert not uploads(mirror).flush()
