"""A training killed many times, at random moments and in every way, comes to what it would have.

    python -m tests.scripts.chaos --workdir=DIR [--kills=50] [--seed=0]

Not a test for pytest: it takes some ten minutes on two cores. A run on `grammar` that saves every
few steps is trained undisturbed; then again in another folder, where each start is ended by
SIGKILL, SIGTERM or SIGINT: while it starts, steps, saves, deletes or validates. Each start must go
on from the newest good checkpoint, having lost no more than the steps between two (nothing where it
was asked to stop, which must give 75). The last start, left alone, must end with exactly the rows
and the evaluation of the undisturbed run. The exit status is 1 where that is not so.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from tests.helpers.metric_rows import steady_rows
from tests.helpers.paths import REPOSITORY
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.training.checkpoint import Checkpoints

EVERY = 5  # steps between two checkpoints
STEPS = 16  # of the run for each kill
SETTINGS = {
    "data.sentences": 400,
    "data.held_out": 40,
    "data.groups": 1,
    "tokenizer.vocab_size": 300,
    "model.dim": 16,
    "model.latent_dim": 4,
    "train.log_every": 1,
    "train.checkpoint_every": EVERY,
    "train.validate_every": 100,
    "objective.cycles": 4,
    "evaluation.iw_samples": 2,
    "samples.count": 0,
    "evaluation.text_samples": 0,
}


def start(folder: pathlib.Path, steps: int) -> subprocess.Popen:
    """Starts the run; what it says goes to FOLDER.log."""
    command = [sys.executable, "-m", "vaetx_jax.main", f"--workdir={folder}"]
    command += [f"--config={REPOSITORY / 'configs' / 'grammar.py'}"]
    command += [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    command += [f"--config.train.steps={steps}"]
    command += [f"--config.data.cache_dir={folder.parent / 'cache'}"]
    with log_of(folder).open("w") as log:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)


def log_of(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_suffix(".log")


def last_row(folder: pathlib.Path) -> int:
    rows = read_metrics(folder / METRICS)
    return rows[-1]["step"] if rows else 0


def newest(folder: pathlib.Path) -> int:
    """The step of the newest good checkpoint."""
    home = folder / "checkpoints"
    return (Checkpoints(home, writable=False).latest() or 0) if home.is_dir() else 0


def went_on_from(folder: pathlib.Path) -> int | None:
    """By what the run said; None: it had not come so far."""
    text = log_of(folder).read_text()
    if "training   starts from" in text:
        return 0
    found = re.search(r"resumes after step ([\d,]+)", text)
    return int(found[1].replace(",", "")) if found else None


def doing(folder: pathlib.Path) -> str:
    """What the run was at, by what it left behind."""
    names = [path.name for path in folder.glob("checkpoints/*")]
    for prefix, words in (("writing-", "saving"), ("deleting-", "deleting")):
        if any(name.startswith(prefix) for name in names):
            return words
    return "stepping"


class Chaos:
    """The killing, and what is found wrong."""

    def __init__(self, folder: pathlib.Path, steps: int, seed: int):
        self.folder, self.steps = folder, steps
        self.random = random.Random(seed)
        self.wrong: list[str] = []
        self.lost: list[int] = []
        self.at: collections.Counter[str] = collections.Counter()

    def kill_once(self, number: int, wanted: int) -> None:
        """Starts the run, ends it once it has done `wanted` steps and a little more."""
        before, logged = newest(self.folder), last_row(self.folder)
        process = start(self.folder, self.steps)
        starting = self.random.random() < 0.1
        if starting:
            time.sleep(self.random.uniform(0.0, 6.0))
        else:
            while last_row(self.folder) < wanted and process.poll() is None:
                time.sleep(0.02)
            time.sleep(self.random.uniform(0.0, 0.4))
        chosen = self.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        finished = process.poll() is not None
        process.send_signal(chosen)
        status = process.wait()
        if last_row(self.folder) == self.steps:
            self.wrong.append(f"kill {number}: came after the last step; give it more steps")
        self.check(number, chosen, status, before, logged, starting)
        if finished:
            self.wrong.append(f"kill {number}: the run had ended with status {status}")

    def check(self, number, chosen, status, before, logged, starting) -> None:
        """Looks at where the start went on from and at what its end cost."""
        resumed = went_on_from(self.folder)
        if resumed is not None and resumed != before:
            self.wrong.append(f"kill {number}: went on from {resumed}, not from {before}")
        if resumed is not None and logged - resumed > 2 * EVERY:
            self.wrong.append(f"kill {number}: {logged - resumed} steps lost")
        lost = last_row(self.folder) - newest(self.folder)
        what = "starting" if starting else doing(self.folder)
        self.at[what if chosen == signal.SIGKILL else "asked to stop"] += 1
        self.lost.append(lost)
        asked = chosen != signal.SIGKILL and not starting and last_row(self.folder) < self.steps
        if asked and (status != 75 or lost):
            self.wrong.append(f"kill {number}: {chosen.name} gave {status}, {lost} steps lost")
        if "damaged" in log_of(self.folder).read_text():
            self.wrong.append(f"kill {number}: a checkpoint was called damaged")
        print(
            f"kill {number:2}: {chosen.name:7} at {last_row(self.folder):5} ({what}), status "
            f"{status}; {lost} steps to do again",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
    # More than the kills need: one while it starts may come late, and then it has gone far.
    home, steps = options.workdir.resolve(), 3 * STEPS * options.kills // 2
    undisturbed, killed = home / "undisturbed", home / "killed"
    for folder in (undisturbed, killed):
        shutil.rmtree(folder, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    if start(undisturbed, steps).wait():
        print(log_of(undisturbed).read_text(), file=sys.stderr)
        return 1
    chaos = Chaos(killed, steps, options.seed)
    for number in range(1, options.kills + 1):
        chaos.kill_once(number, (STEPS - 1) * number)
    status = start(killed, steps).wait()
    if status:
        chaos.wrong.append(f"the last start: exit status {status}")
    if steady_rows(killed) != steady_rows(undisturbed):
        chaos.wrong.append("the rows are not those of the undisturbed run")
    figures = [json.loads((f / "evaluation.json").read_text()) for f in (killed, undisturbed)]
    if figures[0] != figures[1]:
        chaos.wrong.append("the evaluation is not that of the undisturbed run")
    print(f"{options.kills} kills: {dict(chaos.at)}; at most {max(chaos.lost)} steps lost")
    print("\n".join(chaos.wrong) if chaos.wrong else "all as undisturbed")
    return int(bool(chaos.wrong))


if __name__ == "__main__":
    sys.exit(main())
