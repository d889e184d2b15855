"""The seal of a finished cell: the sha256 of its files, written last.

A cell that is not as it was when it was sealed never enters a table.
"""

import enum
import json
import pathlib
from typing import Any

from vaetx_jax.inference.reference import OWN
from vaetx_jax.reports.text_table import is_full
from vaetx_jax.run.metric_log import METRICS
from vaetx_jax.run.workdir import CHECKPOINTS, CONFIG, EVALUATION, SEAL, TOKENIZER
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.manifest import rename_damaged, sha256_of

PROBE = "probe.json"


class Condition(enum.Enum):
    """The condition of a cell's folder."""

    OPEN = "not trained, or not to the end"
    STALE_METRICS = "trained; its metrics are missing, damaged or of other settings"
    DAMAGED = "finished, but the files of its training have changed since"
    FINISHED = "finished"


def seal(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Marks a cell as finished.

    Args:
      folder: the cell's folder.
      facts: how it was trained; `unseal` and the tables read them.
    """
    files = {str(path.relative_to(folder)): _sha256(path) for path in _files(folder)}
    write_text(folder / SEAL, json.dumps({**facts, "sha256": files}, indent=2) + "\n")


def unseal(folder: pathlib.Path) -> dict[str, Any]:
    """Removes a cell's seal, and the results that do not match it.

    Returns:
      The facts that were sealed; none where there was no seal that can be read.
    """
    path = folder / SEAL
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        sealed = dict(facts.pop("sha256"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        facts, sealed = {}, {}
    path.unlink(missing_ok=True)
    for name in (EVALUATION, PROBE):
        if sealed.get(name) != _sha256(folder / name):
            (folder / name).unlink(missing_ok=True)
    return facts


def condition(
    folder: pathlib.Path,
    *,
    iw_samples: int,
    protocol: dict[str, Any] | None,
    text: bool = False,
    reference: bool = False,
    partial: bool = False,
) -> tuple[Condition, str]:
    """The condition of a cell's folder, and the reason.

    Args:
      folder: the cell's folder; it may be missing.
      iw_samples: the samples that its evaluation must have used.
      protocol: `config.probe` of the probe that it must have; None: it needs no probe.
      text: whether its text must have been evaluated in full.
      reference: whether it must have been measured against a language model of another folder.
      partial: the files of its checkpoints may be elsewhere.
    """
    if not (folder / SEAL).exists():
        return Condition.OPEN, "not finished"
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))["sha256"]
        sealed = {str(name): str(digest) for name, digest in sealed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Condition.DAMAGED, f"{SEAL} cannot be read"
    wrong = [
        name
        for name, digest in sealed.items()
        if _sha256(folder / name) != digest and not (partial and _is_elsewhere(folder, name))
    ]
    results = {EVALUATION, PROBE}
    for name in wrong:
        if name not in results:
            return Condition.DAMAGED, f"{name} has changed since the cell was finished"
    if wrong:
        return Condition.STALE_METRICS, f"{wrong[0]} has changed since the cell was finished"
    if EVALUATION not in sealed:
        return Condition.STALE_METRICS, f"there is no {EVALUATION}"
    metrics = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    if metrics.get("iw_samples") != iw_samples:
        return Condition.STALE_METRICS, f"evaluated with {metrics.get('iw_samples')} samples"
    if text and not is_full(metrics.get("text")):
        return Condition.STALE_METRICS, "its text was not evaluated in full"
    if reference and metrics.get("reference") in (None, OWN):
        return Condition.STALE_METRICS, "not measured against config.evaluation.reference yet"
    if protocol is not None:
        if PROBE not in sealed:
            return Condition.STALE_METRICS, "not probed yet"
        if json.loads((folder / PROBE).read_text(encoding="utf-8"))["protocol"] != protocol:
            return Condition.STALE_METRICS, "probed by another protocol"
    return Condition.FINISHED, "finished"


def set_aside(folder: pathlib.Path) -> pathlib.Path:
    """Renames a damaged cell, so that it can be trained again and still be inspected."""
    return rename_damaged(folder, f"{folder.name}.damaged")


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files that a cell's numbers depend on; figures and events may come and go."""
    single = [folder / name for name in (CONFIG, METRICS, EVALUATION, PROBE)]
    below = [*(folder / TOKENIZER).rglob("*"), *(folder / CHECKPOINTS).rglob("*")]
    return sorted(path for path in [*single, *below] if path.is_file())


def _is_elsewhere(folder: pathlib.Path, name: str) -> bool:
    return name.startswith(f"{CHECKPOINTS}/") and not (folder / name).exists()


def _sha256(path: pathlib.Path) -> str:
    try:
        return sha256_of(path) if path.is_file() else "missing"
    except OSError:
        return "unreadable"
