"""A copy of the package for tests that follow a recipe of docs/extend.md: edit it, then run it."""

import os
import pathlib
import shutil
import subprocess
import sys

from tests.helpers.paths import REPOSITORY


def copy_package(folder: pathlib.Path) -> pathlib.Path:
    """Copies `vaetx_jax` into a folder; returns the copy."""
    ignore = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(REPOSITORY / "vaetx_jax", folder / "vaetx_jax", ignore=ignore)


def edit_line(path: pathlib.Path, old: str, new: str) -> None:
    """Replaces the one line that is `old`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines.count(old) == 1
    path.write_text("\n".join(new if line == old else line for line in lines) + "\n", "utf-8")


def run_python(folder: pathlib.Path, *arguments: str) -> str:
    """What Python prints with the copy in `folder` as the package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"VAETX_CACHE": str(folder / "cache"), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
