"""Text variational autoencoders in JAX: train, evaluate and use them.

    model = vaetx_jax.fit(sentences)        # or vaetx_jax.load("runs/mine")
    mean, std = model.encode(sentences)

Importing the package loads nothing else, so that a command line that only prints its help answers
at once; `load` and `fit` load what they need when they are first asked for. Import the modules by
name, or run them: `python -m vaetx_jax.main --help`.
"""

from typing import TYPE_CHECKING

from vaetx_jax.version import __version__

if TYPE_CHECKING:
    from vaetx_jax.fitting import fit
    from vaetx_jax.inference.loading import load

__all__ = ["__version__", "fit", "load"]


def __getattr__(name: str) -> object:
    if name == "load":
        from vaetx_jax.inference.loading import load

        return load
    if name == "fit":
        from vaetx_jax.fitting import fit

        return fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
