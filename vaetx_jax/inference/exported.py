"""A trained model as a folder to share: parameters as safetensors, config, tokenizer, manifest.

`manifest.json` holds the sha256 of every file that is read back, and nothing is unpickled: what is
not as it was written is refused.
"""

import dataclasses
import functools
import json
import pathlib
import shutil
from typing import Any, NoReturn

import jax
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict
from safetensors import SafetensorError, safe_open

from vaetx_jax.config import keys, stored
from vaetx_jax.data.corpora.base import Corpus
from vaetx_jax.data.tokenizers.base import MANIFEST as TOKENIZER_MANIFEST
from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.inference.latent_prior import LatentPrior
from vaetx_jax.inference.prior_file import PRIOR, save_prior
from vaetx_jax.models.freeze import freezes_encoder
from vaetx_jax.models.language_model import PARAMS, Variables
from vaetx_jax.run import workdir
from vaetx_jax.run.run import Run, open_run
from vaetx_jax.run.workdir import (
    CONFIG,
    CORPUS,
    DECODER,
    ENCODER,
    ENCODER_TOKENIZER,
    PATH_KEYS,
    SOURCE_KEYS,
    TOKENIZER,
)
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.manifest import MANIFEST, sha256_of, verify
from vaetx_jax.runtime.mesh import put_replicated
from vaetx_jax.training.state import variables_like
from vaetx_jax.version import __version__

FORMAT = 1
_ENCODER = "encoder."  # begins the names of its parameters
WEIGHTS = "model.safetensors"
CARD = "README.md"
EVALUATION = "evaluation.json"
# All that a folder made by `export` may hold, as patterns of the hub.
FILES = (
    *(CARD, EVALUATION, CONFIG, WEIGHTS, MANIFEST, CORPUS, ENCODER, DECODER, PRIOR),
    *(f"{TOKENIZER}/*", f"{ENCODER_TOKENIZER}/*"),
)
_AGAIN = "copy the folder again from its source"


def is_shared(folder: pathlib.Path) -> bool:
    """Whether a folder was made by `write`, whole or not, rather than by training."""
    return (folder / MANIFEST).exists() or (folder / WEIGHTS).exists()


