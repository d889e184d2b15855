"""Exported models on the Hugging Face hub: fetched by name, and uploaded."""

import pathlib
import re

from vaetx_jax.errors import ConfigError, DamagedError, UserError
from vaetx_jax.inference import exported
from vaetx_jax.runtime.hub import HubError, download, reason

_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def is_name(text: str) -> bool:
    """Whether a text may be a model's name, USER/NAME, and is no folder here."""
    return bool(_NAME.match(text)) and not pathlib.Path(text).exists()


def check_name(name: str) -> None:
    """Checks that a model can be uploaded under a name.

    Raises:
      ConfigError: it is not USER/NAME.
    """
    if not _NAME.match(name):
        raise ConfigError(f"--push={name}: give USER/NAME")


def fetch(name: str, *, revision: str | None = None) -> pathlib.Path:
    """The folder of a model of the hub on this machine, downloaded where it is not there yet.

    Args:
      name: USER/NAME.
      revision: a branch, a tag or a commit; None: the newest.

    Raises:
      UserError: there is no such model, it is not one that `export` wrote, or there is no network.
    """
    at = f" at the revision {revision!r}" if revision else ""
    try:
        folder = download(name, patterns=exported.FILES, revision=revision)
    except HubError as error:
        raise UserError(
            f"{name}: no such folder, and no model could be fetched from the hub by that name{at} "
            f"({error})"
        ) from error
    if not exported.is_shared(folder):
        raise UserError(f"{name}{at}: no model on the hub that vaetx_jax's export wrote")
    return folder


def damaged(name: str, folder: pathlib.Path, error: DamagedError) -> DamagedError:
    """The error of a model that was fetched and is not as it was written."""
    kept = folder.parent.parent  # of all its revisions
    return DamagedError(
        f"{error}: delete {kept}, so that it is fetched again; if that does not help, it is "
        f"damaged on the hub, and whoever uploaded {name} must do so again"
    )


def push(folder: pathlib.Path, name: str, *, private: bool) -> str:
    """Uploads an exported folder; returns its address.

    An earlier model under that name gives way; files that no export writes stay.

    Args:
      name: USER/NAME; the repository is made where there is none.
      private: a repository that is made is seen by its owner alone.

    Raises:
      UserError: the name cannot be one, nobody is logged in, or there is no network.
    """
    import huggingface_hub  # here, because it is slow to import

    check_name(name)
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=name, folder_path=folder, delete_patterns=list(exported.FILES)
        )
    except Exception as error:  # of several HTTP libraries
        raise UserError(
            f"--push={name}: could not be uploaded ({reason(error)}); the folder {folder} is "
            f"whole, and `hf upload {name} {folder}` uploads it again"
        ) from error
    return str(done)
