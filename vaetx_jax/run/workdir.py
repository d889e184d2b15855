"""The work folder of a run: its lock, and the run that it belongs to."""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterator

import filelock
from ml_collections import ConfigDict

from vaetx_jax.config import keys, stored
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.runtime import processes
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.console import duration, notify

CONFIG = "config.json"
CORPUS = "corpus.json"
ENCODER = "encoder.json"
DECODER = "decoder.json"
TOKENIZER = "tokenizer"
ENCODER_TOKENIZER = "encoder_tokenizer"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
# Of a study's folder, and of a cell in it beside a run's own files.
CELLS, LEASES = "cells", "leases"
SEAL, EVALUATION, ERROR = "cell.json", "evaluation-test.json", "error.txt"

# May change between two starts of one run: how long and how it is trained and evaluated, and the
# paths of files (their content is checked by the corpus's fingerprint).
_MAY_CHANGE = ("train.", "evaluation.", "samples.", "probe.", "mesh.")
PATH_KEYS = (
    "data.manual_dir",
    "data.cache_dir",
    "data.train",
    "data.valid",
    "data.test",
    "tokenizer.vocab_dir",
    "model.encoder_weights",
    "model.weights",
    "data.vectors",
)
# Those that are the corpus itself or published weights, and not just where something lies.
SOURCE_KEYS = frozenset(PATH_KEYS) - {"data.manual_dir", "data.cache_dir", "tokenizer.vocab_dir"}


@contextlib.contextmanager
def claim(folder: pathlib.Path, *, wait: float = 0.0) -> Iterator[None]:
    """Creates the folder and holds its lock while the block runs.

    Args:
      wait: seconds to wait for another run that holds the lock.

    Raises:
      UserError: another run holds it, or the path is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{folder}: this is a file; give a folder") from None
    lock = filelock.FileLock(folder / LOCK)
    try:
        _acquire(lock, folder, wait)
    except filelock.Timeout:
        raise UserError(
            f"{folder}: another run is in this folder; wait for it or give another one"
        ) from None
    try:
        yield
    except UserError:
        _leave_nothing(folder)
        raise
    finally:
        lock.release()


def _acquire(lock: filelock.BaseFileLock, folder: pathlib.Path, wait: float) -> None:
    try:
        lock.acquire(timeout=0.0)
    except filelock.Timeout:
        if wait:
            notify(f"note: another process is in {folder}; waiting up to {duration(wait)} for it")
        lock.acquire(timeout=wait)


def _leave_nothing(folder: pathlib.Path) -> None:
    """Removes a folder that holds no more than its lock: what was refused leaves nothing behind."""
    if [path.name for path in folder.iterdir()] == [LOCK]:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()
            folder.rmdir()


def has_checkpoint(folder: pathlib.Path) -> bool:
    """Whether a step of a run has been saved in the folder."""
    path = folder / CHECKPOINTS
    return path.is_dir() and any(step.name.isdecimal() for step in path.iterdir())


def _forget(folder: pathlib.Path) -> None:
    """Frees a folder whose run never saved a step, so that it may start with other settings."""
    for name in (TOKENIZER, ENCODER_TOKENIZER):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (CORPUS, ENCODER, DECODER):
        (folder / name).unlink(missing_ok=True)
    (folder / CONFIG).unlink()


def _check_is_run(folder: pathlib.Path) -> None:
    """Checks that a folder is a run's before files are deleted: any model may have a `config.json`.

    Raises:
      UserError: it is not, or its checkpoints are a link to a disk that is missing.
    """
    stored.read_config(folder / CONFIG)
    if (folder / CHECKPOINTS).is_symlink() or any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder}: there is a model in it, but no checkpoint of a run; give another folder"
        )


def check_config(folder: pathlib.Path, config: ConfigDict) -> list[str]:
    """Compares a config with that of the folder's run, if it has saved a step; writes nothing.

    Returns:
      Notices of the settings that have changed since the run was last started.

    Raises:
      UserError: the folder belongs to a run with another model, corpus or tokenizer.
    """
    path = folder / CONFIG
    if path.exists() and not has_checkpoint(folder):
        _check_is_run(folder)
    elif path.exists():
        changes = keys.differences(stored.read_config(path), config)
        changes = {key: change for key, change in changes.items() if key not in PATH_KEYS}
        refused = {k: c for k, c in changes.items() if not k.startswith(_MAY_CHANGE)}
        if refused:
            raise UserError(
                f"{folder}: the run in this folder has other settings:\n"
                + "\n".join(
                    f"  config.{k}: {old!r} there, {new!r} now" for k, (old, new) in refused.items()
                )
                + "\nGive the same settings to resume it, or another folder to start a new run."
            )
        return [f"config.{k} changed from {old!r} to {new!r}" for k, (old, new) in changes.items()]
    return []


def keep_config(folder: pathlib.Path, config: ConfigDict) -> list[str]:
    """Writes `config.json` to a new folder, or to one of the same run.

    Returns:
      As `check_config`.

    Raises:
      UserError: as `check_config`.
    """
    notices = check_config(folder, config)
    path = folder / CONFIG
    if path.exists() and not has_checkpoint(folder):
        _forget(folder)
    write_text(path, stored.to_json(config))
    return notices


def keep_corpus(folder: pathlib.Path, name: str, fingerprint: str) -> None:
    """Records the corpus of a run, or checks that it is still the same.

    Raises:
      UserError: as `check_corpus`.
    """
    check_corpus(folder, name, fingerprint)
    path = folder / CORPUS
    if not path.exists():
        write_text(path, json.dumps({"corpus": name, "fingerprint": fingerprint}, indent=2) + "\n")


def check_corpus(folder: pathlib.Path, name: str, fingerprint: str) -> None:
    """Compares a corpus with the one that the folder's run began with, if that is on record.

    Raises:
      UserError: it is another one, or its content has changed since.
    """
    path = folder / CORPUS
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        compare_corpus(folder, before if isinstance(before, dict) else {}, name, fingerprint)


def compare_corpus(
    folder: pathlib.Path, before: dict[str, str], name: str, fingerprint: str
) -> None:
    """Compares a corpus with a record of one, which has `corpus` and `fingerprint`.

    Raises:
      UserError: they are not the same.
    """
    if before != {"corpus": name, "fingerprint": fingerprint}:
        raise UserError(
            f"{folder}: the corpus {name} is not the one this run began with "
            f"(fingerprint {before.get('fingerprint', '?')} there, {fingerprint} now); "
            "give the old sentences again or restore their files (relative paths count from the "
            "current folder), or give another folder for a new run"
        )


def check_agreement(config: ConfigDict) -> None:
    """Refuses to train where the processes were started with different settings.

    Raises:
      ConfigError: the same on all of them; names each difference.
    """
    mine = keys.flatten(config.to_dict())
    plain = {key: repr(value) for key, value in mine.items() if key not in PATH_KEYS}
    first, *others = processes.from_all(plain)
    different = [
        f"  config.{key}: {first.get(key)} in process 0, {other.get(key)} in process {number}"
        for number, other in enumerate(others, 1)
        for key in sorted(first.keys() | other.keys())
        if first.get(key) != other.get(key)
    ]
    if different:
        raise ConfigError(
            "the processes were started with different settings:\n" + "\n".join(different)
        )
