"""Several processes, and what they refuse. `layouts.py` compares more of them, and stops them."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from tests.helpers.paths import REPOSITORY
from tests.scripts import layouts
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.run import workdir
from vaetx_jax.runtime import distributed, processes

# Flags ------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch):
    """Calls `start` with flags; gives what JAX was asked, None for nothing."""
    asked = []
    monkeypatch.setattr("jax.distributed.initialize", lambda **given: asked.append(given))
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)

    def start(*arguments):
        values = flags.FlagValues()
        with monkeypatch.context() as patch:  # absl keeps flags in one place of the process
            for kind in ("enum", "string", "integer"):
                define = functools.partial(getattr(flags, f"DEFINE_{kind}"), flag_values=values)
                patch.setattr(flags, f"DEFINE_{kind}", define)
            distributed.define_flags()
        values(["test", *arguments])
        monkeypatch.setattr(flags, "FLAGS", values)
        distributed.start()
        return asked[-1] if asked else None

    return start


TOGETHER = ("--coordinator=host:1234", "--processes=2", "--process_id=0")


def test_alone_nothing_is_started(started):
    assert started() is None


def test_a_coordinator_is_enough_to_be_one_of_several(started):
    given = started(*TOGETHER, "--heartbeat_timeout=7")
    assert given["coordinator_address"] == "host:1234"
    assert (given["num_processes"], given["process_id"]) == (2, 0)
    assert given["heartbeat_timeout_seconds"] == 7


def test_on_lets_jax_find_the_others(started):
    given = started("--distributed=on")
    assert given is not None and "coordinator_address" not in given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (TOGETHER[:2], "go together"),
        (TOGETHER[2:], "go together"),
        ((*TOGETHER[:2], "--process_id=2"), "the last is number 1"),
        ((*TOGETHER, "--distributed=off"), "leave one of them out"),
    ],
)
def test_flags_that_do_not_fit_are_refused(started, arguments, words):
    with pytest.raises(ConfigError, match=words):
        started(*arguments)


# Agreeing ---------------------------------------------------------------------------------------


def test_different_settings_are_named_with_their_processes(config, monkeypatch):
    def others(mine):
        return [mine, mine | {"train.steps": "7"}, mine]

    monkeypatch.setattr(processes, "from_all", others)
    with pytest.raises(
        ConfigError, match=r"config.train.steps: 40 in process 0, 7 in process 1"
    ) as caught:
        workdir.check_agreement(config)
    assert len(str(caught.value).splitlines()) == 2


def test_places_of_files_may_differ(config, monkeypatch):
    other, sent = config.copy_and_resolve_references(), []
    other.data.cache_dir = "/elsewhere"
    monkeypatch.setattr(processes, "from_all", lambda mine: sent.append(mine) or sent)
    workdir.check_agreement(config)
    workdir.check_agreement(other)
    assert len(sent) == 2


def test_what_the_first_process_refuses_all_refuse(monkeypatch):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setattr(processes, "from_first", lambda value: "no corpus here")
    with pytest.raises(UserError, match="process 0: no corpus here"):
        distributed.first_does(lambda: pytest.fail("only the first one does it"))


def test_whatever_the_first_process_raises_the_others_are_told(monkeypatch):
    told = []
    monkeypatch.setattr(processes, "from_first", told.append)

    def full():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        distributed.first_does(full)
    assert told == ["OSError: [Errno 28] No space left on device"]


# Processes of their own -------------------------------------------------------------------------


def run_by_two(tmp_path, code):
    """Runs a script by two processes of this machine; HOME in it is `tmp_path`."""
    script = tmp_path / "script.py"
    script.write_text(code.replace("HOME", str(tmp_path)))
    return subprocess.run(
        [sys.executable, str(layouts.LOCAL), "2", "--", sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


TWO_SETTINGS = """
import sys
from absl import flags
from vaetx_jax import command_line
from vaetx_jax.runtime import distributed
from vaetx_jax.run import workdir
from vaetx_jax.config.defaults import default_config
def main():
    distributed.start()
    config = default_config()
    config.seed = flags.FLAGS.process_id
    workdir.check_agreement(config)
