"""Figure 8 of the paper: the KL weight under linear and under cyclic annealing.

python -m vaetx_jax.study --config=configs/study/figure8.py --workdir=studies/figure8

Expected: a picture in seconds.
"""

from ml_collections import ConfigDict

from vaetx_jax.config.study import default_study


def get_config() -> ConfigDict:
    """Five cycles, the ramp half of each: the paper's."""
    config = default_study("figure8", "schedules")
    return config
