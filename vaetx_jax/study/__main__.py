"""`python -m vaetx_jax.study --config=configs/study/NAME.py`: the paper's tables.

The study goes to `studies/NAME`, or to --workdir=DIR; the same command resumes it.
"""

from vaetx_jax.runtime import huge_pages, signals

if __name__ == "__main__":
    huge_pages.restart()
    signals.exit_immediately()

# isort: split
import pathlib
import time
from collections.abc import Callable

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from vaetx_jax import command_line
from vaetx_jax.config.study import validate_study
from vaetx_jax.errors import UserError
from vaetx_jax.run import metrics_page, status, trackers
from vaetx_jax.runtime import distributed, processes, work_folder
from vaetx_jax.runtime.console import counted, duration
from vaetx_jax.runtime.paths import scheme_of
from vaetx_jax.study import grid, parameters, schedules, timing
from vaetx_jax.study.report import StudyReport
from vaetx_jax.study.sharing import SharedCells
from vaetx_jax.training.trainer import StoppedError

# `config.study.kind` -> the function that runs such a study.
KINDS: dict[str, Callable[[ConfigDict, pathlib.Path], StudyReport]] = {
    "grid": grid.run,
    "parameters": parameters.run,
    "schedules": schedules.run,
    "timing": timing.run,
}


def define_flags() -> None:
    """The command's flags."""
    config_flags.DEFINE_config_file("config", None, "The study: configs/study/NAME.py.")
    flags.DEFINE_string(
        "workdir", None, "The study's folder, studies/NAME by default; the same command resumes it."
    )
    trackers.define_flags()
    flags.DEFINE_bool(
        "wait",
        False,
        "With several hosts on one grid: stay until the cells of the others are done, and take "
        "over those of hosts that die.",
    )
    status.define_flags()
    metrics_page.define_flags()
    work_folder.define_flags()
    distributed.define_flags()


def main() -> int:
    """The command."""
    if flags.FLAGS.status:
        return status.print_status(command_line.status_folder("studies"))
    command_line.require("config")
    folder = command_line.default_workdir("studies")
    trackers.use_given()
    config, grace = flags.FLAGS.config, flags.FLAGS.grace
    validate_study(config)
    if config.study.kind == "grid":
        return _share(config, folder, grace)
    if config.study.kind == "timing":
        distributed.start()
    with work_folder.open_to_write(folder, grace=grace) as work:
        print(f"folder     {work.path}", flush=True)
        return run(config, work.path)


def _share(config: ConfigDict, given: pathlib.Path | str, grace: float) -> int:
    """Runs a grid, whose cells several hosts may share, in a folder or at a URL."""
    if url := str(given) if scheme_of(str(given)) else "":
        folder = work_folder.scratch_of(url)
        print(f"mirrored   {url}, here {folder}", flush=True)
    else:
        folder = _make(pathlib.Path(given))
        print(f"folder     {folder}", flush=True)
    shared = SharedCells(folder, url, grace=grace)

    def read() -> list[status.RunStatus]:
        return metrics_page.read_folders([shared.folder / name for name in shared.mine()])

    with metrics_page.serving(flags.FLAGS.metrics_port, flags.FLAGS.metrics_host, read):
        return run(config, folder, shared=shared, wait=flags.FLAGS.wait)


def run(
    config: ConfigDict,
    folder: pathlib.Path,
    *,
    shared: SharedCells | None = None,
    wait: bool = False,
) -> int:
    """Runs a study, prints its tables and writes its report into the folder.

    Args:
      config: as `validate_study` accepts it.
      shared: the cells of a grid; None: those of the folder.
      wait: for the cells of a grid that other hosts hold.

    Returns:
      The exit status: 0; 1 when cells failed; 75 when a signal stopped it and the same call
      resumes it.

    Raises:
      UserError: the folder cannot be written.
    """
    _make(folder)
    began = time.monotonic()
    kind = config.study.kind
    try:
        if kind == "grid":
            report = grid.run(config, folder, shared=shared, wait=wait)
        else:
            report = KINDS[kind](config, folder)
    except StoppedError as stopped:
        print(f"{stopped}. Run the same command again to resume.")
        return signals.STOPPED
    if jax.distributed.is_initialized():  # asked for only then: the others take the devices
        distributed.leave()
        if not processes.is_first():
            return 0
    return _conclude(report, config.study.name, folder, began, shared)


def _conclude(
    report: StudyReport,
    name: str,
    folder: pathlib.Path,
    began: float,
    shared: SharedCells | None,
) -> int:
    """Prints and writes what there is to report; gives the exit status."""
    held = report.grid.held if report.grid else {}
    for label, holder in held.items():
        print(f"{label}: held by {holder}")
    if held:
        print(
            f"nothing is left to do here; other hosts hold {counted(len(held), 'cell')}, and the "
            "last of them writes the tables"
        )
    elif report.tables:
        report.print_tables()
        paths = report.write(folder, name)
        if shared:
            shared.put(paths)
        print(f"done in {duration(time.monotonic() - began)}; written:")
        for path in paths:
            print(f"  {path}")
    elif report.grid:
        print("no finished cell belongs to a table, so there is no table yet")
    if report.grid and report.grid.failed:
        return command_line.fail(f"{counted(report.grid.failed, 'cell')} failed; see above", 1)
    return 0


def _make(folder: pathlib.Path) -> pathlib.Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"--workdir={folder}: this is a file; give a folder") from None
    return folder


if __name__ == "__main__":
    command_line.run(main, define_flags, trains=True)
