"""`--status`: how far the runs of a folder are, by their files alone."""

import dataclasses
import json
import os
import time

import pytest

from vaetx_jax.errors import UserError
from vaetx_jax.run.status import print_status, read_status
from vaetx_jax.run.workdir import claim
from vaetx_jax.runtime.lease import Holder
from vaetx_jax.runtime.store import Store


def make_run(folder, rows, *, saved=(), also=()) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in saved:
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / "checkpoints" / str(step) / "manifest.json").write_text("{}")
    for name in also:
        (folder / name).write_text("{}")


def lease(path, **changes) -> None:
    holder = Holder("far", 7, "another machine", "abc", time.time())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(holder, **changes))))


ROWS = [
    {"step": 10, "train/loss": 90.0, "perf/steps_per_second": 2.0},
    {"step": 10, "valid/ppl_elbo": 55.5},
    {"step": 20, "train/loss": 80.0, "train/kl": 1.5, "perf/steps_per_second": 3.0},
]


def test_a_run_s_last_numbers_and_checkpoint_are_told(tmp_path):
    make_run(tmp_path / "ptb", ROWS, saved=(10, 20))
    (run,) = read_status(str(tmp_path))
    assert (run.name, run.state, run.step, run.saved_step) == ("ptb", "stopped", 20, 20)
    assert run.numbers["train/loss"] == 80.0 and run.numbers["perf/steps_per_second"] == 3.0
    assert run.numbers["valid/ppl_elbo"] == 55.5 and run.seconds_since_save >= 0


def test_the_folder_of_one_run_is_a_table_of_one(tmp_path):
    make_run(tmp_path / "ptb", ROWS)
    assert [run.name for run in read_status(str(tmp_path / "ptb"))] == ["ptb"]


def test_a_row_that_is_being_written_is_passed_over(tmp_path):
    make_run(tmp_path / "ptb", ROWS)
    with (tmp_path / "ptb" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "tra')
    assert read_status(str(tmp_path))[0].step == 20


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    make_run(tmp_path / "ptb", [{"step": n, "old": 1.0} for n in range(1)] + ROWS * 2_000)
    (run,) = read_status(str(tmp_path))
    assert run.step == 20 and "old" not in run.numbers


def test_cells_are_told_by_seal_lease_error_and_log(tmp_path):
    cells = tmp_path / "grid" / "cells"
    make_run(cells / "a", ROWS, also=["cell.json"])
    make_run(cells / "b", ROWS)
    make_run(cells / "c", ROWS)
    make_run(cells / "d", ROWS, also=["error.txt"])
    make_run(cells / "b.damaged-1", ROWS)
    lease(tmp_path / "grid" / "leases" / "b-000002.json")
    lease(tmp_path / "grid" / "leases" / "b-000001.json", host="before")
    lease(tmp_path / "grid" / "leases" / "c-000001.json", released=True)
    lease(tmp_path / "grid" / "leases" / "e-000001.json")
    found = {run.name: (run.state, run.owner) for run in read_status(str(tmp_path / "grid"))}
    assert found == {
        "cells/a": ("done", ""),
        "cells/b": ("running", "process 7 on far"),
        "cells/c": ("stopped", ""),
        "cells/d": ("failed", ""),
        "cells/e": ("running", "process 7 on far"),
    }
    above = [run.name for run in read_status(str(tmp_path))]
    assert above == [f"grid/{name}" for name in found]


def test_a_run_is_done_when_it_has_been_evaluated(tmp_path):
    make_run(tmp_path / "ptb", ROWS, also=["evaluation-test.json"])
    assert read_status(str(tmp_path))[0].state == "done"


def test_the_process_that_has_a_run_s_lock_is_its_owner(tmp_path):
    make_run(tmp_path / "ptb", ROWS)
    with claim(tmp_path / "ptb"):
        (run,) = read_status(str(tmp_path))
    assert (run.state, run.owner) == ("running", f"process {os.getpid()} here")
    assert read_status(str(tmp_path))[0].state == "stopped"


def test_a_holder_that_has_been_silent_is_told_so(tmp_path):
    make_run(tmp_path / "ptb", ROWS)
    lease(tmp_path / "ptb" / "lease-000001.json", renewed=time.time() - 120)
    assert "silent for 1" in read_status(str(tmp_path))[0].owner


def test_a_url_is_read_as_a_folder_is(tmp_path):
    make_run(tmp_path / "ptb", ROWS, saved=(20,))
    store = Store("memory://status/runs")
    for path in (tmp_path / "ptb").rglob("*"):
        if path.is_file():
            store.write(str(path.relative_to(tmp_path)), path.read_bytes())
    here, there = read_status(str(tmp_path)), read_status("memory://status/runs")
    assert dataclasses.replace(here[0], saved_at=0) == dataclasses.replace(there[0], saved_at=0)
    assert there[0].seconds_since_save < 10_000


def test_the_table_has_a_line_a_run_and_a_sum(tmp_path, capsys):
    make_run(tmp_path / "one", ROWS, saved=(20,), also=["evaluation-test.json"])
    make_run(tmp_path / "two", [])
    assert print_status(str(tmp_path)) == 0
    head, one, two, total = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "state", "step"]
    assert one.split()[:6] == ["one", "done", "20", "3.00", "80.00", "1.50"]
    assert "20, 0:0" in one and two.split() == ["two", "waiting"]
    assert total == "1 done, 1 waiting"


def test_a_folder_without_runs_is_an_error_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no run in it yet"):
        print_status(str(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        print_status(str(tmp_path / "none"))
