"""A model of the Hugging Face hub as the library finds it without a network: its own cache."""

import pathlib
import shutil

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def offline_hub(
    cache: pathlib.Path, name: str, source: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Puts a folder into the hub's cache under a name, and turns the network off."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    shutil.copytree(source, folder / "snapshots" / COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
