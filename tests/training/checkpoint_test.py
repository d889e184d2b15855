"""Checkpoints: what is kept, what is best, and that what comes back is what was saved."""

import errno
import math
import os
import pathlib
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.mesh import put_replicated
from vaetx_jax.training import checkpoint
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints, UnsavedError, choose
from vaetx_jax.training.optimizer import make_optimizer
from vaetx_jax.training.state import TrainState, no_sums


def state_after(step, seed=0, clip_norm=1.0, decay="all"):
    """A state with the tree of a real one and numbers of its own in every leaf."""
    params = {"layer": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}, "scale": jnp.zeros(())}
    settings = tiny.step_settings(clip_norm=clip_norm, decay=decay).optimizer
    moments = make_optimizer(settings).init(params)
    auxiliary = {"bag_of_words_moments": moments}
    blank = TrainState(jnp.int32(0), {"params": params}, moments, no_sums(), auxiliary)
    noise = np.random.default_rng((seed, step))
    filled = jax.tree.map(
        lambda x: noise.standard_normal(x.shape).astype(x.dtype) if x.dtype == np.float32 else x,
        blank,
    )
    return put_replicated(filled._replace(step=jnp.int32(step)), tiny.one_device())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "checkpoints"


@pytest.fixture
def opened(folder):
    """Opens the checkpoints of the folder as a run does or, not writable, as a reader does."""

    def opener(*, writable=True):
        return Checkpoints(folder, writable=writable)

    return opener


def save(checkpoints, scores, *, candidates=None):
    """Saves steps 10, 20 .. with these validation perplexities."""
    first = (checkpoints.latest() or 0) + 10
    for i, score in enumerate(scores):
        step = first + 10 * i
        facts = CheckpointInfo(step, score, candidate=candidates is None or step in candidates)
        checkpoints.save(state_after(step), facts)


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


# What comes back --------------------------------------------------------------------------------


def test_a_state_comes_back_bit_for_bit(opened):
    checkpoints = opened()
    save(checkpoints, [5.0, 4.0])
    like = state_after(0, seed=9)
    assert_identical(checkpoints.restore(10, like), state_after(10))
    assert_identical(checkpoints.restore(20, like), state_after(20))


def test_a_state_comes_back_when_opened_again_onto_the_devices_asked_for(opened):
    save(opened(), [5.0])
    like = state_after(0, seed=9)
    restored = opened().restore(10, like)
    assert_identical(restored, state_after(10))
    shardings = [x.sharding for x in jax.tree.leaves(restored)]
    assert shardings == [x.sharding for x in jax.tree.leaves(like)]


@pytest.mark.parametrize("before", [(0.0, "all"), (5.0, "matrices")])
@pytest.mark.parametrize("after", [(0.0, "matrices"), (1.0, "all")])
def test_a_state_comes_back_after_a_change_of_clipping_and_of_what_is_decayed(
    opened, before, after
):
    saved = state_after(10, clip_norm=before[0], decay=before[1])
    opened().save(saved, CheckpointInfo(10, 1.0, candidate=True))
    like = state_after(0, seed=1, clip_norm=after[0], decay=after[1])
    restored = opened().restore(10, like)
    assert jax.tree.structure(restored) == jax.tree.structure(like)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(restored), jax.tree.leaves(saved))


def test_a_reader_gets_the_parameters_alone(opened):
    save(opened(), [5.0, 4.0])
    like = state_after(0, seed=9).variables
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
    )
    reader = opened(writable=False)
    assert_identical(reader.restore_variables(10, shapes), state_after(10).variables)
    assert_identical(reader.restore_variables(20, like), state_after(20).variables)


def test_a_step_that_is_there_is_left_as_it_is(opened):
    checkpoints = opened()
    save(checkpoints, [5.0])
    checkpoints.save(state_after(10, seed=7), CheckpointInfo(10, 1.0, candidate=True))
    assert_identical(checkpoints.restore(10, state_after(0)), state_after(10))
    assert checkpoints.steps() == [10]


