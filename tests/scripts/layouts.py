"""One run on many layouts: forced devices, sharded state, processes of their own.

    python -m tests.scripts.layouts [--layouts=1,2,4,8,2s,4s,8s,2p,4p] [--steps=50]

D: D forced devices of one process; Ds: with `mesh.shard_state`; Pp: P processes over gloo. Prints
how far each layout's first gradient and its losses are from one device's, and that the same layout
twice gives the same bits. Then a run of two processes is stopped and resumed, and another loses a
process to SIGKILL and is brought back by the supervisor: both must be the uninterrupted one, bit
for bit. The exit status is 1 where something is further off than 1e-5 (the gradient and ten steps)
or has other bits.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from tests.helpers.metric_rows import steady_rows
from tests.helpers.paths import REPOSITORY

LOCAL = REPOSITORY / "launch" / "local_processes.py"
BATCH = 16  # 8 devices divide it
HEARTBEAT = 10  # seconds until a silent process counts as lost


def worker(options: argparse.Namespace) -> None:
    """Trains some steps and writes losses and the first gradient; one process of a layout."""
    import jax

    if options.processes:
        jax.distributed.initialize(options.coordinator, options.processes, options.process_id)
    import numpy as np

    from tests.helpers.tiny_run import tiny_config
    from vaetx_jax.run.run import create_run
    from vaetx_jax.runtime.mesh import put_batch, replicate
    from vaetx_jax.runtime.processes import is_first
    from vaetx_jax.training.state import LEAST_TABLE
    from vaetx_jax.training.trainer import Trainer

    config = tiny_config(options.home / "cache")
    config.data.batch_size, config.evaluation.batch_size = BATCH, BATCH
    config.tokenizer.vocab_size, config.model.dim = 500, 64
    config.train.steps = 50
    config.mesh.shard_state = options.sharded
    folder = options.home / options.out.stem
    folder.mkdir(exist_ok=True)
    trainer = Trainer(create_run(config, folder))
    run = trainer._run
    state, _ = trainer.start_state()
    losses, gradient = [], None
    for step in range(options.steps):
        batch = trainer.batches.at(step)
        arrays = put_batch({"ids": batch["ids"], "weight": batch["weight"]}, run.mesh)
        before = state.sums if step % trainer.settings.window else None
        carried = float(before.loss) if before else 0.0
        state, metrics = trainer.train_step(state, arrays, trainer.key)
        losses.append(float(metrics.sums.loss) - carried)
        if step == 0:  # Adam's first moment is a tenth of it
            moments = replicate(state.optimizer, run.mesh)
            gradient = [np.asarray(leaf) for leaf in jax.tree.leaves(moments[0].mu)]
    split = [x for x in jax.tree.leaves(state.optimizer) if not x.is_fully_replicated]
    assert bool(split) == options.sharded, (len(split), LEAST_TABLE)
    if is_first():
        flat = np.concatenate([leaf.ravel() for leaf in gradient])
        final = np.concatenate(
            [np.asarray(x).ravel() for x in jax.tree.leaves(replicate(state.params, run.mesh))]
        )
        np.savez(options.out, losses=losses, gradient=flat, params=final)
    elif options.sharded:
        replicate(state.params, run.mesh)


def run(layout: str, home: pathlib.Path, name: str, steps: int) -> dict:
    """A layout's losses [steps], first gradient and last parameters."""
    import numpy as np

    number, kind = int(layout.rstrip("sp")), layout.lstrip("0123456789")
    out = home / f"{name}.npz"
    command = [sys.executable, str(pathlib.Path(__file__)), "worker", f"--home={home}"]
    command += [f"--out={out}", f"--steps={steps}"] + ["--sharded"] * (kind == "s")
    devices = 1 if kind == "p" else number
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(REPOSITORY),
    }
    if kind == "p":
        command = [sys.executable, str(LOCAL), str(number), "--", *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{layout}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return dict(np.load(out))


def apart(a, b) -> float:
    """The largest difference, relative to the largest value."""
    import numpy as np

    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def start(folder: pathlib.Path, *, supervised: bool = False) -> subprocess.Popen:
    """Starts a run of two processes; what they say goes to FOLDER.log."""
    command = [sys.executable, str(LOCAL), "2", "--", sys.executable, "-m", "vaetx_jax.main"]
    if supervised:
        command = ["bash", str(LOCAL.with_name("supervise.sh")), "--pause=1", "--", *command]
    command += [f"--config={REPOSITORY / 'configs' / 'grammar.py'}", f"--workdir={folder}"]
    settings = {
        "data.cache_dir": folder.parent / "cache",
        "data.sentences": 400,
        "data.held_out": 64,
        "data.groups": 2,
        "tokenizer.vocab_size": 300,
        "model.dim": 16,
        "model.latent_dim": 4,
        "train.steps": 120,
        "train.log_every": 1,
        "train.validate_every": 50,
        "train.checkpoint_every": 20,
        "objective.cycles": 2,
        "evaluation.iw_samples": 2,
        "samples.count": 0,
        "evaluation.text_samples": 0,
    }
    command += [f"--config.{key}={value}" for key, value in settings.items()]
    command += [f"--heartbeat_timeout={HEARTBEAT}"]
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)


