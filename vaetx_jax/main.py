"""`python -m vaetx_jax.main --config=configs/ptb.py --workdir=DIR`: train, then evaluate."""

from vaetx_jax import huge_pages

if __name__ == "__main__":
    huge_pages.restart()

# isort: split
import pathlib
import platform

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from vaetx_jax import __version__, command_line
from vaetx_jax import config as config_lib
from vaetx_jax import workdir as workdir_lib
from vaetx_jax.api import load
from vaetx_jax.compilation_cache import use_compilation_cache
from vaetx_jax.judge import judge
from vaetx_jax.parts import Parts, assemble
from vaetx_jax.step import count_parameters
from vaetx_jax.train import StoppedError, Trainer
from vaetx_jax.writer import duration


def define_flags() -> None:
    """The command's flags."""
    config_flags.DEFINE_config_file("config", None, "The run's settings: configs/NAME.py[:MODEL].")
    flags.DEFINE_string("workdir", None, "The run's folder; given again, the run goes on.")


def main() -> int:
    """The command."""
    command_line.require("config")
    folder = command_line.require("workdir")
    return run(flags.FLAGS.config, pathlib.Path(folder))


def run(config: ConfigDict, folder: pathlib.Path) -> int:
    """Trains in a folder, or goes on there, and judges the best checkpoint on the test split.

    Returns:
      The exit status: 0, or 75 when a signal stopped the training and the same call will go on.

    Raises:
      UserError: a setting, a file or the folder is wrong; nothing is half-written.
    """
    config_lib.validate(config)
    use_compilation_cache(config)
    with workdir_lib.claim(folder):
        for notice in workdir_lib.keep_config(folder, config):
            print(f"note: {notice}")
        parts = assemble(config, folder)
        trainer = Trainer(parts)
        greet(parts, trainer)
        try:
            _train(trainer)
        except StoppedError as stopped:
            print(f"{stopped}. Start the same command again to go on.")
            return command_line.STOPPED
        judge(load(folder))
    return 0


def greet(parts: Parts, trainer: Trainer) -> None:
    """Says what runs, on what, with how much of everything."""
    config, plan, batches = parts.config, trainer.plan, trainer.batches
    devices = jax.devices()
    train, valid = parts.split("train"), parts.split("valid")
    cut = int(train.cut.sum())
    print(
        f"vaetx_jax {__version__}, jax {jax.__version__}, "
        f"Python {platform.python_version()}; {jax.process_count()} process(es), "
        f"{len(devices)} device(s): {devices[0].device_kind}\n"
        f"folder     {parts.folder}\n"
        f"corpus     {parts.corpus.describe()}\n"
        f"tokenizer  {parts.tokenizer.kind}, {parts.tokenizer.size:,} pieces\n"
        f"sentences  {len(train):,} to train on, {len(valid):,} to validate; {cut:,} longer than "
        f"{config.data.max_len} pieces were cut\n"
        f"model      {config.model.name} ({config.model.preset}), "
        f"{count_parameters(parts.model):,} parameters, latent {parts.model.latent_dim or 'none'}\n"
        f"batches    {config.data.batch_size} sentences in rows of {_lengths(batches.shapes)} "
        f"pieces, {batches.padding:.1%} padding\n"
        f"steps      {plan.total_steps:,}, {batches.steps_per_epoch:,} an epoch; "
        f"annealing {plan.annealing}, {plan.cycles} cycles",
        flush=True,
    )


def _lengths(shapes: tuple[int, ...]) -> str:
    return ", ".join(map(str, shapes))


def _train(trainer: Trainer) -> None:
    state, words = trainer.start_state()
    print(f"training   {words}", flush=True)
    if int(state.step) >= trainer.plan.total_steps:
        print("training   all steps are done already")
        return
    outcome = trainer.run(state)
    print(f"trained {outcome.steps:,} steps in {duration(outcome.seconds)}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
