"""The one step of the build that pyproject.toml cannot say: the wheel holds the config files."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGS = pathlib.Path("configs")


class BuildWithConfigs(build_py):
    """Copies `configs/` into the package, where `--config=NAME` finds them once installed."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # there the clone's own folder is found
            for path in CONFIGS.rglob("*.py"):
                target = pathlib.Path(self.build_lib, "vaetx_jax", path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithConfigs})