def wait_for_rows(process: subprocess.Popen, folder: pathlib.Path, count: int) -> None:
    """Waits until a run has logged so many, or has ended."""
    while len(steady_rows(folder)) < count and process.poll() is None:
        time.sleep(0.05)


def said(folder: pathlib.Path) -> str:
    """What a run has said so far."""
    return folder.with_suffix(".log").read_text()


def same_run(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Whether two runs have the same rows and the same evaluation, bit for bit."""
    figures = [(folder / "evaluation.json").read_text() for folder in (a, b)]
    return steady_rows(a) == steady_rows(b) and figures[0] == figures[1]


def stop_and_resume(home: pathlib.Path, whole: pathlib.Path) -> bool:
    """Whether a run that is stopped by SIGTERM and resumed is the uninterrupted one."""
    folder = home / "stopped"
    process = start(folder)
    wait_for_rows(process, folder, 30)
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    print(
        f"stopped after step {steady_rows(folder)[-1]['step']} with exit status {status}",
        flush=True,
    )
    if status != 75 or start(folder).wait():
        raise SystemExit(said(folder)[-3000:])
    return same_run(folder, whole)


def lose_a_peer(home: pathlib.Path, whole: pathlib.Path) -> bool:
    """Whether a run one of whose processes is killed comes back and is the undisturbed one."""
    folder = home / "lost"
    process = start(folder, supervised=True)
    wait_for_rows(process, folder, 50)
    os.kill(process_of(str(folder), 1), signal.SIGKILL)
    began = time.monotonic()
    while "supervise.sh: ended with status" not in said(folder) and process.poll() is None:
        time.sleep(0.05)
    print(f"process 1 killed; all had ended {time.monotonic() - began:.1f} s later, the heartbeat")
    print(f"timeout being {HEARTBEAT} s; then said:", flush=True)
    print("  " + "\n  ".join(line for line in said(folder).splitlines() if "process" in line[:12]))
    if process.wait():
        raise SystemExit(said(folder)[-3000:])
    return same_run(folder, whole)


def process_of(workdir: str, number: int) -> int:
    """The id of one process of a run."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if f"--process_id={number}".encode() in words and f"--workdir={workdir}".encode() in words:
            return int(path.parent.name)
    raise SystemExit(f"process {number} of {workdir} is not there")


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mode", nargs="?", default="all", choices=("all", "worker"))
    parser.add_argument("--layouts", default="1,2,4,8,2s,4s,8s,2p,4p")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--home", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--sharded", action="store_true")
    for name, default in (("distributed", ""), ("coordinator", "")):
        parser.add_argument(f"--{name}", default=default)
    for name in ("processes", "process_id"):
        parser.add_argument(f"--{name}", type=int, default=0)
    options = parser.parse_args()
    if options.mode == "worker":
        worker(options)
        return 0
    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        reference = run("1", home, "reference", options.steps)
        print(
            "| layout | first gradient | ten losses | all losses | the same again |\n" + "|---" * 5
        )
        for layout in filter(None, options.layouts.split(",")):
            once, again = (run(layout, home, layout + n, options.steps) for n in "ab")
            same = all((once[key] == again[key]).all() for key in once)
            gradient = apart(once["gradient"], reference["gradient"])
            ten = apart(once["losses"][:10], reference["losses"][:10])
            every = apart(once["losses"], reference["losses"])
            words = "bit for bit" if same else "OTHER BITS"
            print(f"| {layout} | {gradient:.1e} | {ten:.1e} | {every:.1e} | {words} |", flush=True)
            wrong |= not same or max(gradient, ten) > 1e-5
        whole = home / "uninterrupted"
        if start(whole).wait():
            raise SystemExit(said(whole)[-3000:])
        resumed, came_back = stop_and_resume(home, whole), lose_a_peer(home, whole)
        print(f"two processes: resumed is uninterrupted: {resumed}; a lost peer's too: {came_back}")
    return int(wrong or not (resumed and came_back))


if __name__ == "__main__":
    sys.exit(main())
