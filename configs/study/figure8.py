"""Figure 8 of the paper: the KL weight under linear and under cyclic annealing.

python -m vaetx_jax.study --config=configs/study/figure8.py

Expected: a figure in seconds.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study


def get_config() -> ConfigDict:
    """Five cycles, the ramp half of each: the paper's."""
    return default_study("figure8", "schedules")
