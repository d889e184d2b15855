"""A store and machines that mirror their folders to it."""

import pathlib

import pytest

from vaetx_jax.runtime.mirror import Mirror
from vaetx_jax.runtime.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(f"local://{tmp_path}/bucket/run")


@pytest.fixture
def machine(tmp_path, store):
    """A machine's empty folder and its mirror, by the machine's name."""

    def start(name: str) -> tuple[pathlib.Path, Mirror]:
        folder = tmp_path / name / "run"
        folder.mkdir(parents=True, exist_ok=True)
        return folder, Mirror(folder, store, tmp_path / name / "staged")

    return start
