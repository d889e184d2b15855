"""The frozen parameters of a run in one file beside its checkpoints, saved once for all of them.

`frozen-DIGEST.safetensors` is named after its own sha256. A checkpoint that needs it says so in its
`frozen.json`, which its manifest covers.
"""

import hashlib
import json
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError

from vaetx_jax.errors import DamagedError
from vaetx_jax.runtime.atomic import open_atomic, write_text
from vaetx_jax.runtime.manifest import sha256_of

_NOTE = "frozen.json"
_SHOWN = 16  # digits of the digest in the file's name


def save(step_folder: pathlib.Path, parent: pathlib.Path, frozen: dict[str, Any]) -> None:
    """Writes the parameters into `parent`, unless they are there, and a note into a checkpoint.

    Raises:
      OSError: a file cannot be written.
    """
    arrays = {
        ".".join(path): np.asarray(leaf) for path, leaf in sorted(flatten_dict(frozen).items())
    }
    content = safetensors.numpy.save(arrays)
    digest = hashlib.sha256(content).hexdigest()
    path = parent / _name(digest)
    if not path.exists() or path.stat().st_size != len(content):
        with open_atomic(path) as stream:
            stream.write(content)
    note = {"file": path.name, "sha256": digest, "names": sorted(arrays)}
    write_text(step_folder / _NOTE, json.dumps(note, indent=2) + "\n")


def names(step_folder: pathlib.Path) -> set[tuple[str, ...]]:
    """The paths of the parameters that a checkpoint leaves to the file."""
    note = _read_note(step_folder)
    return {tuple(name.split(".")) for name in note["names"]} if note else set()


def load(step_folder: pathlib.Path, parent: pathlib.Path, like: dict[str, Any]) -> dict[str, Any]:
    """The frozen parameters of a checkpoint, placed as those of the same path in `like`.

    Raises:
      DamagedError: the file is missing or not as it was written.
    """
    note = _read_note(step_folder)
    if not note:
        return {}
    path = parent / str(note["file"])
    try:
        if sha256_of(path) != note["sha256"]:
            raise DamagedError(f"{path}: not as it was written")
        arrays = safetensors.numpy.load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedError(f"{path}: the frozen parameters cannot be read ({error})") from error
    places, placed = flatten_dict(like), {}
    for name, array in arrays.items():
        key = tuple(name.split("."))
        if key not in places or places[key].shape != array.shape:
            raise DamagedError(f"{path}: {name} is not a parameter of this model")
        placed[key] = _place(array, places[key].sharding)
    tree: dict[str, Any] = unflatten_dict(placed)
    return tree


def _place(array: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    """A host array that every process has as a global one."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _read_note(step_folder: pathlib.Path) -> dict[str, Any] | None:
    path = step_folder / _NOTE
    try:
        note: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: cannot be read ({error})") from error
    return note


def _name(digest: str) -> str:
    return f"frozen-{digest[:_SHOWN]}.safetensors"
