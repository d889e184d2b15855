"""Exported models on the Hugging Face hub: fetched by name, and uploaded."""

import pathlib
import re

from vaetx_jax.errors import UserError

_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def is_name(text: str) -> bool:
    """Whether a text may be a model's name, USER/NAME, and is no folder here."""
    return bool(_NAME.match(text)) and not pathlib.Path(text).exists()


def fetch(name: str, *, revision: str | None = None) -> pathlib.Path:
    """The folder of a model of the hub on this machine, downloaded where it is not there yet.

    Args:
      name: USER/NAME.
      revision: a branch, a tag or a commit; None: the newest.

    Raises:
      UserError: there is no such model, or no network.
    """
    import huggingface_hub  # here, because it is slow to import

    try:
        return pathlib.Path(huggingface_hub.snapshot_download(name, revision=revision))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name}: no such folder, and no model could be fetched from the hub by that name "
            f"({_first_line(error)})"
        ) from error


def push(folder: pathlib.Path, name: str, *, private: bool) -> str:
    """Uploads an exported folder; returns its address.

    Args:
      name: USER/NAME; the repository is made where there is none.
      private: a repository that is made is seen by its owner alone.

    Raises:
      UserError: the name cannot be one, nobody is logged in, or there is no network.
    """
    import huggingface_hub

    if not _NAME.match(name):
        raise UserError(f"--push={name}: give USER/NAME")
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=name, folder_path=folder)
    except Exception as error:  # of several HTTP libraries
        raise UserError(
            f"--push={name}: could not be uploaded ({_first_line(error)}); the folder {folder} is "
            "whole. Log in by `hf auth login`"
        ) from error
    return str(done)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
