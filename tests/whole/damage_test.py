"""Every file of a checkpoint damaged in every way, one at a time: never wrong weights.

`python -m tests.whole.damage_test` prints the table.
"""

import pathlib
import shutil
import sys
import tempfile

import jax
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.errors import DamagedError
from vaetx_jax.runtime.mesh import put_replicated
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints
from vaetx_jax.training.optimizer import make_optimizer
from vaetx_jax.training.state import Sums, TrainState

KINDS = ("truncated", "emptied", "deleted", "one bit flipped")


def state_after(step: int) -> TrainState:
    noise = np.random.default_rng(step)
    params = {"kernel": noise.standard_normal((16, 8)).astype(np.float32)}
    moments = make_optimizer(tiny.step_settings().optimizer).init(params)
    sums = Sums(*[np.float32(step)] * len(Sums._fields))
    return put_replicated(
        TrainState(np.int32(step), {"params": params}, moments, sums), tiny.one_device()
    )


def make(folder: pathlib.Path) -> pathlib.Path:
    """Checkpoints 10 and 20, of which 10 is the best."""
    checkpoints = Checkpoints(folder, writable=True)
    checkpoints.save(state_after(10), CheckpointInfo(10, 4.0, candidate=True))
    checkpoints.save(state_after(20), CheckpointInfo(20, 5.0, candidate=True))
    return folder


def files_of(folder: pathlib.Path) -> list[str]:
    latest = folder / "20"
    return sorted(p.relative_to(latest).as_posix() for p in latest.rglob("*") if p.is_file())


def damage(path: pathlib.Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "deleted":
        path.unlink()
    elif kind == "one bit flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    else:
        path.write_bytes(data[: len(data) // 2] if kind == "truncated" else b"")


def identical(a, b) -> bool:
    return jax.tree.all(
        jax.tree.map(lambda x, y: bool((np.asarray(x) == np.asarray(y)).all()), a, b)
    )


def what_a_run_does(folder: pathlib.Path) -> str:
    """With a folder whose checkpoint 20 is damaged; opening it sets that one aside."""
    checkpoints = Checkpoints(folder, writable=True)
    step = checkpoints.latest()
    if not identical(checkpoints.restore(step, state_after(0)), state_after(step)):
        return "WRONG WEIGHTS"
    return {10: "set aside, goes on from the one before", 20: "harmless"}[step]


def what_a_reader_does(folder: pathlib.Path) -> str:
    reader = Checkpoints(folder, writable=False)
    if 20 not in reader.steps():
        return "passed over"
    try:
        variables = reader.restore_variables(20, state_after(0).variables)
    except DamagedError:
        return "refused"
    return "harmless" if identical(variables, state_after(20).variables) else "WRONG WEIGHTS"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return make(tmp_path_factory.mktemp("sound") / "checkpoints")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_from_the_checkpoint_before_whatever_file_is_damaged(sound, tmp_path, kind):
    names = files_of(sound)
    assert len(names) > 5 and "manifest.json" in names
    for number, name in enumerate(names):
        folder = shutil.copytree(sound, tmp_path / str(number))
        damage(folder / "20" / name, kind)
        found = what_a_run_does(folder)
        assert found == "set aside, goes on from the one before", (name, found)
        assert (folder / "damaged-20-1").is_dir(), "it can be looked at"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_never_gets_wrong_weights_whatever_file_is_damaged(sound, tmp_path, kind):
    for number, name in enumerate(files_of(sound)):
        folder = shutil.copytree(sound, tmp_path / str(number))
        damage(folder / "20" / name, kind)
        assert what_a_reader_does(folder) in ("refused", "passed over"), name
        assert (folder / "20").is_dir(), "a reader moves nothing"


@pytest.mark.parametrize("name", ["manifest.json", "state"])
def test_half_a_checkpoint_is_none(sound, tmp_path, name):
    """As a copy that was broken off leaves it."""
    folder = shutil.copytree(sound, tmp_path / "half")
    path = folder / "20" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert Checkpoints(folder, writable=True).steps() == [10]


def test_what_a_kill_left_of_saving_and_deleting_is_cleared_away(sound, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "killed")
    shutil.copytree(folder / "20", folder / "writing-30")
    (folder / "10").rename(folder / "deleting-10")
    assert Checkpoints(folder, writable=True).steps() == [20]
    assert [path.name for path in folder.iterdir()] == ["20"]


def test_a_checkpoint_under_the_name_of_another_step_is_none(sound, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "renamed")
    (folder / "20").rename(folder / "30")
    assert Checkpoints(folder, writable=True).steps() == [10]


def test_where_none_is_good_the_error_says_so(sound, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "all")
    shutil.rmtree(folder / "10")
    name = next(n for n in files_of(folder) if n.startswith("state/d/"))
    damage(folder / "20" / name, "one bit flipped")
    with pytest.raises(DamagedError, match=r"not as it was written.* it is the only one"):
        Checkpoints(folder, writable=False).restore_variables(20, state_after(0).variables)


def main() -> int:
    with tempfile.TemporaryDirectory() as home:
        sound = make(pathlib.Path(home) / "sound")
        wrong = 0
        for kind in KINDS:
            for name in files_of(sound):
                outcomes = []
                for does in (what_a_reader_does, what_a_run_does):
                    folder = shutil.copytree(sound, pathlib.Path(home) / "damaged")
                    damage(folder / "20" / name, kind)
                    outcomes.append(does(folder))
                    shutil.rmtree(folder)
                wrong += "WRONG WEIGHTS" in outcomes
                print(f"| {kind} | {name} | {outcomes[0]} | {outcomes[1]} |")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
