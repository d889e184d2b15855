"""The nll of a run's own language model at the end of a warm-up, kept for the evaluation.

`language-model.npz` in the run's folder holds, for the splits `valid` and `test`, -log p(x) of each
sentence in nats under the decoder at z = 0 after the last step of `train.warm_up=language_model`.
"""

import zipfile
import zlib

import numpy as np

from vaetx_jax.metrics.estimator import Estimator
from vaetx_jax.models.language_model import Variables
from vaetx_jax.run.run import Run
from vaetx_jax.runtime import processes
from vaetx_jax.runtime.atomic import open_atomic
from vaetx_jax.runtime.mesh import replicate

FILE = "language-model.npz"
SPLITS = ("valid", "test")


def keep_nll(run: Run, variables: Variables) -> None:
    """Writes the nll of the decoder at z = 0, which was trained as a language model.

    All processes of a run must call it; the first one writes.
    """
    estimator = Estimator(run.model, run.mesh, seed=0)
    variables, found = replicate(variables, run.mesh), {}
    for name in SPLITS:
        split = run.split(name)
        z_NxZ = np.zeros((len(split), run.model.latent_dim), np.float32)
        found[name] = estimator.nll_at(variables, run.eval_batches(split), z_NxZ)
    if processes.is_first():
        with open_atomic(run.folder / FILE) as stream:
            np.savez(stream, valid=found["valid"], test=found["test"])


def kept_nll(run: Run, split: str) -> np.ndarray | None:
    """What `keep_nll` wrote, [N]; None where there is nothing that fits the split."""
    try:
        with (
            (run.folder / FILE).open("rb") as stream,  # np.load leaves a damaged file open
            np.load(stream, allow_pickle=False) as file,
        ):
            nll_N: np.ndarray = file[split]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return nll_N if nll_N.shape == (len(run.split(split)),) else None
