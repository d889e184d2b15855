"""`python -m vaetx_jax.main --config=configs/ptb.py`: train, then evaluate.

The run goes to `runs/ptb`, or to --workdir=DIR; the same command resumes it. Every setting of the
config is a flag, such as --config.model.latent_dim=32: see vaetx_jax/config/defaults.py, for
`config.model` models/presets.py, and for `config.objective` losses/elbo.py.
"""

from vaetx_jax.runtime import huge_pages, signals

if __name__ == "__main__":
    huge_pages.restart()
    signals.exit_immediately()

# isort: split
import contextlib
import pathlib
import platform
from collections.abc import Callable

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from vaetx_jax import command_line
from vaetx_jax.config import keys, validation
from vaetx_jax.config.stored import cache_dir
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.final_report import write_final_report
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.reference import check_reference
from vaetx_jax.run import metrics_page, status, trackers, workdir
from vaetx_jax.run.run import Run, create_run, prepare
from vaetx_jax.runtime import distributed, processes, work_folder
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.runtime.console import counted, duration
from vaetx_jax.runtime.mesh import check_batch_size, data_mesh
from vaetx_jax.training.state import count_parameters
from vaetx_jax.training.trainer import StoppedError, Trainer
from vaetx_jax.version import __version__

FEW = 1_000  # sentences; with fewer to train on a note says so


def define_flags() -> None:
    """The command's flags."""
    config_flags.DEFINE_config_file("config", None, "The run's settings: configs/NAME.py[:MODEL].")
    flags.DEFINE_string(
        "workdir", None, "The run's folder, runs/NAME by default; the same command resumes it."
    )
    trackers.define_flags()
    status.define_flags()
    metrics_page.define_flags()
    work_folder.define_flags()
    distributed.define_flags()


def main() -> int:
    """The command."""
    if flags.FLAGS.status:
        return status.print_status(command_line.status_folder("runs"))
    command_line.require("config")
    folder = command_line.default_workdir("runs")
    trackers.use_given()
    distributed.start()
    port, host = flags.FLAGS.metrics_port, flags.FLAGS.metrics_host
    with (
        work_folder.open_to_write(folder, grace=flags.FLAGS.grace) as work,
        metrics_page.serving(port, host, lambda: metrics_page.read_folders([work.path])),
    ):
        return run(flags.FLAGS.config, work.path, share=work.share)


def run(
    config: ConfigDict, folder: pathlib.Path, *, share: Callable[[], None] = lambda: None
) -> int:
    """Trains in a folder, or resumes its run, and evaluates the best checkpoint on the test split.

    Args:
      share: gives all processes what the first has in its folder, where they do not share a disk.

    Returns:
      The exit status: 0, or 75 when a signal stopped the training; the same call resumes it.

    Raises:
      UserError: a setting, a file or the folder is wrong; nothing is half-written.
    """
    validation.validate(config)
    use_compilation_cache(cache_dir(config))
    workdir.check_agreement(config)
    for key in ("data.batch_size", "evaluation.batch_size"):
        check_batch_size(key, keys.value_of(config, key), data_mesh())
    with contextlib.ExitStack() as stack:
        distributed.first_does(lambda: _prepare(config, folder, stack))
        share()
        run = create_run(config, folder)
        check_reference(run)
        trainer = Trainer(run)
        greet(run, trainer)
        try:
            _train(trainer)
        except StoppedError as stopped:
            print(f"{stopped}. Run the same command again to resume.")
            distributed.leave()
            return signals.STOPPED
        share()
        model = load(folder).on_local_devices()
        distributed.leave()
        if processes.is_first():
            write_final_report(model)
    return 0


def _prepare(config: ConfigDict, folder: pathlib.Path, stack: contextlib.ExitStack) -> None:
    """Claims the folder, and makes the files that all processes then read."""
    stack.enter_context(workdir.claim(folder))
    for notice in prepare(config, folder):
        print(f"note: {notice}")
    workdir.keep_config(folder, config)
    if jax.process_count() > 1:
        run = create_run(config, folder)
        for name in SPLITS:
            run.split(name)


def greet(run: Run, trainer: Trainer) -> None:
    """Prints the versions, devices, corpus, tokenizer, model and schedule of a run."""
    config, settings, batches = run.config, trainer.settings, trainer.batches
    objective = settings.objective
    devices = jax.devices()
    train, valid = run.split("train"), run.split("valid")
    cut = int(train.cut.sum())
    print(
        f"vaetx_jax {__version__}, jax {jax.__version__}, "
        f"Python {platform.python_version()}; {jax.process_count()} process(es), "
        f"{len(devices)} device(s): {devices[0].device_kind}{_describe_mesh(run)}\n"
        f"folder     {run.folder}\n"
        f"corpus     {run.corpus.describe()}\n"
        f"tokenizer  {run.tokenizer.kind}, {run.tokenizer.size:,} tokens{_describe_unknown(run)}\n"
        f"sentences  {len(train):,} to train on, {len(valid):,} to validate; {cut:,} longer than "
        f"{config.data.max_len} tokens were cut\n"
        f"model      {config.model.name} ({config.model.preset}), "
        f"{count_parameters(run.model):,} parameters, latent {run.model.latent_dim or 'none'}\n"
        f"batches    {config.data.batch_size} sentences in rows of {_lengths(batches.shapes)} "
        f"tokens, {batches.padding:.1%} padding\n"
        f"steps      {settings.total_steps:,}, {batches.steps_per_epoch:,} per epoch; "
        f"annealing {objective.annealing}, {objective.cycles} cycles"
        f"{''.join(f', {remedy}' for remedy in objective.remedies())}",
        flush=True,
    )
    if config.data.corpus == "text" and len(train) < FEW:
        print(
            f"note: only {counted(len(train), 'sentence')} to train on; a useful model needs some "
            "thousands",
            flush=True,
        )


def _describe_unknown(run: Run) -> str:
    """How many of the training tokens are [UNK]; empty where none is."""
    tokens, unknown = run.split("train").tokens, run.tokenizer.unk_id
    count = int(np.count_nonzero(tokens == unknown)) if unknown >= 0 else 0
    return f"; {count:,} of {len(tokens):,} in the training split are [UNK]" if count else ""


def _describe_mesh(run: Run) -> str:
    """How several devices share the work; empty for one device."""
    if run.mesh.size == 1:
        return ""
    share = run.config.data.batch_size // run.mesh.size
    split = ", the state split over them" if run.config.mesh.shard_state else ""
    return f"; mesh {dict(run.mesh.shape)}, {share} sentences each{split}"


def _lengths(shapes: tuple[int, ...]) -> str:
    return ", ".join(map(str, shapes))


def _train(trainer: Trainer) -> None:
    state, words = trainer.start_state()
    print(f"training   {words}", flush=True)
    if why := trainer.ended(int(state.step)):
        print(f"training   {why}")
        return
    outcome = trainer.run(state)
    print(f"trained {outcome.steps:,} steps in {duration(outcome.seconds)}")


if __name__ == "__main__":
    command_line.run(main, define_flags, trains=True)
