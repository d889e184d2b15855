"""Work folders: paths as they are, and URLs with their lease, their copy here and their uploads."""

import pathlib
import signal

import pytest

from tests.helpers.saved_steps import save, steps_in
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.runtime import uploads, work_folder
from vaetx_jax.runtime.lease import HeldError, Lease
from vaetx_jax.runtime.manifest import check_files
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.signals import StopSignals
from vaetx_jax.runtime.store import Store, StoreError
from vaetx_jax.runtime.work_folder import open_to_write


@pytest.fixture
def url(tmp_path):
    return f"local://{tmp_path}/bucket/run"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Moves on to the machine of a name."""
    monkeypatch.setattr(uploads, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(work_folder, "_READ", {})

    def go(name):
        monkeypatch.setenv("VAETX_CACHE", str(tmp_path / name))

    go("first")
    return go


def test_a_path_is_the_folder_itself(tmp_path):
    with open_to_write(tmp_path / "run") as work:
        assert work.path == tmp_path / "run" and not work.path.exists()
        work.share()


def test_what_a_run_writes_is_in_the_store_at_its_end_and_the_lease_is_free(url, machine):
    with open_to_write(url) as work:
        save(work.path, 10)
        assert not Lease(Store(url)).try_acquire()
    assert steps_in(Store(url)) == [10]
    assert Lease(Store(url)).try_acquire()


def test_another_machine_goes_on_from_what_is_there(url, machine):
    with open_to_write(url) as work:
        save(work.path, 10)
    machine("second")
    with open_to_write(url) as work:
        check_files(work.path / "checkpoints" / "10")
        save(work.path, 20)
    machine("first")
    with open_to_write(url) as work:
        check_files(work.path / "checkpoints" / "20")


def test_the_same_machine_keeps_what_it_could_not_upload(url, machine, monkeypatch, capsys):
    put = Store.put

    def failing(self, paths):
        raise StoreError(f"{self.url}: cannot be written (503)")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", failing)
        patch.setattr(uploads, "PATIENCE", 0.0)
        with (
            pytest.raises(UserError, match="the same command, given here, uploads it"),
            open_to_write(url) as work,
        ):
            save(work.path, 10)
    assert Store.put is put and steps_in(Store(url)) == []
    with open_to_write(url):
        pass
    assert steps_in(Store(url)) == [10]


def test_a_start_that_is_interrupted_keeps_what_could_not_be_uploaded(url, machine, monkeypatch):
    class Interrupted(Exception):
        pass

    def interrupt(self, **how):
        raise Interrupted

    with open_to_write(url) as work:
        pass
    save(work.path, 10)  # as a kill leaves it: here, and not there
    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "fetch", interrupt)
        with pytest.raises(Interrupted), open_to_write(url):
            pytest.fail("it never comes so far")
    with open_to_write(url) as work:
        check_files(work.path / "checkpoints" / "10")
    assert steps_in(Store(url)) == [10]


def test_a_machine_that_was_not_the_last_has_what_the_last_one_left(url, machine):
    with open_to_write(url) as work:
        save(work.path, 10)
        mine = work.path
    machine("second")
    with open_to_write(url) as work:
        (work.path / "config.json").write_text("changed")
    (mine / "config.json").write_text("what nobody knows of")
    save(mine, 90)
    machine("first")
    with open_to_write(url) as work:
        assert work.path == mine
        assert (mine / "config.json").read_text() == "changed"
        assert not (mine / "checkpoints" / "90").exists()


def test_after_a_signal_the_uploads_are_waited_for_within_the_grace(
    url, machine, monkeypatch, capsys
):
    def failing(self, paths):
        raise StoreError(f"{self.url}: cannot be written (503)")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", failing)
        with open_to_write(url, grace=0.01) as work, StopSignals():
            save(work.path, 10)
            signal.raise_signal(signal.SIGTERM)
    said = capsys.readouterr().err
    assert "could not be uploaded within --grace" in said and str(work.path) in said
    assert Lease(Store(url)).try_acquire()


def test_a_folder_in_use_is_refused_and_left_as_it_is(url, machine, monkeypatch):
    def held(self, **how):
        raise HeldError("another run is in this folder")

    with open_to_write(url) as work:
        save(work.path, 10)
    before = Store(url).list()
    monkeypatch.setattr(Lease, "acquire", held)
    machine("second")
    with pytest.raises(HeldError), open_to_write(url):
        pytest.fail("two runs in one folder")
    assert Store(url).list() == before


def test_what_was_refused_leaves_nothing_behind(url, machine):
    with pytest.raises(UserError, match="wrong"), open_to_write(url):
        raise UserError("wrong")
    assert Store(url).list() == {}


def test_a_reader_fetches_one_checkpoint_and_its_results_are_uploaded(url, machine):
    with open_to_write(url) as work:
        save(work.path, 10)
        save(work.path, 20)
    with work_folder.reading(url) as path:
        assert (path / "metrics.jsonl").exists()
        assert not (path / "checkpoints" / "20" / "state").exists()
        work_folder.complete(path / "checkpoints" / "20")
        check_files(path / "checkpoints" / "20")
        assert not (path / "checkpoints" / "10" / "state").exists()
        (path / "evaluation.json").write_text("{}")
    assert Store(url).read("evaluation.json") == b"{}"


def test_a_new_folder_is_uploaded_when_it_is_made(url, machine, monkeypatch):
    order, put = [], Store.put

    def noting(self, paths):
        order.extend(paths)
        put(self, paths)

    monkeypatch.setattr(Store, "put", noting)
    with work_folder.making(url) as path:
        path.mkdir()
        for name in ("manifest.json", "model.safetensors"):
            (path / name).write_text(name)
    assert order == ["model.safetensors", "manifest.json"]
    with pytest.raises(ConfigError, match="this already exists"), work_folder.making(url):
        pytest.fail("it would be mixed with what is there")


def test_a_path_to_read_or_to_make_is_the_folder_itself(tmp_path):
    for opened in (work_folder.reading, work_folder.making):
        with opened(str(tmp_path)) as path:
            assert path == pathlib.Path(tmp_path)
