"""`python -m vaetx_jax.study --config=configs/study/NAME.py --workdir=DIR`: the paper's tables."""

import pathlib
import time

from absl import flags
from ml_collections import ConfigDict, config_flags

from vaetx_jax import command_line
from vaetx_jax.parameter_study import parameter_study
from vaetx_jax.study_config import validate_study
from vaetx_jax.study_report import StudyTable, print_table, write_table
from vaetx_jax.timing_study import timing_study
from vaetx_jax.writer import duration


def _do(config: ConfigDict, folder: pathlib.Path) -> StudyTable:
    if config.study.kind == "timing":
        return timing_study(config, folder)
    return parameter_study(config)


def define_flags() -> None:
    """The command's flags."""
    config_flags.DEFINE_config_file("config", None, "The study: configs/study/NAME.py.")
    flags.DEFINE_string("workdir", None, "The folder of the study; given again, it goes on.")


def main() -> int:
    """The command."""
    command_line.require("config")
    return run(flags.FLAGS.config, pathlib.Path(command_line.require("workdir")))


def run(config: ConfigDict, folder: pathlib.Path) -> int:
    """Does a study, prints its table and writes it into the folder."""
    validate_study(config)
    began = time.monotonic()
    table = _do(config, folder)
    print_table(table)
    paths = write_table(table, folder, config.study.name)
    print(f"done in {duration(time.monotonic() - began)}; written:")
    for path in paths:
        print(f"  {path}")
    return 0


if __name__ == "__main__":
    command_line.run(main, define_flags)