def test_no_temporary_folder_is_left_after_saving(opened, folder):
    save(opened(), [5.0, 4.0, 3.0, 2.0])
    assert sorted(path.name for path in folder.iterdir()) == ["30", "40"]


# Written beside the training --------------------------------------------------------------------


def held_back(monkeypatch) -> threading.Event:
    """Lets no checkpoint be finished before the event is set."""
    release, write = threading.Event(), checkpoint.write_manifest

    def waiting(*given):
        release.wait(60.0)
        write(*given)

    monkeypatch.setattr(checkpoint, "write_manifest", waiting)
    return release


def test_what_is_begun_is_the_state_of_then_whatever_becomes_of_its_arrays(opened, monkeypatch):
    checkpoints, release, state = opened(), held_back(monkeypatch), state_after(10)
    checkpoints.begin(state, CheckpointInfo(10, 5.0, candidate=True))
    jax.tree.map(lambda leaf: leaf.delete(), state)  # as a step does that takes their memory
    assert not checkpoints.is_finished() and checkpoints.steps() == []
    release.set()
    assert checkpoints.finish().step == 10 and checkpoints.finish() is None
    assert_identical(checkpoints.restore(10, state_after(0)), state_after(10))


def test_the_next_save_waits_for_the_one_before(opened, monkeypatch):
    checkpoints, release = opened(), held_back(monkeypatch)
    checkpoints.begin(state_after(10), CheckpointInfo(10, 5.0, candidate=True))
    threading.Timer(0.05, release.set).start()
    checkpoints.begin(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    assert checkpoints.steps() == [10]
    checkpoints.finish()
    assert checkpoints.steps() == opened().steps() == [10, 20]


def test_an_error_of_what_was_begun_comes_with_the_next_save_and_once(opened, monkeypatch):
    checkpoints = opened()
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr(checkpoint, "write_manifest", lambda *_: raise_(full))
        checkpoints.begin(state_after(10), CheckpointInfo(10, 5.0, candidate=True))
        with pytest.raises(UnsavedError, match="10: could not be saved: the disk is full"):
            checkpoints.begin(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    checkpoints.save(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    assert checkpoints.steps() == opened().steps() == [20]


# What cannot be saved ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (ValueError("RESOURCE_EXHAUSTED: write [tensorstore] No space left on device"), "disk is"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        (ValueError("something\nelse"), "ValueError: something else"),
    ],
)
def test_a_state_that_cannot_be_saved_leaves_what_was_there(opened, folder, error, words):
    checkpoints = opened()
    save(checkpoints, [5.0, 4.0])
    before = sorted(folder.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetx_jax.training.checkpoint.write_manifest", lambda *_: raise_(error))
        with pytest.raises(UnsavedError, match=f"30: could not be saved: .*{words}"):
            checkpoints.save(state_after(30), CheckpointInfo(30, 3.0, candidate=True))
    assert sorted(folder.rglob("*")) == before
    assert checkpoints.steps() == opened().steps() == [10, 20]


def test_what_could_not_be_saved_can_be_saved_later(opened, folder):
    checkpoints = opened()
    folder.rmdir()
    folder.write_text("a file where the folder was")
    with pytest.raises(UnsavedError):
        checkpoints.save(state_after(10), CheckpointInfo(10, 3.0, candidate=True))
    folder.unlink()
    save(checkpoints, [5.0])
    assert_identical(opened().restore(10, state_after(0)), state_after(10))


def test_a_folder_that_was_moved_away_is_not_made_anew(opened, folder):
    checkpoints = opened()
    save(checkpoints, [5.0])
    elsewhere = folder.parent.rename(folder.parent.with_name("elsewhere"))
    with pytest.raises(UnsavedError, match="20: could not be saved: its folder is gone"):
        checkpoints.save(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    assert not folder.parent.exists()
    elsewhere.rename(folder.parent)
    checkpoints.save(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    assert opened().steps() == [10, 20]


def test_a_folder_moved_away_while_it_is_written_to_leaves_nothing_in_its_place(opened, folder):
    checkpoints, elsewhere = opened(), folder.parent.with_name("elsewhere")
    save(checkpoints, [5.0])
    with pytest.MonkeyPatch.context() as patch:
        move_before(patch, "write_manifest", folder.parent, elsewhere)
        with pytest.raises(UnsavedError, match="20: could not be saved: its folder is gone"):
            checkpoints.save(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    assert not folder.parent.exists()
    elsewhere.rename(folder.parent)
    assert opened().steps() == [10]


def test_nothing_is_saved_into_another_folder_of_the_same_name(opened, folder):
    checkpoints = opened()
    folder.parent.rename(folder.parent.with_name("elsewhere"))
    folder.mkdir(parents=True)
    mine = folder.parent / "mine.txt"
    mine.write_text("another run's")
    with pytest.raises(UnsavedError, match="its folder is gone"):
        checkpoints.save(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    assert list(folder.parent.iterdir()) == [mine]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_looked_at_is_a_state_unsaved(opened, folder, monkeypatch, number):
    checkpoints, stat = opened(), pathlib.Path.stat
    save(checkpoints, [5.0])

    def failing(self, **how):
        if self == folder.parent:
            raise OSError(number, os.strerror(number))
        return stat(self, **how)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "stat", failing)
        with pytest.raises(UnsavedError, match="20: could not be saved"):
            checkpoints.save(state_after(20), CheckpointInfo(20, 4.0, candidate=True))
    assert opened().steps() == [10]


def test_an_old_checkpoint_that_cannot_be_deleted_stays_and_the_run_goes_on(
    opened, folder, monkeypatch
):
    checkpoints = opened()
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "rename", only_into(folder))
        save(checkpoints, [2.0, 3.0, 4.0, 5.0])
    assert checkpoints.steps() == [10, 30, 40]
    assert opened().steps() == [10, 20, 30, 40]


def only_into(folder):
    """A rename that takes folders in, but lets none be marked for deletion."""
    rename = pathlib.Path.rename

    def guarded(self, target):
        if target.name.startswith("deleting-"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, target)

    return guarded


def move_before(patch, name, source, target):
    work = getattr(checkpoint, name)

    def moved(*args):
        source.rename(target)
        # As orbax does, which makes what is missing of its path.
        (source / "checkpoints" / "writing-20").mkdir(parents=True)
        return work(*args)

    patch.setattr(checkpoint, name, moved)


def raise_(error):
    raise error


# What is kept, and what is best -----------------------------------------------------------------


def test_before_the_first_save_there_is_nothing(opened):
    checkpoints = opened()
    assert (checkpoints.steps(), checkpoints.latest(), checkpoints.best()) == ([], None, None)


def test_the_latest_two_and_the_best_are_kept(opened):
    checkpoints = opened()
    save(checkpoints, [9.0, 3.0, 5.0, 6.0, 7.0])
    assert checkpoints.steps() == [20, 40, 50]
    assert checkpoints.best() == 20
    assert checkpoints.latest() == 50


def test_a_new_best_takes_the_place_of_the_old(opened):
    checkpoints = opened()
    save(checkpoints, [3.0, 5.0, 6.0, 2.0, 8.0, 8.0])
    assert checkpoints.best() == 40
    assert checkpoints.steps() == [40, 50, 60]


def test_only_a_candidate_can_be_best(opened):
    checkpoints = opened()
    save(checkpoints, [9.0, 1.0, 8.0, 2.0, 3.0], candidates={10, 30})
    assert checkpoints.best() == 30
    assert checkpoints.steps() == [30, 40, 50]


def test_of_equals_the_later_is_best(opened):
    checkpoints = opened()
    save(checkpoints, [4.0, 4.0, 5.0, 6.0, 7.0])
    assert checkpoints.best() == 20
    assert checkpoints.steps() == [20, 40, 50]


@pytest.mark.parametrize("score", [math.nan, math.inf, None])
def test_a_figure_that_is_no_number_is_never_best(opened, score):
    checkpoints = opened()
    save(checkpoints, [score])
    assert checkpoints.best() is None
    save(checkpoints, [7.0, score, score])
    assert checkpoints.best() == 20
    assert checkpoints.steps() == [20, 30, 40]


def test_the_best_is_known_and_kept_when_opened_again(opened):
    save(opened(), [9.0, 3.0, 5.0, math.nan])
    again = opened()
    assert (again.best(), again.latest()) == (20, 40)
    save(again, [4.0, 6.0])
    assert again.best() == 20
    assert again.steps() == [20, 50, 60]
    save(again, [1.0])
    assert again.best() == 70
    assert opened(writable=False).best() == 70


# Choosing one -----------------------------------------------------------------------------------


def test_a_checkpoint_is_chosen_by_name_or_number(opened):
    save(opened(), [9.0, 3.0, 5.0, 6.0])
    reader = opened(writable=False)
    assert choose(reader, "best") == (20, "best")
    assert choose(reader, "last") == (40, "last")
    assert choose(reader, "30") == (30, "chosen")


def test_without_a_best_the_last_is_taken_and_said(opened):
    checkpoints = opened()
    save(checkpoints, [9.0, 3.0], candidates=set())
    step, words = choose(checkpoints, "best")
    assert step == 20
    assert words.startswith("last") and "no best" in words


@pytest.mark.parametrize("wanted", ["10", "first", "-20", "2 0", "", "²"])
def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(opened, wanted):
    checkpoints = opened()
    save(checkpoints, [9.0, 3.0, 5.0, 6.0])
    with pytest.raises(UserError, match="best, last or one of the steps 20, 30, 40"):
        choose(checkpoints, wanted)


def test_a_folder_without_checkpoints_is_refused_by_its_name(opened, folder):
    with pytest.raises(UserError, match=f"{folder}.*train first"):
        opened(writable=False)
    assert not folder.exists(), "a reader makes no folder"
    with pytest.raises(UserError, match=f"{folder}.*train first"):
        choose(opened(), "best")


# Other devices ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_state_comes_back_on_another_number_of_devices_split_or_whole(tmp_path):
    tiny.run_on_four_devices(f"""
import pathlib
import jax, numpy as np
from tests.helpers import tiny
from vaetx_jax.training.checkpoint import Checkpoints, CheckpointInfo
from vaetx_jax.runtime.mesh import data_mesh
from vaetx_jax.training.state import init_state

model, optimizer = tiny.vae(vocab_size=2400), tiny.step_settings().optimizer
def state(devices, sharded, seed):
    mesh = data_mesh(jax.devices()[:devices])
    return init_state(model, optimizer, jax.random.key(seed), mesh, shard_state=sharded)

layouts = [(1, False), (4, True), (2, False), (2, True)]
for number, (before, after) in enumerate(zip(layouts, layouts[1:] + layouts[:1])):
    saved = state(*before, seed=0)
    checkpoints = Checkpoints(pathlib.Path({str(tmp_path)!r}) / str(number), writable=True)
    checkpoints.save(saved, CheckpointInfo(1, 2.0, candidate=True))
    like = state(*after, seed=1)
    found = checkpoints.restore(1, like)
    jax.tree.map(np.testing.assert_array_equal, found, saved)
    same = jax.tree.map(lambda a, b: a.sharding == b.sharding, found, like)
    assert jax.tree.all(same)
    split = [x for x in jax.tree.leaves(found) if not x.sharding.is_fully_replicated]
    assert bool(split) == after[1], (after, len(split))
""")
