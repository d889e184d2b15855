"""A study killed at random moments, by kill -9, comes to what an undisturbed one comes to.

    python -m tests.scripts.kill_study --workdir=DIR [--times=3] [--seed=0] [--parent-only]
    python -m tests.scripts.kill_study --workdir=DIR --share=3

Not a test for pytest: it takes some four minutes on two cores. A small study of the built-in corpus
runs undisturbed. In another folder it runs again and is killed with all its processes (or its own
process alone: the one that trains then saves and leaves by itself) and started again, TIMES times,
at a random moment of each TIMES-th part of its steps, until the last start finishes it. Each time
every cell must go on from its latest checkpoint and have lost no more than the steps between two;
at the end its figures and metrics must be those of the undisturbed study, exactly. The exit status
is 1 where they are not.

With `--share=N`, N studies share one grid of nine smaller cells, and the first is killed in one of
its cells. The others must finish the grid, each cell once, that one from its checkpoint, and it
must be what it is undisturbed.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from ml_collections import ConfigDict

from tests.helpers.metric_rows import steady_rows
from tests.helpers.paths import REPOSITORY
from vaetx_jax.config.study import default_study
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.run.workdir import CHECKPOINTS, EVALUATION, LEASES, SEAL
from vaetx_jax.runtime.lease import holders
from vaetx_jax.runtime.store import Store

EVERY = 10  # steps between two checkpoints


def get_config(size: str = "two") -> ConfigDict:
    """The study of `two` or `nine` cells: this file is its config, too."""
    config = default_study("killed", "grid")
    config.study.show = ("language", "curves")
    config.study.corpora, config.study.seeds = ("grammar",), (0,)
    config.study.rows = (("vae_transformer", "cyclic"), ("vae_transformer", "none"))
    config.study.latent_dim, config.study.together = 16, 1
    run = config.run
    run.data.sentences, run.data.held_out, run.data.groups, run.data.max_len = 2_000, 500, 2, 40
    run.tokenizer.vocab_size, run.model.dim = 500, 32
    run.train.steps, run.train.log_every, run.objective.cycles = 240, 1, 2
    run.train.validate_every, run.train.checkpoint_every = 60, EVERY
    run.evaluation.iw_samples, run.samples.count = 10, 0
    run.evaluation.text_samples = 0
    if size == "nine":
        config.study.rows += (("vae_transformer", "linear"),)
        config.study.seeds, config.study.latent_dim = (0, 1, 2), 4
        run.data.sentences, run.data.held_out, run.data.groups = 400, 40, 1
        run.tokenizer.vocab_size, run.model.dim, run.train.steps = 300, 16, 60
    return config


def start(
    folder: pathlib.Path, log: pathlib.Path, *flags: str, size: str = "two"
) -> subprocess.Popen:
    """Starts the study in a process group of its own; it writes to the log."""
    command = [sys.executable, "-m", "vaetx_jax.study"]
    command += [f"--config={pathlib.Path(__file__)}:{size}", f"--workdir={folder}", *flags]
    command += [f"--config.run.data.cache_dir={folder.parent / 'cache'}"]
    with log.open("w") as file:
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def children_of(process: subprocess.Popen) -> list[int]:
    """The processes that a process has started and that are still there."""
    try:
        listed = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(number) for number in listed.split()]


def kill(process: subprocess.Popen, *, parent_only: bool) -> None:
    """SIGKILL to the study and, all at one moment, to the process that trains its cells."""
    doomed = [] if parent_only else children_of(process)
    if process.poll() is None:
        for number in [process.pid, *doomed]:
            os.kill(number, signal.SIGKILL)
    process.wait()


def cells_in(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    home = folder / "cells"
    return {path.name: path for path in sorted(home.iterdir())} if home.is_dir() else {}


def where(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """(latest checkpoint, last logged step) of every cell that is not finished."""
    found = {}
    for name, cell in cells_in(folder).items():
        if not (cell / SEAL).exists() and (cell / CHECKPOINTS).is_dir():
            saved = [int(p.name) for p in (cell / CHECKPOINTS).iterdir() if p.name.isdecimal()]
            rows = read_metrics(cell / METRICS)
            found[name] = max(saved, default=0), rows[-1]["step"] if rows else 0
    return found


def steps_done(folder: pathlib.Path) -> int:
    """The steps of all cells."""
    rows = [read_metrics(cell / METRICS) for cell in cells_in(folder).values()]
    return sum(of_cell[-1]["step"] for of_cell in rows if of_cell)


def wait_for_steps(process: subprocess.Popen, folder: pathlib.Path, wanted: int) -> int:
    """Waits until that many steps are done, or the study is; gives how many there are."""
    while steps_done(folder) < wanted and process.poll() is None:
        time.sleep(0.05)
    return steps_done(folder)


def goes_on(log: pathlib.Path) -> dict[str, int]:
    """Cell -> the step that it went on from, by what the study printed."""
    said = re.findall(r"^(\S+): [\d,]+ steps, resumes after step ([\d,]+)", log.read_text(), re.M)
    return {name: int(step.replace(",", "")) for name, step in said}


def check_restart(before: dict[str, tuple[int, int]], log: pathlib.Path) -> list[str]:
    """Says what each interrupted cell lost; gives what is wrong."""
    wrong, resumed = [], goes_on(log)
    if "damaged" in log.read_text():
        wrong.append(f"{log}: a cell was called damaged")
    for name, (saved, logged) in before.items():
        if not saved and name not in resumed:
            print(f"    {name}: had saved nothing, {logged} steps lost")
            lost = logged
        elif name not in resumed:
            continue  # the next kill came before its turn
        else:
            lost = logged - resumed[name]
            print(f"    {name}: logged {logged}, saved {saved}, went on from {resumed[name]}")
            if resumed[name] < saved:
                wrong.append(f"{name}: went on from {resumed[name]} and not from {saved}")
        if lost > EVERY:
            wrong.append(f"{name}: lost {lost} steps, more than {EVERY}")
    return wrong


def compare(undisturbed: pathlib.Path, killed: pathlib.Path) -> list[str]:
    """What differs between the finished cells of two studies."""
    ours, theirs = cells_in(killed), cells_in(undisturbed)
    wrong = [] if ours.keys() == theirs.keys() else [f"the cells are {sorted(ours)}"]
    for name in ours.keys() & theirs.keys():
        wrong += compare_cells(ours[name], theirs[name])
    return wrong


def compare_cells(a: pathlib.Path, b: pathlib.Path) -> list[str]:
    """What differs between two finished cells."""
    wrong = []
    if (a / EVALUATION).read_bytes() != (b / EVALUATION).read_bytes():
        wrong.append(f"{a.name}: other figures")
    if steady_rows(a) != steady_rows(b):
        wrong.append(f"{a.name}: other metrics")
    return wrong


def held_by(process: subprocess.Popen, folder: pathlib.Path) -> str | None:
    """The cell that a study holds; None: none yet."""
    store = Store(str(folder))
    for lease, holder in holders(store, store.list(LEASES)).items():
        if holder.process == process.pid and not holder.released:
            return lease.rpartition("/")[2]
    return None


def share(home: pathlib.Path, count: int, *, parent_only: bool) -> list[str]:
    """Kills the first of several studies over one grid; gives what is wrong."""
    folder, logs = home / "shared", [home / f"shared-{number}.log" for number in range(count)]
    doomed, *others = (start(folder, log, "--wait", size="nine") for log in logs)
    while doomed.poll() is None:
        taken = held_by(doomed, folder)
        if taken and where(folder).get(taken, (0, 0))[0]:
            break
        time.sleep(0.05)
    saved, logged = where(folder)[taken]
    kill(doomed, parent_only=parent_only)
    statuses = [other.wait() for other in others]
    print(f"{taken}: killed after step {logged}, {saved} saved; the others: {statuses}", flush=True)
    done = collections.Counter(
        label for log in logs for label in re.findall(r"^(\S+): done in", log.read_text(), re.M)
    )
    for log in logs:
        print(f"{log.name}: {log.read_text().count(': done in')} cells done", flush=True)
    label, text = taken.rpartition("-")[0], "".join(log.read_text() for log in logs[1:])
    wrong = [f"statuses {statuses}"] if any(statuses) else []
    if len(done) != 9 or set(done.values()) != {1}:
        wrong.append(f"not each of nine cells once: {dict(done)}")
    if f"{label}: done in" not in text or text.count("which is gone, is taken over") != 1:
        wrong.append(f"{label} was not taken over, or others were; see {logs[1]}")
    resumed = max((goes_on(log).get(taken, 0) for log in logs[1:]), default=0)
    print(f"{taken}: went on from step {resumed}", flush=True)
    if resumed < saved:
        wrong.append(f"{taken}: went on from {resumed} and not from {saved}")
    alone = home / "alone"
    only = f"--config.study.only={label}"
    if start(alone, home / "alone.log", only, size="nine").wait():
        return [*wrong, f"the cell alone failed; see {home / 'alone.log'}"]
    return wrong + compare_cells(cells_in(folder)[taken], cells_in(alone)[taken])


def kill_again_and_again(home: pathlib.Path, options: argparse.Namespace) -> list[str]:
    """Kills one study so many times; gives what is wrong."""
    undisturbed, killed = home / "undisturbed", home / "killed"
    if start(undisturbed, home / "undisturbed.log").wait():
        return [f"the undisturbed study failed; see {home / 'undisturbed.log'}"]
    whole = steps_done(undisturbed)
    print(f"undisturbed: {whole} steps", flush=True)
    moments, wrong = random.Random(options.seed), []
    before: dict[str, tuple[int, int]] = {}
    for number in range(1, options.times + 1):
        log = home / f"killed-{number}.log"
        share = (number - 1 + moments.random()) / options.times
        process = start(killed, log)
        reached = wait_for_steps(process, killed, round(share * whole))
        time.sleep(moments.random())  # wherever it is then: in a step, saving, validating, judging
        kill(process, parent_only=options.parent_only)
        found = where(killed)
        print(f"start {number}: killed after {reached} steps", flush=True)
        wrong += check_restart(before, log)
        before = found
    log = home / "killed-last.log"
    status = start(killed, log).wait()
    print(f"last start: exit status {status}", flush=True)
    wrong += [f"the last start: exit status {status}"] if status else []
    return wrong + check_restart(before, log) + compare(undisturbed, killed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--parent-only", action="store_true", help="kill the study's process alone")
    parser.add_argument("--share", type=int, default=0, help="studies over one grid of nine cells")
    options = parser.parse_args()
    home = options.workdir.resolve()
    home.mkdir(parents=True, exist_ok=True)
    for name in ("undisturbed", "killed", "shared", "alone"):
        shutil.rmtree(home / name, ignore_errors=True)
    if options.share:
        wrong = share(home, options.share, parent_only=options.parent_only)
    else:
        wrong = kill_again_and_again(home, options)
    print("\n".join(wrong) if wrong else "every cell is what it is undisturbed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
