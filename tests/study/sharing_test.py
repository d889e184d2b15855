"""A grid on several hosts: a cell is one host's at a time, and a dead host gives its cell back."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.paths import REPOSITORY
from tests.helpers.small_grid import LABELS, study_of
from tests.study.conftest import finish
from vaetx_jax.run.workdir import ERROR, EVALUATION, SEAL
from vaetx_jax.runtime import lease as lease_lib
from vaetx_jax.runtime.lease import Holder
from vaetx_jax.study import __main__, sharing
from vaetx_jax.study.cells import cells_of
from vaetx_jax.study.scheduler import Scheduler
from vaetx_jax.study.sharing import SharedCells

NAMES = [cell.name for cell in cells_of(study_of())]


def hold(folder, name: str, **changes) -> None:
    """Leaves the lease of a cell as a host elsewhere does."""
    holder = dataclasses.replace(
        Holder("other", 7, "another machine", "abc", time.time()), **changes
    )
    (folder / "leases").mkdir(exist_ok=True)
    path = folder / "leases" / f"{name}-000001.json"
    path.write_text(json.dumps(dataclasses.asdict(holder)))


@pytest.fixture
def meanwhile(monkeypatch):
    """Says what happens elsewhere while a study waits; gives how often it waited."""
    waits = []

    def put(happens) -> list[int]:
        def pause(seconds: float) -> None:
            waits.append(len(waits))
            happens()

        monkeypatch.setattr(sharing, "time", type("Clock", (), {"sleep": staticmethod(pause)}))
        return waits

    return put


def test_a_cell_that_another_host_holds_is_left_to_it_and_said(
    process, tmp_path, meanwhile, capsys
):
    beats = meanwhile(lambda: hold(tmp_path, NAMES[1], renewed=time.time() + len(beats)))
    hold(tmp_path, NAMES[1])
    fake = process()
    assert __main__.run(study_of(), tmp_path) == 0
    assert fake.ordered == LABELS[:1] + LABELS[2:] and len(beats) <= 2
    printed = capsys.readouterr().out
    assert f"{LABELS[1]}: held by process 7 on other" in printed
    assert "other hosts hold 1 cell, and the last of them writes the tables" in printed
    assert not (tmp_path / "made.json").exists()


def test_the_last_host_writes_the_tables(process, tmp_path, meanwhile):
    def done_there() -> None:
        folder = tmp_path / "cells" / NAMES[1]
        folder.mkdir(parents=True)
        finish(folder, cells_of(study_of())[1].config.to_dict())
        hold(tmp_path, NAMES[1], released=True)

    meanwhile(done_there)
    hold(tmp_path, NAMES[1])
    fake = process()
    assert __main__.run(study_of(), tmp_path) == 0
    assert LABELS[1] not in fake.ordered
    assert len(json.loads((tmp_path / "made.json").read_text())["rows"]) == 3


def test_the_cell_of_a_host_that_gives_no_sign_of_life_is_taken_over(
    process, tmp_path, meanwhile, monkeypatch, capsys
):
    now = [1000.0]
    monkeypatch.setattr(lease_lib.time, "monotonic", lambda: now[0])

    def later() -> None:
        now[0] += lease_lib.LIFETIME / 4

    beats = meanwhile(later)
    hold(tmp_path, NAMES[1])
    fake = process()
    grid = Scheduler(study_of(), SharedCells(tmp_path)).run()
    assert fake.ordered == [*LABELS[:1], *LABELS[2:], LABELS[1]] and len(grid.results) == 6
    assert len(beats) == 4, "a quarter of a lifetime each"
    assert "process 7 on other" in capsys.readouterr().err


def test_a_study_that_waits_stays_until_the_cells_of_others_are_done(process, tmp_path, meanwhile):
    def lives_four_times() -> None:
        if len(beats) <= 4:
            hold(tmp_path, NAMES[1], renewed=time.time() + len(beats))
        else:
            hold(tmp_path, NAMES[1], released=True)

    beats = meanwhile(lives_four_times)
    hold(tmp_path, NAMES[1])
    fake = process()
    grid = Scheduler(study_of(), SharedCells(tmp_path), wait=True).run()
    assert fake.ordered[-1] == LABELS[1] and grid.held == {} and len(beats) == 5


def test_a_study_that_is_stopped_while_it_waits_is_to_be_resumed(process, tmp_path, meanwhile):
    meanwhile(lambda: os.kill(os.getpid(), signal.SIGTERM))
    hold(tmp_path, NAMES[1])
    process()
    assert __main__.run(study_of(), tmp_path, wait=True) == 75


def test_a_cell_that_failed_on_another_host_meanwhile_is_not_tried_here(
    process, tmp_path, meanwhile
):
    def fails_there() -> None:
        (tmp_path / "cells" / NAMES[1]).mkdir(parents=True)
        (tmp_path / "cells" / NAMES[1] / "error.txt").write_text("Traceback\nBoom: out of luck\n")
        hold(tmp_path, NAMES[1], released=True)

    meanwhile(fails_there)
    hold(tmp_path, NAMES[1])
    fake = process()
    grid = Scheduler(study_of(), SharedCells(tmp_path)).run()
    assert LABELS[1] not in fake.ordered and grid.failed == 1
    assert grid.missing == {LABELS[1]: "on another host: Boom: out of luck"}


def test_a_cell_has_its_lease_while_it_is_worked_on(process, tmp_path):
    fake = process()
    held = []
    plain = fake.events

    def events():
        held.append(SharedCells(tmp_path).holder(fake.orders[-1].cells[0].folder.name))
        yield from plain()

    fake.events = events
    Scheduler(study_of(only="*vae_gru-none*"), SharedCells(tmp_path)).run()
    assert [holder.process for holder in held] == [os.getpid()] * 2
    assert [SharedCells(tmp_path).holder(name) for name in NAMES] == [None] * 6


# In an object store ------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    """A host's cells of one grid at a URL, by the host's name."""

    def start(name: str) -> SharedCells:
        return SharedCells(tmp_path / name, f"local://{tmp_path}/bucket/grid")

    return start


def test_hosts_without_a_common_disk_share_a_grid_at_a_url(process, tmp_path, machine):
    process()
    Scheduler(study_of(only="*s0"), machine("a")).run()
    there = tmp_path / "bucket" / "grid" / "cells"
    assert sorted(path.name for path in there.iterdir()) == sorted(NAMES[::2])
    assert all((path / SEAL).exists() for path in there.iterdir())
    fake = process()
    grid = Scheduler(study_of(), machine("b")).run()
    assert fake.ordered == LABELS[1::2] and len(grid.results) == 6
    assert grid.results[0].folder.is_relative_to(tmp_path / "b")


def test_a_cell_at_a_url_whose_figures_are_damaged_is_evaluated_again(process, tmp_path, machine):
    process()
    Scheduler(study_of(), machine("a")).run()
    path = tmp_path / "bucket" / "grid" / "cells" / NAMES[3] / EVALUATION
    path.write_text("{}")
    fake = process()
    grid = Scheduler(study_of(), machine("b")).run()
    assert fake.ordered == [LABELS[3]] and len(grid.results) == 6
    assert json.loads(path.read_text())["ppl_rec"] == 70.0


def test_a_cell_that_was_damaged_at_a_url_is_trained_again_from_nothing(process, tmp_path, machine):
    process()
    Scheduler(study_of(), machine("a")).run()
    there = tmp_path / "bucket" / "grid" / "cells" / NAMES[3]
    (there / "metrics.jsonl").write_text("something else")
    (there / "left_over.txt").write_text("of the damaged cell")
    fake = process()
    Scheduler(study_of(), machine("b")).run()
    assert fake.ordered == [LABELS[3]] and fake.orders[0].cells[0].train
    assert not (there / "left_over.txt").exists()
    assert (there / "metrics.jsonl").read_text().startswith('{"step": 1')


def test_checkpoints_of_other_hosts_are_not_fetched_and_not_missed(process, tmp_path, machine):
    first = machine("a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedCells, "begin", lambda self, name: None)
        folder = first.folder / NAMES[0]
        (folder / "checkpoints" / "1").mkdir(parents=True)
        (folder / "checkpoints" / "1" / "big").write_text("parameters")
        finish(folder, cells_of(study_of())[0].config.to_dict())
    paths = [path for path in folder.rglob("*") if path.is_file()]
    first.store.put({f"cells/{NAMES[0]}/{path.relative_to(folder)}": path for path in paths})
    fake = process()
    grid = Scheduler(study_of(), machine("b")).run()
    assert fake.ordered == LABELS[1:] and len(grid.results) == 6
    assert not (tmp_path / "b" / "cells" / NAMES[0] / "checkpoints").exists()


# Processes ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_three_studies_over_one_grid_one_is_killed_and_each_cell_is_done_once(tmp_path):
    tmp_config = tmp_path / "shared.py"
    tmp_config.write_text(
        "from vaetx_jax.config.study import default_study\n"
        "def get_config():\n"
        "    config = default_study('shared', 'grid')\n"
        "    study, run = config.study, config.run\n"
        "    study.corpora, study.seeds, study.latent_dim = ('grammar',), (0, 1), 4\n"
        "    study.rows, study.show = (('vae_transformer', 'none'),), ('language',)\n"
        "    run.data.sentences, run.data.held_out, run.data.groups = 200, 40, 1\n"
        "    run.tokenizer.vocab_size, run.model.dim, run.model.layers = 120, 16, 1\n"
        "    run.model.heads, run.data.max_len, run.train.steps = 2, 16, 8\n"
        "    run.train.log_every, run.evaluation.iw_samples = 1, 2\n"
        "    run.samples.count, run.evaluation.text_samples = 0, 0\n"
        f"    run.data.cache_dir = {str(tmp_path / 'cache')!r}\n"
        "    return config\n"
    )
    folder = tmp_path / "grid"
    command = [sys.executable, "-m", "vaetx_jax.study"]
    command += [f"--config={tmp_config}", f"--workdir={folder}", "--wait"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}

    def start(number: int) -> subprocess.Popen:
        with (tmp_path / f"{number}.log").open("w") as log:
            return subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    doomed = start(0)
    while doomed.poll() is None and not list(folder.glob("leases/*.json")):
        time.sleep(0.05)
    others = [start(1), start(2)]
    doomed.send_signal(signal.SIGKILL)
    assert doomed.wait() == -signal.SIGKILL, (tmp_path / "0.log").read_text()
    statuses = [other.wait() for other in others]
    logs = [(tmp_path / f"{number}.log").read_text() for number in (1, 2)]
    errors = [path.read_text() for path in sorted(folder.glob(f"cells/*/{ERROR}"))]
    assert statuses == [0, 0], "\n".join([*logs, *errors])
    assert sum(log.count(": done in") for log in logs) == 2
    assert sum("which is gone, is taken over" in log for log in logs) == 1
    assert len(list(folder.glob(f"cells/*/{SEAL}"))) == 2 and (folder / "shared.md").exists()