command_line.run(main, distributed.define_flags)
"""


@pytest.mark.slow
def test_two_processes_with_different_settings_both_stop_and_say_which(tmp_path):
    done = run_by_two(tmp_path, TWO_SETTINGS)
    assert done.returncode == 2, done.stdout
    told = [line for line in done.stdout.splitlines() if "config.seed: 0 in process 0" in line]
    assert len(told) == 2 and told[0].endswith("1 in process 1")
    assert "Traceback" not in done.stdout


SPLIT_STATE = """
import os
import jax, numpy as np
from tests.helpers import tiny
from vaetx_jax import command_line
from vaetx_jax.runtime import distributed
from vaetx_jax.runtime.mesh import data_mesh
from vaetx_jax.runtime.work_folder import open_to_write
from vaetx_jax.training.checkpoint import CheckpointInfo, Checkpoints
from vaetx_jax.training.state import init_state

def state(seed):
    model, optimizer = tiny.vae(vocab_size=2400), tiny.step_settings().optimizer
    return init_state(model, optimizer, jax.random.key(seed), data_mesh(), shard_state=True)

def parts(state):
    return [shard.data for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards]

def main():
    distributed.start()
    saved = state(0)
    assert any(not leaf.is_fully_replicated for leaf in jax.tree.leaves(saved))
    for machine in ("first", "empty"):
        os.environ["VAETX_CACHE"] = f"HOME/{machine}-{jax.process_index()}"
        with open_to_write("local://HOME/bucket/run") as work:
            checkpoints = Checkpoints(work.path / "checkpoints", writable=True)
            if machine == "first":
                checkpoints.save(saved, CheckpointInfo(1, 2.0, candidate=True))
            else:
                found = checkpoints.restore(1, state(1))
            work.share()
    jax.tree.map(np.testing.assert_array_equal, parts(found), parts(saved))
    assert parts(found) and [x.shape for x in parts(found)] == [x.shape for x in parts(saved)]

command_line.run(main, distributed.define_flags)
"""


@pytest.mark.slow
def test_a_state_split_over_two_processes_comes_back_on_machines_with_empty_disks(tmp_path):
    done = run_by_two(tmp_path, SPLIT_STATE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "bucket" / "run" / "checkpoints" / "1" / "manifest.json").exists()
    for number, name in enumerate(("run", "process-1")):
        work = tmp_path / f"empty-{number}" / "work"
        assert len(list(work.glob(f"*/{name}/checkpoints/1/manifest.json"))) == 1


LIVING_LATENT = """
import pathlib
import numpy as np
from tests.helpers.tiny_run import tiny_config
from vaetx_jax import command_line
from vaetx_jax.config.living_latent import keep_latent_alive
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.run.run import create_run
from vaetx_jax.runtime import distributed
from vaetx_jax.training.statistics import SplitStatistics
from vaetx_jax.training.trainer import Trainer

def main():
    distributed.start()
    config, folder = tiny_config(pathlib.Path("HOME/cache")), pathlib.Path("HOME/run")
    keep_latent_alive(config)
    config.train.steps = 4
    distributed.first_does(lambda: [*map(create_run(config, folder).split, SPLITS)])
    run = create_run(config, folder)
    trainer = Trainer(run)
    variables = trainer.run(trainer.start_state()[0]).variables
    summaries = SplitStatistics.of(run).summaries(variables)
    assert summaries.any(axis=1).all()  # of every sentence
    kept = variables["statistics"]
    np.testing.assert_allclose(kept["mean"], summaries.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(kept["variance"], summaries.var(axis=0), rtol=1e-4)

command_line.run(main, distributed.define_flags)
"""


@pytest.mark.slow
def test_two_processes_train_with_the_statistics_of_all_sentences(tmp_path):
    """The recipe for a living latent: a language model first, then a standardised latent."""
    (tmp_path / "run").mkdir()
    done = run_by_two(tmp_path, LIVING_LATENT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Runs a layout for some steps; the first is that of one device."""
    home = tmp_path_factory.mktemp("layouts")
    reference = layouts.run("1", home, "reference", 4)
    return lambda layout: (layouts.run(layout, home, layout, 4), reference)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["4s", "2p"])
def test_a_layout_has_the_gradient_and_the_losses_of_one_device(compared, layout):
    """Four devices with the state sharded over them; two processes."""
    found, reference = compared(layout)
    np.testing.assert_allclose(found["losses"], reference["losses"], rtol=1e-5)
    scale = np.abs(reference["gradient"]).max()
    np.testing.assert_allclose(found["gradient"], reference["gradient"], rtol=0, atol=1e-5 * scale)
