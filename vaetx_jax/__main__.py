"""`python -m vaetx_jax`: a line for each command; it runs none."""

import sys

from vaetx_jax.runtime.program import list_commands

if __name__ == "__main__":
    sys.exit(list_commands())
