"""The life of a run whose folder is in an object store: killed, damaged, moved, and as undisturbed.

    python -m tests.scripts.remote_life --workdir=DIR [--kills=20] [--seed=0] [--scheme=s3]
    python -m tests.scripts.remote_life --workdir=DIR [...] --processes=4 [--sharded]

Not a test for pytest: it takes some minutes. A run on `grammar` is trained undisturbed in a
folder; then again with `--workdir=s3://...` of a server on this machine (`.[test-remote]`), where
each start is on an empty machine (no scratch folder) and ends by SIGKILL at a random moment of its
uploads. Each start must go on from the newest checkpoint that was whole in the store. Then one file
of the newest is changed there; the last start, on an empty machine again, must say so and go on
from the one before, while the store first answers 503 and then hangs for a while. At the end the
rows and the evaluation are those of the undisturbed run, and `evaluate` finds the same from another
machine. With `--scheme=local` the store is a folder, which cannot fail. With `--processes=N` the
run is one of N processes, of which a kill ends the last, and with `--sharded` its state is split
over them (`mesh.shard_state`). The exit status is 1 where that is not so.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from tests.helpers.metric_rows import steady_rows
from tests.helpers.object_servers import BUCKET, address_variables, free_port
from tests.helpers.paths import REPOSITORY
from tests.scripts.chaos import SETTINGS
from tests.scripts.layouts import HEARTBEAT, LOCAL, process_of
from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.store import Store, StoreError

EVERY = 10  # steps between two checkpoints
STEPS = 60  # of the run for each kill
ANSWERS_503, HANGS = 30.0, 60.0  # seconds; the client of S3 retries for about 15 by itself


class Machines:
    """Machines that come and go, each with its own scratch folder, and one store.

    Args:
      home: the folder of all.
      url: of the run in the store.
      steps: of the run.
      processes: of the run, each on a machine of its own.
      sharded: whether its state is split over them.
    """

    def __init__(
        self, home: pathlib.Path, url: str, steps: int, *, processes: int = 1, sharded: bool = False
    ):
        self.home, self.url, self.steps = home, url, steps
        self.processes, self.sharded, self.number = processes, sharded, 0

    def start(self, workdir: str, *flags: str) -> subprocess.Popen:
        """Starts the training on a new machine."""
        settings = SETTINGS | {"train.steps": self.steps, "train.checkpoint_every": EVERY}
        command = [f"--config={REPOSITORY / 'configs' / 'grammar.py'}"]
        command += [f"--config.{key}={value}" for key, value in settings.items()]
        command += [f"--config.data.cache_dir={self.home / 'cache'}"]
        if self.sharded:  # of a state with arrays that are large enough to be split
            command += ["--config.mesh.shard_state=True", "--config.model.dim=64"]
        launcher: list[str] = []
        if self.processes > 1:
            command += [f"--heartbeat_timeout={HEARTBEAT}"]
            launcher = [str(LOCAL), str(self.processes), "--", sys.executable]
        return self.run("main", f"--workdir={workdir}", *command, *flags, launcher=launcher)

    def kill(self, process: subprocess.Popen) -> None:
        """Ends the newest machine, or the last of its processes and so all of them."""
        if self.processes > 1:
            os.kill(process_of(self.url, self.processes - 1), signal.SIGKILL)
        else:
            process.kill()
        process.wait()

    def run(self, module: str, *flags: str, launcher: Sequence[str] = ()) -> subprocess.Popen:
        """Starts a command on a new machine; what it says goes to its log."""
        self.number += 1
        machine = os.environ | {"VAETX_CACHE": str(self.home / f"machine-{self.number}")}
        with self.log.open("w") as log:
            return subprocess.Popen(
                [sys.executable, *launcher, "-m", f"vaetx_jax.{module}", *flags],
                cwd=REPOSITORY,
                env=machine,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> pathlib.Path:
        """What the newest machine has said."""
        return self.home / f"machine-{self.number}.log"

    def forget(self) -> None:
        """Deletes the disk of the newest machine."""
        shutil.rmtree(self.home / f"machine-{self.number}", ignore_errors=True)

    def whole(self) -> list[int]:
        """The steps whose checkpoints are whole in the store."""
        with contextlib.suppress(StoreError):
            names = Store(self.url).list("checkpoints")
            found = (re.fullmatch(r"checkpoints/(\d+)/manifest\.json", name) for name in names)
            return sorted(int(match[1]) for match in found if match)
        return []

    def went_on_from(self) -> int | None:
        """The step that the newest machine went on from, by what it said."""
        text = self.log.read_text()
        if "training   starts from" in text:
            return 0
        found = re.search(r"resumes after step ([\d,]+)", text)
        return int(found[1].replace(",", "")) if found else None


@contextlib.contextmanager
def served(home: pathlib.Path, scheme: str) -> Iterator[tuple[str, pathlib.Path]]:
    """(the URL of an empty bucket, the file that makes its server fail)."""
    fault = home / "fault"
    if scheme == "local":
        yield f"local://{home / BUCKET}", fault
        return
    port = free_port()
    os.environ.update(address_variables(scheme, port))
    command = [sys.executable, "-m", "tests.helpers.object_servers", str(port), str(fault)]
    server = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        import fsspec

        while True:
            with contextlib.suppress(Exception):  # it has not begun yet
                fsspec.filesystem("s3", skip_instance_cache=True).mkdir(BUCKET)
                break
            time.sleep(0.5)
        yield f"s3://{BUCKET}", fault
    finally:
        server.kill()


def kill_many(machines: Machines, kills: int, chance: random.Random) -> list[str]:
    """Ends so many starts by SIGKILL; gives what was wrong."""
    wrong = []
    for number in range(1, kills + 1):
        before = max(machines.whole(), default=0)
        process = machines.start(machines.url)
        while not _has_begun(machines.whole(), before) and process.poll() is None:
            time.sleep(0.1)
        time.sleep(chance.uniform(0.0, 0.8))
        if process.poll() is not None:
            wrong.append(f"kill {number}: the run had ended; see {machines.log}")
        machines.kill(process)
        resumed, after = machines.went_on_from(), machines.whole()
        names = Store(machines.url).list("checkpoints")
        partial = {name.split("/")[1] for name in names} - set(map(str, after))
        if resumed != before:
            wrong.append(f"kill {number}: went on from {resumed}, not from {before}")
        if "damaged" in machines.log.read_text() or not after:
            wrong.append(f"kill {number}: no whole checkpoint is there; see {machines.log}")
        print(
            f"kill {number:2}: from {before}; whole {after}, in part {sorted(partial)}", flush=True
        )
        machines.forget()
    return wrong


def _has_begun(whole: list[int], before: int) -> bool:
    """Whether a start has saved, and one checkpoint is left when the newest is damaged."""
    return len(whole) > 1 and whole[-1] > before


def damage(machines: Machines) -> int:
    """Flips a byte of the newest checkpoint in the store; gives the step of the one before."""
    store, (*_, before, newest) = Store(machines.url), machines.whole()
    names = store.list(f"checkpoints/{newest}")
    name = max((name for name in names if "/d/" in name), key=names.__getitem__)
    content = bytearray(store.read(name) or b"")
    content[len(content) // 2] ^= 1
    store.write(name, bytes(content))
    return before


def finish(machines: Machines, fault: pathlib.Path, *, fails: bool) -> list[str]:
    """Damages the newest checkpoint and trains to the end on a machine whose store fails."""
    before, wrong = damage(machines), []
    process = machines.start(machines.url)
    while machines.went_on_from() is None and process.poll() is None:
        time.sleep(0.1)
    if fails:

        def fail() -> None:
            for kind, seconds in (("503", ANSWERS_503), ("hang", HANGS)):
                fault.write_text(kind)
                time.sleep(seconds)
            fault.unlink()

        threading.Thread(target=fail).start()
    status, said = process.wait(), machines.log.read_text()
    if status or machines.went_on_from() != before or "set aside as" not in said:
        wrong.append(f"the last start: status {status}, not from {before}; see {machines.log}")
    if fails and ("the training goes on" not in said or "answers again" not in said):
        wrong.append(f"the store failed and nothing was said; see {machines.log}")
    return wrong


def compare(machines: Machines, undisturbed: pathlib.Path) -> list[str]:
    """Compares what is in the store with the undisturbed run; evaluates from another machine."""
    wrong, copy = [], machines.home / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    Mirror(copy, Store(machines.url), machines.home / "staged").fetch(keep=False)
    if steady_rows(copy) != steady_rows(undisturbed):
        wrong.append("the rows are not those of the undisturbed run")
    wanted = json.loads((undisturbed / "evaluation.json").read_text())
    if json.loads((copy / "evaluation.json").read_text()) != wanted:
        wrong.append("the evaluation is not that of the undisturbed run")
    Store(machines.url).delete(["evaluation.json", "evaluation-test.json"])
    status = machines.run("evaluate", f"--workdir={machines.url}").wait()
    found = Store(machines.url).read("evaluation-test.json") or b"{}"
    if status or json.loads(found) != wanted:
        wrong.append(f"evaluate from another machine differs; see {machines.log}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scheme", choices=["s3", "local"], default="s3")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sharded", action="store_true")
    options = parser.parse_args()
    home = options.workdir.resolve()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with served(home, options.scheme) as (bucket, fault):
        machines = Machines(
            home,
            f"{bucket}/run",
            STEPS * (options.kills + 1),
            processes=options.processes,
            sharded=options.sharded,
        )
        undisturbed = home / "undisturbed"
        began = time.monotonic()
        if machines.start(str(undisturbed)).wait():
            print(machines.log.read_text(), file=sys.stderr)
            return 1
        print(f"undisturbed: {machines.steps} steps, {time.monotonic() - began:.0f} s", flush=True)
        wrong = kill_many(machines, options.kills, random.Random(options.seed))
        wrong += finish(machines, fault, fails=options.scheme == "s3")
        wrong += compare(machines, undisturbed)
    print("\n".join(wrong) if wrong else f"{options.kills} kills: all as undisturbed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
