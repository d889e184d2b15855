"""A fitted prior kept with a model: `prior.safetensors` in its folder."""

import pathlib

import safetensors.numpy
from safetensors import SafetensorError, safe_open

from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.inference.latent_prior import LatentPrior
from vaetx_jax.run.run import Run
from vaetx_jax.runtime.atomic import atomic_path
from vaetx_jax.runtime.console import notify

PRIOR = "prior.safetensors"
_NAMES = ("weight_K", "mean_KxZ", "factor_KxZxZ")


def save_prior(prior: LatentPrior, folder: pathlib.Path, *, step: int) -> pathlib.Path:
    """Writes a prior into a model's folder; replaces an older one.

    Args:
      step: of the checkpoint that it was fitted to.

    Raises:
      UserError: the folder cannot be written.
    """
    arrays = {name: getattr(prior, name) for name in _NAMES}
    try:
        with atomic_path(folder / PRIOR) as fresh:
            safetensors.numpy.save_file(arrays, fresh, metadata={"step": str(step)})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot keep the prior in {folder / PRIOR}: {error}") from error
    return folder / PRIOR


def load_prior(run: Run, *, step: int) -> LatentPrior | None:
    """The prior in a model's folder; None where there is none, or it is of another checkpoint.

    Raises:
      DamagedError: the file is not as it was written.
    """
    path = run.folder / PRIOR
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            of_step = int(file.metadata()["step"])
            prior = LatentPrior(*(file.get_tensor(name) for name in _NAMES))
        fits = prior.mean_KxZ.shape[1] == run.model.latent_dim
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedError(f"{path}: not a prior ({error}); fit it again, or delete it") from error
    if not fits or of_step != step:
        notify(f"note: {path} was fitted to step {of_step:,} and is left out; this is {step:,}")
        return None
    return prior
