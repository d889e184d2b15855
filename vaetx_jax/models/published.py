"""Published weights on disk: their folder, and the tensors of a `model.safetensors`.

A folder is given, or fetched by name from the hub. Nothing is ever unpickled.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from vaetx_jax.errors import UserError
from vaetx_jax.runtime.hub import HubError, download

WEIGHTS, CONFIG = "model.safetensors", "config.json"
Tree = dict[str, Any]


def find_folder(
    name: str, *, key: str, whose: str, files: Sequence[str], more: Sequence[str] = ()
) -> pathlib.Path:
    """The folder of published weights: `name` itself, or what is fetched under that name.

    Args:
      key: the config key that holds the name.
      whose: the model in words, "GPT-2".
      files: what is fetched.
      more: what is fetched, too, where there is such a file.

    Raises:
      UserError: there is neither such a folder nor, online, a model of that name.
    """
    folder = pathlib.Path(name).expanduser()
    if folder.is_dir():
        return folder
    try:
        return download(name, patterns=[*files, *more])
    except HubError as error:
        needed = " and ".join([", ".join(files[:-1]), files[-1]])
        raise UserError(
            f"config.{key} = {name!r}: no such folder, and no model could be fetched by "
            f"that name ({error}); give a folder with {whose}'s {needed}"
        ) from error


class Tensors:
    """The tensors of a folder's weights, given out by name and shape, each once.

    Args:
      folder: holds `model.safetensors`.
      whose: the model in words, "GPT-2".
      prefix: of the names in some files, left out.
      ignored: names, without the prefix, of tensors that nobody asks for.
      renamed: endings of names in older files -> today's.

    Raises:
      UserError: the file is missing or damaged.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        whose: str,
        prefix: str,
        ignored: re.Pattern[str],
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self._path, self._whose = folder / WEIGHTS, whose
        self._left: dict[str, np.ndarray] = {}
        for name, tensor in _read(self._path, whose).items():
            plain = name.removeprefix(prefix)
            for old, new in (renamed or {}).items():
                plain = plain.removesuffix(old) + new if plain.endswith(old) else plain
            if not ignored.match(plain):
                self._left[plain] = tensor

    def __call__(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor of a name in float32.

        Raises:
          UserError: it is missing or of another shape.
        """
        tensor = self._left.pop(name, None)
        if tensor is None:
            raise UserError(
                f"{self._path}: the tensor {name} is missing; take a {self._whose}'s file"
            )
        if tensor.shape != shape:
            raise UserError(
                f"{self._path}: {name} has the shape {list(tensor.shape)}, but {CONFIG} in its "
                f"folder makes it {list(shape)}; the two files do not belong together"
            )
        return np.asarray(tensor, np.float32)

    def nothing_left(self) -> None:
        """Checks that every tensor was asked for.

        Raises:
          UserError: some are left over.
        """
        if self._left:
            names = ", ".join(sorted(self._left)[:5])
            raise UserError(
                f"{self._path}: {len(self._left)} tensors that no {self._whose} of this size has: "
                f"{names}"
            )


def _read(path: pathlib.Path, whose: str) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        others = sorted(p.name for p in path.parent.glob("*.bin"))
        pickled = f" ({others[0]} is a pickle, which is never read)" if others else ""
        raise UserError(
            f"{path}: no such file{pickled}; put {whose}'s published weights there"
        ) from None
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged or not a safetensors file ({error})") from error
