"""Loading a trained model: from a run, an export, an object store or the hub."""

import copyreg
import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from vaetx_jax.config.stored import cache_dir
from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.inference import exported, hub
from vaetx_jax.inference.arguments import check_integer
from vaetx_jax.inference.latent_prior import LatentPrior
from vaetx_jax.inference.prior_file import load_prior
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.models import text_vae
from vaetx_jax.run.run import Run, open_run
from vaetx_jax.run.workdir import CHECKPOINTS
from vaetx_jax.runtime import work_folder
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.runtime.mesh import replicated
from vaetx_jax.runtime.paths import scheme_of
from vaetx_jax.training.checkpoint import Checkpoints, choose
from vaetx_jax.training.state import variables_like


def load(
    folder: str | pathlib.Path, *, checkpoint: str | int = "best", revision: str | None = None
) -> TextModel:
    """Loads the model of a run's folder, or one made by `export`, from its folder or the hub.

    Compiled programs are kept in the run's `data.cache_dir`, as in training.

    Args:
      folder: a folder, its URL (`gs://`, `s3://` and others of fsspec), or the name of a model of
        the Hugging Face hub, "USER/NAME".
      checkpoint: `best` (lowest validation perplexity), `last`, or a step. An exported folder
        holds one checkpoint and refuses any other.
      revision: of a model of the hub: a branch, a tag or a commit.

    Raises:
      UserError: the folder holds no trained run, or there is no model of that name; a revision of
        what is not on the hub.
      DamagedError: an exported folder's file is not as it was written.
    """
    if isinstance(folder, str) and hub.is_name(folder):
        fetched = hub.fetch(folder, revision=revision)
        try:
            return load(fetched, checkpoint=checkpoint)
        except DamagedError as error:
            raise hub.damaged(folder, fetched, error) from error
    if revision is not None:
        raise UserError(f"revision {revision!r}: only a model of the hub has one; {folder} is none")
    if isinstance(folder, str) and scheme_of(folder):
        folder = work_folder.open_to_read(folder)
    folder = pathlib.Path(folder).expanduser()
    if not isinstance(checkpoint, str):
        checkpoint = str(check_integer("checkpoint", checkpoint, 0))
    if exported.is_shared(folder):
        model = TextModel(*exported.read(folder))
        prior = load_prior(model.run, step=model.step)
        model = dataclasses.replace(model, prior=prior)
        use_compilation_cache(cache_dir(model.run.config))
        if checkpoint not in ("best", str(model.step)):
            raise UserError(
                f"{folder} was exported and holds one checkpoint, of step {model.step:,}; "
                f"it has no {checkpoint!r}"
            )
        return model
    run = open_run(folder)
    use_compilation_cache(cache_dir(run.config))
    checkpoints = Checkpoints(run.folder / CHECKPOINTS, writable=False)
    step, source = choose(checkpoints, checkpoint)
    work_folder.complete(checkpoints.folder / str(step))
    variables = checkpoints.restore_variables(step, variables_like(run.model, run.mesh))
    return TextModel(run, variables, step, source, load_prior(run, step=step))


def init_untrained(run: Run, *, seed: int) -> TextModel:
    """The model before any training, to compare with."""
    make = functools.partial(text_vae.init, run.model)
    variables = jax.jit(make, out_shardings=replicated(run.mesh))(jax.random.key(seed))
    return TextModel(run, variables, 0, "untrained")


def reopen(folder: str, step: int, source: str, prior: LatentPrior | None) -> TextModel:
    """The model that a pickle refers to."""
    model = load(folder, checkpoint=step)
    return dataclasses.replace(model, source=source, prior=prior)


def _reduce(model: TextModel) -> tuple[Callable[..., TextModel], tuple[Any, ...]]:
    """How a model is pickled: by where it is read again.

    Raises:
      UserError: it is in a temporary folder.
    """
    if model.temporary:
        raise UserError(
            "this model was fitted without a workdir: its folder is temporary, so that neither a "
            "file nor another process can refer to it; give fit a workdir, or export the model "
            "and load the export"
        )
    folder = work_folder.url_of(model.run.folder) or str(model.run.folder.resolve())
    return reopen, (folder, model.step, model.source, model.prior)


copyreg.pickle(TextModel, _reduce)  # not a method of it: `load` needs its module