def write(
    folder: pathlib.Path,
    run: Run,
    variables: Variables,
    *,
    step: int,
    source: str,
    with_encoder: bool = False,
    prior: LatentPrior | None = None,
) -> None:
    """Fills an empty folder with all that `read` needs.

    Args:
      with_encoder: a frozen encoder that the hub has is part of the folder; else it is named there
        with its sha256. One from a folder of this machine always is.
      prior: that samples are drawn from; None: N(0, I).
    """
    write_text(folder / CONFIG, stored.to_json(_portable(run)))
    run.tokenizers.save(folder)
    arrays = {
        name: np.asarray(jax.device_get(leaf)) for name, leaf in named_leaves(variables).items()
    }
    if not with_encoder and is_on_hub(run):
        arrays = {name: x for name, x in arrays.items() if not name.startswith(_ENCODER)}
    safetensors.numpy.save_file(arrays, folder / WEIGHTS, metadata={"format": "vaetx_jax"})
    files = [folder / CONFIG, folder / WEIGHTS, *sorted((folder / TOKENIZER).iterdir())]
    if run.tokenizers.read is not None:
        files += sorted((folder / ENCODER_TOKENIZER).iterdir())
    if run.encoder or run.vectors:
        shutil.copyfile(run.folder / ENCODER, folder / ENCODER)
        files.append(folder / ENCODER)
    if prior is not None:
        files.append(save_prior(prior, folder, step=step))
    if run.decoder:
        shutil.copyfile(run.folder / DECODER, folder / DECODER)
        files.append(folder / DECODER)
    if (run.folder / CORPUS).exists():  # its name and fingerprint
        shutil.copyfile(run.folder / CORPUS, folder / CORPUS)
        files.append(folder / CORPUS)
    manifest = {
        "format": FORMAT,
        "vaetx_jax": __version__,
        "checkpoint": step,
        "checkpoint_is": source,
        "sha256": {path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
    }
    corpus = _recorded_corpus(run.folder)
    if corpus:
        manifest["corpus"] = corpus
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read(folder: pathlib.Path) -> tuple[Run, Any, int, str]:
    """(run, variables, step, which checkpoint that is) of a folder that `write` filled.

    Raises:
      DamagedError: a file is missing or not as it was written.
      UserError: the folder is of a later version.
    """
    step, source = _verified(folder)
    run = open_run(folder)
    if run.config.data.corpus == "text":
        # Its files' names are kept, and another file may have that name where we are.
        run = dataclasses.replace(run, open_corpus=functools.partial(_no_corpus, folder))
    else:
        opener = functools.cache(functools.partial(_open_same_corpus, run, folder))
        run = dataclasses.replace(run, open_corpus=opener)
    like = variables_like(run.model, run.mesh)
    arrays = _tensors(folder / WEIGHTS)
    if run.encoder and not any(name.startswith(_ENCODER) for name in arrays):
        published = flatten_dict(run.encoder.load(fetch=True), sep=".")
        arrays |= {_ENCODER + name: array for name, array in published.items()}
    wanted = {name: (leaf.shape, str(leaf.dtype)) for name, leaf in named_leaves(like).items()}
    found = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    if wanted != found:
        odd = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
        raise DamagedError(
            f"{folder / WEIGHTS}: not the parameters of the model in {CONFIG}; {len(odd)} tensors "
            f"are missing, left over or of another shape, {odd[0]} among them; {_AGAIN}"
        )
    leaves = [arrays[name] for name in named_leaves(like)]
    variables = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return run, put_replicated(variables, run.mesh), step, source


def is_on_hub(run: Run) -> bool:
    """Whether a run's encoder is frozen and one of the hub: it need not be shared again."""
    encoder = run.encoder
    if encoder is None or not freezes_encoder(run.model.freeze):
        return False
    return not pathlib.Path(encoder.name).expanduser().exists()


def named_leaves(variables: Variables) -> dict[str, Any]:
    """The leaves of a model's variables, in the tree's own order, by name.

    A parameter's name is its path joined with dots; an array of another collection has the
    collection's name and a colon before it.
    """
    named = {}
    for (collection, *path), leaf in jax.tree.leaves_with_path(variables):
        name = ".".join(str(key.key) for key in path)
        named[name if collection.key == PARAMS else f"{collection.key}:{name}"] = leaf
    return named


def _public_name(place: str) -> str:
    """A file's or a folder's name without its place; a name on the hub stays."""
    path = pathlib.Path(place).expanduser()
    return place if not path.exists() and not path.is_absolute() else path.name


def _portable(run: Run) -> Any:
    """The config without the places of files on the machine that trained; their names stay."""
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        for key in PATH_KEYS:
            place = keys.value_of(config, key)
            if place:  # a model without this setting has None
                keys.set_value(config, key, _public_name(place) if key in SOURCE_KEYS else "")
        config.train.init_from = config.evaluation.reference = ""
    return config


def _no_corpus(folder: pathlib.Path) -> NoReturn:
    raise UserError(
        f"{folder}: this model was exported without its corpus. The commands evaluate and probe "
        "take sentences by --data=FILE, explore by --sentences=FILE. To sample by a label and to "
        "fit a prior, load the folder of the run; a prior that is saved there "
        "(fit_prior(save=True)) is exported with the model"
    )


def _open_same_corpus(run: Run, folder: pathlib.Path) -> Corpus:
    """Opens a corpus by its name; it must be the one of the training, where that is on record."""
    corpus, before = run.open_corpus(), _recorded_corpus(folder)
    if before:
        workdir.compare_corpus(folder, before, corpus.name, corpus.fingerprint)
    return corpus


def _recorded_corpus(folder: pathlib.Path) -> dict[str, str] | None:
    """Name and fingerprint of the corpus of a run's folder, or of one made by `write`."""
    try:
        if is_shared(folder):
            return json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("corpus")
        return json.loads((folder / CORPUS).read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError):
        return None


def _verified(folder: pathlib.Path) -> tuple[int, str]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format"]
        digests = {name: str(digest) for name, digest in manifest["sha256"].items()}
        step, source = int(manifest["checkpoint"]), str(manifest["checkpoint_is"])
    except FileNotFoundError:
        raise DamagedError(f"{folder}: {MANIFEST} is missing; {_AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path}: cannot be read ({error!r}); {_AGAIN}") from error
    if version != FORMAT:
        raise UserError(
            f"{path}: of format {version}, and this version of vaetx_jax reads format {FORMAT}; "
            f"use the version that wrote it ({manifest.get('vaetx_jax', '?')})"
        )
    needed = (CONFIG, WEIGHTS, f"{TOKENIZER}/{TOKENIZER_MANIFEST}")
    try:
        verify(folder, dict.fromkeys(needed, "nothing") | digests)
    except DamagedError as error:
        raise DamagedError(f"{error}; {_AGAIN}") from None
    return step, source


def _tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(f"{path}: not a safetensors file ({error}); {_AGAIN}") from error
