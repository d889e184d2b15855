"""How far runs are, read from their files: for `--status`, and for the page of `--metrics_port`.

It reads the end of `metrics.jsonl`, the names of checkpoints and the leases, of a folder here or in
an object store, so that it is quick, asks no run and disturbs none.
"""

import dataclasses
import json
import os
import pathlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from vaetx_jax.errors import UserError
from vaetx_jax.run.metric_log import METRICS
from vaetx_jax.run.workdir import (
    CELLS,
    CHECKPOINTS,
    CONFIG,
    CORPUS,
    ERROR,
    EVALUATION,
    LEASES,
    LOCK,
    SEAL,
)
from vaetx_jax.runtime.console import duration
from vaetx_jax.runtime.lease import LIFETIME, Holder, holders
from vaetx_jax.runtime.manifest import MANIFEST
from vaetx_jax.runtime.paths import scheme_of
from vaetx_jax.runtime.store import Store, patiently

_END = 2**16  # bytes of a `metrics.jsonl` that are read
_LOCKS = pathlib.Path("/proc/locks")
_NO_RUN = re.compile(r"\.damaged-\d+(/|$)")
_IN_STUDY = re.compile(rf"(?:(.*)/)?{CELLS}/([^/]+)")


def define_flags() -> None:
    """The flag of a command that can say how far its runs are."""
    flags.DEFINE_bool("status", False, "Print the progress of the runs in --workdir and exit.")


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """How far one run is.

    Attributes:
      name: its folder, below the one that was asked for.
      state: done, running, failed, stopped or waiting.
      step: updates done, as logged; None: none yet.
      numbers: the last value of every metric in the rows that were read.
      saved_step: that of the newest checkpoint; None: there is none.
      saved_at: when it was saved, in seconds since 1970.
      owner: who holds the run's lease or lock, in words.
    """

    name: str
    state: str
    step: int | None
    numbers: Mapping[str, float]
    saved_step: int | None
    saved_at: float | None
    owner: str

    @property
    def seconds_since_save(self) -> float | None:
        """Seconds since the newest checkpoint; None: there is none."""
        return None if self.saved_at is None else max(time.time() - self.saved_at, 0.0)


def print_status(given: str) -> int:
    """Prints a table of all runs in a folder or at a URL; gives the exit status.

    Raises:
      UserError: there is none, or the store does not answer.
    """
    if not scheme_of(given) and not pathlib.Path(given).is_dir():
        raise UserError(f"--workdir={given}: there is no such folder; give a folder of runs")
    found = read_status(given)
    if not found:
        raise UserError(f"--workdir={given}: there is no run in it yet")
    rows = [_HEAD, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        right = [cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:-1], strict=True)]
        print("  ".join([*left, *right, row[-1]]).rstrip())
    counts = {state: sum(run.state == state for run in found) for state in _STATES}
    print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    return 0


def read_status(given: str) -> list[RunStatus]:
    """The runs below a folder or a URL, by name.

    Raises:
      StoreError: the store does not answer.
    """
    store = patiently(lambda: Store(given if scheme_of(given) else os.path.abspath(given)))
    files = patiently(store.list)
    leases = patiently(lambda: holders(store, files))
    homes = {name.rpartition("/")[0] for name in files if name.endswith(METRICS)}
    homes |= {_home(name) for name in leases}
    homes |= {name.rpartition("/")[0] for name in files if _is_run_config(name)}
    root = "" if scheme_of(given) else os.path.abspath(given)
    return [
        read_run(store, home, files, leases, root=root)
        for home in sorted(homes)
        if not _NO_RUN.search(home) and _is_run(home, files, leases)
    ]


def read_run(
    store: Store,
    home: str,
    files: Mapping[str, int],
    leases: Mapping[str, Holder],
    *,
    root: str = "",
) -> RunStatus:
    """One run.

    Args:
      home: its folder in the store; empty: the store itself.
      files: all files of the store, name -> size.
      leases: all leases there.
      root: the store's folder, where it is one of this machine; empty: it is not.
    """
    prefix = f"{home}/" if home else ""
    own = {n.removeprefix(prefix): size for n, size in files.items() if n.startswith(prefix)}
    numbers = _numbers(store, f"{prefix}{METRICS}", own.get(METRICS, 0))
    parts = [name.split("/") for name in own if name.startswith(f"{CHECKPOINTS}/")]
    saved = [int(part[1]) for part in parts if part[1].isdecimal() and part[2:] == [MANIFEST]]
    newest = max(saved, default=None)
    manifest = f"{prefix}{CHECKPOINTS}/{newest}/{MANIFEST}"
    owner = _owner(home, leases, root)
    return RunStatus(
        name=home or pathlib.PurePath(store.url).name,
        state=_state(own, owner, numbers, is_cell=bool(_IN_STUDY.fullmatch(home))),
        step=int(numbers["step"]) if "step" in numbers else None,
        numbers=numbers,
        saved_step=newest,
        saved_at=None if newest is None else store.modified(manifest),
        owner=owner,
    )


