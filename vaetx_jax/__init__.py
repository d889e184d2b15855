"""Text variational autoencoders in JAX: train, judge and use them.

Importing the package loads nothing else, so that a command line that only prints its help answers
at once. Import the modules by name, or run them: `python -m vaetx_jax.main --help`.
"""

__version__ = "0.1.0"
