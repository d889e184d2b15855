"""The mirror and the lease against real servers of S3 and of Google's storage, on this machine.

They need `pip install -e '.[test-remote]'` and are skipped without. `tests/scripts/remote_life.py`
takes whole trainings through it.
"""

import importlib.util
import pathlib
import shutil

import pytest

from tests.helpers.object_servers import SERVERS, serve
from tests.helpers.saved_steps import save, steps_in
from vaetx_jax.runtime.lease import Lease, LostError
from vaetx_jax.runtime.manifest import check_files
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.store import Store, StoreError, check_url


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    """A running server: the URL of an empty bucket."""
    missing = [name for name in SERVERS[request.param] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed; pip install -e '.[test-remote]'")
    with pytest.MonkeyPatch.context() as patch, serve(request.param, patch.setenv) as url:
        yield url


@pytest.fixture
def store(server, request):
    check_url("--workdir", server)
    return Store(f"{server}/{request.node.originalname}")


def mirror_of(folder: pathlib.Path, store: Store) -> Mirror:
    folder.mkdir(parents=True)
    return Mirror(folder, store, folder.with_name(f"{folder.name}-staged"))


def test_files_come_and_go(store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    store.put({"a.txt": path, "below/b.txt": path})
    assert store.list() == {"a.txt": 7, "below/b.txt": 7}
    assert store.list("below") == {"below/b.txt": 7} and store.list(deep=False) == {"a.txt": 7}
    assert store.read("a.txt") == b"content" and store.read("c.txt") is None
    store.get({"below/b.txt": tmp_path / "new"})
    assert (tmp_path / "new").read_bytes() == b"content"
    with pytest.raises(FileNotFoundError):
        store.get({"c.txt": tmp_path / "c"})
    store.delete(["a.txt", "below/b.txt", "c.txt"])
    assert store.list() == {}


def test_a_lease_has_one_holder(store):
    first, second = Lease(store), Lease(store)
    assert first.try_acquire()
    assert not second.try_acquire()
    first.renew()
    first.release()
    assert second.try_acquire()
    with pytest.raises(LostError):
        first.renew()


def test_a_new_file_is_made_once(store, server):
    if server.startswith("gs://"):
        pytest.skip("the emulator takes no notice of the condition that the file is new")
    assert store.write("lease", b"1", new=True)
    assert not store.write("lease", b"2", new=True)
    assert store.read("lease") == b"1"


def test_a_run_moves_to_an_empty_machine(store, tmp_path):
    folder = tmp_path / "a"
    mirror = mirror_of(folder, store)
    for step in (10, 20, 30):
        save(folder, step)
        mirror.sync()
        shutil.rmtree(folder / "checkpoints" / str(step - 20), ignore_errors=True)
    mirror.sync()
    assert steps_in(store) == [20, 30]
    store.write("checkpoints/30/state/a", b"flipped")
    other = tmp_path / "b"
    fetched = mirror_of(other, store)
    fetched.fetch(keep=False)
    check_files(other / "checkpoints" / "20")
    assert (other / "metrics.jsonl").read_text() == (folder / "metrics.jsonl").read_text()
    (other / "checkpoints" / "30").rename(other / "checkpoints" / "damaged-30-1")
    save(other, 30)
    fetched.sync()
    third = tmp_path / "c"
    mirror_of(third, store).fetch(keep=False)
    check_files(third / "checkpoints" / "30")


def test_a_bucket_that_is_not_there_is_an_error_of_the_store(server, tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        Store(f"{server}-elsewhere/run").write("a", b"1")