_STATES = ("done", "running", "stopped", "failed", "waiting")
_HEAD = ("run", "state", "step", "steps/s", "tokens/s", "loss", "kl", "valid ppl", "saved", "owner")


def _cells(run: RunStatus) -> Sequence[str]:
    def number(name: str, digits: int) -> str:
        return f"{run.numbers[name]:,.{digits}f}" if name in run.numbers else ""

    ago, saved = run.seconds_since_save, ""
    if run.saved_step is not None:
        saved = f"{run.saved_step:,}" + (f", {duration(ago)} ago" if ago is not None else "")
    return (
        run.name,
        run.state,
        "" if run.step is None else f"{run.step:,}",
        number("perf/steps_per_second", 2),
        number("perf/tokens_per_second", 0),
        number("train/loss", 2),
        number("train/kl", 2),
        number("valid/ppl_elbo", 2),
        saved,
        run.owner,
    )


def _numbers(store: Store, name: str, size: int) -> dict[str, float]:
    """The last value of every metric in the last rows of a `metrics.jsonl`."""
    found: dict[str, float] = {}
    lines = store.read_end(name, size, _END).split(b"\n") if size else []
    for line in lines[1:] if size > _END else lines:  # the first may be cut
        row: Any = None
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # the last, which is being written
            continue
        if isinstance(row, dict):
            found |= {key: value for key, value in row.items() if isinstance(value, int | float)}
    return found


def _state(
    own: Mapping[str, int], owner: str, numbers: Mapping[str, float], *, is_cell: bool
) -> str:
    if owner:
        return "running"
    if (SEAL if is_cell else EVALUATION) in own:
        return "done"
    if ERROR in own:
        return "failed"
    return "stopped" if numbers else "waiting"


def _owner(home: str, leases: Mapping[str, Holder], root: str) -> str:
    """Who holds a run: by the lease of a cell, that of a run's own folder, or its lock."""
    cell = _IN_STUDY.fullmatch(home)
    study = f"{cell[1]}/" if cell and cell[1] else ""
    names = [f"{home}/lease" if home else "lease"]
    if cell:
        names.append(f"{study}{LEASES}/{cell[2]}")
    for holder in filter(None, map(leases.get, names)):
        if not holder.is_dead():
            silent = time.time() - holder.renewed
            note = f", silent for {silent:.0f} s" if silent > LIFETIME else ""
            return f"process {holder.process} on {holder.host}{note}"
    process = _locked_by(pathlib.Path(root, home, LOCK)) if root else None
    return f"process {process} here" if process else ""


def _locked_by(lock: pathlib.Path) -> int | None:
    """The process that holds a file's lock, by what the kernel says; None: nobody does."""
    try:
        inode, table = lock.stat().st_ino, _LOCKS.read_text(encoding="utf-8")
    except OSError:
        return None
    for line in table.splitlines():
        match = re.match(r"\d+: FLOCK +\S+ +WRITE +(\d+) +[0-9a-f]+:[0-9a-f]+:(\d+) ", line)
        if match and int(match[2]) == inode:
            return int(match[1])
    return None


def _home(lease: str) -> str:
    """The run's folder of a lease: `.../leases/CELL`, or `RUN/lease`."""
    study, found, cell = lease.rpartition(f"{LEASES}/")
    return f"{study}{CELLS}/{cell}" if found else lease.rpartition("/")[0]


def _is_run_config(name: str) -> bool:
    """Whether a file is a run's `config.json`; tokenizers and exported models have one, too."""
    return bool(re.fullmatch(rf"(?:(?:.*/)?{CELLS}/[^/]+|[^/]+)/{re.escape(CONFIG)}", name))


def _is_run(home: str, files: Mapping[str, int], leases: Mapping[str, Holder]) -> bool:
    prefix = f"{home}/" if home else ""
    is_cell = bool(_IN_STUDY.fullmatch(home))
    return is_cell or any(f"{prefix}{name}" in files for name in (METRICS, CORPUS))
